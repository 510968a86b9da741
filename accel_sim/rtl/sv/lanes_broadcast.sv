// The key and value that all lanes read, and what keeps them in step with the lanes' pipeline.
module lanes_broadcast (
    input  logic clk,
    input  logic rst,
    input  logic move,
    input  logic [lanes_cfg::SCORE_W-1:0] cfg_scale,
    input  logic fetching,
    input  logic [lanes_cfg::HEAD_DIM-1:0][lanes_cfg::OPERAND_W-1:0] k_data,
    input  logic [lanes_cfg::HEAD_DIM-1:0][lanes_cfg::OPERAND_W-1:0] v_data,
    input  logic [lanes_cfg::STAGES-1:0] valid,

    output logic [lanes_cfg::SCORE_W-1:0] scale,
    output logic [lanes_cfg::HEAD_DIM-1:0][lanes_cfg::OPERAND_W-1:0] v,
    output logic [lanes_cfg::HEAD_DIM-1:0][lanes_cfg::OPERAND_W-1:0] k_now,  // element t as product t needs it
    output logic [lanes_cfg::HEAD_DIM-1:0][lanes_cfg::OPERAND_W-1:0] v_now   // v as its weight needs it
);
  localparam int D = lanes_cfg::HEAD_DIM;
  localparam int W = lanes_cfg::OPERAND_W;
  localparam int DELAYS = 4 + lanes_cfg::DEPTH;

  logic [D-1:0][lanes_cfg::OPERAND_W-1:0] k;
  logic [DELAYS-1:0][D-1:0][lanes_cfg::OPERAND_W-1:0] v_delay;

  always_ff @(posedge clk) begin
    if (rst) begin
      scale <= cfg_scale;
      k <= '0;
      v <= '0;
      v_delay <= '0;
    end else if (move) begin
      if (fetching) begin
        k <= k_data;
        v <= v_data;
      end
      if (valid[0]) v_delay[0] <= v;
      for (int i = 1; i < DELAYS; i++) begin
        if (valid[i]) v_delay[i] <= v_delay[i-1];
      end
    end
  end
  assign v_now = v_delay[DELAYS-1];

  if (lanes_cfg::DOT == lanes_cfg::SERIAL && D > 1) begin : g_serial
    // Product t is formed t cycles after product 0: element t of k waits in stages 1 … t of a triangle, in
    // which stage u holds the elements u … d − 1, one stage after another.
    logic [D*(D-1)/2*W-1:0] k_skew;
    assign k_now[0] = k[0];
    for (genvar u = 1; u < D; u++) begin : g_stage
      localparam int AT = (u - 1) * D - (u - 1) * u / 2;             // element u of this stage
      localparam int BEFORE = (u - 2) * D - (u - 2) * (u - 1) / 2;  // element u − 1 of the one before
      assign k_now[u] = k_skew[AT*W+:W];
      for (genvar t = u; t < D; t++) begin : g_element
        logic [W-1:0] source;
        if (u == 1) begin : g_first
          assign source = k[t];
        end else begin : g_later
          assign source = k_skew[(BEFORE+t-u+1)*W+:W];
        end
        always_ff @(posedge clk) begin
          if (rst) k_skew[(AT+t-u)*W+:W] <= '0;
          else if (move && valid[u-1]) k_skew[(AT+t-u)*W+:W] <= source;
        end
      end
    end
  end else begin : g_together
    assign k_now = k;
  end

  logic unused;  // the stages behind the weights
  assign unused = &{1'b0, valid};
endmodule
