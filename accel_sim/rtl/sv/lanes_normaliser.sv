// The shared normaliser: one row a cycle, read from its lane, divided by its sum, and handed to the O SRAM.
module lanes_normaliser (
    input  logic clk,
    input  logic rst,
    input  logic move,
    input  logic swapping,   // a swap reads a lane,
    input  logic scan_read,  // or a scan does
    input  logic read_active,
    input  logic [lanes_cfg::HEAD_DIM-1:0][lanes_cfg::STATE_W-1:0] read_o,
    input  logic [lanes_cfg::STATE_W-1:0] read_l,
    input  logic [lanes_cfg::QUERY_W-1:0] drain_addr,
    input  logic drain_last,
    input  logic scan_last,
    input  logic norm_scan,  // the row in norm_o was scanned: it is not to be divided

    output logic norm_valid,
    output logic norm_last,
    output logic [lanes_cfg::HEAD_DIM-1:0][lanes_cfg::STATE_W-1:0] norm_o,
    output logic [lanes_cfg::STATE_W-1:0] norm_l,
    output logic row_ready,  // norm_o holds a row to divide
    output logic recip_valid,
    output logic [lanes_cfg::STATE_W-1:0] recip,
    output logic out_valid,
    output logic out_last,
    output logic [lanes_cfg::QUERY_W-1:0] out_addr,
    output logic [lanes_cfg::HEAD_DIM-1:0][lanes_cfg::OUTPUT_W-1:0] out,
    output logic busy
);
  localparam int D = lanes_cfg::HEAD_DIM;

  logic [lanes_cfg::QUERY_W-1:0] norm_addr;
  logic [D-1:0][lanes_cfg::OUTPUT_W-1:0] next_out;
  logic last_ready;

  assign row_ready = norm_valid && !norm_scan;
  assign last_ready = norm_last && !norm_scan;

  always_ff @(posedge clk) begin
    if (rst) begin
      norm_valid <= 1'b0;
      norm_last <= 1'b0;
      norm_addr <= '0;
      norm_o <= '0;
      norm_l <= '0;
    end else if (move) begin
      norm_valid <= (swapping || scan_read) && read_active;
      norm_last <= swapping ? drain_last : scan_read && scan_last;
      if (swapping) norm_addr <= drain_addr;
      if (swapping || scan_read) begin
        norm_o <= read_o;
        norm_l <= read_l;
      end
    end
  end

  if (lanes_cfg::RECIPROCAL) begin : g_reciprocal
    // Two stages: 1/l once for the row, then a multiplication for each element.
    logic recip_last;
    logic [lanes_cfg::QUERY_W-1:0] recip_addr;
    logic [D*lanes_cfg::STATE_W-1:0] recip_o;
    logic [lanes_cfg::STATE_W-1:0] next_recip;

    lanes_reciprocal reciprocal (.x(norm_l), .y(next_recip));
    for (genvar t = 0; t < D; t++) begin : g_dim
      fp_mul #(.FA(lanes_cfg::STATE), .FB(lanes_cfg::STATE), .FY(lanes_cfg::OUTPUT), .FLUSH(lanes_cfg::FLUSH)) mul (
          .a(recip_o[t*lanes_cfg::STATE_W+:lanes_cfg::STATE_W]), .b(recip), .y(next_out[t]));
    end

    always_ff @(posedge clk) begin
      if (rst) begin
        recip_valid <= 1'b0;
        recip_last <= 1'b0;
        recip_addr <= '0;
        recip_o <= '0;
        recip <= '0;
        out_valid <= 1'b0;
        out_last <= 1'b0;
        out_addr <= '0;
        out <= '0;
      end else if (move) begin
        recip_valid <= row_ready;
        recip_last <= last_ready;
        if (row_ready) begin
          recip <= next_recip;
          recip_o <= norm_o;
          recip_addr <= norm_addr;
        end
        out_valid <= recip_valid;
        out_last <= recip_last;
        if (recip_valid) begin
          out <= next_out;
          out_addr <= recip_addr;
        end
      end
    end
    assign busy = norm_valid || norm_last || recip_valid || recip_last;
  end else begin : g_divide
    for (genvar t = 0; t < D; t++) begin : g_dim
      fp_div #(.FA(lanes_cfg::STATE), .FB(lanes_cfg::STATE), .FY(lanes_cfg::OUTPUT), .FLUSH(lanes_cfg::FLUSH)) div (
          .a(norm_o[t]), .b(norm_l), .y(next_out[t]));
    end

    always_ff @(posedge clk) begin
      if (rst) begin
        out_valid <= 1'b0;
        out_last <= 1'b0;
        out_addr <= '0;
        out <= '0;
      end else if (move) begin
        out_valid <= row_ready;
        out_last <= last_ready;
        if (row_ready) begin
          out <= next_out;
          out_addr <= norm_addr;
        end
      end
    end
    assign recip_valid = 1'b0;
    assign recip = '0;
    assign busy = norm_valid || norm_last;
  end
endmodule
