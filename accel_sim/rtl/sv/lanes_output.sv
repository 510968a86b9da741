// The output row of a lane: weighted values, and their running sum, not yet divided.
module lanes_output (
    input  logic clk,
    input  logic rst,
    input  logic move,
    input  logic load,
    input  logic [lanes_cfg::STAGES-1:0] valid,
    input  logic [lanes_cfg::EXP_W-1:0] p,
    input  logic [lanes_cfg::EXP_W-1:0] a_acc,
    input  logic [lanes_cfg::HEAD_DIM-1:0][lanes_cfg::OPERAND_W-1:0] v_now,
    output logic [lanes_cfg::HEAD_DIM-1:0][lanes_cfg::STATE_W-1:0] o
);
  localparam int D = lanes_cfg::HEAD_DIM;

  logic [D-1:0][lanes_cfg::STATE_W-1:0] pv, next_pv, next_o;

  for (genvar t = 0; t < D; t++) begin : g_dim
    fp_mul #(.FA(lanes_cfg::EXP), .FB(lanes_cfg::OPERAND), .FY(lanes_cfg::STATE), .FLUSH(lanes_cfg::FLUSH)) mul (
        .a(p), .b(v_now[t]), .y(next_pv[t]));
    lanes_rescale_add #(.F(lanes_cfg::STATE), .W(lanes_cfg::STATE_W), .FX(lanes_cfg::STATE),
                        .WX(lanes_cfg::STATE_W)) sum (.acc(o[t]), .a(a_acc), .x(pv[t]), .y(next_o[t]));
  end

  always_ff @(posedge clk) begin
    if (rst) begin
      pv <= '0;
      o <= '0;
    end else if (move) begin
      if (valid[4+lanes_cfg::DEPTH]) pv <= next_pv;
      if (load) o <= '0;
      else if (valid[5+lanes_cfg::DEPTH]) o <= next_o;
    end
  end

  logic unused;  // the stages before the weights
  assign unused = &{1'b0, valid};
endmodule
