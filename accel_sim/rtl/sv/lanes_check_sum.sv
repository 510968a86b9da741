// The check unit's own running sum of the weights that its checksum uses.
// Kept apart from the datapath, whose arithmetic it repeats: synthesis would otherwise make one of the two.
(* keep_hierarchy *)
module lanes_check_sum (
    input  logic clk,
    input  logic rst,
    input  logic move,
    input  logic load,
    input  logic enable,
    input  logic [lanes_cfg::EXP_W-1:0] p_acc,
    input  logic [lanes_cfg::EXP_W-1:0] a_acc,
    output logic [lanes_cfg::STATE_W-1:0] chk_l
);
  logic [lanes_cfg::STATE_W-1:0] next_l;

  lanes_rescale_add #(.F(lanes_cfg::STATE), .W(lanes_cfg::STATE_W), .FX(lanes_cfg::EXP), .WX(lanes_cfg::EXP_W)) math (
      .acc(chk_l), .a(a_acc), .x(p_acc), .y(next_l));

  always_ff @(posedge clk) begin
    if (rst) chk_l <= '0;
    else if (move && load) chk_l <= '0;
    else if (move && enable) chk_l <= next_l;
  end
endmodule
