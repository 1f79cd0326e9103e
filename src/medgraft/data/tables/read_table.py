"""A table and the images it names → a `Listing`; what a table beside images says of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from medgraft.data.listing import Listing, Row, file_problem, shown
from medgraft.data.names import SPLIT_NAMES
from medgraft.data.tables.column_names import plain
from medgraft.data.tables.columns import choose_labels, choose_split, split_of
from medgraft.data.tables.dicom_lookup import with_paths
from medgraft.data.tables.files import TableFile, nothing_in, read_table_file
from medgraft.data.tables.image_columns import (
    ImageColumn,
    image_column,
    mask_column,
    names_nothing,
)
from medgraft.data.tables.images import WAYS, ImageFiles
from medgraft.data.tables.labels import counted
from medgraft.data.tables.missing import is_missing
from medgraft.data.tables.one_hot import LabelChoice
from medgraft.data.tables.options import TableOptions
from medgraft.errors import DataError
from medgraft.types import Finding, Reading, Skipped, Source, Split


@dataclass(frozen=True)
class TableReading:
    """What a table says of the images at hand.

    n_images : how many of them it names; n_nameless : its rows that name none of them.
    classes : images by class; empty where no label is sure, and `why_not` says why and what flag
    helps. further : columns that are neither label nor split nor image.
    """

    path: Path
    root: Path
    table: TableFile | None = None
    images: ImageColumn | None = None
    n_known: int = 0
    label: LabelChoice | None = None
    split_column: str | None = None
    mask_column: str | None = None
    why_not: str = ""

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
        return dict(Counter(self.label.labels[row] for row in self.rows if self.label.labels[row]))

    @property
    def splits(self) -> Mapping[str, int]:
        if self.table is None or self.split_column is None:
            return {}
        cells = self.table.column(self.split_column, self.rows)
        return dict(Counter(split_of(cell) or "" for cell in cells))

    @property
    def further(self) -> tuple[str, ...]:
        """The columns that are kept beside the images as they are."""
        if self.table is None:
            return ()
        used = {*self.label_columns, self.split_column, self.mask_column}
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
        text = f"{self.table.name} gives the labels: {which}"
        if self.n_known:
            text += f", {self.n_images:,} of {self.n_known:,} images"
        else:
            text += f", {self.n_images:,} images"
        by = "/".join(self.images.columns)
        text += f", found by {by} ({WAYS[self.images.matched.way]})"
        if self.split_column:
            text += f"; splits by {self.split_column}"
        if copies := self.label.copies:
            say = "says the same and is" if len(copies) == 1 else "say the same and are"
            text += f"; {', '.join(copies)} {say} left out"
        return text

    def listing(self) -> Listing:
        """The images with their labels, as the table gives them.

        Raises
        ------
        DataError
            Nothing is sure (`why_not`), a split has an unknown name, or an image has two labels
            or splits.
        """
        if not self.sure:
            raise DataError(self.why_not or f"{self.path.name} names no image that exists")
        return self._listing

    @cached_property
    def _listing(self) -> Listing:
        return replace(_listing(self), reading=Reading(self.sentence))


def read_table(path: Path, options: TableOptions) -> Listing:
    """List the images that a table names, by paths from its folder or below `options.images`.

    Raises
    ------
    DataError
        The file is no table; no image that it names exists; two columns could name the images or
        give the labels, or none could; an id is that of two files; an image has two labels.
    """
    below = [Path(folder) for folder in options.images]
    for folder in below:
        if not folder.is_dir():
            raise DataError(f"--images {folder} is no folder; give the one that the images lie in")
    files = ImageFiles([path.parent, *below], below=below)
    root = _root(path.parent, below)
    readings = [
        _reading(table, root, files, options)
        for table in read_table_file(path, options.encoding, options.sheet)
    ]
    sure = [reading for reading in readings if reading.sure]
    if len(sure) > 1:
        lines = [
            f"  --sheet '{r.table.part}' ({counted(_flat(r.classes))})" for r in sure if r.table
        ]
        raise DataError("\n".join([f"several sheets of {path.name} fit; pass one of:", *lines]))
    best = sure[0] if sure else max(readings, key=lambda reading: reading.n_images)
    return best.listing()


def tables_beside(
    root: Path, table_paths: Sequence[Path], image_paths: Sequence[Path], options: TableOptions
) -> list[TableReading]:
    """What each table says of the images at hand, whose ids are paths below `root`; never raises
    for what is wrong with a table, which its reading tells.
    """
    found = []
    for path in table_paths:
        below = [Path(folder) for folder in options.images]
        files = ImageFiles([path.parent, root, *below], image_paths, below)
        try:
            tables = read_table_file(path, options.encoding, options.sheet)
        except DataError as error:
            found.append(TableReading(path, root, why_not=str(error)))
            continue
        readings = [_reading(table, root, files, options) for table in tables]
        found += [r for r in readings if r.n_images] or readings[:1]
    return found


def _flat(classes: Mapping[str, int]) -> list[str]:
    return [name for name, times in classes.items() for _ in range(times)]


def _root(beside: Path, images: Sequence[Path]) -> Path:
    """What ids are relative to: the table's folder, or where `--images` says they lie."""
    if not images or any(f.absolute().is_relative_to(beside) for f in images):
        return beside
    return Path(os.path.commonpath([folder.absolute() for folder in images]))


def _reading(
    table: TableFile, root: Path, files: ImageFiles, options: TableOptions
) -> TableReading:
    """What one table says; `why_not` is set where a question has to be asked."""
    reading = TableReading(table.path, root, table, n_known=len(files.known or ()))
    if not table.rows:
        return replace(reading, why_not=nothing_in(table))
    try:
        table = with_paths(table, files, options.path_column)
        images = image_column(table, files, options)
        reading = replace(reading, table=table, images=images)
        _refuse_unsure(table, images, root)
        mask = mask_column(table, files, images)
        taken = {*images.columns[-1:], *([mask] if mask else [])}
        split = choose_split(table, options.split_column, taken)
        taken |= {split} if split else set()
        rows = [row for row, file in enumerate(images.matched.files) if file is not None]
        if not rows:
            raise DataError(names_nothing(table, images, files))
        label = choose_labels(table, rows, taken, options)
        labels = dict(zip(rows, label.labels, strict=True))
        every = [labels.get(row, "") for row in range(len(table.rows))]
        return replace(
            reading, label=replace(label, labels=every), split_column=split, mask_column=mask
        )
    except DataError as error:
        return replace(reading, why_not=str(error))


def _refuse_unsure(table: TableFile, images: ImageColumn, root: Path) -> None:
    for row, found in images.matched.unsure.items():
        cell = table.column(images.columns[-1], [row])[0].strip()
        two = " and ".join(f"'{_id(file, root)}'" for file in found[:2])
        more = f" ({len(found)} in all)" if len(found) > 2 else ""
        raise DataError(
            f"{table.place(row)}: '{cell}' is the name of {two}{more}; pass --images DIR with the "
            "folder that is meant, or give paths in a column"
        )


def _id(file: Path | None, root: Path) -> str:
    return shown(Path(os.path.relpath(file or root, root)).as_posix())


def _listing(reading: TableReading) -> Listing:
    table, images, label = reading.table, reading.images, reading.label
    assert table is not None
    assert images is not None
    assert label is not None
    cells = table.column(images.columns[-1])
    splits = table.column(reading.split_column) if reading.split_column else [""] * len(cells)
    masks = table.column(reading.mask_column) if reading.mask_column else [""] * len(cells)
    further = [table.column(name) for name in reading.further]
    beside = ImageFiles([table.path.parent, reading.root])
    rows: dict[str, Row] = {}
    at: dict[str, int] = {}
    skipped: list[Skipped] = []
    again: list[int] = []
    for index, file in enumerate(images.matched.files):
        if file is None:
            if not reading.n_known:
                skipped.append(_skipped(table, index, cells[index], beside))
            continue
        id_ = _id(file, reading.root)
        split = _split_named(splits[index], table, index)
        mask = "" if is_missing(masks[index]) else str(beside.at(masks[index]) or "")
        extra = tuple("" if is_missing(c[index]) else c[index].strip() for c in further)
        row = Row(id_, Source(str(file)), label.labels[index], split, mask, extra=extra)
        if id_ in rows:
            _refuse_contradiction(table, rows[id_], at[id_], row, index)
            again.append(index)
        else:
            rows[id_], at[id_] = row, index
    findings = [*label.findings, *_told(reading, again)]
    ordered = [rows[id_] for id_ in sorted(rows)]
    return Listing(reading.root, ordered, skipped, findings, columns=reading.further)


def _skipped(table: TableFile, row: int, cell: str, beside: ImageFiles) -> Skipped:
    if is_missing(cell):
        return Skipped(table.place(row), "the path is empty")
    file = Path(os.path.normpath(beside.bases[0] / cell))
    problem = file_problem(file)
    return Skipped(_id(file, beside.bases[0]), f"{problem or 'no image'} ({table.place(row)})")


def _told(reading: TableReading, again: Sequence[int]) -> list[Finding]:
    """What a person should know of how a table was read, where it is more than path and label."""
    table, images = reading.table, reading.images
    assert table is not None
    assert images is not None
    findings = []
    plainly = images.matched.way == "path" and plain(images.columns[-1]) == "path"
    copies = reading.label.copies if reading.label else ()
    if copies or not (plainly and [plain(c) for c in reading.label_columns] == ["label"]):
        numbers = {"images": reading.n_images, "rows": len(table.rows)}
        findings.append(Finding("table", "info", f"{reading.sentence}.", numbers))
    findings += [Finding("table_read_as", "info", text) for text in table.assumed]
    if again:
        text = (
            f"{len(again):,} rows of {table.name} name an image that an earlier row names, with "
            f"the same label (the first in {table.place(again[0])}); the earlier one is kept."
        )
        shown_ = tuple(_id(images.matched.files[i], reading.root) for i in again[:12])
        findings.append(Finding("repeated_rows", "info", text, {"n": len(again)}, shown_))
    if reading.n_known and reading.n_nameless:
        text = f"{reading.n_nameless:,} rows of {table.name} name no image that is here."
        findings.append(Finding("rows_without_image", "info", text, {"n": reading.n_nameless}))
    return findings


def _split_named(cell: str, table: TableFile, row: int) -> Split:
    split = split_of(cell)
    if split is None:
        raise DataError(
            f"{table.place(row)}: the split '{cell.strip()[:60]}' is none of "
            f"{', '.join(SPLIT_NAMES)}; rename it, or pass --split-column for another column, or "
            "none"
        )
    return split


def _refuse_contradiction(table: TableFile, first: Row, at: int, second: Row, row: int) -> None:
    for what, a, b in (
        ("labels", first.label, second.label),
        ("splits", first.split, second.split),
    ):
        if a != b:
            one, other = (f"{table.unit} {table.lines[i]}" for i in (at, row))
            raise DataError(
                f"{table.name} gives '{first.id}' two {what}: '{a}' in {one} and '{b}' in {other}; "
                "keep one of the rows"
            )
