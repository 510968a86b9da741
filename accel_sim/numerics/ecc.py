"""Check bits of memory words, and what a decoder makes of a word with wrong bits.

A word has up to 64 data bits. Its code word is the data, then the check bits from bit `n` upwards:

* `parity`: one bit that makes the number of ones even;
* `secded`: an extended Hamming code. Data bit i stands at position p(i), the i-th of 3, 5, 6, 7, 9, …, that is, of the
  numbers that are not powers of two; Hamming check bit j makes the ones among the positions with bit j set even; the
  last check bit makes all ones of the code word even.

`encode_word` and `decode_word` are the hardware; `numerics.check_bits` says how many bits that takes.
"""

from __future__ import annotations

import numpy as np

from accel_sim.numerics.check_bits import NONE, PARITY, WORD_BITS, data_position, hamming_bits
from accel_sim.numerics.formats import Codec
from accel_sim.numerics.jit import Word, kernel
from accel_sim.numerics.rounding import _same, _stored_view, encode_value

_COVER = np.array(
    [sum(1 << i for i in range(WORD_BITS) if data_position(i) >> j & 1) for j in range(hamming_bits(WORD_BITS))],
    dtype=np.uint64,
)
"""Data bits that each Hamming check bit covers."""


@kernel
def odd(x: Word) -> Word:
    """1 if a uint64 has an odd number of ones."""
    x = np.uint64(x)
    for shift in (32, 16, 8, 4, 2, 1):
        x ^= x >> np.uint64(shift)
    return np.int64(x & np.uint64(1))


@kernel
def encode_word(data: Word, hamming: int, protection: int) -> Word:
    """Check bits (uint64, low bits) of a word. hamming: `hamming_bits` of its data bits."""
    data = np.uint64(data)
    if protection == NONE:
        return np.uint64(0)
    if protection == PARITY:
        return np.uint64(odd(data))
    check = np.uint64(0)
    for j in range(hamming):
        check |= np.uint64(odd(data & _COVER[j])) << np.uint64(j)
    return check | (np.uint64(odd(data) ^ odd(check)) << np.uint64(hamming))


@kernel
def decode_word(data: Word, check: Word, n: int, hamming: int, protection: int) -> tuple[Word, bool]:
    """What a read delivers: (data, alarm) of a stored word of n data bits with its check bits.

    An alarm means wrong bits that were seen and not corrected; the data is then delivered as stored. Errors beyond
    what the code is made for do what they do: an even number passes `parity`, three bits may be taken for one by
    `secded`, which then "corrects" a fourth.
    """
    data, check = np.uint64(data), np.uint64(check)
    if protection == NONE:
        return data, False
    if protection == PARITY:
        return data, odd(data) != np.int64(check)
    one = np.uint64(1)
    wrong = (encode_word(data, hamming, protection) ^ check) & ((one << np.uint64(hamming)) - one)
    place = np.int64(wrong)
    if odd(data) == odd(check):
        return data, place != 0
    if place == 0 or place & (place - 1) == 0:
        return data, False  # a check bit is wrong, not the data
    length = 0
    while place >> length:
        length += 1
    bit = place - 1 - length
    if bit >= n:
        return data, True  # no such position: three wrong bits or more
    return data ^ (one << np.uint64(bit)), False


@kernel
def stored_pattern(x: float, arith: Codec, stored: Codec) -> Word:
    """The bits (uint64) of a value in a memory of format `stored`, where the arithmetic's format is `arith`.

    The same view of a wide value as `rounding.flip_bits` takes: the bits that a narrower format has.
    """
    if _same(arith, stored):
        return encode_value(x, arith)
    sign, field, fraction, _ = _stored_view(x, stored)
    top = np.int64(stored.exponent_bits + stored.mantissa_bits)
    body = (field << np.int64(stored.mantissa_bits)) | (fraction >> np.int64(52 - stored.mantissa_bits))
    return np.uint64((sign << top) | body)
