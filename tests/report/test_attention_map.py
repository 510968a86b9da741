"""The attention weights are the machine's own, bit for bit, and the float64 reference is attention."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from accel_sim.assembly import assemble
from accel_sim.config import load_config
from accel_sim.engines.golden import run_golden
from accel_sim.report.accuracy import distance, reference_attention
from accel_sim.report.attention_map import attention_weights

WINDOW = {"architecture.sliding_window": True, "workload.mask": {"causal": True, "window": 3}}
CASES = {
    "fp32": ("tiny", {}),
    "causal": ("tiny", {"workload.mask.causal": True}),
    "padding": ("tiny", {"workload.mask.valid_keys": 3}),
    "sliding window": ("tiny", WINDOW),
    "a model's head": ("minilm", {}),
    "bf16, table units": ("bf16-d64", {"workload.queries": 20, "workload.keys": 70}),
    "fp64": ("paper-d64", {"workload.queries": 9, "workload.keys": 33}),
    "serial, flushed fp16": ("tiny", {
        "architecture.dot": "serial", "architecture.subnormals": "flush", "workload.scale": 4.0,
        "architecture.formats": {"score": "fp16", "exp": "fp16", "state": "fp16"}}),
    "fused, overflowing fp8": ("tiny", {
        "architecture.dot": "fused", "workload.scale": 20.0,
        "architecture.formats": {"operand": "fp8_e4m3", "score": "fp8_e4m3", "exp": "fp8_e4m3", "state": "fp8_e4m3"}}),
    "exp wider than state": ("tiny", {
        "architecture.exp": "pwl", "architecture.formats": {"score": "fp32", "exp": "fp32", "state": "bf16"}}),
}  # fmt: skip


def job_of(name, changes):
    assembly = assemble(load_config(name, changes), measure=False)
    return assembly.machine, assembly.job(assembly.workload.heads[0])


@pytest.mark.parametrize(("name", "changes"), CASES.values(), ids=CASES)
def test_a_weight_is_what_the_machine_makes_of_a_one_at_that_key(name, changes):
    machine, job = job_of(name, changes)
    n_queries, n_keys, d = job.shape
    weights = attention_weights(machine, job)
    assert weights.shape == (n_queries, n_keys)
    for first in range(0, n_keys, d):
        ones = np.eye(n_keys)[:, first : first + d]
        v = np.zeros((n_keys, d))
        v[:, : ones.shape[1]] = ones
        out = run_golden(machine, replace(job, v=v)).output[:, : ones.shape[1]]
        assert np.array_equal(weights[:, first : first + d], out, equal_nan=True)


def test_masked_keys_have_no_weight_and_rows_sum_to_one():
    machine, job = job_of("tiny", {"workload.mask.causal": True})
    weights = attention_weights(machine, job)
    masked = np.arange(weights.shape[1]) > job.bound[:, None]
    assert (weights[masked] == 0).all()
    assert np.allclose(weights.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("mask", [{}, {"workload.mask.causal": True}, {"workload.mask.valid_keys": 2}, WINDOW])
def test_the_reference_is_softmax_attention(mask):
    _, job = job_of("tiny", {"workload.scale": 3.0, **mask})
    scores = job.q @ job.k.T / np.sqrt(job.q.shape[1])
    keys = np.arange(len(job.k))
    scores[(keys > job.bound[:, None]) | (keys < job.first[:, None])] = -np.inf
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    expected = weights / weights.sum(axis=1, keepdims=True) @ job.v
    assert np.allclose(reference_attention(job.q, job.k, job.v, job.bound, job.first), expected, rtol=1e-14, atol=1e-15)


def test_distance_measures_and_does_not_hide_a_nan():
    reference = np.array([[3.0, 4.0]])
    assert distance(np.array([[3.0, 4.5]]), reference) == (0.5, 0.1)
    assert distance(reference, reference) == (0.0, 0.0)
    assert distance(np.array([[3.0, np.nan]]), reference) == (np.inf, np.inf)
