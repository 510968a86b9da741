// Reads a register of format F: what it is, and for a number sign, exponent and significand,
// value = (-1)^negative * 2^exponent * significand / 2^man_bits.
//
// FLUSH: a subnormal reads as a zero of its sign. NORMALIZE: a subnormal is brought to a leading one, and a zero gets
// an exponent below that of any number; otherwise both keep the smallest normal exponent and a significand below one.
module fp_unpack #(
  parameter int F = 8 * 512 + 23 * 2,
  parameter bit FLUSH = 1'b0,
  parameter bit NORMALIZE = 1'b0,
  parameter int XW = fp_pkg::fp_span(F)
) (
  input  logic [fp_pkg::fp_width(F)-1:0] x,
  output logic negative,
  output logic nan,
  output logic inf,
  output logic zero,
  output logic signed [XW-1:0] exponent,
  output logic [fp_pkg::fp_man(F):0] significand
);
  localparam int E = fp_pkg::fp_exp(F);
  localparam int M = fp_pkg::fp_man(F);
  localparam logic signed [XW-1:0] EMIN = XW'(fp_pkg::fp_emin(F));
  localparam logic signed [XW-1:0] BELOW_ALL = -(XW'(1) << (XW - 2));

  logic [E-1:0] field;
  logic [M-1:0] fraction;
  logic tiny;
  logic signed [XW-1:0] stored_exponent;
  logic [M:0] stored;

  assign negative = x[E+M];
  assign field = x[E+M-1:M];
  assign fraction = x[M-1:0];
  assign tiny = field == '0;
  assign nan = &field & (fp_pkg::fp_finite(F) ? &fraction : |fraction);
  assign inf = &field & ~(fp_pkg::fp_finite(F) | (|fraction));
  assign zero = tiny & (FLUSH | ~|fraction);
  assign stored_exponent = tiny ? EMIN : EMIN - XW'(1) + $signed(XW'(field));
  assign stored = FLUSH & tiny ? '0 : {~tiny, fraction};

  generate
    if (NORMALIZE & ~FLUSH) begin : lift
      logic [$clog2(M + 2) - 1:0] places;
      fp_normalize #(.W(M + 1)) normalize (.x(stored), .y(significand), .places(places));
      assign exponent = zero ? BELOW_ALL : stored_exponent - $signed(XW'(places));
    end else begin : as_stored
      assign exponent = NORMALIZE & zero ? BELOW_ALL : stored_exponent;
      assign significand = stored;
    end
  endgenerate
endmodule
