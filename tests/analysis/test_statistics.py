"""Intervals, sample sizes and comparisons: worked numbers, SciPy's own where it has them, and their meaning."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from scipy import stats

from accel_sim.analysis.statistics import (
    EXACT_REMAINDER,
    Interval,
    anytime_sequence,
    clopper_pearson,
    find_probability,
    finite_jeffreys,
    jeffreys,
    leveugle_sample_size,
    probability_less,
    quantile_ranks,
    stratified_estimate,
    zero_find_bound,
)

COUNTS = [(0, 1), (1, 1), (0, 100), (5, 100), (50, 100), (100, 100), (3, 7), (1234, 100_000)]


def close(interval: Interval, low: float, high: float, digits: float) -> bool:
    return abs(interval.low - low) <= digits and abs(interval.high - high) <= digits


# -- sample sizes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "population", "n"),
    [(0.01, None, 9604), (0.05, None, 385), (0.005, None, 38416), (0.01, 10**6, 9513), (0.01, 10**4, 4900)],
)
def test_leveugle_sample_sizes(error, population, n):
    assert leveugle_sample_size(error, population) == n


def test_leveugle_never_asks_for_more_than_there_is_and_tends_to_the_infinite_size():
    assert leveugle_sample_size(0.01, 1) == 1
    assert leveugle_sample_size(0.01, 10**15) == leveugle_sample_size(0.01)


@pytest.mark.parametrize("wrong", [{"error": 0}, {"error": 1}, {"error": 0.1, "p": 0}, {"error": 0.1, "population": 0}])
def test_an_impossible_sample_size_is_refused(wrong):
    with pytest.raises(ValueError, match="no sample size"):
        leveugle_sample_size(**wrong)


@pytest.mark.parametrize(("population", "n", "most"), [(1000, 598, 3), (10**4, 300, 97), (10**6, 3000, 996)])
def test_zero_find_bounds(population, n, most):
    assert zero_find_bound(population, n) == most


def test_zero_find_bound_is_its_definition():
    for population in (1, 2, 7, 30):
        for n in range(population + 1):
            allowed = [m for m in range(population - n + 1)
                       if math.comb(population - m, n) / math.comb(population, n) > 0.05]
            assert zero_find_bound(population, n) == max(allowed)


def test_zero_find_bound_of_a_universe_too_large_to_list():
    # Where n is far below N this is the rule of three, 3 N / n.
    assert zero_find_bound(10**12, 10**6) == pytest.approx(-math.log(0.05) * 1e6, rel=1e-4)


def test_chance_to_find_one_of_five():
    assert find_probability(1000, 5, 451) == pytest.approx(0.9505, abs=5e-5)
    assert find_probability(1000, 5, 451) == pytest.approx(1 - stats.hypergeom.pmf(0, 1000, 5, 451), rel=1e-12)
    assert find_probability(10, 0, 10) == 0.0
    assert find_probability(10, 1, 10) == 1.0


# -- intervals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("k", "low", "high"), [(0, 4.898e-6, 0.024745), (5, 0.019332, 0.106100), (50, 0.403174, 0.596826)]
)
def test_jeffreys_of_100(k, low, high):
    assert close(jeffreys(k, 100), low, high, 1e-6)


@pytest.mark.parametrize(("k", "n"), COUNTS)
def test_jeffreys_is_the_quantiles_of_its_posterior(k, n):
    interval = jeffreys(k, n, 0.9)
    posterior = stats.beta(k + 0.5, n - k + 0.5)
    assert (interval.low, interval.high) == pytest.approx((posterior.ppf(0.05), posterior.ppf(0.95)), rel=1e-9)


@pytest.mark.parametrize(("k", "n"), COUNTS)
def test_clopper_pearson_is_scipys_exact_interval(k, n):
    ours, theirs = clopper_pearson(k, n), stats.binomtest(k, n).proportion_ci(0.95, method="exact")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=1e-9)
    assert ours.low <= jeffreys(k, n).low + 1e-12
    assert ours.high >= jeffreys(k, n).high - 1e-12


def test_a_finite_universe_is_known_better_than_an_infinite_one():
    assert close(finite_jeffreys(8, 400, 1000), 0.012, 0.033, 1e-12)
    assert close(jeffreys(8, 400), 0.009500, 0.037381, 1e-6)


@pytest.mark.parametrize(("k", "n", "population"), [(8, 400, 1000), (0, 10, 50), (10, 10, 11), (3, 7, 9)])
def test_finite_jeffreys_is_scipys_beta_binomial(k, n, population):
    left = stats.betabinom(population - n, k + 0.5, n - k + 0.5)
    interval = finite_jeffreys(k, n, population)
    assert close(interval, (k + left.ppf(0.025)) / population, (k + left.ppf(0.975)) / population, 1e-12)


def test_a_universe_that_was_gone_through_is_known_exactly():
    interval = finite_jeffreys(8, 1000, 1000)
    assert (interval.low, interval.estimate, interval.high) == (0.008, 0.008, 0.008)


def test_finite_jeffreys_of_a_large_remainder_meets_the_exact_one():
    k, n = 8000, 400_000
    exact = finite_jeffreys(k, n, n + EXACT_REMAINDER)
    beyond = finite_jeffreys(k, n, n + EXACT_REMAINDER + 1)
    assert close(beyond, exact.low, exact.high, 3e-6)
    assert close(finite_jeffreys(5, 100, 10**12), jeffreys(5, 100).low, jeffreys(5, 100).high, 1e-9)


@pytest.mark.parametrize("interval", [jeffreys, clopper_pearson, anytime_sequence])
def test_nothing_tried_is_nothing_known(interval):
    nothing = interval(0, 0)
    assert math.isnan(nothing.estimate)
    assert (nothing.low, nothing.high) == (0.0, 1.0)


@pytest.mark.parametrize("interval", [jeffreys, clopper_pearson, anytime_sequence])
@pytest.mark.parametrize(("k", "n"), [(-1, 3), (4, 3)])
def test_impossible_counts_are_refused(interval, k, n):
    with pytest.raises(ValueError, match=f"{k} of {n}"):
        interval(k, n)


def test_an_impossible_confidence_is_refused():
    with pytest.raises(ValueError, match=r"got 1\.5"):
        jeffreys(1, 2, 1.5)


def test_an_interval_reads_well():
    assert str(jeffreys(5, 100)) == "0.05 [0.01933, 0.1061]"
    assert 0.05 in jeffreys(5, 100)
    assert 0.2 not in jeffreys(5, 100)


# -- looking while the campaign runs --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [(0, 100, 0.0, 0.073284), (5, 100, 0.006577, 0.160259), (50, 1000, 0.028235, 0.080171)],
)
def test_anytime_sequence(k, n, low, high):
    assert close(anytime_sequence(k, n), low, high, 1e-6)


@pytest.mark.parametrize(("k", "n"), COUNTS)
def test_the_sequence_is_wider_than_jeffreys(k, n):
    sequence, fixed = anytime_sequence(k, n), jeffreys(k, n)
    assert sequence.low <= fixed.low
    assert sequence.high >= fixed.high
    assert k / n in sequence


@pytest.mark.parametrize(("rate", "half_width"), [(0.02, 0.01), (0.5, 0.05), (0.1, 0.03)])
def test_stopping_on_the_sequence_covers_and_on_jeffreys_does_not_promise_to(rate, half_width):
    runs, batch, cap = 600, 50, 4000
    rules = {"jeffreys": cache(jeffreys), "sequence": cache(anytime_sequence)}
    random = np.random.Generator(np.random.Philox(key=11))
    hits = np.cumsum(random.binomial(batch, rate, (runs, cap // batch)), axis=1)
    covered, cost = {}, {}
    for name, rule in rules.items():
        stops = []
        for run in hits:
            for looks, k in enumerate(run, start=1):
                interval = rule(int(k), looks * batch)
                if interval.width <= 2 * half_width:
                    break
            stops.append((rate in interval, looks * batch))
        covered[name] = np.mean([hit for hit, _ in stops])
        cost[name] = np.mean([n for _, n in stops])
    print(f"rate {rate}, half-width {half_width}: " + ", ".join(
        f"{name} covers {covered[name]:.3f} at {cost[name]:.0f} trials" for name in rules))
    assert covered["sequence"] >= 0.95
    assert cost["sequence"] > cost["jeffreys"]


# -- putting rates together -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "share"), [(1, 0.5), (20, 0.5), (300, 0.9), (300, 0.99), (50, 0.99)])
def test_quantile_ranks_cover_by_the_binomial_they_come_from(n, share):
    """The quantile lies from the sample's rank `low` to rank `high` unless fewer than `low`, or `high` and more values
    are below it; at the ends of the sample nothing can be covered."""
    low, high = quantile_ranks(n, share)
    assert 1 <= low <= high <= n
    below = stats.binom(n, share)
    assert low == 1 or below.cdf(low - 1) <= 0.025
    assert high == n or below.sf(high - 1) <= 0.025


def test_quantile_ranks_cover_a_continuous_distribution():
    draws = np.random.default_rng(3)
    for share in (0.5, 0.99):
        low, high = quantile_ranks(400, share)
        ordered = np.sort(draws.random((4000, 400)), axis=1)
        covered = np.mean((ordered[:, low - 1] <= share) & (share <= ordered[:, high - 1]))
        assert covered >= 0.94, (share, covered)


@pytest.mark.parametrize("wrong", [(0, 0.5), (5, 0.0), (5, 1.0), (5, 0.5, 1.0)])
def test_impossible_quantiles_are_refused(wrong):
    with pytest.raises(ValueError, match="need n"):
        quantile_ranks(*wrong)


def test_comparing_two_designs():
    assert probability_less(10, 1000, 20, 1000) == pytest.approx(0.96797, abs=5e-6)
    assert probability_less(20, 1000, 10, 1000) == pytest.approx(0.03203, abs=5e-6)


@pytest.mark.parametrize("counts", [(0, 10, 0, 10), (3, 9, 500, 1500), (0, 5, 70, 70), (40, 100_000, 50, 100_000)])
def test_one_of_two_designs_is_the_better(counts):
    k_a, n_a, k_b, n_b = counts
    assert probability_less(k_a, n_a, k_b, n_b) + probability_less(k_b, n_b, k_a, n_a) == pytest.approx(1, abs=1e-6)
    draw = np.random.default_rng(0)
    a, b = (draw.beta(k + 0.5, n - k + 0.5, 200_000) for k, n in ((k_a, n_a), (k_b, n_b)))
    assert probability_less(k_a, n_a, k_b, n_b) == pytest.approx(np.mean(a < b), abs=0.005)


def test_strata_of_one_rate_are_the_pooled_rate():
    strata = stratified_estimate([(5, 100), (10, 200), (20, 400)], [1, 2, 4])
    assert strata.estimate == pytest.approx(jeffreys(35, 700).estimate, rel=1e-12)
    assert close(strata, jeffreys(35, 700).low, jeffreys(35, 700).high, 0.003)


def test_all_the_mass_in_one_stratum_is_that_stratum():
    alone, among = jeffreys(5, 100), stratified_estimate([(5, 100), (10, 20)], [3, 0])
    assert (among.estimate, among.low, among.high) == (alone.estimate, alone.low, alone.high)


def test_strata_weigh_by_their_share_and_not_by_their_trials():
    strata = stratified_estimate([(90, 100), (0, 10_000)], [0.5, 0.5])
    assert strata.estimate == pytest.approx(0.45)
    assert strata.low < 0.45 < strata.high
    assert strata.width == pytest.approx(0.5 * jeffreys(90, 100).width, rel=0.1)


def test_a_stratified_interval_is_the_same_every_time_and_holds_its_estimate():
    counts, weights = [(0, 3)] * 200, [1.0] * 200
    assert stratified_estimate(counts, weights) == stratified_estimate(counts, weights)
    assert stratified_estimate(counts, weights).low == 0.0


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [0.0, 0.0], [1.0, math.nan]])
def test_impossible_weights_are_refused(weights):
    with pytest.raises(ValueError, match="weights"):
        stratified_estimate([(1, 2), (1, 2)], weights)
