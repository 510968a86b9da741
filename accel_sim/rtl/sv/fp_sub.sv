// y = a - b, exact, then rounded once: the sum with the sign of b turned over.
module fp_sub #(
  parameter int FA = 8 * 512 + 23 * 2,
  parameter int FB = FA,
  parameter int FY = FA,
  parameter bit FLUSH = 1'b0
) (
  input  logic [fp_pkg::fp_width(FA)-1:0] a,
  input  logic [fp_pkg::fp_width(FB)-1:0] b,
  output logic [fp_pkg::fp_width(FY)-1:0] y
);
  localparam int WB = fp_pkg::fp_width(FB);
  fp_add #(.FA(FA), .FB(FB), .FY(FY), .FLUSH(FLUSH)) total (.a(a), .b({~b[WB-1], b[WB-2:0]}), .y(y));
endmodule
