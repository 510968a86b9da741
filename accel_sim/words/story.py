"""What became of one struck word, for explanations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accel_sim.faults.fault import Fault
from accel_sim.words.plan import WordPlan
from accel_sim.words.struck import follow, holding, word_of


@dataclass(frozen=True)
class Told:
    """tensor: whose memory it is. where: row and column in the tensor of the element that the fault's lowest bit is in;
    None in a word that is not read again and for an element that does not exist. read_cycle: in which it is read next,
    or None. decoder: what its decoder makes of it then: `not read`, `nothing wrong`, `corrected`, `detected` or
    `passed on`."""

    tensor: str
    where: tuple[int, int] | None
    read_cycle: int | None
    decoder: str


def tell(plan: WordPlan, fault: Fault, values: np.ndarray) -> Told:
    """What becomes of a word under a fault, in machine cycles. values: its tensor as it is written."""
    word = word_of(plan, fault.register, fault.index)
    tensor = word.memory.tensor
    spell, reads = holding(word, fault.cycle)
    if spell is None or not reads:
        return Told(tensor, None, None, "not read")
    read = next(follow(word, spell, [fault], values))
    decoder = "detected" if read.alarm else "passed on" if read.delivered else "corrected"
    first = min(fault.bit // word.memory.stored.width_bits, word.memory.word_elements - 1)
    return Told(tensor, word.places(spell)[first], read.cycle, decoder if read.wrong else "nothing wrong")
