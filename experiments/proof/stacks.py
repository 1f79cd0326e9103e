"""Whether a stack of members that know nothing is said to know nothing, and one that learns, what.

Eight members with 30 features each, or twenty with ten: the more, the more a stack can be misled.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from medgraft.evaluate.estimates import evaluate
from proof.cell import Bound, Cell
from proof.codes import World, auroc, recalibrated, table_of
from proof.heads import NEW, bounds, deployed
from proof.intervals import RESAMPLES
from proof.product import cross, fold_stacks, join

SIGNALS = {"nothing": 0.0, "a little": 0.85}  # distance of the classes as one member sees them


@dataclass(frozen=True, slots=True)
class Members:
    """So many of one head, each with features of its own."""

    count: int
    head: str
    features: int


EIGHT, TWENTY = Members(8, "svm", 30), Members(20, "lda", 10)


def cells() -> Iterator[Cell]:
    """Nothing to learn, and a little; images alone, and by patient."""
    for knows in SIGNALS:
        for n, size in ((60, 1), (300, 1), (300, 3)):
            yield _cell(EIGHT, knows, n, size)
    yield _cell(TWENTY, "nothing", 100, 1)


def _cell(members: Members, knows: str, n: int, size: int) -> Cell:
    setting = {
        "members": f"{members.count} {members.head}", "know": knows, "images": f"{n}",
        "a patient": f"{size}",
    }  # fmt: skip
    demanded = bounds(n, size)
    del demanded["log loss out of fold"]
    more = "the deployed stack learned from a quarter more images than those that judged"
    far = demanded["AUROC against deployed"].high
    demanded["AUROC against deployed"] = Bound(0.0, -3 * far, far, more)
    if knows == "nothing":  # no probability is bold or shy, and no threshold better than another
        del demanded["slope deployed"], demanded["balanced accuracy lost"]
        near = 0.01 if n >= 300 else 0.02
        demanded["AUROC out of fold, itself"] = Bound(0.5, 0.5 - near, 0.5 + near)
    run = partial(_run, members=members, delta=SIGNALS[knows], n=n, size=size)
    return Cell("stacks", setting, run, 200, demanded)


def _run(
    rng: np.random.Generator, members: Members, delta: float, n: int, size: int
) -> dict[str, float]:
    world = World(2, delta, members.features)
    X, y, patient = world.draw(rng, n, size)
    new, truth, alone = world.draw(rng, NEW)
    codes = [X, *(world.codes(rng, y, patient) for _ in range(members.count - 1))]
    others = [new, *(world.codes(rng, truth, alone) for _ in range(members.count - 1))]
    table = table_of(y, patient, 2)
    one = join([cross(members.head, part, table) for part in codes], table)
    said = evaluate(one.promise.predictions, metrics=("auroc",), sampling=RESAMPLES).estimates
    judging = 0.5
    if delta:
        own = fold_stacks(one, codes, others, table)
        judging = float(np.mean([auroc(truth, recalibrated(truth, scores)[1]) for scores in own]))
    return {
        "AUROC of the judging models": judging,
        "AUROC out of fold, itself": said["auroc"].value,
        "AUROC out of fold": said["auroc"].value - judging,
        "AUROC covers": float(said["auroc"].low <= judging <= said["auroc"].high),
        **deployed(one.promise, one.scores(others), truth, said["auroc"].value),
    }
