"""The classes of a data set: their names, which are left out, and which is the positive one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from medgraft.data.listing import Listing, Row
from medgraft.data.names import as_seen, is_negative
from medgraft.errors import DataError
from medgraft.types import Finding, Ints

MANY_CLASSES, FEW_IMAGES = 15, 10  # of so few images each: people rather than classes


def with_class_names(listing: Listing, names: Sequence[tuple[str, str]]) -> Listing:
    """The listing with classes called as `names` (label, name) says; others keep their own.

    Raises
    ------
    DataError
        A label that is given a name does not occur, or is given two.
    """
    if not names:
        return listing
    there = {row.label for row in listing.rows if row.label}
    known = dict(names)
    absent = [label for label in known if label not in there]
    if absent or len(known) < len(names):
        what = f"no image has the label '{absent[0]}'" if absent else "one label has two names"
        raise DataError(f"--class-names: {what}; the labels are {', '.join(sorted(there)[:20])}")
    rows = [replace(row, label=known.get(row.label, row.label)) for row in listing.rows]
    return replace(listing, rows=rows)


def change_classes(
    rows: Sequence[Row],
    leave_out: Sequence[str] = (),
    rename: Sequence[tuple[str, str]] = (),
    drop_below: int = 0,
) -> tuple[list[Row], list[Finding]]:
    """Rename classes, then leave out those named (by either name), then those of few images.

    Raises
    ------
    DataError
        A class named is none, is renamed twice, or nothing is left.
    """
    renamed = _names_of(rows, rename)
    kept = list(rows)
    if renamed:
        kept = [replace(row, label=renamed.get(row.label, row.label)) for row in rows]
    counts = Counter(row.label for row in kept if row.label)
    for name in leave_out:
        if name not in counts and name not in renamed:
            raise DataError(f"--leave-out '{name}' is no class; there are {_listed(counts)}")
    out = {renamed.get(name, name) for name in leave_out}
    few = {name for name, n in counts.items() if n < drop_below} - out
    kept = [row for row in kept if row.label not in out | few]
    if counts and not any(row.label for row in kept):
        raise DataError(
            f"--leave-out and --drop-classes-below leave no class of {_listed(counts)}; keep two"
        )
    findings = []
    if renamed:
        pairs = ", ".join(f"{old} as {new}" for old, new in renamed.items())
        findings.append(Finding("classes", "info", f"Classes were renamed: {pairs}."))
    if out | few:
        n = len(rows) - len(kept)
        what = ", ".join(f"{name} ({counts[name]:,})" for name in sorted(out | few))
        text = f"Classes were left out, as asked for: {what}; {n:,} images."
        findings.append(Finding("classes", "info", text, {"images": n}))
    return kept, findings


def _names_of(rows: Sequence[Row], rename: Sequence[tuple[str, str]]) -> dict[str, str]:
    names = Counter(row.label for row in rows if row.label)
    found: dict[str, str] = {}
    for old, new in rename:
        if old not in names:
            raise DataError(
                f"--rename '{old}={new}': '{old}' is no class; there are {_listed(names)}"
            )
        if not new.strip():
            raise DataError(f"--rename '{old}={new}' has no new name; use --leave-out '{old}'")
        if found.setdefault(old, new.strip()) != new.strip():
            raise DataError(f"--rename gives '{old}' two names: {found[old]} and {new}; keep one")
    return found


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} ({n:,})" for name, n in sorted(counts.items())) or "none"


def one_spelling(rows: list[Row]) -> list[Row]:
    """The rows with classes as the eye sees them: a folder zipped on a Mac spells an é in two."""
    seen = {name: as_seen(name) for name in {row.label for row in rows}}
    if all(name == look for name, look in seen.items()):
        return rows
    return [replace(row, label=seen[row.label]) for row in rows]


def classes_of(rows: Sequence[Row], data: str | Path, one_class: bool) -> tuple[str, ...]:
    """The classes by name; where all names are whole numbers, by value."""
    names = {row.label for row in rows if row.label}
    numbered = all(name.isdecimal() for name in names)
    classes = tuple(sorted(names, key=lambda name: (int(name) if numbered else 0, name)))
    twins: dict[str, list[str]] = {}
    for name in classes:
        twins.setdefault(name.casefold(), []).append(name)
    alike = [names for names in twins.values() if len(names) > 1]
    if alike:
        flags = [f"--rename '{name}={names[-1]}'" for names in alike for name in names[:-1]]
        raise DataError(
            f"the classes {'; '.join(', '.join(names) for names in alike)} differ only in case, so "
            f"one class may stand under two names; join them with {' '.join(flags)}"
        )
    if not classes:
        raise DataError(f"no image in {data} has a label; fill in the label column")
    if len(classes) == 1 and not one_class:
        raise DataError(
            f"{data} has one class only ({classes[0]}), two are needed; add images of another "
            "class, or say with --layout which folder is the class"
        )
    return classes


def choose_positive(
    classes: tuple[str, ...], wanted: str | None = None
) -> tuple[str | None, tuple[Finding, ...]]:
    """The positive class of two, and a warning where it was guessed.

    It is the one whose name does not say that nothing was found (`names.is_negative`: normal_lung,
    no_finding, NonDemented, without_polyp), or 1 against 0; where that leaves none or both, the
    last by name.

    Raises
    ------
    DataError
        `wanted` is no class, or there are not two classes.

    Examples
    --------
    >>> choose_positive(("NORMAL", "PNEUMONIA"))
    ('PNEUMONIA', ())
    >>> choose_positive(("abnormal", "no finding"))[0]
    'abnormal'
    """
    if wanted is not None:
        if len(classes) != 2:
            raise DataError(
                f"a positive class ('{wanted}') needs two classes, and there are {len(classes)} "
                f"({', '.join(classes)}); leave --positive out"
            )
        chosen = [name for name in classes if name.casefold() == wanted.casefold()]
        if not chosen:
            raise DataError(
                f"the positive class '{wanted}' is none of {', '.join(classes)}; pass one of them "
                "to --positive"
            )
        return chosen[0], ()
    if len(classes) != 2:
        return None, ()
    if set(classes) == {"0", "1"}:
        return "1", ()
    candidates = [name for name in classes if not is_negative(name)]
    if len(candidates) == 1:
        return candidates[0], ()
    guess = classes[-1]
    return guess, (
        Finding(
            "positive_class",
            "warn",
            f"'{guess}' was guessed to be the positive class, because it is the last by name.",
            remedy=f"Pass --positive {classes[0]} or --positive {guess}.",
        ),
    )


def label_findings(labels: Ints, classes: tuple[str, ...], ids: list[str]) -> list[Finding]:
    """What is thin about the labels: images that have none, and classes of a single image."""
    findings = []
    missing = [ids[i] for i in np.flatnonzero(labels == -1)]
    if missing:
        findings.append(
            Finding(
                "missing_label",
                "warn",
                f"{len(missing)} of {len(ids)} images have no label and cannot be learned from.",
                {"n": len(missing)},
                tuple(missing),
                "Fill in their labels, or leave the rows out.",
            )
        )
    counts = np.bincount(labels[labels >= 0], minlength=len(classes))
    for index in np.flatnonzero(counts == 1):
        findings.append(
            Finding(
                "class_of_one",
                "warn",
                f"The class '{classes[index]}' has a single image.",
                {"n": 1},
                (ids[int(np.flatnonzero(labels == index)[0])],),
                "Add images of it, or leave it out: --drop-classes-below 2.",
            )
        )
    seen = counts[counts > 0]
    if len(seen) >= MANY_CLASSES and np.median(seen) <= FEW_IMAGES:
        findings.append(
            Finding(
                "many_small_classes",
                "warn",
                f"{len(seen)} classes have {int(np.median(seen))} images each in the median, as "
                "patients' folders do.",
                {"classes": len(seen), "median": int(np.median(seen))},
                remedy="If they are patients, give the labels in a table; if they are classes, "
                "--drop-classes-below N leaves out the thin ones.",
            )
        )
    return findings
