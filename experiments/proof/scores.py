"""Calibrated probabilities whose every metric is known.

Two classes: the score of an image is normal, `d` standard deviations apart between the classes, and
its probability is the true one (or too sure by `stretch`). A patient's images share its class and
half of the noise's variance. Several scenarios share `rho` of their noise's variance. Eight
classes: a score each, the true class's `d` higher.

The truth of two classes is integrated on a grid, that of eight comes from scikit-learn on 400,000
images; nothing of `medgraft.evaluate` is asked.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import special, stats
from sklearn import metrics

from medgraft.types import Floats, Ints, Predictions, Strings

POSITIVE = 0.4  # of the patients
SHARED = 0.5  # of the noise's variance, by a patient's images
THRESHOLD = 0.4
NAMES = tuple("abcdefgh")
EIGHT = {0.76: 0.917, 0.92: 1.737, 0.98: 2.434}  # how far apart eight classes lie for that AUROC


def distance(auroc: float) -> float:
    """How many standard deviations two classes lie apart for that AUROC, Phi(d / sqrt 2)."""
    return float(np.sqrt(2) * stats.norm.ppf(auroc))


def true_auroc(d: float) -> float:
    """The inverse of `distance`."""
    return float(stats.norm.cdf(d / np.sqrt(2)))


def patients(
    rng: np.random.Generator, n: int, size: float, shares: Sequence[float]
) -> tuple[Ints, Ints]:
    """Class (n,) and patient (n,) of n images, patients of 1 + Poisson(size - 1) images.

    Every class has two patients at least, as a study asks for.
    """
    while True:
        sizes = 1 + rng.poisson(size - 1, n)
        patient = np.repeat(np.arange(n), sizes)[:n]
        label = rng.choice(len(shares), patient[-1] + 1, p=shares)
        if np.bincount(label, minlength=len(shares)).min() >= 2:
            return label[patient].astype(np.int64), patient


def noise(rng: np.random.Generator, patient: Ints, columns: int) -> Floats:
    """(n, columns) standard normal, `SHARED` of the variance common to a patient's images."""
    own = rng.normal(size=(len(patient), columns))
    if patient[-1] + 1 == len(patient):
        return own
    common = rng.normal(size=(patient[-1] + 1, columns))[patient]
    return np.asarray(np.sqrt(SHARED) * common + np.sqrt(1 - SHARED) * own)


def two_classes(
    rng: np.random.Generator,
    n: int,
    size: float,
    d: Sequence[float],
    rho: float = 0.0,
    stretch: float = 1.0,
    folds: bool = False,
) -> list[Predictions]:
    """One Predictions a scenario, `d` its classes' distance, all of the same images.

    folds : as if out of fold, each image judged by one of five models that are equally good.
    """
    y, patient = patients(rng, n, size, (1 - POSITIVE, POSITIVE))
    apart = np.asarray(d, np.float64)
    own = noise(rng, patient, len(apart))
    score = (
        own if len(apart) == 1 else np.sqrt(rho) * noise(rng, patient, 1) + np.sqrt(1 - rho) * own
    )
    logit = stretch * (apart * (score + apart * (y[:, None] - 0.5)) + special.logit(POSITIVE))
    fold = five_folds(y, patient) if folds else -1
    return [
        predictions(y, special.expit(one), patient, f"s{k}", fold) for k, one in enumerate(logit.T)
    ]


def five_folds(y: Ints, patient: Ints) -> Ints:
    """Deal every class's patients to five folds in turn, (n,)."""
    first = np.flatnonzero(np.diff(patient, prepend=-1))
    fold = np.empty(len(first), np.int64)
    for c in np.unique(y[first]):
        mine = y[first] == c
        fold[mine] = np.arange(mine.sum()) % 5
    return fold[patient]


def eight_classes(rng: np.random.Generator, n: int, size: float, d: float) -> Predictions:
    """Predictions of eight classes, all as frequent."""
    y, patient = patients(rng, n, size, (1 / 8,) * 8)
    score = noise(rng, patient, 8)
    score[np.arange(n), y] += d
    return predictions(y, special.softmax(d * score, axis=1), patient)


def predictions(
    y: Ints,
    prob: Floats,
    patient: Ints | None = None,
    key: str = "s",
    fold: Ints | int = -1,
    split: str = "train",
) -> Predictions:
    """Predictions of n images from p, (n,) of the positive class or (n, n_classes) of each."""
    p = np.stack([1 - prob, prob], axis=1) if prob.ndim == 1 else prob
    n, ids = len(y), numbered(np.arange(len(y)))
    return Predictions(
        scenario=key,
        classes=NAMES[: p.shape[1]],
        positive="b" if p.shape[1] == 2 else None,
        ids=ids,
        groups=ids if patient is None else numbered(patient),
        splits=np.full(n, split),
        fold=np.broadcast_to(np.asarray(fold, np.int64), n),
        y_true=y,
        scores=np.log(np.maximum(p, 1e-12)),
        y_prob=p,
    )


def numbered(index: Ints) -> Strings:
    """(n,) a name for each number, the same for equal ones."""
    return np.strings.mod(np.full(len(index), "i%05d"), index)


# --------------------------------------------------------------------------- the truth


@functools.cache
def truth_of_two(d: float, stretch: float = 1.0) -> Mapping[str, float]:
    """Every metric of an endless number of images, labelled at `THRESHOLD`."""
    x = np.linspace(-12, 12, 200_001)
    ill, well = (s * stats.norm.pdf(x, c * d / 2) for c, s in ((1, POSITIVE), (-1, 1 - POSITIVE)))
    ill, well = ill / ill.sum() * POSITIVE, well / well.sum() * (1 - POSITIVE)
    logit = stretch * (d * x + special.logit(POSITIVE))
    p, called = special.expit(logit), logit >= special.logit(THRESHOLD)
    tp, fp = float(ill[called].sum()), float(well[called].sum())
    fn, tn = POSITIVE - tp, 1 - POSITIVE - fp
    above_ill, above_well = np.cumsum(ill[::-1])[::-1], np.cumsum(well[::-1])[::-1]
    precision = above_ill / (above_ill + above_well)
    spread = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return {
        "accuracy": tp + tn,
        "balanced_accuracy": (tp / POSITIVE + tn / (1 - POSITIVE)) / 2,
        "auroc": true_auroc(d),
        "auprc": float((ill * precision).sum() / POSITIVE),
        "macro_f1": (2 * tp / (2 * tp + fp + fn) + 2 * tn / (2 * tn + fp + fn)) / 2,
        "mcc": (tp * tn - fp * fn) / float(np.sqrt(spread)),
        "brier": float((ill * (1 - p) ** 2 + well * p**2).sum()),
        "log_loss": -float(
            (ill * special.log_expit(logit) + well * special.log_expit(-logit)).sum()
        ),
        "ece": float(np.abs(ill - p * (ill + well)).sum()),
        "sensitivity": tp / POSITIVE,
        "specificity": tn / (1 - POSITIVE),
        "ppv": tp / (tp + fp),
        "npv": tn / (tn + fn),
    }


@functools.cache
def truth_of_eight(d: float) -> Mapping[str, float]:
    """The same of eight classes, labelled by the most probable one."""
    judged = eight_classes(np.random.default_rng(8), 400_000, 1, d)
    y, p = judged.y_true, judged.y_prob
    given, truth = p.argmax(axis=1), np.eye(8)[y]
    return {
        "accuracy": metrics.accuracy_score(y, given),
        "balanced_accuracy": metrics.balanced_accuracy_score(y, given),
        "auroc": metrics.roc_auc_score(truth, p, average="macro"),
        "auprc": metrics.average_precision_score(truth, p, average="macro"),
        "macro_f1": metrics.f1_score(y, given, average="macro"),
        "mcc": metrics.matthews_corrcoef(y, given),
        "brier": float(((p - truth) ** 2).sum(axis=1).mean()),
        "log_loss": metrics.log_loss(y, p),
        "ece": 0.0,
    }
