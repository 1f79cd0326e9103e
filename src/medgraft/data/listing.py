"""What every reader of data hands on: a listing of rows, one for each image that was found."""

from __future__ import annotations

import contextlib
import hashlib
import stat
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from medgraft.types import Finding, Progress, Skipped, Source, Split

SPLIT_NAMES: Mapping[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
HASH_BYTES = 16
EMPTY = hashlib.blake2b(digest_size=HASH_BYTES).hexdigest()  # of no bytes


def content_hash(content: bytes) -> str:
    """The hash by which equal bytes are known, wherever they come from."""
    return hashlib.blake2b(content, digest_size=HASH_BYTES).hexdigest()


def file_hash(file: BinaryIO) -> str:
    """The same of an open file, read piece by piece: it may be larger than the memory."""
    return hashlib.file_digest(file, _hasher).hexdigest()  # type: ignore[arg-type]


def _hasher() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=HASH_BYTES)


@dataclass(frozen=True, slots=True)
class Row:
    """One image as its owner described it; '' stands for what was not said."""

    id: str
    source: Source
    label: str
    split: Split
    mask: str = ""
    content_hash: str = ""
    extra: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listing:
    """What a reader found; `columns` names the values in each row's `extra`."""

    root: Path
    rows: list[Row]
    skipped: list[Skipped]
    findings: list[Finding] = field(default_factory=list)
    columns: tuple[str, ...] = ()


def bar(
    progress: Progress | None, text: str, total: int
) -> AbstractContextManager[Callable[[int], None]]:
    """A progress bar, or a silent one where nobody watches."""
    if progress is None:
        return contextlib.nullcontext(lambda steps: None)
    return progress.task(text, total)


def file_problem(path: Path) -> str:
    """Why `path` cannot be an image file, or ''."""
    if shown(str(path)) != str(path):
        return "its path is not UTF-8; rename it"
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "broken link: its target does not exist" if path.is_symlink() else "no such file"
    except (OSError, ValueError) as error:
        return f"cannot be read ({error})"
    return "" if stat.S_ISREG(mode) else "not a file"


def shown(name: str) -> str:
    """`name` with bytes that are not UTF-8 written as escapes, fit for JSON and terminals."""
    return name.encode(errors="backslashreplace").decode()
