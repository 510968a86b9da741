"""Check bits against a code built from its definition: what one, two and more wrong bits of a word come to."""

from __future__ import annotations

from functools import reduce
from itertools import combinations
from operator import xor

import numpy as np
import pytest

from accel_sim.numerics.check_bits import NONE, PARITY, SECDED, check_bits, data_position, hamming_bits
from accel_sim.numerics.ecc import decode_word, encode_word, stored_pattern
from accel_sim.numerics.formats import FORMATS
from accel_sim.numerics.rounding import flip_bits

WIDTHS = (8, 16, 24, 32, 40, 64)
POSITIONS = [p for p in range(1, 72) if p & (p - 1)]
"""Where the data bits of a Hamming code stand."""


def words(n: int) -> list[int]:
    rng = np.random.default_rng(n)
    return [0, (1 << n) - 1, *(int(rng.integers(1 << 63)) * 2 % (1 << n) + 1 for _ in range(4))]


def encoded(data: int, n: int) -> int:
    """The code word, check bits above the data, from the definition alone."""
    r = hamming_bits(n)
    hamming = reduce(xor, (POSITIONS[i] for i in range(n) if data >> i & 1), 0)
    word = data | hamming << n
    return word | (word.bit_count() & 1) << (n + r)


def decoded(word: int, n: int) -> tuple[int, bool]:
    """(data, alarm) by search: the nearest code word one wrong bit away, if there is one."""
    total = n + hamming_bits(n) + 1
    data = word & ((1 << n) - 1)
    if encoded(data, n) == word:
        return data, False
    for bit in range(total):
        near = (word ^ 1 << bit) & ((1 << n) - 1)
        if encoded(near, n) == word ^ 1 << bit:
            return near, False
    return data, True


def read(word: int, n: int, protection: int) -> tuple[int, bool]:
    """The decoder under test on a whole code word."""
    hamming = hamming_bits(n) if protection == SECDED else 0
    data, alarm = decode_word(np.uint64(word & ((1 << n) - 1)), np.uint64(word >> n), n, hamming, protection)
    return int(data), bool(alarm)


def stored(data: int, n: int, protection: int) -> int:
    """The encoder under test."""
    return data | int(encode_word(np.uint64(data), hamming_bits(n) if protection == SECDED else 0, protection)) << n


def test_the_codes_have_their_well_known_sizes():
    assert [check_bits("secded", n) for n in (8, 16, 32, 64)] == [5, 6, 7, 8]
    assert [check_bits("parity", n) for n in (8, 64)] == [1, 1] and check_bits("none", 64) == 0
    assert [data_position(i) for i in range(57 + 7)] == POSITIONS[:64]
    for n in (0, 65):
        with pytest.raises(ValueError, match="1 to 64"):
            check_bits("secded", n)


@pytest.mark.parametrize("n", WIDTHS)
def test_the_encoder_is_the_extended_hamming_code(n):
    for data in words(n):
        assert stored(data, n, SECDED) == encoded(data, n)
        assert stored(data, n, PARITY) == data | (data.bit_count() & 1) << n
        assert stored(data, n, NONE) == data


@pytest.mark.parametrize("n", WIDTHS)
def test_secded_corrects_every_wrong_bit_and_detects_every_two(n):
    total = n + check_bits("secded", n)
    for data in words(n):
        word = stored(data, n, SECDED)
        assert read(word, n, SECDED) == (data, False)
        for bit in range(total):
            assert read(word ^ 1 << bit, n, SECDED) == (data, False)
        for a, b in combinations(range(total), 2):
            found, alarm = read(word ^ 1 << a ^ 1 << b, n, SECDED)
            assert alarm and found == (word ^ 1 << a ^ 1 << b) & ((1 << n) - 1)


@pytest.mark.parametrize("n", WIDTHS)
def test_secded_takes_more_wrong_bits_for_what_they_look_like(n):
    """Against a search through all code words one bit away: some threes are miscorrected, some are detected."""
    rng = np.random.default_rng(n)
    total = n + check_bits("secded", n)
    seen = set()
    for data in words(n):
        for count in (3, 4, 5):
            for _ in range(20):
                word = stored(data, n, SECDED)
                for bit in rng.choice(total, count, replace=False):
                    word ^= 1 << int(bit)
                assert read(word, n, SECDED) == decoded(word, n)
                if count == 3:
                    seen.add(read(word, n, SECDED)[1])
    assert seen == {False, True}


@pytest.mark.parametrize("n", WIDTHS)
def test_parity_sees_odd_numbers_and_corrects_nothing(n):
    rng = np.random.default_rng(n)
    for data in words(n):
        word = stored(data, n, PARITY)
        for count in range(6):
            struck = word
            for bit in rng.choice(n + 1, count, replace=False):
                struck ^= 1 << int(bit)
            assert read(struck, n, PARITY) == (struck & ((1 << n) - 1), count % 2 == 1)


@pytest.mark.parametrize("name", FORMATS)
def test_a_value_is_stored_as_its_pattern(name):
    fmt = FORMATS[name]
    rng = np.random.default_rng(3)
    bits = rng.integers(0, 1 << min(fmt.width_bits, 62), 200).astype(np.uint64)
    for pattern, value in zip(bits, fmt.decode(bits), strict=True):
        if value == value:
            assert stored_pattern(value, fmt.codec, fmt.codec) == pattern


@pytest.mark.parametrize("name", ["fp32", "fp16", "bf16", "fp8_e5m2", "fp8_e4m3"])
def test_a_narrower_store_has_the_bits_that_a_strike_finds(name):
    """Flipping stored bits of a wide value flips the same bits of its pattern."""
    wide, fmt = FORMATS["fp64"], FORMATS[name]
    rng = np.random.default_rng(4)
    for _ in range(300):
        x = float(rng.standard_normal() * 2.0 ** rng.integers(fmt.emin + 1, fmt.emax - 1))
        mask = np.uint64(1 << int(rng.integers(fmt.width_bits)))
        before = stored_pattern(x, wide.codec, fmt.codec)
        after = flip_bits(x, wide.codec, fmt.codec, mask)
        assert int(before) >> fmt.width_bits == 0
        if np.isfinite(after):
            assert stored_pattern(after, wide.codec, fmt.codec) ^ before == mask, (x, mask)
