"""Many linear classifiers over the same codes, solved together as matrix products.

Nested cross-validation asks for dozens of fits of one matrix: every training subset, every strength
of the penalty, every class. All of them are columns of one problem here. A step of the solver costs
two products with the codes for all columns together, columns that have converged drop out, and no
subset is copied: a row outside a subset weighs nothing, and standardising inside the subset is a
shift and a scale of each column's coefficients.

The objective is scikit-learn's, on standardised codes z with the intercept unpenalised:

    minimise  1/2 |v|² + C Σ_i a_i loss(y_i, z_iᵀ v + b),     z = (x - mean) / scale

with row weights a, and loss max(0, 1 - y f)² (`squared_hinge`, classes one against the rest) or the
log loss (`log`, binary or softmax). Mean and scale are those of the subset's rows.

The method is preconditioned nonlinear conjugate gradients (Polak and Ribière; Nocedal and Wright,
"Numerical Optimization", 2006, chapter 5). The preconditioner is the inverse of c ZᵀZ + I/C with c
the column's mean curvature, from one eigendecomposition that all columns share; margins along a
direction are linear, so that the line search needs no product. What the squared hinge leaves
unfinished after a while (few support vectors: the mean curvature says little) is finished by Newton
steps, each a ridge regression on the support vectors (Chapelle, "Training a support vector machine
in the primal", Neural Computation 19, 2007).

What a head is, and how its strength is chosen, stands in `heads.py`.
"""

from __future__ import annotations

import dataclasses
import functools
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.linalg.blas import dsymv, dsyrk

from medgraft.errors import FitError
from medgraft.features.scratch import scratch
from medgraft.types import Floats, Ints

Loss = Literal["squared_hinge", "log"]
Singles = NDArray[np.float32]

FAR = 30.0  # the intercept of a class without rows: exp(-30) of probability
BLOCK = 1 << 23  # numbers of one array of the solver; more columns are solved in turns
MAX_STEPS = 1000
HINGE_STEPS = 25  # conjugate gradient steps before Newton takes over
NEWTON_STEPS = 60
FEW = 0.75  # support vectors by feature up to which rows are solved, in float32
NOTHING = 1e-3  # a margin too small to matter
STALLED = 150  # steps without progress: float32 has no more to give


@dataclass(frozen=True, eq=False)
class StandardisedCodes:
    """Codes standardised over all rows, for conditioning only, and what all columns share.

    X : (n, d) float32 = (codes - mean) / scale. mean, scale : (d,) float64. scaled : whether each
    subset brings its features to its own scale; else scale is 1 and features stay as long as they
    are.
    """

    X: Singles
    mean: Floats
    scale: Floats
    scaled: bool = True

    @functools.cached_property
    def eigen(self) -> tuple[Singles, Singles]:
        """The eigenvalues (r,) and eigenvectors (d, r) of XᵀX that are not 0."""
        n, d = self.X.shape
        gram = self.X.T @ self.X if n >= d else self.X @ self.X.T
        values, basis = np.linalg.eigh(gram.astype(np.float64))
        kept = values > 1e-6 * max(values[-1], 1e-30)
        values, basis = values[kept], basis[:, kept]
        if n < d:
            basis = self.X.T @ (basis / np.sqrt(values)).astype(np.float32)
        return values.astype(np.float32), basis.astype(np.float32, order="C")


@dataclass(frozen=True, eq=False)
class Models:
    """P solved problems, in the coordinates of `StandardisedCodes.X`.

    coef : (d, K, P). intercept : (K, P). K is 1 for two classes, else the number of classes.
    """

    coef: Singles
    intercept: Singles

    def scores(self, X: Singles, columns: slice | Ints) -> Singles:
        """Scores of rows of `StandardisedCodes.X` under some problems, (n, n_classes, columns).

        Two classes share one function f: their scores are -f/2 and f/2.
        """
        coef = np.ascontiguousarray(self.coef[..., columns])
        f = _times(X, coef)
        return _both_sides(f + self.intercept[:, columns], axis=1)

    def raw(self, codes: StandardisedCodes, column: int) -> tuple[Floats, Floats]:
        """Coefficients (n_classes, d) and intercepts (n_classes,) for codes as they came."""
        coef = self.coef[..., column].T / codes.scale  # (K, d) float64
        intercept = self.intercept[:, column] - coef @ codes.mean
        return _both_sides(coef, axis=0), _both_sides(intercept, axis=0)

    def arrays(self, codes: StandardisedCodes, column: int) -> dict[str, Floats]:
        """`raw` by the names that a head keeps them under."""
        coef, intercept = self.raw(codes, column)
        return {"coef_": coef, "intercept_": intercept}


def _both_sides(f: NDArray[Any], axis: int) -> NDArray[Any]:
    return np.concatenate([-f / 2, f / 2], axis=axis) if f.shape[axis] == 1 else f


# --------------------------------------------------------------------------- the codes


def check_finite(X: NDArray[Any]) -> None:
    """Refuse codes with NaN or infinity.

    Raises
    ------
    FitError
        Naming the first rows concerned.
    """
    bad = np.concatenate([np.flatnonzero(~np.isfinite(X[b]).all(axis=1)) + b.start
                          for b in row_blocks(*X.shape)])  # fmt: skip
    if len(bad):
        raise FitError(
            f"{len(bad)} of {len(X)} rows of codes hold NaN or infinity (rows "
            f"{', '.join(map(str, bad[:5]))}{', …' if len(bad) > 5 else ''}); codes must be "
            "finite: exclude these images or extract their codes again"
        )


def row_blocks(n: int, width: int) -> list[slice]:
    """Slices of n rows of so many numbers each, so that a block is about `BLOCK` numbers."""
    step = max(1, BLOCK // max(1, width))
    return [slice(start, min(n, start + step)) for start in range(0, n, step)]


def standardise(X: NDArray[Any], *, scaled: bool = True) -> StandardisedCodes:
    """Prepare codes (n, d), of any float type or memory-mapped, for `solve`.

    A column that never changes has scale 1, as have all where `scaled` is False: features of a
    kernel, whose lengths mean something, are centred only. The inputs are not changed; one float32
    copy is made.

    Raises
    ------
    FitError
        Codes that are not finite.
    """
    check_finite(X)
    n, d = X.shape
    blocks = row_blocks(n, d)
    mean = np.sum([X[b].sum(axis=0, dtype=np.float64) for b in blocks], axis=0) / n
    variance = np.sum([((X[b] - mean) ** 2).sum(axis=0) for b in blocks], axis=0) / n
    scale = np.sqrt(variance)
    constant = variance <= (n * np.finfo(np.float64).eps * mean) ** 2  # only rounding is left
    scale[constant | (not scaled)] = 1.0
    Z = scratch((n, d))
    for b in blocks:
        Z[b] = np.where(constant, 0.0, (X[b] - mean) / scale)
    return StandardisedCodes(Z, mean, scale, scaled)


def class_weights(y: Ints, rows: Floats, class_weight: str | None) -> Floats:
    """Row weights (n, S) times what balances the classes in each of S subsets.

    `balanced` gives class c the factor W / (K W_c), with W the weight of the subset's rows, W_c of
    those in class c and K the number of classes present, so that the total stays W.
    """
    if class_weight is None:
        return rows
    if class_weight != "balanced":
        raise FitError(f"class_weight {class_weight!r} is unknown; use 'balanced' or None")
    of_class = np.stack([rows[y == c].sum(axis=0) for c in range(int(y.max()) + 1)])  # (K, S)
    factor = rows.sum(axis=0) / (np.maximum(of_class, 1e-300) * (of_class > 0).sum(axis=0))
    balanced: Floats = rows * factor[y]
    return balanced


def inside(codes: StandardisedCodes, rows: Floats, weights: Floats) -> tuple[Singles, Singles]:
    """Centre (d, S) and inverse scale (d, S) that standardise each subset's rows.

    The scale is that of the rows (1 where codes are not scaled). The unpenalised intercept absorbs
    any centre, so the solver takes the mean under the class weights too, which conditions better.
    """
    totals = np.zeros((3, codes.X.shape[1], rows.shape[1]))
    for b in row_blocks(*codes.X.shape):
        x = codes.X[b].astype(np.float64)
        totals += [x.T @ rows[b], (x**2).T @ rows[b], x.T @ weights[b]]
    mean, square = totals[:2] / rows.sum(axis=0)
    variance = square - mean**2
    variance[(variance <= 1e-12 * square) | (not codes.scaled)] = 1.0  # constant within the subset
    centre = totals[2] / weights.sum(axis=0)
    return centre.astype(np.float32), (1 / np.sqrt(variance)).astype(np.float32)


# --------------------------------------------------------------------------- the losses
# Arrays are (n, K, P): rows, outputs of one problem, problems. The hinge has K = 1.


def _squared_hinge(M: Singles, T: Singles, A: Singles) -> tuple[Singles, Singles]:
    """Gradient and curvature of a max(0, 1 - t m)² by the margin m."""
    gap = np.maximum(1 - T * M, 0)
    return -2 * A * T * gap, 2 * A * (gap > 0)


def _log(M: Singles, T: Singles, A: Singles) -> tuple[Singles, Singles]:
    """Gradient a (p - y) and curvature of the log loss: a p (1 - p), or a p with softmax."""
    if T.shape[1] > 1:
        p = np.exp(M - M.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        return A * (p - T), A * p
    wrong = 1 / (1 + np.exp(np.clip(T * M, -80, 80)))
    residual = A * wrong
    return -T * residual, residual * (1 - wrong)


_LOSSES = {"squared_hinge": _squared_hinge, "log": _log}


def _quadratic(H: Singles, D: Singles, reciprocal: Singles) -> Singles:
    """Second derivative of each problem's loss along the margins D: (P,)."""
    HD = H * D
    total: Singles = np.einsum("nkp,nkp->p", HD, D)
    if H.shape[1] > 1:  # softmax: Σ p d² - (Σ p d)²
        total -= np.einsum("np,np->p", HD.sum(axis=1) ** 2, reciprocal[:, 0])
    return total


# --------------------------------------------------------------------------- the solver


@dataclass(eq=False)
class _Columns:
    """The problems still being solved; the last axis of every array counts them.

    T (n, K, P or 1) targets: ±1, or one-hot for softmax. A (n, 1, P) weights, reciprocal 1 / A
    or 0. l (P,) = 1/C. centre, inverse (d, 1, P). free (K, P): 0 pins a class. v (d, K, P),
    b (K, P): the solution so far, M (n, K, P) its margins, R and H their gradient and curvature.
    dv, db the last direction; g, gb its gradient; drop its decrement; best and idle: progress.
    """

    index: Ints
    T: Singles
    A: Singles
    reciprocal: Singles
    l: Singles  # noqa: E741  the papers' λ
    centre: Singles
    inverse: Singles
    free: Singles
    v: Singles
    b: Singles
    M: Singles
    R: Singles
    H: Singles
    dv: Singles
    db: Singles
    g: Singles
    gb: Singles
    drop: Singles
    best: Singles
    idle: Ints

    def keep(self, mask: NDArray[np.bool_]) -> _Columns:
        one_hot = self.T.shape[-1] != len(mask)
        parts = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return _Columns(
            **{
                name: array if name == "T" and one_hot else np.ascontiguousarray(array[..., mask])
                for name, array in parts.items()
            }
        )


def solve(
    codes: StandardisedCodes, y: Ints, rows: Floats, C: Floats, *, loss: Loss,
    class_weight: str | None = None, tol: float = 1e-3,
) -> Models:  # fmt: skip
    """Fit one classifier for each training subset and each strength.

    Parameters
    ----------
    codes : what `standardise` gave, n rows.
    y : (n,) class of each row, 0 .. n_classes - 1.
    rows : (n, S) weight of each row in each of S subsets, 0 outside.
    C : (S, m) strengths of each subset, as in scikit-learn: smaller is the stronger penalty.
    tol : error of the margins, relative to their spread, at which a problem counts as solved; a
        warning is given of those that stopped at more than ten times that.

    Returns
    -------
    Models
        S * m problems, the strengths of one subset side by side. A class without rows in its
        subset has zero coefficients and an intercept of -`FAR`.
    """
    (n, d), (S, m) = codes.X.shape, C.shape
    n_classes = int(y.max()) + 1
    softmax = loss == "log" and n_classes > 2
    weights = class_weights(y, rows, class_weight)
    centre, inverse = inside(codes, rows, weights)
    present = np.stack([rows[y == c].sum(axis=0) > 0 for c in range(n_classes)])  # (n_classes, S)
    subset = np.repeat(np.arange(S), m)
    tasks, intercept = _tasks(y, present[:, subset], softmax)
    coef = np.zeros((d, *intercept.shape), np.float32)
    unfinished = 0
    for outputs, targets, problems in tasks:
        step = max(1, BLOCK // (n * targets.shape[1]))
        for start in range(0, len(problems), step):
            p = problems[start : start + step]
            s = subset[p]
            columns = _start(
                targets, weights[:, s], 1 / C.reshape(-1)[p], centre[:, s], inverse[:, s],
                intercept[outputs][:, p], loss,
            )  # fmt: skip
            v, b, failed = _minimise(codes, columns, loss, tol)
            v *= columns.inverse
            b -= np.einsum("dkp,dkp->kp", v, np.broadcast_to(columns.centre, v.shape))
            coef[:, outputs, p], intercept[outputs, p] = v, b
            unfinished += failed
    if unfinished:
        warnings.warn(
            f"{unfinished} of {S * m} {loss} fits stopped before tolerance {tol:g}; "
            "a smaller C or a larger tol converges sooner",
            RuntimeWarning,
            stacklevel=2,
        )
    return Models(coef, intercept)


def _tasks(
    y: Ints, present: NDArray[np.bool_], softmax: bool
) -> tuple[list[tuple[slice, Singles, Ints]], Singles]:
    """What is to be solved together, and the intercepts (K, P) that it starts from.

    A task is (outputs, targets (n, outputs), problems): all outputs with softmax, else one. An
    output of a problem without rows on both of its sides is left at its intercept of ± `FAR`.
    present : (n_classes, P) whether a class has rows in a problem.
    """
    n_classes = len(present)
    K = n_classes if n_classes > 2 else 1
    one_hot = np.eye(n_classes, dtype=np.float32)[y]  # (n, n_classes)
    if softmax:
        intercept = np.where(present, 0, -FAR).astype(np.float32)
        return [(slice(0, K), one_hot, np.flatnonzero(present.sum(axis=0) > 1))], intercept
    tasks = []
    intercept = np.zeros((K, present.shape[1]), np.float32)
    for k in range(K):
        yes = present[1 if K == 1 else k]
        no = (present.sum(axis=0) - yes) > 0
        intercept[k] = np.where(yes & no, 0, np.where(yes, FAR, -FAR))
        signs = 2 * one_hot[:, [1 if K == 1 else k]] - 1
        tasks.append((slice(k, k + 1), signs, np.flatnonzero(yes & no)))
    return tasks, intercept


def solve_alike(
    codes: StandardisedCodes, y: Ints, rows: Floats, strengths: Floats, total: float, **how: Any
) -> Models:
    """`solve` with strengths as all rows, of weight `total`, would have them.

    C multiplies a sum over rows, so that the same C penalises fewer rows more, and their scores
    come out shorter than those of the head on all rows, which they calibrate. Subsets of fewer rows
    have a C as much larger.
    """
    return solve(codes, y, rows, strengths * (total / rows.sum(axis=0))[:, None], **how)


def _start(
    targets: Singles, A: Floats, penalty: Floats, centre: Singles, inverse: Singles, b: Singles,
    loss: Loss,
) -> _Columns:  # fmt: skip
    """Columns at v = 0; targets (n, K), A (n, P), the rest as in `_Columns`."""
    (n, K), P, d = targets.shape, A.shape[1], len(centre)
    T = targets[:, :, None] if K > 1 else np.repeat(targets[:, :, None], P, axis=2)
    weights = A.astype(np.float32)[:, None]
    M = np.broadcast_to(b, (n, K, P)).astype(np.float32)
    R, H = _LOSSES[loss](M, T, weights)
    reciprocal = np.divide(1, weights, out=np.zeros_like(weights), where=weights > 0)
    nothing, nought = np.zeros((d, K, P), np.float32), np.zeros((K, P), np.float32)
    return _Columns(
        index=np.arange(P), T=T, A=weights, reciprocal=reciprocal,
        l=penalty.astype(np.float32), centre=centre[:, None], inverse=inverse[:, None],
        free=(b > -FAR).astype(np.float32), v=nothing, b=b.copy(), M=M, R=R, H=H,
        dv=nothing, db=nought, g=nothing, gb=nought, drop=np.full(P, np.inf, np.float32),
        best=np.full(P, np.inf, np.float32), idle=np.zeros(P, np.int64),
    )  # fmt: skip


def _minimise(
    codes: StandardisedCodes, c: _Columns, loss: Loss, tol: float
) -> tuple[Singles, Singles, int]:
    """Conjugate gradients on all columns; returns v (d, K, P), b (K, P) and how many failed."""
    v, b = np.zeros_like(c.v), np.zeros_like(c.b)
    failed = 0
    for _ in range(HINGE_STEPS if loss == "squared_hinge" else MAX_STEPS):
        g, gb = _gradient(codes, c)
        z, zb = _precondition(codes, c, g, gb)
        drop = np.einsum("dkp,dkp->p", g, z) + (gb * zb).sum(axis=0)  # Newton decrement²
        size = _energy(c, loss)
        c.idle = np.where(drop < c.best, 0, c.idle + 1)
        c.best = np.minimum(drop, c.best)
        done = drop <= tol**2 * size
        stalled = (c.idle >= STALLED) & ~done & (loss == "log")
        failed += int((stalled & (drop > (10 * tol) ** 2 * size)).sum())
        done |= stalled
        slope = _turn(c, (g, gb), (z, zb), drop)
        if done.any():
            v[..., c.index[done]], b[:, c.index[done]] = c.v[..., done], c.b[:, done]
            if done.all():
                return v, b, failed
            c, slope = c.keep(~done), slope[~done]
        _advance(codes, c, slope, loss)
    if loss == "log":
        failed += len(c.index)
        v[..., c.index], b[:, c.index] = c.v, c.b
    else:
        failed += _finish(codes, c, tol, v, b)
    return v, b, failed


def _finish(codes: StandardisedCodes, c: _Columns, tol: float, v: Singles, b: Singles) -> int:
    """Newton steps for the columns that the hinge left; fills in v and b; how many failed."""
    failed = 0
    last: _Columns | None = None
    grams: _Grams | None = None
    for p, i in enumerate(c.index):
        one = c.keep(np.arange(len(c.index)) == p)
        if last is not None and np.array_equal(one.A, last.A) and np.array_equal(one.T, last.T):
            # the same rows under the next stronger penalty: often the better start
            last.l = one.l
            if _objective(last) < _objective(one):
                one = last
        if grams is None or not grams.serve(one):
            grams = _Grams(codes, one)
        failed += not _newton(codes, one, tol, grams)
        v[..., i], b[:, i] = one.v[..., 0], one.b[:, 0]
        last = one
    return failed


def _gradient(codes: StandardisedCodes, c: _Columns) -> tuple[Singles, Singles]:
    """Of the objective by v (d, K, P) and by b (K, P)."""
    gb = np.einsum("nkp->kp", c.R) * c.free
    g = _times(codes.X.T, c.R)
    g -= c.centre * gb
    g *= c.inverse * c.free
    g += c.l * c.v
    return g, gb


def _turn(
    c: _Columns, gradient: tuple[Singles, Singles], preconditioned: tuple[Singles, Singles],
    drop: Singles,
) -> Singles:  # fmt: skip
    """Set the new direction, conjugate to the last where that is downhill; its slope (P,)."""
    (g, gb), (z, zb) = gradient, preconditioned
    beta = np.maximum(drop - np.einsum("dkp,dkp->p", c.g, z) - (c.gb * zb).sum(axis=0), 0)
    beta /= c.drop
    dv, db = beta * c.dv - z, beta * c.db - zb
    slope = np.einsum("dkp,dkp->p", dv, g) + (db * gb).sum(axis=0)
    uphill = slope >= 0
    dv[..., uphill], db[..., uphill] = -z[..., uphill], -zb[..., uphill]
    c.dv, c.db, c.g, c.gb, c.drop = dv, db, g, gb, drop
    return np.where(uphill, -drop, slope)


def _times(X: Singles, V: Singles) -> Singles:
    """X (n, d) times V (d, K, P): (n, K, P)."""
    d, K, P = V.shape  # d may be 0: codes that never change have no eigenvectors
    product: Singles = (X @ V.reshape(d, K * P)).reshape(len(X), K, P)
    return product


def _energy(c: _Columns, loss: Loss) -> Singles:
    """What a decrement is measured against: the solution's own norm in the curvature, (P,).

    The squared hinge is flat beyond the margin, so that a near-perfect separation must also be
    exact relative to what is left of the objective. Where nothing can be learned the solution is 0,
    and only rounding is left to measure, so margins count as `NOTHING` at least.
    """
    penalty = c.l * np.einsum("dkp,dkp->p", c.v, c.v)
    size: Singles = penalty + _quadratic(c.H, c.M, c.reciprocal)
    size = np.maximum(size, NOTHING**2 * c.A.sum(axis=(0, 1)))
    if loss == "squared_hinge":  # a gap² = R² / 4a
        size = np.minimum(size, penalty + np.einsum("nkp,nkp->p", c.R * c.reciprocal, c.R) / 2)
    return size


def _precondition(
    codes: StandardisedCodes, c: _Columns, g: Singles, gb: Singles
) -> tuple[Singles, Singles]:
    """Inverse of (mean curvature * XᵀX + l) times the gradient, through the shared eigenbasis."""
    h = c.H if c.H.shape[1] == 1 else c.H - c.H**2 * c.reciprocal  # softmax: the diagonal p (1 - p)
    total = np.maximum(np.einsum("nkp->kp", h), 1e-6 * c.A.sum(axis=0))  # (K, P)
    values, basis = codes.eigen
    curved = values[:, None, None] * (total / len(c.A))  # (r, K, P)
    q = _times(basis.T, g)
    q *= curved / (curved + c.l)
    z = (g - _times(basis, q)) * (c.free / c.l)
    return z, gb / total


def _margins(codes: StandardisedCodes, c: _Columns, v: Singles, b: Singles) -> Singles:
    """What coefficients v (d, K, P) and intercepts b (K, P) of the columns give, (n, K, P)."""
    scaled = c.inverse * v
    margins = _times(codes.X, scaled)
    margins += b - np.einsum("dkp,dkp->kp", scaled, np.broadcast_to(c.centre, scaled.shape))
    return margins


def _advance(codes: StandardisedCodes, c: _Columns, slope: Singles, loss: Loss) -> None:
    """Move every column to about the lowest point along its direction, in place."""
    D = _margins(codes, c, c.dv, c.db)
    curve = c.l * np.einsum("dkp,dkp->p", c.dv, c.dv)
    along = c.l * np.einsum("dkp,dkp->p", c.dv, c.v)
    t = -slope / (curve + _quadratic(c.H, D, c.reciprocal))
    low, high = np.zeros_like(t), np.full_like(t, np.inf)
    M = c.M
    for _ in range(20):  # Newton on the slope, kept inside the bracket
        M = c.M + t * D
        c.R, c.H = _LOSSES[loss](M, c.T, c.A)
        now = along + t * curve + np.einsum("nkp,nkp->p", c.R, D)
        flat = np.abs(now) <= 0.2 * np.abs(slope)
        if flat.all():
            break
        low, high = np.where(now < 0, t, low), np.where(now > 0, t, high)
        guess = t - now / (curve + _quadratic(c.H, D, c.reciprocal))
        middle = np.where(np.isinf(high), 2 * t, (low + high) / 2)
        t = np.where(flat, t, np.where((guess > low) & (guess < high), guess, middle))
    c.M = M
    c.v = c.v + t * c.dv
    c.b = c.b + t * c.db


def _objective(c: _Columns) -> float:
    """Of one squared-hinge column; a gap² = R² / 4a."""
    return float(c.l[0] * (c.v**2).sum() / 2 + (c.R**2 * c.reciprocal).sum() / 4)


class _Grams:
    """Products of the support vectors of one subset, of which most are formed once.

    Strengths of one subset, and steps of one strength, share most support vectors. Of few, Z (m, d)
    are those that were any so far, standardised in the subset, K (m, m) = Z Zᵀ, and place (n,) says
    which of them a row is, or -1. Of more, held (n,) says which are in the sums over them, with w
    twice a row's weight and t its target: square (d, d) = Σ w z zᵀ (its lower triangle),
    first (d,) = Σ w z and cross (d,) = Σ w t z.
    """

    def __init__(self, codes: StandardisedCodes, c: _Columns) -> None:
        self.X, self.centre, self.inverse = codes.X, c.centre[:, 0, 0], c.inverse[:, 0, 0]
        n, d = self.X.shape
        self.w, self.t = 2 * c.A[:, 0, 0], c.T[:, 0, 0]
        self.place = np.full(n, -1)
        self.Z = np.empty((0, d), np.float32)
        self.K = np.empty((0, 0), np.float32)
        self.held = np.zeros(n, bool)
        self.square = np.empty((0, 0))
        self.first, self.cross = np.zeros(d), np.zeros(d)

    def serve(self, c: _Columns) -> bool:
        """Whether a column is of this subset."""
        return (
            np.array_equal(self.w, 2 * c.A[:, 0, 0])
            and np.array_equal(self.centre, c.centre[:, 0, 0])
            and np.array_equal(self.inverse, c.inverse[:, 0, 0])
        )

    def standardised(self, rows: Ints) -> Singles:
        """Those rows of X, standardised in the subset."""
        Z: Singles = (self.X[rows] - self.centre) * self.inverse
        return Z

    def at(self, support: NDArray[np.bool_]) -> Ints:
        """Places of the support vectors in Z and K, which grow by those that are new."""
        new = np.flatnonzero(support & (self.place < 0))
        if len(new):
            m = len(self.Z)
            self.place[new] = m + np.arange(len(new))
            self.Z = np.concatenate([self.Z, self.standardised(new)])
            K = np.empty((len(self.Z), len(self.Z)), np.float32)
            K[:m, :m] = self.K
            K[m:] = self.Z[m:] @ self.Z.T
            K[:m, m:] = K[m:, :m].T
            self.K = K
        return self.place[support]

    def hold(self, support: NDArray[np.bool_]) -> None:
        """Bring the sums to the support vectors: those that come are added, those that go taken."""
        d = self.X.shape[1]
        if not len(self.square) or (support != self.held).sum() > support.sum():
            self.held = np.zeros_like(support)
            self.square = np.zeros((d, d), order="F")
            self.first, self.cross = np.zeros(d), np.zeros(d)
        for sign, which in ((1, support & ~self.held), (-1, self.held & ~support)):
            at = np.flatnonzero(which)
            for block in row_blocks(len(at), d):
                rows = at[block]
                root = np.sqrt(self.w[rows].astype(np.float64))
                Z = self.standardised(rows) * root[:, None]
                self.square = dsyrk(sign, Z.T, 1, self.square, lower=True, overwrite_c=True)
                self.first += sign * (root @ Z)
                self.cross += sign * ((root * self.t[rows]) @ Z)
        self.held = support


def _newton(codes: StandardisedCodes, c: _Columns, tol: float, grams: _Grams) -> bool:
    """Finish one squared-hinge column in place; whether it converged.

    On the support vectors (t² = 1) the loss is a (t - f)²: each step is their ridge regression,
    solved by rows where they are few and else by features (in float64, for where there are about as
    many of the one as of the other, little is sure), and the last one, when they no longer change,
    is exact.
    """
    drop = size = np.inf
    before: tuple[NDArray[np.bool_], Floats, float] | None = None
    for _ in range(NEWTON_STEPS):
        support = _support(c)
        if before is not None and np.array_equal(support, before[0]):
            _move_to(codes, c, *before[1:])  # without what the steps rounded
            support = _support(c)
            if np.array_equal(support, before[0]):
                return True
        beyond = not support.any()  # every margin is beyond 1 already; only a smaller v is better
        if beyond:
            support = c.A[:, 0, 0] > 0
        few = support.sum() <= FEW * codes.X.shape[1]
        ridge = _ridge_of_rows if few else _ridge_of_features
        v, b, curve = ridge(grams, support, c)
        before = None if beyond else (support, v, b)
        c.dv = (v[:, None, None] - c.v).astype(np.float32)
        c.db = (b - c.b).astype(np.float32)
        # slope of the quadratic that v minimises: - |step|² in its curvature
        drop = float(c.l[0]) * float((c.dv**2).sum()) + curve
        size = float(_energy(c, "squared_hinge")[0])
        if drop <= tol**2 * size:
            return True
        _advance(codes, c, np.array([-drop], np.float32), "squared_hinge")
    return bool(drop <= (10 * tol) ** 2 * size)


def _support(c: _Columns) -> NDArray[np.bool_]:
    """The rows (n,) of weight within the margin of one squared-hinge column."""
    found: NDArray[np.bool_] = (c.A[:, 0, 0] > 0) & (c.T[:, 0, 0] * c.M[:, 0, 0] < 1)
    return found


def _move_to(codes: StandardisedCodes, c: _Columns, v: Floats, b: float) -> None:
    """Move one squared-hinge column to v (d,) and b, in place."""
    c.v, c.b = v.astype(np.float32)[:, None, None], np.full_like(c.b, b)
    c.M = _margins(codes, c, c.v, c.b)
    c.R, c.H = _squared_hinge(c.M, c.T, c.A)


Ridge = tuple[Floats, float, float]  # v (d,), b, and the curvature of the step from c to them


def _ridge_of_rows(grams: _Grams, support: NDArray[np.bool_], c: _Columns) -> Ridge:
    """The weighted ridge regression of their targets, by a system of the m support vectors."""
    at, t, w = grams.at(support), grams.t[support], grams.w[support]
    root, total = np.sqrt(w), w.sum()
    K = grams.K[np.ix_(at, at)]
    to_mean = K @ w / total
    K += w @ to_mean / total - to_mean - to_mean[:, None]  # of centred rows
    K *= root * root[:, None]
    target = w @ t / total
    part = root * _solve_ridge(K.T, float(c.l[0]), (t - target) * root)
    spread = np.zeros((2, len(grams.Z)))
    spread[0, at], spread[1, at] = w / total, part
    mean, v = spread.astype(np.float32) @ grams.Z
    v -= part.sum() * mean
    b = target - mean @ v
    step = v - c.v[:, 0, 0]
    moved = root * ((grams.Z @ step)[at] - mean @ step)
    shift = total * (b - c.b[0, 0] + mean @ step) ** 2
    return v, float(b), float(moved @ moved + shift)


def _ridge_of_features(grams: _Grams, support: NDArray[np.bool_], c: _Columns) -> Ridge:
    """The same by a system of the d features."""
    grams.hold(support)
    t, w = grams.t[support], grams.w[support].astype(np.float64)
    first, total = grams.first, w.sum()
    # (Σ w z zᵀ + l I) v + Σ w z b = Σ w t z  and  Σ w zᵀ v + Σ w b = Σ w t
    with_t, with_1 = _solve_ridge(
        grams.square, float(c.l[0]), np.stack([grams.cross, first], axis=1)
    ).T
    b = (w @ t - first @ with_t) / (total - first @ with_1)
    v = with_t - b * with_1
    step, moved = v - c.v[:, 0, 0], b - c.b[0, 0]
    curve = step @ dsymv(1, grams.square, step, lower=True)
    curve += (2 * first @ step + total * moved) * moved
    return v, float(b), max(0.0, float(curve))


def _solve_ridge(A: NDArray[Any], ridge: float, b: NDArray[Any]) -> Floats:
    """(A + ridge I)⁻¹ b, in float64; A (m, m) is symmetric, and its lower triangle is read."""
    system = A.astype(np.float64, order="F")
    system.T.flat[:: len(A) + 1] += ridge
    factor = cho_factor(system, lower=True, overwrite_a=True, check_finite=False)
    solution: Floats = cho_solve(factor, b.astype(np.float64), check_finite=False)
    return solution
