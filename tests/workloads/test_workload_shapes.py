"""Shapes of attention: grouped queries, layers, decoding, sliding windows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import accel_sim
from accel_sim.checkers.threshold import clean_heads
from accel_sim.config import ConfigError, config_from_dict, config_hash
from accel_sim.workloads import HeadId, Mask, Workload, load_workload

SHAPE = {"kind": "gaussian", "queries": 5, "keys": 7, "seed": 3}


def loaded(**keys: Any) -> Workload:
    machine = {"kind": "lanes", "head_dim": 4}
    return load_workload(config_from_dict({"architecture": machine, "workload": {**SHAPE, **keys}}))


@pytest.mark.parametrize("kind", ["gaussian", "outliers"])
def test_the_heads_of_a_group_share_keys_and_values_and_nothing_else(kind: str) -> None:
    extra = {"channels": 1} if kind == "outliers" else {}
    workload = loaded(kind=kind, heads=6, kv_heads=2, layers=2, **extra)
    assert workload.heads == tuple(HeadId(layer, head) for layer in range(2) for head in range(6))
    assert workload.kv_heads == 4
    seen: dict[bytes, set[tuple[int, int]]] = {}
    for head in workload.heads:
        q, k, v = workload.tensors(head)
        for name, values in (("q", q), ("k", k), ("v", v)):
            key = name.encode() + values.tobytes()
            seen.setdefault(key, set()).add((head.layer, head.head // 3 if name != "q" else head.head))
    assert all(len(where) == 1 for where in seen.values())
    assert len(seen) == 12 + 4 + 4


def test_without_groups_every_head_is_as_it_always_was() -> None:
    plain, named = loaded(heads=3), loaded(heads=3, kv_heads=3, layers=1)
    assert plain.kv_heads == 3 and plain.facts() == named.facts()
    for head in plain.heads:
        assert all(np.array_equal(a, b) for a, b in zip(plain.tensors(head), named.tensors(head), strict=True))
    # The first head of a group has its own numbers, the one of a number the keys and values of that number.
    shared = loaded(heads=4, kv_heads=2).tensors(HeadId(0, 2))
    own = [loaded(heads=4).tensors(HeadId(0, head)) for head in range(4)]
    assert np.array_equal(shared.q, own[2].q) and np.array_equal(shared.k, own[1].k)


def test_a_file_says_itself_who_shares(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "t.npz", q=rng.standard_normal((2, 6, 3, 4)), k=rng.standard_normal((2, 2, 5, 4)),
             v=rng.standard_normal((2, 2, 5, 4)))
    machine = {"kind": "lanes", "head_dim": 4}
    workload = load_workload(config_from_dict({
        "architecture": machine, "workload": {"kind": "file", "path": str(tmp_path / "t.npz")}}))
    assert (len(workload.heads), workload.kv_heads) == (12, 4)
    for head in workload.heads:
        owner = HeadId(head.layer, head.head // 3 * 3)
        assert np.array_equal(workload.tensors(head).k, workload.tensors(owner).k)
        assert np.array_equal(workload.tensors(head).v, workload.tensors(owner).v)


def test_the_new_keys_leave_hashes_alone_until_they_say_something() -> None:
    def hash_of(**keys: Any) -> str:
        return config_hash(config_from_dict({"workload": {**SHAPE, "heads": 4, **keys}}))

    plain = hash_of()
    assert plain == hash_of(kv_heads=None, layers=1, mask={"window": None})
    others = [hash_of(kv_heads=2), hash_of(layers=2), hash_of(mask={"causal": True}),
              hash_of(mask={"causal": True, "window": 2})]
    assert len({plain, *others}) == 5


def test_a_report_says_who_shares() -> None:
    facts = dict(loaded(heads=8, kv_heads=2, layers=3).facts())
    assert facts["heads"] == "24, from layer 0 head 0 to layer 2 head 7; they share 6 keys and values"


def test_thresholds_are_calibrated_on_heads_of_no_layer_that_runs() -> None:
    workload = loaded(heads=2, layers=5)
    run = {workload.tensors(head).q.tobytes() for head in workload.heads}
    for seed in range(4):
        assert not run & {tensors.q.tobytes() for tensors in clean_heads(workload, seed, 0, 4)}


def allowed(queries: int, keys: int, causal: bool, valid: int | None, window: int | None) -> np.ndarray:
    """Who may see whom, pair by pair, by the words of the definition."""
    may = np.zeros((queries, keys), dtype=bool)
    for i in range(queries):
        own = i + keys - queries
        for j in range(keys):
            may[i, j] = (not causal or j <= own) and (valid is None or j < valid)
            if window is not None:
                may[i, j] &= own - j < window
    return may


def attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, may: np.ndarray) -> np.ndarray:
    scores = np.where(may, q @ k.T / np.sqrt(q.shape[1]), -np.inf)
    top = scores.max(axis=1, initial=-np.inf, keepdims=True)
    p = np.exp(np.where(may, scores - np.where(np.isfinite(top), top, 0.0), -np.inf))
    total = p.sum(axis=1, keepdims=True)
    return p @ v / np.where(total, total, 1.0)


def test_first_and_last_key_say_the_same_as_a_mask_of_pairs() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        keys = int(rng.integers(1, 12))
        queries = int(rng.integers(1, keys + 1))
        valid = int(rng.integers(1, keys + 1)) if rng.random() < 0.5 else None
        causal = bool(rng.random() < 0.7)
        window = int(rng.integers(1, keys + 2)) if causal and rng.random() < 0.7 else None
        mask = Mask(causal, valid, window)
        first, last = mask.firsts(queries, keys), mask.bounds(queries, keys)
        may = allowed(queries, keys, causal, valid, window)
        j = np.arange(keys)
        ours = (first[:, None] <= j) & (j <= last[:, None])
        assert np.array_equal(ours, may), mask
        assert np.all((last < 0) == ~may.any(axis=1)), mask
        q, k, v = (rng.standard_normal((n, 4)) for n in (queries, keys, keys))
        expected = attention(q, k, v, may)
        for i in range(queries):
            row = slice(int(first[i]), int(last[i]) + 1)
            part = attention(q[i : i + 1], k[row], v[row], np.ones((1, max(0, int(last[i]) + 1 - int(first[i]))), bool))
            assert np.allclose(part, expected[i], rtol=1e-12, atol=1e-300), mask


def test_scores_in_a_window_are_counted() -> None:
    workload = loaded()
    # Five queries at positions 2 to 6 of 7 keys.
    for mask, expected in ((Mask(), 35), (Mask(True), 3 + 4 + 5 + 6 + 7), (Mask(True, None, 4), 3 + 4 * 4),
                           (Mask(True, 3, 2), 2 + 1 + 0 + 0 + 0)):
        masked = Workload(**{**vars(workload), "mask": mask})
        assert masked.score_count == expected == allowed(5, 7, mask.causal, mask.valid_keys, mask.window).sum()
    assert str(Mask(True, 3, 2)) == "causal, window of 2 keys, 3 valid keys"
    assert Mask(True, None, 4).firsts(5, 7).tolist() == [0, 0, 1, 2, 3]
    with pytest.raises(ValueError, match="the workload has 5 queries"):
        workload.firsts(6)


def test_one_query_decodes_against_all_keys_of_its_group() -> None:
    config = config_from_dict({
        "architecture": {"kind": "lanes", "lanes": 4, "head_dim": 4, "key_tile": 8, "formats": {"operand": "fp32"}},
        "workload": {**SHAPE, "queries": 1, "keys": 40, "heads": 2, "kv_heads": 1, "mask": {"causal": True}},
    })
    run = accel_sim.simulate(config, measure=False)
    shared = run.workload.tensors(HeadId(0, 0))
    for head in run.heads:
        q, k, v = run.workload.tensors(head.head)
        assert np.array_equal(k, shared.k) and np.array_equal(v, shared.v)
        expected = attention(q, k, v, np.ones((1, 40), bool))
        assert np.abs(head.golden.output - expected).max() < 1e-6


@pytest.mark.parametrize(("keys", "key", "message"), [
    ({"heads": 4, "kv_heads": 3}, "workload.kv_heads", "a multiple of kv_heads (got 4 heads, 3 kv_heads)"),
    ({"heads": 2, "kv_heads": 4}, "workload.kv_heads", "a multiple of kv_heads (got 2 heads, 4 kv_heads)"),
    ({"heads": 60_000, "layers": 2}, "workload.layers", "heads x layers must be at most 65536 (got 60000 x 2)"),
    ({"mask": {"window": 4}}, "workload.mask.window", "it needs causal: true"),
    ({"mask": {"window": 4, "causal": True}}, "workload.mask.window", "needs architecture.sliding_window: true"),
])
def test_shapes_that_cannot_be_are_refused_by_name(keys: dict[str, Any], key: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        loaded(**keys)
    assert message in str(error.value) and key in str(error.value)
