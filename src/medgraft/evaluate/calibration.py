"""What is chosen from out-of-fold predictions alone: probabilities and the operating threshold.

Each choice exists twice: made once on all development images, for the model that is deployed, and
cross-fitted, where the images of a fold are given what was chosen without them, so that the same
images never choose and judge. Probabilities are nested where inner scores are there; thresholds
are the other folds', whose probabilities come from models that learned from the judged fold too, an
influence of second order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from medgraft.errors import DataError, FitError, LeakError
from medgraft.evaluate.groups import by_group
from medgraft.types import Floats, Ints, Operating, Predictions, Strings

RULE = "highest balanced accuracy"
PSEUDO = 0.25  # images of its class, and of others, that are added to those there


def require_development(predictions: Predictions | Iterable[Predictions], purpose: str) -> None:
    """Refuse predictions of the test split where something is chosen (the first law).

    Raises
    ------
    LeakError
        An image of the test split is among them; `purpose` says in the text what was tried.
    """
    several = [predictions] if isinstance(predictions, Predictions) else predictions
    for one in several:
        n = int((one.splits == "test").sum())
        if n:
            raise LeakError(
                f"{n} images of the test split were given to {purpose} ({one.scenario}); only "
                "development images may choose: pass out-of-fold predictions, without the test"
            )


# --------------------------------------------------------------------------- probabilities


@dataclass(frozen=True, slots=True)
class Calibrator:
    """Scores to probabilities: `p = softmax(slope * scores + biases)`.

    One positive slope for all classes and one bias each (they sum to 0): temperature scaling with
    biases (Guo et al. 2017), and for two classes with scores (-f/2, f/2) exactly Platt's sigmoid
    (Platt 1999). It never changes a ranking of two classes, up to logits of 36, where float64
    ends; keep the probabilities in float64.
    """

    slope: float
    biases: tuple[float, ...]

    def __call__(self, scores: Floats) -> NDArray[np.float64]:
        """Probabilities (n, n_classes) of scores (n, n_classes)."""
        probabilities: NDArray[np.float64] = special.softmax(self.logits(scores), axis=1)
        return probabilities

    def logits(self, scores: Floats) -> NDArray[np.float64]:
        """What the probabilities are the softmax of, (n, n_classes)."""
        logits: NDArray[np.float64] = self.slope * np.asarray(scores, np.float64) + self.biases
        return logits


def fit_calibrator(scores: Floats, y: Ints) -> Calibrator:
    """Fit slope and biases by log loss against smoothed targets (`smoothed_targets`).

    Nothing is penalised, yet all stays finite where the classes are perfectly separated.

    Parameters
    ----------
    scores : (n, n_classes), not of images the scorer was trained on.
    y : (n,) index of the true class.

    Raises
    ------
    FitError
        Fewer than two classes among the images.
    """
    n, n_classes = scores.shape
    counts = np.bincount(y, minlength=n_classes)
    if (counts > 0).sum() < 2:
        raise FitError(
            f"{n} images of one class cannot calibrate probabilities; at least one image of a "
            "second class must be scored out of fold: use fewer folds or more groups"
        )
    scale = float(np.std(scores - scores.mean(axis=1, keepdims=True))) or 1.0
    unit = np.asarray(scores, np.float64) / scale
    targets = smoothed_targets(y, counts)

    def loss(theta: Floats) -> tuple[float, Floats]:
        log_p = special.log_softmax(theta[0] * unit + theta[1:], axis=1)
        error = np.exp(log_p) - targets  # (n, n_classes)
        gradient = np.concatenate([[(error * unit).sum()], error.sum(axis=0)])
        return -float((targets * log_p).sum()) / n, gradient / n

    # The slope stays positive even where the scores mislead: calibration may flatten, never turn.
    bounds = [(1e-6, None)] + [(None, None)] * n_classes
    start = np.concatenate([[1.0], np.zeros(n_classes)])
    found = optimize.minimize(
        loss,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": 1000, "ftol": 1e-14, "gtol": 1e-9},
    )
    slope, biases = float(found.x[0]) / scale, found.x[1:] - found.x[1:].mean()
    if not (np.isfinite(slope) and np.isfinite(biases).all()):
        raise FitError("calibration did not converge: the scores hold nan or infinite values")
    return Calibrator(slope, tuple(float(b) for b in biases))


def smoothed_targets(y: Ints, counts: Ints) -> NDArray[np.float64]:
    """Targets (n, K) of a log loss: `(n_k + a) / (n_k + 2 a)` for an image's class k.

    The other classes share the rest; `counts` are the n_k. Platt (1999) smooths two classes so
    with a = 1, a uniform prior, which makes probabilities of classes that are all but separated too
    modest: even with a = 1/2 the slope in use was 1.28 where 1 is right (AUROC .99, 150 images),
    with 1/4 1.15, and with less the log loss of few images rises (decision 0017).
    """
    own = np.eye(len(counts))[y]
    others = PSEUDO / (len(counts) - 1) * (1 - own)
    return np.asarray(((counts[y, None] + PSEUDO) * own + others) / (counts[y, None] + 2 * PSEUDO))


def fold_calibrators(
    scores: Floats, y: Ints, fold: Ints, inner: Floats | None = None
) -> dict[int, Calibrator]:
    """For each fold a calibrator that was fitted without it.

    Scores of two folds have no common unit where a strength was chosen in each: those of logistic
    regression grow with it. So fold k's calibrator is fitted on `inner[k]`, what models of fold k's
    strength gave the other images without having seen them. Without `inner` it is fitted on the
    other folds' scores, whose models learned from fold k: an influence of second order.

    Parameters
    ----------
    scores : (n, n_classes) out of fold. y : (n,). fold : (n,) the fold that judged each image.
    inner : (n_folds, n, n_classes), see `learn.heads.NestedScores`; looked at outside fold k only.
    """
    found = {}
    for k in _folds(fold).tolist():
        others = fold != k
        from_others = scores if inner is None else inner[k]
        found[k] = fit_calibrator(from_others[others], y[others])
    return found


def calibrate_folds(
    calibrators: Mapping[int, Calibrator], scores: Floats, fold: Ints
) -> NDArray[np.float64]:
    """Probabilities (n, n_classes) of scores, each fold's by its own calibrator."""
    probabilities = np.empty(scores.shape)
    for k, calibrator in calibrators.items():
        probabilities[fold == k] = calibrator(scores[fold == k])
    return probabilities


def cross_fit(
    scores: Floats, y: Ints, fold: Ints, inner: Floats | None = None
) -> NDArray[np.float64]:
    """Probabilities (n, n_classes) of out-of-fold scores, each fold's by a calibrator without it.

    Parameters and errors as of `fold_calibrators`.
    """
    return calibrate_folds(fold_calibrators(scores, y, fold, inner), scores, fold)


# --------------------------------------------------------------------------- thresholds


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


def steady_threshold(
    y: NDArray[np.bool_], p: Floats, groups: Strings | None = None, level: float = 0.05
) -> float:
    """The threshold at the share of positives, unless `best_threshold` is surely better.

    For calibrated probabilities balanced accuracy is highest at p = share of positives, where an
    image is as likely among the positives as among the negatives (Menon et al., ICML 2013). It
    rests on all images, where the empirically best one rests on the few that lie near it and
    converges with the cube root of their number only (Kim and Pollard 1990; for Youden's cut-off
    Fluss, Faraggi and Reiser 2005). Where classes are all but separated these few are outliers:
    a wide range of thresholds is about as good here, and not elsewhere.

    Surely better: its gain in balanced accuracy on these images is more than its standard error
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
    >>> best_threshold(y, p), steady_threshold(y, p)
    (0.005, 0.5)
    """
    best, share = best_threshold(y, p), float(y.mean())
    moved = (p >= share).astype(int) - (p >= best)  # 1 where only the share's threshold says yes
    # An image's part in twice the balanced accuracy that `best` gains.
    gain = moved * np.where(y, -1 / y.sum(), 1 / (~y).sum())
    if groups is not None:
        gain = np.bincount(np.unique(groups, return_inverse=True)[1].ravel(), gain)
    error = float(np.sqrt((gain**2).sum()))
    sure = float(gain.sum()) > -float(special.ndtri(level)) * error
    return best if sure and error else share


def group_threshold(y: NDArray[np.bool_], p: Floats) -> float:
    """The threshold for the mean probability of a group's images.

    It is not the images': a mean of many is drawn to the middle, or few ill images are lost in it.
    Means are no probabilities of the group either, so they are calibrated first (Platt's sigmoid on
    their log odds); the threshold is the mean at which the calibrated probability is the share of
    positive groups, where balanced accuracy is highest (as in `steady_threshold`). Groups are few:
    the empirically best threshold did worse in all simulations but the largest.

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

    `steady_threshold` for images and, where groups repeat, `group_threshold` for groups.

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
    return Operating(steady_threshold(y, p, predictions.groups), RULE, grouped)


def cross_fit_thresholds(predictions: Predictions) -> NDArray[np.float64]:
    """For each image (n,) the threshold that the other folds' images choose; raises as above."""

    def choose(rows: Predictions) -> float:
        return steady_threshold(*_binary(rows), rows.groups)

    return _cross_fitted(predictions, choose)


def cross_fit_group_thresholds(rows: Predictions) -> NDArray[np.float64]:
    """For each row of `by_group` (n,) the threshold that the other folds' rows choose."""
    return _cross_fitted(rows, lambda others: group_threshold(*_binary(others)))


def _cross_fitted(
    predictions: Predictions, choose: Callable[[Predictions], float]
) -> NDArray[np.float64]:
    require_development(predictions, "the choice of thresholds")
    thresholds = np.empty(len(predictions))
    for k in _folds(predictions.fold):
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


def _folds(fold: Ints) -> Ints:
    """The distinct folds; at least two, for each is given what the others chose."""
    distinct = np.unique(fold)
    if len(distinct) < 2 or distinct[0] < 0:
        raise DataError(
            f"cross-fitting needs out-of-fold predictions of two folds or more, not folds "
            f"{distinct.tolist()}; predict with learn.cross_predict first"
        )
    return distinct
