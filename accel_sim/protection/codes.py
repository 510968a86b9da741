"""What the protection of one register element makes of wrong bits in it: parity, code, copies.

An element is kept in a cell of its own width, its data, beside one or two *spares*: a parity bit, check bits, one copy
or two. All four protections are linear: which bits come out wrong depends on which bits are wrong, and not on the
value. So wrong bits are all that is handed around here, as masks.

| kind | spares | wrong bits that the logic reads | alarm |
|---|---|---|---|
| `parity` | 1 bit | those of the data | an odd number of wrong bits, parity bit included |
| `secded` | check bits | what the decoder leaves | two, and what the decoder cannot place |
| `dmr` | 1 copy | those of the data | data and copy differ |
| `tmr` | 2 copies | those wrong in two of three | never |
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from accel_sim.numerics.check_bits import SECDED, check_bits, hamming_bits

SPARES = {"parity": 1, "secded": 1, "dmr": 1, "tmr": 2}
"""Kinds of protection, and how many spares each keeps of an element."""

ALARMS = ("parity", "secded", "dmr")
"""Kinds that have an alarm. `tmr` outvotes in silence."""

DETECTS_ONLY = ("parity", "dmr")
"""Kinds that pass on whatever stands in the data."""


class Seen(NamedTuple):
    """What comes of wrong bits: those that the logic reads, whether the check raises the alarm, and whether something
    was corrected (rightly or not) or outvoted."""

    mask: int
    alarm: bool
    corrected: bool


def spare_bits(kind: str, width: int) -> int:
    """Width of one spare of an element of `width` bits."""
    if kind in ("parity", "secded"):
        return check_bits(kind, width)
    return width


@cache
def seen(kind: str, width: int, data: int, spares: tuple[int, ...]) -> Seen:
    """What comes of the wrong bits `data` in an element of `width` bits and `spares` in its spares."""
    if kind == "parity":
        return Seen(data, (data.bit_count() + spares[0].bit_count()) % 2 == 1, False)
    if kind == "dmr":
        return Seen(data, data != spares[0], False)
    if kind == "tmr":
        first, second = spares
        wrong = (data & first) | (data & second) | (first & second)
        return Seen(wrong, False, not data == first == second)
    return _decoded(width, data, spares[0])


def _decoded(width: int, data: int, check: int) -> Seen:
    """The memory's decoder (`numerics.ecc`) on a word of zeros with these bits wrong."""
    from accel_sim.numerics.ecc import decode_word, encode_word

    hamming = hamming_bits(width)
    word, bits = np.uint64(data), np.uint64(check)
    delivered, alarm = decode_word(word, bits, width, hamming, SECDED)
    valid = int(encode_word(word, hamming, SECDED)) == check
    return Seen(int(delivered), bool(alarm), not alarm and not valid)
