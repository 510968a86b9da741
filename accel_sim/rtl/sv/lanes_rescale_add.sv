// An accumulator rescaled and added to: round(round(acc · a) + x). Combinational.
module lanes_rescale_add #(
    parameter int F = 0,   // of the accumulator
    parameter int W = 1,
    parameter int FX = 0,
    parameter int WX = 1
) (
    input  logic [W-1:0] acc,
    input  logic [lanes_cfg::EXP_W-1:0] a,
    input  logic [WX-1:0] x,
    output logic [W-1:0] y
);
  logic [W-1:0] rescaled;

  fp_mul #(.FA(F), .FB(lanes_cfg::EXP), .FY(F), .FLUSH(lanes_cfg::FLUSH)) mul (.a(acc), .b(a), .y(rescaled));
  fp_add #(.FA(F), .FB(FX), .FY(F), .FLUSH(lanes_cfg::FLUSH)) add (.a(rescaled), .b(x), .y);
endmodule
