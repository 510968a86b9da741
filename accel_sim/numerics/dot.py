"""Dot products as the hardware does them: an adder tree, a systolic chain, or one rounding at the end.

`tree` and `serial` round each product and each sum into the result format. `fused` adds the exact products without
error and rounds once; it keeps the sum as a row of signed digits wide enough for every product of two fp32 values
(U. Kulisch, "Computer Arithmetic and Validity", 2013: the long accumulator).

A parameter `tiny` is the flush threshold of the operands' format (`Rounding.flush_below`, 0.0 keeps subnormals).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accel_sim.numerics.arithmetic import Vector, fold, mul_vv
from accel_sim.numerics.formats import Rounding
from accel_sim.numerics.jit import Word, kernel
from accel_sim.numerics.rounding import bits_of, from_bits, quiet_below, round_to

_DIGIT_BITS = 32
_LOWEST = -320  # exponent of the last place; the smallest product of two fp32 subnormals is 2^-298
_DIGITS = 20  # the row reaches 2^320; 2^256 is the largest product, which leaves 2^64 of them room
_DIGIT_MASK = np.int64((1 << _DIGIT_BITS) - 1)
_FRACTION = np.int64((1 << 52) - 1)
_HIDDEN = np.int64(1 << 52)
_HEAD_MASK = np.int64((1 << 54) - 1)


def fused_digits() -> int:
    """Length of the int64 array that `dot_fused` and `fused_sum` work in."""
    return _DIGITS


@kernel
def dot_tree(q: Vector, k: Vector, scratch: Vector, r: Rounding, tiny: float) -> float:
    """q . k with every product rounded into r, then summed by the adder tree. scratch: as long as q."""
    n = q.shape[0]
    if n == 0:
        return 0.0
    mul_vv(scratch[:n], q, k, r, tiny, tiny)
    return fold(scratch, n, r)


@kernel
def dot_serial(q: Vector, k: Vector, r: Rounding, tiny: float) -> float:
    """((p0 + p1) + p2) + ..., every product and every sum rounded into r; 0.0 for an empty vector."""
    if q.shape[0] == 0:
        return 0.0
    total = round_to(quiet_below(q[0], tiny) * quiet_below(k[0], tiny), r)
    for i in range(1, q.shape[0]):
        product = round_to(quiet_below(q[i], tiny) * quiet_below(k[i], tiny), r)
        total = round_to(total + product, r)
    return total


@kernel
def _deposit(digits: NDArray[np.int64], bits: Word) -> None:
    """Add a finite binary64 pattern to the row: its 53-bit significand lands on three digits."""
    field = (bits >> np.int64(52)) & np.int64(2047)
    if field == 0:  # zero: products of fp32 values are never binary64 subnormals
        return
    significand = (bits & _FRACTION) | _HIDDEN
    place = field - np.int64(1023 + 52 + _LOWEST)
    if place < 0:
        significand >>= min(-place, np.int64(63))
        place = np.int64(0)
    digit = place >> np.int64(5)
    offset = place & np.int64(31)
    low = (significand & _DIGIT_MASK) << offset
    high = (significand >> np.int64(_DIGIT_BITS)) << offset
    middle = ((low >> np.int64(_DIGIT_BITS)) & _DIGIT_MASK) + (high & _DIGIT_MASK)
    low &= _DIGIT_MASK
    high >>= np.int64(_DIGIT_BITS)
    if bits < 0:
        digits[digit] -= low
        digits[digit + 1] -= middle
        digits[digit + 2] -= high
    else:
        digits[digit] += low
        digits[digit + 1] += middle
        digits[digit + 2] += high


@kernel
def _carry(digits: NDArray[np.int64]) -> Word:
    """Bring every digit into 0..2^32-1; the carry out of the top is the sign: 0, or -1 for a negative sum."""
    carry = np.int64(0)
    for i in range(_DIGITS):
        total = digits[i] + carry
        digits[i] = total & _DIGIT_MASK
        carry = total >> np.int64(_DIGIT_BITS)
    return carry


@kernel
def _rounded(digits: NDArray[np.int64], r: Rounding) -> float:
    """The value of the row, rounded once into r. The row is spent."""
    negative = _carry(digits) < 0
    if negative:
        for i in range(_DIGITS):
            digits[i] = -digits[i]
        _carry(digits)
    top = _DIGITS - 1
    while top >= 0 and digits[top] == 0:
        top -= 1
    if top < 0:
        return 0.0
    # The three leading digits, 96 bits: `head` gets the leading 54 (a significand and a rounding bit), `left` the rest.
    second = digits[top - 1] if top >= 1 else np.int64(0)
    third = digits[top - 2] if top >= 2 else np.int64(0)
    missing = np.int64(0)  # leading zeros of the top digit
    while (digits[top] << missing) >> np.int64(_DIGIT_BITS - 1) == 0:
        missing += 1
    head = ((digits[top] << np.int64(_DIGIT_BITS) | second) >> np.int64(10)) & _HEAD_MASK
    left = (second & np.int64(1023)) << np.int64(_DIGIT_BITS) | third
    head = head << missing | left >> (np.int64(42) - missing)
    sticky = left & ((np.int64(1) << (np.int64(42) - missing)) - np.int64(1)) != 0
    for i in range(top - 2):
        sticky = sticky or digits[i] != 0
    exponent = np.int64(_LOWEST + _DIGIT_BITS * (top - 1) + 10) - missing  # of head's last bit
    significand = head >> np.int64(1)
    rest = (head & np.int64(1)) != 0
    if r.kind == 0:
        if rest and (sticky or (significand & np.int64(1)) != 0):
            significand += 1
    elif rest or sticky:
        significand |= np.int64(1)  # to odd: what round_to needs to round as from the exact sum
    value = np.float64(significand) * from_bits((exponent + np.int64(1 + 1023)) << np.int64(52))
    return round_to(-value if negative else value, r)


@kernel
def fused_sum(products: Vector, n: int, digits: NDArray[np.int64], r: Rounding, tiny: float) -> float:
    """The exact sum of products[:n], rounded once into r.

    products: values up to 2^256 in size and multiples of 2^-320, such as exact products of fp32 values (smaller bits
    are cut off); n below 2^30. `tiny`: flush threshold of the *product* register. digits: int64 scratch of
    `fused_digits()` elements. NaN if an element is NaN or infinities of both signs meet; an infinity if one is there;
    a zero sum is -0 only when every product is -0.
    """
    special = 0.0
    all_negative_zero = n > 0
    digits[:] = 0
    for i in range(n):
        product = quiet_below(products[i], tiny)
        bits = bits_of(product)
        if not abs(product) < np.inf:
            special += product  # inf - inf and NaN do the right thing
        elif product != 0.0:
            all_negative_zero = False
            _deposit(digits, bits)
        elif bits >= 0:
            all_negative_zero = False
    if special != 0.0:
        return round_to(special, r)
    if all_negative_zero:
        return -0.0
    return _rounded(digits, r)


@kernel
def dot_fused(q: Vector, k: Vector, digits: NDArray[np.int64], r: Rounding, tiny: float) -> float:
    """q . k exactly, rounded once into r. Operands up to fp32; the rules of `fused_sum` for specials and zeros."""
    special = 0.0
    all_negative_zero = q.shape[0] > 0
    digits[:] = 0
    for i in range(q.shape[0]):
        product = quiet_below(q[i], tiny) * quiet_below(k[i], tiny)
        bits = bits_of(product)
        if not abs(product) < np.inf:
            special += product
        elif product != 0.0:
            all_negative_zero = False
            _deposit(digits, bits)
        elif bits >= 0:
            all_negative_zero = False
    if special != 0.0:
        return round_to(special, r)
    if all_negative_zero:
        return -0.0
    return _rounded(digits, r)
