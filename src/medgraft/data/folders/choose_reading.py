"""Which reading of a folder is right: one of its layouts, or a table that lies among its images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from medgraft.data.folders.layout import Layout
from medgraft.data.folders.layout_questions import (
    classes_shown,
    in_file_names,
    layout_shown,
    remedy,
)
from medgraft.data.folders.recognise import recognise
from medgraft.data.scan import Parts, Scan
from medgraft.data.tables.options import TableOptions
from medgraft.data.tables.read_table import TableReading, tables_beside
from medgraft.errors import AmbiguousDataError, DataError

NAMED = 0.5  # the share of the images that a table must name to be the one about them
MOST_TABLES = 20  # that are looked into


def tables_about(found: Scan, images: Sequence[Parts], options: TableOptions) -> list[TableReading]:
    """What the tables in a folder say of its images, but for those that name few or none."""
    if not found.tables:
        return []
    paths = [found.root.joinpath(*parts) for parts in found.tables[:MOST_TABLES]]
    files = [found.root.joinpath(*parts) for parts in images]
    readings = tables_beside(found.root, paths, files, options)
    return [one for one in readings if one.n_images or ties(one)]


def ties(one: TableReading) -> bool:
    """Whether a table names images, but each of its names is that of several."""
    return one.images is not None and bool(one.images.matched.unsure)


def choose_reading(
    found: Scan, images: Sequence[Parts], tables: Sequence[TableReading]
) -> TableReading | Layout:
    """The table or the layout that gives the labels.

    Raises
    ------
    AmbiguousDataError
        There are several that differ; the text shows each with its flag.
    DataError
        There is none; the text says what to do.
    """
    proposals = recognise(images)
    about = [one for one in tables if one.sure and one.n_images >= NAMED * len(images)]
    if len(about) == 1 and len(proposals.layouts) != 1 and (more := _of_others(about[0], tables)):
        raise AmbiguousDataError(
            f"{found.root} has {1 + len(more)} tables that label different images; put them into "
            f"one, with a column split if they are parts, or pass one as DATA:"
            + _ways((*about, *more))
        )
    if len(about) == len(proposals.layouts) == 1 and n_classes(proposals.layouts[0], images) < 2:
        return about[0]
    if len(proposals.layouts) == 1:
        layout = proposals.layouts[0]
        other = next((one for one in about if not _same_classes(found, layout, one)), None)
        if other is None or len(other.classes) < 2:
            return layout
        raise AmbiguousDataError(
            f"{found.root} can be read in two ways; say which:\n  --layout '{layout}'  "
            f"{layout_shown(layout, images)}\n  {other.path} as DATA  "
            + classes_shown(other.classes)
        )
    if len(about) == 1:
        return about[0]
    if len(about) > 1:
        raise AmbiguousDataError(
            f"{found.root} has {len(about)} tables that label its images; pass one as DATA:"
            + _ways(about)
        )
    if proposals.layouts:
        ways = "".join(
            f"\n  --layout '{one}'  {layout_shown(one, images)}" for one in proposals.layouts
        )
        raise AmbiguousDataError(
            f"{found.root} can be read in {len(proposals.layouts)} ways; pass the one that is "
            f"right:{ways}"
        )
    why = proposals.why or "they all lie in one folder"
    raise DataError(
        f"{found.root} does not say which class each image has: {why}{in_file_names(images)}; "
        f"{remedy(found, tables)}"
    )


def _of_others(chosen: TableReading, tables: Sequence[TableReading]) -> list[TableReading]:
    """The tables that label images which the chosen one does not name."""
    named = _labelled(chosen)
    return [one for one in tables if one is not chosen and _labelled(one) - named]


def _labelled(one: TableReading) -> set[str]:
    """The images that a table gives a label, where it is sure."""
    try:
        return {row.source.path for row in one.listing().rows if row.label}
    except DataError:
        return set()


def _ways(tables: Sequence[TableReading]) -> str:
    """What to pass to have each of some tables read, or a sheet of it, with its classes."""
    text = ""
    for one in tables:
        sheet = f" --sheet '{one.table.part}'" if one.table and one.table.part else ""
        text += f"\n  {one.path}{sheet}  {classes_shown(one.classes)}"
    return text


def n_classes(layout: Layout, images: Sequence[Parts]) -> int:
    """How many classes a layout makes of some images."""
    return len({meaning.label for path in images if (meaning := layout.read(path))} - {""})


def _same_classes(found: Scan, layout: Layout, table: TableReading) -> bool:
    """Whether a table's labels are those of the folders, perhaps by other names."""
    said: dict[str, set[str]] = defaultdict(set)
    back: dict[str, set[str]] = defaultdict(set)
    for row in table.listing().rows:
        parts = Path(row.source.path).relative_to(found.root).parts
        meaning = layout.read(parts)
        if meaning is not None and row.label:
            said[meaning.label].add(row.label)
            back[row.label].add(meaning.label)
    return all(len(names) == 1 for names in (*said.values(), *back.values()))
