"""How a scenario does at each site, and at the worst one.

The worst of several figures looks worse than the worst site is, for chance had several tries. So
the intervals of all sites hold at once (Bonferroni): then the truth of the worst site, whichever it
is, lies between the worst of their lower and the worst of their upper ends. Sites of a handful of
images, whose intervals reach from chance to perfection, are shown and do not count.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from medgraft.evaluate.calibration import require_development
from medgraft.evaluate.estimates import estimate
from medgraft.evaluate.intervals import DEFAULT, Sampling
from medgraft.evaluate.metrics import METRICS, Case, judge
from medgraft.results.figures import SiteFigure, SiteFigures
from medgraft.types import Estimate, Predictions, Strings

OF_IMAGES = ("accuracy", "brier", "log_loss")  # metrics that are means over images, not classes
FEWEST = 5  # groups of each class that a site has, below which its figure says next to nothing


def figures_by_site(
    predictions: Predictions, sites: Strings, asked: str, metric: str, sampling: Sampling = DEFAULT
) -> SiteFigures:
    """One metric of out-of-fold predictions at each site.

    Parameters
    ----------
    predictions : of models that learned from other sites; of n images. sites : (n,).
    asked : what named the sites.

    Raises
    ------
    LeakError
        Images of the test split are among them.
    DataError
        The predictions cannot be judged.
    """
    require_development([predictions], "the figures of sites")
    whole = judge(predictions)
    cases = {name: of_rows(whole, sites == name) for name in np.unique(sites).tolist()}
    counted = {
        name for name, case in cases.items() if groups_of_rarest(case, whole, metric) >= FEWEST
    }
    level = 1 - (1 - sampling.level) / max(len(counted), 1)
    wide = dataclasses.replace(sampling, level=level)
    found = []
    for name, case in cases.items():
        one = estimate(case, [metric], wide)[metric]
        groups = len(np.unique(case.groups))
        figure = one if np.isfinite(one.value) and len(case.present) > 1 else None
        few = figure is not None and name not in counted
        found.append(SiteFigure(name, len(case.y), groups, int(case.fold[0]), figure, few))
    sign = METRICS[metric].sign
    found.sort(key=lambda one: (one.few, sign * one.estimate.value if one.estimate else np.inf))
    found.sort(key=lambda one: one.estimate is None)
    return SiteFigures(asked, tuple(found), _worst(found, sign))


def groups_of_rarest(case: Case, whole: Case, metric: str) -> int:
    """Groups of the class that has the fewest in a part of all images; 0 where it has one class.

    A metric that weighs classes is of other classes where one is lacking, and says nothing of the
    part beside the others: then a class counts that is present anywhere in the `whole`.
    """
    if len(case.present) < 2:
        return 0
    classes = case.present if metric in OF_IMAGES else whole.present
    return min(len(np.unique(case.groups[case.y == k])) for k in classes)


def of_rows(case: Case, rows: NDArray[np.bool_]) -> Case:
    """The case of some of its rows."""
    columns = ("y", "labels", "prob", "groups", "fold")
    return dataclasses.replace(case, **{name: getattr(case, name)[rows] for name in columns})


def _worst(found: list[SiteFigure], sign: int) -> Estimate | None:
    known = [one.estimate for one in found if one.estimate is not None and not one.few]
    if not known:
        return None
    pick = min if sign > 0 else max
    value, low, high = (
        pick(getattr(one, end) for one in known) for end in ("value", "low", "high")
    )
    method = f"worst of {len(known)} sites, from intervals that hold for all at once (Bonferroni)"
    return Estimate(value, low, high, min(one.n for one in known), method)
