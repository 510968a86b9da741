// y = a + b, exact, then rounded once.
//
// The smaller operand is shifted to the place of the larger one. GUARD extra places keep the sum exact unless the shift
// is longer; then the sum loses at most one leading place, and what fell off the end shows in one last bit, which is
// always below the place that rounds.
module fp_add #(
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
  localparam int GUARD = fp_pkg::fp_larger(2, fp_pkg::fp_man(FY) + 3 - S);
  localparam int W = S + GUARD + 1;
  localparam int DW = $clog2(W + 1);
  // Subnormals of one exponent range have the same place, so that they line up as they are.
  localparam bit NORMALIZE = fp_pkg::fp_emin(FA) != fp_pkg::fp_emin(FB);

  logic na, nan_a, inf_a, zero_a, nb, nan_b, inf_b, zero_b;
  logic signed [XW-1:0] ea, eb, place;
  logic [MA:0] sa;
  logic [MB:0] sb;

  fp_unpack #(.F(FA), .FLUSH(FLUSH), .NORMALIZE(NORMALIZE), .XW(XW)) read_a (
    .x(a), .negative(na), .nan(nan_a), .inf(inf_a), .zero(zero_a), .exponent(ea), .significand(sa));
  fp_unpack #(.F(FB), .FLUSH(FLUSH), .NORMALIZE(NORMALIZE), .XW(XW)) read_b (
    .x(b), .negative(nb), .nan(nan_b), .inf(inf_b), .zero(zero_b), .exponent(eb), .significand(sb));

  logic [S-1:0] wide_a, wide_b;
  logic swap, negative;
  logic [XW-1:0] distance;
  logic [DW-1:0] shift;
  logic [W-1:0] bigger, lesser, moved, aligned;
  logic [W:0] sum;

  assign wide_a = S'(sa) << (S - 1 - MA);
  assign wide_b = S'(sb) << (S - 1 - MB);
  assign swap = eb > ea || (eb == ea && wide_b > wide_a);
  assign place = swap ? eb : ea;
  assign distance = swap ? eb - ea : ea - eb;
  assign shift = distance > XW'(W) ? DW'(W) : DW'(distance);
  assign bigger = W'(swap ? wide_b : wide_a) << (GUARD + 1);
  assign lesser = W'(swap ? wide_a : wide_b) << (GUARD + 1);
  assign moved = lesser >> shift;
  assign aligned = {moved[W-1:1], moved[0] | ((moved << shift) != lesser)};
  assign sum = na == nb ? {1'b0, bigger} + {1'b0, aligned} : {1'b0, bigger} - {1'b0, aligned};
  // A sum of infinities of one sign, or one infinity, has that sign; a cancelled sum is +0.
  assign negative = inf_a ? na : inf_b ? nb : sum == '0 ? na & nb : swap ? nb : na;

  fp_round #(.FY(FY), .FLUSH(FLUSH), .W(W + 1), .XW(XW)) rounded (
    .nan(nan_a | nan_b | (inf_a & inf_b & (na != nb))),
    .inf(inf_a | inf_b),
    .negative(negative),
    .exponent(place + XW'(1)),
    .significand(sum),
    .sticky(1'b0),
    .y(y));

  // Zeros need no case of their own here.
  wire unused = &{1'b0, zero_a, zero_b};
endmodule
