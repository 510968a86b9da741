"""A row of PEs, which acts in loops, is its PEs one by one, as docs/machines/fused.md has them: under any words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from accel_sim.config.fused import FusedFormats
from accel_sim.fused.arithmetic import (
    Rules,
    multiply_add,
    piece_of,
    power_of_two,
    rules,
    tables,
    tag_of,
    untagged,
)
from accel_sim.fused.build import shape
from accel_sim.fused.step import Shape, row_of_pes, take_words
from accel_sim.machines.fused import (
    ACC_UI,
    EXP2,
    FLOW_DU,
    FLOW_LR,
    FLOW_UD,
    LOAD_LI,
    LOAD_UI,
    MAC,
    UPDATE,
    FusedMachine,
)
from accel_sim.machines.fused_sequence import MAC_DOWN, MAC_UP, MULTIPLY, PIECE, SUBTRACT
from accel_sim.numerics.jit import kernel
from accel_sim.numerics.rounding import quiet, round_to
from fused.draw import machine, rounded

SCHEDULED = [0, MAC_UP, MAC_UP | FLOW_UD, MAC_DOWN, MAC_DOWN | FLOW_DU, FLOW_UD, FLOW_DU, FLOW_UD | FLOW_DU, LOAD_LI, LOAD_UI,
             LOAD_UI | FLOW_DU, SUBTRACT, SUBTRACT | FLOW_DU, MULTIPLY, PIECE]
"""Words that the control program puts side by side."""


@kernel
def row_at_once(out: Any, right: Any, into: Any, words: Any, g: Any, f: Any) -> None:
    """The step engine's row; out (4, N): s, done, down, up; into (3, N): left, above, below."""
    seen = np.int32(0)
    for c in range(words.shape[0]):
        seen |= words[c]
    row_of_pes(words, seen, out[0], out[1], right, out[2], out[3], into[0], into[1], into[2], g, f)


@kernel
def pe_by_pe(out: Any, right: Any, into: Any, words: Any, g: Any, f: Any) -> None:
    """The same from the page: every rule with the value that the register held before."""
    for c in range(words.shape[0]):
        word = np.int64(words[c])
        if word == 0:
            continue
        s, done, left, above, below = out[0, c], out[1, c], into[0, c], into[1, c], into[2, c]
        addend = above if word & ACC_UI else below
        x = quiet(s, f.operand)
        if word & EXP2:
            slope, intercept = quiet(left, f.operand), quiet(untagged(addend, f.sum_codec), f.sum)
            as_operand = power_of_two(x, slope, intercept, f.operand)
            as_sum = power_of_two(x, slope, intercept, f.sum)
        else:
            as_operand = multiply_add(s, left, addend, f.operand, f.operand, f.sum)
            as_sum = multiply_add(s, left, addend, f.sum, f.operand, f.sum)
        matches = word & EXP2 != 0 and tag_of(addend, f.sum_codec, g.pieces) == piece_of(x, g.pieces)
        if word & LOAD_LI:
            out[0, c] = left
        elif word & LOAD_UI:
            out[0, c] = round_to(quiet(above, f.sum), f.operand)
        elif word & UPDATE or (matches and done == 0.0):
            out[0, c] = as_operand
        if c < right.shape[0] and word & (LOAD_LI | FLOW_LR):
            right[c] = s if word & LOAD_LI else left
        if word & MAC and word & ACC_UI:
            out[2, c] = as_sum
        elif word & FLOW_UD:
            out[2, c] = above
        if word & MAC and not word & ACC_UI:
            out[3, c] = as_sum
        elif word & FLOW_DU:
            out[3, c] = below
        if matches:
            out[1, c] = 1.0
        elif not word & EXP2:
            out[1, c] = 0.0


@kernel
def words_of_row(words: Any, moving: Any, word: Any) -> int:
    """`take_words`, called from outside."""
    return int(take_words(words, moving, word))


def some_values(m: FusedMachine, tags: np.ndarray, rng: np.random.Generator, count: int) -> np.ndarray:
    """Sums: numbers of both signs, tagged intercepts, NaNs that are not canonical, infinities, subnormals."""
    fmt = m.formats["state"]
    values = fmt.decode(fmt.encode(rounded(rng.standard_normal(count) * 4, m)))
    odd = fmt.decode(rng.integers(0, 1 << fmt.width_bits, count).astype(np.uint64))
    return np.choose(rng.choice(3, count, p=[0.5, 0.1, 0.4]), [values, odd, rng.choice(tags, count)])


def some_operands(m: FusedMachine, rng: np.random.Generator, count: int) -> np.ndarray:
    fmt = m.formats["operand"]
    odd = fmt.decode(rng.integers(0, 1 << fmt.width_bits, count).astype(np.uint64))
    return np.where(rng.random(count) < 0.1, odd, rounded(rng.standard_normal(count) * 4, m))


def some_words(rng: np.random.Generator, count: int) -> np.ndarray:
    """Wavefronts of the schedule, or any words at all."""
    if rng.random() < 0.3:
        return rng.integers(0, 512, count).astype(np.int32)
    words = np.repeat(rng.choice(SCHEDULED, count), rng.integers(1, 9, count))[:count].astype(np.int32)
    struck = rng.random(count) < 0.05
    return np.where(struck, words ^ (1 << rng.integers(0, 9, count)), words).astype(np.int32)


FORMATS = [("bf16", "fp32", "keep"), ("fp16", "fp32", "keep"), ("bf16", "bf16", "keep"), ("bf16", "fp32", "flush"),
           ("fp32", "fp32", "keep"), ("fp8_e5m2", "fp16", "flush")]


@pytest.mark.parametrize("operand, total, subnormals", FORMATS)
def test_a_row_is_its_pes(operand: str, total: str, subnormals: str) -> None:
    m = machine(8, 0, formats=FusedFormats(operand=operand, sum=total), subnormals=subnormals)  # type: ignore[arg-type]
    g: Shape = shape(m, 8, 8)
    f: Rules = rules(m)
    tags = tables(m).in_array[1]
    rng = np.random.default_rng(FORMATS.index((operand, total, subnormals)))
    changed = np.zeros(5, dtype=np.int64)
    for _ in range(400):
        n = int(rng.integers(4, 41))
        words = some_words(rng, n)
        before = np.stack([some_operands(m, rng, n), rng.integers(0, 2, n).astype(np.float64),
                           some_values(m, tags, rng, n), some_values(m, tags, rng, n)])
        held = some_operands(m, rng, n - int(rng.integers(2)))
        into = np.stack([some_operands(m, rng, n), some_values(m, tags, rng, n), some_values(m, tags, rng, n)])
        results = []
        for act in (row_at_once, pe_by_pe):
            out, right = before.copy(), held.copy()
            act(out, right, into.copy(), words, g, f)
            results.append((*(row.view(np.int64) for row in out), right.view(np.int64)))
        for number, (at_once, single, was) in enumerate(zip(*results, (*before, held), strict=True)):
            assert np.array_equal(at_once, single), (number, words)
            changed[number] += np.count_nonzero(at_once != was.view(np.int64))
    assert (changed > 400).all(), changed


def test_control_words_move_one_pe_a_cycle() -> None:
    rng = np.random.default_rng(1)
    for n in range(2, 40):
        sent = rng.integers(0, 512, 3 * n)
        moving, words = np.zeros(n - 1), np.zeros(n, dtype=np.int32)
        for cycle, word in enumerate(sent):
            seen = words_of_row(words, moving, int(word))
            expected = [int(sent[cycle - c]) if cycle >= c else 0 for c in range(n)]
            assert words.tolist() == expected
            assert moving.tolist() == expected[:-1]
            assert seen == np.bitwise_or.reduce(expected)
