// One key at the maximum: the new maximum and the two exponents. Combinational.
module lanes_max_math (
    input  logic [lanes_cfg::SCORE_W-1:0] score,
    input  logic [lanes_cfg::STATE_W-1:0] m,
    input  logic seen,
    output logic [lanes_cfg::STATE_W-1:0] next_m,
    output logic [lanes_cfg::SCORE_W-1:0] next_ds,
    output logic [lanes_cfg::SCORE_W-1:0] next_da
);
  logic [lanes_cfg::STATE_W-1:0] rounded, larger;
  logic [lanes_cfg::SCORE_W-1:0] fall;

  fp_cvt #(.FA(lanes_cfg::SCORE), .FY(lanes_cfg::STATE), .FLUSH(lanes_cfg::FLUSH)) to_state (.a(score), .y(rounded));
  fp_max #(.FA(lanes_cfg::STATE), .FLUSH(lanes_cfg::FLUSH)) max (
      .a(m), .b(rounded), .y(larger));
  assign next_m = seen ? larger : rounded;

  fp_sub #(.FA(lanes_cfg::SCORE), .FB(lanes_cfg::STATE), .FY(lanes_cfg::SCORE), .FLUSH(lanes_cfg::FLUSH)) below_max (
      .a(score), .b(next_m), .y(next_ds));
  fp_sub #(.FA(lanes_cfg::STATE), .FB(lanes_cfg::STATE), .FY(lanes_cfg::SCORE), .FLUSH(lanes_cfg::FLUSH)) rise (
      .a(m), .b(next_m), .y(fall));
  assign next_da = seen ? fall : '0;  // the first key corrects nothing
endmodule
