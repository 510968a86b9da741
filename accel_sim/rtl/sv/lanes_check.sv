// The end of the check unit: the sum of every delivered (or scanned) row, the two sums over rows, the comparison
// and the alarm.
module lanes_check (
    input  logic clk,
    input  logic rst,
    input  logic move,
    input  logic [lanes_cfg::CHECKER_W-1:0] cfg_threshold,
    input  logic [lanes_cfg::CHECKER_W-1:0] cfg_scan_threshold,
    input  logic cfg_enable,
    input  logic in_tail,  // the last swap is over: the row that is delivered now is the head's last

    // A scanned row, read from the normaliser's operand registers.
    input  logic norm_valid,
    input  logic norm_last,
    input  logic norm_scan,
    input  logic [lanes_cfg::HEAD_DIM-1:0][lanes_cfg::STATE_W-1:0] norm_o,
    input  logic [lanes_cfg::CHECKER_W-1:0] norm_c,

    // A delivered row.
    input  logic out_valid,
    input  logic out_last,
    input  logic [lanes_cfg::HEAD_DIM-1:0][lanes_cfg::OUTPUT_W-1:0] out,
    input  logic [lanes_cfg::CHECKER_W-1:0] pred_term,

    output logic busy,
    output logic alarm
);
  localparam int LEVELS = lanes_cfg::LEVELS;
  localparam int TREE = lanes_cfg::TREE;
  localparam int WC = lanes_cfg::CHECKER_W;

  logic [TREE-1:0][WC-1:0] out_tree, sums;
  logic [LEVELS-1:0][WC-1:0] pred_delay;
  logic [LEVELS-1:0] sum_valid, sum_last;
  logic [WC-1:0] pred, act, residual, limit, threshold;
  logic compare, judge, enable;

  // -- the row's two sums -------------------------------------------------------------------------------
  logic [lanes_cfg::HALF-1:0][WC-1:0] out_first, first;
  lanes_tree_first #(.FX(lanes_cfg::OUTPUT), .WX(lanes_cfg::OUTPUT_W), .FY(lanes_cfg::CHECKER), .WY(WC),
                     .CONVERT(1'b1)) from_out (.x(out), .y(out_first));
  lanes_tree #(.F(lanes_cfg::CHECKER), .W(WC)) tree (.first, .sums(out_tree), .y(sums));

  logic row_valid, row_last;
  logic [WC-1:0] row_pred;
  logic delivered_last;
  assign delivered_last = out_last && (lanes_cfg::GRANULARITY != lanes_cfg::HEAD || in_tail);

  logic [LEVELS:0] row_here;  // a row stands before level i
  assign row_here = {sum_valid, row_valid};

  logic [WC-1:0] use_threshold;

  if (lanes_cfg::SCANS) begin : g_scans
    logic [LEVELS-1:0] sum_scan;
    logic compare_scan;
    logic [WC-1:0] scan_threshold;
    logic [lanes_cfg::HALF*WC-1:0] scan_first;

    lanes_tree_first #(.FX(lanes_cfg::STATE), .WX(lanes_cfg::STATE_W), .FY(lanes_cfg::CHECKER), .WY(WC),
                       .CONVERT(1'b1)) from_lane (.x(norm_o), .y(scan_first));

    assign first = norm_scan ? scan_first : out_first;
    assign row_valid = norm_scan ? norm_valid : out_valid;
    assign row_last = norm_scan ? norm_last : delivered_last;
    assign row_pred = norm_scan ? norm_c : pred_term;
    assign use_threshold = compare_scan ? scan_threshold : threshold;

    always_ff @(posedge clk) begin
      if (rst) begin
        sum_scan <= '0;
        compare_scan <= 1'b0;
        scan_threshold <= cfg_scan_threshold;
      end else if (move) begin
        sum_scan[0] <= norm_scan;
        for (int i = 1; i < LEVELS; i++) sum_scan[i] <= sum_scan[i-1];
        compare_scan <= sum_scan[LEVELS-1];
      end
    end
  end else begin : g_no_scans
    assign first = out_first;
    assign row_valid = out_valid;
    assign row_last = delivered_last;
    assign row_pred = pred_term;
    assign use_threshold = threshold;
    logic unused;
    assign unused = &{1'b0, cfg_scan_threshold, norm_valid, norm_last, norm_scan, norm_o, norm_c};
  end

  always_ff @(posedge clk) begin
    if (rst) begin
      out_tree <= '0;
      pred_delay <= '0;
      sum_valid <= '0;
      sum_last <= '0;
    end else if (move) begin
      sum_valid[0] <= row_valid;
      sum_last[0] <= row_last;
      if (row_valid) pred_delay[0] <= row_pred;
      for (int i = 1; i < LEVELS; i++) begin
        sum_valid[i] <= sum_valid[i-1];
        sum_last[i] <= sum_last[i-1];
        if (sum_valid[i-1]) pred_delay[i] <= pred_delay[i-1];
      end
      for (int i = 0; i < TREE; i++) begin
        if (row_here[lanes_cfg::TREE_LEVEL[32*i+:32]]) out_tree[i] <= sums[i];
      end
    end
  end

  // -- the sums over rows, and the comparison that empties them -----------------------------------------
  logic arrives;
  logic [WC-1:0] pred_so_far, act_so_far, pred_sum, act_sum, difference, allowed;
  assign arrives = sum_valid[LEVELS-1];
  assign pred_so_far = compare ? '0 : pred;
  assign act_so_far = compare ? '0 : act;

  fp_add #(.FA(lanes_cfg::CHECKER), .FB(lanes_cfg::CHECKER), .FY(lanes_cfg::CHECKER),
           .FLUSH(lanes_cfg::FLUSH)) add_pred (.a(pred_so_far), .b(pred_delay[LEVELS-1]), .y(pred_sum));
  fp_add #(.FA(lanes_cfg::CHECKER), .FB(lanes_cfg::CHECKER), .FY(lanes_cfg::CHECKER),
           .FLUSH(lanes_cfg::FLUSH)) add_act (.a(act_so_far), .b(out_tree[TREE-1]), .y(act_sum));
  fp_sub #(.FA(lanes_cfg::CHECKER), .FB(lanes_cfg::CHECKER), .FY(lanes_cfg::CHECKER),
           .FLUSH(lanes_cfg::FLUSH)) subtract (.a(pred), .b(act), .y(difference));
  lanes_limit limits (.threshold(use_threshold), .pred, .act, .y(allowed));

  logic passes;
  fp_abs_le #(.FA(lanes_cfg::CHECKER)) predicate (.a(residual), .b(limit), .y(passes));

  always_ff @(posedge clk) begin
    if (rst) begin
      pred <= '0;
      act <= '0;
      compare <= 1'b0;
      residual <= '0;
      limit <= '0;
      judge <= 1'b0;
      threshold <= cfg_threshold;
      enable <= cfg_enable;
      alarm <= 1'b0;
    end else if (move) begin
      if (arrives || compare) begin
        pred <= arrives ? pred_sum : '0;
        act <= arrives ? act_sum : '0;
      end
      compare <= sum_last[LEVELS-1];
      if (compare) begin
        residual <= difference;
        limit <= allowed;
      end
      judge <= compare;
      if (judge && enable && !passes) alarm <= 1'b1;
    end
  end

  assign busy = out_valid || out_last || compare || sum_valid != '0 || sum_last != '0;

  logic unused;
  assign unused = &{1'b0, in_tail};
endmodule
