// What a comparison allows: the threshold, or that share of the larger of the two sums. Combinational.
module lanes_limit (
    input  logic [lanes_cfg::CHECKER_W-1:0] threshold,
    input  logic [lanes_cfg::CHECKER_W-1:0] pred,
    input  logic [lanes_cfg::CHECKER_W-1:0] act,
    output logic [lanes_cfg::CHECKER_W-1:0] y
);
  localparam int W = lanes_cfg::CHECKER_W;

  if (lanes_cfg::RELATIVE) begin : g_relative
    logic [W-1:0] larger;
    fp_max #(.FA(lanes_cfg::CHECKER), .FLUSH(lanes_cfg::FLUSH)) max (
        .a({1'b0, pred[W-2:0]}), .b({1'b0, act[W-2:0]}), .y(larger));
    fp_mul #(.FA(lanes_cfg::CHECKER), .FB(lanes_cfg::CHECKER), .FY(lanes_cfg::CHECKER), .FLUSH(lanes_cfg::FLUSH)) mul (
        .a(threshold), .b(larger), .y);
    logic unused;  // the signs
    assign unused = &{1'b0, pred, act};
  end else begin : g_absolute
    lanes_flush #(.F(lanes_cfg::CHECKER), .W(W)) read (.x(threshold), .y);
    logic unused;
    assign unused = &{1'b0, pred, act};
  end
endmodule
