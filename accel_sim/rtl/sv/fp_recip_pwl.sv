// y = 1 / a by straight lines, in integers, rounded once. Powers of two are exact; 1 / 0 is an infinity.
//
// TABLE: row i has the line of piece i in 64 bits: value at its start (24 fraction bits) below, how steeply it falls
// (16 fraction bits, a positive number) in the upper half.
module fp_recip_pwl #(
  parameter int FA = 8 * 512 + 23 * 2,
  parameter int FY = FA,
  parameter bit FLUSH = 1'b0,
  parameter int PIECES = 2,
  parameter logic [64*PIECES-1:0] TABLE = '0
) (
  input  logic [fp_pkg::fp_width(FA)-1:0] a,
  output logic [fp_pkg::fp_width(FY)-1:0] y
);
  localparam int XW = fp_pkg::fp_span(FA);
  localparam int M = fp_pkg::fp_man(FA);
  localparam int LOG_PIECES = $clog2(PIECES);
  localparam int DU = 24 - LOG_PIECES;

  logic negative, nan, inf, zero;
  logic signed [XW-1:0] exponent;
  logic [M:0] significand;

  fp_unpack #(.F(FA), .FLUSH(FLUSH), .NORMALIZE(1'b1), .XW(XW)) read (
    .x(a), .negative(negative), .nan(nan), .inf(inf), .zero(zero), .exponent(exponent), .significand(significand));

  // |a| = 2^exponent * (1 + u), u cut to 24 fraction bits.
  logic [23:0] u;
  generate
    if (M <= 24) begin : whole
      assign u = 24'(significand[M-1:0]) << (24 - M);
    end else begin : cut
      assign u = significand[M-1-:24];
    end
  endgenerate

  logic [64*PIECES-1:0] rows;
  logic [LOG_PIECES-1:0] piece;
  logic [63:0] line;
  logic [40:0] mantissa;
  assign rows = TABLE;
  assign piece = u[23-:LOG_PIECES];
  assign line = rows[{piece, 6'd0}+:64];
  assign mantissa = {line[24:0], 16'd0} - 41'(line[48:32]) * 41'(u[DU-1:0]);

  fp_round #(.FY(FY), .FLUSH(FLUSH), .W(41), .XW(XW), .LEAD(1)) rounded (
    .nan(nan),
    .inf(zero),
    .negative(negative),
    .exponent(-exponent),
    .significand(inf ? '0 : mantissa),
    .sticky(1'b0),
    .y(y));

  wire unused = &{1'b0, significand[M], line[63:49], line[31:25]};
endmodule
