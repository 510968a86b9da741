// The check unit's own score path: the datapath's operands, its own arithmetic and registers.
// Kept apart from the datapath, whose arithmetic it repeats: synthesis would otherwise make one of the two.
(* keep_hierarchy *)
module lanes_check_score (
    input  logic clk,
    input  logic rst,
    input  logic move,
    input  logic [lanes_cfg::STAGES-1:0] valid,
    input  logic [lanes_cfg::HEAD_DIM-1:0][lanes_cfg::OPERAND_W-1:0] q,
    input  logic [lanes_cfg::HEAD_DIM-1:0][lanes_cfg::OPERAND_W-1:0] k_now,
    input  logic [lanes_cfg::SCORE_W-1:0] scale,
    output logic [lanes_cfg::SCORE_W-1:0] chk_score
);
  localparam int D = lanes_cfg::HEAD_DIM;
  localparam int SUMS = lanes_cfg::SUMS;
  localparam int W = lanes_cfg::SCORE_W;

  logic [D-1:0][lanes_cfg::PROD_W-1:0] chk_prod, next_prod;
  logic [SUMS-1:0][lanes_cfg::SCORE_W-1:0] sums, next_sums;
  logic [lanes_cfg::SCORE_W-1:0] next_score;

  lanes_score_math math (.q, .k_now, .scale, .prod(chk_prod), .sums, .next_prod, .next_sums, .next_score);

  always_ff @(posedge clk) begin
    if (rst) begin
      chk_prod <= '0;
      chk_score <= '0;
    end else if (move) begin
      for (int t = 0; t < D; t++) begin
        if (valid[lanes_cfg::DOT == lanes_cfg::SERIAL ? t : 0]) chk_prod[t] <= next_prod[t];
      end
      if (valid[1+lanes_cfg::DEPTH]) chk_score <= next_score;
    end
  end

  if (lanes_cfg::DOT == lanes_cfg::TREE_SUM) begin : g_tree
    logic [SUMS*W-1:0] chk_tree;
    always_ff @(posedge clk) begin
      for (int i = 0; i < SUMS; i++) begin
        if (rst) chk_tree[i*W+:W] <= '0;
        else if (move && valid[1+lanes_cfg::TREE_LEVEL[32*i+:32]]) chk_tree[i*W+:W] <= next_sums[i];
      end
    end
    assign sums = chk_tree;
  end else if (lanes_cfg::DOT == lanes_cfg::SERIAL) begin : g_serial
    logic [SUMS*W-1:0] chk_chain;
    always_ff @(posedge clk) begin
      for (int i = 0; i < SUMS; i++) begin
        if (rst) chk_chain[i*W+:W] <= '0;
        else if (move && valid[1+i]) chk_chain[i*W+:W] <= next_sums[i];
      end
    end
    assign sums = chk_chain;
  end else begin : g_fused
    logic [SUMS*W-1:0] chk_dot;
    always_ff @(posedge clk) begin
      for (int i = 0; i < SUMS; i++) begin
        if (rst) chk_dot[i*W+:W] <= '0;
        else if (move && valid[1+i]) chk_dot[i*W+:W] <= next_sums[i];
      end
    end
    assign sums = chk_dot;
  end

  logic unused;  // the stages behind the score
  assign unused = &{1'b0, valid};
endmodule
