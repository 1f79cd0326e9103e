"""How a classifier does in each sub-group of a column, and where it differs from the others.

Each sub-group is held against all images that are not in it, by the difference of a metric with a t
interval from influences (`influence.py`), patients of both sides counted as such. Differences are
many and one is large by chance, so that their p is Holm's over all sub-groups of all columns.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from scipy import stats

from medgraft.data.groups.keys import known
from medgraft.errors import DataError
from medgraft.evaluate.by_site import FEWEST, groups_of_rarest, of_rows
from medgraft.evaluate.compare import difference_apart, holm
from medgraft.evaluate.estimates import estimate
from medgraft.evaluate.influence import influence, spread
from medgraft.evaluate.intervals import DEFAULT, Sampling, number_groups
from medgraft.evaluate.metrics import Case, Threshold, judge
from medgraft.results.figures import Subgroup, Subgroups
from medgraft.types import Floats, ImageTable, Predictions, Strings

MOST = 12  # values of a column; numbers that have more are cut into quarters
PARTS = 4
NOT_GIVEN = "(not given)"
NOTHING = 1e-15  # of a figure's variance: what rounding leaves


def subgroups_of(
    predictions: Predictions,
    columns: Mapping[str, Strings],
    metric: str,
    threshold: Threshold = None,
    sampling: Sampling = DEFAULT,
) -> tuple[Subgroups, ...]:
    """One metric in each sub-group of each column.

    Parameters
    ----------
    predictions : of n images. columns : by name the values (n,), see `subgroup_columns`.
    threshold : as of `judge`.

    Raises
    ------
    DataError
        The predictions cannot be judged.
    """
    whole = judge(predictions, threshold)
    found = {
        name: _figures(whole, *_parts(values), metric, sampling) for name, values in columns.items()
    }
    tests = {
        (name, one.name): one.p
        for name, figures in found.items()
        for one in (figures[:1] if _mirrored(figures) else figures)
        if one.p is not None
    }
    corrected = dict(zip(tests, holm(list(tests.values())), strict=True))

    def of(name: str, one: Subgroup) -> float | None:
        first = found[name][0].name if _mirrored(found[name]) else one.name
        return corrected.get((name, first))

    return tuple(
        Subgroups(name, tuple(dataclasses.replace(one, p=of(name, one)) for one in figures))
        for name, figures in found.items()
    )


def subgroup_columns(table: ImageTable, asked: Sequence[str], metric: str) -> dict[str, Strings]:
    """The values (n,) of the columns asked for, '' where one is not known.

    Raises
    ------
    DataError
        There is no such column, it has one value or too many to be sub-groups, or the metric is the
        calibration error, of which no difference is tested.
    """
    if asked and metric == "ece":
        raise DataError("sub-groups cannot be compared by ece; choose another --metric, say brier")
    found = {}
    for name in asked:
        if name not in table.metadata:
            raise DataError(
                f"no column {name!r} for --subgroups; the data has "
                f"{', '.join(sorted(table.metadata)) or 'no further columns'}"
            )
        found[name] = known(table.metadata[name])
        distinct = np.unique(found[name][found[name] != ""])
        if len(distinct) < 2 or (len(distinct) > MOST and _numbers(distinct) is None):
            raise DataError(
                f"column {name!r} of --subgroups has {len(distinct)} different values; sub-groups "
                f"take 2 to {MOST}, or numbers: name another column"
            )
    return found


def _numbers(values: Strings) -> Floats | None:
    """The values as numbers, None where one is none."""
    try:
        return values.astype(np.float64)
    except ValueError:
        return None


def _mirrored(figures: Sequence[Subgroup]) -> bool:
    """Whether there are two sub-groups, of which each is the other's rest: one test, not two."""
    return sum(one.name != NOT_GIVEN for one in figures) == 2


def _parts(values: Strings) -> tuple[Strings, list[str]]:
    """The sub-group of each image (n,), its value or the quarter that its number lies in; names."""
    given = values != ""
    distinct, numbers = np.unique(values[given]), _numbers(values[given])
    parts = np.where(given, values, NOT_GIVEN).astype(object)
    names = distinct.tolist()
    if len(distinct) > MOST and numbers is not None:
        ends = np.unique(np.quantile(numbers, np.arange(1, PARTS) / PARTS, method="inverted_cdf"))
        names = _ranges(ends)
        parts[given] = np.array(names, object)[np.searchsorted(ends, numbers)]
    elif numbers is not None:
        names.sort(key=float)
    return np.asarray(parts.astype(str)), [*names, *([] if given.all() else [NOT_GIVEN])]


def _ranges(ends: Floats) -> list[str]:
    """What the parts between some ends are called.

    >>> _ranges(np.array([40.0, 55.5]))
    ['up to 40', 'above 40 to 55.5', 'above 55.5']
    """
    written = [f"{end:g}" for end in ends]
    middle = [f"above {a} to {b}" for a, b in pairwise(written)]
    return [f"up to {written[0]}", *middle, f"above {written[-1]}"]


def _figures(
    whole: Case, parts: Strings, names: Sequence[str], metric: str, sampling: Sampling
) -> list[Subgroup]:
    """Each sub-group with its figure and, where it can be tested, how it differs; p uncorrected."""
    rows = []
    for name in names:
        mine = parts == name
        if not mine.any():
            continue
        rest = ~mine & (parts != NOT_GIVEN)
        case, others = of_rows(whole, mine), of_rows(whole, rest)
        found = estimate(case, [metric], sampling)[metric]
        defined = np.isfinite(found.value)
        few = min(groups_of_rarest(one, whole, metric) for one in (case, others)) < FEWEST
        gap = None
        if defined and not few and name != NOT_GIVEN:
            gap = _difference(case, others, metric, sampling.level)
        rows.append(
            Subgroup(
                name=name, n_images=len(case.y), n_groups=len(np.unique(case.groups)),
                estimate=found if defined else None, few=few, difference=gap and gap[:3],
                p=gap and gap[3],
            )
        )  # fmt: skip
    return rows


def _difference(
    case: Case, rest: Case, metric: str, level: float
) -> tuple[float, float, float, float | None] | None:
    """The difference of two figures, its interval and p; None where neither has any spread.

    Where one has none, as a perfect one, what it owes to chance is not known to a test: then there
    is no p, and the interval is made of both figures' own.
    """
    sampling = Sampling(level=level)
    figures = [estimate(one, [metric], sampling)[metric] for one in (case, rest)]
    values = [figure.value for figure in figures]
    moved = [influence(one, metric) for one in (case, rest)]
    (a, free_a), (b, free_b) = (
        spread(m, one, metric) for m, one in zip(moved, (case, rest), strict=True)
    )
    if min(a, b) <= NOTHING < max(a, b):
        apart = difference_apart(*figures)
        return apart.value, apart.low, apart.high, None
    variance = a + b - 2 * _shared(case, rest, moved)
    if not (variance > NOTHING and a + b > 0):
        return None
    freedom = (a + b) ** 2 / (a**2 / free_a + b**2 / free_b)  # Satterthwaite
    gap, error = values[0] - values[1], float(np.sqrt(variance))
    half = float(stats.t.isf((1 - level) / 2, freedom)) * error
    p = float(2 * stats.t.sf(abs(gap) / error, freedom))
    return gap, gap - half, gap + half, p


def _shared(case: Case, rest: Case, moved: list[Floats]) -> float:
    """The covariance of two figures by the groups that have images on both sides."""
    here = len(case.y)
    index, n = number_groups(np.concatenate([case.groups, rest.groups]))
    parts = zip((index[:here], index[here:]), moved, strict=True)
    mine, others = (np.bincount(rows, one, n) for rows, one in parts)
    return float(mine @ others)
