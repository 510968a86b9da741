// Phases, counters and the tags that travel with the keys.
module lanes_controller (
    input  logic clk,
    input  logic rst,
    input  logic move,
    input  logic [lanes_cfg::QUERY_W-1:0] cfg_last_query,
    input  logic [lanes_cfg::KEY_W-1:0]   cfg_last_key,
    input  logic first_bank,  // parity of the tile that a block begins with
    input  logic pipe_idle,   // no row is on its way behind the lanes, no comparison is due

    output logic [2:0]                    phase,
    output logic [lanes_cfg::ROW_W-1:0]   row,
    output logic [lanes_cfg::QUERY_W-1:0] query,
    output logic [lanes_cfg::KEY_W-1:0]   key,
    output logic [lanes_cfg::KEY_W-1:0]   last_key,
    output logic                          kv_bank,
    output logic [lanes_cfg::STAGES-1:0]  valid,
    output logic [lanes_cfg::KEY_W-1:0]   tag,        // key_tag at the maximum
    output logic                          fetching,
    output logic                          swapping,   // a lane is drained and loaded
    output logic                          query_due,  // `query` is one of the head's
    output logic [lanes_cfg::QUERY_W-1:0] drain_addr,
    output logic                          drain_last,

    output logic block_begins,
    output logic tile_ends,
    output logic next_tile,
    output logic next_swap
);
  localparam int STAGES = lanes_cfg::STAGES;
  localparam int TAGS = 3 + lanes_cfg::DEPTH;

  logic [lanes_cfg::QUERY_W-1:0] last_query, first;
  logic [TAGS-1:0][lanes_cfg::KEY_W-1:0] key_tag;
  logic swap_ends, stream_ends, drained;

  assign first = query - lanes_cfg::QUERY_W'(row);  // modulo the counter
  assign fetching = phase == lanes_cfg::IN_STREAM;
  assign swapping = phase == lanes_cfg::IN_SWAP && 32'(row) < lanes_cfg::LANES;
  assign query_due = query <= last_query;
  assign drain_addr = query - lanes_cfg::QUERY_W'(lanes_cfg::LANES);
  assign drain_last = row == lanes_cfg::LAST_LANE && first >= lanes_cfg::QUERY_W'(lanes_cfg::LANES);
  assign tag = key_tag[TAGS-1];

  assign swap_ends = phase == lanes_cfg::IN_SWAP && 32'(row) + 1 >= lanes_cfg::LANES;
  assign block_begins = swap_ends && first <= last_query;
  assign tile_ends = fetching && (32'(key) & (lanes_cfg::KEY_TILE - 1)) == lanes_cfg::KEY_TILE - 1;
  assign stream_ends = fetching && key >= last_key;
  assign next_tile = block_begins || (tile_ends && !stream_ends);
  assign drained = valid[STAGES-2:0] == '0;  // nothing but the last stage is live
  assign next_swap = phase == lanes_cfg::IN_FLUSH && drained;

  always_ff @(posedge clk) begin
    if (rst) begin
      phase <= lanes_cfg::IN_SWAP;
      row <= '0;
      query <= '0;
      key <= '0;
      last_query <= cfg_last_query;
      last_key <= cfg_last_key;
      kv_bank <= 1'b0;
    end else if (move) begin
      case (phase)
        lanes_cfg::IN_SWAP: begin
          query <= query + 1'b1;
          row <= swap_ends ? '0 : row + 1'b1;
          if (block_begins) begin
            phase <= lanes_cfg::IN_STREAM;
            key <= '0;
            kv_bank <= first_bank;
          end else if (swap_ends) begin
            phase <= lanes_cfg::IN_TAIL;
          end
        end
        lanes_cfg::IN_STREAM: begin
          key <= key + 1'b1;
          if (tile_ends) kv_bank <= !kv_bank;
          if (stream_ends) phase <= lanes_cfg::IN_FLUSH;
        end
        lanes_cfg::IN_FLUSH: if (drained) phase <= lanes_cfg::IN_SWAP;
        default: if (pipe_idle) phase <= lanes_cfg::IN_DONE;  // the tail: no cycle moves with phase[2] set
      endcase
    end
  end

  always_ff @(posedge clk) begin
    if (rst) begin
      valid <= '0;
      key_tag <= '0;
    end else if (move) begin
      valid <= {valid[STAGES-2:0], fetching};
      if (fetching) key_tag[0] <= key;
      for (int i = 1; i < TAGS; i++) begin
        if (valid[i-1]) key_tag[i] <= key_tag[i-1];
      end
    end
  end
endmodule
