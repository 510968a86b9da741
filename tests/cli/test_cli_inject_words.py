"""`accel-sim inject` and `campaign` on the SRAM words of array machines."""

from __future__ import annotations

import random

import pytest

from accel_sim.assembly import assemble
from accel_sim.config import load_config
from accel_sim.report.inject_text import VERDICTS

KEY_2 = ("inject", "tiny-fused", "--register", "k_sram", "--index", "0,2", "--cycle", 3)
"""Key 2 of the first tile, three cycles before it is read."""

PLAIN = {"workload": "{kind: gemm, m: 5, n: 6, k: 7}", "architecture.max_keys": 64,
         "checker.units": "[{kind: gemm, products: [qk], threshold: {kind: absolute, value: 0.5}}]"}


@pytest.mark.parametrize(("ecc", "kind", "decoder", "by"), [
    ("none", "flip", "passed on", "none"), ("parity", "flip", "detected", "memory"),
    ("parity", "burst", "passed on", "none"), ("secded", "flip", "corrected", "none"),
    ("secded", "burst", "detected", "memory"),
])  # fmt: skip
def test_a_struck_word_is_followed_through_its_decoder(run, ecc, kind, decoder, by):
    fault = (*KEY_2, "--bit", 12, "--kind", kind, f"--set=memory.ecc={ecc}")
    document = run(*fault, "--json").document
    assert (document["word"]["decoder"], document["word"]["read_cycle"]) == (decoder, 6)
    assert (document["alarm"]["by"], document["alarm"]["cycle"]) == (by, 7 if by == "memory" else None)
    assert (document["where"]["holds"], document["where"]["key"], document["where"]["dim"]) == ("word of keys", 2, 0)
    told = " ".join(run(*fault).out.split())
    assert f"(memory.ecc: {ecc})" in told and VERDICTS[document["outcome"]["class"]] in told and "key 2, dim 0" in told


@pytest.mark.parametrize(("config", "changes"), [
    ("tiny-fused", {"memory.ecc": "secded", "memory.off_chip.bandwidth_bytes_per_cycle": 2}),
    ("tiny-gemm", {"memory.ecc": "parity"}), ("tiny-gemm", PLAIN),
])  # fmt: skip
def test_every_memory_can_be_struck_and_explained(run, config, changes):
    draw = random.Random(5)
    options = [f"--set={key}={value}" for key, value in changes.items()]
    listed = run("inject", config, *options, "--list", "--json").document["registers"]
    memories = [r for r in listed if r["role"] == "memory"]
    assert [m["name"] for m in memories] == [f"{tensor}_sram" for tensor in dict.fromkeys(m["name"][0] for m in memories)]
    for memory in memories:
        for _ in range(3):
            index = ",".join(str(draw.randrange(n)) for n in memory["shape"])
            fault = ["--register", memory["name"], f"--index={index}", "--bit", draw.randrange(memory["width_bits"]),
                     "--cycle", draw.randrange(150), "--kind", draw.choice(["flip", "stuck0", "stuck1"])]  # fmt: skip
            told = run("inject", config, *options, *fault)
            assert (told.code, told.err) == (0, ""), fault
            document = run("inject", config, *options, *fault, "--json").document
            assert document["where"]["component"] == memory["component"]
            assert VERDICTS[document["outcome"]["class"]] in told.out


def test_a_word_that_is_not_there_is_one_clear_message(run):
    done = run("inject", "tiny-gemm", "--cycle", 0, "--register", "s_sram", "--index", "0,0,1", "--bit", 0)
    assert done.code == 2 and done.out == "" and "(slots, words)" in done.err and "Traceback" not in done.err


def test_a_design_whose_scores_spill_is_refused_with_its_key(run, tmp_path):
    file = tmp_path / "spills.yaml"
    file.write_text("extends: tiny-gemm\narchitecture: {dataflow: os}\nworkload: {queries: 8}\nmemory:\n  sram_kib:\n"
                    "    s: 0.15\nfaults: {targets: [sram]}\n")
    done = run("campaign", file, "-n", 5)
    assert done.code == 2 and "spills.yaml:6: memory.sram_kib.s: with so little SRAM" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("config", ["tiny-fused", "tiny-gemm"])
def test_a_campaign_reports_memories_by_name(run, config):
    done = run("campaign", config, "-n", 400, "--workers", 1, "--set=faults.targets=[sram]", "--set=memory.ecc=parity",
               "--json")  # fmt: skip
    components = done.document["components"]
    tensors = [m.tensor for m in assemble(load_config(config), measure=False).memories]
    assert [name for name, told in components.items() if told["faults"]] == [f"sram.{tensor}" for tensor in tensors]
