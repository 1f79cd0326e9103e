"""What twice the images would bring: power laws through the losses of a learning curve.

The loss of a classifier that learned from n images is taken to be ``a + b n^-c``: what no number
of images takes away, and what falls by the same share with every doubling (Cortes et al. 1994;
Hestness et al. 2017; Viering and Loog 2023 on where it does not hold). Four points do not tell c:
every c from 0, at which each doubling takes away as much, to 1.5 counts as much as it is likely by
the points, and what a law with it gives errs as they do.

A point errs in two ways. The images it was judged on are a sample: their influences, summed over
patients, give a covariance of all points. And those it learned from are one: draws of a share f of
the same images differ by ``(1 - f)`` of the variance that other images of that number would show,
from which, as a share of the loss alike at all points, follows what draws cannot show.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medgraft.types import Floats

EXPONENTS = np.linspace(0.0, 1.5, 16)
FUTURES = 4000  # losses that could come
WIDER = 1.2  # times the spread that is reckoned, by experiments/learning_curves.py
LEVEL = 0.95


@dataclass(frozen=True, eq=False, slots=True)
class Points:
    """A learning curve: m points, from the smallest share to all.

    shares : (m,) of the images learned from, the last 1. losses : (m,) above 0. judged : (m, m)
    covariance of the losses as images are judged. draws : (m,) variance among `repeats` (m,) draws
    of a share; nan where there is one only.
    """

    shares: Floats
    losses: Floats
    judged: Floats
    draws: Floats
    repeats: Floats


@dataclass(frozen=True, slots=True)
class Doubled:
    """The loss with twice the images, and how much less it is: value, low and high of each."""

    loss: tuple[float, float, float]
    gain: tuple[float, float, float]


def spread_of(points: Points) -> Floats:
    """Covariance (m, m) of the logarithms of the losses, by both ways in which points err."""
    relative = points.judged / np.outer(points.losses, points.losses)
    learned = (1 - points.shares) * points.losses**2
    known = np.isfinite(points.draws) & (learned > 0)
    alike = float(np.mean(points.draws[known] / learned[known])) if known.any() else 0.0
    own = alike * ((1 - points.shares) / points.repeats + points.shares)
    return np.asarray(relative + np.diag(own))


def double(points: Points, seed: int = 0) -> Doubled:
    """Loss and gain with twice the images of the last point, with their intervals.

    With the law written as ``loss + b (x^-c - 1) / c`` over the share x, whose last part at c = 0
    is ``-b log x``, `loss` is that of all images and b, never below 0, how fast it falls there.
    """
    losses = points.losses
    covariance = WIDER**2 * spread_of(points) * np.outer(losses, losses)
    precision = np.linalg.pinv(covariance, hermitian=True, rcond=1e-9)
    laws = [np.stack([np.ones(len(losses)), _fall(points.shares, c)], axis=1) for c in EXPONENTS]
    errors = [np.linalg.pinv(law.T @ precision @ law, hermitian=True) for law in laws]
    fits = [e @ law.T @ precision @ losses for e, law in zip(errors, laws, strict=True)]
    off = np.array([losses - law @ fit for law, fit in zip(laws, fits, strict=True)])
    misfit = np.einsum("cm,mk,ck->c", off, precision, off)
    likely = np.exp((misfit.min() - misfit) / 2)
    likely /= likely.sum()
    ahead = np.array([float(-_fall(np.array([2.0]), c)[0]) for c in EXPONENTS])
    falls = np.maximum([fit[1] for fit in fits], 0) * ahead
    value = likely @ np.stack([[fit[0] for fit in fits], falls], axis=1)
    rng = np.random.default_rng(seed)
    which = rng.choice(len(EXPONENTS), FUTURES, p=likely)
    roots = np.array([_root(one) for one in errors])
    drawn = np.array(fits)[which]
    drawn = drawn + np.einsum("fij,fj->fi", roots[which], rng.standard_normal((FUTURES, 2)))
    gain = np.maximum(drawn[:, 1], 0) * ahead[which]
    loss = np.maximum(drawn[:, 0] - gain, 0)
    return Doubled(
        loss=(float(max(value[0] - value[1], 0)), *_ends(loss)),
        gain=(float(value[1]), *_ends(gain)),
    )


def _ends(drawn: Floats) -> tuple[float, float]:
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _fall(shares: Floats, exponent: float) -> Floats:
    """(x^-c - 1) / c, and at c = 0 what that goes to."""
    return np.asarray((shares**-exponent - 1) / exponent if exponent else -np.log(shares))


def _root(covariance: Floats) -> Floats:
    """A square root of a covariance that may be singular."""
    values, basis = np.linalg.eigh(covariance)
    return np.asarray(basis * np.sqrt(np.maximum(values, 0)))
