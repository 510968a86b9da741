// y = |a| <= b and |a| < infinity: the checker's comparison of a residual with its limit, false for a NaN on either
// side. Reads subnormals as they are.
module fp_abs_le #(
  parameter int FA = 8 * 512 + 23 * 2
) (
  input  logic [fp_pkg::fp_width(FA)-1:0] a,
  input  logic [fp_pkg::fp_width(FA)-1:0] b,
  output logic y
);
  localparam int W = fp_pkg::fp_width(FA);
  localparam logic [W-2:0] TOP = (W - 1)'(fp_pkg::fp_top(FA));
  // The largest pattern that is not a NaN.
  localparam logic [W-2:0] LAST = TOP - (fp_pkg::fp_finite(FA) ? (W - 1)'(1) : '0);

  logic [W-2:0] size_a, size_b;
  logic nan_b, ordered;

  assign size_a = a[W-2:0];
  assign size_b = b[W-2:0];
  assign nan_b = size_b > LAST;
  // A negative limit holds nothing, but -0 is a zero.
  assign ordered = b[W-1] ? size_a == '0 && size_b == '0 : size_a <= size_b;
  assign y = size_a < TOP && ~nan_b && ordered;

  wire unused = &{1'b0, a[W-1]};
endmodule
