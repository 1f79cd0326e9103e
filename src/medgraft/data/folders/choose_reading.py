"""Which reading of a folder is right: one of its layouts, or a table that lies among its images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from medgraft.data.folders.layout import Layout
from medgraft.data.folders.layout_questions import (
    classes_shown,
    in_file_names,
    layout_shown,
    remedy,
)
from medgraft.data.folders.recognise import recognise
from medgraft.data.scan import Parts, Scan
from medgraft.data.tables.join import completed
from medgraft.data.tables.options import TableOptions
from medgraft.data.tables.read_table import tables_beside
from medgraft.data.tables.reading import TableReading
from medgraft.errors import AmbiguousDataError, Choice, DataError

NAMED = 0.5  # the share of the images that a table must name to be the one about them
MOST_TABLES = 20  # that are looked into


class FolderOptions(TableOptions, Protocol):
    """The part of `ingest.LoadOptions` that folders, and tables in them, are read by."""

    @property
    def layout(self) -> str: ...
    @property
    def one_class(self) -> bool: ...


def tables_about(found: Scan, images: Sequence[Parts], options: TableOptions) -> list[TableReading]:
    """What the tables in a folder say of its images."""
    if not found.tables:
        return []
    paths = [found.root.joinpath(*parts) for parts in found.tables[:MOST_TABLES]]
    files = [found.root.joinpath(*parts) for parts in images]
    return tables_beside(found.root, paths, files, options)


def ties(one: TableReading) -> bool:
    """Whether a table names images, but each of its names is that of several."""
    return one.images is not None and bool(one.images.matched.unsure)


def choose_reading(
    found: Scan, images: Sequence[Parts], tables: Sequence[TableReading], options: FolderOptions
) -> TableReading | Layout:
    """The table, with what others add to it, or the layout that gives the labels.

    Raises
    ------
    AmbiguousDataError
        There are several that differ; the text shows each with its flag.
    DataError
        There is none; the text says what to do.
    """
    proposals = recognise(images)
    single = proposals.layouts[0] if len(proposals.layouts) == 1 else None
    folders = single if single and n_classes(single, images) > 1 else None
    many = [one for one in tables if one.n_images >= NAMED * len(images)]
    about = _that_label(found, tables, many, folders, options)
    if len(about) == 1 and len(proposals.layouts) != 1 and (more := _of_others(about[0], tables)):
        raise AmbiguousDataError(
            f"{found.root} has {1 + len(more)} tables that label different images; put them into "
            f"one, with a column split if they are parts, or pass one as DATA:",
            _ways((*about, *more)),
        )
    if len(about) == 1 and folders is None:
        return completed(about[0], _others(about[0], tables), options)
    unsure = [one for one in many if not one.sure]
    if single is not None and folders is None and unsure and not options.one_class:
        raise _unclear(f"{found.root} has one class only by its folders", found, unsure)
    if single is not None:
        layout = single
        other = next((one for one in about if not _same_classes(found, layout, one)), None)
        if other is None or len(other.classes) < 2:
            return layout
        raise AmbiguousDataError(
            f"{found.root} can be read in two ways; say which, or pass the table as DATA:",
            (_way(layout, images), *_ways([other])),
        )
    if len(about) > 1:
        raise AmbiguousDataError(
            f"{found.root} has {len(about)} tables that label its images; pass one as DATA:",
            _ways(about),
        )
    if proposals.layouts:
        raise AmbiguousDataError(
            f"{found.root} can be read in {len(proposals.layouts)} ways; pass the one that is "
            "right:",
            [_way(one, images) for one in proposals.layouts],
        )
    why = proposals.why or "they all lie in one folder"
    start = f"{found.root} does not say which class each image has: {why}{in_file_names(images)}"
    raise _unclear(start, found, tables)


def _unclear(start: str, found: Scan, tables: Sequence[TableReading]) -> DataError:
    """What to do where folders give no classes; a question, where the table about them has one."""
    text = f"{start}; {remedy(found, tables)}"
    most = max(tables, key=lambda one: one.n_images, default=None)
    asked = most.question if most is not None and most.n_images and not most.sure else None
    choices = "" if asked is None else str(asked).removeprefix(asked.question)
    if asked is None or not text.endswith(str(asked)):
        return DataError(text)
    return AmbiguousDataError(text.removesuffix(choices), asked.choices)


def _that_label(
    found: Scan, tables: Sequence[TableReading], many: Sequence[TableReading],
    folders: Layout | None, options: FolderOptions,
) -> list[TableReading]:  # fmt: skip
    """The tables that label the images, and differ: by image; else, where folders do not, by
    patient, or two together of which one names the images and one has the labels.

    many : those that name many images. Of those that label by patient, beside `folders` only one
    whose patients are the classes.
    """
    by_image = [one for one in many if one.sure and not one.key]
    by_patient = [one for one in many if one.sure and one.key]
    if by_image:
        return _unlike(by_image)
    if folders is not None:
        return [one for one in by_patient if _are_its_patients(found, folders, one)]
    if by_patient:
        return _unlike(by_patient)
    together = [completed(one, _others(one, tables), options) for one in many]
    for one in together:
        if one.why_not and one.why_not in one.torn.values():
            raise DataError(one.why_not)
    return _unlike([one for one in together if one.sure])


def _others(one: TableReading, tables: Sequence[TableReading]) -> list[TableReading]:
    """The other tables, and other sheets."""
    part = one.path, one.table.part if one.table else ""
    return [other for other in tables if (other.path, other.table and other.table.part) != part]


def _unlike(tables: Sequence[TableReading]) -> list[TableReading]:
    """The tables without those that give no other classes, and of no other images, than one."""
    if len(tables) < 2:
        return list(tables)
    kept: list[tuple[TableReading, dict[str, str]]] = []
    for one in sorted(tables, key=lambda one: -one.n_images):
        labels = _labels(one)
        if not any(
            labels.keys() <= others.keys()
            and _one_to_one([(name, others[path]) for path, name in labels.items()])
            for _, others in kept
        ):
            kept.append((one, labels))
    return [one for one, _ in kept]


def _one_to_one(pairs: Sequence[tuple[str, str]]) -> bool:
    return len({a for a, _ in pairs}) == len({*pairs}) == len({b for _, b in pairs})


def _are_its_patients(found: Scan, layout: Layout, table: TableReading) -> bool:
    """Whether the folders that look like classes are what a table of patients names."""
    if table.table is None or table.images is None:
        return False
    patients = table.table.column(table.key)
    if len(table.classes) >= len({*patients}):
        return False  # it says what the classes are called
    said = []
    for file, patient in zip(table.images.matched.files, patients, strict=True):
        if file is not None:
            meaning = layout.read(file.relative_to(found.root).parts)
            if meaning is None:
                return False
            said.append((meaning.label, patient.strip()))
    return _one_to_one(said)


def _of_others(chosen: TableReading, tables: Sequence[TableReading]) -> list[TableReading]:
    """The tables that label images which the chosen one does not name."""
    named = _labels(chosen).keys()
    rivals = [one for one in tables if bool(one.key) == bool(chosen.key)]
    return [one for one in rivals if _labels(one).keys() - named]


def _labels(one: TableReading) -> dict[str, str]:
    """The label of each image that a table gives one, where it is sure."""
    try:
        return {row.source.path: row.label for row in one.listing().rows if row.label}
    except DataError:
        return {}


def _way(layout: Layout, images: Sequence[Parts]) -> Choice:
    """The folders, read by a layout."""
    unread = sum(layout.read(path) is None for path in images)
    left_out = f"; {unread:,} images are left out" if unread else ""
    return Choice(f"{layout_shown(layout, images)}{left_out}", (("layout", str(layout)),))


def _ways(tables: Sequence[TableReading]) -> list[Choice]:
    """What to pass to have each of some tables read, or a sheet of it, with its classes."""
    return [
        Choice(
            classes_shown(one.classes),
            (("sheet", one.table.part),) if one.table and one.table.part else (),
            str(one.path),
        )
        for one in tables
    ]


def n_classes(layout: Layout, images: Sequence[Parts]) -> int:
    """How many classes a layout makes of some images."""
    return len({meaning.label for path in images if (meaning := layout.read(path))} - {""})


def _same_classes(found: Scan, layout: Layout, table: TableReading) -> bool:
    """Whether a table's labels are those of the folders, perhaps by other names."""
    said = []
    for row in table.listing().rows:
        meaning = layout.read(Path(row.source.path).relative_to(found.root).parts)
        if meaning is not None and row.label:
            said.append((meaning.label, row.label))
    return _one_to_one(said)
