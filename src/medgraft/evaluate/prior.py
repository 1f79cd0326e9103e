"""How classes are mixed in new, unlabelled images, and what that makes of their probabilities.

A classifier that learned where three in four are ill expects three in four everywhere. Where the
mix is another one, its probabilities are off, although what it knows of an image is still right.
Saerens, Latinne and Decaestecker ("Adjusting the outputs of a classifier to new a priori
probabilities", Neural Computation 14, 2002) find the new mix from the probabilities alone. With
p_ik the calibrated probability of class k for image i and q_k its share in training, the shares s
of n new images maximise

    l(s) = sum_i log( sum_k (s_k / q_k) p_ik ),    s_k <- mean_i p'_ik,    p'_ik ~ (s_k / q_k) p_ik

of which the arrow is the EM step and p' the adjusted probabilities, rows summing to 1.

**What it assumes.** Only the mix changed: the images of one class look as those of that class did
in training (p(image | class) is the same), and the probabilities are calibrated. That cannot be
checked without labels. Another machine, exposure or severity moves probabilities too, and is taken
for another mix, with a small p and a narrow interval (`tests/evaluate/test_prior.py` shows it).
The intervals hold the chance of the draw of these images, not such errors nor the calibrator's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from medgraft.errors import DataError
from medgraft.evaluate.intervals import (
    DEFAULT,
    Sampling,
    Weights,
    bootstrap,
    describe_bootstrap,
    design_effect,
    not_of_nothing,
    number_groups,
    ones,
    percentile,
)
from medgraft.types import Estimate, Floats, Strings

LEAST = 20  # images from which shares are estimated
STEPS = 5000  # of EM at most
EXACT, CLOSE = 1e-9, 1e-3  # nats from the highest likelihood: of these images, of a resample
TINY = 1e-300


@dataclass(frozen=True, slots=True)
class PriorShift:
    """The shares of the classes in new images, and whether they differ from those in training.

    training : (n_classes,). shares : an Estimate each, which sum to 1. statistic, p : of the
    likelihood-ratio test against the training shares; a small p says that something changed, and
    that it is the mix is the assumption (see above).
    """

    training: tuple[float, ...]
    shares: tuple[Estimate, ...]
    statistic: float
    p: float
    method: str

    @property
    def values(self) -> NDArray[np.float64]:
        """The estimated shares alone, (n_classes,), to adjust by.

        None is below that of half an image: what was not seen here may still be there.
        """
        found = np.maximum([share.value for share in self.shares], 0.5 / self.shares[0].n)
        return np.asarray(found / found.sum())

    def json(self) -> dict[str, Any]:
        """The same as plain JSON."""
        return asdict(self)


def estimate_shares(
    prob: Floats, training: Sequence[float] | Floats, groups: Strings, sampling: Sampling = DEFAULT
) -> PriorShift:
    """The class shares of unlabelled images by maximum likelihood (Saerens et al. 2002).

    The interval is the percentile bootstrap over groups. The test is theirs: twice the gain in
    log likelihood over the training shares is chi-square with n_classes - 1 degrees of freedom
    where nothing changed. It counts images as independent, so where groups hold several it is
    divided by their design effect, as if a group's images told one thing.

    Parameters
    ----------
    prob : (n_images, n_classes) calibrated probabilities, of images that nothing was learned from.
    training : (n_classes,) shares of the images that the probabilities were calibrated on.
    groups : (n_images,).

    Raises
    ------
    DataError
        Fewer than 20 images, probabilities that are none, or training shares that are none (a
        class of share 0 can never be found).

    Examples
    --------
    A test that finds 80 % of the ill and 90 % of the healthy, learned where half were ill, is
    positive in 45 of 100: s 0.8 + (1 - s) 0.1 = 0.45, so that half of them are ill.

    >>> positive, negative = [0.1 / 0.9, 0.8 / 0.9], [0.9 / 1.1, 0.2 / 1.1]
    >>> prob = np.array([positive] * 45 + [negative] * 55)
    >>> found = estimate_shares(prob, (0.5, 0.5), np.arange(100).astype(str))
    >>> round(found.shares[1].value, 3), found.p > 0.99
    (0.5, True)
    """
    prob = check_probabilities(prob)
    n, n_classes = prob.shape
    q = check_shares(training, n_classes)
    if n < LEAST:
        raise DataError(
            f"{n} images say too little of how classes are mixed; give at least {LEAST}, or say "
            "the shares yourself"
        )
    ratio = prob / q
    shares = _most_likely(ratio, ones(n), q, EXACT)[:, 0]

    def resampled(weights: Weights) -> Floats:
        return _most_likely(ratio, weights, shares, CLOSE)

    samples = bootstrap(resampled, groups, sampling)
    how = f"EM, {describe_bootstrap(groups, sampling)}"
    found = []
    for share, row in zip(shares.tolist(), samples, strict=True):
        low, high = percentile(row, sampling)
        one = Estimate(share, min(low, share), max(high, share), n, how)
        found.append(not_of_nothing(one, groups, sampling))
    gain = np.log(np.maximum(ratio @ shares, TINY)) - np.log(np.maximum(ratio @ q, TINY))
    effect = design_effect(groups)
    statistic = max(0.0, 2 * float(gain.sum()) / effect)
    n_groups = number_groups(groups)[1]
    scaled = "" if n_groups == n else f", divided by {effect:.3g} for images of {n_groups} groups"
    return PriorShift(
        training=tuple(q.tolist()),
        shares=tuple(found),
        statistic=statistic,
        p=float(stats.chi2.sf(statistic, n_classes - 1)),
        method=f"likelihood ratio, chi-square with {n_classes - 1} degrees of freedom{scaled}",
    )


def adjust(
    prob: Floats, training: Sequence[float] | Floats, shares: Sequence[float] | Floats
) -> NDArray[np.float64]:
    """Probabilities (n_images, n_classes) as they are where classes have other shares.

    p'_ik ~ (s_k / q_k) p_ik, rows summing to 1, for shares s instead of the training's q.

    Raises
    ------
    DataError
        Probabilities or shares that are none, or a class of share 0.

    Examples
    --------
    >>> adjust(np.array([[0.5, 0.5]]), (0.5, 0.5), (0.9, 0.1)).round(6)
    array([[0.9, 0.1]])
    """
    prob = check_probabilities(prob)
    q, s = (check_shares(some, prob.shape[1]) for some in (training, shares))
    unscaled = prob * (s / q)
    adjusted: NDArray[np.float64] = unscaled / unscaled.sum(axis=1, keepdims=True)
    return adjusted


def check_probabilities(prob: Floats) -> NDArray[np.float64]:
    """Probabilities (n_images, n_classes) in float64, refused where they are none."""
    given: NDArray[np.float64] = np.asarray(prob, np.float64)
    if given.ndim != 2 or given.shape[1] < 2:
        raise DataError(
            f"probabilities have shape {given.shape}; give (n_images, n_classes), two classes or "
            "more"
        )
    wrong = ~(np.isfinite(given).all(axis=1) & (given >= 0).all(axis=1))
    wrong |= np.abs(given.sum(axis=1) - 1) > 1e-6
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"row {row} of the probabilities is {given[row].tolist()}; rows are from 0 to 1 and "
            "sum to 1: pass calibrated probabilities, not scores"
        )
    return given


def check_shares(shares: Sequence[float] | Floats, n_classes: int) -> NDArray[np.float64]:
    """Shares (n_classes,) that sum to 1 exactly, refused where they are none or one is 0."""
    given = np.asarray(shares, np.float64)
    if given.shape != (n_classes,):
        raise DataError(
            f"{given.size} shares for {n_classes} classes; give one a class, in their order"
        )
    if not ((given > 0) & (given < 1)).all() or abs(given.sum() - 1) > 0.01:
        raise DataError(
            f"{', '.join(f'{x:g}' for x in given)} are no shares of classes; each is above 0 (what "
            "is never there cannot be found) and together they are 1"
        )
    checked: NDArray[np.float64] = given / given.sum()
    return checked


def _most_likely(ratio: Floats, weights: Weights, start: Floats, nats: float) -> Floats:
    """Shares (n_classes, n_resamples) of the highest likelihood, by EM.

    ratio : (n, n_classes) p_ik / q_k. weights : (n, n_resamples). start : (n_classes,).
    nats : how far from the highest log likelihood a resample may stop. That is known: the log
    likelihood is concave, so that its gradient's largest part bounds what is still to be gained.
    """
    shares = np.repeat(np.asarray(start, np.float64)[:, None], weights.shape[1], axis=1)
    total = weights.sum(axis=0, dtype=np.float64)
    going = np.arange(weights.shape[1])
    drawn = np.asarray(weights, np.float64)
    for _ in range(STEPS):
        density = np.maximum(ratio @ shares[:, going], TINY)  # (n, still going)
        gain = ratio.T @ (drawn / density) / total[going]  # (n_classes, still going)
        shares[:, going] *= gain
        left = total[going] * (gain.max(axis=0) - 1) > nats
        if not left.any():
            break
        if not left.all():
            going, drawn = going[left], drawn[:, left]
    return shares
