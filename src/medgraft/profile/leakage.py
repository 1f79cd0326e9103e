"""Whether images that should be apart are: patients or copies on both sides of a split.

Sides are development (train and val, which are learned from together) and test. Images that are
near copies but not equal byte for byte are not looked for here; whether guessed groups are patients
is judged in `group_similarity.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from medgraft.types import Finding, ImageTable, Ints

Mask = NDArray[np.bool_]

EXAMPLES = 12  # ids that a finding names


def counted(n: int, one: str, many: str = "") -> str:
    """The number with its noun.

    >>> counted(1, "image"), counted(1200, "image"), counted(2, "copy", "copies")
    ('1 image', '1,200 images', '2 copies')
    """
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def examples(ids: Iterable[str]) -> tuple[str, ...]:
    """The first `EXAMPLES` ids."""
    return tuple(str(id_) for id_ in ids)[:EXAMPLES]


# --------------------------------------------------------------------------- groups


def groups_across_splits(table: ImageTable) -> tuple[Finding, ...]:
    """Say which groups lie on both sides of the test border, or in train and val.

    A grouping that was only guessed from file names is left to
    `group_similarity.numbering_or_leakage`, because equal guesses are no proof of equal patients.
    """
    findings = []
    test = table.splits == "test"
    torn = np.intersect1d(table.groups[test], table.groups[~test])
    if len(torn) and not guessed_from_names(table):
        rows = np.isin(table.groups, torn)
        affected = int((rows & test).sum())
        findings.append(
            Finding(
                "groups_across_splits",
                "severe",
                f"{counted(len(torn), 'group')} (patients, if that is what groups are) with "
                f"{counted(int(rows.sum()), 'image')} in all lie both among the images to learn "
                f"from and in the test split; {affected:,} of {int(test.sum()):,} test images are "
                "affected. A model may recognise the patient instead of the disease, so test "
                "figures will look better than they are.",
                {"groups": len(torn), "images": int(rows.sum()), "test_images": affected},
                _one_of_each(table, rows),
                "Move each group to one side. If the numbers in the names start anew in each "
                "split, group by a longer part of the name (--group).",
            )
        )
    val = table.splits == "val"
    joined = np.intersect1d(table.groups[val], table.groups[~val & ~test])
    if len(joined):
        rows = np.isin(table.groups, joined) & ~test
        findings.append(
            Finding(
                "groups_across_train_and_val",
                "info",
                f"{counted(len(joined), 'group')} with {counted(int(rows.sum()), 'image')} in all "
                "lie in both train and val. That does no harm here: the two are joined, and "
                "divided anew with groups kept whole.",
                {"groups": len(joined), "images": int(rows.sum())},
                _one_of_each(table, rows),
            )
        )
    return tuple(findings)


def guessed_from_names(table: ImageTable) -> bool:
    """Whether the grouping was proposed from file names, and nobody confirmed it."""
    return table.grouping.guessed and table.grouping.rule.startswith("regex:")


def _one_of_each(table: ImageTable, rows: Mask) -> tuple[str, ...]:
    """Example ids: of each group among these rows, one image of each split."""
    index = np.flatnonzero(rows)
    columns = np.stack([_numbered(table.groups[index]), _numbered(table.splits[index])])
    _, first = np.unique(columns, axis=1, return_index=True)
    return examples(table.ids[index[first]])


# --------------------------------------------------------------------------- copies


def identical_files(table: ImageTable) -> tuple[Finding, ...]:
    """Find images that are equal byte for byte, and say where their copies lie.

    One finding counts all sets of copies; further ones name the sets that do harm: under two
    labels, on both sides of the test border, in several groups. A set may be in more than one.
    """
    copy_of = _numbered(table.content_hashes)
    in_set = np.bincount(copy_of)[copy_of] > 1
    if not in_set.any():
        return ()
    n_sets = len(np.unique(copy_of[in_set]))
    surplus = int(in_set.sum()) - n_sets
    spread = {
        "classes": _spread_sets(copy_of, table.labels, in_set & (table.labels >= 0)),
        "splits": _spread_sets(copy_of, _numbered(table.splits == "test"), in_set),
        "groups": _spread_sets(copy_of, _numbered(table.groups), in_set),
    }
    n_spread = {f"sets_across_{what}": len(sets) for what, sets in spread.items()}
    no_label, no_split, no_group = (n or "none" for n in n_spread.values())
    counts = Finding(
        "identical_files",
        "info",
        f"{counted(n_sets, 'set')} of identical files ({counted(surplus, 'copy', 'copies')} more "
        f"than needed). With copies under different labels: {no_label}; on both sides of the "
        f"test border: {no_split}; in different groups: {no_group}.",
        {"sets": n_sets, "surplus": surplus, **n_spread},
        _set_by_set(table, copy_of, in_set),
    )
    harmful = (
        _harm(table, copy_of, sets, HARMS[what]) for what, sets in spread.items() if len(sets)
    )
    return (counts, *harmful)


HARMS = {  # what `identical_files` says of copies that lie apart; the counts are put before it
    "classes": Finding(
        "identical_files_across_classes",
        "severe",
        "carry different labels: the same picture is called two things, so at least one of its "
        "labels is wrong.",
        remedy="Look at them, and correct or exclude the wrong ones.",
    ),
    "splits": Finding(
        "identical_files_across_splits",
        "severe",
        "lie both among the images to learn from and in the test split: the model is asked what "
        "it has been told, so test figures will look better than they are.",
        remedy="Exclude the copies on one side.",
    ),
    "groups": Finding(
        "identical_files_across_groups",
        "info",
        "lie in different groups (patients, if that is what groups are), so a name may be wrong. "
        "Among the images to learn from a study joins such groups, so that no image judges what "
        "its copy taught; in a test split they count as images of different patients.",
        remedy="Keep one of each set, or give its images the same group.",
    ),
}


def _harm(table: ImageTable, copy_of: Ints, sets: Ints, harm: Finding) -> Finding:
    rows = np.isin(copy_of, sets)
    n_images = int(rows.sum())
    return replace(
        harm,
        text=f"Identical files ({counted(len(sets), 'set')}, {n_images:,} images) {harm.text}",
        numbers={"sets": len(sets), "images": n_images, "surplus": n_images - len(sets)},
        images=_set_by_set(table, copy_of, rows),
    )


def _numbered(column: NDArray[np.generic]) -> Ints:
    """(n,) each value as a number, equal for equal values."""
    index: Ints = np.unique(column, return_inverse=True)[1].astype(np.int64)
    return index


def _spread_sets(set_of: Ints, value: Ints, rows: Mask) -> Ints:
    """The sets that hold more than one value among these rows."""
    pairs = np.unique(np.stack([set_of[rows], value[rows]]), axis=1)
    sets, n_values = np.unique(pairs[0], return_counts=True)
    return sets[n_values > 1]


def _set_by_set(table: ImageTable, set_of: Ints, rows: Mask) -> tuple[str, ...]:
    """Example ids, those of one set next to each other, in the order of each set's first."""
    index = np.flatnonzero(rows)
    first = {int(s): i for i, s in reversed(list(enumerate(set_of[index])))}
    order = sorted(range(len(index)), key=lambda i: (first[int(set_of[index[i]])], i))
    return examples(table.ids[index[order]])
