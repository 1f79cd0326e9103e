"""Scenarios against each other on the same images: differences, and many at once.

All comparisons are paired: what counts is by how much each image, or group of images, moves one
scenario's figure more than the other's. What serves a choice refuses the test split; that something
was chosen is the business of `winners_curse.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from scipy import stats

from medgraft.errors import DataError
from medgraft.evaluate.calibration import require_development
from medgraft.evaluate.estimates import estimate
from medgraft.evaluate.influence import influence, spread
from medgraft.evaluate.intervals import (
    DEFAULT,
    Difference,
    Sampling,
    Statistic,
    Weights,
    bootstrap,
    ones,
    percentile,
)
from medgraft.evaluate.metrics import METRICS, Case, Threshold, judge, statistics
from medgraft.results.figures import Comparison
from medgraft.types import Estimate, Floats, Predictions

Purpose = Literal["choose", "report"]
"""Whether something is decided by a comparison (no test split), or only reported."""


def holm(p: Sequence[float]) -> tuple[float, ...]:
    """P values corrected for their number, step down (Holm 1979), in the order given.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    (0.03, 0.06, 0.06)
    """
    corrected, running = [0.0] * len(p), 0.0
    for rank, i in enumerate(np.argsort(p, kind="stable")):
        running = max(running, (len(p) - rank) * p[i])
        corrected[i] = min(1.0, running)
    return tuple(corrected)


def compare(
    reference: Predictions,
    others: Sequence[Predictions],
    metric: str,
    thresholds: Mapping[str, Threshold] | None = None,
    purpose: Purpose = "choose",
    sampling: Sampling = DEFAULT,
) -> tuple[Comparison, ...]:
    """`metric` of the reference minus that of each other scenario, with intervals and Holm's p.

    Intervals and p: t from the differences of influences, summed over groups, which for the AUROC
    is DeLong's paired test (DeLong et al. 1988); for the expected calibration error, percentiles
    of the differences under shared resamples, and p from their standard error. Where two scenarios
    that differ show no spread (both perfect), the interval is joined from their own ones as if
    they were independent (MOVER, Zou and Donner 2008), and p is 1.

    Parameters
    ----------
    thresholds : by scenario key, as for `judge`; not needed for out-of-fold predictions.
    purpose : "report" to compare scenarios that are frozen on the test split.

    Raises
    ------
    LeakError
        Test images, and the purpose is to choose.
    DataError
        The scenarios were not judged on the same images in the same order.
    """
    scenarios = [reference, *others]
    if purpose == "choose":
        require_development(scenarios, "a comparison that chooses")
    cases = paired_cases(scenarios, thresholds)
    if not others:
        return ()
    if metric == "ece":
        values, samples = resample(cases, metric, sampling)
        found = [
            _by_bootstrap(values[0] - values[i], samples[0] - samples[i], sampling)
            for i in range(1, len(cases))
        ]
    else:
        found = _by_influence(cases, metric, sampling)
    for i, case in enumerate(cases[1:]):
        if found[i].low == found[i].high and not np.array_equal(case.prob, cases[0].prob):
            found[i] = _mover(cases[0], case, metric, sampling)
    corrected = holm([difference.p for difference in found])
    return tuple(
        Comparison(reference.scenario, other.scenario, d.value, d.low, d.high, p)
        for other, d, p in zip(others, found, corrected, strict=True)
    )


def upper_loss(comparison: Comparison, metric: str) -> float:
    """The most that choosing `b` instead of `a` may cost, by the upper end of the interval.

    At level .95 it is exceeded in one case of forty. Losses count upwards whichever way the metric
    does: for brier, log_loss and ece `b` costs where it is higher.
    """
    return -comparison.low if METRICS[metric].lower_is_better else comparison.high


def estimate_all(
    scenarios: Sequence[Predictions],
    metric: str,
    thresholds: Mapping[str, Threshold] | None = None,
    sampling: Sampling = DEFAULT,
) -> tuple[Estimate, ...]:
    """One metric of many scenarios, the same numbers as `evaluate` one by one."""
    cases = paired_cases(scenarios, thresholds)
    return tuple(estimate(case, [metric], sampling)[metric] for case in cases)


def of_all(cases: Sequence[Case], metric: str) -> Statistic:
    """Prepare one metric of many cases of the same images: (n_cases, n_resamples)."""
    prepared = [statistics(case, [metric]) for case in cases]

    def weigh(weights: Weights) -> Floats:
        return np.concatenate([statistic(weights) for statistic in prepared])

    return weigh


def resample(cases: Sequence[Case], metric: str, sampling: Sampling) -> tuple[Floats, Floats]:
    """Values (n_cases,) of one metric, and under shared resamples (n_cases, n_resamples)."""
    weigh = of_all(cases, metric)
    values = weigh(ones(len(cases[0].y)))[:, 0]
    return values, bootstrap(weigh, cases[0].groups, sampling)


def paired_cases(
    scenarios: Sequence[Predictions], thresholds: Mapping[str, Threshold] | None
) -> list[Case]:
    """The scenarios' cases, once they are known to be of the same images."""
    first = scenarios[0]
    for other in scenarios[1:]:
        for column in ("ids", "y_true", "groups"):
            if not np.array_equal(getattr(first, column), getattr(other, column)):
                raise DataError(
                    f"{column} of {other.scenario} and {first.scenario} differ; a paired "
                    "comparison needs the same images in the same order"
                )
        if first.classes != other.classes or first.positive != other.positive:
            raise DataError(f"classes of {other.scenario} and {first.scenario} differ")
    points = thresholds or {}
    return [judge(scenario, points.get(scenario.scenario)) for scenario in scenarios]


def _by_influence(cases: Sequence[Case], metric: str, sampling: Sampling) -> list[Difference]:
    """The first case's figure minus that of each other."""
    values = of_all(cases, metric)(ones(len(cases[0].y)))[:, 0]
    moved = [influence(case, metric) for case in cases]
    found = []
    for other, (value, own) in enumerate(zip(values[1:], moved[1:], strict=True), start=1):
        difference = float(values[0] - value)
        variance, freedom = spread(moved[0] - own, cases[other], metric, paired=True)
        found.append(by_error(difference, variance, freedom, sampling))
    return found


def by_error(value: float, variance: float, freedom: float, sampling: Sampling) -> Difference:
    """A t interval and p; where there is no spread to judge by, no width and p = 1."""
    if not variance > 1e-18:
        return Difference(value, value, value, 1.0)
    error = float(np.sqrt(variance))
    half = float(stats.t.isf(sampling.tail, freedom)) * error
    p = 2 * float(stats.t.sf(abs(value) / error, freedom))
    return Difference(value, value - half, value + half, p)


def _by_bootstrap(value: float, samples: Floats, sampling: Sampling) -> Difference:
    """The interval and p of a difference from its samples (n_resamples,)."""
    defined = samples[np.isfinite(samples)]
    error = float(defined.std(ddof=1)) if len(defined) > 1 else 0.0
    if error < 1e-6:
        return Difference(float(value), float(value), float(value), 1.0)
    low, high = percentile(defined, sampling)
    p = 2 * float(stats.norm.sf(abs(value) / error))
    return Difference(float(value), min(low, float(value)), max(high, float(value)), p)


def _mover(a: Case, b: Case, metric: str, sampling: Sampling) -> Difference:
    """A difference from the two intervals, as if the images were not the same."""
    return difference_apart(*(estimate(case, [metric], sampling)[metric] for case in (a, b)))


def difference_apart(a: Estimate, b: Estimate) -> Difference:
    """`a` minus `b`, of images that have nothing to do with each other; p is not given (1).

    Each end's distances, squared and added (Zou and Donner 2008): where both intervals hold their
    95 %, 0 lies outside once in twenty where there is no difference. That the two intervals do not
    meet happens once in 180 only.
    """
    value = a.value - b.value
    low = value - float(np.hypot(a.value - a.low, b.high - b.value))
    high = value + float(np.hypot(a.high - a.value, b.value - b.low))
    return Difference(value, low, high, 1.0)
