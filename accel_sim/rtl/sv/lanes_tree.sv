// What the registers of an adder tree over head_dim values take next. Combinational.
//
// `sums` are the registers, level by level, the root last; `first` is what level 0 takes. On every level element i
// of n is added to element i + ⌈n/2⌉, and the middle one of an odd n passes through as it is.
module lanes_tree #(
    parameter int F = 0,
    parameter int W = 1
) (
    input  logic [lanes_cfg::HALF-1:0][W-1:0] first,
    input  logic [lanes_cfg::TREE-1:0][W-1:0] sums,
    output logic [lanes_cfg::TREE-1:0][W-1:0] y
);
  assign y[lanes_cfg::HALF-1:0] = first;

  for (genvar level = 1; level < lanes_cfg::LEVELS; level++) begin : g_level
    localparam int N = (lanes_cfg::HEAD_DIM + (1 << level) - 1) >> level;  // registers of the level before
    localparam int HALF = (N + 1) / 2;
    localparam int AT = lanes_cfg::TREE_AT[32*level+:32];
    localparam int BEFORE = AT - N;
    for (genvar i = 0; i < HALF; i++) begin : g_sum
      if (i + HALF < N) begin : g_add
        fp_add #(.FA(F), .FB(F), .FY(F), .FLUSH(lanes_cfg::FLUSH)) add (
            .a(sums[BEFORE+i]), .b(sums[BEFORE+i+HALF]), .y(y[AT+i]));
      end else begin : g_pass
        assign y[AT+i] = sums[BEFORE+i];
      end
    end
  end

  logic unused;  // the root feeds nothing here
  assign unused = &{1'b0, sums};
endmodule
