// The reciprocal unit of the normaliser, in the state format. Combinational.
module lanes_reciprocal (
    input  logic [lanes_cfg::STATE_W-1:0] x,
    output logic [lanes_cfg::STATE_W-1:0] y
);
  fp_recip_pwl #(.FA(lanes_cfg::STATE), .FY(lanes_cfg::STATE), .FLUSH(lanes_cfg::FLUSH),
                 .PIECES(lanes_cfg::RECIP_PIECES), .TABLE(lanes_cfg::RECIP_TABLE)) lines (.a(x), .y);
endmodule
