"""How far from the truth grades are given, and each threshold between two of them.

A distance is counted in places. "Grade k or higher" is a question of two classes whose probability
is the sum of those of the grades from k on, so that all that is known of two classes serves it: the
AUROC within folds, a threshold that is chosen out of fold, thresholds for a wanted sensitivity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from medgraft.data.grades import grade_values
from medgraft.evaluate.conformal import OwnProbability
from medgraft.evaluate.estimates import estimate
from medgraft.evaluate.influence import bounds, spread
from medgraft.evaluate.intervals import DEFAULT, Sampling, describe_groups, proportion, wilson
from medgraft.evaluate.metrics import Case, judge
from medgraft.evaluate.threshold import choose_threshold
from medgraft.evaluate.wished import describe_wishes
from medgraft.results.figures import GradeCut, GradeFigures, Wish
from medgraft.types import Estimate, Floats, Grading, Predictions

CUT_METRICS = ("auroc", "sensitivity", "specificity")


def grade_figures(
    predictions: Predictions,
    grading: Grading,
    out_of_fold: Predictions | None = None,
    sampling: Sampling = DEFAULT,
) -> GradeFigures:
    """How far mistakes go in predictions of classes that are grades, the lowest first.

    Parameters
    ----------
    grading : of the deployed model. At its thresholds other images are judged; out of fold each
        fold is at those of the others. out_of_fold : of the development images
        where `predictions` are of others; from these come the thresholds for a wanted sensitivity.
        None where they are not known, or `predictions` themselves.

    Raises
    ------
    DataError
        The predictions cannot be judged.
    """
    case = judge(predictions)
    distance = np.abs(case.labels - case.y)
    named = estimate(case, ["quadratic_kappa", "mean_absolute_error"], sampling)
    own = (predictions.fold >= 0).all()
    cuts = []
    for k, grade in enumerate(predictions.classes[1:], start=1):
        if grade not in grading.cuts:
            continue
        binary = at_least(predictions, k)
        learned = binary if own else None if out_of_fold is None else at_least(out_of_fold, k)
        cut = judge(binary, None if own else grading.cuts[grade])
        cuts.append(
            GradeCut(
                grade,
                int(binary.y_true.sum()),
                estimate(cut, CUT_METRICS, sampling),
                grading.cuts[grade],
                () if learned is None else _wishes(learned, None if own else binary),
            )
        )
    return GradeFigures(
        values=grading.values,
        kappa=named["quadratic_kappa"],
        exact=proportion(distance == 0, case.groups, sampling),
        off_by_one=proportion(distance == 1, case.groups, sampling),
        off_by_more=proportion(distance > 1, case.groups, sampling),
        mean_error=named["mean_absolute_error"],
        mean_grade_error=_mean(
            np.abs(case.prob @ np.arange(len(case.classes)) - case.y), case, sampling
        ),
        cuts=tuple(cuts),
    )


def mean_grade(prob: Floats, values: Sequence[int]) -> tuple[Floats, Floats]:
    """The mean grade (n,) by probabilities (n, n_classes), and its standard deviation (n,).

    >>> mean_grade(np.array([[0.5, 0.5, 0.0]]), (0, 1, 2))
    (array([0.5]), array([0.5]))
    """
    numbers = np.asarray(values, np.float64)
    mean = prob @ numbers
    variance = prob @ numbers**2 - mean**2
    return mean, np.sqrt(np.maximum(variance, 0.0))


def grading_of(out_of_fold: Predictions) -> Grading:
    """The numbers of the grades, and the deployed model's thresholds between them.

    Raises
    ------
    LeakError
        Images of the test split are among them.
    """
    cuts = {
        grade: choose_threshold(at_least(out_of_fold, k))
        for k, grade in enumerate(out_of_fold.classes[1:], start=1)
        if 0 < int((out_of_fold.y_true >= k).sum()) < len(out_of_fold)
    }
    return Grading(grade_values(out_of_fold.classes), cuts)


def at_least(predictions: Predictions, k: int) -> Predictions:
    """The same images asked whether they are of class k or a higher one."""
    above = np.clip(predictions.y_prob[:, k:].sum(axis=1), 0.0, 1.0)
    prob = np.stack([1 - above, above], axis=1)
    classes = (f"below {predictions.classes[k]}", f"{predictions.classes[k]} or higher")
    return replace(
        predictions,
        classes=classes,
        positive=classes[1],
        y_true=(predictions.y_true >= k).astype(np.int64),
        scores=prob,
        y_prob=prob,
    )


def _wishes(learned: Predictions, test: Predictions | None) -> tuple[Wish, ...]:
    """Thresholds for a wanted sensitivity alone."""
    own = OwnProbability.of(learned.y_prob, learned.y_true, learned.groups)
    return tuple(one for one in describe_wishes(own, learned, test) if one.of == "sensitivity")


def _mean(loss: Floats, case: Case, sampling: Sampling) -> Estimate:
    """A mean distance with its t interval on the logarithmic scale, as `estimates` gives losses."""
    value, n, largest = float(loss.mean()), len(loss), len(case.classes) - 1
    variance, freedom = spread((loss - value) / n, case, "mean_absolute_error")
    if not variance > 1e-15:
        units = len(np.unique(case.groups))
        share = wilson(value / largest * units, units, sampling.level)
        method = f"Wilson on the share of the largest distance, {largest} (no spread)"
        return Estimate(value, share.low * largest, share.high * largest, n, method)
    error = float(np.sqrt(variance))
    low, high = bounds("mean_absolute_error", value, error, freedom, sampling.level)
    method = f"influence values {describe_groups(case.groups)}, log scale"
    return Estimate(value, min(low, value), min(max(high, value), largest), n, method)
