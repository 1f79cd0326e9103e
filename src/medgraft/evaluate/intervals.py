"""How sure a number is: Wilson, DeLong, Newcombe, and the bootstrap over groups.

Which of them serves which metric is decided in `estimates.py`; the closed form for groups, folds
and all metrics that are no plain counts is in `influence.py`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from medgraft.errors import DataError
from medgraft.types import Estimate, Floats, Ints, Strings

Weights = Floats
"""(n_images, n_resamples): how often each resample drew each image."""

Statistic = Callable[[Weights], Floats]
"""From weights (n_images, n_resamples) to values (n_metrics, n_resamples)."""

FEW = 30  # groups, below which intervals covered 85 to 98 % (docs/results/statistics.md)
KEPT = 2**24  # weights kept for the next who asks: 64 MB of float32
CHUNK = 2**21  # weights held at once: 8 MB of float32 whatever the number of images


@dataclass(frozen=True, slots=True)
class Sampling:
    """How intervals are drawn: two-sided at `level`, from `resamples` seeded resamples."""

    seed: int = 0
    resamples: int = 2000
    level: float = 0.95

    def __post_init__(self) -> None:
        if not 0 < self.level < 1 or self.resamples < 100:
            raise DataError(
                f"level {self.level} and {self.resamples} resamples give no interval; "
                "a level lies between 0 and 1 (0.95), and 100 resamples are the least"
            )

    @property
    def tail(self) -> float:
        """The probability left out on each side."""
        return (1 - self.level) / 2


DEFAULT = Sampling()


class Difference(NamedTuple):
    """A paired difference, its interval, and p against no difference."""

    value: float
    low: float
    high: float
    p: float


# --------------------------------------------------------------------------- closed forms


def wilson(k: float, n: float, level: float = 0.95) -> Estimate:
    """Wilson's score interval of a proportion (Wilson 1927); honest at 0 and at n of n.

    `k` of `n` may be fractions, for proportions that rest on fewer units than images. Of nothing
    (n = 0) the value is nan and the interval [0, 1].

    Examples
    --------
    >>> estimate = wilson(10, 10)
    >>> round(estimate.low, 3), estimate.high
    (0.722, 1.0)
    """
    if n <= 0:
        return Estimate(np.nan, 0.0, 1.0, 0, "undefined: no image to count")
    z2 = float(stats.norm.isf((1 - level) / 2)) ** 2
    p = k / n
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = float(np.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n * n)))) / (1 + z2 / n)
    # At 0 and 1 the formula gives the end itself, up to rounding.
    low = 0.0 if p == 0 else max(0.0, centre - half)
    high = 1.0 if p == 1 else min(1.0, centre + half)
    return Estimate(p, low, high, round(n), "Wilson")


def newcombe(auc: float, positives: int, negatives: int, level: float = 0.95) -> Estimate:
    """A score interval of an AUROC from its value and the two counts alone.

    All x with `|auc - x| <= z sqrt(V(x))`, where V is the variance of Hanley and McNeil (1982) for
    exponential scores as Newcombe (2006, part 2, method 5) uses it:
    `V(x) = x (1-x) (1 + N (1-x)/(2-x) + N x/(1+x)) / (mn)`, N = (m+n)/2 - 1. It asks for no
    spread among the scores, and so still holds at perfect separation, where DeLong's is nil.
    """
    z2 = float(stats.norm.isf((1 - level) / 2)) ** 2
    spare = (positives + negatives) / 2 - 1

    def excess(x: float) -> float:
        spread = x * (1 - x) * (1 + spare * (1 - x) / (2 - x) + spare * x / (1 + x))
        return (auc - x) ** 2 - z2 * spread / (positives * negatives)

    inside = min(max(auc, 1e-12), 1 - 1e-12)
    low = 0.0 if auc <= 0 else float(optimize.brentq(excess, 0.0, inside))
    high = 1.0 if auc >= 1 else float(optimize.brentq(excess, inside, 1.0))
    return Estimate(auc, low, high, positives + negatives, "Newcombe")


def placements(y: NDArray[np.bool_], score: Floats) -> tuple[Floats, Floats]:
    """For each image, how much of the other class it is ranked right against.

    Returns (positives,): the share of negatives below, and (negatives,): the share of positives
    above; ties count half. Both average to the AUROC. O(n log n) by midranks (Sun and Xu 2014).
    """
    score = np.asarray(score, np.float64)  # ranks come in the type they are asked of
    ranks = stats.rankdata(score)
    m, n = int(y.sum()), int((~y).sum())
    positive = (ranks[y] - stats.rankdata(score[y])) / n
    negative = 1 - (ranks[~y] - stats.rankdata(score[~y])) / m
    return positive, negative


def delong(y: NDArray[np.bool_], score: Floats, level: float = 0.95) -> Estimate:
    """AUROC with DeLong's interval (DeLong et al. 1988), for images that are independent.

    Taken on the logit scale, which keeps it inside [0, 1], with Student's t at Satterthwaite's
    degrees of freedom: in our simulations (binormal scores, AUROC .5 to .998) plain DeLong covered
    as little as 74 %, this 92 to 99 %, and 87 % at worst with 10 to 20 positives among hundreds.
    Without spread (perfect separation, constant scores, one image of a class) Newcombe's interval
    stands in.

    Parameters
    ----------
    y : (n,) bool, both values present.
    score : (n,), higher for positives.
    """
    positive, negative = placements(y, score)
    m, n = len(positive), len(negative)
    auc = float(positive.mean())
    if min(m, n) < 2 or auc in (0.0, 1.0):
        return _named(newcombe(auc, m, n, level), "Newcombe (DeLong has no spread here)")
    parts = np.array([positive.var(ddof=1) / m, negative.var(ddof=1) / n])
    variance = float(parts.sum())
    if variance < 1e-15:
        return _named(newcombe(auc, m, n, level), "Newcombe (DeLong has no spread here)")
    freedom = variance**2 / float((parts**2 / (np.array([m, n]) - 1)).sum())
    t = float(stats.t.isf((1 - level) / 2, freedom))
    half = t * np.sqrt(variance) / (auc * (1 - auc))
    logit = np.log(auc / (1 - auc))
    low, high = (float(1 / (1 + np.exp(-x))) for x in (logit - half, logit + half))
    return Estimate(auc, low, high, m + n, "DeLong, logit scale")


# --------------------------------------------------------------------------- resampling


def number_groups(groups: Strings) -> tuple[Ints, int]:
    """Each image's group as a number (n,), and how many groups there are."""
    return _numbered(groups.tobytes(), groups.dtype.str)


def design_effect(groups: Strings) -> float:
    """How many images of these groups say as much as one, if those of a group say one thing.

    The mean size of the group that an image is in (Kish 1965), not the mean size of a group: one
    large group counts.

    >>> design_effect(np.array(["a", "b", "c"])), design_effect(np.array(["a", "a", "a", "b"]))
    (1.0, 2.5)
    """
    index, _ = number_groups(groups)
    return float(np.bincount(index)[index].mean())


NARROW = 1e-6  # width of an interval of resamples that all say the same


def not_of_nothing(found: Estimate, groups: Strings, sampling: Sampling) -> Estimate:
    """A proportion with its interval, or Wilson's of its groups where no resample differs."""
    if found.high - found.low > NARROW:
        return found
    n = number_groups(groups)[1]
    ends = wilson(found.value * n, n, sampling.level)
    how = f"{found.method}; no resample differs, so Wilson's interval of {n} groups"
    return dataclasses.replace(
        found, low=min(ends.low, found.value), high=max(ends.high, found.value), method=how
    )


@functools.lru_cache(maxsize=16)
def _numbered(groups: bytes, dtype: str) -> tuple[Ints, int]:
    names, inverse = np.unique(np.frombuffer(groups, dtype), return_inverse=True)
    index = inverse.astype(np.int64)
    index.setflags(write=False)
    return index, len(names)


def repeats(groups: Strings) -> bool:
    """Whether some group holds several of these images, so that they are not independent."""
    return number_groups(groups)[1] < len(groups)


def bootstrap_weights(groups: Strings, sampling: Sampling) -> Iterator[Weights]:
    """Draw resamples of whole groups, as counts: chunks (n_images, some resamples) float32.

    Each resample draws as many groups as there are, with replacement; an image counts as often as
    its group was drawn. The chunks add up to `sampling.resamples`; equal groups and seed give
    equal weights, so that scenarios judged by the same call, or by two, are paired.
    """
    index, n_groups = number_groups(groups)
    if len(index) * sampling.resamples <= KEPT:  # a study asks for the same draws many times
        yield from _kept_weights(index.tobytes(), n_groups, sampling)
    else:
        yield from _drawn_weights(index, n_groups, sampling)


@functools.lru_cache(maxsize=2)
def _kept_weights(index: bytes, n_groups: int, sampling: Sampling) -> tuple[Weights, ...]:
    chunks = tuple(_drawn_weights(np.frombuffer(index, np.int64), n_groups, sampling))
    for weights in chunks:
        weights.setflags(write=False)
    return chunks


def _drawn_weights(index: Ints, n_groups: int, sampling: Sampling) -> Iterator[Weights]:
    rng = np.random.default_rng(sampling.seed)
    width = max(8, min(CHUNK // len(index), sampling.resamples))
    alone = n_groups == len(index)
    for start in range(0, sampling.resamples, width):
        counts = np.empty((min(width, sampling.resamples - start), n_groups), np.float32)
        for row in counts:
            row[:] = np.bincount(rng.integers(0, n_groups, n_groups), minlength=n_groups)
        # Images along the first axis: sums over images are then sums of whole contiguous rows.
        by_group = np.ascontiguousarray(counts.T)
        # Groups of one image are drawn alike, so that which is which need not be looked up.
        yield by_group if alone else by_group[index]


def bootstrap(statistic: Statistic, groups: Strings, sampling: Sampling) -> Floats:
    """Values of `statistic` under every resample, (n_metrics, resamples)."""
    chunks = [statistic(weights) for weights in bootstrap_weights(groups, sampling)]
    return np.concatenate(chunks, axis=-1)


def percentile(samples: Floats, sampling: Sampling) -> tuple[float, float]:
    """The percentile interval of (resamples,); resamples where the metric is undefined drop out."""
    defined = samples[np.isfinite(samples)]
    if not len(defined):
        return np.nan, np.nan
    low, high = np.quantile(defined, [sampling.tail, 1 - sampling.tail])
    return float(low), float(high)


def proportion(hit: NDArray[np.bool_], groups: Strings, sampling: Sampling = DEFAULT) -> Estimate:
    """The share of hits: Wilson where every image is its own group, else on the effective number.

    Images of a group are alike, so that they tell as much as p (1-p) / v independent ones, v the
    variance of the share from sums over groups (Korn and Graubard 1998); never more than there
    are. That is multiplied by (z / t)², t having the degrees of freedom of v (`freedom_of`) as far
    as images repeat (`blended`). Where all are hits, or none, the groups are counted, as if a
    group's images told one thing.

    Parameters
    ----------
    hit : (n,) bool. groups : (n,).
    """
    if not repeats(groups):
        return wilson(float(hit.sum()), len(hit), sampling.level)
    index, n_groups = number_groups(groups)
    value = float(hit.mean())
    if value in (0.0, 1.0) or n_groups < 2:
        effective, method = float(n_groups), f"Wilson on {n_groups} groups (no spread)"
    else:
        sums = np.bincount(index, hit - value).astype(np.float64)
        variance = n_groups / (n_groups - 1) * float((sums**2).sum()) / len(hit) ** 2
        effective = min(len(hit), value * (1 - value) / max(variance, 1e-15))
        t = stats.t.isf(sampling.tail, blended(freedom_of(sums), n_groups - 1, np.bincount(index)))
        effective = max(1.0, effective * float(stats.norm.isf(sampling.tail) / t) ** 2)
        method = f"Wilson on the effective number, {effective:.0f}, {describe_groups(groups)}"
    found = wilson(value * effective, effective, sampling.level)
    return Estimate(value, found.low, found.high, len(hit), method)


def freedom_of(sums: Floats) -> float:
    """Degrees of freedom of a variance taken from sums over n groups (n,), by their fourth moment.

    Twice the squared variance over the variance of its estimate (Satterthwaite 1946), at most
    n - 1, which it is where the kurtosis is the normal 3. A few groups with most errors have a
    high one, and then the variance of the sums is not well known.
    """
    n, squares = len(sums), float((sums**2).sum())
    if n < 2 or not squares:
        return float(max(n - 1, 1))
    kurtosis = n * float((sums**4).sum()) / squares**2
    return max(1.0, min(n - 1.0, 2 * n / (kurtosis - 1 + 2 / (n - 1))))


def blended(freedom: float, alone: float, sizes: Ints) -> float:
    """Degrees of freedom between those of groups and those that images alone would have.

    1 / f goes from one to the other by the share of others in an image's own group,
    1 - sum n_g / sum n_g²: none where no image repeats, nearly all of it in large groups. Two
    images of one patient among sixty then change an interval by little.

    Parameters
    ----------
    freedom, alone : of sums over groups (`freedom_of`); of independent images.
    sizes : (n_groups,) images of each group.
    """
    others = 1 - float(sizes.sum()) / float((sizes.astype(np.float64) ** 2).sum())
    return 1 / (others / freedom + (1 - others) / alone) if others else alone


def describe_groups(groups: Strings) -> str:
    """What the units of an interval are, for `Estimate.method`; an honest word where few."""
    if not repeats(groups):
        return "over images"
    n = number_groups(groups)[1]
    return f"over {n} groups" + (" (so few may cover less than stated)" if n < FEW else "")


def describe_bootstrap(groups: Strings, sampling: Sampling, kind: str = "percentile") -> str:
    """How a bootstrap interval was got, for `Estimate.method`."""
    return f"{kind} bootstrap {describe_groups(groups)}, {sampling.resamples} resamples"


def _named(estimate: Estimate, method: str) -> Estimate:
    return Estimate(estimate.value, estimate.low, estimate.high, estimate.n, method)


def ones(n: int) -> NDArray[np.floating[Any]]:
    """The weights (n, 1) under which a weighted metric is the plain one."""
    return np.ones((n, 1))
