"""Any table file → header and rows of text: CSV, TSV, any delimiter; Excel; Parquet.

What kind a file is shows in its bytes; its name is not asked. Cells become the text that a person
sees: dates as dates, whole numbers without a point.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medgraft.data.scan import IMAGE_SUFFIXES
from medgraft.data.tables.binary import MOST_BYTES, read_parquet, read_sheets
from medgraft.data.tables.column_names import plain
from medgraft.data.tables.text import Records, read_text_table
from medgraft.errors import DataError

LISTS = {".txt", ".lst", ".dat"}  # are tables where they are given as one
INDEX_NAMES = re.compile(r"|index|unnamed: ?\d+|level_0", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TableFile:
    """One table: `rows` are cells (k,) under `header` (k,); `lines` is where each row ends.

    `part` is the sheet where the file has several, `unit` what a place in it is called, `assumed`
    what had to be assumed to read it.
    """

    path: Path
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    lines: list[int]
    part: str = ""
    unit: str = "line"
    assumed: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The file's name, with the sheet's where there are several."""
        return f"{self.path.name} (sheet '{self.part}')" if self.part else self.path.name

    def column(self, name: str, rows: Sequence[int] | None = None) -> list[str]:
        """The cells of a column as they stand, (n,) or of some rows."""
        at = self.header.index(name)
        return [
            row[at] for row in (self.rows if rows is None else map(self.rows.__getitem__, rows))
        ]

    def place(self, row: int) -> str:
        """Where a row stands, for messages."""
        return f"{self.name} {self.unit} {self.lines[row]}"

    def named(self, wanted: str, flag: str) -> str:
        """The column of this name, by its exact spelling or else by letters and digits alone.

        Raises
        ------
        DataError
            None has it, or several; `flag` is named as the way out.
        """
        if wanted in self.header:
            return wanted
        alike = [name for name in self.header if plain(name) == plain(wanted)]
        if len(alike) == 1:
            return alike[0]
        which = f"several columns like '{wanted}'" if alike else f"no column '{wanted}'"
        raise DataError(
            f"{which} in {self.name} (columns: {', '.join(self.header)}); pass {flag} COLUMN"
        )


def read_table_file(
    path: Path, encoding: str | None = None, sheet: str | None = None
) -> list[TableFile]:
    """The table that a file holds, be it without rows, or the tables of an Excel file's sheets.

    A sheet that is no table is left out where another is one.

    Raises
    ------
    DataError
        It cannot be read, is no table, has no header, or two columns of one name.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DataError(
                f"{path.name} has {path.stat().st_size:,} bytes, and tables up to {MOST_BYTES:,} "
                "are read; keep the columns that matter, or save it as Parquet"
            )
        raw = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read ({reason}); check its permissions") from error
    if sheet is not None and not raw.startswith(b"PK\x03\x04"):
        raise DataError(f"{path.name} has no sheets, being no Excel file; leave --sheet out")
    if raw.startswith(b"PK\x03\x04"):
        return _of_sheets(path, read_sheets(path, sheet))
    if raw.startswith(b"PAR1"):
        return [_table(path, read_parquet(path), "", "row", ())]
    if raw.startswith(b"\xd0\xcf\x11\xe0"):
        raise DataError(
            f"{path.name} is an Excel file of before 2007, or one with a password; save it as "
            ".xlsx without one, or as 'CSV UTF-8'"
        )
    text = read_text_table(raw, path.name, encoding, path.suffix.lower() in LISTS)
    assumed = (text.assumed,) if text.assumed else ()
    return [_table(path, text.records, "", "line", assumed, text.delimiter)]


def _of_sheets(path: Path, sheets: Sequence[tuple[str, Records]]) -> list[TableFile]:
    found, problem = [], None
    for name, records in sheets:
        try:
            found.append(_table(path, records, name if len(sheets) > 1 else "", "row", ()))
        except DataError as error:
            problem = problem or error
    if problem is not None and not found:
        raise problem
    return found


def _table(
    path: Path,
    records: Records,
    part: str,
    unit: str,
    assumed: tuple[str, ...],
    delimiter: str = ",",
) -> TableFile:
    """Header and rows of records: a title above, empty columns and an index are taken off."""
    empty = TableFile(path, (), [], [], part, unit, assumed)
    records, told = _without_title([(line, _trimmed(fields)) for line, fields in records])
    if not records:
        raise DataError(nothing_in(empty))
    (first, names), body = records[0], records[1:]
    names = [re.sub(r"\s+", " ", name.replace("\ufeff", "")).strip() for name in names]
    if body and all(len(fields) == len(names) + 1 for _, fields in body):  # as R writes row names
        names = ["", *names] if _is_index([fields[0] for _, fields in body], True) else names
    table = replace(empty, header=tuple(names), assumed=(*assumed, *told))
    _refuse_data_as_header(table, first)
    for line, fields in body:
        if len(fields) > len(names):
            raise DataError(
                f"{table.name} {unit} {line} has {len(fields)} fields, the header {len(names)}; "
                f"put values that hold '{delimiter}' into double quotes"
            )
    rows = [(*fields, *[""] * (len(names) - len(fields))) for _, fields in body]
    return _without_index(replace(table, rows=rows, lines=[line for line, _ in body]))


def _trimmed(fields: Sequence[str]) -> list[str]:
    """Without the empty fields at the end, which spreadsheets leave."""
    end = len(fields)
    while end and not fields[end - 1].strip():
        end -= 1
    return list(fields[:end])


def _without_title(records: Records) -> tuple[Records, tuple[str, ...]]:
    """Without lines of a single field above the header, where all below have several."""
    records = [(line, fields) for line, fields in records if fields]
    start = 0
    while start < len(records) and sum(bool(f.strip()) for f in records[start][1]) == 1:
        start += 1
    below = records[start:]
    if not 0 < start <= 5 or len(below) < 2 or any(len(fields) < 2 for _, fields in below):
        return records, ()
    title = " ".join(records[0][1]).strip()
    return below, (f"'{title[:60]}' above the header was taken as a title.",)


def _refuse_data_as_header(table: TableFile, line: int) -> None:
    """A first line that names an image, or is numbers only, is no header."""
    for name in table.header:
        if Path(name).suffix.lower() in IMAGE_SUFFIXES:
            raise DataError(
                f"{table.name} has no header: its first {table.unit} ({line}) names the image "
                f"'{name[:80]}'; write one above it, such as path,label"
            )
    words = [name for name in table.header if name]
    if words and all(re.fullmatch(r"-?[\d.]+(e-?\d+)?", name) for name in words):
        raise DataError(
            f"{table.name} has no header: its first {table.unit} ({line}) holds numbers only "
            f"({', '.join(words[:5])}); write one above it, such as path,label"
        )


def nothing_in(table: TableFile) -> str:
    """That a table has no header, or no rows."""
    return f"{table.name} is empty; it needs a header (path,label) and a row an image"


def _without_index(table: TableFile) -> TableFile:
    """Without empty columns that have no name, and without one that only counts the rows."""
    keep, header = [], []
    for at, name in enumerate(table.header):
        cells = [row[at] for row in table.rows]
        if not name and not any(cell.strip() for cell in cells):
            continue
        if cells and INDEX_NAMES.fullmatch(name) and _is_index(cells, at == 0 and not name):
            continue
        keep.append(at)
        header.append(name or f"column {at + 1}")
    twice = [name for name, times in Counter(header).items() if times > 1]
    if twice:
        raise DataError(
            f"{table.name} has two columns of one name ('{twice[0]}'; {', '.join(header)}); "
            "rename one"
        )
    if not keep:
        raise DataError(nothing_in(table))
    return replace(
        table, header=tuple(header), rows=[tuple(row[at] for at in keep) for row in table.rows]
    )


def _is_index(cells: Sequence[str], loose: bool) -> bool:
    """Whether cells count the rows: whole numbers, each once and, unless `loose`, without a gap."""
    try:
        numbers = {int(float(cell)) for cell in cells if re.fullmatch(r"\s*\d+(\.0)?\s*", cell)}
    except (ValueError, OverflowError):
        return False
    if len(numbers) < len(cells):
        return False
    return loose or max(numbers) - min(numbers) == len(cells) - 1
