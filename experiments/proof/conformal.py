"""Do prediction sets hold the true class as often as they promise, whichever class it is?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from scipy import special, stats

from medgraft.evaluate.conformal import ALPHA, OwnProbability, patients_needed
from medgraft.types import Floats
from proof.cell import Bound, Cell
from proof.codes import World, table_of
from proof.heads import DELTA, NEW
from proof.product import cross
from proof.scores import noise, numbered, patients

SHARES = (0.7, 0.3)  # of an easy class and of a hard one
PLACE, SPREAD = (-2.5, 1.0), (1.0, 2.0)  # of their scores, the log odds of the hard one
RUNS = 200


def cells() -> Iterator[Cell]:
    """Scores of an easy and a hard class, and the whole way from codes to the deployed head."""
    for size, n in ((1, 60), (1, 120), (1, 600), (4, 480), (10, 1200)):
        setting = {"from": "scores", "images": f"{n}", "a patient": f"{size}", "classes": "2"}
        run = partial(coverage_of_run, n=n, size=size)
        fewest = SHARES[1] * n / size
        yield Cell("sets", setting, run, 5 * RUNS, _bounds(2, fewest), RUNS if n < 600 else 0)
    for head, classes, n, size in (("logistic", 2, 300, 1), ("svm", 2, 600, 3),
                                   ("logistic", 8, 300, 1), ("lda", 8, 900, 3)):  # fmt: skip
        setting = {"from": head, "images": f"{n}", "a patient": f"{size}", "classes": f"{classes}"}
        run = partial(_deployed, head=head, classes=classes, n=n, size=size)
        yield Cell("sets", setting, run, RUNS, _bounds(classes, n / size / classes))


def coverage_of_run(rng: np.random.Generator, n: int, size: int) -> dict[str, float]:
    """The true coverage of each class, by the normal law that its scores follow.

    With one threshold for all images beside it, which covers the easy class at the cost of the
    hard one.
    """
    y, patient = patients(rng, n, size, SHARES)
    score = np.take(PLACE, y) + np.take(SPREAD, y) * noise(rng, patient, 1)[:, 0]
    p = special.expit(score)
    known = OwnProbability.of(np.stack([1 - p, p], axis=1), y, numbered(patient))
    one_class = np.zeros(n, np.int64)
    marginal = OwnProbability(known.own, one_class, known.groups, 1).thresholds(ALPHA)[0]
    made = {}
    for k, threshold in enumerate(known.thresholds(ALPHA)):
        made[f"class {k}"] = _covered(k, threshold)
        made[f"marginal, class {k}"] = _covered(k, marginal)
    return made


def _covered(k: int, threshold: float) -> float:
    """How much of class k has a probability of its own at or above a threshold."""
    place = PLACE[k] * (1 if k else -1)
    return float(stats.norm.sf(special.logit(threshold), place, SPREAD[k]))


def _deployed(
    rng: np.random.Generator, head: str, classes: int, n: int, size: int
) -> dict[str, float]:
    """The coverage of sets of the deployed head on new images, by class."""
    world = World(classes, DELTA)
    X, y, patient = world.draw(rng, n, size)
    new, truth, _ = world.draw(rng, NEW)
    table = table_of(y, patient, classes)
    one = cross(head, X, table)
    final = one.promise.probabilities.final
    thresholds = OwnProbability.of(final, y, table.groups).thresholds(ALPHA)
    prob: Floats = one.promise.calibrator(one.scores(new))
    held = (prob >= thresholds)[np.arange(NEW), truth]
    by_class = [float(held[truth == k].mean()) for k in range(classes)]
    return {**{f"class {k}": share for k, share in enumerate(by_class)}, "worst": min(by_class)}


def _bounds(classes: int, patients_of_class: float) -> dict[str, Bound]:
    """At least what is promised less a point, and not more than one patient's weight above it."""
    most = min(1.0, 1 - ALPHA + 2 / patients_of_class + 0.01)
    few = patients_of_class < 2 * patients_needed(ALPHA)
    why = "so few patients that some data sets allow no threshold: wider" if few else ""
    bound = Bound(1 - ALPHA, 1 - ALPHA - 0.01, 1.0 if few else most, why)
    return {f"class {k}": bound for k in range(classes)}
