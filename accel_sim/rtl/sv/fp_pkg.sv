// What a number format is, to the units: one integer F = exp_bits * 512 + man_bits * 2 + finite_only.
//
//   fp32 = 8*512 + 23*2   bf16 = 8*512 + 7*2   fp16 = 5*512 + 10*2   e5m2 = 5*512 + 2*2   e4m3 = 4*512 + 3*2 + 1
//
// finite_only is OCP E4M3: no infinity, and NaN only where exponent and fraction are all ones. In every other format
// the exponent of all ones is infinity or NaN. Sign, exponent, fraction, from the top; the hidden bit is not stored.
//
// Functions of constants only: they give widths and constants, never logic. (Each assigns its own name, because Yosys
// has no `return`; each is called with its scope, because it has no `import`.)
package fp_pkg;
  function automatic int fp_exp(input int F);
    fp_exp = F / 512;
  endfunction

  function automatic int fp_man(input int F);
    fp_man = (F / 2) % 256;
  endfunction

  function automatic bit fp_finite(input int F);
    fp_finite = (F % 2) == 1;
  endfunction

  function automatic int fp_width(input int F);
    fp_width = 1 + F / 512 + (F / 2) % 256;
  endfunction

  // Exponents of the smallest normal and of the largest finite value.
  function automatic int fp_emin(input int F);
    fp_emin = 2 - (1 << (F / 512 - 1));
  endfunction

  function automatic int fp_emax(input int F);
    fp_emax = (1 << (F / 512 - 1)) - 1 + F % 2;
  endfunction

  // The pattern of +infinity without its sign, or, where the format has none, of NaN: the first code that is no number.
  function automatic logic [63:0] fp_top(input int F);
    fp_top = (F % 2) == 1 ? (64'd1 << (F / 512 + (F / 2) % 256)) - 64'd1
                          : ((64'd1 << (F / 512)) - 64'd1) << ((F / 2) % 256);
  endfunction

  // The canonical NaN: positive, quiet, no payload.
  function automatic logic [63:0] fp_nan(input int F);
    fp_nan = (F % 2) == 1 ? (64'd1 << (F / 512 + (F / 2) % 256)) - 64'd1
                          : ((64'd1 << (F / 512 + 1)) - 64'd1) << ((F / 2) % 256 - 1);
  endfunction

  function automatic int fp_larger(input int a, input int b);
    fp_larger = a > b ? a : b;
  endfunction

  // Bits of a signed exponent that holds every exponent of F, subnormals normalised, and the sum or difference of two
  // of them with room to spare: all exponents of F lie within +-2^(bits-3).
  function automatic int fp_span(input int F);
    fp_span = $clog2((1 << (F / 512 - 1)) + (F / 2) % 256 + 1) + 3;
  endfunction
endpackage
