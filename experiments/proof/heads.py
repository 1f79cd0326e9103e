"""What is promised of a head on codes, held against what its models truly do."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from medgraft.evaluate.estimates import evaluate
from medgraft.types import Floats, Ints
from proof.cell import Bound, Cell
from proof.codes import (
    World,
    auroc,
    balanced_accuracy,
    best_balanced_accuracy,
    log_loss,
    recalibrated,
    table_of,
)
from proof.intervals import RESAMPLES
from proof.product import Promise, cross, fold_models

DELTA = 2.5  # the best AUROC there can be is .961 of two classes, .98 of eight
NEW = 3000  # images that the truth is measured on, new in every run
LOGISTIC = {1: (60, 150, 300, 600), 3: (60, 150, 300, 600), 10: (150, 300, 600)}
OTHERS = {1: (60, 300), 3: (300,), 10: (300,)}
SHORT = {("logistic", 2, 60, 1): 60, ("logistic", 2, 300, 1): 60, ("svm", 2, 300, 10): 40,
         ("lda", 2, 300, 1): 40, ("logistic", 8, 300, 1): 8}  # fmt: skip


def cells() -> Iterator[Cell]:
    """Every head, images alone and by patient, two classes and eight."""
    for head, designs, runs in (
        ("logistic", LOGISTIC, 400),
        ("svm", OTHERS, 300),
        ("lda", OTHERS, 400),
        ("knn", {1: (60, 300)}, 150),
        ("rbf", {1: (60, 300)}, 100),
    ):
        for size, ns in designs.items():
            for n in ns:
                yield _cell(head, 2, n, size, runs)
    for head in ("logistic", "svm", "lda"):
        for n in (150, 300, 600):
            yield _cell(head, 8, n, 1, 100)
    yield _cell("logistic", 8, 300, 3, 100)
    yield _cell("logistic", 8, 600, 10, 100)


def _cell(head: str, classes: int, n: int, size: int, runs: int) -> Cell:
    setting = {"head": head, "classes": f"{classes}", "images": f"{n}", "a patient": f"{size}"}
    run = partial(_run, head=head, classes=classes, n=n, size=size)
    sample = SHORT.get((head, classes, n, size), 0)
    return Cell("heads", setting, run, runs, bounds(n, size), sample)


def _run(rng: np.random.Generator, head: str, classes: int, n: int, size: int) -> dict[str, float]:
    world = World(classes, DELTA)
    X, y, patient = world.draw(rng, n, size)
    new, truth, _ = world.draw(rng, NEW)
    one = cross(head, X, table_of(y, patient, classes))
    own = [np.asarray(model.decision_function(new)) for model in fold_models(one, X, y)]
    best = [recalibrated(truth, scores)[1] for scores in own]  # of several classes, what is ranked
    judging = float(np.mean([auroc(truth, log_p) for log_p in best]))
    attainable = np.mean([log_loss(truth, log_p) for log_p in best])
    predictions = one.promise.predictions
    said = evaluate(predictions, metrics=("auroc", "log_loss"), sampling=RESAMPLES).estimates
    return {
        "AUROC of the judging models": judging,
        "AUROC out of fold": said["auroc"].value - judging,
        "AUROC covers": float(said["auroc"].low <= judging <= said["auroc"].high),
        "log loss out of fold": said["log_loss"].value / float(attainable),
        **deployed(one.promise, one.scores(new), truth, said["auroc"].value),
    }


def deployed(one: Promise, scores: Floats, truth: Ints, said: float) -> dict[str, float]:
    """What the deployed model does on new images: scores (n, n_classes), classes (n,)."""
    prob = one.calibrator(scores)
    log_p = np.asarray(np.log(np.maximum(prob, 1e-12)))
    slope, _ = recalibrated(truth, log_p)
    least = log_loss(truth, recalibrated(truth, scores)[1])
    given = prob.argmax(axis=1) if prob.shape[1] > 2 else (prob[:, 1] >= one.threshold).astype(int)
    area = auroc(truth, log_p)
    return {
        "AUROC of the deployed model": area,
        "AUROC against deployed": said - area,
        "log loss deployed": log_loss(truth, log_p) / least,
        "slope deployed": slope,
        "balanced accuracy lost": best_balanced_accuracy(truth, log_p)
        - balanced_accuracy(truth, given),
    }


def bounds(n: int, size: int) -> dict[str, Bound]:
    """Full demands from 300 images of 100 patients on; wider below, and widest below 150 of 30."""
    patients = n / size
    step = 0 if n >= 300 and patients >= 100 else 1 if n >= 150 and patients >= 30 else 2
    why = ("", "fewer than 300 images or 100 patients", "fewer than 150 images or 30 patients")[
        step
    ]
    near, far = (0.005, 0.01, 0.02)[step], (0.01, 0.02, 0.04)[step]
    loss, slope = (1.05, 1.08, 1.15)[step], (0.1, 0.15, 0.25)[step]
    low = (0.93 if size == 1 else 0.91, 0.91, 0.90)[step]
    lost = (0.01, 0.02, 0.03)[step]
    return {
        "AUROC out of fold": Bound(0.0, -near, near, why),
        "AUROC covers": Bound(0.95, low, 0.98 if step < 2 else 1.0, why),
        "log loss out of fold": Bound(1.0, 0.95, loss, why),
        "AUROC against deployed": Bound(0.0, -far, far, why),
        "log loss deployed": Bound(1.0, 0.99, loss, why),
        "slope deployed": Bound(1.0, 1 - slope, 1 + slope, why),
        "balanced accuracy lost": Bound(0.0, -0.005, lost, why),
    }
