// r = Σ v, formed once for all lanes of the check unit, and kept in step with its key's score.
module lanes_row_sum (
    input  logic clk,
    input  logic rst,
    input  logic move,
    input  logic [lanes_cfg::STAGES-1:0] valid,
    input  logic [lanes_cfg::HEAD_DIM-1:0][lanes_cfg::OPERAND_W-1:0] v,
    output logic [lanes_cfg::CHECKER_W-1:0] r_now
);
  localparam int LEVELS = lanes_cfg::LEVELS;
  localparam int WAITS = 4 + lanes_cfg::DEPTH - LEVELS;

  logic [lanes_cfg::TREE-1:0][lanes_cfg::CHECKER_W-1:0] r_tree, sums;
  logic [lanes_cfg::HALF-1:0][lanes_cfg::CHECKER_W-1:0] first;
  logic [WAITS-1:0][lanes_cfg::CHECKER_W-1:0] r_delay;

  lanes_tree_first #(.FX(lanes_cfg::OPERAND), .WX(lanes_cfg::OPERAND_W), .FY(lanes_cfg::CHECKER),
                     .WY(lanes_cfg::CHECKER_W), .CONVERT(1'b1)) from_v (.x(v), .y(first));
  lanes_tree #(.F(lanes_cfg::CHECKER), .W(lanes_cfg::CHECKER_W)) tree (.first, .sums(r_tree), .y(sums));

  always_ff @(posedge clk) begin
    if (rst) begin
      r_tree <= '0;
      r_delay <= '0;
    end else if (move) begin
      for (int i = 0; i < lanes_cfg::TREE; i++) begin
        if (valid[lanes_cfg::TREE_LEVEL[32*i+:32]]) r_tree[i] <= sums[i];
      end
      if (valid[LEVELS]) r_delay[0] <= r_tree[lanes_cfg::TREE-1];
      for (int i = 1; i < WAITS; i++) begin
        if (valid[LEVELS+i]) r_delay[i] <= r_delay[i-1];
      end
    end
  end
  assign r_now = r_delay[WAITS-1];

  logic unused;  // the stages behind the weights
  assign unused = &{1'b0, valid};
endmodule
