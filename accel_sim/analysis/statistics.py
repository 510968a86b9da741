"""Rates with uncertainty, as pure functions of counts.

* `jeffreys`, `clopper_pearson`: an interval for k of n, at one n that was fixed before looking.
* `finite_jeffreys`: the same when the n were drawn without replacement from a finite universe.
* `anytime_sequence`: an interval that holds at every n at once, so that one may look after every batch and
  stop when it is tight. Stopping on the others breaks their coverage.
* `stratified_estimate`: a rate put together from strata with known shares.
* `quantile_ranks`: an interval for a quantile, as ranks of the ordered sample.
* `probability_less`: how sure one may be that design A's rate is below design B's.
* `leveugle_sample_size`, `zero_find_bound`, `find_probability`: what a number of trials is good for.

The Jeffreys forms are posteriors under the prior Beta(½, ½). SciPy is imported where it is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

CONFIDENCE = 0.95
"""Confidence of an interval unless another is asked for."""

EXACT_REMAINDER = 1_000_000
"""Largest part of a finite universe left undrawn for which `finite_jeffreys` sums the distribution exactly."""


@dataclass(frozen=True)
class Interval:
    """A rate and how well it is known: `low` … `high` at a level of `confidence`, by `method`.

    `estimate` is NaN where nothing was tried.
    """

    estimate: float
    low: float
    high: float
    confidence: float
    method: str

    @property
    def width(self) -> float:
        """high − low."""
        return self.high - self.low

    def __contains__(self, rate: float) -> bool:
        return self.low <= rate <= self.high

    def __str__(self) -> str:
        return f"{self.estimate:.4g} [{self.low:.4g}, {self.high:.4g}]"


def jeffreys(k: int, n: int, confidence: float = CONFIDENCE) -> Interval:
    """Equal-tailed Jeffreys interval: quantiles of Beta(k + ½, n − k + ½). Raises ValueError unless 0 ≤ k ≤ n."""
    from scipy.special import betaincinv

    tail = _checked(k, n, confidence)
    if n == 0:
        return Interval(math.nan, 0.0, 1.0, confidence, "jeffreys")
    low, high = (float(betaincinv(k + 0.5, n - k + 0.5, q)) for q in (tail, 1.0 - tail))
    return Interval(k / n, low, high, confidence, "jeffreys")


def clopper_pearson(k: int, n: int, confidence: float = CONFIDENCE) -> Interval:
    """Clopper–Pearson interval: covers at least `confidence` whatever the rate, and is the wider for it.

    Raises ValueError unless 0 ≤ k ≤ n.
    """
    from scipy.special import betaincinv

    tail = _checked(k, n, confidence)
    low = float(betaincinv(k, n - k + 1, tail)) if k else 0.0
    high = float(betaincinv(k + 1, n - k, 1.0 - tail)) if k < n else 1.0
    return Interval(k / n if n else math.nan, low, high, confidence, "clopper-pearson")


def finite_jeffreys(k: int, n: int, population: int, confidence: float = CONFIDENCE) -> Interval:
    """Jeffreys interval for the rate in a universe of `population`, of which n were drawn without replacement.

    What is left has BetaBinomial(population − n, k + ½, n − k + ½) further hits; when nothing is left the
    width is zero. Exact up to `EXACT_REMAINDER` left; beyond, the quantiles of `jeffreys`, pulled towards the
    mean until they have the exact variance. Raises ValueError unless 0 ≤ k ≤ n ≤ population.
    """
    from scipy.special import betaincinv, gammaln

    tail = _checked(k, n, confidence)
    if n > population:
        raise ValueError(f"{n} were drawn without replacement from only {population}")
    method = "finite jeffreys"
    if population == 0:
        return Interval(math.nan, 0.0, 1.0, confidence, method)
    left, a, b = population - n, k + 0.5, n - k + 0.5
    estimate = k / n if n else math.nan
    if left > EXACT_REMAINDER:
        mean = a / (a + b)
        shrink = math.sqrt((a + b + left) / left)
        rates = [mean + (float(betaincinv(a, b, q)) - mean) * shrink for q in (tail, 1.0 - tail)]
        hits = [min(max(rate, 0.0), 1.0) * left for rate in rates]
    else:
        x = np.arange(left + 1, dtype=np.float64)
        log_mass = (gammaln(left + 1.0) - gammaln(x + 1.0) - gammaln(left - x + 1.0)
                    + gammaln(x + a) + gammaln(left - x + b))
        mass = np.exp(log_mass - log_mass.max())
        share = np.cumsum(mass) / mass.sum()
        hits = [float(min(int(np.searchsorted(share, q)), left)) for q in (tail, 1.0 - tail)]
    low, high = ((k + more) / population for more in hits)
    return Interval(estimate, low, high, confidence, method)


def anytime_sequence(k: int, n: int, alpha: float = 1.0 - CONFIDENCE) -> Interval:
    """Confidence sequence for a rate: with probability 1 − alpha its intervals hold for all n at once.

    Robbins' beta-binomial mixture with a = b = 1 (Robbins 1970; Howard et al. 2021): the rates p for which
    log B(a + k, b + n − k) − log B(a, b) − k log p − (n − k) log(1 − p) < log(1/alpha).
    Raises ValueError unless 0 ≤ k ≤ n.
    """
    _checked(k, n, 1.0 - alpha)
    method = "beta-binomial mixture sequence"
    if n == 0:
        return Interval(math.nan, 0.0, 1.0, 1.0 - alpha, method)
    # log B(1, 1) = 0
    mixture = math.lgamma(1 + k) + math.lgamma(1 + n - k) - math.lgamma(2 + n)
    allowed = mixture - math.log(1.0 / alpha)

    def excluded(p: float) -> bool:
        hits = k * math.log(p) if k else 0.0
        return hits + ((n - k) * math.log1p(-p) if k < n else 0.0) <= allowed

    rate = k / n
    low = _edge(0.0, rate, excluded) if k else 0.0
    high = _edge(1.0, rate, excluded) if k < n else 1.0
    return Interval(rate, low, high, 1.0 - alpha, method)


def _edge(outside: float, inside: float, excluded: Callable[[float], bool]) -> float:
    """The excluded number next to the included ones, by halving until the floats are neighbours."""
    while True:
        middle = (outside + inside) / 2
        if middle in (outside, inside):
            return outside
        if excluded(middle):
            outside = middle
        else:
            inside = middle


def stratified_estimate(counts: Sequence[tuple[int, int]], weights: Sequence[float],
                        confidence: float = CONFIDENCE, draws: int = 20_000, seed: int = 0) -> Interval:
    """A rate from strata: p = Σ w_h p_h, each p_h with its own Jeffreys posterior.

    counts: (k, n) of each stratum. weights: each stratum's share of the universe, up to a common factor. The
    interval is taken from `draws` posterior draws with a fixed seed (a single stratum has its Jeffreys
    interval exactly); it always contains the estimate. Raises ValueError for counts or weights that cannot be.
    """
    if len(counts) != len(weights):
        raise ValueError(f"{len(counts)} strata have {len(weights)} weights")
    if any(not (math.isfinite(w) and w >= 0) for w in weights) or not sum(weights) > 0:
        raise ValueError(f"weights of strata must be finite, not negative and not all zero (got {list(weights)})")
    tail = 0.5
    for k, n in counts:
        tail = _checked(k, n, confidence)
    used = [(k, n, w) for (k, n), w in zip(counts, weights, strict=True) if w > 0]
    if len(used) == 1:
        return jeffreys(used[0][0], used[0][1], confidence)
    share = np.array([w for _, _, w in used]) / math.fsum(w for _, _, w in used)
    hits = np.array([k for k, _, _ in used], dtype=np.float64)
    tried = np.array([n for _, n, _ in used], dtype=np.float64)
    # A stratum without a trial counts as its prior does, one half.
    means = np.where(tried > 0, hits / np.maximum(tried, 1.0), 0.5)
    estimate = math.fsum(share * means)
    generator = np.random.Generator(np.random.Philox(key=seed))
    total = np.zeros(draws)
    for part, k, n in zip(share, hits, tried, strict=True):
        total += part * generator.beta(k + 0.5, n - k + 0.5, draws)
    low, high = np.quantile(total, [tail, 1.0 - tail])
    low, high = min(float(low), estimate), max(float(high), estimate)
    return Interval(estimate, low, high, confidence, "stratified jeffreys")


def quantile_ranks(n: int, share: float, confidence: float = CONFIDENCE) -> tuple[int, int]:
    """Ranks (low, high), from 1, of the ordered sample of n between which the quantile of `share` lies with at least
    `confidence`, whatever the distribution; a rank beyond the sample is its end, where nothing better can be said.

    A value is below the quantile with probability `share` at most, so the number of those below is binomial: the
    textbook interval of order statistics (David and Nagaraja, Order Statistics, section 7.1).
    Raises ValueError unless n ≥ 1 and 0 < share < 1.
    """
    from scipy.stats import binom

    if n < 1 or not 0.0 < share < 1.0 or not 0.0 < confidence < 1.0:
        raise ValueError(f"need n ≥ 1, 0 < share < 1, 0 < confidence < 1 (got {n}, {share}, {confidence})")
    tail = (1.0 - confidence) / 2.0
    low, high = int(binom.ppf(tail, n, share)), int(binom.ppf(1.0 - tail, n, share)) + 1
    return max(1, low), min(n, high)


def probability_less(k_a: int, n_a: int, k_b: int, n_b: int) -> float:
    """P(p_A < p_B) for two independent rates with Jeffreys posteriors, by numeric integration.

    Raises ValueError unless 0 ≤ k ≤ n for both.
    """
    from scipy.special import betainc, betaln

    _checked(k_a, n_a, CONFIDENCE)
    _checked(k_b, n_b, CONFIDENCE)
    # ∫ f_A(x) P(p_B > x) dx with x = sin²(t): f_A becomes smooth, and every posterior about 1 / (2 √n) wide.
    edges = [0.0, math.pi / 2]
    for k, n in ((k_a, n_a), (k_b, n_b)):
        centre = math.asin(math.sqrt((k + 0.5) / (n + 1.0)))
        edges += [centre + step / (2.0 * math.sqrt(n + 1.0)) for step in range(-16, 17)]
    breaks = np.unique(np.clip(edges, 0.0, math.pi / 2))
    nodes, weights = np.polynomial.legendre.leggauss(12)
    half = np.diff(breaks)[:, None] / 2
    t = breaks[:-1, None] + half * (nodes + 1.0)
    log_density = (2 * k_a * np.log(np.sin(t)) + 2 * (n_a - k_a) * np.log(np.cos(t)) + math.log(2.0)
                   - betaln(k_a + 0.5, n_a - k_a + 0.5))
    above = 1.0 - betainc(k_b + 0.5, n_b - k_b + 0.5, np.sin(t) ** 2)
    return float(min(max(np.sum(half * weights * np.exp(log_density) * above), 0.0), 1.0))


def leveugle_sample_size(error: float, population: int | None = None, t: float = 1.96, p: float = 0.5) -> int:
    """Faults to inject for a margin of ±error on a rate near p, n = N t² p(1−p) / (e² (N−1) + t² p(1−p)).

    t is the normal quantile of the confidence; p = ½ is the cautious choice; population None is infinite.
    Numbers count as they are written in decimal. Source: Leveugle et al., DATE 2009. Raises ValueError for a
    margin, quantile, rate or population that cannot be.
    """
    if not (0 < error < 1 and t > 0 and 0 < p < 1 and (population is None or population >= 1)):
        raise ValueError(f"no sample size for error {error}, population {population}, t {t}, p {p}")
    e, z, rate = (Fraction(str(x)) for x in (error, t, p))
    spread = z * z * rate * (1 - rate)
    if population is None:
        return math.ceil(spread / (e * e))
    return math.ceil(population * spread / (e * e * (population - 1) + spread))


def find_probability(population: int, bad: int, n: int) -> float:
    """Probability that n draws without replacement meet at least one of `bad` among `population`."""
    if not (0 <= bad <= population and 0 <= n <= population):
        raise ValueError(f"cannot draw {n} of {population} with {bad} bad")
    return -math.expm1(_log_all_good(population, bad, n))


def zero_find_bound(population: int, n: int, confidence: float = CONFIDENCE) -> int:
    """Upper bound on the bad ones in a universe of `population`, after n drawn without replacement were good.

    The largest M with C(N−M, n) / C(N, n) > 1 − confidence. Raises ValueError unless 0 ≤ n ≤ population.
    """
    if not 0 <= n <= population:
        raise ValueError(f"cannot draw {n} of {population}")
    _checked(0, n, confidence)
    limit = math.log1p(-confidence)
    low, high = 0, population - n  # all good is always possible; more bad than were left is not
    guess = min(high, int(population * -math.expm1(limit / n)) + 1) if n else high
    step = 1
    while high > guess and _log_all_good(population, guess, n) > limit:
        low, guess, step = guess, min(high, guess + step), 2 * step
    if _log_all_good(population, guess, n) <= limit:
        high = guess - 1
    else:
        low = guess
    while low < high:
        middle = (low + high + 1) // 2
        if _log_all_good(population, middle, n) > limit:
            low = middle
        else:
            high = middle - 1
    return low


def _log_all_good(population: int, bad: int, n: int) -> float:
    """log C(N−M, n) / C(N, n) = Σ_{i < fewer} log(1 − more / (N − i)): the sum does not cancel as log Γ would."""
    fewer, more = sorted((bad, n))
    if fewer + more > population:
        return -math.inf
    total = 0.0
    for start in range(0, fewer, 1 << 20):
        i = np.arange(start, min(fewer, start + (1 << 20)), dtype=np.float64)
        total += float(np.sum(np.log1p(-more / (population - i))))
    return total


def _checked(k: int, n: int, confidence: float) -> float:
    """The tail that each side of an interval leaves out; ValueError for what cannot be counted."""
    if not 0 <= k <= n:
        raise ValueError(f"{k} of {n} is no count of successes")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1 (got {confidence})")
    return (1.0 - confidence) / 2
