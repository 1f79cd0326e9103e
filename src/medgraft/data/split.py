"""What may be learned from and what may only be looked at: test split, folds, inner holdout.

One rule deals images out everywhere: groups whole, classes in equal shares. It depends on the
names of the groups and the seed, and not on the order of the rows.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from medgraft.data.linked import linked, linked_by
from medgraft.data.pixel_rule import found_again
from medgraft.errors import DataError, FitError, LeakError
from medgraft.panel import Panel
from medgraft.types import Finding, Floats, Folds, ImageTable, Ints, Skipped, Strings

Mask = NDArray[np.bool_]

SET_ASIDE = 0.2  # of the images, for the test, where no test split is given
STRATIFIED = "were set aside, stratified by class, with groups whole."


@dataclass(frozen=True, eq=False)
class Together:
    """Several findings that one network learns: development images, and the folds of all of them.

    panel : n images, all of them readable. folds : of the same images.
    """

    panel: Panel
    folds: Folds

    def judged_as(self, folds: Folds) -> Self:
        """The same, in the view and by the metric of some of these images' folds."""
        return replace(self, folds=replace(self.folds, view=folds.view, metric=folds.metric))


@dataclass(frozen=True, eq=False)
class Development:
    """Images that may be learned from, dealt to the folds that judge them.

    table : n images, all of them readable. folds : of the same images. sample_weight : (n,) of
    them in training, None for one each; calibration counts every image once. together : where the
    positive class is a finding among several, all of them, which a network learns at once.

    Raises
    ------
    LeakError
        There are test images among them.
    """

    table: ImageTable
    folds: Folds
    sample_weight: Floats | None = None
    together: Together | None = None

    def __post_init__(self) -> None:
        n_test = int((self.table.splits == "test").sum())
        if n_test:
            raise LeakError(
                f"{n_test} test images were given to learn from; pass table.development"
            )


def labelled(table: ImageTable) -> ImageTable:
    """The table without the images that have no label; they are named in `skipped`."""
    missing = table.labels == -1
    if not missing.any():
        return table
    named = tuple(Skipped(id_, "no label") for id_ in table.ids[missing].tolist())
    return replace(table.select(~missing), skipped=(*table.skipped, *named))


def keep_copies_together(table: ImageTable) -> ImageTable:
    """Join groups that share an image byte for byte, so that no copy judges what the other taught.

    Groups are joined over as many steps as it takes (A with B by one image, B with C by another),
    and the joined group takes the name of one of them. Images of an official test split keep their
    group and join nothing: copies across that border are for the profile to report.

    Returns
    -------
    ImageTable
        With a finding that counts what was joined, or `table` itself where nothing was.
    """
    rows = np.flatnonzero(table.splits != "test")
    if not len(rows):
        return table
    hashes = np.where(table.content_hashes == "", table.ids, table.content_hashes)[rows]
    names, first, group_of = np.unique(table.groups[rows], return_index=True, return_inverse=True)
    joined_of = linked_by(table.groups[rows].tolist(), hashes.tolist())[first]
    return _joined(table, rows, names, group_of, joined_of, "identical files")


def keep_near_copies_together(table: ImageTable, pairs: Ints) -> ImageTable:
    """Join groups that share a picture: the rows (m, 2) of near copies, of one split or none.

    Returns
    -------
    ImageTable
        With a finding that counts what was joined, or `table` itself where nothing was.
    """
    names, group_of = np.unique(table.groups, return_inverse=True)
    joined_of = linked(len(names), group_of[pairs])
    rows = np.arange(len(table))
    return _joined(table, rows, names, group_of, joined_of, "near copies of an image")


def _joined(
    table: ImageTable, rows: Ints, names: Strings, group_of: Ints, joined_of: Ints, shared: str
) -> ImageTable:
    """The table with the groups `names[group_of]` of some rows joined by `joined_of`."""
    n_joined = len(np.unique(joined_of))
    if n_joined == len(names):
        return table
    # A name that the test split has too is taken first, so that a torn group stays seen as torn.
    torn = np.isin(names, table.groups[table.splits == "test"])
    order = np.lexsort((names, ~torn, joined_of))
    name_of = names[order[np.unique(joined_of[order], return_index=True)[1]]]  # (n_joined,)
    groups = table.groups.copy()
    groups[rows] = name_of[joined_of[group_of]]
    size = np.bincount(joined_of)
    n_shared, n_into = int(size[size > 1].sum()), int((size > 1).sum())
    finding = Finding(
        "copies_kept_together",
        "info",
        f"{n_shared:,} groups share {shared} and were joined into {n_into:,}, so that no "
        f"image is learned from while its copy judges: of {len(names):,} groups outside an "
        f"official test split {n_joined:,} remain.",
        {"groups": n_shared, "joined_into": n_into, "before": len(names), "after": n_joined},
    )
    return replace(table, groups=groups, findings=(*table.findings, finding))


def with_test_split(table: ImageTable, fraction: float = SET_ASIDE, seed: int = 0) -> ImageTable:
    """Give every labelled image a split; where there is no test split, set one aside.

    An official test split is kept, and images of no split join training. Otherwise `fraction` of
    the images is set aside, stratified, with groups whole: of the groups without a split, or,
    where all images have one (train and val), of all. A class is in the test split only if it has
    three such groups, for development needs two to judge it across folds.

    Returns
    -------
    ImageTable
        Without unlabelled images (`labelled`); every split is 'train', 'val' or 'test'. Findings
        say what was set aside, and which classes could not be.
    """
    table = labelled(table)
    named = np.where(table.splits == "", "train", table.splits)
    if (table.splits == "test").any():
        return found_again(table if (named == table.splits).all() else replace(table, splits=named))
    unnamed = table.splits == ""
    free = unnamed & ~np.isin(table.groups, table.groups[~unnamed])
    if not free.any():
        free = np.ones(len(table), bool)
    test = np.zeros(len(table), bool)
    test[free] = holdout(table.groups[free], table.labels[free], fraction, seed)
    made = _set_aside(int(test.sum()), len(table), seed)
    absent = [name for i, name in enumerate(table.classes) if not (table.labels[test] == i).any()]
    untested = Finding(
        "untested_class",
        "warn",
        f"No image could be set aside for testing of: {', '.join(absent)} (too few groups to "
        "leave two to learn from).",
        {"n": len(absent)},
        remedy="Add images of other patients, or leave these classes out (--leave-out CLASS).",
    )
    findings = (*table.findings, made, *([untested] if absent else []))
    # What is black and white may not be chosen by images that are now the test.
    return found_again(replace(table, splits=np.where(test, "test", named), findings=findings))


def _set_aside(n: int, of: int, seed: int) -> Finding:
    text = f"No test split was given: {n:,} of {of:,} images (seed {seed}) {STRATIFIED}"
    return Finding("test_split", "info", text, {"n": n, "seed": seed})


def recounted(table: ImageTable) -> ImageTable:
    """The table, its finding on the test split of the images that are left."""
    n = int((table.splits == "test").sum())
    findings = tuple(
        _set_aside(n, len(table), int(one.numbers["seed"]))
        if one.check == "test_split" and one.text.endswith(STRATIFIED)
        else one
        for one in table.findings
    )
    return replace(table, findings=findings)


def holdout(groups: Strings, labels: Ints, fraction: float, seed: int = 0) -> Mask:
    """(n,) True for about `fraction` of the images, stratified, with groups whole.

    What is held out has every class of at least three groups, and the rest keeps two of each. Where
    groups hold several classes that can be impossible, or be missed; `with_test_split` names the
    classes that are absent.

    Raises
    ------
    DataError
        `fraction` is not between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise DataError(f"the fraction to hold out is {fraction}; it must lie between 0 and 1")
    side = _deal(groups, labels, (fraction, 1 - fraction), least=(1, 2), seed=seed)
    return np.asarray(side == 0)


def make_folds(development: ImageTable, n_folds: int = 5, seed: int = 0) -> Folds:
    """Assign the development images to folds: each is judged once, groups whole, stratified.

    There are fewer than `n_folds` folds where a class has fewer groups, so that every fold judges
    and every training part holds each class.

    Raises
    ------
    LeakError
        There are test images among them.
    FitError
        A class has fewer than two groups, or the classes share groups so that no folds exist.
    DataError
        There are images without a label, or `n_folds` is below 2.
    """
    if (development.splits == "test").any():
        raise LeakError("folds were asked for images of the test split; pass table.development")
    if n_folds < 2 or (development.labels == -1).any():
        raise DataError(
            f"{n_folds} folds were asked for, and {(development.labels == -1).sum()} images have "
            "no label; at least two folds and a label each are needed (see labelled)"
        )
    counts = _group_counts(development.groups, development.labels, len(development.classes))
    rarest = int(counts.argmin())
    if counts[rarest] < 2:
        raise FitError(
            f"the class '{development.classes[rarest]}' has {counts[rarest]} group(s) of images "
            "to learn from, and two are needed so that one can judge the other; add images of "
            f"other patients, leave it out (--leave-out '{development.classes[rarest]}', or "
            "--drop-classes-below N for all small ones), or see --no-groups"
        )
    n_folds = min(n_folds, int(counts[rarest]))
    fold = _deal(
        development.groups, development.labels, (1 / n_folds,) * n_folds, (1,) * n_folds, seed
    )
    for index, name in enumerate(development.classes):
        if len(np.unique(fold[development.labels == index])) < 2:
            raise FitError(
                f"all groups with images of class '{name}' had to go into one fold, because they "
                "hold other classes too; add images of other patients, or see --no-groups"
            )
    return Folds(development.ids, development.groups, fold, n_folds, seed)


def folds_of(folds: Folds, development: ImageTable) -> Folds:
    """The same folds, of some of their images in the order of a table."""
    at = {name: i for i, name in enumerate(folds.ids.tolist())}
    rows = np.array([at[name] for name in development.ids.tolist()], np.int64)
    return replace(
        folds, ids=development.ids, groups=folds.groups[rows], assignment=folds.assignment[rows]
    )


def _group_counts(groups: Strings, labels: Ints, n_classes: int) -> Ints:
    """(n_classes,) in how many groups each class occurs."""
    return np.array([len(np.unique(groups[labels == c])) for c in range(n_classes)], np.int64)


def _deal(
    groups: Strings, labels: Ints, shares: tuple[float, ...], least: tuple[int, ...], seed: int
) -> Ints:
    """Deal groups into bins so that bin b gets about `shares[b]` of every class.

    Greedy: classes of few groups first, large groups before small, ties in an order hashed from
    seed and name. A group goes to the bin where the sum over classes of ((have − want) / total)²
    grows least, among those bins that still lack `least[b]` groups of the group's rarest class;
    a class with fewer groups than all bins want serves the last bins first. Where no group holds
    two classes, a bin misses its share of a class by at most the class's largest group.

    Returns
    -------
    bins : (n,) int64 index into `shares`
    """
    names, group_of = np.unique(groups, return_inverse=True)
    n_classes = int(labels.max()) + 1
    images = np.zeros((len(names), n_classes))  # of each class in each group
    np.add.at(images, (group_of, labels), 1)
    present = images > 0
    spread = present.sum(axis=0)  # (n_classes,) groups that hold the class
    rarest = np.where(present, spread, len(names) + 1).argmin(axis=1)  # (n_groups,)
    ties = [hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest() for name in names]
    order = sorted(
        range(len(names)), key=lambda g: (spread[rarest[g]], rarest[g], -images[g].sum(), ties[g])
    )
    total = np.maximum(images.sum(axis=0), 1)
    share = images / total  # of the class's images, in each group
    want = np.array(shares)
    have = np.zeros((len(shares), n_classes))
    size = np.zeros(len(shares))  # images in the bin over its share
    lacks = np.array([_minimum(least, int(n)) for n in spread]).T  # (n_bins, n_classes) groups
    bin_of = np.zeros(len(names), np.int64)
    for g in order:
        growth = (share[g] * (2 * (have - want[:, None]) + share[g])).sum(axis=1).round(12)
        lacking = lacks[:, rarest[g]] > 0
        allowed = lacking if lacking.any() else ~lacking
        best = min(np.flatnonzero(allowed), key=lambda b: (growth[b], size[b], b))
        bin_of[g] = best
        have[best] += share[g]
        size[best] += images[g].sum() / want[best]
        lacks[best] -= present[g]
    return bin_of[group_of]


def _minimum(least: tuple[int, ...], n_groups: int) -> list[int]:
    """How many of a class's groups each bin must get: the last bins first where they are few."""
    wanted = []
    for number in reversed(least):
        wanted.append(min(number, n_groups))
        n_groups -= wanted[-1]
    return wanted[::-1]
