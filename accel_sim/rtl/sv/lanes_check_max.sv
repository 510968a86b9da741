// The check unit's own running maximum and exponents.
// Kept apart from the datapath, whose arithmetic it repeats: synthesis would otherwise make one of the two.
(* keep_hierarchy *)
module lanes_check_max (
    input  logic clk,
    input  logic rst,
    input  logic move,
    input  logic load,
    input  logic enable,
    input  logic masked,
    input  logic [lanes_cfg::SCORE_W-1:0] score,
    output logic chk_allow,
    output logic [lanes_cfg::SCORE_W-1:0] chk_ds,
    output logic [lanes_cfg::SCORE_W-1:0] chk_da
);
  logic chk_seen;
  logic [lanes_cfg::STATE_W-1:0] chk_m, next_m;
  logic [lanes_cfg::SCORE_W-1:0] next_ds, next_da;

  lanes_max_math math (.score, .m(chk_m), .seen(chk_seen), .next_m, .next_ds, .next_da);

  always_ff @(posedge clk) begin
    if (rst) begin
      chk_seen <= 1'b0;
      chk_m <= '0;
      chk_allow <= 1'b0;
      chk_ds <= '0;
      chk_da <= '0;
    end else if (move) begin
      if (enable) begin
        chk_allow <= !masked;
        chk_ds <= masked ? '0 : next_ds;
        chk_da <= masked ? '0 : next_da;
        if (!masked) begin
          chk_m <= next_m;
          chk_seen <= 1'b1;
        end
      end
      if (load) begin
        chk_seen <= 1'b0;
        chk_m <= '0;
      end
    end
  end
endmodule
