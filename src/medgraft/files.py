"""Writing so that nothing is ever half-written: to a temporary name, flushed, then renamed."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medgraft.errors import MedgraftError


class StorageError(MedgraftError):
    """A file or folder cannot be written."""


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


def write_json(path: Path, content: object) -> None:
    """Write JSON atomically; NaN is refused, for not every reader knows it."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
