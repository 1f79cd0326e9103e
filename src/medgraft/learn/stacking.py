"""A light stack: the members' probabilities combined with a few weights that cannot overfit much.

    log p(class | image)  =  Σ_m w_m log p_m(class | image) + constant,    w_m >= 0, Σ_m w_m = 1

with p_m the softmax of the member's standardised scores. The weights minimise the log loss plus a
mild pull to equal weights. Non-negative weights are what makes stacking work (Breiman, "Stacked
regressions", Machine Learning 24, 1996); fitted on scores of images that the members have not seen
it is the super learner (van der Laan, Polley and Hubbard, Stat. Appl. Genet. Mol. Biol. 6, 2007).
The combination's slope and biases are left to the calibrator that every scenario has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from medgraft.errors import FitError
from medgraft.evaluate.calibration import smoothed_targets
from medgraft.types import Floats, Ints

LEAST = 1e-6  # of a probability whose logarithm is taken
PULL = 0.01  # nats of log loss that all the weight on one of two members costs


@dataclass(frozen=True, slots=True)
class Stack:
    """Weights (m,) of the members, not negative, sum 1; scales (m,) standardise their scores."""

    weights: tuple[float, ...]
    scales: tuple[float, ...]

    def __call__(self, scores: Sequence[Floats]) -> NDArray[np.float64]:
        """Scores (n, n_classes) of the members' scores, each (n, n_classes)."""
        logs = _log_probabilities(scores, self.scales)
        combined: NDArray[np.float64] = np.einsum("m,mnk->nk", np.array(self.weights), logs)
        return combined


def fit_stack(scores: Sequence[Floats], y: Ints, sample_weight: Floats | None = None) -> Stack:
    """Fit a member's weight each by multinomial log loss, with the calibrator's targets.

    A common slope and the classes' biases are fitted beside the weights, so that these say who is
    to be believed and not how far apart scores lie, and then forgotten: the calibrator finds them.

    Parameters
    ----------
    scores : m members' scores, each (n, n_classes), of images they were not trained on.
    y : (n,) index of the true class. sample_weight : (n,), 1 each by default.

    Raises
    ------
    FitError
        No member, members of different shapes, scores that are not finite, or images of one class.

    Examples
    --------
    >>> y = np.array([0, 1] * 50)
    >>> knows = np.column_stack([-y, y]) + 0.3 * np.sin(np.arange(100))[:, None] * [-1, 1]
    >>> guesses = np.cos(np.arange(100))[:, None] * [-1.0, 1.0]
    >>> fit_stack([knows, guesses], y).weights[0] > 0.9
    True
    """
    _check(scores, y)
    weight = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, float)
    if len(np.unique(y[weight > 0])) < 2:
        raise FitError("a stack needs images of two classes or more to weigh its members by")
    weight = weight / weight.sum()
    scales = tuple(_scale(s, weight) for s in scores)
    logs, m = _log_probabilities(scores, scales), len(scores)
    n_classes = logs.shape[2]
    target = smoothed_targets(y, np.bincount(y[weight > 0], minlength=n_classes))

    def loss(theta: Floats) -> tuple[float, Floats]:
        """Of theta = (slope * weights (m,), biases (n_classes,)); the pull looks at shares only."""
        slopes = theta[:m]
        normal = log_softmax(np.einsum("m,mnk->nk", slopes, logs) + theta[m:], axis=1)
        error = (np.exp(normal) - target) * weight[:, None]  # (n, n_classes)
        total = slopes.sum()
        share = slopes / total
        pull = 2 * PULL * float(share @ share - 1 / m)
        of_slopes = np.einsum("nk,mnk->m", error, logs)
        of_slopes += 4 * PULL * (share - share @ share) / total
        value = pull - float(weight @ (normal * target).sum(axis=1))
        return value, np.concatenate([of_slopes, error.sum(axis=0)])

    found = minimize(
        loss, np.concatenate([np.full(m, 1 / m), np.zeros(n_classes)]), jac=True,
        method="L-BFGS-B", bounds=[(1e-9, 50.0)] * m + [(-50.0, 50.0)] * n_classes,
        options={"maxiter": 500, "ftol": 1e-13, "gtol": 1e-8},
    )  # fmt: skip
    slopes = found.x[:m]
    weights = np.where(slopes > 1e-6 * slopes.max(), slopes, 0)
    return Stack(tuple((weights / weights.sum()).tolist()), scales)


def log_mean(prob: Sequence[Floats]) -> Floats:
    """The logarithm of the members' mean probability, (n, n_classes)."""
    return log(np.mean(np.stack(prob), axis=0))


def stacked(prob: Sequence[Floats], stack: Stack) -> Floats:
    """The members' log probabilities combined by a stack, (n, n_classes)."""
    return stack([log(p) for p in prob])


def log(p: Floats) -> Floats:
    """The logarithm of probabilities, `LEAST` at least."""
    return np.asarray(np.log(np.maximum(p, LEAST)))


def _check(scores: Sequence[Floats], y: Ints) -> None:
    if not scores:
        raise FitError("a stack needs at least one member")
    shapes = {s.shape for s in scores}
    if len(shapes) > 1 or scores[0].ndim != 2 or len(scores[0]) != len(y):
        raise FitError(
            f"the members' scores have shapes {sorted(shapes)} for {len(y)} images; all must be "
            "(n_images, n_classes): predict the same images with every member"
        )
    if not all(np.isfinite(s).all() for s in scores):
        raise FitError("a member's scores hold NaN or infinity; leave that member out")


def _scale(scores: Floats, weight: Floats) -> float:
    """Root mean square of scores around their row's mean; 1 where they never differ."""
    around = scores - scores.mean(axis=1, keepdims=True)
    return float(np.sqrt(weight @ (around**2).mean(axis=1))) or 1.0


def _log_probabilities(scores: Sequence[Floats], scales: Sequence[float]) -> Floats:
    """(m, n, n_classes) log softmax of the standardised scores."""
    units = [np.asarray(s, np.float64) / a for s, a in zip(scores, scales, strict=True)]
    logs: Floats = log_softmax(np.stack(units), axis=2)
    return logs
