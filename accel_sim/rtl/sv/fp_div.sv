// y = a / b, correctly rounded; x / 0 is an infinity, 0 / 0 and inf / inf are NaN.
//
// An array of subtractions, one quotient bit a row (restoring division). Of significands in [1, 2) the quotient lies in
// (1/2, 2): with two bits beyond those of FY it rounds as the exact one, the remainder telling whether anything is
// left.
module fp_div #(
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
  localparam int S = fp_pkg::fp_larger(MA, MB) + 1;
  localparam int Q = fp_pkg::fp_man(FY) + 3;

  logic na, nan_a, inf_a, zero_a, nb, nan_b, inf_b, zero_b;
  logic signed [XW-1:0] ea, eb;
  logic [MA:0] sa;
  logic [MB:0] sb;

  fp_unpack #(.F(FA), .FLUSH(FLUSH), .NORMALIZE(1'b1), .XW(XW)) read_a (
    .x(a), .negative(na), .nan(nan_a), .inf(inf_a), .zero(zero_a), .exponent(ea), .significand(sa));
  fp_unpack #(.F(FB), .FLUSH(FLUSH), .NORMALIZE(1'b1), .XW(XW)) read_b (
    .x(b), .negative(nb), .nan(nan_b), .inf(inf_b), .zero(zero_b), .exponent(eb), .significand(sb));

  logic [S:0] rest, divisor;
  logic [S+1:0] trial;  // its top bit is the borrow
  logic [Q-1:0] quotient;

  assign divisor = (S + 1)'(sb) << (S - 1 - MB);
  always_comb begin
    rest = (S + 1)'(sa) << (S - 1 - MA);
    quotient = '0;
    trial = '0;
    for (int i = 0; i < Q; i++) begin
      trial = {1'b0, rest} - {1'b0, divisor};
      quotient = {quotient[Q-2:0], ~trial[S+1]};
      rest = (trial[S+1] ? rest : trial[S:0]) << 1;
    end
  end

  fp_round #(.FY(FY), .FLUSH(FLUSH), .W(Q), .XW(XW), .LEAD(1)) rounded (
    .nan(nan_a | nan_b | (zero_a & zero_b) | (inf_a & inf_b)),
    .inf(inf_a | zero_b),
    .negative(na ^ nb),
    .exponent(ea - eb),
    .significand(zero_a | inf_b ? '0 : quotient),
    .sticky(rest != '0 & ~(zero_a | inf_b)),
    .y(y));
endmodule
