"""Made-up CNN codes whose classes' distance is known, and what a model of them is truly worth.

50 features, unit variance. Two classes lie `delta` apart, the difference spread over ten features;
of eight, each has a feature of its own that is `delta` higher. A patient's images share its class
and half of the noise's variance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize, special, stats

from medgraft.types import Floats, ImageTable, Ints, Source
from proof.scores import NAMES, POSITIVE, noise, numbered, patients

FEATURES = 50
CARRIERS = 10  # features that tell two classes apart


@dataclass(frozen=True, slots=True)
class World:
    """Where data come from: how many classes, and how far apart they lie."""

    classes: int
    delta: float
    features: int = FEATURES

    def draw(self, rng: np.random.Generator, n: int, size: int = 1) -> tuple[Floats, Ints, Ints]:
        """Codes (n, features) float32, class (n,) and patient (n,) of n images."""
        even = (1 / self.classes,) * self.classes
        shares = (1 - POSITIVE, POSITIVE) if self.classes == 2 else even
        y, patient = patients(rng, n, size, shares)
        return self.codes(rng, y, patient), y, patient

    def codes(self, rng: np.random.Generator, y: Ints, patient: Ints) -> Floats:
        """Codes of images whose classes and patients are given."""
        X = noise(rng, patient, self.features)
        if self.classes == 2:
            X[:, :CARRIERS] += self.delta / np.sqrt(CARRIERS) * (y[:, None] - 0.5)
        else:
            X[np.arange(len(y)), y] += self.delta
        return X.astype(np.float32)


def table_of(y: Ints, patient: Ints, classes: int, splits: str = "train") -> ImageTable:
    """A table of images that were never made; its names are numbers."""
    ids = numbered(np.arange(len(y)))
    return ImageTable(
        ids=ids,
        sources=tuple(map(Source, ids.tolist())),
        content_hashes=ids,
        labels=y,
        groups=numbered(patient),
        splits=np.full(len(y), splits),
        masks=np.full(len(y), ""),
        classes=NAMES[:classes],
        positive="b" if classes == 2 else None,
    )


# --------------------------------------------------------------------------- judging on many images


def auroc(y: Ints, log_p: Floats) -> float:
    """Macro one-against-rest, by ranks, of log probabilities (n, n_classes)."""
    areas = []
    for c in [1] if log_p.shape[1] == 2 else range(log_p.shape[1]):
        ranks, yes = stats.rankdata(log_p[:, c]), y == c
        p = int(yes.sum())
        areas.append((ranks[yes].sum() - p * (p + 1) / 2) / (p * (len(y) - p)))
    return float(np.mean(areas))


def recalibrated(y: Ints, scores: Floats) -> tuple[float, Floats]:
    """The slope of the best `softmax(slope * scores + biases)` of these images, and its log p.

    Newton's method on the log loss, steps halved until they help. Of log probabilities the slope
    is the calibration slope: 1 where they are right, below where they are too sure.
    """
    n, k = scores.shape
    design = np.zeros((n, k, k))  # the slope, and a bias for each class but the first
    design[:, :, 0] = scores - scores.mean(axis=1, keepdims=True)
    design[:, np.arange(1, k), np.arange(1, k)] = 1.0
    rows, theta = np.arange(n), np.zeros(k)
    scale = float(design[:, :, 0].std()) or 1.0
    design[:, :, 0] /= scale
    log_p = special.log_softmax(design @ theta, axis=1)
    for _ in range(50):
        p = np.exp(log_p)
        mean = np.einsum("nk,nkp->np", p, design)
        gradient = (mean - design[rows, y]).sum(axis=0)
        weighed = (np.sqrt(p)[:, :, None] * design).reshape(n * k, k)
        curvature = weighed.T @ weighed - mean.T @ mean + 1e-6 * np.eye(k)
        step, size = np.linalg.solve(curvature, gradient), 1.0
        before = log_p[rows, y].sum()
        while size > 1e-6:
            log_p = special.log_softmax(design @ (theta - size * step), axis=1)
            if log_p[rows, y].sum() >= before:
                break
            size /= 2
        theta = theta - size * step
        if log_p[rows, y].sum() - before < 1e-6:
            break
    return float(theta[0]) / scale, log_p


def intercept(y: Ints, prob: Floats) -> float:
    """What must be added to the log odds of the second class for its mean probability to be right.

    0 where probabilities (n, 2) are neither too high nor too low on the whole.
    """
    logit = special.logit(np.clip(prob[:, 1], 1e-12, 1 - 1e-12))
    share = (y == 1).mean()
    return float(optimize.brentq(lambda a: special.expit(logit + a).mean() - share, -50, 50))


def log_loss(y: Ints, log_p: Floats) -> float:
    """The mean of what the true class's probability loses, none below 1e-7."""
    return -float(np.maximum(log_p[np.arange(len(y)), y], np.log(1e-7)).mean())


def balanced_accuracy(y: Ints, given: Ints) -> float:
    """The mean recall."""
    return float(np.mean([(given[y == c] == c).mean() for c in np.unique(y)]))


def best_balanced_accuracy(y: Ints, log_p: Floats) -> float:
    """Of two classes the best over all thresholds, of more by the most probable when recalibrated.

    The classes' shares are equal where there are more than two.
    """
    if log_p.shape[1] > 2:
        return balanced_accuracy(y, recalibrated(y, log_p)[1].argmax(axis=1))
    order = np.argsort(log_p[:, 1])
    yes = y[order] == 1
    below = np.cumsum(~yes) / (~yes).sum() + 1 - np.cumsum(yes) / yes.sum()
    return float(below.max()) / 2
