// A machine that flushes subnormals sees a zero of the same sign in their place. Combinational.
module lanes_flush #(
    parameter int F = 8 * 512 + 23 * 2,
    parameter int W = 32
) (
    input  logic [W-1:0] x,
    output logic [W-1:0] y
);
  localparam int M = (F / 2) % 256;  // fraction bits

  if (lanes_cfg::FLUSH) begin : g_flush
    assign y = {x[W-1], x[W-2:M] == '0 ? '0 : x[W-2:0]};
  end else begin : g_keep
    assign y = x;
  end
endmodule
