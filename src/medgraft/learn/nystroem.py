"""The RBF kernel between codes and a few landmarks among them, as explicit features.

Nyström's approximation (Williams and Seeger, "Using the Nyström method to speed up kernel
machines", NIPS 2001): with k(a, b) = exp(-γ |a - b|²), landmarks l_1 … l_m and K_mm their kernel,
the features of z are K_mm^(-1/2) [k(z, l_1), …, k(z, l_m)]. Their inner product is the kernel, on
the landmarks exactly. A linear support vector machine on them is one with that kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from medgraft.features.scratch import scratch
from medgraft.learn.linear import row_blocks
from medgraft.types import Floats, Ints


@dataclass(frozen=True, eq=False)
class Landmarks:
    """What was fitted on training rows.

    mean, scale (d,) standardise codes. points (m, d) are landmarks so standardised. gamma is γ.
    root (m, r) is K_mm^(-1/2) on the directions of K_mm that are not 0.
    """

    mean: Floats
    scale: Floats
    points: Floats
    gamma: float
    root: Floats

    def features(self, X: NDArray[Any]) -> NDArray[np.float32]:
        """Features (n, r) of codes X (n, d)."""
        out = scratch((len(X), self.root.shape[1]))
        for b in row_blocks(len(X), max(X.shape[1], len(self.points))):
            z = (X[b] - self.mean) / self.scale
            out[b] = rbf(z, self.points, self.gamma) @ self.root
        return out


def rbf(a: Floats, b: Floats, gamma: float) -> Floats:
    """exp(-γ |a_i - b_j|²), (len(a), len(b)), of points a (n, d) and b (m, d)."""
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    with np.errstate(under="ignore"):
        kernel: Floats = np.exp(-gamma * np.maximum(squares, 0))
    return kernel


def fit_landmarks(X: NDArray[Any], y: Ints, weight: Floats, most: int, seed: int) -> Landmarks:
    """Draw landmarks among the training rows, stratified by class, and prepare their kernel.

    Mean and scale are those of the training rows by weight; γ is 1 over the median squared distance
    between landmarks (the median heuristic), or 1 where they all coincide.

    Parameters
    ----------
    X : (n, d) codes. y : (n,) classes. weight : (n,), 0 for rows that are not trained on.
    most : landmarks, or all training rows where those are fewer.
    """
    used = np.flatnonzero(weight > 0)
    share = weight[used] / weight[used].sum()
    mean, square = np.zeros(X.shape[1]), np.zeros(X.shape[1])
    for b in row_blocks(len(used), X.shape[1]):
        mean += share[b] @ X[used[b]].astype(np.float64)
    for b in row_blocks(len(used), X.shape[1]):
        square += share[b] @ (X[used[b]] - mean) ** 2
    scale = np.sqrt(square)
    scale[scale <= 1e-6 * np.abs(mean)] = 1.0  # constant, up to rounding
    scale[scale == 0] = 1.0
    chosen = used[stratified(y[used], most, seed)]
    points = (X[chosen] - mean) / scale
    median = float(np.median(pdist(points, "sqeuclidean"))) if len(points) > 1 else 0.0
    gamma = 1 / median if median > 0 else 1.0
    values, vectors = np.linalg.eigh(rbf(points, points, gamma))
    kept = values > 1e-7 * values[-1]
    return Landmarks(mean, scale, points, gamma, vectors[:, kept] / np.sqrt(values[kept]))


def stratified(y: Ints, most: int, seed: int) -> Ints:
    """At most so many rows (ascending), drawn by seed with each class in its proportion.

    Examples
    --------
    >>> rows = stratified(np.array([0, 0, 0, 0, 1, 1]), 3, seed=0)
    >>> np.array([0, 0, 0, 0, 1, 1])[rows].tolist()
    [0, 0, 1]
    """
    place = np.empty(len(y))  # of a row in its class's random order, 0..1
    luck = np.random.default_rng(seed).random(len(y))
    for c in np.unique(y):
        rows = np.flatnonzero(y == c)
        place[rows[np.argsort(luck[rows])]] = (np.arange(len(rows)) + 0.5) / len(rows)
    return np.sort(np.argsort(place, kind="stable")[:most])
