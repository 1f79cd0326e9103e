"""Whether anything of a fold's own labels reaches what is said of its images.

The labels of one fold are drawn anew, everything is learned again, and its out-of-fold
probabilities are compared: whatever chose, fitted or calibrated for them must not have seen its
labels, so that they stay. Exact where a simulation would need thousands of runs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from medgraft.data.split import make_folds
from medgraft.learn.estimators import HEADS
from medgraft.types import Floats, Folds, ImageTable
from proof.cell import Bound, Cell
from proof.codes import World, table_of
from proof.product import cross, join

N = 80
MEMBERS = 4
Learn = Callable[[list[Floats], ImageTable, Folds], Floats]
"""Out-of-fold probabilities (n, n_classes) from each member's codes."""


def cells() -> Iterator[Cell]:
    """Each head, a head chosen in changed views, and a stack."""
    ways: dict[str, Learn] = {name: partial(_head, name=name) for name in HEADS}
    ways |= {"logistic, changed views": _viewed, "stack of 4": _stack}
    for name, learn in ways.items():
        bounds = {"moved by its own labels": Bound(0.0, 0.0, 0.0)}
        yield Cell("leaks", {"what": name}, partial(_run, learn=learn), 20, bounds, 2)


def _run(rng: np.random.Generator, learn: Learn) -> dict[str, float]:
    """The largest change of a probability in the fold, and in the others, which learn from it."""
    world = World(2, 1.5)
    X, y, patient = world.draw(rng, N)
    codes = [X, *(world.codes(rng, y, patient) for _ in range(MEMBERS - 1))]
    table = table_of(y, patient, 2)
    folds = make_folds(table)
    here = folds.assignment == 0
    other = np.where(here, rng.permutation(y), y)
    before = learn(codes, table, folds)
    after = learn(codes, dataclasses.replace(table, labels=other), folds)
    moved = np.abs(after - before).max(axis=1)
    moved = moved.round(6)  # sums in another order are no leak
    return {"moved by its own labels": moved[here].max(), "others moved": moved[~here].max()}


def _head(codes: list[Floats], table: ImageTable, folds: Folds, name: str) -> Floats:
    return cross(name, codes[0], table, folds=folds).promise.predictions.y_prob


def _viewed(codes: list[Floats], table: ImageTable, folds: Folds) -> Floats:
    return cross("logistic", codes[0], table, codes[1], folds).promise.predictions.y_prob


def _stack(codes: list[Floats], table: ImageTable, folds: Folds) -> Floats:
    members = [cross("lda", X, table, folds=folds) for X in codes]
    return join(members, table).promise.predictions.y_prob
