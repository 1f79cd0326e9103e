"""What the fifteen metrics are, as numbers; how sure they are is the business of `estimates.py`.

Every metric is prepared once and then weighed under many resamples at a time; its plain value is
the one under equal weights, so that value and bootstrap cannot disagree on the definition.

auroc, auprc: more than two classes, the mean of each class present against the rest. auroc: of
pairs of images that the same fold judged, for the scores of two models have no common scale
(LeDell, Petersen and van der Laan 2015); where no fold holds both classes, of all pairs. auprc is
the average precision, over all folds. macro_f1: over the classes that occur in the truth or among
the labels. mcc: 0 where it is undefined. brier: two classes, the mean of (p - y)² of the positive;
more, the mean over images of the sum over classes, twice as large. log_loss: natural,
probabilities below 1e-7 count as 1e-7. ece: 15 bins of equal mass of the positive's probability,
or with more than two classes of the most probable one's; ties share a bin. quadratic_kappa: Cohen's
kappa with a mistake weighed by the square of its distance (Cohen 1968), and mean_absolute_error:
the mean distance; distances are counted in places, the classes being grades in their order. Both
only of grades, or where they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from medgraft.errors import DataError
from medgraft.evaluate.intervals import Statistic, Weights, ones
from medgraft.evaluate.threshold import cross_fit_thresholds, positive_column
from medgraft.types import Floats, Ints, Operating, Predictions, Strings

BINS = 15  # of equal mass, for the expected calibration error
CLIP = 1e-7  # the least probability the log loss believes

Table = Floats
"""(n_classes, n_classes, n_resamples) weighted counts, rows the truth, columns the label."""

Threshold = Operating | Floats | None
"""Where p(positive) becomes a label: one point, (n,) points, or by the rule of `judge`."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric's name, which way it is better, and whether it is of two classes only.

    ordered : it is of classes that are grades, which nothing but the one who asks for it can know.
    """

    name: str
    lower_is_better: bool = False
    two_classes: bool = False
    ordered: bool = False

    @property
    def sign(self) -> int:
        """What values are multiplied by so that more is better."""
        return -1 if self.lower_is_better else 1


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy"),
        Metric("balanced_accuracy"),
        Metric("auroc"),
        Metric("auprc"),
        Metric("macro_f1"),
        Metric("mcc"),
        Metric("brier", lower_is_better=True),
        Metric("log_loss", lower_is_better=True),
        Metric("ece", lower_is_better=True),
        Metric("sensitivity", two_classes=True),
        Metric("specificity", two_classes=True),
        Metric("ppv", two_classes=True),
        Metric("npv", two_classes=True),
        Metric("quadratic_kappa", ordered=True),
        Metric("mean_absolute_error", lower_is_better=True, ordered=True),
    )
}
ORDERED = tuple(name for name, metric in METRICS.items() if metric.ordered)
COMMON = tuple(
    name for name, metric in METRICS.items() if not (metric.two_classes or metric.ordered)
)
BINARY = tuple(name for name, metric in METRICS.items() if metric.two_classes)
STUDIED = COMMON + ORDERED
"""Those that scenarios can be chosen by."""


@dataclass(frozen=True, eq=False)
class Case:
    """What the metrics need of n predictions.

    y, labels : (n,) true and given class. prob : (n, n_classes). groups : (n,). fold : (n,) the
    fold that judged, -1 outside cross-validation. positive : the positive class's column, None
    where there are more than two classes.
    """

    y: Ints
    labels: Ints
    prob: Floats
    groups: Strings
    fold: Ints
    classes: tuple[str, ...]
    positive: int | None

    @property
    def present(self) -> Ints:
        """The classes that have images here."""
        return np.unique(self.y)

    @property
    def ranked(self) -> list[tuple[NDArray[np.bool_], Floats]]:
        """Truth and score of each ranking task: the positive class, or each class present."""
        columns = self.present if self.positive is None else [self.positive]
        return [(self.y == k, self.prob[:, k]) for k in columns]

    @property
    def one_stratum(self) -> bool:
        """Whether all pairs count when images are ranked, not only those within a fold."""
        return all(np.ptp(strata(y, self.fold)) == 0 for y, _ in self.ranked)

    def groups_in(self, rows: NDArray[np.bool_]) -> int:
        """How many groups some rows come from."""
        return len(np.unique(self.groups[rows]))


def judge(predictions: Predictions, threshold: Threshold = None) -> Case:
    """Give each image its label and check that the predictions can be judged.

    More than two classes: the most probable. Two: positive where its probability reaches
    `threshold`; by default that is, out of fold, the threshold the other folds chose, and
    elsewhere 0.5.

    Raises
    ------
    DataError
        No images, missing labels, or rows of `y_prob` that are no probabilities.
    """
    y, prob, positive = predictions.y_true, predictions.y_prob, positive_column(predictions)
    if not len(y) or (y < 0).any():
        raise DataError(
            f"{int((y < 0).sum())} of {len(y)} images have no label ({predictions.scenario}); "
            "only labelled images can be judged: select them first"
        )
    if not np.isfinite(prob).all() or np.abs(prob.sum(axis=1) - 1).max() > 1e-3 or prob.min() < 0:
        raise DataError(
            f"the probabilities of {predictions.scenario} do not lie in 0..1 and sum to 1; "
            "calibrate its scores first (evaluate.calibration)"
        )
    points = 0.0 if positive is None else _points(predictions, threshold)
    labels = give_labels(prob, positive, points)
    fold = np.asarray(predictions.fold, np.int64)
    return Case(y, labels, prob, predictions.groups, fold, predictions.classes, positive)


def give_labels(prob: Floats, positive: int | None, threshold: Floats | float) -> Ints:
    """Label each image (n,) from `prob` (n, n_classes): the one rule, wherever a label is given.

    The column `positive` where its probability reaches `threshold`, one or one an image, else the
    other of two; where `positive` is None, the most probable class.
    """
    if positive is None:
        return np.asarray(prob.argmax(axis=1))
    return np.where(prob[:, positive] >= threshold, positive, 1 - positive)


def _points(predictions: Predictions, threshold: Threshold) -> Floats | float:
    if isinstance(threshold, Operating):
        return threshold.threshold
    if threshold is None:
        return cross_fit_thresholds(predictions) if out_of_fold(predictions) else 0.5
    if threshold.shape != (len(predictions),):
        raise DataError(
            f"thresholds of shape {threshold.shape} for {len(predictions)} images; one each is due"
        )
    return threshold


def out_of_fold(predictions: Predictions) -> bool:
    """Whether every image was judged by a fold."""
    return bool((predictions.fold >= 0).all())


# --------------------------------------------------------------------------- ranking


def strata(y: NDArray[np.bool_], fold: Ints) -> Ints:
    """The fold of each image (n,) where some fold holds both classes, else all as one stratum.

    The latter is the fallback for folds of one class each, as where every patient is a fold.
    """
    return fold if compared(y, fold).any() else np.zeros_like(fold)


def compared(y: NDArray[np.bool_], fold: Ints) -> NDArray[np.bool_]:
    """Which images (n,) share their fold with an image of the other class."""
    place = fold - fold.min()
    positives, images = np.bincount(place, y), np.bincount(place)
    found: NDArray[np.bool_] = ((positives > 0) & (positives < images))[place]
    return found


def score_blocks(
    y: NDArray[np.bool_], score: Floats, fold: Ints | None = None
) -> tuple[sparse.csr_array, sparse.csr_array, Ints]:
    """Sum weights in the order of folds and scores, in as few rows as the ROC curve has corners.

    Returns two (n_blocks, n) matrices, of the positives and of the negatives, from the lowest
    score of a fold up, and the first block of each fold (n_folds,). Tied images share a block;
    neighbours of one class are merged, which changes no comparison between a positive and a
    negative, and makes 2,000 resamples a matter of milliseconds.
    """
    fold = np.zeros(len(y), np.int64) if fold is None else fold
    order = np.lexsort((score, fold))
    truth, values, own = y[order].astype(np.int8), score[order], fold[order]
    new_fold = np.concatenate([[True], own[1:] != own[:-1]])
    tie = np.flatnonzero(new_fold | np.concatenate([[True], values[1:] != values[:-1]]))
    least, most = np.minimum.reduceat(truth, tie), np.maximum.reduceat(truth, tie)
    mixed = least != most
    new = np.ones(len(tie), bool)
    new[1:] = mixed[1:] | mixed[:-1] | (most[1:] != most[:-1]) | new_fold[tie[1:]]
    block = (np.cumsum(new) - 1).repeat(np.diff(np.append(tie, len(y))))
    rows = (_indicator(block, order, truth == kind) for kind in (1, 0))
    return *rows, block[new_fold]


def _indicator(block: Ints, column: Ints, keep: NDArray[np.bool_]) -> sparse.csr_array:
    """(n_blocks, n), 1 where an image that is kept lies in a block."""
    shape = (int(block[-1]) + 1, len(block))
    entries = np.ones(int(keep.sum()), np.float32)
    return sparse.csr_array((entries, (block[keep], column[keep])), shape=shape)


def sums(rows: sparse.csr_array, weights: Weights) -> Floats:
    """The weights added up by a matrix of the above, (n_blocks, n_resamples)."""
    total: Floats = rows @ weights
    return total


def ranking(y: NDArray[np.bool_], score: Floats, fold: Ints) -> Statistic:
    """Prepare the AUROC of pairs within a fold: the share of them that is ranked right."""
    positives, negatives, first = score_blocks(y, score, strata(y, fold))

    def weigh(weights: Weights) -> Floats:
        pos, neg = sums(positives, weights), sums(negatives, weights)  # (n_blocks, n_resamples)
        below = np.cumsum(neg, axis=0) - neg / 2  # of this fold and of all before it
        m, n = (np.add.reduceat(one, first, axis=0) for one in (pos, neg))  # (n_folds, n_resamples)
        before = np.cumsum(n, axis=0) - n
        right = np.einsum("rb,rb->b", pos, below) - np.einsum("kb,kb->b", m, before)
        return _ratio(right, np.einsum("kb,kb->b", m, n))

    return weigh


def average_precision(y: NDArray[np.bool_], score: Floats) -> Statistic:
    """Prepare the average precision, the sum over thresholds of precision times recall won."""
    positives, negatives = score_blocks_of_positives(y, score)

    def weigh(weights: Weights) -> Floats:
        pos = sums(positives, weights)
        found, called = np.cumsum(pos, axis=0), np.cumsum(pos + sums(negatives, weights), axis=0)
        precision = found / np.maximum(called, 1e-9)  # nothing called yet: pos is 0 there too
        return _ratio(np.einsum("rb,rb->b", pos, precision), pos.sum(axis=0))

    return weigh


def score_blocks_of_positives(
    y: NDArray[np.bool_], score: Floats
) -> tuple[sparse.csr_array, sparse.csr_array]:
    """As `score_blocks`, from the highest score down, a block for each score a positive has.

    The negatives between two such scores belong to the lower one's block; what lies below the
    last positive has no block, for no precision is read there.
    """
    values = np.unique(score[y])[::-1]  # descending
    block = np.searchsorted(-values, -score, side="left")
    keep = block < len(values)
    column = np.flatnonzero(keep)
    shape = (len(values), len(y))
    entries = np.ones(len(y), np.float32)

    def rows(member: NDArray[np.bool_]) -> sparse.csr_array:
        chosen = column[member[column]]
        return sparse.csr_array((entries[: len(chosen)], (block[chosen], chosen)), shape=shape)

    return rows(y), rows(~y)


# --------------------------------------------------------------------------- other metrics


def confusion(case: Case) -> Callable[[Weights], Table]:
    """Prepare the table of counts."""
    k, n = len(case.classes), len(case.y)
    cell = case.y * k + case.labels
    ones_ = np.ones(n, np.float32)
    rows = sparse.csr_array((ones_, (cell, np.arange(n))), shape=(k * k, n))

    def count(weights: Weights) -> Table:
        # In float64, because the correlation coefficient takes differences of large products.
        return sums(rows, weights).astype(np.float64).reshape(k, k, -1)

    return count


def _mean_loss(loss: Floats) -> Statistic:
    def weigh(weights: Weights) -> Floats:
        total: Floats = loss.astype(weights.dtype) @ weights
        return _ratio(total, weights.sum(axis=0))

    return weigh


def equal_mass_bins(p: Floats, n_bins: int = BINS) -> Ints:
    """Each image's bin (n,) by rank, `floor(n_bins * images below / n)`; ties share a bin."""
    below = np.searchsorted(np.sort(p), p)
    return (n_bins * below) // len(p)


def confidence(case: Case) -> tuple[Floats, NDArray[np.bool_]]:
    """What calibration is about: a probability, and whether what it was given for came true.

    Two classes: the positive's probability; more: that of the most probable class. Each (n,).
    """
    if case.positive is not None:
        return case.prob[:, case.positive], case.y == case.positive
    top = case.prob.argmax(axis=1)
    return case.prob.max(axis=1), top == case.y


def _calibration_error(case: Case) -> Statistic:
    p, came_true = confidence(case)
    gap = (p - came_true).astype(np.float32)
    n = len(p)
    rows = sparse.csr_array((gap, (equal_mass_bins(p), np.arange(n))), shape=(BINS, n))

    def weigh(weights: Weights) -> Floats:
        gaps = np.abs(sums(rows, weights))  # (n_bins, n_resamples)
        return _ratio(gaps.sum(axis=0), weights.sum(axis=0))

    return weigh


def losses(case: Case) -> dict[str, Floats]:
    """What each image loses (n,), for the metrics that are plain means."""
    own = case.prob[np.arange(len(case.y)), case.y].astype(np.float64)
    truth = np.eye(len(case.classes))[case.y]
    squared = ((case.prob - truth) ** 2).sum(axis=1)
    return {
        "brier": squared / 2 if case.positive is not None else squared,
        "log_loss": -np.log(np.maximum(own, CLIP)),
    }


def _ratio(top: Floats, bottom: Floats) -> Floats:
    """The quotient, nan where the denominator is 0."""
    quotient = np.full(np.shape(bottom), np.nan)
    np.divide(top, bottom, out=quotient, where=bottom > 0)
    return quotient


def _mean_defined(values: Floats) -> Floats:
    """The mean over axis 0 of what is not nan; nan where nothing is left."""
    defined = np.isfinite(values)
    return _ratio(np.where(defined, values, 0.0).sum(axis=0), defined.sum(axis=0))


def _diagonal(table: Table) -> Floats:
    hits: Floats = np.einsum("kkb->kb", table)
    return hits


def _macro_f1(table: Table, _: int) -> Floats:
    return _mean_defined(_ratio(2 * _diagonal(table), table.sum(axis=0) + table.sum(axis=1)))


def _mcc(table: Table, _: int) -> Floats:
    """R_K of Gorodkin (2004); 0 where one class alone is true or given."""
    total, hits = table.sum(axis=(0, 1)), _diagonal(table).sum(axis=0)
    true, given = table.sum(axis=1), table.sum(axis=0)
    spread = (total**2 - (true**2).sum(axis=0)) * (total**2 - (given**2).sum(axis=0))
    covariance = hits * total - (true * given).sum(axis=0)
    return np.nan_to_num(_ratio(covariance, np.sqrt(np.maximum(spread, 0))))


def _quadratic_kappa(table: Table, _: int) -> Floats:
    """1 - observed / expected disagreement; nan where truth and label are one class throughout."""
    grade = np.arange(len(table))
    cost = np.square(grade[:, None] - grade).astype(np.float64)
    total = table.sum(axis=(0, 1))
    found = np.einsum("kl,klb->b", cost, table)
    expected = np.einsum("kl,kb,lb->b", cost, table.sum(axis=1), table.sum(axis=0))
    return np.asarray(1 - _ratio(found * total, expected))


def _mean_distance(table: Table, _: int) -> Floats:
    grade = np.arange(len(table))
    distance = np.abs(grade[:, None] - grade).astype(np.float64)
    return _ratio(np.einsum("kl,klb->b", distance, table), table.sum(axis=(0, 1)))


FROM_TABLE: Mapping[str, Callable[[Table, int], Floats]] = {
    "accuracy": lambda t, _: _ratio(_diagonal(t).sum(axis=0), t.sum(axis=(0, 1))),
    "balanced_accuracy": lambda t, _: _mean_defined(_ratio(_diagonal(t), t.sum(axis=1))),
    "macro_f1": _macro_f1,
    "mcc": _mcc,
    "quadratic_kappa": _quadratic_kappa,
    "mean_absolute_error": _mean_distance,
    "sensitivity": lambda t, p: _ratio(t[p, p], t[p].sum(axis=0)),
    "specificity": lambda t, p: _ratio(t[1 - p, 1 - p], t[1 - p].sum(axis=0)),
    "ppv": lambda t, p: _ratio(t[p, p], t[:, p].sum(axis=0)),
    "npv": lambda t, p: _ratio(t[1 - p, 1 - p], t[:, 1 - p].sum(axis=0)),
}


SIGNED = ("mcc", "quadratic_kappa")  # from -1 to 1


def value_range(metric: str, case: Case) -> tuple[float, float]:
    """Between which values a metric lies."""
    if metric in SIGNED:
        return -1.0, 1.0
    if metric == "mean_absolute_error":
        return 0.0, float(len(case.classes) - 1)
    if metric == "log_loss":
        return 0.0, -float(np.log(CLIP))
    return 0.0, 2.0 if metric == "brier" and case.positive is None else 1.0


def statistics(case: Case, metrics: Sequence[str]) -> Statistic:
    """Prepare metrics: a function from weights (n, n_resamples) to (n_metrics, n_resamples).

    A value is nan where the weights leave a metric undefined, as AUROC without negatives.

    Raises
    ------
    DataError
        A metric is unknown, or wants two classes where there are more.
    """
    check_metrics(metrics, case)
    table = confusion(case) if set(metrics) & set(FROM_TABLE) else None
    prepared: dict[str, Callable[[Weights], Floats]] = {}
    for metric in metrics:
        if metric in ("brier", "log_loss"):
            prepared[metric] = _mean_loss(losses(case)[metric])
        elif metric == "ece":
            prepared[metric] = _calibration_error(case)
        elif metric == "auroc":
            tasks = [ranking(y, score, case.fold) for y, score in case.ranked]
            prepared[metric] = _macro(tasks)
        elif metric == "auprc":
            prepared[metric] = _macro([average_precision(y, score) for y, score in case.ranked])

    def weigh(weights: Weights) -> Floats:
        counts = None if table is None else table(weights)
        rows = []
        for metric in metrics:
            if counts is not None and metric in FROM_TABLE:
                rows.append(FROM_TABLE[metric](counts, case.positive or 0))
            else:
                rows.append(prepared[metric](weights))
        return np.stack(rows)

    return weigh


def _macro(tasks: Sequence[Statistic]) -> Statistic:
    return lambda weights: _mean_defined(np.stack([task(weights) for task in tasks]))


def check_metrics(metrics: Sequence[str], case: Case) -> None:
    """Refuse a metric that is unknown or wants two classes where there are more."""
    allowed = STUDIED if case.positive is None else STUDIED + BINARY
    for metric in metrics:
        if metric not in allowed:
            raise DataError(
                f"no metric {metric!r} for {len(case.classes)} classes; choose among "
                + ", ".join(allowed)
            )


def auroc(y: NDArray[np.bool_], score: Floats, fold: Ints | None = None) -> float:
    """The probability that a positive scores higher than a negative, ties counting half.

    Parameters
    ----------
    y, score : (n,). fold : (n,) which model gave the score; only pairs of one model are counted.

    Examples
    --------
    >>> auroc(np.array([False, True, False, True]), np.array([0.1, 0.3, 0.3, 0.8]))
    0.875
    """
    judged_by = np.zeros(len(y), np.int64) if fold is None else fold
    return float(ranking(y, score, judged_by)(ones(len(y)))[0])
