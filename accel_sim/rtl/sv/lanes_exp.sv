// The exponential unit, from the score format to the exp format. Combinational.
module lanes_exp (
    input  logic [lanes_cfg::SCORE_W-1:0] x,
    output logic [lanes_cfg::EXP_W-1:0] y
);
  fp_exp_pwl #(.FA(lanes_cfg::SCORE), .FY(lanes_cfg::EXP), .FLUSH(lanes_cfg::FLUSH),
               .PIECES(lanes_cfg::EXP_PIECES), .TABLE(lanes_cfg::EXP_TABLE)) lines (.a(x), .y);
endmodule
