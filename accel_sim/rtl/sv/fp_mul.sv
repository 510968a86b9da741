// y = a * b, exact, then rounded once.
module fp_mul #(
  parameter int FA = 8 * 512 + 23 * 2,
  parameter int FB = FA,
  parameter int FY = FA,
  parameter bit FLUSH = 1'b0
) (
  input  logic [fp_pkg::fp_width(FA)-1:0] a,
  input  logic [fp_pkg::fp_width(FB)-1:0] b,
  output logic [fp_pkg::fp_width(FY)-1:0] y
);
  localparam int XW = fp_pkg::fp_larger(fp_pkg::fp_span(FA), fp_pkg::fp_span(FB));
  localparam int MA = fp_pkg::fp_man(FA);
  localparam int MB = fp_pkg::fp_man(FB);
  localparam int W = MA + MB + 2;

  logic na, nan_a, inf_a, zero_a, nb, nan_b, inf_b, zero_b;
  logic signed [XW-1:0] ea, eb;
  logic [MA:0] sa;
  logic [MB:0] sb;

  fp_unpack #(.F(FA), .FLUSH(FLUSH), .XW(XW)) read_a (
    .x(a), .negative(na), .nan(nan_a), .inf(inf_a), .zero(zero_a), .exponent(ea), .significand(sa));
  fp_unpack #(.F(FB), .FLUSH(FLUSH), .XW(XW)) read_b (
    .x(b), .negative(nb), .nan(nan_b), .inf(inf_b), .zero(zero_b), .exponent(eb), .significand(sb));

  // Only subnormal operands make more than one leading zero.
  fp_round #(.FY(FY), .FLUSH(FLUSH), .W(W), .XW(XW), .LEAD(FLUSH ? 1 : W - 1)) rounded (
    .nan(nan_a | nan_b | (inf_a & zero_b) | (zero_a & inf_b)),
    .inf(inf_a | inf_b),
    .negative(na ^ nb),
    .exponent(ea + eb + XW'(1)),
    .significand(W'(sa) * W'(sb)),
    .sticky(1'b0),
    .y(y));
endmodule
