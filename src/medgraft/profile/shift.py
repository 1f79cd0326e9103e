"""Do the test images look like the ones learned from? A classifier two-sample test on codes.

A classifier is trained to tell them apart (Lopez-Paz and Oquab, "Revisiting classifier two-sample
tests", ICLR 2017). Where it cannot, they may well be alike; where it can, they are not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from medgraft.data.split import make_folds
from medgraft.errors import DataError, FitError
from medgraft.evaluate.compare import estimate_all
from medgraft.evaluate.metrics import auroc
from medgraft.profile.hashes import evenly_drawn
from medgraft.types import (
    Estimate,
    FeatureTable,
    Finding,
    Floats,
    ImageTable,
    Ints,
    Operating,
    Predictions,
    Severity,
    Strings,
)

Mask = NDArray[np.bool_]

COMPONENTS = 32  # of the codes, or a tenth of the images where that is fewer
PERMUTATIONS = 199
MOST = 4000  # images; more are sampled, for time
FEWEST = 20  # images of each side, to say anything
FOLDS = 5
RIDGE = 1.0  # on components of unit variance, summed over images
SURE = 0.01  # p below which a difference is one
CLEAR, GRAVE = 0.65, 0.8  # AUROC from which it is worth a warning, and is severe


@dataclass(frozen=True, eq=False)
class Shift:
    """How well test images can be told from the others; `images` the test images most unlike."""

    estimate: Estimate
    p: float
    images: tuple[str, ...]


def train_test_shift(table: ImageTable, codes: FeatureTable, seed: int = 0) -> tuple[Finding, ...]:
    """Say how far the test images differ from the images to learn from, classes held equal."""
    try:
        found = measure_shift(table, codes, seed)
    except FitError as error:
        text = f"Whether the test images look like the others was not checked: {error}."
        return (Finding("shift_not_checked", "info", text),)
    if found is None:
        return ()
    area, p = found.estimate, found.p
    figures = f"AUROC {area.value:.2f} ({area.low:.2f} to {area.high:.2f}), p = {p:.3f}"
    numbers = {"auroc": area.value, "low": area.low, "high": area.high, "n": area.n, "p": p}
    if p > SURE or area.value < CLEAR:
        how = "cannot be told" if p > SURE else "can hardly be told"
        text = f"Test images {how} from the others of their class by their codes ({figures})."
        return (Finding("train_test_shift", "info", text, numbers),)
    severity: Severity = "severe" if area.low > GRAVE else "warn"
    return (
        Finding(
            "train_test_shift",
            severity,
            "Test images look unlike the images to learn from: a classifier tells them apart "
            f"within the same class ({figures}). What is chosen on the latter may not be best for "
            "the former, and cross-validation will promise too much or too little.",
            numbers,
            found.images,
            "Find out how the two were collected. If both should be alike, split anew by patient; "
            "if not, trust the test figures for places like the test's only.",
        ),
    )


def measure_shift(table: ImageTable, codes: FeatureTable, seed: int = 0) -> Shift | None:
    """The AUROC of test against development, out of fold, groups whole; None if too few images.

    Each class has the same share on both sides: the fuller side is thinned. A ridge regression on
    the first principal components of the codes gives the score; p comes from permuting which
    groups of a class are the test's, 199 times.

    Raises
    ------
    FitError
        One side has too few groups to be judged in folds.
    """
    row_of = {id: i for i, id in enumerate(codes.ids.tolist())}
    known = np.array([id in row_of for id in table.ids.tolist()], bool) & (table.labels >= 0)
    rows = _balanced(table, np.flatnonzero(known), seed)
    own = table.select(rows)
    test = own.splits == "test"
    if min(test.sum(), (~test).sum()) < FEWEST:
        return None
    parts = components(codes.matrix()[[row_of[id] for id in own.ids.tolist()]])
    # A group on both sides is two units, or it could not be dealt to one.
    units = np.array([f"{s == 'test'}:{g}" for s, g in zip(own.splits, own.groups, strict=True)])
    fold = _folds(own, units, seed)
    rng = np.random.default_rng(seed)
    drawn = [_permuted(own, units, rng) for _ in range(PERMUTATIONS)]
    sides = np.stack([test, *drawn], axis=1)  # (n, 1 + PERMUTATIONS), the truth first
    scores = tell_apart(parts, sides, fold)
    score = scores[:, 0]
    area, *permuted = (auroc(sides[:, j], scores[:, j], fold) for j in range(sides.shape[1]))
    p = (1 + sum(value >= area for value in permuted)) / (1 + PERMUTATIONS)
    # Any rising function of the score will do for an AUROC, if it lies between 0 and 1.
    risen = 0.5 + score / (2 * max(float(np.abs(score).max()), 1e-12))
    prob = np.stack([1 - risen, risen], axis=1)
    said = Predictions(
        "shift", ("development", "test"), "test", own.ids, units, own.splits, fold,
        test.astype(np.int64), np.stack([-score, score], axis=1), prob,
    )  # fmt: skip
    order = np.argsort(-np.where(test, score, -np.inf), kind="stable")[:12]
    # No label is given here, so no threshold is chosen: any does.
    (estimate,) = estimate_all([said], "auroc", {"shift": Operating(0.5, "none chosen")})
    return Shift(estimate, p, tuple(own.ids[order].tolist()))


def _balanced(table: ImageTable, rows: Ints, seed: int) -> Ints:
    """Rows in which every class has the same ratio of test to development images.

    The ratio is that of all; of each class the side that has too many is thinned by chance.
    """
    test = table.splits[rows] == "test"
    if not test.any() or test.all():
        return rows[:0]
    ratio = test.sum() / (~test).sum()
    chosen = []
    for label in np.unique(table.labels[rows]):
        mine = table.labels[rows] == label
        tests, others = rows[mine & test], rows[mine & ~test]
        n_test = min(len(tests), round(ratio * len(others)))
        n_other = min(len(others), round(len(tests) / ratio))
        chosen += [tests[evenly_drawn(len(tests), n_test, seed)]]
        chosen += [others[evenly_drawn(len(others), n_other, seed)]]
    every = np.sort(np.concatenate(chosen))
    return every[evenly_drawn(len(every), MOST, seed)]


def components(codes: Floats) -> Floats:
    """(n, k) the first principal components of codes (n, d), each of variance one."""
    from sklearn.decomposition import PCA

    k = max(1, min(COMPONENTS, len(codes) // 10, codes.shape[1]))
    made = PCA(k, svd_solver="randomized", random_state=0).fit_transform(codes)
    return np.asarray(made / np.maximum(made.std(axis=0), 1e-9), np.float64)


def _folds(own: ImageTable, units: Strings, seed: int) -> Ints:
    """(n,) folds in which both sides occur, units whole."""
    sides = replace(
        own,
        labels=(own.splits == "test").astype(np.int64),
        groups=units,
        splits=np.full(len(own), "train"),
        classes=("development", "test"),
    )
    try:
        return make_folds(sides, FOLDS, seed).assignment
    except DataError as error:
        raise FitError(str(error)) from error


def tell_apart(parts: Floats, sides: Mask, fold: Ints) -> Floats:
    """(n, m) out of fold, how much each row looks like those marked, by ridge regression.

    parts : (n, k). sides : (n, m) m ways to mark rows, each regressed on its own. fold : (n,)
    """
    scores = np.zeros(sides.shape)
    design = np.column_stack([np.ones(len(parts)), parts])  # (n, 1 + k)
    penalty = RIDGE * np.eye(design.shape[1])
    penalty[0, 0] = 0
    for k in np.unique(fold):
        out = fold == k
        inside, marked = design[~out], sides[~out].astype(np.float64)
        weight = np.linalg.solve(inside.T @ inside + penalty, inside.T @ marked)  # (1 + k, m)
        # Folds differ in their mean; a score is comparable once that is taken out.
        scores[out] = design[out] @ weight - marked.mean(axis=0)
    return scores


def _permuted(own: ImageTable, units: Strings, rng: np.random.Generator) -> Mask:
    """(n,) as many units of each class called the test's as there are, drawn anew."""
    names, first, unit_of = np.unique(units, return_index=True, return_inverse=True)
    test, label = own.splits[first] == "test", own.labels[first]
    drawn = np.zeros(len(names), bool)
    for value in np.unique(label):
        mine = np.flatnonzero(label == value)
        drawn[mine] = rng.permutation(test[mine])
    return np.asarray(drawn[unit_of])
