"""The operating threshold of two classes, chosen from out-of-fold predictions alone.

It is chosen on all development images for the model that is deployed, and cross-fitted for judging:
the images of a fold are labelled at the threshold of the other folds, whose probabilities come from
models that learned from the judged fold too, an influence of second order.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import special

from medgraft.errors import DataError, FitError
from medgraft.evaluate.calibration import distinct_folds, fit_calibrator, require_development
from medgraft.evaluate.groups import by_group
from medgraft.types import Floats, Operating, Predictions, Strings

RULE = "highest balanced accuracy"


def best_threshold(y: NDArray[np.bool_], p: Floats) -> float:
    """The threshold with the highest balanced accuracy; p >= threshold is labelled positive.

    It lies in the middle between two observed probabilities (0 and 1 bound the outermost). Where
    several such gaps are equally good, the widest is taken, then the lowest.

    Parameters
    ----------
    y : (n,) bool. p : (n,) probability of the positive class.

    Raises
    ------
    FitError
        One of the two classes is absent.

    Examples
    --------
    >>> best_threshold(np.array([False, False, True, True]), np.array([0.1, 0.2, 0.6, 0.9]))
    0.4
    """
    positives, negatives = int(y.sum()), int((~y).sum())
    if not positives or not negatives:
        raise FitError(
            f"a threshold needs images of both classes, and there are {positives} positive and "
            f"{negatives} negative; use fewer folds or more groups"
        )
    values = np.unique(p)
    # Cut c labels positive what is at or above values[c]; the last cut labels nothing positive.
    missed = np.append(np.searchsorted(np.sort(p[y]), values), positives)
    rejected = np.append(np.searchsorted(np.sort(p[~y]), values), negatives)
    # Sensitivity + specificity times both counts: whole numbers, so that ties are exact.
    merit = (positives - missed) * negatives + rejected * positives
    edges = np.concatenate([[min(0.0, values[0])], values, [max(1.0, values[-1])]])
    gaps = np.where(merit == merit.max(), np.diff(edges), -1.0)
    cut = int(np.argmax(gaps))
    below, above = float(edges[cut]), float(edges[cut + 1])
    middle = (below + above) / 2
    return middle if middle > below else above


def operating_threshold(
    y: NDArray[np.bool_], p: Floats, groups: Strings | None = None, level: float = 0.05
) -> float:
    """The threshold at the share of positives, unless `best_threshold` is significantly better.

    For calibrated probabilities balanced accuracy is highest at p = share of positives, where an
    image is as likely among the positives as among the negatives (Menon et al., ICML 2013). It
    rests on all images, where the empirically best one rests on the few that lie near it and
    converges with the cube root of their number only (Kim and Pollard 1990; for Youden's cut-off
    Fluss, Faraggi and Reiser 2005). Where classes are all but separated these few are outliers:
    a wide range of thresholds is about as good here, and not elsewhere.

    Significantly: its gain in balanced accuracy on these images is more than its standard error
    times the normal quantile of `level`, one-sided. The error is that of sums over groups of the
    images that the two label differently. So probabilities that are badly calibrated are met too.

    Parameters
    ----------
    y : (n,) bool. p : (n,) calibrated probability of the positive class, as common in y as p says.
    groups : (n,) what belongs together; every image for itself by default.

    Raises
    ------
    FitError
        One of the two classes is absent.

    Examples
    --------
    One outlier draws the best threshold to .005; no difference can be seen at the share, .5.

    >>> y = np.repeat([False, True], 10)
    >>> p = np.array([0.002] * 10 + [0.008] + [0.99] * 9)
    >>> best_threshold(y, p), operating_threshold(y, p)
    (0.005, 0.5)
    """
    best, share = best_threshold(y, p), float(y.mean())
    moved = (p >= share).astype(int) - (p >= best)  # 1 where only the share's threshold says yes
    # An image's part in twice the balanced accuracy that `best` gains.
    gain = moved * np.where(y, -1 / y.sum(), 1 / (~y).sum())
    if groups is not None:
        gain = np.bincount(np.unique(groups, return_inverse=True)[1].ravel(), gain)
    error = float(np.sqrt((gain**2).sum()))
    significant = float(gain.sum()) > -float(special.ndtri(level)) * error
    return best if significant and error else share


def group_threshold(y: NDArray[np.bool_], p: Floats) -> float:
    """The threshold for the mean probability of a group's images.

    It is not the images': a mean of many is drawn to the middle, or few ill images are lost in it.
    Means are no probabilities of the group either, so they are calibrated first (Platt's sigmoid on
    their log odds); the threshold is the mean at which the calibrated probability is the share of
    positive groups, where balanced accuracy is highest (as in `operating_threshold`). Groups are
    few: the empirically best threshold did worse in all simulations but the largest.

    Parameters
    ----------
    y : (n_groups,) bool. p : (n_groups,) mean probability of the positive class.

    Raises
    ------
    FitError
        One of the two classes is absent.

    Examples
    --------
    >>> y = np.repeat([False, True], 10)
    >>> round(group_threshold(y, np.where(y, 0.4, 0.1)), 3)
    0.214
    """
    odds = special.logit(np.clip(p, 1e-9, 1 - 1e-9))
    fitted = fit_calibrator(np.stack([-odds / 2, odds / 2], axis=1), y.astype(np.int64))
    offset = fitted.biases[1] - fitted.biases[0]
    return float(special.expit((special.logit(y.mean()) - offset) / fitted.slope))


def choose_threshold(predictions: Predictions) -> Operating:
    """The operating thresholds of the deployed model, from all development images.

    `operating_threshold` for images and, where groups repeat, `group_threshold` for groups.

    Raises
    ------
    LeakError
        Images of the test split are among them.
    DataError
        There are not two classes.
    FitError
        One of the classes is absent.
    """
    require_development(predictions, "the choice of a threshold")
    y, p = _binary(predictions)
    repeated = len(np.unique(predictions.groups)) < len(predictions)
    grouped = group_threshold(*_binary(by_group(predictions))) if repeated else None
    return Operating(operating_threshold(y, p, predictions.groups), RULE, grouped)


def cross_fit_thresholds(predictions: Predictions) -> NDArray[np.float64]:
    """For each image (n,) the threshold that the other folds' images choose; raises as above."""

    def choose(rows: Predictions) -> float:
        return operating_threshold(*_binary(rows), rows.groups)

    return _cross_fitted(predictions, choose)


def cross_fit_group_thresholds(rows: Predictions) -> NDArray[np.float64]:
    """For each row of `by_group` (n,) the threshold that the other folds' rows choose."""
    return _cross_fitted(rows, lambda others: group_threshold(*_binary(others)))


def _cross_fitted(
    predictions: Predictions, choose: Callable[[Predictions], float]
) -> NDArray[np.float64]:
    require_development(predictions, "the choice of thresholds")
    thresholds = np.empty(len(predictions))
    for k in distinct_folds(predictions.fold):
        here = predictions.fold == k
        thresholds[here] = choose(predictions.select(~here))
    return thresholds


def _binary(predictions: Predictions) -> tuple[NDArray[np.bool_], Floats]:
    """Whether each image is positive, and the probability that it is; each (n,)."""
    column = positive_column(predictions)
    if column is None:
        raise DataError(
            f"{len(predictions.classes)} classes have no threshold; the most probable class is "
            "the label"
        )
    return predictions.y_true == column, predictions.y_prob[:, column]


def positive_column(predictions: Predictions) -> int | None:
    """The column of the positive class; None where there are more than two classes.

    Raises
    ------
    DataError
        Two classes, none of them named positive.
    """
    if len(predictions.classes) > 2:
        return None
    if predictions.positive not in predictions.classes:
        raise DataError(
            f"positive class {predictions.positive!r} is not one of "
            f"{', '.join(predictions.classes)}; pass --positive CLASS"
        )
    return predictions.classes.index(predictions.positive)
