"""Whether a finding is told without another one that comes with it.

Findings that come together teach each other's marks: a drain tells of the pneumothorax, and a
model that has learned the drain misses the untreated one. So each finding is judged among images
without the other, and held to its usual figure, image by image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from medgraft.evaluate.compare import by_error, holm
from medgraft.evaluate.estimates import estimate
from medgraft.evaluate.influence import ranking_influence, spread
from medgraft.evaluate.intervals import DEFAULT, Sampling
from medgraft.evaluate.metrics import Case, judge
from medgraft.panel import ABSENT, PRESENT, Marks
from medgraft.results.figures import Comparison
from medgraft.results.panel import Company
from medgraft.types import Predictions, Strings

LEAST = 10  # patients with a finding alone, with both, and with neither, to judge a pair

MarksOf = Callable[[str, Strings], Marks]
"""What is known of a finding, (n,), in images given by their ids (n,)."""


def company_gaps(
    predictions: Mapping[str, Predictions], marks: MarksOf, sampling: Sampling = DEFAULT
) -> tuple[Company, ...]:
    """Each finding among images without each other one, held to its usual figure.

    The difference is of two AUROCs on images that are the same, or some of them: its error is that
    of the difference of influences summed over groups, as in DeLong's paired test. p is corrected
    by Holm over all pairs that are judged.

    Parameters
    ----------
    predictions : out of fold, of two classes, by finding.
    """
    cases = {name: judge(one) for name, one in predictions.items()}
    found: list[Company] = []
    for name, other in permutations(predictions, 2):
        mine = predictions[name]
        found += _pair(name, other, cases[name], marks(other, mine.ids), sampling)
    corrected = holm([one.difference.p for one in found])
    return tuple(
        replace(one, difference=replace(one.difference, p=p))
        for one, p in zip(found, corrected, strict=True)
    )


def _pair(name: str, other: str, case: Case, marks: Marks, sampling: Sampling) -> Iterator[Company]:
    """One finding without one other, if there are enough patients of each kind."""
    y, score = case.ranked[0]
    without = marks == ABSENT
    both, apart = y & (marks == PRESENT), y & without
    if min(case.groups_in(rows) for rows in (both, apart, ~y & without)) < LEAST:
        return
    alone = _select(case, without)
    moved = -ranking_influence(y, score, case.fold)
    moved[without] += ranking_influence(y[without], score[without], case.fold[without])
    (usual,), (left,) = (estimate(c, ["auroc"], sampling).values() for c in (case, alone))
    variance, freedom = spread(moved, case, "auroc", paired=True)
    gap = by_error(left.value - usual.value, variance, freedom, sampling)
    yield Company(
        name=name,
        without=other,
        together=int(both.sum()),
        apart=int(apart.sum()),
        usual=usual,
        alone=left,
        difference=Comparison(f"{name} without {other}", name, *gap),
    )


def _select(case: Case, rows: NDArray[np.bool_]) -> Case:
    """The case of some images."""
    columns = ("y", "labels", "prob", "groups", "fold")
    return replace(case, **{column: getattr(case, column)[rows] for column in columns})
