"""How much each image moves a figure, and from that its error, whether images repeat or not.

The influence of an image is the derivative of the figure by the image's weight (Hampel 1974). The
figure less its true value is about the sum of them, so that its variance is that of sums over
independent units: images, or groups where they repeat. For an AUROC this is DeLong's form (1988),
with groups Obuchowski's (1997), within folds that of LeDell, Petersen and van der Laan (2015); for
a mean it is the error of a mean. A difference of two figures has the difference of influences.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from medgraft.evaluate.intervals import blended, freedom_of, number_groups, ones, placements
from medgraft.evaluate.metrics import (
    FROM_TABLE,
    METRICS,
    SIGNED,
    Case,
    compared,
    confusion,
    losses,
    strata,
)
from medgraft.types import Floats, Ints

STEP = 1e-3  # images, in the derivative of what comes from the confusion table
# over all images; others class by class
PLAIN_MEANS = {"accuracy", "brier", "log_loss", "ece", "mean_absolute_error"}


def influence(case: Case, metric: str) -> Floats:
    """The influence (n,) of each image on any metric but the expected calibration error."""
    if metric == "auroc":
        tasks = [ranking_influence(y, score, case.fold) for y, score in case.ranked]
        return np.asarray(np.mean(tasks, axis=0))
    if metric == "auprc":
        tasks = [_precision_influence(y, score) for y, score in case.ranked]
        return np.asarray(np.mean(tasks, axis=0))
    if metric in FROM_TABLE:
        return _table_influence(case, metric)
    loss = losses(case)[metric]
    return np.asarray((loss - loss.mean()) / len(loss))


def ranking_influence(y: NDArray[np.bool_], score: Floats, fold: Ints) -> Floats:
    """Influence (n,) on the AUROC of pairs within folds.

    An image wins against some of its fold's images of the other class, ties half, and was
    expected to win against AUROC times their number: (wins - AUROC times their number) / pairs.
    """
    by = strata(y, fold)
    wins, rivals = np.zeros(len(y)), np.zeros(len(y))
    for k in np.unique(by):
        rows = np.flatnonzero(by == k)
        yes, no = rows[y[rows]], rows[~y[rows]]
        if len(yes) and len(no):
            above, below = placements(y[rows], score[rows])
            wins[yes], rivals[yes] = len(no) * above, len(no)
            wins[no], rivals[no] = len(yes) * below, len(yes)
    pairs = rivals[y].sum()
    if not pairs:
        return wins
    moved: Floats = (wins - wins[y].sum() / pairs * rivals) / pairs
    return moved


def _precision_influence(y: NDArray[np.bool_], score: Floats) -> Floats:
    """Influence (n,) on the average precision: the mean of P over positives, P = TP / called.

    TP and called count images at or above a positive's score. A positive adds its own P, and
    raises P of each positive at or below it by FP / called²; a negative lowers it by TP / called².
    """
    order = np.argsort(-score, kind="stable")
    truth, falling = y[order], -score[order]
    m = max(int(truth.sum()), 1)
    last = np.searchsorted(falling, falling, side="right") - 1  # of those tied with each
    first = np.searchsorted(falling, falling, side="left")
    found, called = np.cumsum(truth)[last], last + 1.0
    precision = found / called

    def at_or_below(values: Floats) -> Floats:
        total: Floats = np.cumsum(np.where(truth, values, 0.0)[::-1])[::-1][first]
        return total

    mean = precision[truth].sum() / m
    raised = precision - mean + at_or_below((called - found) / called**2)
    moved = np.empty(len(y))
    moved[order] = np.where(truth, raised, -at_or_below(found / called**2)) / m
    return moved


def _table_influence(case: Case, metric: str) -> Floats:
    """Influence (n,) on a function of the confusion table: its derivative by the image's cell."""
    table, k = confusion(case)(ones(len(case.y))), len(case.classes)
    step = STEP * np.eye(k * k).reshape(k, k, k * k)
    of, positive = FROM_TABLE[metric], case.positive or 0
    slope = (of(table + step, positive) - of(table - step, positive)) / (2 * STEP)
    moved: Floats = slope[case.y * k + case.labels]
    return moved


def spread(moved: Floats, case: Case, metric: str, *, paired: bool = False) -> tuple[float, float]:
    """The variance of a figure from influences (n,), and its degrees of freedom.

    With a_cg the sum over the images of class c in group g, I_c groups of class c and I in all:

        S_c = I_c / f_c sum_g a_cg²,  f_c = I_c - K for K folds, but at least (I_c - 1) / 2
        variance = sum_c S_c + I / (I - 1) sum_g sum_{c != d} a_cg a_dg
        freedom = (sum_c S_c)² / sum_c (S_c² / f_c)

    which is Obuchowski's variance with Satterthwaite's (1946) degrees of freedom, and DeLong's
    where every image is its own group and K = 1. A fold costs one, for its model errs on all its
    images alike. A plain mean over all images knows no classes. A few groups may hold most of the
    influence, so that S_c is less certain than f_c says: it is lowered by `freedom_of`, of an
    AUROC as far as images repeat (`blended`), for alone they need it not. In a `paired` difference
    both cancel: K = 1, and f_c stays.

    nan where a class has one group only.
    """
    index, n_groups = number_groups(case.groups)
    kind = np.zeros(len(moved), np.int64) if metric in PLAIN_MEANS else case.y
    here, lost = np.ones(len(moved), bool), 0
    if metric == "auroc":
        here = np.any([compared(y, strata(y, case.fold)) for y, _ in case.ranked], axis=0)
        lost = 0 if paired or case.one_stratum else len(np.unique(case.fold[here])) - 1
    total, own, certain = np.zeros(n_groups), [], []
    squares = 0.0
    for c in np.unique(kind[here]):
        rows = here & (kind == c)
        sums = np.bincount(index[rows], moved[rows], n_groups).astype(np.float64)  # a_cg
        sizes = np.bincount(index[rows], minlength=n_groups)
        sums_in, sizes = sums[sizes > 0], sizes[sizes > 0]
        if len(sums_in) < 2:
            return np.nan, 1.0
        groups, square = len(sums_in), float((sums_in**2).sum())
        freedom = max(groups - 1.0 - lost, (groups - 1) / 2)
        own.append(groups / freedom * square)
        if not paired:
            by_groups = freedom * freedom_of(sums_in) / (groups - 1)
            freedom = blended(by_groups, freedom, sizes) if metric == "auroc" else by_groups
        certain.append(freedom)
        total, squares = total + sums, squares + square
    across = n_groups / (n_groups - 1) * (float((total**2).sum()) - squares)
    variances = np.array(own)
    if not variances.sum() > 0:
        return 0.0, 1.0
    freedom = float(variances.sum() ** 2 / (variances**2 / np.array(certain)).sum())
    return float(variances.sum()) + across, max(1.0, freedom)


def bounds(
    metric: str, value: float, error: float, freedom: float, level: float
) -> tuple[float, float]:
    """A t interval on the scale on which the metric is about normal, and turned back.

    Losses: the logarithm; what lies from -1 to 1: Fisher's z; the others, from 0 to 1: the logit.
    """
    t = float(stats.t.isf((1 - level) / 2, freedom))
    sides = np.array([-t, t]) * error
    if METRICS[metric].lower_is_better:
        ends = value * np.exp(np.clip(sides / value, -50, 50))
    elif metric in SIGNED:
        ends = np.tanh(np.arctanh(value) + sides / (1 - value**2))
    else:
        ends = special.expit(special.logit(value) + sides / (value * (1 - value)))
    return float(ends[0]), float(ends[1])
