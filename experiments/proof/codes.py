"""Made-up CNN codes whose classes' distance is known, and medgraft's own way from codes to a model.

50 features, unit variance. Two classes lie `delta` apart, the difference spread over ten features;
of eight, each has a feature of its own that is `delta` higher. A patient's images share its class
and half of the noise's variance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from medgraft.data.split import make_folds
from medgraft.evaluate.calibration import Calibrator, choose_threshold
from medgraft.learn.crossed import calibrator_of, judged
from medgraft.learn.estimators import KNNHead
from medgraft.learn.heads import HEADS, Head, NestedScores, nested_scores
from medgraft.types import Floats, Folds, ImageTable, Ints, Predictions, Source
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


# --------------------------------------------------------------------------- the product's own way


@dataclass(frozen=True, eq=False)
class Crossed:
    """What cross-validation leaves of a head: out of fold, and what is deployed."""

    head: str
    nested: NestedScores
    folds: Folds
    predictions: Predictions
    calibrator: Calibrator
    threshold: float

    def deployed(self, X: Floats) -> Floats:
        """Scores (n, n_classes) of new images before calibration."""
        return np.asarray(self.nested.head.decision_function(X))


def cross(head: str, X: Floats, table: ImageTable, folds: Folds) -> Crossed:
    """Cross-validate a head on codes as a study does; the one place that knows how."""
    nested = nested_scores(
        head, X, table.labels, folds.assignment, folds.n_folds, groups=table.groups
    )
    return finish(head, nested, nested.scores, table, folds)


def finish(
    head: str, nested: NestedScores, scores: Floats, table: ImageTable, folds: Folds
) -> Crossed:
    """Probabilities, the deployed calibrator and threshold, as a study makes them."""
    kept = judged(scores, table, folds, 0.0)
    said = Predictions.of(head, table, kept["scores"], kept["y_prob"], folds.assignment)
    threshold = choose_threshold(said).threshold if table.positive else np.nan
    return Crossed(head, nested, folds, said, calibrator_of(kept), threshold)


def cross_images(head: str, X: Floats, y: Ints, patient: Ints, classes: int) -> Crossed:
    """`cross` of drawn images, in five folds."""
    table = table_of(y, patient, classes)
    return cross(head, X, table, make_folds(table))


def fold_models(one: Crossed, X: Floats, y: Ints) -> list[Head]:
    """The models that judged, fitted again at the strengths that were chosen.

    Their scores are the ones that `nested_scores` gave, to four digits; it keeps no models.
    """
    models = []
    for k, strength in enumerate(one.nested.chosen):
        inside = one.folds.assignment != k
        kind = HEADS[one.head]
        model = KNNHead(int(strength)) if kind is KNNHead else kind(strength)  # type: ignore[arg-type]
        models.append(model.fit(X[inside], y[inside]))
    return models


# --------------------------------------------------------------------------- judging on many images


def auroc(y: Ints, scores: Floats) -> float:
    """Macro one-against-rest, by ranks, of scores (n, n_classes)."""
    areas = []
    for c in [1] if scores.shape[1] == 2 else range(scores.shape[1]):
        ranks, yes = stats.rankdata(scores[:, c]), y == c
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


def log_loss(y: Ints, log_p: Floats) -> float:
    """The mean of what the true class's probability loses, none below 1e-7."""
    return -float(np.maximum(log_p[np.arange(len(y)), y], np.log(1e-7)).mean())


def balanced_accuracy(y: Ints, given: Ints) -> float:
    """The mean recall."""
    return float(np.mean([(given[y == c] == c).mean() for c in np.unique(y)]))


def best_balanced_accuracy(y: Ints, scores: Floats) -> float:
    """Of two classes the best over all thresholds, of more by the most probable when recalibrated.

    The classes' shares are equal where there are more than two.
    """
    if scores.shape[1] > 2:
        return balanced_accuracy(y, recalibrated(y, scores)[1].argmax(axis=1))
    order = np.argsort(scores[:, 1])
    yes = y[order] == 1
    below = np.cumsum(~yes) / (~yes).sum() + 1 - np.cumsum(yes) / yes.sum()
    return float(below.max()) / 2
