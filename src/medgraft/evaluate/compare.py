"""Scenarios against each other on the same images: differences, many at once, and the winner's due.

All comparisons are paired: what counts is by how much each image, or group of images, moves one
scenario's figure more than the other's. What serves a choice refuses the test split.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
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
    Weights,
    bootstrap,
    ones,
    percentile,
)
from medgraft.evaluate.metrics import LOWER_IS_BETTER, Case, Threshold, judge, statistics
from medgraft.types import Comparison, Estimate, Floats, Ints, Predictions

Purpose = Literal["choose", "report"]
"""Whether something is decided by a comparison (no test split), or only reported."""

Choice = Callable[[Floats], Ints]
"""From metrics (n_scenarios, n_resamples) to the chosen scenario of each resample."""


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
    cases = _paired(scenarios, thresholds)
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
    return -comparison.low if metric in LOWER_IS_BETTER else comparison.high


def paired_upper_loss(
    best: Predictions, other: Predictions, metric: str, sampling: Sampling = DEFAULT
) -> float:
    """`upper_loss` of one pair, out of fold; for many, `compare` shares the resamples."""
    return upper_loss(compare(best, [other], metric, sampling=sampling)[0], metric)


def estimate_all(
    scenarios: Sequence[Predictions],
    metric: str,
    thresholds: Mapping[str, Threshold] | None = None,
    sampling: Sampling = DEFAULT,
) -> tuple[Estimate, ...]:
    """One metric of many scenarios, the same numbers as `evaluate` one by one."""
    cases = _paired(scenarios, thresholds)
    return tuple(estimate(case, [metric], sampling)[metric] for case in cases)


def resample(cases: Sequence[Case], metric: str, sampling: Sampling) -> tuple[Floats, Floats]:
    """Values (n_cases,) of one metric, and under shared resamples (n_cases, n_resamples)."""
    prepared = [statistics(case, [metric]) for case in cases]

    def weigh(weights: Weights) -> Floats:
        return np.concatenate([statistic(weights) for statistic in prepared])

    values = weigh(ones(len(cases[0].y)))[:, 0]
    return values, bootstrap(weigh, cases[0].groups, sampling)


def bias_corrected(
    scenarios: Sequence[Predictions],
    metric: str,
    thresholds: Mapping[str, Threshold] | None = None,
    choose: Choice | None = None,
    sampling: Sampling = DEFAULT,
) -> Estimate:
    """What the winner's out-of-fold figure is worth once its having been chosen is discounted.

    BBC-CV (Tsamardinos et al. 2018), with groups as the units: in each resample the scenario is
    chosen by the groups drawn and judged by those left out; the value is the mean of the
    judgements, the interval their percentiles. About 37 % of the groups are left out each time,
    so that the interval is rather too wide than too narrow. Where the winner's own figure has no
    spread under resampling (it is perfect), the interval is at least as wide as its own, by name.

    Parameters
    ----------
    choose : the rule of choice; by default the best value of `metric`.

    Raises
    ------
    LeakError, DataError
        As `compare`.
    """
    require_development(scenarios, "the correction of the winner's figure")
    cases = _paired(scenarios, thresholds)
    prepared = [statistics(case, [metric]) for case in cases]
    pick = choose or (lambda values: _best(values, metric))

    def judge_out_of_bag(weights: Weights) -> Floats:
        left_out = (weights == 0).astype(weights.dtype)
        inside = np.concatenate([statistic(weights) for statistic in prepared])
        outside = np.concatenate([statistic(left_out) for statistic in prepared])
        return outside[pick(inside), np.arange(inside.shape[1])][None]

    groups = cases[0].groups
    judged = bootstrap(judge_out_of_bag, groups, sampling)[0]
    judged = judged[np.isfinite(judged)]
    low, high = percentile(judged, sampling)
    plain = np.concatenate([statistic(ones(len(groups))) for statistic in prepared])
    winner = cases[int(pick(plain)[0])]
    own = estimate(winner, [metric], sampling)[metric]
    if not high - low > 1e-6:  # nothing was lost by choosing: the winner's own interval holds
        return replace(own, method=f"no spread out of bag; {own.method}")
    value = float(judged.mean())
    method = f"bootstrap bias correction over {len(cases)} scenarios, {len(judged)} resamples"
    perfect = own.value in (own.low, own.high)
    if perfect and (own.low < low or own.high > high):
        # resamples of a perfect winner know nothing of the errors it has not made yet
        low, high = min(low, own.low), max(high, own.high)
        method += f"; at least as wide as the winner's own interval, {own.method}"
    return Estimate(value, low, high, len(groups), method)


def _best(values: Floats, metric: str) -> Ints:
    """The best scenario of each resample; where a metric is undefined, it does not win."""
    worth = -values if metric in LOWER_IS_BETTER else values
    best: Ints = np.where(np.isnan(worth), -np.inf, worth).argmax(axis=0)
    return best


def _paired(
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
    values = [statistics(case, [metric])(ones(len(case.y)))[0, 0] for case in cases]
    moved = [influence(case, metric) for case in cases]
    found = []
    for other, (value, own) in enumerate(zip(values[1:], moved[1:], strict=True), start=1):
        difference = float(values[0] - value)
        variance, freedom = spread(moved[0] - own, cases[other], metric, paired=True)
        found.append(_by_error(difference, variance, freedom, sampling))
    return found


def _by_error(value: float, variance: float, freedom: float, sampling: Sampling) -> Difference:
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
    """A difference from two intervals: each end's distances, squared and added."""
    one, two = (estimate(case, [metric], sampling)[metric] for case in (a, b))
    value = one.value - two.value
    low = value - float(np.hypot(one.value - one.low, two.high - two.value))
    high = value + float(np.hypot(one.high - one.value, two.value - two.low))
    return Difference(value, low, high, 1.0)
