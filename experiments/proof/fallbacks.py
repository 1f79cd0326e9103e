"""Data that leave nothing to resample: no interval may be nan, without width, or [1, 1].

Each run counts the intervals and p values that are, over all metrics; none is allowed.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from scipy import special

from medgraft.evaluate.compare import compare
from medgraft.evaluate.estimates import evaluate
from medgraft.evaluate.winners_curse import bias_corrected
from medgraft.types import Estimate, Ints, Operating, Predictions
from proof.cell import Bound, Cell
from proof.codes import World, table_of
from proof.comparisons import RESAMPLES
from proof.product import cross
from proof.scores import THRESHOLD, five_folds, predictions

Case = Callable[[np.random.Generator], Predictions]


def cells() -> Iterator[Cell]:
    """Twenty draws of each case, two classes and eight."""
    cases: dict[str, Case] = {
        "perfect separation, 20 images": partial(separated, n=20, size=1, classes=2),
        "perfect separation, 300 images": partial(separated, n=300, size=1, classes=2),
        "perfect separation, patients of 10": partial(separated, n=300, size=10, classes=2),
        "perfect separation, 8 classes": partial(separated, n=160, size=1, classes=8),
        "equal scores": partial(equal, classes=2),
        "equal scores, 8 classes": partial(equal, classes=8),
        "a class in one patient": lonely,
        "one patient in all": one_patient,
        "one image of a class": one_image,
        "folds without a class": empty_folds,
        "one class only": one_class,
        "3 images a class, cross-validated": partial(three_each, classes=2),
        "3 images of 8 classes, cross-validated": partial(three_each, classes=8),
    }
    for name, case in cases.items():
        bounds = {what: Bound(0.0, 0.0, 0.0) for what in ("intervals", "comparisons")}
        run = partial(_run, case=case)
        yield Cell("fallbacks", {"data": name}, run, 20, bounds, 2)


def _run(rng: np.random.Generator, case: Case) -> dict[str, float]:
    said = case(rng)
    threshold = Operating(THRESHOLD, "fixed") if said.fold[0] < 0 else None
    judged = evaluate(said, threshold, sampling=RESAMPLES)
    assert judged.calibration is not None  # for the type checker
    slopes = (judged.calibration.slope, judged.calibration.intercept)
    shown = [*judged.estimates.values(), *judged.calibration.averages.values()]
    shown += [one for one in slopes if one is not None]  # where there is none, that is said
    turned = rng.permutation(len(said))
    other = dataclasses.replace(
        said, scenario="other", scores=said.scores[turned], y_prob=said.y_prob[turned]
    )
    points = None if threshold is None else {p.scenario: threshold for p in (said, other)}
    bad = 0
    for metric in ("auroc", "balanced_accuracy", "log_loss"):
        (found,) = compare(said, [other], metric, points, sampling=RESAMPLES)
        ordered = found.low <= found.difference <= found.high and 0 <= found.p <= 1
        bad += not (ordered or math.isnan(found.difference))
    corrected = bias_corrected([said, other], "auroc", points, sampling=RESAMPLES)
    return {"intervals": float(sum(map(_bad, (*shown, corrected)))), "comparisons": float(bad)}


def _bad(one: Estimate) -> bool:
    """No width, no end, or no value without the word for it."""
    named = math.isfinite(one.value) or "undefined" in one.method
    return not (named and math.isfinite(one.low) and one.low < one.high)


def separated(rng: np.random.Generator, n: int, size: int, classes: int) -> Predictions:
    """The true class is the most probable one, always."""
    patient = np.arange(n) // size
    y = (patient % classes).astype(np.int64)
    logits = rng.normal(size=(n, classes))
    logits[np.arange(n), y] += 20
    return predictions(y, special.softmax(logits, axis=1), patient)


def equal(rng: np.random.Generator, classes: int) -> Predictions:
    """Nobody is told from anybody."""
    y = rng.permutation(np.arange(64) % classes)
    return predictions(y, np.full((64, classes), 1 / classes))


def lonely(rng: np.random.Generator) -> Predictions:
    """All images of the second class are of one patient."""
    y = (np.arange(60) < 10).astype(np.int64)
    patient = np.where(y == 1, 50, np.arange(60) - 10)
    return predictions(y, special.expit(rng.normal(size=60) + 2 * y - 1), patient)


def one_patient(rng: np.random.Generator) -> Predictions:
    """Forty images of both classes, of one patient."""
    y = (np.arange(40) % 2).astype(np.int64)
    return predictions(y, special.expit(rng.normal(size=40) + 2 * y - 1), np.zeros(40, np.int64))


def one_image(rng: np.random.Generator) -> Predictions:
    """Thirty images, one of them of the second class."""
    y = (np.arange(30) == 0).astype(np.int64)
    return predictions(y, special.expit(rng.normal(size=30) + 2 * y - 1))


def one_class(rng: np.random.Generator) -> Predictions:
    """New images without one of the second class."""
    return predictions(np.zeros(30, np.int64), special.expit(rng.normal(size=30)))


def empty_folds(rng: np.random.Generator) -> Predictions:
    """Five folds, two patients of the second class."""
    patient = np.arange(60) // 3
    y = (patient < 2).astype(np.int64)
    fold = five_folds(y, patient)
    return predictions(y, special.expit(rng.normal(size=60) + 2 * y - 1), patient, "s", fold)


def three_each(rng: np.random.Generator, classes: int) -> Predictions:
    """A head on three images a class."""
    y: Ints = (np.arange(3 * classes) % classes).astype(np.int64)
    X = World(classes, 3.0).codes(rng, y, np.arange(len(y)))
    return cross("logistic", X, table_of(y, np.arange(len(y)), classes)).promise.predictions
