"""`accel-sim inject` and `campaign` on SRAM words."""

from __future__ import annotations

import random

import pytest

from accel_sim.config import load_config
from accel_sim.machines.lanes import LanesMachine
from accel_sim.machines.memories import memories
from accel_sim.report.inject_text import VERDICTS

KEY_2 = ("inject", "tiny", "--register", "k_sram", "--index", "0,2,0", "--cycle", 3)
"""Key 2 of tile 0, a cycle before it is streamed."""


@pytest.mark.parametrize(("ecc", "kind", "decoder", "outcome", "by"), [
    ("none", "flip", "passed on", "silent", "none"),
    ("parity", "flip", "detected", "detected", "memory"),
    ("parity", "burst", "passed on", "silent", "none"),
    ("secded", "flip", "corrected", "masked", "none"),
    ("secded", "burst", "detected", "detected", "memory"),
])  # fmt: skip
def test_a_struck_word_is_followed_through_its_decoder(run, ecc, kind, decoder, outcome, by):
    fault = (*KEY_2, "--bit", 13, "--kind", kind, f"--set=memory.ecc={ecc}")
    document = run(*fault, "--json").document
    assert document["outcome"]["class"] == outcome
    assert (document["word"]["decoder"], document["word"]["read_cycle"]) == (decoder, 4)
    assert document["alarm"] == {"by": by, "cycle": 5 if by == "memory" else None,
                                 "latency_cycles": 2 if by == "memory" else None}  # fmt: skip
    assert (document["where"]["holds"], document["where"]["key"], document["where"]["dim"]) == ("row of keys", 2, 0)
    mask = 0b11 << 13 if kind == "burst" else 1 << 13
    assert int(document["value"]["before_bits"], 16) ^ int(document["value"]["after_bits"], 16) == mask
    told = " ".join(run(*fault).out.split())
    assert f"(memory.ecc: {ecc})" in told and VERDICTS[outcome] in told and "key 2, dim 0" in told


def test_a_word_that_nothing_reads_again_says_so(run):
    document = run(*KEY_2[:-1], 5, "--bit", 13, "--json").document
    assert document["word"]["decoder"] == "not read" and document["word"]["read_cycle"] is None
    assert document["where"]["holds"] is None and document["outcome"]["class"] == "masked"
    assert "not before it is written again" in run(*KEY_2[:-1], 5, "--bit", 13).out


def test_a_check_bit_has_no_value(run):
    done = run(*KEY_2, "--bit", 64, "--set=memory.ecc=parity")
    assert "check bit 0 of the word" in done.out and "FALSE ALARM" in done.out
    value = run(*KEY_2, "--bit", 64, "--set=memory.ecc=parity", "--json").document["value"]
    assert (value["before"], value["before_bits"]) == ("NaN", None)


@pytest.mark.parametrize("changes", [
    {"memory.ecc": "secded"},
    {"checker.units": [], "memory.ecc": "parity"},
    {"faults.register_format": {"operand": "fp8_e4m3"}, "memory.kv_resident": True},
])  # fmt: skip
def test_every_memory_can_be_struck_and_explained(run, changes):
    draw = random.Random(2)
    options = [f"--set={key}={value!r}".replace("'", "").replace("True", "true") for key, value in changes.items()]
    for memory in memories(LanesMachine(load_config("tiny", changes))):
        for _ in range(3):
            index = ",".join(str(draw.randrange(min(n, 4))) for n in memory.shape)
            fault = ["--register", memory.name, f"--index={index}", "--bit", draw.randrange(memory.width_bits),
                     "--cycle", draw.randrange(45), "--kind", draw.choice(["flip", "stuck0", "stuck1"])]  # fmt: skip
            told = run("inject", "tiny", *options, *fault)
            assert (told.code, told.err) == (0, ""), fault
            document = run("inject", "tiny", *options, *fault, "--json").document
            assert document["where"]["component"] == memory.component
            assert VERDICTS[document["outcome"]["class"]] in told.out


def test_memories_are_listed_behind_the_registers(run):
    listed = run("inject", "tiny", "--list", "--json").document["registers"]
    assert [r["name"] for r in listed][-4:] == ["q_sram", "k_sram", "v_sram", "o_sram"]
    assert listed[-3]["shape"] == [2, 4, 1] and listed[-3]["role"] == "memory"


@pytest.mark.parametrize(("fault", "message"), [
    (["--register", "ksram", "--bit", 0], "did you mean 'k_sram'?"),
    (["--register", "k_sram", "--index", "0,4,0", "--bit", 0], "(banks, rows, words)"),
    (["--register", "k_sram", "--bit", 64], "k_sram has bits 0 to 63"),
])  # fmt: skip
def test_a_word_that_is_not_there_is_one_clear_message(run, fault, message):
    done = run("inject", "tiny", "--cycle", 0, *fault)
    assert done.code == 2 and done.out == "" and message in done.err and "Traceback" not in done.err


def test_a_campaign_reports_memories_by_name(run):
    done = run("campaign", "tiny", "-n", 400, "--workers", 1, "--set=faults.targets=[sram]", "--set=memory.ecc=parity",
               "--json")  # fmt: skip
    components = done.document["components"]
    assert [name for name, told in components.items() if told["faults"]] == ["sram.q", "sram.k", "sram.v", "sram.o"]
    done = run("campaign", "tiny", "-n", 10, "--workers", 1, "--set=faults.targets=[sram]",
               "--set=faults.components=[score]")  # fmt: skip
    assert done.code == 2 and "no component 'score'" in done.err and "sram.k" in done.err
