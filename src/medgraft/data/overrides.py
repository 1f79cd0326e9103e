"""Corrections that a person has approved, `path,action,value,why`, applied to a table.

`medgraft profile --out` writes such a CSV; one written by hand does as well, in any kind of table
file.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from medgraft.data.missing import is_missing
from medgraft.data.tables.column_names import plain
from medgraft.data.tables.files import TableFile, read_table_file
from medgraft.data.tables.images import ImageFiles
from medgraft.errors import DataError
from medgraft.files import from_csv_cell
from medgraft.panel import Panel
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
    tables = read_table_file(path)
    fitting = [table for table in tables if all(_column(table, name) for name in NEEDED)]
    if not fitting:
        header = tables[0].header
        missing = next(name for name in NEEDED if not _column(tables[0], name))
        raise DataError(
            f"{path} has no column {missing!r} (columns: {', '.join(header)}); overrides have the "
            "columns path,action,value,why"
        )
    table = fitting[0]
    columns = [_column(table, name) for name in ("path", "action", "value", "why")]
    cells = [table.column(name) if name else [""] * len(table.rows) for name in columns]
    found = tuple(
        Override(
            line, from_csv_cell(path_.strip()), action.strip().lower(), _said(value), _said(why)
        )
        for line, path_, action, value, why in zip(table.lines, *cells, strict=True)
    )
    _check(path, found)
    return found


def _said(cell: str) -> str:
    return "" if is_missing(cell) else from_csv_cell(cell.strip())


def _column(table: TableFile, wanted: str) -> str:
    """The column of this name in any capitals, '' where there is none."""
    return next((name for name in table.header if plain(name) == wanted), "")


def _check(path: Path, overrides: Sequence[Override]) -> None:
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
    _refuse_contradictions(path, overrides)


def _refuse_contradictions(path: Path, overrides: Sequence[Override]) -> None:
    earlier: dict[str, Override] = {}
    for one in overrides:
        where = f"{path}, line {one.line}"
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
    overrides = _with_ids(read_overrides(path), table, path)
    row_of = {str(id): row for row, id in enumerate(table.ids.tolist())}
    labels, kept = table.labels.copy(), np.ones(len(table), bool)
    groups = table.groups.astype(object)  # names of any length
    known, alone = set(table.groups.tolist()), set[str]()
    gone = {}
    for one in overrides:
        row = row_of[one.path]
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
            groups[row] = _group_of(one, known, path)
            alone |= {one.path} if groups[row] not in known else set()
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
        findings=(*table.findings, *_told(overrides, path), *_new_groups(changed, alone, path)),
    )


def _group_of(one: Override, known: Collection[str], path: Path) -> str:
    """The group that a line names, whole or without what says where it was read; or a new one."""
    if one.value in known:
        return one.value
    named = sorted(group for group in known if group.partition(":")[2] == one.value)
    if len(named) > 1:
        raise DataError(
            f"{path}, line {one.line}: group {one.value} may be {' or '.join(named)}; give one of "
            "them in full"
        )
    return named[0] if named else one.value


def _new_groups(changed: ImageTable, moved: Collection[str], path: Path) -> tuple[Finding, ...]:
    """Groups that a file made of one image each: perhaps the name of another was meant."""
    names, counts = np.unique(changed.groups, return_counts=True)
    single = set(names[counts == 1].tolist())
    pairs = zip(changed.ids.tolist(), changed.groups.tolist(), strict=True)
    found = [id_ for id_, group in pairs if id_ in moved and group in single]
    if not found:
        return ()
    said = ", ".join(found[:3]) + (" and others" if len(found) > 3 else "")
    return (
        Finding(
            "overrides_new_group",
            "warn",
            f"{path.name} puts {len(found):,} images into groups that no other image has: {said}.",
            {"images": len(found)},
            tuple(found[:12]),
            remedy="If the group of other images was meant, name it as predictions.parquet does.",
        ),
    )


def apply_to_panel(panel: Panel, path: Path) -> Panel:
    """The same of images with several findings: they can be excluded or given another group.

    Raises
    ------
    DataError
        As `apply_overrides`; or an image is to be relabelled.
    """
    for one in read_overrides(path):
        if one.action == "relabel":
            raise DataError(
                f"{path}, line {one.line}: relabel {one.value} does not say which of several "
                "findings is meant; correct the table of findings itself, and take the line out"
            )
    images = apply_overrides(panel.images, path)
    return replace(panel.select(np.isin(panel.images.ids, images.ids)), images=images)


def _with_ids(overrides: Sequence[Override], table: ImageTable, path: Path) -> tuple[Override, ...]:
    """The same with the table's ids, which lines may name as rows of a table name images."""
    root = Path(table.root or ".").absolute()
    id_of = {Path(os.path.normpath(root / id_)): str(id_) for id_ in table.ids.tolist()}
    matched = ImageFiles([root], list(id_of)).match([one.path for one in overrides])
    found = []
    for at, (one, file) in enumerate(zip(overrides, matched.files, strict=True)):
        if file is None:
            both = matched.unsure.get(at)
            what = (
                f"{one.path!r} is the name of {' and '.join(id_of[f] for f in both[:2])}; give its "
                "path" if both else
                f"{one.path!r} is no image of this data, whose images are named like "
                f"{table.ids[0]!s}; correct the path, or take the line out"
            )  # fmt: skip
            raise DataError(f"{path}, line {one.line}: {what}")
        found.append(replace(one, path=id_of[file]))
    _refuse_contradictions(path, found)
    return tuple(found)


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
