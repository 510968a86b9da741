// First level of an adder tree over head_dim values. Combinational.
//
// Element i of n is added to element i + ⌈n/2⌉. The middle one of an odd n passes through: as it is, or with
// CONVERT rounded like the sums beside it.
module lanes_tree_first #(
    parameter int FX = 0,  // of the values
    parameter int WX = 1,
    parameter int FY = 0,  // of the sums
    parameter int WY = 1,
    parameter bit CONVERT = 1'b0
) (
    input  logic [lanes_cfg::HEAD_DIM-1:0][WX-1:0] x,
    output logic [lanes_cfg::HALF-1:0][WY-1:0] y
);
  localparam int HALF = lanes_cfg::HALF;

  for (genvar i = 0; i < HALF; i++) begin : g_sum
    if (i + HALF < lanes_cfg::HEAD_DIM) begin : g_add
      fp_add #(.FA(FX), .FB(FX), .FY(FY), .FLUSH(lanes_cfg::FLUSH)) add (.a(x[i]), .b(x[i+HALF]), .y(y[i]));
    end else if (CONVERT) begin : g_convert
      fp_cvt #(.FA(FX), .FY(FY), .FLUSH(lanes_cfg::FLUSH)) cvt (.a(x[i]), .y(y[i]));
    end else begin : g_pass
      assign y[i] = x[i];
    end
  end
endmodule
