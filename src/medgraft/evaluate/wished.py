"""The threshold of two classes for a sensitivity or a specificity that is asked for.

It is the threshold of a prediction set (`conformal.py`): of a further patient's images of the class
at least the share that is wanted lies on its right side, on average over the images learned from.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from medgraft.errors import DataError
from medgraft.evaluate.calibration import distinct_folds
from medgraft.evaluate.conformal import OwnProbability, patients_needed
from medgraft.evaluate.estimates import estimate
from medgraft.evaluate.metrics import judge
from medgraft.results.figures import Wish
from medgraft.types import Floats, Operating, Predictions

Of = Literal["sensitivity", "specificity"]
WANTED = (0.9, 0.95, 0.99)
ROUNDING = 1e-12  # between the probability of one class and 1 less that of the other


def check_wish(of: Of, wanted: float) -> float:
    """A share that is asked for, refused where it is none."""
    if not 0 < wanted < 1:
        raise DataError(
            f"--{of} {wanted:g} is no share that a threshold can promise; give one between 0 and "
            "1, such as 0.95"
        )
    return wanted


def wished_threshold(own: OwnProbability, positive: int, of: Of, wanted: float) -> float | None:
    """From which probability of the positive class on an image is called positive.

    None where the class has too few patients for any threshold to promise that much.

    Parameters
    ----------
    positive : the column of the positive class of two.
    """
    check_wish(of, wanted)
    column = positive if of == "sensitivity" else 1 - positive
    if column in own.too_few(1 - wanted):
        return None
    reached = float(own.thresholds(1 - wanted)[column])
    return reached if of == "sensitivity" else 1 - reached + ROUNDING


def operating_at(own: OwnProbability, positive: int, of: Of, wanted: float) -> Operating:
    """The operating point that promises as much.

    Raises
    ------
    DataError
        No threshold does: too few patients of the class were learned from.
    """
    threshold = wished_threshold(own, positive, of, wanted)
    if threshold is None:
        patients = own.patients[positive if of == "sensitivity" else 1 - positive]
        raise DataError(
            f"no threshold promises a {of} of {wanted:g}: that takes "
            f"{patients_needed(1 - wanted)} patients of the class to learn from, and there are "
            f"{patients}; ask for --{of} {_most(patients):g} at most, or learn from more"
        )
    return Operating(threshold, f"a {of} of {wanted:g}")


def _most(patients: int) -> float:
    """The largest share that so many patients can promise, rounded down.

    >>> _most(40)
    0.975
    """
    return float(np.floor(1000 * patients / (patients + 1)) / 1000)


def describe_wishes(
    own: OwnProbability, out_of_fold: Predictions, test: Predictions | None
) -> tuple[Wish, ...]:
    """Thresholds for each of `WANTED`, and what they hold: on the test, or else out of fold.

    Out of fold a fold is labelled at the threshold of the others; where these have none, nothing is
    said of what it holds. None for more than two classes.
    """
    p = out_of_fold
    if p.positive is None:
        return ()
    positive = p.classes.index(p.positive)
    wishes: list[Wish] = []
    ways: tuple[Of, ...] = ("sensitivity", "specificity")
    for of in ways:
        for wanted in WANTED:
            threshold = wished_threshold(own, positive, of, wanted)
            judged, points = test, np.array([])
            if test is not None and threshold is not None:
                points = np.full(len(test), threshold)
            elif test is None:
                judged, points = p, _cross_fitted(p, positive, of, wanted)
            known = threshold is not None and np.isfinite(points).all()
            found = {}
            if known and judged is not None:
                found = estimate(judge(judged, points), ["sensitivity", "specificity"])
            wishes.append(Wish(of, wanted, threshold, patients_needed(1 - wanted), found))
    return tuple(wishes)


def _cross_fitted(p: Predictions, positive: int, of: Of, wanted: float) -> Floats:
    """For each image (n,) the threshold by the other folds' images, nan where they have none."""
    points = np.full(len(p), np.nan)
    for k in distinct_folds(p.fold):
        others = p.fold != k
        known = OwnProbability.of(p.y_prob[others], p.y_true[others], p.groups[others])
        threshold = wished_threshold(known, positive, of, wanted)
        points[~others] = np.nan if threshold is None else threshold
    return points
