"""What unlabelled images of another place say: how often labels may be right, and a threshold.

Nothing here sees a label of the new place, so nothing here is a measurement. Two estimates of the
accuracy there are known to be the best of their kind, and both rest on how sure the classifier is:
**ATC**, average thresholded confidence (Garg et al., ICLR 2022): as many labels are right as are
given with more confidence than a bound, which is set so that this is true out of fold. **DoC**,
difference of confidences (Guillory et al., ICCV 2021): accuracy falls as much as mean confidence.
A classifier that errs with confidence deceives both; how far they are off where labels are known
stands in docs/results/shift.md.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from medgraft.evaluate.intervals import (
    DEFAULT,
    Sampling,
    Statistic,
    Weights,
    bootstrap,
    describe_bootstrap,
    not_of_nothing,
    percentile,
)
from medgraft.types import Estimate, Floats, Strings

# From the truth, in the middle and in one of ten of 168 shifted cells (docs/results/shift.md).
OFF, OFF_AT_WORST = 0.04, 0.28


@dataclass(frozen=True, slots=True)
class ExpectedAccuracy:
    """How often labels were right out of fold, and may be right elsewhere, by two estimates."""

    out_of_fold: Estimate
    atc: Estimate
    doc: Estimate

    def json(self) -> dict[str, Any]:
        """The same as plain JSON."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Labelled:
    """Labels that a classifier gave, out of fold: how sure it was, whether each is right.

    confidence : (n,) the stated probability that the label is right. right : (n,) bool.
    groups : (n,).
    """

    confidence: Floats
    right: NDArray[np.bool_]
    groups: Strings


def expected_accuracy(
    known: Labelled, confidence: Floats, groups: Strings, sampling: Sampling = DEFAULT
) -> ExpectedAccuracy:
    """The share of right labels among images without labels, by ATC and by DoC.

    Intervals are percentile bootstraps over the groups of both sides. They hold the chance of these
    draws, and not that confidence means less elsewhere, which is the larger error.

    Parameters
    ----------
    known : out of fold. confidence : (m,) of the labels given to the new images. groups : (m,).

    Examples
    --------
    Four in five are right, so the bound is the lowest fifth's end, .6; half of the new are above.

    >>> ten = np.arange(10).astype(str)
    >>> sure = np.array([0.5, 0.5, 0.6, 0.7, 0.8, 0.8, 0.8, 0.9, 0.9, 0.9])
    >>> found = expected_accuracy(Labelled(sure, np.arange(10) >= 2, ten), sure - 0.2, ten)
    >>> found.out_of_fold.value, found.atc.value, round(found.doc.value, 3)
    (0.8, 0.6, 0.6)
    """
    n, m = len(known.right), len(confidence)
    bound, accuracy, mean = _of_known(known)(np.ones((n, 1)))
    above, sure = _of_new(confidence, bound)(np.ones((m, 1)))
    bounds, accuracies, means = bootstrap(_of_known(known), known.groups, sampling)
    # Both sides are drawn on their own: with another seed equal groups are not drawn alike.
    other = Sampling(sampling.seed + 1, sampling.resamples, sampling.level)
    shares, confidences = bootstrap(_of_new(confidence, bounds), groups, other)
    how = describe_bootstrap(groups, sampling)

    def estimate(name: str, found: Floats, samples: Floats, of: Strings) -> Estimate:
        value = float(np.clip(found[0], 0, 1))
        low, high = percentile(np.clip(samples, 0, 1), sampling)
        one = Estimate(value, min(low, value), max(high, value), len(of), f"{name}, {how}")
        return not_of_nothing(one, of, sampling)

    return ExpectedAccuracy(
        estimate("out of fold", accuracy, accuracies, known.groups),
        estimate("ATC", above, shares, groups),
        estimate("DoC", accuracy - mean + sure, accuracies - means + confidences, groups),
    )


def matching_threshold(p: Floats, share: float) -> float:
    """The threshold from which on `share` of the images are labelled positive, as nearly as can be.

    It lies in the middle between two observed probabilities; 0 and 1 bound the outermost.

    Parameters
    ----------
    p : (n,) probability of the positive class. share : 0 .. 1.

    Examples
    --------
    >>> matching_threshold(np.array([0.1, 0.2, 0.6, 0.9]), 0.25)
    0.75
    """
    values, counts = np.unique(p, return_counts=True)
    positives = np.append(np.cumsum(counts[::-1])[::-1], 0)  # at or above values[c]; none at all
    cut = int(np.argmin(np.abs(positives - share * len(p))))
    edges = np.concatenate([[min(0.0, values[0])], values, [max(1.0, values[-1])]])
    middle = float(edges[cut] + edges[cut + 1]) / 2
    return middle if middle > edges[cut] else float(edges[cut + 1])


def halfway(before: float, after: float, part: float = 0.5) -> float:
    """The threshold so far from one to another, in log odds; the other itself for all of the way.

    >>> round(halfway(0.5, 0.9), 3)
    0.75
    """
    both = special.logit(np.clip([before, after], 1e-9, 1 - 1e-9))
    return after if part == 1 else float(special.expit(both[0] + part * (both[1] - both[0])))


def _of_known(known: Labelled) -> Statistic:
    """A statistic: (3, n_resamples) ATC's bound, the share of right labels, mean confidence."""
    order = np.argsort(known.confidence, kind="stable")
    ordered, right = known.confidence[order], known.right[order].astype(np.float64)

    def statistic(weights: Weights) -> Floats:
        drawn = np.asarray(weights, np.float64)[order]
        total = drawn.sum(axis=0)
        accuracy = right @ drawn / total
        # The lowest images that are as many as the wrong ones lie below the bound.
        below = (drawn.cumsum(axis=0) <= total * (1 - accuracy) + 1e-9).sum(axis=0)
        bound = np.append(ordered, np.inf)[below]
        return np.stack([bound, accuracy, ordered @ drawn / total])

    return statistic


def _of_new(confidence: Floats, bounds: Floats) -> Statistic:
    """A statistic: (2, n_resamples) the share at or above its bound, and mean confidence.

    bounds : (n_resamples,) of all resamples, in the order in which they will be drawn.
    """
    order = np.argsort(confidence, kind="stable")
    ordered = np.asarray(confidence, np.float64)[order]
    done = 0

    def statistic(weights: Weights) -> Floats:
        nonlocal done
        drawn = np.asarray(weights, np.float64)[order]
        mine = bounds[done : done + drawn.shape[1]]
        done += drawn.shape[1]
        sums = np.vstack([np.zeros(drawn.shape[1]), drawn.cumsum(axis=0)])
        below = sums[np.searchsorted(ordered, mine), np.arange(len(mine))]
        return np.stack([1 - below / sums[-1], ordered @ drawn / sums[-1]])

    return statistic
