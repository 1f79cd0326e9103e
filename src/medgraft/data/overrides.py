"""Corrections that a person has approved: a CSV `path,action,value,why`, applied to a table.

`medgraft profile --out` writes such a file; one written by hand does as well.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from medgraft.errors import DataError
from medgraft.types import Finding, ImageTable, Skipped

ACTIONS = ("exclude", "relabel", "group")
NEEDED = ("path", "action")


@dataclass(frozen=True, slots=True)
class Override:
    """One line of the file."""

    line: int
    path: str
    action: str
    value: str
    why: str


def read_overrides(path: Path) -> tuple[Override, ...]:
    """Read the file's lines, checked for what can be known without a table.

    Raises
    ------
    DataError
        The file cannot be read or lacks a column; a line has an unknown action, no path, a
        missing value, or says something else of an image than an earlier line.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            missing = [name for name in NEEDED if name not in columns]
            if missing:
                raise DataError(
                    f"{path} has no column {missing[0]!r} (columns: {', '.join(columns)}); "
                    "overrides have the columns path,action,value,why"
                )
            found = tuple(
                Override(reader.line_num, *((row.get(name) or "").strip() for name in
                         ("path", "action", "value", "why")))
                for row in reader
            )  # fmt: skip
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"{path} cannot be read ({reason}); give a CSV with the columns path,action,value,why"
        ) from error
    _check(path, found)
    return found


def _check(path: Path, overrides: Sequence[Override]) -> None:
    earlier: dict[str, Override] = {}
    for one in overrides:
        where = f"{path}, line {one.line}"
        if not one.path:
            raise DataError(f"{where} names no image; fill in its path, or take the line out")
        if one.action not in ACTIONS:
            raise DataError(
                f"{where}: there is no action {one.action!r}; use one of {', '.join(ACTIONS)}"
            )
        if one.action != "exclude" and not one.value:
            what = "class" if one.action == "relabel" else "group"
            raise DataError(f"{where}: {one.action} needs a value; give the image's {what}")
        before = earlier.setdefault(one.path, one)
        if (before.action, before.value) != (one.action, one.value):
            raise DataError(
                f"{where} says {one.action} {one.value} of {one.path}, and line {before.line} says "
                f"{before.action} {before.value}; keep one of the two".replace("  ", " ")
            )


def apply_overrides(table: ImageTable, path: Path) -> ImageTable:
    """The table with the file's corrections; excluded images are named in `skipped`.

    Raises
    ------
    DataError
        As `read_overrides`; a path is no image of the table, a class is none of its classes, or a
        class has no image left. The text names the line.
    """
    overrides = read_overrides(path)
    row_of = {str(id): row for row, id in enumerate(table.ids.tolist())}
    labels, kept = table.labels.copy(), np.ones(len(table), bool)
    groups = table.groups.astype(object)  # names of any length
    gone = {}
    for one in overrides:
        row = row_of.get(one.path)
        if row is None:
            first = next(iter(row_of))
            raise DataError(
                f"{path}, line {one.line}: {one.path!r} is no image of this data, whose images "
                f"are named like {first!r}; correct the path, or take the line out"
            )
        if one.action == "exclude":
            kept[row] = False
            gone[one.path] = Skipped(
                one.path, f"excluded by {path.name}" + (f": {one.why}" if one.why else "")
            )
        elif one.action == "relabel":
            if one.value not in table.classes:
                raise DataError(
                    f"{path}, line {one.line}: {one.value!r} is none of the classes "
                    f"{', '.join(table.classes)}; relabel to one of them"
                )
            labels[row] = table.classes.index(one.value)
        else:
            groups[row] = one.value
    counts = np.bincount(labels[kept & (labels >= 0)], minlength=len(table.classes))
    if (counts == 0).any():
        empty = table.classes[int(counts.argmin())]
        raise DataError(f"{path} leaves no image of class {empty!r}; keep some of them")
    changed = replace(
        table, labels=labels, groups=np.array(groups.tolist(), dtype=np.str_)
    ).select(kept)  # fmt: skip
    return replace(
        changed,
        skipped=(*table.skipped, *gone.values()),
        findings=(*table.findings, *_told(overrides, path)),
    )


def _told(overrides: Sequence[Override], path: Path) -> tuple[Finding, ...]:
    """What was changed, counted."""
    numbers = {
        action: len({one.path for one in overrides if one.action == action}) for action in ACTIONS
    }
    if not overrides:
        return ()
    text = (
        f"{path.name} excluded {numbers['exclude']:,} images, relabelled {numbers['relabel']:,} "
        f"and regrouped {numbers['group']:,}."
    )
    paths = tuple(dict.fromkeys(one.path for one in overrides if one.action != "exclude"))
    return (Finding("overrides", "info", text, numbers, paths[:12]),)
