"""One rounding, and the bit patterns: what happens when a value enters a register or a bit of it is struck.

A value is a binary64 number that its register's format can hold. `round_to` brings an exact (or rounded-to-odd)
binary64 value into a format; `quiet` is the operand read of a machine without subnormals; `encode_value` and
`decode_value` go between value and pattern on integers only, so NaN payloads survive; `flip_bits` and `force_bits`
strike the pattern.

All kernels are scalar, except the two array loops that `Format.encode` and `Format.decode` use.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from accel_sim.numerics.formats import Codec, Rounding
from accel_sim.numerics.jit import Word, kernel

NAN = np.float64(np.nan)  # the canonical NaN: positive, quiet, payload 0x8000000000000

_SIGN = np.int64(-(2**63))
_MAGNITUDE = np.int64(2**63 - 1)
_EXPONENT = np.int64(0x7FF << 52)
_FRACTION = np.int64((1 << 52) - 1)
_HIDDEN = np.int64(1 << 52)
_QUIET_BIT = np.int64(1 << 51)
_ONE = np.int64(1)
_ZERO = np.int64(0)

_FN = 1
_UINT = 2
_SIGNED = 3


@kernel
def bits_of(x: float) -> Word:
    """The binary64 pattern of x, as a signed 64-bit integer."""
    return np.float64(x).view(np.int64)


@kernel
def from_bits(bits: Word) -> float:
    """The binary64 value of a signed 64-bit pattern."""
    return np.int64(bits).view(np.float64)


@kernel
def round_64(x: float, flush_below: float) -> float:
    """`round_to` for binary64: canonical NaN, then flush."""
    y = x * 0.0 if abs(x) < flush_below else x
    return NAN if math.isnan(y) else y


@kernel
def round_32(x: float, flush_below: float) -> float:
    """`round_to` for binary32: the CPU's conversion rounds to nearest even, subnormals and overflow included."""
    y = np.float64(np.float32(x))
    y = y * 0.0 if abs(y) < flush_below else y
    return NAN if math.isnan(y) else y


@kernel
def round_narrow(
    x: float, magic: float, min_normal: float, max_finite: float, overflow: float, flush_below: float
) -> float:
    """`round_to` for any format narrower than binary64, without branches so that loops vectorise.

    With q the quantum of the format at x, adding 1.5 * 2^52 * q moves x to where binary64 has quantum q, and the
    addition itself rounds to nearest even; subtracting gives the rounded value exactly.
    """
    sign = bits_of(x) & _SIGN
    size = from_bits(bits_of(x) & _MAGNITUDE)
    clamped = size if size > min_normal else min_normal
    shifter = from_bits(bits_of(clamped) & _EXPONENT) * magic
    rounded = (size + shifter) - shifter
    # Not "rounded > max_finite": for a huge x the shifter is infinite and `rounded` is NaN.
    in_range = rounded <= max_finite
    kept = rounded * 0.0 if rounded < flush_below else rounded
    y = from_bits(bits_of(kept if in_range else size * overflow) | sign)
    return NAN if math.isnan(y) else y


@kernel
def round_to(x: float, r: Rounding) -> float:
    """Round x once, to nearest even, into the format of r.

    Beyond the largest finite value (after rounding): infinity, or NaN in fp8_e4m3. Every NaN becomes the canonical
    one. With flush, a result that is subnormal *after* rounding becomes a zero of its sign.
    """
    if r.kind == 1:
        return round_32(x, r.flush_below)
    if r.kind == 0:
        return round_64(x, r.flush_below)
    if r.kind == _SIGNED:
        return wrap(x, r.magic)
    return round_narrow(x, r.magic, r.min_normal, r.max_finite, r.overflow, r.flush_below)


@kernel
def wrap(x: float, modulus: float) -> float:
    """`round_to` for a signed integer: x, made whole (to nearest even), modulo 2^width, from −2^(width−1) on. Exact for
    |x| up to 2^53."""
    whole = float(np.rint(x))
    return whole - float(np.floor(whole / modulus + 0.5)) * modulus


@kernel
def quiet_below(x: float, tiny: float) -> float:
    """Operand read with a threshold: a magnitude below `tiny` reads as a zero of its sign (0.0: as it is)."""
    return x * 0.0 if abs(x) < tiny else x


@kernel
def quiet(x: float, r: Rounding) -> float:
    """Operand read of a register of r's format: when r flushes, a subnormal reads as a zero of its sign."""
    return quiet_below(x, r.flush_below)


@kernel
def _encode(x: float, c: Codec) -> Word:
    """`encode_value` on signed integers (mixing signed and unsigned would turn into floats)."""
    if c.kind == _UINT:
        return np.int64(x)
    if c.kind == _SIGNED:
        return np.int64(x) & ((_ONE << np.int64(c.mantissa_bits)) - _ONE)
    bits = bits_of(x)
    if c.exponent_bits == 11 and c.mantissa_bits == 52:
        return bits
    dropped = np.int64(52 - c.mantissa_bits)
    all_ones = (_ONE << np.int64(c.exponent_bits)) - _ONE
    sign = ((bits >> np.int64(63)) & _ONE) << np.int64(c.exponent_bits + c.mantissa_bits)
    field = (bits & _EXPONENT) >> np.int64(52)
    fraction = bits & _FRACTION
    if field == 2047:
        if c.kind == _FN:  # one NaN, and no infinity
            return sign | (all_ones << np.int64(c.mantissa_bits)) | ((_ONE << np.int64(c.mantissa_bits)) - _ONE)
        top = fraction >> dropped
        if fraction != 0 and top == 0:  # the payload has no bit here: stay a NaN
            top = _ONE << np.int64(c.mantissa_bits - 1)
        return sign | (all_ones << np.int64(c.mantissa_bits)) | top
    stored = field - np.int64(1023) + np.int64(c.bias)
    if stored >= 1:
        return sign | (stored << np.int64(c.mantissa_bits)) | (fraction >> dropped)
    shift = dropped + _ONE - stored  # subnormal of the format, or zero
    if field == 0 or shift > 63:
        return sign
    return sign | ((fraction | _HIDDEN) >> shift)


@kernel
def _decode(bits: Word, c: Codec) -> float:
    """`decode_value` on signed integers."""
    if c.kind == _UINT:
        return np.float64(np.int64(bits))
    if c.kind == _SIGNED:
        spare = np.int64(64 - c.mantissa_bits)
        return np.float64((np.int64(bits) << spare) >> spare)
    if c.exponent_bits == 11 and c.mantissa_bits == 52:
        return from_bits(bits)
    all_ones = (_ONE << np.int64(c.exponent_bits)) - _ONE
    top_mantissa = (_ONE << np.int64(c.mantissa_bits)) - _ONE
    sign = ((bits >> np.int64(c.exponent_bits + c.mantissa_bits)) & _ONE) << np.int64(63)
    stored = (bits >> np.int64(c.mantissa_bits)) & all_ones
    mantissa = bits & top_mantissa
    if stored == all_ones:
        if c.kind != _FN:
            return from_bits(sign | _EXPONENT | (mantissa << np.int64(52 - c.mantissa_bits)))
        if mantissa == top_mantissa:
            return from_bits(sign | _EXPONENT | _QUIET_BIT)
    if stored == 0:
        scale = from_bits(np.int64(1024 - c.bias - c.mantissa_bits) << np.int64(52))
        return from_bits(sign | bits_of(np.float64(mantissa) * scale))
    field = stored - np.int64(c.bias) + np.int64(1023)
    return from_bits(sign | (field << np.int64(52)) | (mantissa << np.int64(52 - c.mantissa_bits)))


@kernel
def encode_value(x: float, c: Codec) -> Word:
    """The bit pattern (uint64, low bits) of x in format c. x must belong to the format; lower bits are cut off.

    A NaN keeps its sign and the payload bits that the format has; the canonical NaN gives the format's canonical one
    (ieee: sign 0, exponent ones, top mantissa bit; fn: 0x7F).
    """
    return np.uint64(_encode(x, c))


@kernel
def decode_value(bits: Word, c: Codec) -> float:
    """The value of pattern `bits` in format c, exactly. Inverse of `encode_value` for every pattern, NaNs included."""
    return _decode(np.int64(bits), c)


@kernel
def encode_array(out: NDArray[np.uint64], values: NDArray[np.float64], c: Codec) -> None:
    """`encode_value` of each element, into out."""
    for i in range(values.shape[0]):
        out[i] = np.uint64(_encode(values[i], c))


@kernel
def decode_array(out: NDArray[np.float64], bits: NDArray[np.uint64], c: Codec) -> None:
    """`decode_value` of each element, into out."""
    for i in range(bits.shape[0]):
        out[i] = _decode(np.int64(bits[i]), c)


@kernel
def _same(a: Codec, b: Codec) -> bool:
    return a.kind == b.kind and a.exponent_bits == b.exponent_bits and a.mantissa_bits == b.mantissa_bits


@kernel
def _stored_view(x: float, s: Codec) -> tuple[Word, Word, Word, Word]:
    """Read a wide value x through a narrower floating format s: (sign, field, fraction, excess).

    field: the exponent field that s has for x; fraction: 52 bits, of which the top s.mantissa_bits are stored and
    the rest belong to the wide value; excess: powers of two by which x is above the largest exponent of s.
    """
    bits = bits_of(x)
    sign = (bits >> np.int64(63)) & _ONE
    field = (bits & _EXPONENT) >> np.int64(52)
    fraction = bits & _FRACTION
    all_ones = (_ONE << np.int64(s.exponent_bits)) - _ONE
    if field == 2047:
        if s.kind == _FN:
            fraction |= ((_ONE << np.int64(s.mantissa_bits)) - _ONE) << np.int64(52 - s.mantissa_bits)
        return sign, all_ones, fraction, _ZERO
    stored = field - np.int64(1023) + np.int64(s.bias)
    if stored >= 1:
        top_field = all_ones if s.kind == _FN else all_ones - _ONE
        excess = stored - top_field if stored > top_field else _ZERO
        return sign, stored - excess, fraction, excess
    shift = _ONE - stored
    if field == 0 or shift > 52:
        return sign, _ZERO, _ZERO, _ZERO
    return sign, _ZERO, (fraction | _HIDDEN) >> shift, _ZERO


@kernel
def _from_stored_view(sign: Word, field: Word, fraction: Word, excess: Word, c: Codec, s: Codec) -> float:
    """The value of the parts of `_stored_view`, cut to the mantissa that the arithmetic format c has."""
    top_sign = sign << np.int64(63)
    all_ones = (_ONE << np.int64(s.exponent_bits)) - _ONE
    cut = ~((_ONE << np.int64(52 - c.mantissa_bits)) - _ONE)
    if field == all_ones:
        stored_ones = ((_ONE << np.int64(s.mantissa_bits)) - _ONE) << np.int64(52 - s.mantissa_bits)
        if s.kind != _FN:
            return from_bits(top_sign | _EXPONENT | fraction)
        if fraction & stored_ones == stored_ones:
            return from_bits(top_sign | _EXPONENT | _QUIET_BIT)
    if field == 0:
        scale = from_bits(np.int64(1024 - s.bias - 52) << np.int64(52))
        return from_bits(top_sign | (bits_of(np.float64(fraction) * scale) & cut))
    wide = field + excess - np.int64(s.bias) + np.int64(1023)
    return from_bits(top_sign | (wide << np.int64(52)) | (fraction & cut))


@kernel
def _strike(x: float, c: Codec, s: Codec, keep: Word, toggle: Word) -> float:
    """The value whose stored pattern is (old & keep) ^ toggle: one rule for flips and for stuck bits."""
    if _same(c, s):
        return _decode((_encode(x, c) & keep) ^ toggle, c)
    sign, field, fraction, excess = _stored_view(x, s)
    hidden_bits = np.int64(52 - s.mantissa_bits)
    mantissa_bits = np.int64(s.mantissa_bits)
    low = fraction & ((_ONE << hidden_bits) - _ONE)
    body = (field << mantissa_bits) | (fraction >> hidden_bits)
    body_mask = (_ONE << np.int64(s.exponent_bits + s.mantissa_bits)) - _ONE
    sign_at = np.int64(s.exponent_bits + s.mantissa_bits)
    new_body = ((body & keep) ^ toggle) & body_mask
    new_sign = (((sign << sign_at) & keep) ^ toggle) >> sign_at & _ONE
    if new_body == body:  # nothing but the sign can have changed: keep every bit of the wide value
        return from_bits((bits_of(x) & _MAGNITUDE) | (new_sign << np.int64(63)))
    new_field = new_body >> mantissa_bits
    new_fraction = ((new_body & ((_ONE << mantissa_bits) - _ONE)) << hidden_bits) | low
    return _from_stored_view(new_sign, new_field, new_fraction, excess, c, s)


@kernel
def flip_bits(x: float, c_arith: Codec, c_stored: Codec, mask: Word) -> float:
    """x after the bits of `mask` (uint64) are inverted in the register that holds it.

    c_arith is the format of the arithmetic (and of x), c_stored that of the register. When they are the same format:
    encode, exclusive or, decode.

    When the stored format is narrower (its exponent range and mantissa inside the arithmetic's), only the bits that
    it has can be struck: sign, exponent field, top mantissa bits. x is read as if its register had the stored
    format's exponent field and the full mantissa; the mantissa bits below the stored ones ride along unchanged. So
    with bf16 stored and fp32 arithmetic this is exactly a flip in the upper half of the fp32 pattern. In general:

    * normal in the stored range: the field is the unbiased exponent with the stored format's bias;
    * zero: all fields zero, so a mantissa flip gives a subnormal of the stored format, an exponent flip a power of two;
    * below the stored format's normals: field zero and a fixed-point fraction under 2^emin; a flip that sets exponent
      bits makes the leading one appear. Bits below 2^(emin-52), or beyond the arithmetic's mantissa, are cut off;
    * above the stored range: read as the largest normal exponent field; the excess power of two is put back after;
    * a field of all ones reads as the stored format reads it: ieee infinity when the full fraction is zero, else NaN
      with that payload, so that a second flip of the same bits restores x; fn NaN when the stored mantissa is all
      ones too (x cannot be restored from it), else a number. Infinity and NaN in x are read as that field.

    When only the sign changes, no other bit of x changes.
    """
    return _strike(x, c_arith, c_stored, np.int64(-1), np.int64(mask))


@kernel
def force_bits(x: float, c_arith: Codec, c_stored: Codec, mask: Word, value_mask: Word) -> float:
    """x after the bits of `mask` are forced to those of `value_mask` (both uint64): a stuck-at fault.

    The bits are those of the stored format, under the rules of `flip_bits`. When they already have the forced values
    x is returned unchanged.
    """
    chosen = np.int64(mask)
    return _strike(x, c_arith, c_stored, ~chosen, np.int64(value_mask) & chosen)
