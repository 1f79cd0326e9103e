"""Sets of classes that hold the true one as often as is asked for, whichever class that is.

Class-conditional ("Mondrian") conformal prediction: a class is in an image's set unless its
probability is lower than all but a share `alpha` of the images of that class had, which were not
learned from (Vovk, Gammerman and Shafer 2005; Sadinle, Lei and Wasserman 2019). So of each class,
however rare, at least 1 - alpha are covered, where the usual sets, one threshold for all, make up
for a class that is hard by one that is easy. Patients are the units: images of one patient are
alike, so that of each class every patient weighs the same and one unknown patient is added (Lee,
Barber and Willett 2023, "Distribution-free inference with hierarchical data"). What is promised is
about a further patient of the same places; it holds on average over the images learned from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medgraft.errors import DataError
from medgraft.evaluate.calibration import distinct_folds, require_development
from medgraft.evaluate.intervals import number_groups, repeats, wilson
from medgraft.evaluate.metrics import judge
from medgraft.results.figures import SetFigures
from medgraft.types import Estimate, Floats, Ints, Predictions, Strings

ALPHA = 0.1  # of a class's patients whose own class may be missing from their sets
SLACK = 1e-9  # by which a sum of weights may fall short of a share, for rounding

Sets = NDArray[np.bool_]
"""(n_images, n_classes), whether a class is in an image's set."""


def check_alpha(alpha: float) -> float:
    """The share of a class that its sets may miss, refused where it is none."""
    if not 0 < alpha < 1:
        raise DataError(
            f"--alpha {alpha:g} is no share that sets may miss; give one between 0 and 1, such as "
            f"{ALPHA:g}: of each class at least {1 - ALPHA:.0%} are then in their own sets"
        )
    return alpha


def patients_needed(alpha: float) -> int:
    """How many patients a class must have for a finite threshold: K / (K + 1) >= 1 - alpha.

    >>> patients_needed(0.1), patients_needed(0.05)
    (9, 19)
    """
    return math.ceil(1 / alpha - 1 - 1e-9)


@dataclass(frozen=True, eq=False)
class OwnProbability:
    """The probability that a classifier gave to the true class of n images not learned from.

    own : (n,) 0..1, by what is deployed or what stands in for it. truth : (n,) index of the true
    class. groups : (n,). n_classes : of the classifier, images of them or not.
    """

    own: Floats
    truth: Ints
    groups: Strings
    n_classes: int

    @classmethod
    def of(cls, prob: Floats, truth: Ints, groups: Strings) -> OwnProbability:
        """From probabilities (n, n_classes) of labelled images."""
        own = np.take_along_axis(prob, truth[:, None], axis=1)[:, 0]
        return cls(np.asarray(own, np.float64), truth, groups, prob.shape[1])

    @property
    def patients(self) -> tuple[int, ...]:
        """How many groups have an image of each class, (n_classes,)."""
        return tuple(len(np.unique(self.groups[self.truth == k])) for k in range(self.n_classes))

    def too_few(self, alpha: float) -> tuple[int, ...]:
        """The classes with fewer patients than a finite threshold needs."""
        needed = patients_needed(check_alpha(alpha))
        return tuple(k for k, n in enumerate(self.patients) if n < needed)

    def thresholds(self, alpha: float) -> NDArray[np.float64]:
        """From which probability on each class is in a set, (n_classes,).

        0, which all probabilities reach, where a class has fewer than `patients_needed`.

        Raises
        ------
        DataError
            `alpha` does not lie between 0 and 1.
        """
        check_alpha(alpha)
        found = [self._threshold(self.truth == k, alpha) for k in range(self.n_classes)]
        return np.array(found)

    def _threshold(self, mine: NDArray[np.bool_], alpha: float) -> float:
        """The largest t with so many of a class's images at or above it, patients counting alike.

        Each of K patients has the weight 1 / (K + 1), shared by its images; the rest is that of
        the patient to come, who may lie anywhere.
        """
        if not mine.any():
            return 0.0
        index, n_groups = number_groups(self.groups[mine])
        weight = 1 / (np.bincount(index, minlength=n_groups)[index] * (n_groups + 1))
        order = np.argsort(-self.own[mine], kind="stable")
        reached = np.cumsum(weight[order]) >= 1 - alpha - SLACK
        return float(self.own[mine][order][np.argmax(reached)]) if reached.any() else 0.0


def sets_at(prob: Floats, labels: Ints, thresholds: Floats) -> Sets:
    """The set of each image (n, n_classes): its label, and every class that cannot be left out.

    Without the label a set may be empty, where no class is likely enough, or contradict it; with
    it no class is covered less.

    Parameters
    ----------
    prob : (n, n_classes). labels : (n,). thresholds : (n_classes,), or (n, n_classes).
    """
    found: Sets = prob >= thresholds
    found[np.arange(len(prob)), labels] = True
    return found


def cross_fit_sets(predictions: Predictions, alpha: float) -> Sets:
    """The set of each image by the thresholds of the other folds.

    Raises
    ------
    LeakError
        Images of the test split are among them.
    DataError
        They are not out of fold, or `alpha` does not lie between 0 and 1.
    """
    require_development(predictions, "the choice of prediction sets")
    p, case = predictions, judge(predictions)
    thresholds = np.empty(p.y_prob.shape)
    for k in distinct_folds(p.fold):
        others = p.fold != k
        known = OwnProbability.of(p.y_prob[others], p.y_true[others], p.groups[others])
        thresholds[~others] = known.thresholds(alpha)
    return sets_at(p.y_prob, case.labels, thresholds)


def describe_sets(
    sets: Sets, predictions: Predictions, alpha: float, always: tuple[str, ...] = ()
) -> SetFigures:
    """How often sets hold the true class, by class and in all, and how large they are.

    Every patient weighs the same, as in what is promised. Shares of a patient's images vary less
    than single images would, so that Wilson's intervals on the number of patients are wide enough;
    that of the size is on the share of the other classes that sets hold.

    Parameters
    ----------
    sets : (n, n_classes) of the images of `predictions`. always : the classes that are in every
    set, for want of patients.
    """
    truth, groups = predictions.y_true, predictions.groups
    held, size = sets[np.arange(len(truth)), truth], sets.sum(axis=1)
    of = [truth == k for k in range(sets.shape[1])]
    others = sets.shape[1] - 1
    share = _mean_of_patients((size - 1) / others, groups)
    low, value, high = (1 + others * end for end in (share.low, share.value, share.high))
    return SetFigures(
        alpha=alpha,
        by_class={
            name: _mean_of_patients(held[mine], groups[mine]) if mine.any() else None
            for name, mine in zip(predictions.classes, of, strict=True)
        },
        coverage=_mean_of_patients(held, groups),
        size=Estimate(value, low, high, share.n, share.method),
        single=_mean_of_patients(size == 1, groups),
        always=always,
    )


def _mean_of_patients(value: Floats | NDArray[np.bool_], groups: Strings) -> Estimate:
    """The mean over patients of the mean of each one's images (n,), 0..1, n the images."""
    if not repeats(groups):
        return wilson(float(value.sum()), len(value))
    index, n = number_groups(groups)
    total = float((np.bincount(index, value) / np.bincount(index)).sum())
    found = wilson(total, n)
    method = f"Wilson on {n} patients or groups, counted alike"
    return Estimate(found.value, found.low, found.high, len(value), method)
