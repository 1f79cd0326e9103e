"""What the report draws of one scenario: ROC and precision-recall curves, and reliability."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from medgraft.errors import DataError
from medgraft.evaluate.intervals import (
    DEFAULT,
    Sampling,
    Statistic,
    Weights,
    bootstrap,
    ones,
    proportion,
    wilson,
)
from medgraft.evaluate.metrics import (
    confidence,
    equal_mass_bins,
    judge,
    score_blocks,
    score_blocks_of_positives,
    strata,
    sums,
)
from medgraft.evaluate.threshold import positive_column
from medgraft.results.curves import Curve, Curves, DecisionCurve, ReliabilityBin
from medgraft.types import Floats, Predictions, Strings

GRID: NDArray[np.float64] = np.linspace(0, 1, 101)
MOST_CLASSES = 12  # with a curve


def draw_curves(predictions: Predictions, sampling: Sampling = DEFAULT) -> Curves:
    """Every curve that is drawn of one set of predictions."""
    positive = predictions.positive if len(predictions.classes) == 2 else None
    names = predictions.classes[:MOST_CLASSES] if positive is None else (positive,)
    roc = {name: _if_any(predictions, name, sampling) for name in names}
    found = positive is not None and roc[positive] is not None
    return Curves(
        roc=roc,
        precision_recall=precision_recall_curve(predictions, positive, sampling) if found else None,
        reliability=reliability(predictions, sampling),
        decision=decision_curve(predictions, sampling) if found else None,
    )


def _if_any(predictions: Predictions, of: str, sampling: Sampling) -> Curve | None:
    """The ROC curve of a class, None where there is no image of it, or no other."""
    mine = predictions.y_true == predictions.classes.index(of)
    return roc_curve(predictions, of, sampling) if mine.any() and not mine.all() else None


def roc_curve(
    predictions: Predictions, of: str | None = None, sampling: Sampling = DEFAULT
) -> Curve:
    """The ROC curve of one class against the rest, with a pointwise band over groups.

    Out of fold it is the mean of the folds' curves at each specificity, each with as much weight
    as it has pairs of a positive and a negative, so that the area below is the AUROC, which counts
    pairs within folds.

    Parameters
    ----------
    of : the class; by default the positive one. Needed for more than two classes.

    Raises
    ------
    DataError
        The class is unknown, or all images are of it, or none.
    """
    y, score = _task(predictions, of)
    positives, negatives, first = score_blocks(y, score, strata(y, predictions.fold))
    folds = [slice(*ends) for ends in pairwise([*first.tolist(), positives.shape[0]])]

    def corners(weights: Weights) -> list[tuple[Floats, Floats, Floats]]:
        pos, neg = sums(positives, weights), sums(negatives, weights)
        return [
            (_shares_from_top(n), _shares_from_top(m), m.sum(axis=0) * n.sum(axis=0))
            for m, n in ((pos[rows], neg[rows]) for rows in folds)
        ]

    def heights(weights: Weights) -> Floats:
        found = corners(weights)
        share = _shares([pairs for *_, pairs in found])  # (n_folds, n_resamples)
        values = np.where(np.isnan(share).any(axis=0), np.nan, np.zeros((len(GRID), 1)))
        for (x, height, _), own in zip(found, share, strict=True):
            for b in np.flatnonzero(own > 0):
                values[:, b] += own[b] * np.interp(GRID, x[:, b], height[:, b])
        return values

    x, height = _mean_curve(corners(ones(len(y))))
    on_grid = heights(ones(len(y)))[:, 0]
    band = _band(heights, predictions.groups, sampling)
    units = np.where(GRID < 1, len(np.unique(predictions.groups[y])), 0)
    return _curve(x, height, on_grid, band, units, sampling)


def _shares(pairs: Sequence[Floats]) -> Floats:
    """What part of all pairs each fold has, (n_folds, n_resamples); nan where there are none."""
    total = np.sum(pairs, axis=0)
    return np.stack(pairs) / np.where(total > 0, total, np.nan)


def _mean_curve(folds: Sequence[tuple[Floats, Floats, Floats]]) -> tuple[Floats, Floats]:
    """The corners of the folds' mean curve, x and y (n_corners,): where any fold has one."""
    if len(folds) == 1:
        return folds[0][0][:, 0], folds[0][1][:, 0]
    share = _shares([pairs for *_, pairs in folds])[:, 0]
    knots = np.unique(np.concatenate([x[:, 0] for x, *_ in folds]))
    both_sides = (knots[:, None] + [-1e-9, 1e-9]).ravel()  # a curve may rise upright
    heights = [np.interp(both_sides, x[:, 0], height[:, 0]) for x, height, _ in folds]
    return knots.repeat(2), np.asarray(share @ np.stack(heights))


def precision_recall_curve(
    predictions: Predictions, of: str | None = None, sampling: Sampling = DEFAULT
) -> Curve:
    """The precision-recall curve, as `roc_curve`; its steps are those of the average precision.

    Between two corners it is read as a step, for a straight line would promise too much.
    """
    y, score = _task(predictions, of)
    positives, negatives = score_blocks_of_positives(y, score)

    def corners(weights: Weights) -> tuple[Floats, Floats]:
        found = np.cumsum(sums(positives, weights), axis=0)
        called = found + np.cumsum(sums(negatives, weights), axis=0)
        return found / np.maximum(found[-1], 1e-9), found / np.maximum(called, 1e-9)

    def read(x: Floats, height: Floats) -> Floats:
        # Blocks without weight repeat a recall; the first corner to reach it is the right one,
        # save at recall 0, where nothing may have been found yet.
        reached = np.searchsorted(x, np.maximum(GRID, 1e-12) - 1e-7 * (GRID > 0))
        steps: Floats = height[np.minimum(reached, len(x) - 1)]
        return steps

    x, height = (column[:, 0] for column in corners(ones(len(y))))

    def heights(weights: Weights) -> Floats:
        recall, precision = corners(weights)
        values = np.full((len(GRID), recall.shape[1]), np.nan)
        for b in np.flatnonzero(recall[-1] > 0):  # a positive was drawn
            values[:, b] = read(recall[:, b], precision[:, b])
        return values

    band = _band(heights, predictions.groups, sampling)
    units = np.ceil(GRID * len(np.unique(predictions.groups[y])))
    return _curve(x, height, read(x, height), band, np.maximum(units, 1), sampling)


def reliability(
    predictions: Predictions, sampling: Sampling = DEFAULT
) -> tuple[ReliabilityBin, ...]:
    """The bins of the expected calibration error, from the least probable up; empty ones drop out.

    Two classes: of the positive's probability. More: of the most probable class's.
    """
    case = judge(predictions, 0.5 * np.ones(len(predictions)))  # labels play no part
    p, came_true = confidence(case)
    bins = equal_mass_bins(p)
    members = [bins == k for k in np.unique(bins)]
    return tuple(
        ReliabilityBin(
            float(p[rows].mean()), proportion(came_true[rows], case.groups[rows], sampling)
        )
        for rows in members
    )


def decision_curve(predictions: Predictions, sampling: Sampling = DEFAULT) -> DecisionCurve:
    """Net benefit at each threshold on the probability, with a pointwise band over groups.

    True positives less false ones, these weighed by the odds of the threshold, a share of all
    images (Vickers and Elkin 2006): who acts from a probability of .2 on holds a missed positive
    for four times as bad as a needless act. Acting on nobody has 0.

    Raises
    ------
    DataError
        There are not two classes, or no image of one of them.
    """
    y, p = _task(predictions, None)
    thresholds = GRID[1:-1]
    odds = (thresholds / (1 - thresholds))[:, None]
    worth = np.where(y, 1.0, -odds)  # (n_thresholds, n)
    acted = np.where(p >= thresholds[:, None], worth, 0.0).astype(np.float32)

    def benefits(weights: Weights) -> Floats:
        total: Floats = acted @ weights / weights.sum(axis=0)
        return total

    low, high = _band(benefits, predictions.groups, sampling)
    benefit = benefits(ones(len(y)))[:, 0]
    return DecisionCurve(
        thresholds, benefit, np.minimum(low, benefit), np.maximum(high, benefit), worth.mean(axis=1)
    )


def _task(predictions: Predictions, of: str | None) -> tuple[NDArray[np.bool_], Floats]:
    """Whether each image is of the class, and its probability; each (n,)."""
    if of is None:
        column = positive_column(predictions)
    else:
        column = predictions.classes.index(of) if of in predictions.classes else None
    if column is None:
        raise DataError(
            f"no class {of!r} to draw a curve of; name one of {', '.join(predictions.classes)}"
        )
    y = predictions.y_true == column
    if y.all() or not y.any():
        raise DataError(
            f"{int(y.sum())} of {len(y)} images are {predictions.classes[column]}; a curve needs "
            "images of that class and of another"
        )
    return y, predictions.y_prob[:, column]


def _shares_from_top(blocks: Floats) -> Floats:
    """Share of the weight at or above each block, (n_blocks + 1, n_resamples), from 0 to 1."""
    rising = np.cumsum(blocks[::-1], axis=0)
    start = np.zeros((1, blocks.shape[1]), blocks.dtype)
    shares: Floats = np.concatenate([start, rising]) / np.maximum(rising[-1], 1e-9)
    return shares


def _band(heights: Statistic, groups: Strings, sampling: Sampling) -> tuple[Floats, Floats]:
    """Pointwise percentiles (101,) of the curve's heights on the grid under resamples of groups."""
    samples = bootstrap(heights, groups, sampling)  # (101, n_resamples)
    low, high = np.nanquantile(samples, [sampling.tail, 1 - sampling.tail], axis=1)
    return low, high


def _curve(
    x: Floats,
    y: Floats,
    on_grid: Floats,
    band: tuple[Floats, Floats],
    units: Floats,
    sampling: Sampling,
) -> Curve:
    """Put a curve together, with Wilson's band of `units` (101,) where the band has no width."""
    low, high = np.minimum(band[0], on_grid), np.maximum(band[1], on_grid)
    for i in np.flatnonzero((high - low < 1e-6) & (units > 0)):
        stand_in = wilson(on_grid[i] * units[i], float(units[i]), sampling.level)
        low[i], high[i] = min(low[i], stand_in.low), max(high[i], stand_in.high)
    return Curve(x, y, GRID, low, high)
