"""The encoder of a check unit, cycle by cycle: sums groups of operands and takes words of the operand format off the
sum.

A lane sums the elements of a group at one k; the first word is the sum rounded to the operand format, the next one what
that leaves, rounded, and so on. The words go to SRAM, beside the operands.

Of a sum of integers the words are its digits to the base 2^width of an operand, lowest first, each with a sign.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from accel_sim.gemm.judge import add_once
from accel_sim.numerics.arithmetic import sub
from accel_sim.numerics.jit import inner, kernel
from accel_sim.numerics.rounding import quiet, round_to


class Encoder(NamedTuple):
    """Registers of an encoder, (W,) float64 each."""

    inp: Any
    acc: Any
    word: Any


class Work(NamedTuple):
    """What is encoded. source (K, L): operands; sums (K, groups, words): where the words go, both float64. lanes: W.
    group: elements of a group. k_blocks: ⌈K/W⌉. words: words of a checksum."""

    source: Any
    sums: Any
    lanes: int
    group: int
    k_blocks: int
    words: int


@inner
def added(acc: Any, x: Any, f: Any) -> Any:
    """A sum with one more operand."""
    return add_once(quiet(acc, f.checker), quiet(x, f.operand), f.checker, f.operand)


@inner
def word_of(acc: Any, f: Any) -> Any:
    """The next word of what is left of a sum; of integers, its lowest digit."""
    return round_to(quiet(acc, f.checker), f.operand)


@inner
def rest_of(acc: Any, word: Any, f: Any) -> Any:
    """What a word leaves of a sum; of integers, the digits above it."""
    rest = sub(quiet(acc, f.checker), quiet(word, f.operand), f.checker)
    return np.floor(rest / f.operand.magic) if f.operand.kind == 3 else rest


@inner
def at_its_place(x: Any, word: Any, f: Any) -> Any:
    """What a word's line of products counts in the sum that it predicts: a digit as much as its place says."""
    for _ in range(word if f.operand.kind == 3 else 0):
        x = x * f.operand.magic
    return x


@kernel
def encode_steps(e: Any, w: Any, f: Any, first: int, last: int, part: int, begin: int, end: int) -> None:
    """Lanes first … last − 1 through steps begin … end − 1 of a unit of work."""
    group = part // w.k_blocks
    block = part - group * w.k_blocks
    for i in range(first, last):
        k = block * w.lanes + i
        here = k < w.source.shape[0]
        for step in range(begin, end):
            if step == 0:
                e.acc[i] = 0.0
            elif step <= w.group:
                e.acc[i] = added(e.acc[i], e.inp[i], f)
            else:
                turn = step - w.group - 1
                if turn & 1 == 0:
                    e.word[i] = word_of(e.acc[i], f)
                else:
                    if here:
                        w.sums[k, group, turn >> 1] = e.word[i]
                    e.acc[i] = rest_of(e.acc[i], e.word[i], f)
            if step < w.group:
                at = group * w.group + step
                e.inp[i] = w.source[k, at] if here and at < w.source.shape[1] else 0.0
