"""LogME, a score of how well a network's codes suit a task, without training anything.

The evidence of a Bayesian linear model of the labels, at its best precision of weights and noise
(You et al., LogME: practical assessment of pre-trained models for transfer learning, ICML 2021).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medgraft.types import Floats, Ints

STEPS, CLOSE = 200, 1e-5
LITTLE = 1e-5  # keeps both precisions finite where codes fit the labels exactly, as the authors do


def logme(codes: NDArray[np.float32], labels: Ints) -> float:
    """The log evidence a row, mean over classes, each against the rest: (n, d) and (n,)."""
    X = codes.astype(np.float64)
    left, values, _ = np.linalg.svd(X, full_matrices=False)
    rank = int((values > values[0] * max(X.shape) * np.finfo(np.float32).eps).sum())
    left, values = left[:, :rank], values[:rank]  # what is left is rounding
    found = [
        _evidence(left.T @ (labels == c), values**2, float((labels == c).sum()), X.shape)
        for c in np.unique(labels)
    ]
    return float(np.mean(found) / len(X))


def _evidence(z: Floats, squares: Floats, total: float, shape: tuple[int, int]) -> float:
    """The highest log evidence of targets y, over precisions of the weights and of the noise.

    z : the targets in the axes of the codes. squares : of the singular values. total : y'y.
    """
    n, d = shape
    alpha = beta = 1.0
    for _ in range(STEPS):
        inside = alpha + beta * squares
        weights = float((beta**2 * squares * z**2 / inside**2).sum())  # of the mean, squared
        missed = float((alpha**2 * z**2 / inside**2).sum() + max(total - (z**2).sum(), 0.0))
        fitted = float((beta * squares / inside).sum())  # parameters that the data decide
        new = fitted / (weights + LITTLE), (n - fitted) / (missed + LITTLE)
        still = np.allclose(np.log(new), np.log([alpha, beta]), rtol=0, atol=CLOSE)
        alpha, beta = new
        if still:
            break
    inside = alpha + beta * squares
    weights = float((beta**2 * squares * z**2 / inside**2).sum())
    missed = float((alpha**2 * z**2 / inside**2).sum() + max(total - (z**2).sum(), 0.0))
    determinant = float(np.log(inside).sum()) + (d - len(squares)) * np.log(alpha)
    return float(
        d / 2 * np.log(alpha) + n / 2 * np.log(beta) - n / 2 * np.log(2 * np.pi)
        - beta / 2 * missed - alpha / 2 * weights - determinant / 2
    )  # fmt: skip
