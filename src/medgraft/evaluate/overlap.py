"""What a figure would be if how the images were made told nothing of their class.

Where the sick were photographed by another machine than the healthy, part of an out-of-fold figure
may rest on the machine, and is not there elsewhere. Overlap weights (Li, Morgan and Zaslavsky,
"Balancing covariates via propensity score weighting", JASA 113, 2018) give each image the weight
of how well it could belong to the other class by its surface alone; for K classes (Li and Li,
"Propensity score weighting for causal inference with multiple treatments", Annals of Applied
Statistics 13, 2019)

    w_i = h(x_i) / e_k(x_i),    h(x) = 1 / sum_j (1 / e_j(x)),

of an image of class k, where e_j(x) is the probability of class j given the surface x. Images of
class k then have a surface distributed as f(x) h(x), which is the same for every class, so that
under the weights the surface tells nothing. For two classes w is the probability of the other one.

A *lower* end: what truly goes with the class and shows in the surface (an opacity brightens a lung)
is taken away too. And only as far as a logistic regression reads the surface.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from medgraft.errors import DataError
from medgraft.evaluate.calibration import cross_fit, require_development
from medgraft.evaluate.compare import compare, estimate_all
from medgraft.evaluate.intervals import (
    DEFAULT,
    Sampling,
    Weights,
    bootstrap,
    describe_bootstrap,
    newcombe,
    number_groups,
    percentile,
    wilson,
)
from medgraft.evaluate.metrics import METRICS, Case, judge, statistics
from medgraft.results.figures import LowerEnd
from medgraft.types import Estimate, Floats, Ints, Operating, Predictions, Strings

FEWEST = 20  # effective groups of a class below which nothing is said
STILL_TELLING = 0.6  # AUROC of the surface under the weights above which they have failed
LEAST = 1e-9  # probability


def lower_end(
    predictions: Predictions, surface: Predictions, metric: str, sampling: Sampling = DEFAULT
) -> LowerEnd:
    """A metric of out-of-fold predictions, weighed so that the surface tells nothing.

    The surface's probabilities are calibrated first, by the other folds: an overconfident reader
    would take away more than there is. The interval is the percentile bootstrap over groups with
    the weights held; without spread, Newcombe's (AUROC) or Wilson's at the effective n.

    Parameters
    ----------
    predictions : out of fold.
    surface : what the surface alone says of the same images in the same order, out of fold
        (`profile.shortcut_probe.predict_from_surface`).

    Raises
    ------
    LeakError
        Images of the test split are among them.
    DataError
        The two are of other images, or not out of fold.
    """
    require_development([predictions, surface], "the lower end of what to expect")
    if not np.array_equal(predictions.ids, surface.ids):
        raise DataError("the surface was read of other images; read it of those that were judged")
    y, fold = predictions.y_true, surface.fold
    calibrated = dataclasses.replace(surface, y_prob=cross_fit(surface.scores, y, fold))
    weights = overlap_weights(calibrated.y_prob, y)
    effective = effective_groups(weights, y, predictions.groups)
    areas = statistics(judge(calibrated, Operating(0.5, "none chosen")), ["auroc"])
    after = float(areas(weights[:, None])[0, 0])
    (plain,) = estimate_all([surface], "auroc")
    (beyond,) = compare(predictions, [surface], "auroc")
    found = LowerEnd(None, float(effective.min()), plain.value, after, surface=plain, beyond=beyond)
    if after > STILL_TELLING:
        return dataclasses.replace(found, reason="still telling")
    if found.n_effective < FEWEST:
        return dataclasses.replace(found, reason="few images")
    estimate = _estimate(judge(predictions), metric, weights, effective, sampling)
    return dataclasses.replace(found, estimate=estimate)


def overlap_weights(prob: Floats, y: Ints) -> NDArray[np.float64]:
    """Generalised overlap weights (n,), each class adding up to its number of images.

    So the classes keep their shares, and metrics that depend on these keep their meaning.

    Parameters
    ----------
    prob : (n, n_classes) of the classes given what is to be balanced. y : (n,).

    Examples
    --------
    >>> overlap_weights(np.array([[0.8, 0.2], [0.4, 0.6], [0.3, 0.7]]), np.array([0, 0, 1]))
    array([0.5, 1.5, 1. ])
    """
    inverse = 1 / np.maximum(prob, LEAST)
    weights = inverse[np.arange(len(y)), y] / inverse.sum(axis=1)
    scaled: NDArray[np.float64] = weights * (np.bincount(y)[y] / np.bincount(y, weights)[y])
    return scaled


def effective_groups(weights: Floats, y: Ints, groups: Strings) -> NDArray[np.float64]:
    """Of each class present, how many groups of equal weight would tell as much (Kish 1965).

    `(sum W)² / sum W²` over its groups, W being the sum of a group's weights.
    """
    index, n_groups = number_groups(groups)
    sums = [np.bincount(index[y == k], weights[y == k], n_groups) for k in np.unique(y)]
    return np.array([W.sum() ** 2 / (W**2).sum() for W in sums])


def _estimate(
    case: Case, metric: str, weights: Floats, effective: Floats, sampling: Sampling
) -> Estimate:
    """The metric under the weights with its interval; effective : groups of each class."""
    statistic = statistics(case, [metric])

    def weigh(drawn: Weights) -> Floats:
        return statistic(drawn * weights.astype(drawn.dtype)[:, None])

    value = float(weigh(np.ones((len(case.y), 1)))[0, 0])
    low, high = percentile(bootstrap(weigh, case.groups, sampling)[0], sampling)
    how = describe_bootstrap(case.groups, sampling)
    if not high - low > 1e-6:
        low, high, how = _without_spread(metric, value, effective, sampling.level)
    n = len(case.y)
    return Estimate(value, min(low, value), max(high, value), n, f"overlap weights, {how}")


def _without_spread(
    metric: str, value: float, effective: Floats, level: float
) -> tuple[float, float, str]:
    """An interval at the effective n, where resampling shows no spread (perfect separation)."""
    if metric == "auroc":
        least = round(float(effective.min()))
        bounds = newcombe(value, least, least, level)
        return bounds.low, bounds.high, "Newcombe at the effective n (no spread)"
    loss = METRICS[metric].lower_is_better
    share, total = float(np.clip(1 - value if loss else value, 0, 1)), float(effective.sum())
    bounds = wilson(share * total, total, level)
    low, high = (1 - bounds.high, 1 - bounds.low) if loss else (bounds.low, bounds.high)
    return low, high, "Wilson at the effective n (no spread)"
