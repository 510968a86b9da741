"""How many check bits a memory word has, and where its data bits stand in the code. Plain Python: what the inventory
and the cost model need of `numerics.ecc`, without its kernels.
"""

from __future__ import annotations

PROTECTIONS = ("none", "parity", "secded")
"""Protections by number, as `memory.ecc` names them."""

NONE, PARITY, SECDED = range(3)

WORD_BITS = 64
"""Most data bits that one code word covers."""


def data_position(bit: int) -> int:
    """Position of a data bit in the Hamming code: the `bit`-th number from 1 that is not a power of two."""
    position = bit + 1
    while position - position.bit_length() < bit + 1 or position & (position - 1) == 0:
        position += 1
    return position


def hamming_bits(n: int) -> int:
    """Check bits of the Hamming code of n data bits, without the one over the whole word."""
    return data_position(n - 1).bit_length()


def check_bits(protection: str, n: int) -> int:
    """Check bits of a word of n data bits (1 to 64). Raises ValueError for another size."""
    if not 1 <= n <= WORD_BITS:
        raise ValueError(f"a word has 1 to {WORD_BITS} data bits, not {n}")
    return {"none": 0, "parity": 1, "secded": hamming_bits(n) + 1}[protection]
