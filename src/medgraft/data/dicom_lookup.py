"""A table of labels that names DICOM files by what stands in them, and not by their paths."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from medgraft.data.dicom import HEAD, is_dicom
from medgraft.data.dicom_headers import KEYS, read_header
from medgraft.data.scan import scan

UID = re.compile(r"[0-2](\.\d+){4,}")  # of the standard's unique identifiers (PS3.5 9)
MOST = 0.9  # the share of a column's cells that are identifiers, to take it for a column of them
FINEST = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "PatientID")

Records = list[tuple[int, dict[str, str]]]


def with_paths(
    header: list[str], records: Records, folders: Sequence[Path], path_column: str
) -> tuple[list[str], Records]:
    """The same table with a column of paths, a row for each file of the image, study or patient.

    A column called after an identifier (`StudyInstanceUID`, `patient_id` …), or one that holds
    such identifiers, is looked up in the headers of the DICOM files below `folders`. A table that
    has its paths, or none of whose cells is found, is given back as it was; so are rows that name
    nothing, with an empty path.
    """
    column = _column(header, records, path_column)
    if column is None:
        return header, records
    index = _index(folders)
    cells = [record[column].strip() for _, record in records]
    named = _keyword(column)
    hits = {key: sum(cell in index[key] for cell in cells) for key in FINEST}
    best = named if named and hits[named] else max(FINEST, key=lambda key: hits[key])
    if not hits[best]:
        return header, records
    found: Records = []
    for (line, record), cell in zip(records, cells, strict=True):
        for path in index[best].get(cell, [""]):
            found.append((line, {**record, path_column: str(path)}))
    return [*(name for name in header if name != path_column), path_column], found


def _keyword(column: str) -> str:
    plain = re.sub(r"[^a-z]", "", column.casefold())
    return next((key for key in KEYS if key.casefold() == plain), "")


def _column(header: Sequence[str], records: Records, path_column: str) -> str | None:
    """The column that names DICOM files, or None where paths do, or nothing."""
    if path_column in header:
        return path_column if _keyword(path_column) or _holds_uids(records, path_column) else None
    named = {key: column for column in header if (key := _keyword(column))}
    for key in FINEST:
        if key in named:
            return named[key]
    return next((column for column in header if _holds_uids(records, column)), None)


def _holds_uids(records: Records, column: str) -> bool:
    cells = [cell for _, record in records if (cell := record[column].strip())]
    return bool(cells) and sum(bool(UID.fullmatch(cell)) for cell in cells) >= MOST * len(cells)


def _index(folders: Sequence[Path]) -> Mapping[str, Mapping[str, list[Path]]]:
    """The DICOM files below folders, by each of `KEYS`."""
    files = [folder.joinpath(*parts) for folder in folders for parts in scan(folder).images]
    found: dict[str, dict[str, list[Path]]] = {key: defaultdict(list) for key in KEYS}
    with ThreadPoolExecutor(8) as pool:
        for path, keys in zip(files, pool.map(_keys, files), strict=True):
            for key, value in zip(KEYS, keys, strict=True):
                if value:
                    found[key][value].append(path)
    return found


def _keys(path: Path) -> tuple[str, str, str, str]:
    try:
        data = path.read_bytes()
    except OSError:
        return "", "", "", ""
    return read_header(data).keys if is_dicom(data[:HEAD]) else ("", "", "", "")
