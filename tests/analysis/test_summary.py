"""Summaries: exact counts that add up in any order, and the rates made of them."""

from __future__ import annotations

import numpy as np
import pytest

from accel_sim.analysis.statistics import jeffreys, quantile_ranks
from accel_sim.analysis.summary import SHARES, Cell, Summary, merged, summarise

COMPONENTS = ("score", "output", "control")
OUTCOMES = ("masked", "silent", "false_alarm", "detected")
BITS = {"score": 300, "output": 200, "control": 100}


def records(count: int, seed: int = 0, weights: tuple[float, ...] = (1.0,)) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    alarm = draw.random(count) < 0.4
    wrong = draw.random(count) < 0.5
    return {
        "component": draw.integers(0, 3, count).astype(np.int16),
        "outcome": (2 * alarm + wrong).astype(np.int8),
        "hang": draw.random(count) < 0.1,
        "weight": np.array(weights)[draw.integers(0, len(weights), count)],
        "alarm": alarm,
        "latency_cycles": np.where(alarm, draw.integers(0, 50, count), -1),
    }


def part(batch: dict[str, np.ndarray], chosen: slice) -> Summary:
    return summarise({name: values[chosen] for name, values in batch.items()}, COMPONENTS, OUTCOMES, BITS)


@pytest.fixture(scope="module")
def batch():
    return records(5000, weights=(1.0, 0.25))


def test_counts_are_those_of_a_loop(batch):
    summary = part(batch, slice(None))
    assert summary.n == 5000
    for o, outcome in enumerate(OUTCOMES):
        assert summary.count(outcome) == int(np.sum(batch["outcome"] == o))
        for c, component in enumerate(COMPONENTS):
            here = (batch["outcome"] == o) & (batch["component"] == c)
            assert summary.count(outcome, component) == summary.of(component).count(outcome) == int(np.sum(here))
    assert summary.hangs == int(np.sum(batch["hang"]))
    assert sum(sum(counts.values()) for counts in summary.latencies.values()) == int(np.sum(batch["alarm"]))


def test_parts_add_up_to_the_whole_in_any_order(batch):
    whole = part(batch, slice(None))
    parts = [part(batch, slice(at, at + 700)) for at in range(0, 5000, 700)]
    assert merged(parts) == merged(reversed(parts)) == whole
    assert (parts[0] + parts[1]) + parts[2] == parts[0] + (parts[1] + parts[2])
    assert merged(parts).to_json() == merged(reversed(parts)).to_json()


def test_nothing_adds_nothing(batch):
    whole = part(batch, slice(None))
    assert whole + Summary() == Summary() + whole == whole
    assert Summary().n == 0
    assert part(batch, slice(0, 0)).n == 0


def test_adding_leaves_the_parts_alone(batch):
    one, other = part(batch, slice(0, 100)), part(batch, slice(100, 300))
    _ = one + other
    assert (one.n, other.n) == (100, 200)


def test_summaries_of_different_universes_do_not_add_up(batch):
    with pytest.raises(ValueError, match="different fault universes"):
        part(batch, slice(None)) + Summary(exposure={"score": 1})


def test_a_summary_survives_json(batch):
    whole = part(batch, slice(None))
    assert Summary.from_json(whole.to_json()) == whole
    assert Summary.from_json(Summary().to_json()) == Summary()
    with pytest.raises(ValueError, match="not a summary"):
        Summary.from_json("{}")


def test_latency_percentiles_are_exact_nearest_ranks():
    batch = records(3000, seed=1)
    summary = part(batch, slice(None))
    delays = np.sort(batch["latency_cycles"][batch["outcome"] == 3])
    for percent in (1, 50, 90, 99, 100):
        rank = int(np.ceil(percent / 100 * len(delays)))
        assert summary.latency_percentile(percent) == delays[rank - 1]
    assert set(Summary().latency_percentiles().values()) == {None}


def test_a_percentile_lies_in_its_interval_which_is_made_of_ranks():
    batch = records(3000, seed=1)
    summary = part(batch, slice(None))
    delays = np.sort(batch["latency_cycles"][batch["outcome"] == 3])
    for percent in (50, 90, 99):
        low, high = quantile_ranks(len(delays), percent / 100)
        found = summary.latency_interval(percent)
        assert found == (delays[low - 1], delays[high - 1])
        assert found[0] <= summary.latency_percentile(percent) <= found[1]
    batch["weight"] = np.where(np.arange(3000) % 2, 1.0, 2.0)
    assert part(batch, slice(None)).latency_interval(50) == (None, None)


def test_a_record_of_weight_two_counts_as_two_for_a_percentile():
    batch = records(2)
    batch |= {"alarm": np.array([True, True]), "outcome": np.array([3, 3]), "latency_cycles": np.array([10, 20])}
    batch["weight"] = np.array([1.0, 2.0])
    assert part(batch, slice(None)).latency_percentile(33) == 10
    assert part(batch, slice(None)).latency_percentile(34) == 20


def test_rates_are_shares_with_jeffreys_intervals():
    cells = {Cell("score", "detected", False, 1.0): 30, Cell("score", "silent", False, 1.0): 10,
             Cell("output", "false_alarm", False, 1.0): 20, Cell("output", "masked", True, 1.0): 40}
    rates = Summary(cells).rates()
    assert set(rates) == set(SHARES)
    expected = {"detected": (30, 100), "silent": (10, 100), "false_alarm": (20, 100), "masked": (40, 100),
                "coverage": (30, 40), "silent_share": (10, 40), "precision": (30, 50), "hang": (40, 100)}
    for name, (hits, among) in expected.items():
        assert (rates[name].hits, rates[name].among) == (hits, among), name
        assert rates[name].interval == jeffreys(hits, among)


def test_weighted_records_give_the_rate_of_the_universe():
    # Stratum A: 9/10 of the universe, rate 0.1; B: 1/10, rate 0.9. Equal allocation draws as many of each.
    cells = {Cell("score", "detected", False, 1.8): 50, Cell("score", "masked", False, 1.8): 450,
             Cell("output", "detected", False, 0.2): 450, Cell("output", "masked", False, 0.2): 50}
    rate = Summary(cells).rate("detected")
    assert rate.interval.estimate == pytest.approx(0.9 * 0.1 + 0.1 * 0.9)
    assert rate.interval.low < 0.18 < rate.interval.high
    assert rate.interval.width < jeffreys(500, 1000).width


def test_an_exhaustive_campaign_leaves_no_doubt(batch):
    summary = part(records(1000), slice(None))
    for rate in summary.rates(population=1000).values():
        assert rate.interval.width == 0.0
        assert rate.interval.estimate == rate.hits / rate.among


def test_rates_of_nothing_are_unknown():
    for rate in Summary().rates().values():
        assert (rate.hits, rate.among, rate.interval.low, rate.interval.high) == (0, 0, 0.0, 1.0)
