"""Cumulative logits for many training subsets of the same codes, solved together.

The proportional odds model of classes that are grades 0 .. K-1 (McCullagh, "Regression models for
ordinal data", J. R. Statist. Soc. B 42, 1980): one latent value η = zᵀ v of standardised codes z,
and thresholds θ_0 < … < θ_{K-2} that cut it, P(y <= k) = σ(θ_k - η). With θ_{-1} = -∞, θ_{K-1} = ∞

    log P(y = k) = log σ(θ_k - η) + log σ(η - θ_{k-1}) + log(1 - exp(θ_{k-1} - θ_k))

so that a row asks two logistic questions, whether η lies below its upper threshold and above its
lower one, and the last term, which knows no codes, keeps the thresholds in order. The objective

    minimise  1/2 |v|² - C Σ_i a_i log P(y_i)

is convex. As in `linear.py`, whose words are used here, all subsets and strengths are columns of
one problem: preconditioned nonlinear conjugate gradients, a step costs two products with the codes,
and the thresholds move along, by Newton's step in their own K - 1 dimensions.
"""

from __future__ import annotations

import dataclasses
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from medgraft.learn.linear import (
    BLOCK,
    FAR,
    MAX_STEPS,
    NOTHING,
    STALLED,
    Singles,
    StandardisedCodes,
    class_weights,
    inside,
)
from medgraft.types import Floats, Ints


@dataclass(frozen=True, eq=False)
class OrdinalModels:
    """P solved problems, in the coordinates of `StandardisedCodes.X`.

    coef : (d, P). thresholds : (K - 1, P), rising; two are equal where the grade between has no
    rows.
    """

    coef: Singles
    thresholds: Floats

    def scores(self, X: Singles, columns: slice | Ints) -> Singles:
        """Logarithms of P(y = k) of rows under some problems, (n, n_classes, columns)."""
        latent = X @ np.ascontiguousarray(self.coef[:, columns])
        return log_probabilities(latent, self.thresholds[:, columns]).astype(np.float32)

    def arrays(self, codes: StandardisedCodes, column: int) -> dict[str, Floats]:
        """`latent_coef_` (1, d) and `thresholds_` (K - 1,) for codes as they came."""
        coef = self.coef[:, column] / codes.scale
        shifted = self.thresholds[:, column] + coef @ codes.mean
        return {"latent_coef_": coef[None], "thresholds_": shifted}


def log_probabilities(latent: Floats, thresholds: Floats) -> Floats:
    """Log P(y = k), (n, K, P), of latent values (n, P) and thresholds (K - 1, P).

    A grade whose thresholds are one is improbable, exp(-`FAR`).

    >>> np.exp(log_probabilities(np.array([[0.0]]), np.array([[-1.0], [1.0]]))).ravel().round(3)
    array([0.269, 0.462, 0.269])
    """
    gaps = np.diff(thresholds, axis=0)
    with np.errstate(divide="ignore"):
        between = np.maximum(np.log(-np.expm1(-gaps)), -FAR)  # (K - 2, P)
    below = special.log_expit(thresholds[None] - latent[:, None])  # η under each threshold
    above = special.log_expit(latent[:, None] - thresholds[None])
    found = np.zeros((len(latent), len(thresholds) + 1, latent.shape[1]))
    found[:, :-1] += below
    found[:, 1:] += above
    found[:, 1:-1] += between
    return found


# --------------------------------------------------------------------------- the solver


def cumulative_logits(
    codes: StandardisedCodes, y: Ints, rows: Floats, C: Floats, *,
    class_weight: str | None = None, tol: float = 3e-4,
) -> OrdinalModels:  # fmt: skip
    """Fit one proportional odds model for each training subset and each strength.

    Parameters
    ----------
    codes : what `standardise` gave, n rows.
    y : (n,) grade of each row, 0 .. K - 1.
    rows : (n, S) weight of each row in each of S subsets, 0 outside.
    C : (S, m) strengths of each subset, as in `linear.solve`.
    tol : error of the latent values relative to their spread, at which a problem counts as solved.

    Returns
    -------
    OrdinalModels
        S * m problems, the strengths of one subset side by side. A grade without rows in its subset
        lies between two thresholds that are one, or at the ends `FAR` away.
    """
    (n, d), (S, m) = codes.X.shape, C.shape
    K = int(y.max()) + 1
    weights = class_weights(y, rows, class_weight)
    centre, inverse = inside(codes, rows, weights)
    present = np.stack([rows[y == k].sum(axis=0) > 0 for k in range(K)])  # (K, S)
    coef, thresholds = np.zeros((d, S * m), np.float32), np.zeros((K - 1, S * m))
    unfinished = 0
    for pattern in np.unique(present, axis=1).T:
        subsets = np.flatnonzero((present == pattern[:, None]).all(axis=0))
        grade = (np.cumsum(pattern) - 1)[y]  # among those that are there; of no weight elsewhere
        problems = (subsets[:, None] * m + np.arange(m)).ravel()
        step = max(1, BLOCK // n)
        for start in range(0, len(problems) if pattern.sum() > 1 else 0, step):
            p = problems[start : start + step]
            s = p // m
            c = _start(np.maximum(grade, 0), weights[:, s], 1 / C.ravel()[p], centre[:, s],
                       inverse[:, s], int(pattern.sum()))  # fmt: skip
            v, theta, failed = _minimise(codes, c, tol)
            v *= inverse[:, s]
            coef[:, p] = v
            theta += np.einsum("dp,dp->p", v, centre[:, s])
            thresholds[:, p] = _with_absent(theta, pattern)
            unfinished += failed
        if pattern.sum() == 1:
            own = int(np.flatnonzero(pattern)[0])
            thresholds[:, problems] = np.where(np.arange(K - 1) < own, -FAR, FAR)[:, None]
    if unfinished:
        warnings.warn(
            f"{unfinished} of {S * m} ordinal fits stopped before tolerance {tol:g}; "
            "a smaller C or a larger tol converges sooner",
            RuntimeWarning,
            stacklevel=2,
        )
    return OrdinalModels(coef, thresholds)


def _with_absent(theta: Floats, pattern: NDArray[np.bool_]) -> Floats:
    """Thresholds (K - 1, P) of all grades, from those between the grades that are there."""
    ends = np.concatenate([theta[:1] - FAR, theta, theta[-1:] + FAR])
    found: Floats = ends[np.cumsum(pattern)[:-1]]  # above grade k: that above the last one there
    return found


@dataclass(eq=False)
class _Columns:
    """The problems still being solved; the last axis of every array but y counts them.

    y (n,) grades, of which all K have rows; one_hot (n, K). A (n, P) weights, W (K, P) their sums
    by grade. l (P,) = 1/C. centre, inverse (d, P). v (d, P), theta (K-1, P): the solution so far;
    eta (n, P) its latent values, low and high (n, P) the gradients by the two margins of each row.
    dv, dt the last direction; g, gt its gradient; drop its decrement; best and idle: progress.
    """

    y: Ints
    one_hot: Singles
    index: Ints
    A: Singles
    W: Floats
    l: Singles  # noqa: E741  the papers' λ
    centre: Singles
    inverse: Singles
    v: Singles
    theta: Floats
    eta: Singles
    dv: Singles
    dt: Floats
    g: Singles
    gt: Floats
    drop: Floats
    best: Floats
    idle: Ints

    def keep(self, mask: NDArray[np.bool_]) -> _Columns:
        parts = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return _Columns(
            **{
                name: array if name in ("y", "one_hot") else np.ascontiguousarray(array[..., mask])
                for name, array in parts.items()
            }
        )


def _start(
    y: Ints, A: Floats, penalty: Floats, centre: Singles, inverse: Singles, K: int
) -> _Columns:
    """Columns at v = 0, where the thresholds are known: the odds of the grades up to each."""
    (n, P), d = A.shape, len(centre)
    one_hot = np.eye(K, dtype=np.float32)[y]
    W = one_hot.T.astype(np.float64) @ A
    below = np.cumsum(W, axis=0)[:-1] / W.sum(axis=0)
    nothing, nought = np.zeros((d, P), np.float32), np.zeros((K - 1, P))
    infinite = np.full(P, np.inf)
    return _Columns(
        y=y, one_hot=one_hot, index=np.arange(P), A=A.astype(np.float32), W=W,
        l=penalty.astype(np.float32), centre=centre, inverse=inverse, v=nothing,
        theta=special.logit(below), eta=np.zeros((n, P), np.float32), dv=nothing, dt=nought,
        g=nothing, gt=nought, drop=infinite, best=infinite, idle=np.zeros(P, np.int64),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Slopes:
    """First and second derivatives at one point.

    R, H (n, P) by the latent value. up, low (n, P) second ones by the upper and lower margin. gt
    (K-1, P) by the thresholds; gap (K-2, P) second ones of the terms that keep them in order.
    """

    R: Singles
    H: Singles
    up: Singles
    low: Singles
    gt: Floats
    gap: Floats


def _slopes(c: _Columns, eta: Singles, theta: Floats) -> _Slopes:
    ends = np.full((1, theta.shape[1]), np.inf)
    cuts = np.concatenate([-ends, theta, ends]).astype(np.float32)  # (K + 1, P)
    above = 1 / (1 + np.exp(np.minimum(cuts[c.y + 1] - eta, 80)))  # σ of minus the upper margin
    under = 1 / (1 + np.exp(np.minimum(eta - cuts[c.y], 80)))
    r_up, r_low = c.A * above, c.A * under
    up, low = r_up * (1 - above), r_low * (1 - under)
    by_grade = np.stack([c.one_hot.T @ r_up, c.one_hot.T @ r_low]).astype(np.float64)
    gt = by_grade[1, 1:] - by_grade[0, :-1]
    gaps = np.diff(theta, axis=0)
    odds = 1 / np.expm1(gaps)
    pull = c.W[1:-1] * odds
    gt[1:] -= pull
    gt[:-1] += pull
    return _Slopes(r_up - r_low, up + low, up, low, gt, pull * (1 + odds))


def _curvature(c: _Columns, s: _Slopes, D: Singles, dt: Floats) -> Floats:
    """Second derivative of each problem's loss along latent values D and thresholds dt, (P,)."""
    ends = np.zeros((1, dt.shape[1]))
    cuts = np.concatenate([ends, dt, ends]).astype(np.float32)
    found = np.einsum("np,np->p", s.up, (cuts[c.y + 1] - D) ** 2)
    found += np.einsum("np,np->p", s.low, (D - cuts[c.y]) ** 2)
    return np.asarray(found + (s.gap * np.diff(dt, axis=0) ** 2).sum(axis=0))


def _minimise(codes: StandardisedCodes, c: _Columns, tol: float) -> tuple[Singles, Floats, int]:
    """Conjugate gradients on all columns; v (d, P), thresholds (K-1, P), and how many failed."""
    v, theta, failed = np.zeros_like(c.v), np.zeros_like(c.theta), 0
    s = _slopes(c, c.eta, c.theta)
    for _ in range(MAX_STEPS):
        g = _gradient(codes, c, s)
        z, zt = _precondition(codes, c, s, g)
        drop = np.einsum("dp,dp->p", g, z) + (s.gt * zt).sum(axis=0)  # Newton decrement²
        size = c.l * np.einsum("dp,dp->p", c.v, c.v) + np.einsum("np,np->p", s.H, c.eta**2)
        size = np.maximum(size, NOTHING**2 * c.A.sum(axis=0))
        c.idle = np.where(drop < c.best, 0, c.idle + 1)
        c.best = np.minimum(drop, c.best)
        done = drop <= tol**2 * size
        stalled = (c.idle >= STALLED) & ~done
        failed += int((stalled & (drop > (10 * tol) ** 2 * size)).sum())
        done |= stalled
        slope = _turn(c, (g, s.gt), (z, zt), drop)
        if done.any():
            v[:, c.index[done]], theta[:, c.index[done]] = c.v[:, done], c.theta[:, done]
            if done.all():
                return v, theta, failed
            c, slope = c.keep(~done), slope[~done]
            s = _slopes(c, c.eta, c.theta)
        s = _advance(codes, c, s, slope)
    v[:, c.index], theta[:, c.index] = c.v, c.theta
    return v, theta, failed + len(c.index)


def _gradient(codes: StandardisedCodes, c: _Columns, s: _Slopes) -> Singles:
    g: Singles = codes.X.T @ s.R
    g -= c.centre * s.R.sum(axis=0)
    g *= c.inverse
    g += c.l * c.v
    return g


def _precondition(
    codes: StandardisedCodes, c: _Columns, s: _Slopes, g: Singles
) -> tuple[Singles, Floats]:
    """Inverse of (mean curvature * XᵀX + l) times the gradient, and Newton's step of thresholds."""
    total = np.maximum(s.H.sum(axis=0), 1e-6 * c.A.sum(axis=0))
    values, basis = codes.eigen
    curved = values[:, None] * (total / len(c.A))
    q = basis.T @ g
    q *= curved / (curved + c.l)
    z = (g - basis @ q) / c.l
    k, P = s.gt.shape
    system = np.zeros((P, k, k))
    at = np.arange(k)
    system[:, at, at] = ((c.one_hot.T @ s.up)[:-1] + (c.one_hot.T @ s.low)[1:]).T
    system[:, at, at] += 1e-6 * c.A.sum(axis=0)[:, None]
    system[:, at[1:], at[1:]] += s.gap.T
    system[:, at[:-1], at[:-1]] += s.gap.T
    system[:, at[1:], at[:-1]] -= s.gap.T
    system[:, at[:-1], at[1:]] -= s.gap.T
    zt = np.linalg.solve(system, s.gt.T[..., None])[..., 0].T
    return z.astype(np.float32), zt


def _turn(
    c: _Columns, gradient: tuple[Singles, Floats], preconditioned: tuple[Singles, Floats],
    drop: Floats,
) -> Floats:  # fmt: skip
    """Set the new direction, conjugate to the last where that is downhill; its slope (P,)."""
    (g, gt), (z, zt) = gradient, preconditioned
    beta = np.maximum(drop - np.einsum("dp,dp->p", c.g, z) - (c.gt * zt).sum(axis=0), 0) / c.drop
    dv, dt = (beta * c.dv - z).astype(np.float32), beta * c.dt - zt
    slope = np.einsum("dp,dp->p", dv, g) + (dt * gt).sum(axis=0)
    uphill = slope >= 0
    dv[:, uphill], dt[:, uphill] = -z[:, uphill], -zt[:, uphill]
    c.dv, c.dt, c.g, c.gt, c.drop = dv, dt, g, gt, drop
    return np.where(uphill, -drop, slope)


def _advance(codes: StandardisedCodes, c: _Columns, s: _Slopes, slope: Floats) -> _Slopes:
    """Move every column to about the lowest point along its direction; the slopes there."""
    scaled = c.inverse * c.dv
    D: Singles = codes.X @ scaled
    D -= np.einsum("dp,dp->p", scaled, c.centre)
    curve = c.l * np.einsum("dp,dp->p", c.dv, c.dv)
    along = c.l * np.einsum("dp,dp->p", c.dv, c.v)
    gaps, closing = np.diff(c.theta, axis=0), -np.diff(c.dt, axis=0)
    meet = np.divide(gaps, closing, out=np.full_like(gaps, np.inf), where=closing > 0)
    low = np.zeros_like(slope)
    high = 0.99 * meet.min(axis=0, initial=np.inf)  # before two thresholds meet
    t = np.minimum(-slope / (curve + _curvature(c, s, D, c.dt)), high)
    for _ in range(20):  # Newton on the slope, kept inside the bracket
        eta, theta = (c.eta + t * D).astype(np.float32), c.theta + t * c.dt
        s = _slopes(c, eta, theta)
        now = along + t * curve + np.einsum("np,np->p", s.R, D) + (s.gt * c.dt).sum(axis=0)
        flat = (np.abs(now) <= 0.2 * np.abs(slope)) | ((now < 0) & (t >= high))
        if flat.all():
            break
        low, high = np.where(now < 0, t, low), np.where(now > 0, t, high)
        guess = t - now / (curve + _curvature(c, s, D, c.dt))
        middle = np.where(np.isinf(high), 2 * t, (low + high) / 2)
        t = np.where(flat, t, np.where((guess > low) & (guess < high), guess, middle))
    c.eta, c.theta = eta, theta
    c.v = (c.v + t * c.dv).astype(np.float32)
    return s


def solve_ordinal_alike(
    codes: StandardisedCodes, y: Ints, rows: Floats, strengths: Floats, total: float, **how: Any
) -> OrdinalModels:
    """`cumulative_logits` with strengths as all rows would have them (`linear.solve_alike`)."""
    return cumulative_logits(codes, y, rows, strengths * (total / rows.sum(axis=0))[:, None], **how)
