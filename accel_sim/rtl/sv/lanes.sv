// The lanes machine (docs/machines/lanes.md): P query lanes of FlashAttention-2 with the fused output check.
//
// Every size, format and option comes from the package `lanes_cfg`, which the generator writes for one config.
// A register has the name that it has in the register table; one that a config does not have is not built.
//
// Outside, behind ports: the K/V banks, the Q and O SRAM, and the memory system, which counts tiles and holds
// the whole machine (`hold`: no register is written) while something that it needs has not arrived.
module lanes (
    input  logic clk,
    input  logic rst,   // synchronous: configuration registers load cfg_*, all others become zero
    input  logic hold,

    // Configuration, taken at reset.
    input  logic [lanes_cfg::QUERY_W-1:0]   cfg_last_query,
    input  logic [lanes_cfg::KEY_W-1:0]     cfg_last_key,
    input  logic [lanes_cfg::SCORE_W-1:0]   cfg_scale,
    input  logic [lanes_cfg::CHECKER_W-1:0] cfg_threshold,
    input  logic [lanes_cfg::CHECKER_W-1:0] cfg_scan_threshold,
    input  logic                            cfg_enable,

    // K/V banks: one row of each, in the cycle in which it is asked for.
    output logic                            kv_read,
    output logic                            kv_sel,
    output logic [lanes_cfg::KV_ROW_W-1:0]  kv_row,
    input  logic [lanes_cfg::HEAD_DIM-1:0][lanes_cfg::OPERAND_W-1:0] k_data,
    input  logic [lanes_cfg::HEAD_DIM-1:0][lanes_cfg::OPERAND_W-1:0] v_data,

    // Q SRAM, with the mask bound of the query. q_hit: it has that row.
    output logic                            q_read,
    output logic [lanes_cfg::QUERY_W-1:0]   q_addr,
    input  logic                            q_hit,
    input  logic [lanes_cfg::HEAD_DIM-1:0][lanes_cfg::OPERAND_W-1:0] q_data,
    input  logic [lanes_cfg::KEY_W-1:0]     q_bound,

    // O SRAM.
    output logic                            o_write,
    output logic [lanes_cfg::QUERY_W-1:0]   o_addr,
    output logic [lanes_cfg::HEAD_DIM-1:0][lanes_cfg::OUTPUT_W-1:0] o_data,

    // Memory system. It answers with the parity of the tile that a block begins with, and with `hold`.
    input  logic first_bank,
    output logic block_begins,  // the next cycle is the first of a block's stream
    output logic tile_ends,     // this cycle reads the last row of a bank
    output logic next_tile,     // the next cycle reads row 0 of a tile
    output logic next_swap,     // the next cycle is the first of a swap

    output logic alarm,
    output logic done
);
  localparam int P = lanes_cfg::LANES;
  localparam int D = lanes_cfg::HEAD_DIM;

  logic move;  // a register is written in no other cycle
  assign move = !hold && !done;

  // -- control ------------------------------------------------------------------------------------------
  logic [2:0] phase;
  logic [lanes_cfg::ROW_W-1:0] row;
  logic [lanes_cfg::KEY_W-1:0] key, last_key, tag;
  logic [lanes_cfg::STAGES-1:0] valid;
  logic swapping, drain_last, query_due, pipe_idle, normaliser_busy, checker_busy;
  logic [lanes_cfg::QUERY_W-1:0] drain_addr;

  lanes_controller controller (
      .clk, .rst, .move, .cfg_last_query, .cfg_last_key, .first_bank, .pipe_idle,
      .phase, .row, .query(q_addr), .key, .last_key, .kv_bank(kv_sel), .valid, .tag,
      .fetching(kv_read), .swapping, .query_due, .drain_addr, .drain_last,
      .block_begins, .tile_ends, .next_tile, .next_swap
  );
  assign done = phase[2];
  assign kv_row = key[lanes_cfg::KV_ROW_W-1:0] & lanes_cfg::KV_ROW_MASK;
  assign q_read = swapping && query_due;
  logic unused_key;  // the bits that only the controller and the scans look at
  assign unused_key = &{1'b0, key};
  assign pipe_idle = !normaliser_busy && !checker_busy;

  // -- what all lanes share -----------------------------------------------------------------------------
  logic [D-1:0][lanes_cfg::OPERAND_W-1:0] v, k_now, v_now;
  logic [lanes_cfg::SCORE_W-1:0] scale;
  logic [lanes_cfg::CHECKER_W-1:0] r_now;

  lanes_broadcast broadcast (
      .clk, .rst, .move, .cfg_scale, .fetching(kv_read), .k_data, .v_data, .valid, .scale, .v, .k_now, .v_now
  );
  if (lanes_cfg::CHECK) begin : g_row_sum
    lanes_row_sum row_sum (.clk, .rst, .move, .valid, .v, .r_now);
  end else begin : g_no_row_sum
    assign r_now = '0;
  end

  // -- the lanes ----------------------------------------------------------------------------------------
  logic [P-1:0] lane_active;
  logic [P-1:0][D-1:0][lanes_cfg::STATE_W-1:0] lane_o;
  logic [P-1:0][lanes_cfg::STATE_W-1:0] lane_l, lane_chk_l;
  logic [P-1:0][lanes_cfg::CHECKER_W-1:0] lane_c;

  for (genvar i = 0; i < P; i++) begin : g_lane
    lanes_lane lane (
        .clk, .rst, .move, .load(swapping && row == lanes_cfg::ROW_W'(i)), .load_query(query_due && q_hit),
        .q_data, .q_bound, .k_now, .v_now, .r_now, .scale, .valid, .tag,
        .active(lane_active[i]), .o(lane_o[i]), .l(lane_l[i]), .c(lane_c[i]), .chk_l(lane_chk_l[i])
    );
  end

  // -- reading one lane: by a swap, or by a scan of the check unit ---------------------------------------
  logic scan_read, norm_scan;
  logic [lanes_cfg::ROW_W-1:0] scan_row, read_row;

  if (lanes_cfg::SCANS) begin : g_scan
    lanes_scan scan (
        .clk, .rst, .move, .fetching(kv_read), .tile_ends, .key, .last_key, .swapping,
        .accumulating(valid[lanes_cfg::STAGES-1]), .scan_read, .scan_row, .norm_scan
    );
  end else begin : g_no_scan
    assign scan_read = 1'b0;
    assign scan_row = '0;
    assign norm_scan = 1'b0;
  end
  assign read_row = swapping ? row : scan_row;

  logic read_active;
  logic [D-1:0][lanes_cfg::STATE_W-1:0] read_o;
  logic [lanes_cfg::STATE_W-1:0] read_l, read_chk_l;
  logic [lanes_cfg::CHECKER_W-1:0] read_c;
  always_comb begin
    read_active = lane_active[0];
    read_o = lane_o[0];
    read_l = lane_l[0];
    read_chk_l = lane_chk_l[0];
    read_c = lane_c[0];
    for (int i = 1; i < P; i++) begin
      if (read_row == lanes_cfg::ROW_W'(i)) begin
        read_active = lane_active[i];
        read_o = lane_o[i];
        read_l = lane_l[i];
        read_chk_l = lane_chk_l[i];
        read_c = lane_c[i];
      end
    end
  end

  // -- behind the lanes ---------------------------------------------------------------------------------
  logic norm_valid, norm_last, row_ready, recip_valid, out_valid, out_last;
  logic [D-1:0][lanes_cfg::STATE_W-1:0] norm_o;
  logic [lanes_cfg::STATE_W-1:0] norm_l, recip;

  lanes_normaliser normaliser (
      .clk, .rst, .move, .swapping, .scan_read, .read_active, .read_o, .read_l, .drain_addr, .drain_last,
      .scan_last(scan_row == lanes_cfg::LAST_LANE), .norm_scan,
      .norm_valid, .norm_last, .norm_o, .norm_l, .row_ready, .recip_valid, .recip,
      .out_valid, .out_last, .out_addr(o_addr), .out(o_data), .busy(normaliser_busy)
  );
  assign o_write = out_valid;

  if (lanes_cfg::CHECK) begin : g_check
    logic [lanes_cfg::CHECKER_W-1:0] norm_c, pred_term;
    lanes_check_normaliser normaliser (
        .clk, .rst, .move, .read(swapping || scan_read), .read_c, .read_chk_l, .row_ready, .recip_valid,
        .norm_l, .recip, .norm_c, .pred_term
    );
    lanes_check check (
        .clk, .rst, .move, .cfg_threshold, .cfg_scan_threshold, .cfg_enable, .in_tail(phase == lanes_cfg::IN_TAIL),
        .norm_valid, .norm_last, .norm_scan, .norm_o, .norm_c,
        .out_valid, .out_last, .out(o_data), .pred_term, .busy(checker_busy), .alarm
    );
  end else begin : g_no_check
    assign checker_busy = 1'b0;
    assign alarm = 1'b0;
    // What only a check unit looks at.
    logic unused;
    assign unused = &{1'b0, phase, cfg_threshold, cfg_scan_threshold, cfg_enable, v, read_c, read_chk_l, row_ready,
                      recip_valid, recip, norm_l, norm_o, norm_last, norm_valid, out_last, last_key};
  end
  if (lanes_cfg::CHECK && !lanes_cfg::SCANS) begin : g_only_scans_need
    logic unused;
    assign unused = &{1'b0, last_key, norm_o, norm_valid, norm_last};
  end
endmodule
