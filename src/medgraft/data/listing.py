"""What every reader of data hands on: a listing of rows, one for each image that was found."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from medgraft.types import Finding, Progress, Reading, Skipped, Source, Split

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
class DicomHeader:
    """What one DICOM file says of itself; none of it goes into a table as it stands.

    keys : patient, study, series and instance, '' where absent. frames : 1 where it does not say.
    columns : what `dicom_headers.COLUMNS` names. problem : why it holds no picture, or ''.
    burned_in : it says that names or dates are drawn into the picture. private : it has elements
    of a maker's own. window : (centre, width) that it names. shown : it says itself how its values
    are shown, or has 8 bits.
    """

    keys: tuple[str, str, str, str] = ("", "", "", "")
    frames: int = 1
    columns: tuple[str, ...] = ()
    problem: str = ""
    burned_in: bool = False
    private: bool = False
    window: tuple[float, float] | None = None
    shown: bool = True

    @property
    def patient(self) -> str:
        return self.keys[0]

    @property
    def study(self) -> str:
        return self.keys[1]


@dataclass(frozen=True, slots=True)
class Row:
    """One image as its owner described it; '' stands for what was not said.

    marks : what is known of each of several findings (`Listing.marked`); its label is then a text
    for them.
    """

    id: str
    source: Source
    label: str
    split: Split
    mask: str = ""
    content_hash: str = ""
    extra: tuple[str, ...] = ()
    group: str = ""
    dicom: DicomHeader | None = None
    marks: tuple[int, ...] = ()

    def with_content(self, content_hash: str, dicom: DicomHeader | None) -> Row:
        """The same once its file was read; `dataclasses.replace` takes three times as long."""
        return Row(
            self.id, self.source, self.label, self.split, self.mask, content_hash, self.extra,
            self.group, dicom, self.marks,
        )  # fmt: skip


@dataclass(frozen=True)
class Listing:
    """What a reader found; `columns` names the values in each row's `extra`, `key` the one of them
    whose value is each row's `group`, '' where folders are. `marked` names the several findings
    that rows tell of instead of a label.
    """

    root: Path
    rows: list[Row]
    skipped: list[Skipped]
    findings: list[Finding] = field(default_factory=list)
    columns: tuple[str, ...] = ()
    reading: Reading = field(default_factory=Reading)
    key: str = ""
    marked: tuple[str, ...] = ()


def bar(
    progress: Progress | None, text: str, total: int
) -> AbstractContextManager[Callable[[int], None]]:
    """A progress bar, or a silent one where nobody watches or there is nothing to do."""
    if progress is None or not total:
        return contextlib.nullcontext(lambda steps: None)
    return progress.task(text, total)


def file_problem(path: str | Path) -> str:
    """Why `path` cannot be an image file, or ''."""
    path = os.fspath(path)
    if shown(path) != path:
        return "its path is not UTF-8; rename it"
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116  of every image: a `Path` would take as long
    except FileNotFoundError:
        linked = os.path.islink(path)  # noqa: PTH114
        return "broken link: its target does not exist" if linked else "no such file"
    except (OSError, ValueError) as error:
        return f"cannot be read ({error})"
    return "" if stat.S_ISREG(mode) else "not a file"


def shown(name: str) -> str:
    """`name` with bytes that are not UTF-8 written as escapes, fit for JSON and terminals."""
    return name.encode(errors="backslashreplace").decode()
