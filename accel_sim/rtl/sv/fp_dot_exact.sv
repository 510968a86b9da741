// y = the exact sum of N exact products, rounded once (`dot: fused`).
//
// a holds the products, element i in bits i * width(FA) and up, in the format that holds every product of two operands
// exactly, FA (fp_mul with FY = FA makes them, and never rounds there). The sum is kept in fixed point from the
// smallest subnormal to the largest value of FA. It is -0 only if every product is.
module fp_dot_exact #(
  parameter int FA = 9 * 512 + 15 * 2,
  parameter int FY = 8 * 512 + 23 * 2,
  parameter int N = 2,
  parameter bit FLUSH = 1'b0
) (
  input  logic [N*fp_pkg::fp_width(FA)-1:0] a,
  output logic [fp_pkg::fp_width(FY)-1:0] y
);
  localparam int E = fp_pkg::fp_exp(FA);
  localparam int M = fp_pkg::fp_man(FA);
  localparam int WP = fp_pkg::fp_width(FA);
  localparam int TERM = M + (1 << E) - 2;  // hidden bit, fraction, and a shift of at most 2^E - 3
  localparam int ACC = TERM + $clog2(N) + 1;
  localparam int XW = fp_pkg::fp_larger(fp_pkg::fp_span(FA), $clog2(ACC) + 1) + 1;
  // Of the accumulator's top bit, the sign not counted.
  localparam logic signed [XW-1:0] TOP_PLACE = XW'(fp_pkg::fp_emin(FA) - M + ACC - 2);

  logic [N-1:0] negative, nan, inf, zero;
  logic [N*ACC-1:0] terms;
  logic [ACC-1:0] sum;
  logic [ACC-2:0] size;
  logic below_zero, any_inf;

  generate
    for (genvar i = 0; i < N; i++) begin : products
      logic signed [XW-1:0] exponent;
      logic [M:0] significand;
      logic [E-1:0] field;
      logic [ACC-1:0] term;
      fp_unpack #(.F(FA), .FLUSH(FLUSH), .XW(XW)) read (
        .x(a[i*WP+:WP]), .negative(negative[i]), .nan(nan[i]), .inf(inf[i]), .zero(zero[i]),
        .exponent(exponent), .significand(significand));
      assign field = a[i*WP+M+:E];
      assign term = ACC'(significand) << (field == '0 ? '0 : field - E'(1));
      assign terms[i*ACC+:ACC] = negative[i] ? -term : term;
      wire unused = &{1'b0, exponent};
    end
  endgenerate

  always_comb begin
    sum = '0;
    for (int i = 0; i < N; i++) sum = sum + terms[i*ACC+:ACC];
  end

  assign below_zero = sum[ACC-1];
  assign size = below_zero ? (ACC - 1)'(-sum) : sum[ACC-2:0];
  assign any_inf = |inf;

  fp_round #(.FY(FY), .FLUSH(FLUSH), .W(ACC - 1), .XW(XW)) rounded (
    .nan(|nan | (|(inf & negative) & |(inf & ~negative))),
    .inf(any_inf),
    .negative(any_inf ? |(inf & negative) : below_zero | (&zero & &negative)),
    .exponent(TOP_PLACE),
    .significand(size),
    .sticky(1'b0),
    .y(y));
endmodule
