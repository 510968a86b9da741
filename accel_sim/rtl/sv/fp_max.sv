// y = the larger of a and b, all of one format (FB and FY must be FA); NaN if either is NaN, +0 of zeros of both signs.
module fp_max #(
  parameter int FA = 8 * 512 + 23 * 2,
  parameter int FB = FA,
  parameter int FY = FA,
  parameter bit FLUSH = 1'b0
) (
  input  logic [fp_pkg::fp_width(FA)-1:0] a,
  input  logic [fp_pkg::fp_width(FB)-1:0] b,
  output logic [fp_pkg::fp_width(FY)-1:0] y
);
  localparam int W = fp_pkg::fp_width(FA);
  localparam int M = fp_pkg::fp_man(FA);
  // The largest pattern that is not a NaN.
  localparam logic [W-2:0] LAST = (W - 1)'(fp_pkg::fp_top(FA)) - (fp_pkg::fp_finite(FA) ? (W - 1)'(1) : '0);
  localparam logic [W-1:0] NAN = W'(fp_pkg::fp_nan(FA));

  logic [W-2:0] size_a, size_b;
  logic nan_a, nan_b, a_wins;

  assign size_a = FLUSH && a[W-2:M] == '0 ? '0 : a[W-2:0];
  assign size_b = FLUSH && b[W-2:M] == '0 ? '0 : b[W-2:0];
  assign nan_a = size_a > LAST;
  assign nan_b = size_b > LAST;
  // Patterns order like sign and magnitude; of two zeros this takes the positive one.
  assign a_wins = a[W-1] != b[W-1] ? b[W-1] : a[W-1] ? size_a < size_b : size_a > size_b;
  assign y = nan_a | nan_b ? NAN : a_wins ? {a[W-1], size_a} : {b[W-1], size_b};
endmodule
