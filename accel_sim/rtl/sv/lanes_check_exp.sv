// The check unit's own exponentials.
// Kept apart from the datapath, whose arithmetic it repeats: synthesis would otherwise make one of the two.
(* keep_hierarchy *)
module lanes_check_exp (
    input  logic clk,
    input  logic rst,
    input  logic move,
    input  logic enable,
    input  logic enable_acc,
    input  logic [lanes_cfg::SCORE_W-1:0] ds,
    input  logic [lanes_cfg::SCORE_W-1:0] da,
    input  logic allow,
    output logic [lanes_cfg::EXP_W-1:0] chk_p,
    output logic [lanes_cfg::EXP_W-1:0] chk_p_acc,
    output logic [lanes_cfg::EXP_W-1:0] chk_a_acc
);
  logic [lanes_cfg::EXP_W-1:0] chk_a, next_p, next_a;

  lanes_exp_math math (.ds, .da, .allow, .next_p, .next_a);

  always_ff @(posedge clk) begin
    if (rst) begin
      chk_p <= '0;
      chk_a <= '0;
      chk_p_acc <= '0;
      chk_a_acc <= '0;
    end else if (move) begin
      if (enable) begin
        chk_p <= next_p;
        chk_a <= next_a;
      end
      if (enable_acc) begin
        chk_p_acc <= chk_p;
        chk_a_acc <= chk_a;
      end
    end
  end
endmodule
