"""One test split and one set of folds for all findings of a panel: patients whole, each spread.

Groups are dealt by iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011), in which the
unit is a group and images without a finding count as much as those with it. It depends on the
names of the groups and the seed, and not on the order of the rows.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from medgraft.data.pixel_rule import found_again
from medgraft.data.split import keep_copies_together
from medgraft.errors import FitError
from medgraft.panel import ABSENT, PRESENT, UNKNOWN, Marks, Panel
from medgraft.results.panel import ShortFinding
from medgraft.types import Finding, Folds, Ints, Skipped, Strings

LEAST_A_FOLD = 2  # groups with a finding, and without it: one to learn from inside, one to judge

Mask = NDArray[np.bool_]


def divided_panel(panel: Panel, fraction: float, seed: int) -> Panel:
    """The panel of images of which something is known, with a test split.

    An official one is kept, and images of no split join training; where there is none, about
    `fraction` of every finding is set aside, groups whole. Groups that share an image byte for byte
    are one.
    """
    known = (panel.marks != UNKNOWN).any(axis=1)
    images = panel.images.select(known)
    unknown = tuple(Skipped(i, "no finding is known") for i in panel.images.ids[~known].tolist())
    images = keep_copies_together(replace(images, skipped=(*images.skipped, *unknown)))
    kept = replace(panel, images=images, marks=panel.marks[known])
    splits = np.where(images.splits == "", "train", images.splits)
    findings = images.findings
    if not (splits == "test").any():
        side = deal_groups(images.groups, known_columns(kept.truth), (fraction, 1 - fraction), seed)
        splits = np.where(side == 0, "test", splits)
        made = Finding(
            "test_split",
            "info",
            f"No test split was given: {(side == 0).sum():,} of {len(images):,} images (seed "
            f"{seed}) were set aside, every finding in its share, with groups whole.",
            {"n": int((side == 0).sum()), "seed": seed},
        )
        findings = (*findings, made)
    whole = found_again(replace(images, splits=splits, findings=findings))
    return replace(kept, images=replace(whole, stored={}))  # one pixel rule for every question


def panel_folds(panel: Panel, n_folds: int, seed: int) -> tuple[Folds, tuple[ShortFinding, ...]]:
    """The folds of the development images, and the findings that they cannot judge.

    Every fold must hold two groups with a finding, and two without.

    Raises
    ------
    FitError
        No finding can be judged.
    """
    development = panel.select(panel.images.splits != "test")
    images, truth = development.images, development.truth
    fold = deal_groups(images.groups, known_columns(truth), (1 / n_folds,) * n_folds, seed)
    short = tuple(
        found
        for at, name in enumerate(panel.names)
        if (found := _short(name, truth[:, at], images.groups, fold, n_folds))
    )
    if len(short) == len(panel.names):
        most = max(short, key=lambda one: min(one.with_it, one.without))
        raise FitError(
            f"no finding has {most.needed} patients with it and as many without among those to "
            f"learn from; the nearest is '{most.name}' ({most.with_it} with it, {most.without} "
            "without). Add images, or see --uncertain and --no-groups"
        )
    return Folds(images.ids, images.groups, fold, n_folds, seed), short


def _short(
    name: str, truth: Marks, groups: Strings, fold: Ints, n_folds: int
) -> ShortFinding | None:
    """What a finding (n,) lacks to be judged in every fold, None where it lacks nothing."""
    images = int((truth == PRESENT).sum())
    counts, spread = [], []
    for value in (PRESENT, ABSENT):
        here = truth == value
        counts.append(len(np.unique(groups[here])))
        spread += [len(np.unique(groups[here & (fold == k)])) for k in range(n_folds)]
    if min(spread) >= LEAST_A_FOLD:
        return None
    needed = LEAST_A_FOLD * n_folds
    return ShortFinding(name, images, counts[0], counts[1], needed, torn=min(counts) >= needed)


def known_columns(truth: Marks) -> Mask:
    """(n, 2 k) which images have each finding, and which are known to be without it."""
    return np.concatenate([truth == PRESENT, truth == ABSENT], axis=1)


def deal_groups(groups: Strings, columns: Mask, shares: tuple[float, ...], seed: int) -> Ints:
    """Deal groups into bins so that bin b gets about `shares[b]` of the images of every column.

    Again and again the column of which the fewest groups are left is taken, and each of them, the
    largest first, goes to the bin that lacks most images of it; of equals to the one that lacks
    most images at all, then by an order hashed from seed and name.

    Parameters
    ----------
    columns : (n, m) which images count for what.

    Returns
    -------
    bins : (n,) int64 index into `shares`
    """
    names, of = np.unique(groups, return_inverse=True)
    images = np.zeros((len(names), columns.shape[1]))
    np.add.at(images, of, columns)
    size, share = np.bincount(of).astype(float), np.array(shares)
    lacks, room = share[:, None] * images.sum(axis=0), share * len(groups)
    ties = [int.from_bytes(hashlib.blake2b(f"{seed}:{n}".encode()).digest()[:4]) for n in names]
    bins = np.full(len(names), -1, np.int64)
    while (bins < 0).any():
        left = bins < 0
        spread = (images[left] > 0).sum(axis=0)
        rarest = int(np.where(spread > 0, spread, len(names) + 1).argmin())
        none = not spread.any()  # what is left holds no column
        todo = np.flatnonzero(left if none else left & (images[:, rarest] > 0))
        for g in sorted(todo.tolist(), key=lambda g: (-size[g], ties[g])):
            wanted = room if none else lacks[:, rarest]
            first = np.lexsort(((np.arange(len(share)) + ties[g]) % len(share), -room, -wanted))[0]
            bins[g] = first
            lacks[first] -= images[g]
            room[first] -= size[g]
    return bins[of]
