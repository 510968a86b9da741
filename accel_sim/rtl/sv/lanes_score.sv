// The score path of a lane: prod, then tree, chain or dot, then score.
module lanes_score (
    input  logic clk,
    input  logic rst,
    input  logic move,
    input  logic [lanes_cfg::STAGES-1:0] valid,
    input  logic [lanes_cfg::HEAD_DIM-1:0][lanes_cfg::OPERAND_W-1:0] q,
    input  logic [lanes_cfg::HEAD_DIM-1:0][lanes_cfg::OPERAND_W-1:0] k_now,
    input  logic [lanes_cfg::SCORE_W-1:0] scale,
    output logic [lanes_cfg::SCORE_W-1:0] score
);
  localparam int D = lanes_cfg::HEAD_DIM;
  localparam int SUMS = lanes_cfg::SUMS;
  localparam int W = lanes_cfg::SCORE_W;

  logic [D-1:0][lanes_cfg::PROD_W-1:0] prod, next_prod;
  logic [SUMS-1:0][lanes_cfg::SCORE_W-1:0] sums, next_sums;
  logic [lanes_cfg::SCORE_W-1:0] next_score;

  lanes_score_math math (.q, .k_now, .scale, .prod, .sums, .next_prod, .next_sums, .next_score);

  always_ff @(posedge clk) begin
    if (rst) begin
      prod <= '0;
      score <= '0;
    end else if (move) begin
      for (int t = 0; t < D; t++) begin
        if (valid[lanes_cfg::DOT == lanes_cfg::SERIAL ? t : 0]) prod[t] <= next_prod[t];
      end
      if (valid[1+lanes_cfg::DEPTH]) score <= next_score;
    end
  end

  if (lanes_cfg::DOT == lanes_cfg::TREE_SUM) begin : g_tree
    logic [SUMS*W-1:0] tree;
    always_ff @(posedge clk) begin
      for (int i = 0; i < SUMS; i++) begin
        if (rst) tree[i*W+:W] <= '0;
        else if (move && valid[1+lanes_cfg::TREE_LEVEL[32*i+:32]]) tree[i*W+:W] <= next_sums[i];
      end
    end
    assign sums = tree;
  end else if (lanes_cfg::DOT == lanes_cfg::SERIAL) begin : g_serial
    logic [SUMS*W-1:0] chain;
    always_ff @(posedge clk) begin
      for (int i = 0; i < SUMS; i++) begin
        if (rst) chain[i*W+:W] <= '0;
        else if (move && valid[1+i]) chain[i*W+:W] <= next_sums[i];
      end
    end
    assign sums = chain;
  end else begin : g_fused
    logic [SUMS*W-1:0] dot;
    always_ff @(posedge clk) begin
      for (int i = 0; i < SUMS; i++) begin
        if (rst) dot[i*W+:W] <= '0;
        else if (move && valid[1+i]) dot[i*W+:W] <= next_sums[i];
      end
    end
    assign sums = dot;
  end

  logic unused;  // the stages behind the score
  assign unused = &{1'b0, valid};
endmodule
