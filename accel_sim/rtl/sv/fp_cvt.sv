// y = a, rounded once into another format. NaN becomes canonical; a signed zero stays one.
module fp_cvt #(
  parameter int FA = 8 * 512 + 23 * 2,
  parameter int FY = FA,
  parameter bit FLUSH = 1'b0
) (
  input  logic [fp_pkg::fp_width(FA)-1:0] a,
  output logic [fp_pkg::fp_width(FY)-1:0] y
);
  localparam int XW = fp_pkg::fp_span(FA);
  localparam int M = fp_pkg::fp_man(FA);

  logic negative, nan, inf, zero;
  logic signed [XW-1:0] exponent;
  logic [M:0] significand;

  fp_unpack #(.F(FA), .FLUSH(FLUSH), .XW(XW)) read (
    .x(a), .negative(negative), .nan(nan), .inf(inf), .zero(zero), .exponent(exponent), .significand(significand));

  fp_round #(.FY(FY), .FLUSH(FLUSH), .W(M + 1), .XW(XW), .LEAD(FLUSH ? 0 : M)) rounded (
    .nan(nan), .inf(inf), .negative(negative), .exponent(exponent), .significand(significand), .sticky(1'b0), .y(y));

  wire unused = &{1'b0, zero};
endmodule
