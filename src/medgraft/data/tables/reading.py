"""What a table says of the images at hand, and the `Listing` that it gives."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from medgraft.data.listing import Listing, Row, file_problem, shown
from medgraft.data.missing import is_missing
from medgraft.data.tables.column_names import plain
from medgraft.data.tables.files import TableFile
from medgraft.data.tables.findings import agreed, differ, opposed_finding
from medgraft.data.tables.image_columns import ImageColumn
from medgraft.data.tables.images import WAYS, ImageFiles
from medgraft.data.tables.one_hot import LabelChoice
from medgraft.data.tables.splits import SplitChoice, folds_finding
from medgraft.errors import AmbiguousDataError, DataError
from medgraft.types import Finding, Reading, Skipped, Source

MANY = 1 / 20  # of the rows that name no image, to warn of it


@dataclass(frozen=True)
class TableReading:
    """What a table says of the images at hand.

    n_images : how many of them it names; n_nameless : its rows that name none of them.
    classes : images by class, or by finding; empty where no label is sure, and `why_not` says why
    and what flag helps, as does `question` where there is a choice. further : columns that are
    neither label nor split nor image. key : the column by which a row names all images of a
    patient, '' where rows name images. joined : the
    other tables that columns were added from, with which, in words; torn : by column, that rows
    differ.
    """

    path: Path
    root: Path
    table: TableFile | None = None
    images: ImageColumn | None = None
    n_known: int = 0
    label: LabelChoice | None = None
    split: SplitChoice | None = None
    mask_column: str | None = None
    why_not: str = ""
    question: AmbiguousDataError | None = None
    key: str = ""
    joined: tuple[tuple[Path, str], ...] = ()
    torn: Mapping[str, str] = field(default_factory=dict)

    @property
    def sure(self) -> bool:
        """Whether it names images and gives them classes, and only one reading is possible."""
        return not self.why_not and self.label is not None and self.n_images > 0

    @property
    def n_images(self) -> int:
        return self.images.matched.n_files if self.images else 0

    @property
    def n_nameless(self) -> int:
        return (
            len(self.table.rows) - self.images.matched.n_rows if self.table and self.images else 0
        )

    @property
    def label_columns(self) -> tuple[str, ...]:
        return self.label.columns if self.label else ()

    @cached_property
    def rows(self) -> list[int]:
        """The table's rows that name an image, each image once."""
        seen: set[Path] = set()
        found = []
        for row, file in enumerate(self.images.matched.files if self.images else ()):
            if file is not None and file not in seen:
                seen.add(file)
                found.append(row)
        return found

    @property
    def classes(self) -> Mapping[str, int]:
        if self.label is None:
            return {}
        if self.label.marked:
            return self.label.marked.counts(self.rows)
        return dict(Counter(self.label.labels[row] for row in self.rows if self.label.labels[row]))

    @property
    def further(self) -> tuple[str, ...]:
        """The columns that are kept beside the images as they are."""
        if self.table is None:
            return ()
        used = {*self.label_columns, *(self.split.columns if self.split else ()), self.mask_column}
        used |= set(self.label.copies if self.label else ())
        used |= set(self.images.columns[-1:] if self.images else ())
        if self.label and len(self.label_columns) > 1:
            used |= set(self.label.empty)
        return tuple(name for name in self.table.header if name not in used)

    @property
    def sentence(self) -> str:
        """What is taken from the table, or why nothing is, to be shown."""
        if self.table is None or self.images is None or self.label is None or self.why_not:
            return self.why_not
        columns = self.label.columns
        which = f"column {columns[0]}" if len(columns) == 1 else f"columns {', '.join(columns)}"
        what = "findings of each image" if self.label.marked else "labels"
        text = f"{self.table.name} gives the {what}: {which}"
        if self.n_known:
            text += f", {self.n_images:,} of {self.n_known:,} images"
        else:
            text += f", {self.n_images:,} images"
        by = self.key or "/".join(self.images.columns)
        text += f", found by {by} ({WAYS[self.images.matched.way]})"
        if self.split:
            text += f"; splits by {', '.join(self.split.columns)}"
        if copies := self.label.copies:
            say = "says the same and is" if len(copies) == 1 else "say the same and are"
            text += f"; {', '.join(copies)} {say} left out"
        if others := self.label.others:
            flags = " or ".join(f"--label-column '{name}'" for name in others)
            text += f"; {', '.join(others)} could be the label too ({flags})"
        return "; ".join([text, *(added for _, added in self.joined)])

    def listing(self) -> Listing:
        """The images with their labels, as the table gives them.

        Raises
        ------
        DataError
            Nothing is sure (`why_not`), a split has an unknown name, or an image has two labels
            or splits.
        """
        if not self.sure:
            if self.question is not None and str(self.question) == self.why_not:
                raise self.question
            raise DataError(self.why_not or f"{self.path.name} names no image that exists")
        return self._listing

    @cached_property
    def _listing(self) -> Listing:
        return replace(_listing(self), reading=Reading(self.sentence))


def id_of(file: Path | None, root: Path) -> str:
    """The id of an image, by its path below `root`."""
    return shown(Path(os.path.relpath(file or root, root)).as_posix())


def _listing(reading: TableReading) -> Listing:
    table, images, label = reading.table, reading.images, reading.label
    assert table is not None
    assert images is not None
    assert label is not None
    cells = table.column(images.columns[-1])
    masks = table.column(reading.mask_column) if reading.mask_column else [""] * len(cells)
    groups = table.column(reading.key) if reading.key else [""] * len(cells)
    further = [table.column(name) for name in reading.further]
    beside = ImageFiles([table.path.parent, reading.root])
    rows: dict[str, Row] = {}
    at: dict[str, int] = {}
    skipped: list[Skipped] = []
    again: list[int] = []
    opposed: set[str] = set()
    for index, file in enumerate(images.matched.files):
        if file is None:
            if not reading.n_known and not reading.key:
                skipped.append(_skipped(table, index, cells[index], beside))
            continue
        id_ = id_of(file, reading.root)
        split = reading.split.at(table, index) if reading.split else ""
        mask = "" if is_missing(masks[index]) else str(beside.at(masks[index]) or "")
        extra = tuple("" if is_missing(c[index]) else c[index].strip() for c in further)
        row = Row(
            id_, Source(str(file)), label.labels[index], split, mask,
            extra=extra, group=groups[index].strip(),
            marks=label.marked.marks[index] if label.marked else (),
        )  # fmt: skip
        if id_ in rows:
            _refuse_contradiction(reading, rows[id_], at[id_], row, index)
            again.append(index)
            if differ(rows[id_].marks, row.marks):
                opposed.add(id_)
            rows[id_] = replace(rows[id_], marks=agreed(rows[id_].marks, row.marks))
            if reading.key:
                rows[id_] = replace(rows[id_], extra=_agreed(rows[id_].extra, extra))
        else:
            rows[id_], at[id_] = row, index
    findings = [*label.findings, *_told(reading, again), *opposed_finding(table, sorted(opposed))]
    ordered = [rows[id_] for id_ in sorted(rows)]
    return Listing(
        reading.root, ordered, skipped, findings, columns=reading.further, key=reading.key,
        marked=label.marked.names if label.marked else (),
    )  # fmt: skip


def _agreed(first: Sequence[str], second: Sequence[str]) -> tuple[str, ...]:
    """What two rows of one patient say alike: of one visit, what they say otherwise is not sure."""
    return tuple(a if a == b else "" for a, b in zip(first, second, strict=True))


def _skipped(table: TableFile, row: int, cell: str, beside: ImageFiles) -> Skipped:
    if is_missing(cell):
        return Skipped(table.place(row), "the path is empty")
    file = Path(os.path.normpath(beside.bases[0] / cell))
    problem = file_problem(file)
    return Skipped(id_of(file, beside.bases[0]), f"{problem or 'no image'} ({table.place(row)})")


def _told(reading: TableReading, again: Sequence[int]) -> list[Finding]:
    """What a person should know of how a table was read, where it is more than path and label."""
    table, images = reading.table, reading.images
    assert table is not None
    assert images is not None
    findings = []
    plainly = images.matched.way == "path" and plain(images.columns[-1]) == "path"
    more = reading.label and (reading.label.copies or reading.label.others)
    if more or not (plainly and [plain(c) for c in reading.label_columns] == ["label"]):
        numbers = {"images": reading.n_images, "rows": len(table.rows)}
        findings.append(Finding("table", "info", f"{reading.sentence}.", numbers))
    findings += [Finding("table_read_as", "info", text) for text in table.assumed]
    if not reading.split:
        findings += folds_finding(table, reading.further)
    findings += _elsewhere(reading)
    if again:
        text = (
            f"{len(again):,} rows of {table.name} name an image that an earlier row names, with "
            f"the same label (the first in {table.place(again[0])}); the earlier one is kept."
            if not (reading.label and reading.label.marked)
            else f"{len(again):,} rows of {table.name} name an image that an earlier row names "
            f"(the first in {table.place(again[0])}); what they say of findings was joined."
        )
        shown_ = tuple(id_of(images.matched.files[i], reading.root) for i in again[:12])
        findings.append(Finding("repeated_rows", "info", text, {"n": len(again)}, shown_))
    if (reading.n_known or reading.key) and reading.n_nameless:
        findings.append(_nameless(reading, table, images))
    return findings


def _nameless(reading: TableReading, table: TableFile, images: ImageColumn) -> Finding:
    """Rows that name no image; a warning where there are many."""
    first = next(row for row, file in enumerate(images.matched.files) if file is None)
    cell = table.column(reading.key or images.columns[-1], [first])[0].strip()[:80]
    n = reading.n_nameless
    without = max(0, reading.n_known - reading.n_images)
    text = f"{n:,} rows of {table.name} name no image that is here"
    part = not without and n > len(table.rows) - MANY * len(table.rows)  # of a large set, plainly
    many = n > MANY * len(table.rows) and not part
    if many:
        text += f", such as '{cell}' ({table.unit} {table.lines[first]})"
        text += f"; {without:,} images have no row" if without else ""
    remedy = "If their images should be here, look at how the two are named." if many else ""
    return Finding(
        "rows_without_image", "warn" if many else "info", f"{text}.", {"n": n}, remedy=remedy
    )


def _elsewhere(reading: TableReading) -> list[Finding]:
    """Images found by their file name alone, in folders that the table's paths do not name.

    One folder for many, or many for one, is a folder renamed or emptied into another; several for
    several, none called alike, may be other images of the same names.
    """
    images, table = reading.images, reading.table
    assert table is not None
    assert images is not None
    if images.matched.way != "tail" or reading.key:
        return []
    pairs: dict[tuple[str, str], int] = {}
    for row, (cell, file) in enumerate(
        zip(table.column(images.columns[-1]), images.matched.files, strict=True)
    ):
        parts = [part for part in cell.replace("\\", "/").split("/") if part.strip()]
        if file is not None and len(parts) > 1:
            named, there = parts[-2].strip().casefold(), file.parent.name.casefold()
            if named != there:
                pairs.setdefault((named, there), row)
    n_named, n_there = len({a for a, _ in pairs}), len({b for _, b in pairs})
    if n_named < 2 or n_there < 2:
        return []
    row = next(iter(pairs.values()))
    cell = table.column(images.columns[-1], [row])[0].strip()[:120]
    found = id_of(images.matched.files[row], reading.root)
    text = (
        f"{table.name} names images in {n_named} folders that were found by file name alone, in "
        f"{n_there} others, such as '{cell}' in '{found}'."
    )
    return [
        Finding(
            "found_elsewhere", "warn", text, {"folders": n_named}, (found,),
            "If these are other images of the same names, correct the paths in the table.",
        )
    ]  # fmt: skip


def _refuse_contradiction(
    reading: TableReading, first: Row, at: int, second: Row, row: int
) -> None:
    table = reading.table
    assert table is not None
    for what, a, b in (
        ("labels", first.label, second.label),
        ("splits", first.split, second.split),
    ):
        if a != b and not (what == "labels" and first.marks):
            one, other = (f"{table.unit} {table.lines[i]}" for i in (at, row))
            which = f"{reading.key} '{second.group}'" if reading.key else f"'{first.id}'"
            remedy = "keep one of the rows"
            if reading.key:
                remedy += ", or name the image of each in a column path"
            raise DataError(
                f"{table.name} gives {which} two {what}: '{a}' in {one} and '{b}' in {other}; "
                f"{remedy}"
            )
