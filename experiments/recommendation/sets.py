"""The real data sets, and what a cell learns from and is judged on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

import medgraft
from medgraft.data.split import holdout, keep_copies_together, labelled, with_test_split
from medgraft.types import ImageTable, Ints, Strings

SHARED = Path(__file__).parents[3] / "shared" / "data"
SIZES = (50, 100, 250, 500)
ALL = "all"
LEAST = 5  # groups of each class in a draw, so that the usual five folds can be dealt


@dataclass(frozen=True, slots=True)
class DataSet:
    """Where a data set lies, and whom it shares images with.

    held_out : of its images set aside once as the test, where no test split is official. kin : of
    which family of sets it is; what is tuned leaves out the whole family.
    """

    path: str
    kin: str
    held_out: float = 0.2


SETS = {
    "cancer_cells": DataSet("cancer_cells.csv", "lung tissue"),
    "mini_scenes": DataSet("mini_scenes.csv", "scenes"),
    "skin7": DataSet("skin7", "skin", 800 / 2400),
    "lc25000_lung_unique": DataSet("lc25000_lung_unique", "lung tissue"),
    "hyperkvasir5": DataSet("hyperkvasir5", "endoscopy"),
    "scenes_ot8": DataSet("scenes_ot8", "scenes"),
    "chest_xray": DataSet("chest_xray", "X-rays"),
}


def whole(name: str) -> ImageTable:
    """A data set with the test split that every cell of it is judged on."""
    data = SETS[name]
    table = keep_copies_together(labelled(medgraft.load(SHARED / data.path)))
    return with_test_split(table, data.held_out, 0)


def sizes(table: ImageTable) -> tuple[int | str, ...]:
    """The numbers of images that are drawn of a table's development images, and all of them."""
    n = len(table.development)
    return (*(size for size in SIZES if size < n), ALL)


def drawn(table: ImageTable, n: int | str, draw: int) -> ImageTable:
    """The development images of one draw."""
    development = table.development
    if n == ALL:
        return development
    rows = draw_rows(development.groups, development.labels, int(n), draw)
    return development.select(rows)


def draw_rows(groups: Strings, labels: Ints, n: int, seed: int) -> Ints:
    """About `n` rows: whole groups, classes in their shares, `LEAST` groups of each at least.

    A group counts for the class of most of its images. Where there are so few images of a class
    that its share is below `LEAST`, the others make room for it. Returns sorted rows.
    """
    names, group_of = np.unique(groups, return_inverse=True)
    n_classes = int(labels.max()) + 1
    images = np.zeros((len(names), n_classes))
    np.add.at(images, (group_of, labels), 1)
    class_of = images.argmax(axis=1)
    wanted = _quotas(np.bincount(labels, minlength=n_classes), n)
    order = np.random.default_rng([n, seed]).permutation(len(names))
    taken: list[int] = []
    for c in range(n_classes):
        mine = order[class_of[order] == c]
        before = np.cumsum(images[mine].sum(axis=1)) - images[mine].sum(axis=1)
        enough = (before >= wanted[c]) & (np.arange(len(mine)) >= LEAST)
        taken += mine[~enough].tolist()
    return np.flatnonzero(np.isin(group_of, taken))


def _quotas(counts: Ints, n: int) -> Ints:
    """How many of `n` images each class gets."""
    share = n * counts / counts.sum()
    rare = share < LEAST
    if rare.any() and not rare.all():
        share[~rare] *= (n - LEAST * rare.sum()) / share[~rare].sum()
    return np.asarray(np.maximum(np.round(share), LEAST), np.int64)


def halves(test: ImageTable, draw: int) -> Ints:
    """(n,) 0 or 1: the half of the test in which each image lies; groups whole, stratified."""
    return np.asarray(~holdout(test.groups, test.labels, 0.5, draw), np.int64)
