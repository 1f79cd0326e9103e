"""The mean of one metric over several findings of the same patients, with its interval.

Each finding's variance is the one of its own interval (`influence.spread`); what two findings share
is the sum over patients of the products of what each patient moves in both. A finding without
spread (no error yet) adds the width of its own interval, as in MOVER (Zou and Donner 2008).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from medgraft.evaluate.estimates import estimate
from medgraft.evaluate.influence import bounds, influence, spread
from medgraft.evaluate.intervals import DEFAULT, Sampling, ones
from medgraft.evaluate.metrics import SIGNED, Case, statistics, value_range
from medgraft.types import Estimate, Floats


def macro_mean(cases: Sequence[Case], metric: str, sampling: Sampling = DEFAULT) -> Estimate:
    """The mean over findings; `n` is the number of patients."""
    values = [float(statistics(case, [metric])(ones(len(case.y)))[0, 0]) for case in cases]
    at: dict[str, int] = {}
    for case in cases:
        for group in np.unique(case.groups).tolist():
            at.setdefault(group, len(at))
    moved = [influence(case, metric) for case in cases]
    sums = np.stack([_by_group(m, c, at) for m, c in zip(moved, cases, strict=True)])
    own = [_spread(m, case, metric, sampling) for m, case in zip(moved, cases, strict=True)]
    shared = len(at) / max(len(at) - 1, 1) * (sums @ sums.T)
    np.fill_diagonal(shared, [variance for variance, _ in own])
    value, k = float(np.mean(values)), len(cases)
    variance = float(shared.sum()) / k**2
    method = f"mean of {k} findings, influence values over {len(at)} patients"
    inside = -1 < value < 1 if metric in SIGNED else 0 < value < 1
    if not inside:
        half = float(stats.norm.isf(sampling.tail)) * float(np.sqrt(variance))
        least = value - half if value > 0 else value
        most = value + half if value <= 0 else value
        return Estimate(value, least, most, len(at), f"{method} (no spread)")
    parts = np.array([variance for variance, _ in own])
    freedom = float(parts.sum() ** 2 / (parts**2 / np.array([f for _, f in own])).sum())
    low, high = bounds(metric, value, float(np.sqrt(variance)), freedom, sampling.level)
    most = max(value_range(metric, case)[1] for case in cases)
    return Estimate(value, min(low, value), min(max(high, value), most), len(at), method)


def _spread(moved: Floats, case: Case, metric: str, sampling: Sampling) -> tuple[float, float]:
    """Variance and freedom by influences; without any, as of its own interval."""
    variance, freedom = spread(moved, case, metric)
    if variance > 1e-15:
        return variance, freedom
    own = estimate(case, [metric], sampling)[metric]
    half = max(own.value - own.low, own.high - own.value)
    return (half / float(stats.norm.isf(sampling.tail))) ** 2, float(max(len(case.y) - 1, 1))


def _by_group(moved: Floats, case: Case, at: Mapping[str, int]) -> Floats:
    """The influences of a case summed by group, in the order of all groups."""
    index = np.array([at[group] for group in case.groups.tolist()], np.int64)
    return np.bincount(index, moved, len(at)).astype(np.float64)
