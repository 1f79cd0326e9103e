"""A table and the images there are → what it says of them (`reading.py`)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from medgraft.data.listing import Listing
from medgraft.data.tables.columns import with_label, with_split
from medgraft.data.tables.dicom_lookup import keyword, with_paths
from medgraft.data.tables.files import TableFile, nothing_in, read_table_file
from medgraft.data.tables.image_columns import ImageColumn, image_column, mask_column, names_nothing
from medgraft.data.tables.images import ImageFiles
from medgraft.data.tables.join import completed
from medgraft.data.tables.labels import counted
from medgraft.data.tables.options import TableOptions
from medgraft.data.tables.patients import by_patient
from medgraft.data.tables.reading import TableReading, id_of
from medgraft.errors import AmbiguousDataError, DataError


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
    others = [one for one in readings if one is not best]  # its other sheets
    return completed(best, others, options).listing()


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
        found += [_reading(table, root, files, options) for table in tables]
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
        reading = _with_images(reading, files, options)
        found, images = reading.table, reading.images
        assert found is not None
        assert images is not None
        _refuse_unsure(found, images, root)
        reading = replace(reading, mask_column=mask_column(found, files, images))
        reading = with_split(reading, options)
        if not reading.n_images:
            raise DataError(names_nothing(found, images, files))
        return with_label(reading, options)
    except DataError as error:
        question = error if isinstance(error, AmbiguousDataError) else None
        return replace(reading, why_not=str(error), question=question)


def _with_images(reading: TableReading, files: ImageFiles, options: TableOptions) -> TableReading:
    """The same with the column that names the images, or the patients that they are of."""
    assert reading.table is not None
    table = reading.table
    images, problem = _tried(table, files, options)
    named = images is not None and 2 * images.matched.n_rows >= len(table.rows)
    if not named or options.path_column or keyword(images.columns[-1] if images else ""):
        # A name of a file is of one image; what stands in headers may be of a whole patient.
        table = with_paths(table, files, options.path_column)
        if table is not reading.table:
            images, problem = _tried(table, files, options)
    if images is None or 2 * images.matched.n_rows < len(table.rows):
        wanted = options.path_column and table.named(options.path_column, "--path-column")
        people = by_patient(table, files, wanted)
        few = images.matched.n_files if images else 0  # of patients whose images have rows, some
        if people and people.images.matched.n_files > 2 * few:
            return replace(reading, table=people.table, images=people.images, key=people.key)
    if images is None:
        assert problem is not None
        raise problem
    return replace(reading, table=table, images=images)


def _tried(
    table: TableFile, files: ImageFiles, options: TableOptions
) -> tuple[ImageColumn | None, DataError | None]:
    """The column that names the images, or why there is none."""
    try:
        return image_column(table, files, options), None
    except DataError as error:
        return None, error


def _refuse_unsure(table: TableFile, images: ImageColumn, root: Path) -> None:
    for row, found in images.matched.unsure.items():
        cell = table.column(images.columns[-1], [row])[0].strip()
        two = " and ".join(f"'{id_of(file, root)}'" for file in found[:2])
        more = f" ({len(found)} in all)" if len(found) > 2 else ""
        raise DataError(
            f"{table.place(row)}: '{cell}' is the name of {two}{more}; pass --images DIR with the "
            "folder that is meant, or give paths in a column"
        )
