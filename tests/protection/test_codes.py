"""What wrong bits of one element come to, against words that are written, struck and read."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from accel_sim.protection.codes import Seen, seen, spare_bits
from accel_sim.protection.cost import gates
from protection.reference import check, decoded, hamming

WIDTHS = (1, 3, 8, 16, 32, 53, 64)


def some_masks(n: int, count: int) -> list[int]:
    """All masks of up to two bits of n, and some of any."""
    rng = np.random.default_rng(n)
    few = [0, *(1 << i for i in range(n)), *(1 << i | 1 << j for i, j in combinations(range(n), 2))]
    rng.shuffle(few)
    return few[:count] + [int(rng.integers(1 << 62)) & ((1 << n) - 1) for _ in range(count)]


@pytest.mark.parametrize("n", WIDTHS)
def test_what_comes_out_wrong_does_not_depend_on_what_was_written(n):
    """The code on wrong bits alone, against a decoder that searches through the code words of whole values."""
    rng = np.random.default_rng(n)
    found = set()
    for data in some_masks(n, 40):
        for spare in some_masks(spare_bits("secded", n), 12):
            value = int(rng.integers(1 << 62)) & ((1 << n) - 1)
            read, alarm = decoded(value ^ data, check(value, n) ^ spare, n)
            corrected = not alarm and check(value ^ data, n) != check(value, n) ^ spare
            assert seen("secded", n, data, (spare,)) == Seen(read ^ value, alarm, corrected)
            found.add((alarm, corrected))
    assert {(True, False), (False, True), (False, False)} <= found


@pytest.mark.parametrize("n", WIDTHS)
def test_one_wrong_bit_of_a_code_word_is_corrected_and_two_are_seen(n):
    total = n + spare_bits("secded", n)
    for i in range(total):
        one = seen("secded", n, *split(1 << i, n))
        assert one == Seen(0, False, True)
        for j in range(i):
            two = seen("secded", n, *split(1 << i | 1 << j, n))
            assert two.alarm and two.mask == (1 << i | 1 << j) & ((1 << n) - 1)


def split(word: int, n: int) -> tuple[int, tuple[int]]:
    return word & ((1 << n) - 1), (word >> n,)


def test_three_adjacent_bits_may_be_taken_for_a_fourth():
    """The decoder that is built, not the one that is wished for."""
    bursts = [seen("secded", 32, 7 << bit, (0,)) for bit in range(30)]
    wrong = [come for come in bursts if come.mask.bit_count() == 4]
    assert wrong and all(come.corrected and not come.alarm for come in wrong)


@pytest.mark.parametrize("n", (1, 8, 32))
def test_parity_and_copies_do_what_they_are(n):
    for data in some_masks(n, 20):
        for spare in (0, 1):
            assert seen("parity", n, data, (spare,)) == Seen(data, (data.bit_count() + spare) % 2 == 1, False)
        for copy in some_masks(n, 5):
            assert seen("dmr", n, data, (copy,)) == Seen(data, data != copy, False)
            for other in some_masks(n, 3):
                majority = sum(1 << b for b in range(n) if sum(x >> b & 1 for x in (data, copy, other)) > 1)
                assert seen("tmr", n, data, (copy, other)) == Seen(majority, False, not data == copy == other)


def test_the_spares_have_their_well_known_widths():
    assert [spare_bits("secded", n) for n in (1, 8, 16, 32, 64)] == [3, 5, 6, 7, 8]
    assert [spare_bits(kind, 16) for kind in ("parity", "dmr", "tmr")] == [1, 16, 16]


@pytest.mark.parametrize("n", WIDTHS)
def test_the_encoder_has_the_gates_of_its_equations(n):
    """Each check bit is an exclusive or of the data bits in which it has a one: one gate less than bits. The last one
    of them all, written in data bits alone, has those that change it by themselves."""
    ones = [check(1 << i, n) for i in range(n)]
    covered = [sum(bits >> j & 1 for bits in ones) for j in range(hamming(n) + 1)]
    assert gates("secded", n)["encode"] == sum(max(0, count - 1) for count in covered)
