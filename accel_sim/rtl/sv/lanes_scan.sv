// Scans: reading the lanes inside a block, after a full key tile, for a comparison on rows not yet divided.
module lanes_scan (
    input  logic clk,
    input  logic rst,
    input  logic move,
    input  logic fetching,
    input  logic tile_ends,
    input  logic [lanes_cfg::KEY_W-1:0] key,
    input  logic [lanes_cfg::KEY_W-1:0] last_key,
    input  logic swapping,
    input  logic accumulating,  // a key is in the last stage

    output logic scan_read,
    output logic [lanes_cfg::ROW_W-1:0] scan_row,
    output logic norm_scan
);
  localparam int STAGES = lanes_cfg::STAGES;

  logic [STAGES-1:0] tile_last;
  logic scanning, due, starts;

  // Enough keys must follow for the scan to be over before the drain.
  assign due = fetching && tile_ends && 32'(last_key) >= 32'(key) + lanes_cfg::LANES;
  assign starts = accumulating && tile_last[STAGES-1];
  assign scan_read = scanning && !swapping && 32'(scan_row) < lanes_cfg::LANES;

  always_ff @(posedge clk) begin
    if (rst) begin
      tile_last <= '0;
      scanning <= 1'b0;
      scan_row <= '0;
      norm_scan <= 1'b0;
    end else if (move) begin
      tile_last <= {tile_last[STAGES-2:0], due};
      norm_scan <= scan_read;
      if (starts) begin
        scanning <= 1'b1;
        scan_row <= '0;
      end else if (scanning) begin
        if (32'(scan_row) + 1 >= lanes_cfg::LANES) scanning <= 1'b0;
        else scan_row <= scan_row + 1'b1;
      end
    end
  end
endmodule
