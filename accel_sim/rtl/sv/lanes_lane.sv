// One query lane: its stationary query, the path of its scores, its softmax and its output row, and what the
// check unit has beside them. A load gives the lane its next query and empties it; it wins over the pipeline.
module lanes_lane (
    input  logic clk,
    input  logic rst,
    input  logic move,
    input  logic load,
    input  logic load_query,  // there is a query to load
    input  logic [lanes_cfg::HEAD_DIM-1:0][lanes_cfg::OPERAND_W-1:0] q_data,
    input  logic [lanes_cfg::KEY_W-1:0] q_bound,
    input  logic [lanes_cfg::HEAD_DIM-1:0][lanes_cfg::OPERAND_W-1:0] k_now,
    input  logic [lanes_cfg::HEAD_DIM-1:0][lanes_cfg::OPERAND_W-1:0] v_now,
    input  logic [lanes_cfg::CHECKER_W-1:0] r_now,
    input  logic [lanes_cfg::SCORE_W-1:0] scale,
    input  logic [lanes_cfg::STAGES-1:0] valid,
    input  logic [lanes_cfg::KEY_W-1:0] tag,

    output logic active,
    output logic [lanes_cfg::HEAD_DIM-1:0][lanes_cfg::STATE_W-1:0] o,
    output logic [lanes_cfg::STATE_W-1:0] l,
    output logic [lanes_cfg::CHECKER_W-1:0] c,
    output logic [lanes_cfg::STATE_W-1:0] chk_l
);
  logic [lanes_cfg::HEAD_DIM-1:0][lanes_cfg::OPERAND_W-1:0] q;
  logic [lanes_cfg::KEY_W-1:0] bound;
  logic masked;
  logic [lanes_cfg::SCORE_W-1:0] score, ds, da;
  logic [lanes_cfg::EXP_W-1:0] p, a, p_acc, a_acc;
  logic allow;

  always_ff @(posedge clk) begin
    if (rst) begin
      q <= '0;
      bound <= '0;
      active <= 1'b0;
    end else if (move && load) begin
      q <= load_query ? q_data : '0;
      bound <= load_query ? q_bound : '0;
      active <= load_query;
    end
  end

  // The mask is decided where the score meets the maximum.
  assign masked = tag > bound;

  lanes_score scores (.clk, .rst, .move, .valid, .q, .k_now, .scale, .score);
  lanes_softmax softmax (
      .clk, .rst, .move, .load, .valid, .masked, .score, .allow, .ds, .da, .p, .a, .p_acc, .a_acc, .l
  );
  lanes_output outputs (.clk, .rst, .move, .load, .valid, .p, .a_acc, .v_now, .o);

  if (lanes_cfg::CHECK) begin : g_check
    lanes_check_lane check (
        .clk, .rst, .move, .load, .valid, .masked, .q, .k_now, .scale, .score, .allow, .ds, .da, .p, .a,
        .p_acc, .a_acc, .r_now, .c, .chk_l
    );
  end else begin : g_no_check
    assign c = '0;
    assign chk_l = '0;
    logic unused;
    assign unused = &{1'b0, r_now, allow, ds, da, a, p_acc};
  end
endmodule
