// y = e^a by base two and straight lines, in integers, rounded once.
//
// TABLE: row i has the line of piece i in 64 bits: value at its start (24 fraction bits) below, slope (16 fraction
// bits) in the upper half.
module fp_exp_pwl #(
  parameter int FA = 8 * 512 + 23 * 2,
  parameter int FY = FA,
  parameter bit FLUSH = 1'b0,
  parameter int PIECES = 2,
  parameter logic [64*PIECES-1:0] TABLE = '0
) (
  input  logic [fp_pkg::fp_width(FA)-1:0] a,
  output logic [fp_pkg::fp_width(FY)-1:0] y
);
  localparam int XW = fp_pkg::fp_larger(fp_pkg::fp_span(FA), 13);
  localparam int M = fp_pkg::fp_man(FA);
  localparam logic [27:0] LOG2E = 28'd193635251;  // log2(e) * 2^27
  localparam int PW = M + 29;  // the product of significand and constant
  localparam int LOG_PIECES = $clog2(PIECES);
  localparam int DU = 24 - LOG_PIECES;

  logic negative, nan, inf, zero, out_of_range;
  logic signed [XW-1:0] exponent;
  logic [M:0] significand;

  fp_unpack #(.F(FA), .FLUSH(FLUSH), .XW(XW)) read (
    .x(a), .negative(negative), .nan(nan), .inf(inf), .zero(zero), .exponent(exponent), .significand(significand));

  // |a| >= 1024: beyond the range of every format, on either side.
  assign out_of_range = inf | (exponent > XW'(9));

  logic [PW-1:0] full, product;
  assign full = PW'(significand) * PW'(LOG2E);
  generate
    if (PW <= 53) begin : exact
      assign product = full;
    end else begin : binary64
      // An fp64 argument: the product is a binary64 number first.
      localparam int CUT = PW - 53;
      logic [CUT-1:0] half, kept_one;
      logic [PW-1:0] biased;
      assign half = full[PW-1] ? CUT'(1) << (CUT - 1) : CUT'(1) << (CUT - 2);
      assign kept_one = CUT'(full[PW-1] ? full[CUT] : full[CUT-1]);
      assign biased = full + PW'(half) - PW'(1) + PW'(kept_one);
      assign product = full[PW-1] ? {biased[PW-1:CUT], CUT'(0)} : {biased[PW-1:CUT-1], (CUT - 1)'(0)};
      wire unused_low = &{1'b0, biased[CUT-2:0]};
    end
  endgenerate

  // y = a log2(e) at 24 fraction bits: product * 2^(exponent - M - 3), to nearest even. GRID has every bit of it for
  // exponent 9, and one more below; smaller exponents shift right.
  localparam int UP = fp_pkg::fp_larger(6 - M, 0);
  localparam int DOWN = fp_pkg::fp_larger(M - 6, 0);
  localparam int GW = PW + UP + 1;
  localparam int TW = $clog2(GW + 1);
  logic [XW-1:0] wanted;
  logic [TW-1:0] shift;
  logic [GW-1:0] grid, moved;
  logic [35:0] size, fixed;
  logic up;
  assign grid = GW'(product) << (UP + 1);
  assign wanted = XW'(9 + DOWN) - exponent;
  assign shift = wanted > XW'(GW) ? TW'(GW) : TW'(wanted);
  assign moved = grid >> shift;
  assign up = moved[0] & (moved[1] | ((moved << shift) != grid));
  assign size = 36'(moved >> 1) + 36'(up);
  assign fixed = negative ? -size : size;

  logic [64*PIECES-1:0] rows;
  logic [LOG_PIECES-1:0] piece;
  logic [63:0] line;
  logic [40:0] mantissa;
  assign rows = TABLE;
  assign piece = fixed[23-:LOG_PIECES];
  assign line = rows[{piece, 6'd0}+:64];
  assign mantissa = {line[24:0], 16'd0} + 41'(line[48:32]) * 41'(fixed[DU-1:0]);

  fp_round #(.FY(FY), .FLUSH(FLUSH), .W(41), .XW(XW), .LEAD(0)) rounded (
    .nan(nan),
    .inf(out_of_range & ~negative),
    .negative(1'b0),
    .exponent(XW'($signed(fixed[35:24]))),
    .significand(out_of_range ? '0 : mantissa),
    .sticky(1'b0),
    .y(y));

  wire unused = &{1'b0, zero, line[63:49], line[31:25]};
endmodule
