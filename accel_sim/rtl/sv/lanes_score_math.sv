// What the registers of a score path take next: products, dot product, scaled score. Combinational.
//
// `sums` are the registers between the products and the score: the adder tree, the serial chain, or the fused
// dot product and its retiming.
module lanes_score_math (
    input  logic [lanes_cfg::HEAD_DIM-1:0][lanes_cfg::OPERAND_W-1:0] q,
    input  logic [lanes_cfg::HEAD_DIM-1:0][lanes_cfg::OPERAND_W-1:0] k_now,
    input  logic [lanes_cfg::SCORE_W-1:0] scale,
    input  logic [lanes_cfg::HEAD_DIM-1:0][lanes_cfg::PROD_W-1:0] prod,
    input  logic [lanes_cfg::SUMS-1:0][lanes_cfg::SCORE_W-1:0] sums,

    output logic [lanes_cfg::HEAD_DIM-1:0][lanes_cfg::PROD_W-1:0] next_prod,
    output logic [lanes_cfg::SUMS-1:0][lanes_cfg::SCORE_W-1:0] next_sums,
    output logic [lanes_cfg::SCORE_W-1:0] next_score
);
  localparam int D = lanes_cfg::HEAD_DIM;

  for (genvar t = 0; t < D; t++) begin : g_product
    fp_mul #(.FA(lanes_cfg::OPERAND), .FB(lanes_cfg::OPERAND), .FY(lanes_cfg::PROD), .FLUSH(lanes_cfg::FLUSH)) mul (
        .a(q[t]), .b(k_now[t]), .y(next_prod[t]));
  end

  if (lanes_cfg::DOT == lanes_cfg::TREE_SUM) begin : g_tree
    logic [lanes_cfg::HALF-1:0][lanes_cfg::SCORE_W-1:0] first;
    lanes_tree_first #(.FX(lanes_cfg::SCORE), .WX(lanes_cfg::SCORE_W), .FY(lanes_cfg::SCORE),
                       .WY(lanes_cfg::SCORE_W)) pairs (.x(prod), .y(first));
    lanes_tree #(.F(lanes_cfg::SCORE), .W(lanes_cfg::SCORE_W)) tree (.first, .sums, .y(next_sums));
  end else if (lanes_cfg::DOT == lanes_cfg::SERIAL) begin : g_serial
    assign next_sums[0] = prod[0];
    for (genvar t = 1; t < D; t++) begin : g_add
      fp_add #(.FA(lanes_cfg::SCORE), .FB(lanes_cfg::SCORE), .FY(lanes_cfg::SCORE), .FLUSH(lanes_cfg::FLUSH)) add (
          .a(sums[t-1]), .b(prod[t]), .y(next_sums[t]));
    end
  end else begin : g_fused
    // Exact products are never flushed when they are read; the sum is, once it has been rounded.
    logic [lanes_cfg::SCORE_W-1:0] sum;
    fp_dot_exact #(.FA(lanes_cfg::PROD), .FY(lanes_cfg::SCORE), .N(D), .FLUSH(1'b0)) dot (.a(prod), .y(sum));
    lanes_flush #(.F(lanes_cfg::SCORE), .W(lanes_cfg::SCORE_W)) flush (.x(sum), .y(next_sums[0]));
    for (genvar i = 1; i < lanes_cfg::SUMS; i++) begin : g_retime
      assign next_sums[i] = sums[i-1];
    end
  end

  fp_mul #(.FA(lanes_cfg::SCORE), .FB(lanes_cfg::SCORE), .FY(lanes_cfg::SCORE), .FLUSH(lanes_cfg::FLUSH)) scaled (
      .a(sums[lanes_cfg::SUMS-1]), .b(scale), .y(next_score));
endmodule
