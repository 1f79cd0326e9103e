"""A table of labels that names DICOM files by what stands in them, and not by their paths."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from medgraft.data.dicom.headers import KEYS, read_header
from medgraft.data.pixels.dicom_file import HEAD, is_dicom
from medgraft.data.tables.files import TableFile
from medgraft.data.tables.images import ImageFiles

UID = re.compile(r"[0-2](\.\d+){4,}")  # of the standard's unique identifiers (PS3.5 9)
MOST = 0.9  # the share of a column's cells that are identifiers, to take it for a column of them
PATH = "path"
FINEST = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "PatientID")


def with_paths(table: TableFile, files: ImageFiles, path_column: str | None) -> TableFile:
    """The same table with a column of paths, a row for each file of the image, study or patient.

    A column called after an identifier (`StudyInstanceUID`, `patient_id` …), or one that holds
    such identifiers, is looked up in the headers of the DICOM files. A table that has paths, or
    none of whose cells is found, is given back as it was; a row that names nothing keeps an empty
    path.
    """
    column = _column(table, files, path_column)
    if column is None:
        return table
    index = _index(files.files)
    cells = [cell.strip() for cell in table.column(column)]
    named = keyword(column)
    hits = {key: sum(cell in index[key] for cell in cells) for key in FINEST}
    best = named if named and hits[named] else max(FINEST, key=lambda key: hits[key])
    if not hits[best]:
        return table
    found = [
        (str(path), row, line)
        for cell, row, line in zip(cells, table.rows, table.lines, strict=True)
        for path in index[best].get(cell, [""])
    ]
    at = None if column != path_column else table.header.index(column)
    rows = [
        (*row, path) if at is None else (*row[:at], path, *row[at + 1 :]) for path, row, _ in found
    ]
    header = (*table.header, PATH) if at is None else table.header
    return replace(table, header=header, rows=rows, lines=[line for *_, line in found])


def keyword(column: str) -> str:
    """The identifier of `KEYS` that a column is called after, or ''."""
    plain = re.sub(r"[^a-z]", "", column.casefold())
    return next((key for key in KEYS if key.casefold() == plain), "")


def _column(table: TableFile, files: ImageFiles, path_column: str | None) -> str | None:
    """The column that names DICOM files, or None where paths do, or nothing."""
    if path_column is not None:
        named = [name for name in table.header if name == path_column]
        return next((name for name in named if keyword(name) or _holds_uids(table, name)), None)
    by_key = {key: column for column in table.header if (key := keyword(column))}
    of_uids = next((column for column in table.header if _holds_uids(table, column)), None)
    if (not by_key and of_uids is None) or PATH in table.header or _has_paths(table, files):
        return None
    return next((by_key[key] for key in FINEST if key in by_key), of_uids)


def _has_paths(table: TableFile, files: ImageFiles) -> bool:
    """Whether a cell of the first row is the path of a file."""
    return any(cell.strip() and files.at(cell) is not None for cell in table.rows[0])


def _holds_uids(table: TableFile, column: str) -> bool:
    cells = [cell.strip() for cell in table.column(column) if cell.strip()]
    return bool(cells) and sum(bool(UID.fullmatch(cell)) for cell in cells) >= MOST * len(cells)


def _index(files: Sequence[Path]) -> Mapping[str, Mapping[str, list[Path]]]:
    """The DICOM files among these, by each of `KEYS`."""
    found: dict[str, dict[str, list[Path]]] = {key: defaultdict(list) for key in KEYS}
    with ThreadPoolExecutor(8) as pool:
        for path, keys in zip(files, pool.map(_keys, files), strict=True):
            for key, value in zip(KEYS, keys, strict=True):
                if value:
                    found[key][value].append(path)
    return found


def _keys(path: Path) -> tuple[str, str, str, str]:
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD)
            if is_dicom(head):
                return read_header(head + stream.read()).keys
    except OSError:
        pass
    return "", "", "", ""
