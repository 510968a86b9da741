// The checksum of the row in the normaliser: divided like an output element, by the same sum or by its own.
module lanes_check_normaliser (
    input  logic clk,
    input  logic rst,
    input  logic move,
    input  logic read,  // a lane is read
    input  logic [lanes_cfg::CHECKER_W-1:0] read_c,
    input  logic [lanes_cfg::STATE_W-1:0] read_chk_l,
    input  logic row_ready,
    input  logic recip_valid,
    input  logic [lanes_cfg::STATE_W-1:0] norm_l,
    input  logic [lanes_cfg::STATE_W-1:0] recip,
    output logic [lanes_cfg::CHECKER_W-1:0] norm_c,
    output logic [lanes_cfg::CHECKER_W-1:0] pred_term
);
  logic [lanes_cfg::STATE_W-1:0] divisor;

  always_ff @(posedge clk) begin
    if (rst) norm_c <= '0;
    else if (move && read) norm_c <= read_c;
  end

  if (lanes_cfg::OWN_SUM) begin : g_own_sum
    logic [lanes_cfg::STATE_W-1:0] norm_chk_l;
    always_ff @(posedge clk) begin
      if (rst) norm_chk_l <= '0;
      else if (move && read) norm_chk_l <= read_chk_l;
    end
    assign divisor = norm_chk_l;
  end else begin : g_shared_sum
    assign divisor = norm_l;
  end

  if (lanes_cfg::RECIPROCAL) begin : g_reciprocal
    logic [lanes_cfg::CHECKER_W-1:0] recip_c, next_term;
    logic [lanes_cfg::STATE_W-1:0] factor;

    if (lanes_cfg::OWN_SUM) begin : g_own_sum
      logic [lanes_cfg::STATE_W-1:0] chk_recip, next_recip;
      lanes_reciprocal reciprocal (.x(divisor), .y(next_recip));
      always_ff @(posedge clk) begin
        if (rst) chk_recip <= '0;
        else if (move && row_ready) chk_recip <= next_recip;
      end
      assign factor = chk_recip;
    end else begin : g_shared_sum
      assign factor = recip;
    end

    fp_mul #(.FA(lanes_cfg::CHECKER), .FB(lanes_cfg::STATE), .FY(lanes_cfg::CHECKER), .FLUSH(lanes_cfg::FLUSH)) mul (
        .a(recip_c), .b(factor), .y(next_term));

    always_ff @(posedge clk) begin
      if (rst) begin
        recip_c <= '0;
        pred_term <= '0;
      end else if (move) begin
        if (row_ready) recip_c <= norm_c;
        if (recip_valid) pred_term <= next_term;
      end
    end
  end else begin : g_divide
    logic [lanes_cfg::CHECKER_W-1:0] next_term;
    fp_div #(.FA(lanes_cfg::CHECKER), .FB(lanes_cfg::STATE), .FY(lanes_cfg::CHECKER), .FLUSH(lanes_cfg::FLUSH)) div (
        .a(norm_c), .b(divisor), .y(next_term));

    always_ff @(posedge clk) begin
      if (rst) pred_term <= '0;
      else if (move && row_ready) pred_term <= next_term;
    end
  end

  logic unused;  // the divisor that this unit does not use
  assign unused = &{1'b0, read_chk_l, norm_l, recip, recip_valid, divisor};
endmodule
