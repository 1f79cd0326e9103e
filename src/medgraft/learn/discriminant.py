"""Linear discriminants with shrinkage for many training subsets of the same codes, in closed form.

On codes z standardised by the subset's rows, with class means μ_c and priors π_c,

    S_w = Σ_c π_c Σ_{i in c} a_i (z_i - μ_c)(z_i - μ_c)ᵀ / Σ_{i in c} a_i
    S   = (1 - s) S_w + s tr(S_w)/d I
    score_c(z) = μ_cᵀ S⁻¹ z - μ_cᵀ S⁻¹ μ_c / 2 + log π_c

is the log posterior up to a constant (Friedman, "Regularized discriminant analysis", JASA 84, 1989;
the shrinkage towards tr/d I is that of Ledoit and Wolf, J. Multivariate Anal. 88, 2004). Training
subsets overlap: rows that share their class and their subsets are a block, whose second moment is
formed once and added to every subset it belongs to. With fewer rows than features the system is
solved among the rows (Woodbury). float64 throughout: a weak shrinkage divides by little.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from medgraft.learn.linear import (
    BLOCK,
    FAR,
    Models,
    StandardisedCodes,
    class_weights,
    row_blocks,
)
from medgraft.types import Floats, Ints

MOMENTS = 1 << 26  # numbers of all second moments held at once; more subsets go in turns
COLUMNS = 64  # features at a time where there are many rows, or a multiple of it
LEAST = 1e-9  # what is shrunk to, where the classes do not vary within at all


def discriminants(
    codes: StandardisedCodes,
    y: Ints,
    rows: Floats,
    shrinkage: Floats,
    *,
    class_weight: str | None = None,
) -> Models:
    """Fit one discriminant for each training subset and each shrinkage.

    Parameters
    ----------
    codes : what `standardise` gave, n rows.
    y : (n,) class of each row, 0 .. n_classes - 1.
    rows : (n, S) weight of each row in each of S subsets, 0 outside.
    shrinkage : (S, m) of each subset, above 0, at most 1.
    class_weight : 'balanced' gives the classes equal priors, None those of the subset's rows.

    Returns
    -------
    Models
        S * m problems, the shrinkages of one subset side by side. A class without rows in its
        subset lies at the centre with an improbable prior, exp(-`FAR`).
    """
    d, (S, m) = codes.X.shape[1], shrinkage.shape
    K = int(y.max()) + 1
    weights = class_weights(y, rows, class_weight)
    coef, intercept = np.zeros((d, K, S * m)), np.zeros((K, S * m))
    step = max(1, MOMENTS // d**2)
    for start in range(0, S, step):
        turn = range(start, min(S, start + step))
        wide = [(rows[:, s] > 0).sum() < d for s in turn]
        moments = _moments(codes, y, rows, weights, [s for s, w in zip(turn, wide, strict=True)
                                                     if not w])  # fmt: skip
        for s in turn:
            part = slice(s * m, s * m + m)
            coef[..., part], intercept[:, part] = _subset(
                codes, y, rows[:, s], weights[:, s], shrinkage[s], moments.pop(s, None)
            )
    if K == 2:
        coef, intercept = coef[:, 1:] - coef[:, :1], intercept[1:] - intercept[:1]
    return Models(coef.astype(np.float32), intercept.astype(np.float32))


def _moments(
    codes: StandardisedCodes, y: Ints, rows: Floats, weights: Floats, subsets: list[int]
) -> dict[int, Floats]:
    """Σ_i a_i x_i x_iᵀ (d, d) of each subset, from those of the blocks that subsets share."""
    if not subsets:
        return {}
    d = codes.X.shape[1]
    sums: dict[int, Floats] = {s: np.zeros((d, d)) for s in subsets}
    member = rows[:, subsets] > 0
    _, block = np.unique(np.column_stack([member, y]), axis=0, return_inverse=True)
    own = rows.max(axis=1)  # a row's weight, in whichever subset
    for b in range(int(block.max()) + 1):
        here = np.flatnonzero((block == b) & (own > 0))
        moment = np.zeros((d, d))
        for part in row_blocks(len(here), d):
            x = codes.X[here[part]] * np.sqrt(own[here[part], None])
            moment += x.T @ x
        for s in subsets if len(here) else ():
            sums[s] += weights[here[0], s] / own[here[0]] * moment
    return sums


def _subset(
    codes: StandardisedCodes,
    y: Ints,
    rows: Floats,
    weights: Floats,
    shrinkage: Floats,
    moment: Floats | None,
) -> tuple[Floats, Floats]:
    """Coefficients (d, K, m) and intercepts (K, m) in the coordinates of `codes.X`.

    rows, weights (n,). moment : Σ_i a_i x_i x_iᵀ; None to solve among the rows.
    """
    K, d, used = int(y.max()) + 1, codes.X.shape[1], np.flatnonzero(rows > 0)
    share, a = rows[used] / rows.sum(), weights[used] / weights.sum()
    of_class = np.eye(K)[y[used]] * a[:, None]  # (rows, K)
    prior = of_class.sum(axis=0)
    variance, centres = np.empty(d), np.empty((K, d))
    step = max(COLUMNS, BLOCK // len(used) // COLUMNS * COLUMNS)
    for start in range(0, d, step):
        part = slice(start, start + step)
        x = codes.X[:, part][used].astype(np.float64)
        variance[part] = share @ x**2 - (share @ x) ** 2
        centres[:, part] = of_class.T @ x / np.maximum(prior, 1e-300)[:, None]
    scale = np.sqrt(np.maximum(variance, 0))
    inverse = 1 / np.where(scale > 1e-6, scale, 1)  # constant within the subset: as it is
    centre = prior @ centres
    means = ((centres - centre) * inverse * (prior > 0)[:, None]).T  # (d, K)
    if moment is None:
        x = codes.X[used].astype(np.float64)
        within = (x - centres[y[used]]) * inverse * np.sqrt(a)[:, None]  # its Gram matrix is S_w
        kernel, trace = within @ within.T, float((within**2).sum())
    else:
        within = moment / weights.sum() - (centres.T * prior) @ centres
        within *= inverse[:, None] * inverse
        trace = float(np.trace(within))
    log_prior = np.where(prior > 0, np.log(np.maximum(prior, 1e-300)), -FAR)
    coef, intercept = np.empty((len(means), K, len(shrinkage))), np.empty((K, len(shrinkage)))
    for j, s in enumerate(shrinkage):
        ridge = max(s * trace / len(means), LEAST)
        if moment is None:  # (ridge + (1 - s) BᵀB)⁻¹ of the rows B, by way of BBᵀ
            inside = _solve((1 - s) * kernel, ridge, within @ means)
            v = (means - (1 - s) * within.T @ inside) / ridge
        else:
            v = _solve((1 - s) * within, ridge, means)
        coef[..., j] = v * inverse[:, None]
        intercept[:, j] = log_prior - (means * v).sum(axis=0) / 2 - centre @ coef[..., j]
    return coef, intercept


def _solve(A: Floats, ridge: float, b: Floats) -> NDArray[np.float64]:
    """(A + ridge I)⁻¹ b; A (r, r) is changed."""
    A.flat[:: len(A) + 1] += ridge
    solution: NDArray[np.float64] = cho_solve(
        cho_factor(A, lower=True, overwrite_a=True, check_finite=False), b, check_finite=False
    )
    return solution
