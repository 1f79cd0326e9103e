"""Whether a model that was chosen in changed views keeps its promise on images as they come.

A changed view moves every image towards the second class and adds noise: the model teaches and is
used on images as they are, and is only chosen by the changed ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from medgraft.evaluate.estimates import evaluate
from proof.cell import Bound, Cell
from proof.codes import CARRIERS, World, intercept, table_of
from proof.heads import DELTA, NEW, bounds, deployed
from proof.intervals import RESAMPLES
from proof.product import cross

MOVED = 0.8  # standard deviations along the difference of the classes
BLUR = 0.7  # standard deviation of the noise a view adds to each feature


def cells() -> Iterator[Cell]:
    """Two heads, 150 and 300 images."""
    for head in ("logistic", "lda"):
        for n in (150, 300):
            setting = {"head": head, "images": f"{n}"}
            demanded = bounds(n, 1)
            for only_of_folds in ("AUROC out of fold", "AUROC covers", "log loss out of fold"):
                del demanded[only_of_folds]
            demanded["intercept deployed"] = Bound(0.0, -0.1, 0.1)
            run = partial(_run, head=head, n=n)
            sample = 40 if (head, n) == ("logistic", 300) else 0
            yield Cell("views", setting, run, 300, demanded, sample)


def _run(rng: np.random.Generator, head: str, n: int) -> dict[str, float]:
    world = World(2, DELTA)
    X, y, patient = world.draw(rng, n)
    view = X + BLUR * rng.normal(size=X.shape).astype(np.float32)
    view[:, :CARRIERS] += np.float32(MOVED / np.sqrt(CARRIERS))
    new, truth, _ = world.draw(rng, NEW)
    one = cross(head, X, table_of(y, patient, 2), view)
    said = evaluate(one.promise.predictions, metrics=("auroc",), sampling=RESAMPLES).estimates
    scores = one.scores(new)
    return {
        **deployed(one.promise, scores, truth, said["auroc"].value),
        "intercept deployed": intercept(truth, one.promise.calibrator(scores)),
    }
