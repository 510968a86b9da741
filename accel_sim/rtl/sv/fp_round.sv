// The one rounding of every unit: an exact value to the nearest FY, ties to even.
//
// value = (-1)^negative * 2^exponent * significand / 2^(W-1), a little more if `sticky` (less than the last bit), with
// at most LEAD leading zeros in the significand, or zero. Beyond the largest finite value: infinity, or NaN in a format
// that has none. FLUSH: what is subnormal after rounding becomes a zero of its sign.
// `nan` and `inf` overrule the value; NaN is always the canonical one.
module fp_round #(
  parameter int FY = 8 * 512 + 23 * 2,
  parameter bit FLUSH = 1'b0,
  parameter int W = 24,
  parameter int XW = 11,
  parameter int LEAD = W - 1
) (
  input  logic nan,
  input  logic inf,
  input  logic negative,
  input  logic signed [XW-1:0] exponent,
  input  logic [W-1:0] significand,
  input  logic sticky,
  output logic [fp_pkg::fp_width(FY)-1:0] y
);
  localparam int E = fp_pkg::fp_exp(FY);
  localparam int M = fp_pkg::fp_man(FY);
  localparam int V = M + 3;  // hidden bit, fraction, first bit below, the rest in one
  localparam int N = fp_pkg::fp_larger(W, V);
  localparam int SW = $clog2(V + 1);
  // One bit more than the caller's exponent and than FY's own: differences with the limits of FY do not wrap.
  localparam int X = fp_pkg::fp_larger(XW, fp_pkg::fp_span(FY)) + 1;
  localparam logic signed [X-1:0] EMIN = X'(fp_pkg::fp_emin(FY));
  localparam logic signed [X-1:0] EMAX = X'(fp_pkg::fp_emax(FY));
  localparam logic [E+M:0] TOP = (E + M + 1)'(fp_pkg::fp_top(FY));
  localparam logic [E+M:0] NAN = (E + M + 1)'(fp_pkg::fp_nan(FY));

  logic [N-1:0] padded, lifted;
  logic signed [X-1:0] place;
  logic zero, below, over;
  logic [V-1:0] top, kept;
  logic [M:0] fraction;
  logic up;
  logic [E-1:0] field;
  logic [E+M:0] body, magnitude;

  assign padded = N'(significand) << (N - W);
  assign zero = ~(|significand | sticky);

  generate
    if (LEAD == 0) begin : lifted_already
      assign lifted = padded;
      assign place = X'(exponent);
    end else begin : lift
      logic [$clog2(LEAD + 2) - 1:0] places;
      fp_normalize #(.W(N), .LEAD(LEAD)) normalize (.x(padded), .y(lifted), .places(places));
      assign place = X'(exponent) - $signed(X'(places));
    end
    if (N == V) begin : fits
      assign top = {lifted[N-1:1], lifted[0] | sticky};
    end else begin : reduce
      assign top = {lifted[N-1:N-V+1], |lifted[N-V:0] | sticky};
    end
  endgenerate

  assign below = place < EMIN;

  generate
    if (FLUSH) begin : flush
      assign kept = top;
    end else begin : gradual
      // Below the smallest normal the last place stays that of the smallest normal.
      logic [X-1:0] distance;
      logic [SW-1:0] shift;
      logic [V-1:0] moved;
      assign distance = EMIN - place;
      assign shift = ~below ? '0 : distance > X'(V) ? SW'(V) : SW'(distance);
      assign moved = top >> shift;
      assign kept = {moved[V-1:1], moved[0] | ((moved << shift) != top)};
    end
  endgenerate

  assign fraction = kept[V-1:2];
  assign up = kept[1] & (kept[0] | kept[2]);
  assign over = place > EMAX;
  assign field = below ? '0 : E'(place - EMIN);
  // The hidden bit counts up the exponent field, and so does a carry out of the fraction.
  assign body = {1'b0, field, {M{1'b0}}} + (E + M + 1)'(fraction) + (E + M + 1)'(up);

  always_comb begin
    if (inf) magnitude = TOP;
    else if (zero) magnitude = '0;
    // Half a place below the smallest normal and up rounds to it; everything else down there is flushed.
    else if (FLUSH & below) magnitude = place == EMIN - X'(1) && &fraction ? (E + M + 1)'(1) << M : '0;
    else if (over || body > TOP) magnitude = TOP;
    else magnitude = body;
    if (nan || (fp_pkg::fp_finite(FY) && magnitude == TOP)) y = NAN;
    else y = {negative, magnitude[E+M-1:0]};
  end
endmodule
