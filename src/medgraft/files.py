"""Writing so that nothing is ever half-written: to a temporary name, flushed, then renamed."""

from __future__ import annotations

import csv
import dataclasses
import errno
import io
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from medgraft.errors import MedgraftError


class StorageError(MedgraftError):
    """A file or folder cannot be written."""


def cache_folder() -> Path:
    """`$MEDGRAFT_CACHE`, or the user's cache folder of this system."""
    import platformdirs

    return Path(os.environ.get("MEDGRAFT_CACHE") or platformdirs.user_cache_dir("medgraft"))


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the disk says while `path` is written into an error with a remedy.

    Raises
    ------
    StorageError
        The disk is full, the folder cannot be written, or something is in the way.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        remedy = "choose another folder"
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            remedy = "free some space (see: medgraft cache) or choose a folder on another disk"
        raise StorageError(f"cannot write {path}: {reason}; {remedy}") from error


def check_writable(path: Path, *, folder: bool = False, remedy: str = "choose another") -> None:
    """Try whether a file, or files in a folder, can be written, before the work for it begins.

    Nothing is left on the disk: a folder that is not there yet is not made.

    Raises
    ------
    StorageError
        It cannot be; the text ends with `remedy`.
    """
    try:
        if folder != path.is_dir() and path.exists():
            raise OSError(errno.ENOTDIR if folder else errno.EISDIR, "")
        above = path if folder else path.parent
        while not above.exists() and above != above.parent:
            above = above.parent
        with tempfile.TemporaryFile(dir=above):
            pass
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        raise StorageError(f"cannot write {path}: {reason}; {remedy}") from error


@contextmanager
def written_file(path: Path) -> Iterator[Path]:
    """Give a temporary path to write; on success it takes the place of `path`, else it goes.

    Raises
    ------
    StorageError
        As `explained` says; `path` is then as it was before.
    """
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # A `mkstemp` file is private; what a person asked for should get the usual permissions.
        temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}")
        try:
            yield temporary
            flush(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def written_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder to fill; on success it becomes `path` (replacing an older one)."""
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        try:
            yield temporary
            temporary.chmod(0o755)
            for file in temporary.rglob("*"):
                if file.is_file():
                    flush(file)
            if path.exists():
                older = temporary.with_name(temporary.name + "-older")
                path.rename(older)
                temporary.rename(path)
                shutil.rmtree(older)
            else:
                temporary.rename(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def flush(path: Path) -> None:
    """Ask the disk to hold the bytes of `path` before anything is built on them."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a whole text file atomically, UTF-8."""
    with written_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


# What a spreadsheet takes for a formula, which may call out or start programs (OWASP, "CSV
# injection"); the apostrophes before it are those of earlier escapes. Numbers are none.
FORMULA = re.compile(r"'*[=+\-@\t\r\n]")
NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def csv_cell(value: object) -> object:
    """The value as a spreadsheet shows it and does not run it: text gets an apostrophe before it.

    >>> [csv_cell(one) for one in ("=1+1", "'=1+1", "a=b", "-0.5", "-x", -0.5)]
    ["'=1+1", "''=1+1", 'a=b', '-0.5', "'-x", -0.5]
    """
    if isinstance(value, str) and FORMULA.match(value) and not NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def from_csv_cell(text: str) -> str:
    """What `csv_cell` was given.

    >>> [from_csv_cell(one) for one in ("'=1+1", "''=1+1", "a=b", "'quoted'")]
    ['=1+1', "'=1+1", 'a=b', "'quoted'"]
    """
    return text[1:] if text.startswith("'") and FORMULA.match(text) else text


def write_csv(path: Path, rows: Iterable[Iterable[object]], *, ending: str = "\r\n") -> None:
    """Write a whole CSV file atomically, its headings first; no cell is a formula.

    ending : of lines.
    """
    content = io.StringIO(newline="")
    writer = csv.writer(content, lineterminator=ending)
    writer.writerows([csv_cell(value) for value in row] for row in rows)
    write_text(path, content.getvalue())


def without_credentials(text: str) -> str:
    """The text with what opens a server taken out of its addresses; it is written down and shown.

    >>> without_credentials("study x --mlflow https://anna:secret@host:5000/a")
    'study x --mlflow https://host:5000/a'
    """
    return re.sub(r"(?<=://)[^/@\s'\"]+@", "", text)


def json_value(value: object) -> Any:
    """The same as JSON can hold it: dataclasses as objects, null for what is not finite.

    >>> json_value({"p": float("nan"), "of": (1, 2.5)})
    {'p': None, 'of': [1, 2.5]}
    """
    if value is None or isinstance(value, str | bool):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: json_value(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {name: json_value(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(one) for one in value]
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else None
    return value


def write_json(path: Path, content: object) -> None:
    """Write JSON atomically; NaN is refused, for not every reader knows it."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
