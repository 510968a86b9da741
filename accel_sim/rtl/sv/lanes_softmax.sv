// The softmax of a lane: running maximum, exponentials, running sum.
module lanes_softmax (
    input  logic clk,
    input  logic rst,
    input  logic move,
    input  logic load,
    input  logic [lanes_cfg::STAGES-1:0] valid,
    input  logic masked,
    input  logic [lanes_cfg::SCORE_W-1:0] score,

    output logic allow,
    output logic [lanes_cfg::SCORE_W-1:0] ds,
    output logic [lanes_cfg::SCORE_W-1:0] da,
    output logic [lanes_cfg::EXP_W-1:0] p,
    output logic [lanes_cfg::EXP_W-1:0] a,
    output logic [lanes_cfg::EXP_W-1:0] p_acc,
    output logic [lanes_cfg::EXP_W-1:0] a_acc,
    output logic [lanes_cfg::STATE_W-1:0] l
);
  localparam int DEPTH = lanes_cfg::DEPTH;

  logic seen;
  logic [lanes_cfg::STATE_W-1:0] m, next_m, next_l;
  logic [lanes_cfg::SCORE_W-1:0] next_ds, next_da;
  logic [lanes_cfg::EXP_W-1:0] next_p, next_a;

  lanes_max_math maximum (.score, .m, .seen, .next_m, .next_ds, .next_da);
  lanes_exp_math exponentials (.ds, .da, .allow, .next_p, .next_a);
  lanes_rescale_add #(.F(lanes_cfg::STATE), .W(lanes_cfg::STATE_W), .FX(lanes_cfg::EXP), .WX(lanes_cfg::EXP_W)) sum (
      .acc(l), .a(a_acc), .x(p_acc), .y(next_l));

  always_ff @(posedge clk) begin
    if (rst) begin
      seen <= 1'b0;
      m <= '0;
      allow <= 1'b0;
      ds <= '0;
      da <= '0;
      p <= '0;
      a <= '0;
      p_acc <= '0;
      a_acc <= '0;
      l <= '0;
    end else if (move) begin
      if (valid[2+DEPTH]) begin
        allow <= !masked;
        ds <= masked ? '0 : next_ds;
        da <= masked ? '0 : next_da;
        if (!masked) begin
          m <= next_m;
          seen <= 1'b1;
        end
      end
      if (valid[3+DEPTH]) begin
        p <= next_p;
        a <= next_a;
      end
      if (valid[4+DEPTH]) begin
        p_acc <= p;
        a_acc <= a;
      end
      if (valid[5+DEPTH]) l <= next_l;
      if (load) begin
        seen <= 1'b0;
        m <= '0;
        l <= '0;
      end
    end
  end

  logic unused;  // the stages before the maximum
  assign unused = &{1'b0, valid};
endmodule
