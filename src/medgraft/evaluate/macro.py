"""The mean of one metric over several findings of the same patients, with its interval.

Each finding keeps the two ends of its own interval, whichever form covers it, and what two findings
share is the correlation of what each patient moves in both: MOVER for correlated estimates (Zou
2008), ``low = mean - sqrt(sum_ij r_ij d_i d_j) / k`` with d_i the distance of finding i to its
lower end, and the same with the upper ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from medgraft.evaluate.estimates import estimate
from medgraft.evaluate.influence import influence
from medgraft.evaluate.intervals import DEFAULT, Sampling
from medgraft.evaluate.metrics import Case
from medgraft.types import Estimate, Floats


def macro_mean(cases: Sequence[Case], metric: str, sampling: Sampling = DEFAULT) -> Estimate:
    """The mean over findings; `n` is the number of patients."""
    own = [estimate(case, [metric], sampling)[metric] for case in cases]
    at: dict[str, int] = {}
    for case in cases:
        for group in np.unique(case.groups).tolist():
            at.setdefault(group, len(at))
    shared = _correlations([_by_group(influence(case, metric), case, at) for case in cases])
    values, lows, highs = (
        np.array([getattr(one, name) for one in own]) for name in ("value", "low", "high")
    )
    value, k = float(values.mean()), len(cases)
    below, above = (
        float(np.sqrt(max(distance @ shared @ distance, 0.0))) / k
        for distance in (values - lows, highs - values)
    )
    method = f"mean of {k} findings, MOVER with correlations over {len(at)} patients"
    return Estimate(value, value - below, value + above, len(at), method)


def _correlations(sums: Sequence[Floats]) -> Floats:
    """(k, k) of sums over groups, each (n_groups,); 0 with one that has no spread."""
    products = np.stack(sums) @ np.stack(sums).T
    scale = np.sqrt(np.diag(products))
    both = np.outer(scale, scale)
    found: Floats = np.where(both > 0, products / np.where(both > 0, both, 1.0), 0.0)
    np.fill_diagonal(found, 1.0)
    return found


def _by_group(moved: Floats, case: Case, at: Mapping[str, int]) -> Floats:
    """The influences of a case summed by group, in the order of all groups."""
    index = np.array([at[group] for group in case.groups.tolist()], np.int64)
    return np.bincount(index, moved, len(at)).astype(np.float64)
