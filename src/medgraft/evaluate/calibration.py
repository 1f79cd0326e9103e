"""Scores to probabilities, by out-of-fold predictions alone.

A calibrator is fitted once on all development images, for the model that is deployed, and
cross-fitted for judging, so that the same images never choose and judge: the images of a fold get
theirs without it, nested where inner scores are there. The operating threshold is chosen alike
(`threshold.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from medgraft.errors import DataError, FitError, LeakError
from medgraft.types import Floats, Ints, Predictions

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
    counts = np.bincount(y, minlength=scores.shape[1])
    if (counts > 0).sum() < 2:
        raise FitError(
            f"{len(y)} images of one class cannot calibrate probabilities; at least one image of a "
            "second class must be scored out of fold: use fewer folds or more groups"
        )
    return calibrator_towards(scores, smoothed_targets(y, counts))


def calibrator_towards(scores: Floats, targets: Floats) -> Calibrator:
    """Fit slope and biases by log loss against probabilities (n, n_classes) that are known.

    Raises
    ------
    FitError
        The scores hold what is no number.
    """
    n, n_classes = scores.shape
    scale = float(np.std(scores - scores.mean(axis=1, keepdims=True))) or 1.0
    unit = np.asarray(scores, np.float64) / scale

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


def halfway(a: Calibrator, b: Calibrator) -> Calibrator:
    """The calibrator between two of the same scores.

    Its slope is the geometric mean of theirs, and classes are even where they are on average.

    >>> halfway(Calibrator(1.0, (1.0, -1.0)), Calibrator(4.0, (0.0, 0.0)))
    Calibrator(slope=2.0, biases=(1.0, -1.0))
    """
    slope = math.sqrt(a.slope * b.slope)
    even = [(x / a.slope + y / b.slope) / 2 for x, y in zip(a.biases, b.biases, strict=True)]
    return Calibrator(slope, tuple(slope * place for place in even))


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
    for k in distinct_folds(fold).tolist():
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


def distinct_folds(fold: Ints) -> Ints:
    """The distinct folds; at least two, for each is given what the others chose."""
    distinct = np.unique(fold)
    if len(distinct) < 2 or distinct[0] < 0:
        raise DataError(
            f"cross-fitting needs out-of-fold predictions of two folds or more, not folds "
            f"{distinct.tolist()}; predict with learn.cross_predict first"
        )
    return distinct
