"""Excel (.xlsx) and Parquet files → records of text, as a person sees them."""

from __future__ import annotations

import datetime
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medgraft.data.tables.text import Records
from medgraft.errors import DataError

MOST_BYTES = 200_000_000  # of a table unpacked; the largest published (NIH) has 8 million


def text_of(value: object) -> str:
    """A cell as a person sees it.

    >>> [text_of(v) for v in (55.0, 0.5, None, True, float("nan"), datetime.date(2020, 1, 31))]
    ['55', '0.5', '', 'True', '', '2020-01-31']
    """
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, datetime.datetime):
        whole = value.time() == datetime.time() and value.tzinfo is None
        return value.date().isoformat() if whole else value.isoformat(" ")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return "|".join(text_of(one) for one in value)
    return str(value)


def read_sheets(path: Path, wanted: str | None = None) -> list[tuple[str, Records]]:
    """The visible sheets that hold anything, as (name, records), or the one that is wanted.

    Formulas give the values that were saved with them.

    Raises
    ------
    DataError
        It is no Excel file, is damaged or too large, has no such sheet, or none with cells.
    """
    _check_archive(path)
    import openpyxl

    try:
        with path.open("rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and validations that a table has no use for
            book = openpyxl.load_workbook(stream, read_only=True, data_only=True)
            try:
                sheets = {sheet.title: sheet for sheet in book.worksheets}
                if wanted is not None and wanted not in sheets:
                    raise DataError(
                        f"{path.name} has no sheet '{wanted}'; pass --sheet with one of: "
                        f"{', '.join(sheets)}"
                    )
                chosen = {
                    name: sheet for name, sheet in sheets.items()
                    if (name == wanted if wanted is not None else sheet.sheet_state == "visible")
                }  # fmt: skip
                found = [(name, _records(sheet)) for name, sheet in chosen.items()]
            finally:
                book.close()
    except DataError:
        raise
    # Damaged XML makes openpyxl raise whatever its own code stumbles over.
    except Exception as error:
        raise DataError(_damaged(path, error)) from error
    filled = [(name, records) for name, records in found if records]
    if not filled:
        raise DataError(f"{path.name} has no cells; it needs a header (path,label) and rows")
    return filled


def _check_archive(path: Path) -> None:
    """Refuse what is no Excel file, or would unpack to more than is sensible."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            size = sum(member.file_size for member in archive.infolist())
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise DataError(_damaged(path, error)) from error
    if "xl/workbook.xml" not in names:
        raise DataError(
            f"{path.name} is a zip archive and no .xlsx; unpack it, and give the folder or table "
            "inside"
        )
    if size > MOST_BYTES:
        raise DataError(
            f"{path.name} unpacks to {size:,} bytes, and tables up to {MOST_BYTES:,} are read; "
            "keep the columns that matter, or save it as CSV"
        )


def _records(sheet: Any) -> Records:
    sheet.reset_dimensions()  # some programs write a wrong one, which would cut the sheet short
    records = []
    for at, row in enumerate(sheet.iter_rows(), 1):
        fields = [_shown(cell) for cell in row]
        if any(fields):
            records.append((at, fields))
    return records


def _shown(cell: Any) -> str:
    """A cell's text; a whole number formatted as 00000 keeps its leading noughts."""
    value = cell.value
    if isinstance(value, int) and not isinstance(value, bool):
        noughts = re.fullmatch(r"0+", cell.number_format or "")
        return f"{value:0{len(noughts[0])}d}" if noughts else str(value)
    return text_of(value)


def _damaged(path: Path, error: BaseException) -> str:
    return (
        f"{path.name} cannot be read as .xlsx ({_first_line(error)}); open and save it again, or "
        "save it as 'CSV UTF-8'"
    )


def read_parquet(path: Path) -> Records:
    """The header as row 0 and the rows of a Parquet file.

    Raises
    ------
    DataError
        It is damaged, too large, or holds the images themselves.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            meta = file.metadata
            size = sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups))
            if not 0 <= size <= MOST_BYTES or meta.num_rows * meta.num_columns > MOST_BYTES // 8:
                raise DataError(
                    f"{path.name} unpacks to {size:,} bytes, and tables up to {MOST_BYTES:,} are "
                    "read; keep the columns that matter"
                )
            schema = file.schema_arrow
            images = [f.name for f in schema if pa.types.is_binary(f.type) or _holds_bytes(f.type)]
            if images:
                raise DataError(
                    f"{path.name} holds bytes in its column '{images[0]}', perhaps the images "
                    "themselves; write them as files, and their paths into the table"
                )
            table = file.read()
    except (pa.ArrowException, OSError, ValueError, KeyError, MemoryError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{path.name} cannot be read as Parquet ({_first_line(error)}); write it again, or "
            "give a CSV"
        ) from error
    return list(_parquet_records(table))


def _parquet_records(table: object) -> Iterator[tuple[int, list[str]]]:
    columns = table.to_pydict()  # type: ignore[attr-defined]
    yield 0, [str(name) for name in columns]
    for at, row in enumerate(zip(*columns.values(), strict=True), 1):
        yield at, [text_of(value) for value in row]


def _holds_bytes(kind: object) -> bool:
    return "binary" in str(kind)


def _first_line(error: BaseException) -> str:
    return str(error).split("\n", 1)[0][:120] or type(error).__name__
