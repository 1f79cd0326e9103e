"""What a head's strength is chosen by: the study's metric of out-of-fold scores.

Scores come here uncalibrated, from several models of one strength, one a cell (an inner fold). What
ranks compares within a cell only, for the scores of two models have no common unit. What asks for
probabilities or labels calibrates the scores first, as they will be in use.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from medgraft.errors import FitError
from medgraft.evaluate.calibration import fit_calibrator
from medgraft.evaluate.metrics import (
    METRICS,
    STUDIED,
    Case,
    auroc,
    give_labels,
    statistics,
)
from medgraft.evaluate.threshold import best_threshold
from medgraft.types import Floats, Ints

Criterion = Callable[[Ints, Floats, Ints], float]
"""Of y (n,), scores (n, n_classes) and cells (n,); higher is better."""


def criterion(metric: str) -> Criterion:
    """The criterion of a metric that studies compare by; losses count downwards.

    Raises
    ------
    FitError
        The metric is unknown.
    """
    if metric not in STUDIED:
        raise FitError(f"no metric {metric!r} to choose by; there are: {', '.join(STUDIED)}")
    if metric == "auroc":
        return auroc_within
    return lambda y, scores, cell: _calibrated(metric, y, scores, cell)


def auroc_within(y: Ints, scores: Floats, cell: Ints) -> float:
    """The share of pairs within a cell that are ranked right, the mean over the classes present.

    The area under the ROC curve of cells weighed by their pairs (LeDell, Petersen and van der Laan
    2015); .5 where no cell holds two classes.
    """
    columns = [1] if scores.shape[1] == 2 else np.unique(y).tolist()
    areas = np.array([auroc(y == k, scores[:, k], cell) for k in columns])
    areas = areas[np.isfinite(areas)]
    return float(areas.mean()) if len(areas) else 0.5


def _calibrated(metric: str, y: Ints, scores: Floats, cell: Ints) -> float:
    """A metric of the scores after a calibrator that was fitted on them, at their best threshold.

    Two or three numbers are fitted on the same images, for every strength alike.
    """
    scores = np.asarray(scores, np.float64)
    if len(np.unique(y)) < 2:
        return 0.0
    prob = fit_calibrator(scores, y)(scores)
    positive = 1 if prob.shape[1] == 2 else None
    at = 0.0 if positive is None else best_threshold(y == 1, prob[:, 1])
    case = Case(
        y=y,
        labels=give_labels(prob, positive, at),
        prob=prob,
        groups=np.arange(len(y)).astype(str),
        fold=cell,
        classes=tuple(map(str, range(prob.shape[1]))),
        positive=positive,
    )
    value = float(statistics(case, [metric])(np.ones((len(y), 1)))[0, 0])
    return METRICS[metric].sign * (value if np.isfinite(value) else 0.0)
