"""Images listed in a CSV, and images packed as the arrays of a MedMNIST file."""

from __future__ import annotations

import csv
import io
import os
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medgraft.data.listing import (
    SPLIT_NAMES,
    Listing,
    Row,
    bar,
    content_hash,
    file_problem,
    shown,
)
from medgraft.errors import DataError
from medgraft.types import Progress, Skipped, Source, Split


def read_csv(path: Path, path_column: str, label_column: str, split_column: str) -> Listing:
    """List the rows of a CSV (comma, semicolon or tab); paths are relative to its folder.

    Raises
    ------
    DataError
        Not UTF-8, not a table, a column is absent, a split has an unknown name, or one path has
        two labels or splits.
    """
    root = path.parent
    header, records = _records(path)
    wanted = {"--path-column": path_column, "--label-column": label_column}
    wanted |= {} if split_column == "split" else {"--split-column": split_column}
    for flag, name in wanted.items():
        if name not in header:
            raise DataError(
                f"no column '{name}' in {path.name} (columns: {', '.join(header)}); "
                f"pass {flag} COLUMN"
            )
    used = {path_column, label_column, split_column}
    columns = tuple(name for name in header if name not in used)
    rows: dict[str, Row] = {}
    lines: dict[str, int] = {}
    skipped: list[Skipped] = []
    for line, record in records:
        if not record[path_column].strip():
            skipped.append(Skipped(f"{path.name} line {line}", "the path is empty"))
            continue
        file = _beside(root, record[path_column])
        id_ = shown(Path(os.path.relpath(file, root)).as_posix())
        split = _split_named(record.get(split_column, "").strip(), path, line)
        extra = tuple(record[name].strip() for name in columns)
        row = Row(id_, Source(str(file)), record[label_column].strip(), split, extra=extra)
        if id_ in rows:
            _refuse_contradiction(rows[id_], lines[id_], row, line, path)
            skipped.append(Skipped(f"{id_} ({path.name} line {line})", "named twice; first kept"))
        elif problem := file_problem(file):
            skipped.append(Skipped(id_, f"{problem} ({path.name} line {line})"))
        else:
            rows[id_], lines[id_] = row, line
    if not rows:
        first = f"; the first: {skipped[0].source}: {skipped[0].reason}" if skipped else ""
        raise DataError(
            f"{path.name} names no image that exists{first}; paths are relative to {root}"
        )
    return Listing(root, [rows[id_] for id_ in sorted(rows)], skipped, columns=columns)


def _records(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The header, and each record with the line it ends on."""
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}); check its permissions"
        ) from error
    except UnicodeDecodeError as error:
        seems = "UTF-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "WINDOWS-1252"
        raise DataError(
            f"{path.name} is not UTF-8 (byte {error.start} is 0x{raw[error.start]:02x}; perhaps it "
            f"is {seems}); save it as 'CSV UTF-8', or: iconv -f {seems} -t UTF-8 FILE > NEW"
        ) from error
    delimiter = max(",;\t", key=text.split("\n", 1)[0].count)
    # strict, because a quote left open would otherwise swallow the rest of the file in silence
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    records = []
    try:
        for values in reader:
            if not any(value.strip() for value in values):
                continue
            if not header:
                header = [value.strip() for value in values]
                continue
            if len(values) > len(header):
                raise DataError(
                    f"{path.name} line {reader.line_num} has {len(values)} fields, the header "
                    f"{len(header)}; put values that hold '{delimiter}' into double quotes"
                )
            values += [""] * (len(header) - len(values))
            records.append((reader.line_num, dict(zip(header, values, strict=True))))
    except csv.Error as error:
        raise DataError(
            f"{path.name} line {reader.line_num} is not valid CSV ({error}); check its quotes"
        ) from error
    if not records:
        raise DataError(f"{path.name} is empty; it needs a header (path,label) and a row an image")
    if len(set(header)) < len(header):
        raise DataError(
            f"{path.name} has two columns of one name ({', '.join(header)}); rename one"
        )
    return header, records


def _beside(root: Path, text: str) -> Path:
    """The file that a cell names, be it padded with blanks or written on Windows."""
    for spelling in (text, text.strip(), text.strip().replace("\\", "/")):
        file = Path(os.path.normpath(root / spelling))
        if not file_problem(file):
            return file
    return Path(os.path.normpath(root / text))


def _split_named(text: str, path: Path, line: int) -> Split:
    if text and text.lower() not in SPLIT_NAMES:
        raise DataError(
            f"{path.name} line {line}: the split '{text}' is none of {', '.join(SPLIT_NAMES)}; "
            "rename it, or pass --split-column for another column"
        )
    return SPLIT_NAMES[text.lower()] if text else ""


def _refuse_contradiction(first: Row, at: int, second: Row, line: int, path: Path) -> None:
    for what, a, b in (
        ("labels", first.label, second.label),
        ("splits", first.split, second.split),
    ):
        if a != b:
            raise DataError(
                f"{path.name} gives '{first.id}' two {what}: '{a}' in line {at} and '{b}' in line "
                f"{line}; keep one of the rows"
            )


UNREADABLE = (  # what zipfile and numpy raise for damaged, encrypted or foreign files
    OSError,
    EOFError,
    ValueError,
    KeyError,
    RuntimeError,
    MemoryError,
    SyntaxError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_npz(path: Path, progress: Progress | None = None) -> Listing:
    """List the frames of a MedMNIST file: `{train,val,test}_images` (n, height, width[, 3]) uint8
    and `{train,val,test}_labels` (n,) or (n, 1) integers, named "0", "1", … as classes.

    Frames are hashed while they stream by, since the 224-pixel sets exceed the memory.

    Raises
    ------
    DataError
        Not such a file: damaged, an array is absent, or of another shape or type.
    """
    rows: list[Row] = []
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name.removesuffix(".npy") for name in archive.namelist()}
            splits: tuple[Split, ...] = ("train", "val", "test")
            for split in splits:
                if f"{split}_images" in members:
                    rows += _npz_rows(path, archive, split, progress)
    except UNREADABLE as error:
        words = " ".join(str(error).split())[:200]  # numpy's hold the bytes that it did not like
        raise DataError(
            f"{path.name} cannot be read as a MedMNIST file ({words}); fetch it again, or save its "
            "arrays with numpy.savez"
        ) from error
    if not rows:
        raise DataError(
            f"{path.name} holds {', '.join(sorted(members)) or 'nothing'}; a MedMNIST file has "
            "train_images and train_labels (and val_…, test_…)"
        )
    return Listing(path.parent, rows, [])


def _npz_rows(
    path: Path, archive: zipfile.ZipFile, split: Split, progress: Progress | None
) -> Iterator[Row]:
    member = f"{split}_images"
    with archive.open(f"{split}_labels.npy") as stream:
        labels: NDArray[np.generic] = np.lib.format.read_array(stream, allow_pickle=False)
    with archive.open(f"{member}.npy") as stream:
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[np.lib.format.read_magic(stream)]
        shape, by_column, dtype = read_header(stream)
        if dtype != np.uint8 or len(shape) not in (3, 4) or shape[3:] not in ((), (3,)):
            raise ValueError(f"{member} is {shape} {dtype}, not (n, height, width[, 3]) uint8")
        if by_column:
            raise ValueError(f"{member} is stored column by column; use numpy.ascontiguousarray")
        if labels.dtype.kind not in "iu" or labels.shape not in ((shape[0],), (shape[0], 1)):
            raise ValueError(
                f"{split}_labels is {labels.shape} {labels.dtype}, not one integer for each of the "
                f"{shape[0]} images; several labels an image are not supported"
            )
        head = f"{shape[1:]} {dtype.str}".encode()
        size = int(np.prod(shape[1:]))
        with bar(progress, f"Reading {member}", shape[0]) as advance:
            for frame, label in enumerate(labels.ravel().tolist()):
                pixels = stream.read(size)
                if len(pixels) < size:
                    raise EOFError(f"{member} ends within frame {frame}")
                name = content_hash(head + pixels)
                source = Source(str(path), frame, member)
                yield Row(f"{split}/{frame}", source, str(label), split, content_hash=name)
                advance(1)
