// The two exponentials of a key: its weight, and the correction of what came before. Combinational.
module lanes_exp_math (
    input  logic [lanes_cfg::SCORE_W-1:0] ds,
    input  logic [lanes_cfg::SCORE_W-1:0] da,
    input  logic allow,
    output logic [lanes_cfg::EXP_W-1:0] next_p,
    output logic [lanes_cfg::EXP_W-1:0] next_a
);
  logic [lanes_cfg::EXP_W-1:0] weight;

  lanes_exp weigh (.x(ds), .y(weight));
  lanes_exp correct (.x(da), .y(next_a));
  assign next_p = allow ? weight : '0;  // a masked key weighs nothing
endmodule
