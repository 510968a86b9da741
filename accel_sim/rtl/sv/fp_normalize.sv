// Shifts x left until its top bit is set, and counts the places. x has at most LEAD leading zeros (LEAD < W), or is
// zero: then y is zero, and the count means nothing. A logarithmic shifter that finds its own amount, longest step
// first.
module fp_normalize #(
  parameter int W = 24,
  parameter int LEAD = W - 1
) (
  input  logic [W-1:0] x,
  output logic [W-1:0] y,
  output logic [$clog2(LEAD + 2) - 1:0] places
);
  localparam int STEPS = $clog2(LEAD + 1);
  localparam int PW = $clog2(LEAD + 2);

  always_comb begin
    y = x;
    places = '0;
    for (int i = STEPS - 1; i >= 0; i--) begin
      if ((y >> (W - (1 << i))) == '0) begin
        y = y << (1 << i);
        places = places | (PW'(1) << i);
      end
    end
  end
endmodule
