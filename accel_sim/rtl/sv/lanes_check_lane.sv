// What the check unit has in a lane: the checksum c, one more output column, and its own copy of every signal
// that it does not share with the datapath.
module lanes_check_lane (
    input  logic clk,
    input  logic rst,
    input  logic move,
    input  logic load,
    input  logic [lanes_cfg::STAGES-1:0] valid,
    input  logic masked,

    // The datapath's.
    input  logic [lanes_cfg::HEAD_DIM-1:0][lanes_cfg::OPERAND_W-1:0] q,
    input  logic [lanes_cfg::HEAD_DIM-1:0][lanes_cfg::OPERAND_W-1:0] k_now,
    input  logic [lanes_cfg::SCORE_W-1:0] scale,
    input  logic [lanes_cfg::SCORE_W-1:0] score,
    input  logic allow,
    input  logic [lanes_cfg::SCORE_W-1:0] ds,
    input  logic [lanes_cfg::SCORE_W-1:0] da,
    input  logic [lanes_cfg::EXP_W-1:0] p,
    input  logic [lanes_cfg::EXP_W-1:0] a,
    input  logic [lanes_cfg::EXP_W-1:0] p_acc,
    input  logic [lanes_cfg::EXP_W-1:0] a_acc,

    input  logic [lanes_cfg::CHECKER_W-1:0] r_now,
    output logic [lanes_cfg::CHECKER_W-1:0] c,
    output logic [lanes_cfg::STATE_W-1:0] chk_l
);
  localparam int DEPTH = lanes_cfg::DEPTH;

  // What the unit works with: its own signal, or the datapath's.
  logic [lanes_cfg::SCORE_W-1:0] use_score, use_ds, use_da;
  logic use_allow;
  logic [lanes_cfg::EXP_W-1:0] use_p, use_p_acc, use_a_acc;

  if (lanes_cfg::OWN_SCORE) begin : g_own_score
    lanes_check_score scores (.clk, .rst, .move, .valid, .q, .k_now, .scale, .chk_score(use_score));
  end else begin : g_shared_score
    assign use_score = score;
  end

  if (lanes_cfg::OWN_MAX) begin : g_own_max
    lanes_check_max maximum (
        .clk, .rst, .move, .load, .enable(valid[2+DEPTH]), .masked, .score(use_score),
        .chk_allow(use_allow), .chk_ds(use_ds), .chk_da(use_da)
    );
  end else begin : g_shared_max
    assign use_allow = allow;
    assign use_ds = ds;
    assign use_da = da;
  end

  if (lanes_cfg::OWN_EXP) begin : g_own_exp
    lanes_check_exp exponentials (
        .clk, .rst, .move, .enable(valid[3+DEPTH]), .enable_acc(valid[4+DEPTH]),
        .ds(use_ds), .da(use_da), .allow(use_allow), .chk_p(use_p), .chk_p_acc(use_p_acc), .chk_a_acc(use_a_acc)
    );
  end else begin : g_shared_exp
    assign use_p = p;
    assign use_p_acc = p_acc;
    assign use_a_acc = a_acc;
  end

  if (lanes_cfg::OWN_SUM) begin : g_own_sum
    lanes_check_sum sum (
        .clk, .rst, .move, .load, .enable(valid[5+DEPTH]), .p_acc(use_p_acc), .a_acc(use_a_acc), .chk_l
    );
  end else begin : g_shared_sum
    assign chk_l = '0;
  end

  logic [lanes_cfg::CHECKER_W-1:0] chk_pr, next_pr, next_c;

  fp_mul #(.FA(lanes_cfg::EXP), .FB(lanes_cfg::CHECKER), .FY(lanes_cfg::CHECKER), .FLUSH(lanes_cfg::FLUSH)) weigh (
      .a(use_p), .b(r_now), .y(next_pr));
  lanes_rescale_add #(.F(lanes_cfg::CHECKER), .W(lanes_cfg::CHECKER_W), .FX(lanes_cfg::CHECKER),
                      .WX(lanes_cfg::CHECKER_W)) accumulate (.acc(c), .a(use_a_acc), .x(chk_pr), .y(next_c));

  always_ff @(posedge clk) begin
    if (rst) begin
      chk_pr <= '0;
      c <= '0;
    end else if (move) begin
      if (valid[4+DEPTH]) chk_pr <= next_pr;
      if (load) c <= '0;
      else if (valid[5+DEPTH]) c <= next_c;
    end
  end

  logic unused;  // what a unit with its own signals, or without, does not look at
  assign unused = &{1'b0, valid, masked, q, k_now, scale, score, allow, ds, da, p, a, p_acc, a_acc,
                    use_score, use_ds, use_da, use_allow, use_p_acc};
endmodule
