"""Writing so that nothing is ever half-written: to a temporary name, flushed, then renamed.

A process that is killed leaves what it had begun under such a name. The next one that writes to the
same place takes it away.
"""

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
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from medgraft.errors import MedgraftError

# What a file or folder is called before it is whole, and the older one while it makes way.
TEMPORARY = re.compile(r"\.(?P<name>.+)\.(?P<pid>\d+)-[0-9a-f]{8}(?P<older>-older)?")
OLDER = "-older"
ABANDONED = 60  # seconds after which a temporary name is what a killed process left
SYSTEM_ERROR = re.compile(r"\b(?:os error|errno) (\d+)", re.IGNORECASE)  # in errors of Rust and C++
OTHER = "choose another folder"
DEVICES = ((os.sep, "dev"), (os.sep, "proc"))
NO_ROOM = 1 << 16  # bytes: a disk with less is full


class StorageError(MedgraftError):
    """A file or folder cannot be written."""


def cache_folder() -> Path:
    """`$MEDGRAFT_CACHE`, or the user's cache folder of this system."""
    import platformdirs

    return Path(os.environ.get("MEDGRAFT_CACHE") or platformdirs.user_cache_dir("medgraft"))


@contextmanager
def explained(path: Path, remedy: str = OTHER) -> Iterator[None]:
    """Turn what the disk says while `path` is written into an error with a remedy.

    Libraries that are not written in Python tell of the disk in errors of their own.

    Raises
    ------
    StorageError
        The disk is full, the folder cannot be written, or something is in the way.
    """
    try:
        yield
    except MedgraftError:
        raise
    except Exception as error:
        number = _number_of(error, path)
        if number is None and not isinstance(error, OSError):
            raise
        reason = os.strerror(number) if number else type(error).__name__
        if number in {errno.ENOSPC, errno.EDQUOT}:
            remedy = f"free some space (see: medgraft cache) or {remedy}, on another disk"
        raise StorageError(f"cannot write {path}: {reason}; {remedy}") from error


def _number_of(error: Exception, path: Path) -> int | None:
    """Which of the system's errors it is, or what its library said of one, or that of no room."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    if said := SYSTEM_ERROR.search(str(error)):
        return int(said[1])
    with suppress(OSError):
        above = next(one for one in (path, *path.parents) if one.exists())
        if shutil.disk_usage(above).free < NO_ROOM:
            return errno.ENOSPC
    return None


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
        if not folder:
            _refuse_device(path)
        written = path if folder else path.resolve()  # as `written_file`
        above = written if folder else written.parent
        while not above.exists() and above != above.parent:
            above = above.parent
        with tempfile.TemporaryFile(dir=above):
            pass
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        raise StorageError(f"cannot write {path}: {reason}; {remedy}") from error


def _refuse_device(path: Path) -> None:
    """Refuse a device or a pipe, whose place a file would take for every other program, too.

    And what leads to one, such as /dev/stdout, whatever stands behind it now.
    """
    of_system = path.absolute().parts[:2] in DEVICES and path.absolute().parts[2:3] != ("shm",)
    if of_system or (path.exists() and not (path.is_file() or path.is_dir())):
        raise StorageError(f"cannot write {path}: it is no file; choose another, or leave it out")


@contextmanager
def written_file(path: Path, remedy: str = OTHER) -> Iterator[Path]:
    """Give a temporary path to write; on success it takes the place of `path`, else it goes.

    Raises
    ------
    StorageError
        As `explained` says; `path` is then as it was before.
    """
    with explained(path, remedy):
        _refuse_device(path)
        path = path.resolve()  # a link stays one, and what it leads to is written
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(path.parent, path.name)
        temporary = _temporary(path)
        try:
            yield temporary
            _open_to_others(temporary)
            flush(temporary)
            temporary.replace(path)
        finally:
            with suppress(OSError):  # of why it was not written the error itself tells
                temporary.unlink(missing_ok=True)


@contextmanager
def written_folder(path: Path, remedy: str = OTHER) -> Iterator[Path]:
    """Give a temporary folder to fill; on success it becomes `path` (replacing an older one)."""
    with explained(path, remedy), folder_beside(path) as temporary:
        yield temporary
        for file in list(temporary.rglob("*")):
            if file.is_file():
                _open_to_others(file)
                flush(file)
        _open_to_others(temporary)
        _put(temporary, path)


@contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """Give a temporary folder on the disk of `path`; it goes, now or when `path` is next written.

    For what a library writes as several files, each of which is then renamed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(path.parent, path.name)
    temporary = _temporary(path)
    temporary.mkdir(0o700)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _open_to_others(path: Path) -> None:
    """Give a file or folder that is private the permissions that the umask leaves a new one.

    Some libraries write by way of a private file (safetensors), and rename it.
    """
    if not path.stat().st_mode & 0o077:
        path.chmod((0o777 if path.is_dir() else 0o666) & ~_umask())


def _umask() -> int:
    """The permissions that new files of this process do not get."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(errors="replace").splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    mask = os.umask(0o077)  # elsewhere it is told only as it is set: for a moment files are private
    os.umask(mask)
    return mask


def _put(folder: Path, path: Path) -> None:
    """Rename a folder to `path`; the one that is there makes way, and comes back if that fails."""
    if not path.exists():
        folder.rename(path)
        return
    older = folder.with_name(folder.name + OLDER)
    path.rename(older)
    try:
        folder.rename(path)
    except OSError:
        older.rename(path)
        raise
    shutil.rmtree(older, ignore_errors=True)


def _temporary(path: Path) -> Path:
    """A name beside `path` that only this process uses."""
    return path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}")


def remove_abandoned(folder: Path, name: str = "", age: float = ABANDONED) -> None:
    """Take away what killed processes left half-written in a folder; all of it, or of one name.

    What had made way for something that never came gets its place again.
    """
    with suppress(OSError), os.scandir(folder) as inside:  # not there, or not ours to change
        for one in inside:
            if not one.name.startswith(f".{name}"):  # soon said, of thousands
                continue
            known = TEMPORARY.fullmatch(one.name)
            if known and name in ("", known["name"]) and is_abandoned(Path(one.path), age):
                if known["older"] and not (place := Path(folder, known["name"])).exists():
                    Path(one.path).rename(place)
                elif one.is_dir(follow_symlinks=False):
                    shutil.rmtree(one.path, ignore_errors=True)
                else:
                    Path(one.path).unlink(missing_ok=True)


def is_abandoned(path: Path, age: float = ABANDONED) -> bool:
    """Whether nobody writes any more what has a temporary name, as far as can be told.

    Not touched for `age` seconds, and not of a process that runs here; of age 0, always.
    """
    if not age:
        return True
    known = TEMPORARY.fullmatch(path.name)
    runs = known is not None and Path("/proc", known["pid"]).exists()
    return not runs and path.lstat().st_mtime < time.time() - age


def flush(path: Path) -> None:
    """Ask the disk to hold the bytes of `path` before anything is built on them."""
    # Windows flushes what is open to be written alone.
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str, remedy: str = OTHER) -> None:
    """Write a whole text file atomically, UTF-8."""
    with written_file(path, remedy) as temporary:
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


def write_json(path: Path, content: object, remedy: str = OTHER) -> None:
    """Write JSON atomically; NaN is refused, for not every reader knows it."""
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, text, remedy)
