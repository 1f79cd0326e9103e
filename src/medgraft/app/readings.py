"""Data that is read for the page: in a thread, once for each way to read it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medgraft.app.folders import at_home, count_pictures
from medgraft.app.home import NotFoundError
from medgraft.app.plain_words import without_flags
from medgraft.errors import AmbiguousDataError, Choice, DataError, MedgraftError

if TYPE_CHECKING:
    from medgraft.data.pool.pool import DecodePool
    from medgraft.panel import Panel
    from medgraft.types import BudgetUse, ImageTable, Progress, Skipped

CLASSES = 40  # that the innermost folders may be
KEPT = 4  # readings that are held; one that went is read again when it is asked for
FLAGS = (
    "layout", "group", "no_groups", "leave_out", "rename", "drop_classes_below", "images",
    "path_column", "label_column", "label_columns", "finding_columns", "split_column",
    "class_names", "binarize", "encoding", "sheet", "window", "page", "pixel_range", "positive",
    "uncertain", "overrides", "order", "ordered",
)  # fmt: skip
"""Options of `medgraft study` about how data is read, which the page may set."""

WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")  # how a path of Windows begins
Flags = Mapping[str, Any]
Read = Callable[[str, Sequence[str], "Progress"], "ImageTable | Panel"]
"""Reads DATA by the words of a command line; the command line has it."""


class _StoppedError(Exception):
    """Nobody waits for this reading any more."""


def words_of(flags: Flags) -> list[str]:
    """The same as words of a command line.

    Raises
    ------
    DataError
        A name is no option about reading, or a value is neither text, texts nor true.

    Examples
    --------
    >>> words_of({"layout": "class/image", "no_groups": True, "leave_out": ["a", "b"]})
    ['--layout=class/image', '--no-groups', '--leave-out=a', '--leave-out=b']
    """
    words = []
    for name, value in flags.items():
        flag = f"--{name.replace('_', '-')}"
        if name not in FLAGS:
            raise DataError(f"{flag} is no option of how data is read; see medgraft study --help")
        if value is True:
            words.append(flag)
        elif isinstance(value, str):
            words.append(f"{flag}={value}")
        elif isinstance(value, list) and all(isinstance(one, str) for one in value):
            words += [f"{flag}={one}" for one in value]
        elif value is not False:
            raise DataError(f"{flag} takes a text, not {value!r}")
    return words


@dataclass
class Reading:
    """One way to read some data, and how far it is.

    state : reading, read, question (then `choices`), gone, or refused (then `error`).
    """

    id: str
    data: str
    flags: Flags
    state: str = "reading"
    error: str = ""
    choices: list[dict[str, Any]] = field(default_factory=list)
    found: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""
    read: ImageTable | Panel | None = None
    table: ImageTable | None = None
    tasks: list[dict[str, Any]] = field(default_factory=list)
    wanted: bool = True

    def json(self) -> dict[str, Any]:
        return {
            "id": self.id, "data": self.data, "flags": dict(self.flags), "state": self.state,
            "error": self.error, "said": without_flags(self.error), "choices": self.choices,
            "found": self.found, "tasks": self.tasks[-1:],
        }  # fmt: skip


class Readings:
    """What was read lately; `read` is the command line's own way to do it."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._thread = ThreadPoolExecutor(2, "medgraft-reading")
        self._held: dict[str, Reading] = {}
        self._lock = threading.Lock()
        self._pool: DecodePool | None = None
        self._pictures: dict[tuple[str, int], bytes | None] = {}

    def open(self, data: str, flags: Flags, *, again: bool = False) -> Reading:
        """The reading of some data, begun if it is not there; another that is under way is left.

        again : read it anew, for it may have changed.

        Raises
        ------
        DataError
            A flag is none, or there is nothing at `data`.
        """
        words = words_of(flags)
        path = _typed(data)
        id = hashlib.sha256(json.dumps([path, sorted(words)]).encode()).hexdigest()[:16]
        with self._lock:
            known = self._held.pop(id, None)
            if known is None or (again and known.state != "reading"):
                known = Reading(id, path, flags)
                self._thread.submit(self._work, known, words)
                self._pictures = {key: one for key, one in self._pictures.items() if key[0] != id}
            self._held[id] = known
            for oldest in list(self._held)[:-KEPT]:
                self._held.pop(oldest).wanted = False
        return known

    def get(self, id: str) -> Reading:
        """Raises `NotFoundError` where it is not held any more."""
        if (found := self._held.get(id)) is None:
            raise NotFoundError("this was read too long ago; it is read again")
        return found

    def stop(self, id: str) -> None:
        """End a reading that is under way; nothing where there is none."""
        if (found := self._held.get(id)) is not None:
            found.wanted = False

    def leave_out(self, reading: Reading, skipped: Sequence[Skipped]) -> None:
        """Take out what turned out to be unreadable, so that the page has one count of images."""
        import numpy as np

        from medgraft.app.reading_json import described
        from medgraft.panel import Panel

        table = reading.table
        if table is None or reading.read is None:
            return
        here = np.isin(table.ids, [one.source for one in skipped])
        if not here.any():
            return
        ids = set(table.ids[here].tolist())
        more = tuple(one for one in skipped if one.source in ids)
        kept = replace(table.select(~here), skipped=(*table.skipped, *more))
        read = reading.read
        if isinstance(read, Panel):
            read = replace(read.select(~here), images=kept)
        with self._lock:
            self._pictures = {
                key: one for key, one in self._pictures.items() if key[0] != reading.id
            }
            reading.read = read if isinstance(read, Panel) else kept
            reading.table, reading.found = kept, described(reading.read)

    def picture(self, id: str, row: int) -> bytes | None:
        """One of its images, small; None where it cannot be read."""
        from medgraft.app.reading_json import picture

        table = self.get(id).table
        if table is None or not 0 <= row < len(table):
            raise NotFoundError("there is no such image in what was read")
        if (id, row) not in self._pictures:
            with self._lock:
                if self._pool is None:
                    from medgraft.data.pool.pool import DecodePool

                    self._pool = DecodePool(1).__enter__()
            self._pictures[id, row] = picture(table, row, self._pool)
        return self._pictures[id, row]

    def close(self) -> None:
        """Stop what is under way."""
        for one in self._held.values():
            one.wanted = False
        self._thread.shutdown(wait=False, cancel_futures=True)
        if self._pool is not None:
            self._pool.__exit__(None, None, None)

    def _work(self, mine: Reading, words: Sequence[str]) -> None:
        from medgraft.app.reading_json import described
        from medgraft.panel import Panel

        try:
            if not Path(mine.data).exists():
                mine.error = f"There is nothing at {mine.data} (any more)."
                mine.state = "gone"
                return
            read = self._read(mine.data, words, _Watched(mine))
            mine.read, mine.found = read, described(read)
            mine.table = read.images if isinstance(read, Panel) else read
            mine.fingerprint = read.fingerprint
            mine.state = "read"
        except _StoppedError:
            with self._lock:
                self._held.pop(mine.id, None)
        except AmbiguousDataError as error:
            mine.error = error.question
            choices = list(error.choices)
            if all("layout" in dict(one.flags) for one in choices):
                choices += _innermost(Path(mine.data), choices)
            mine.choices = [
                {"shows": one.shows, "flags": dict(one.flags), "data": one.data, "text": str(one)}
                for one in choices
            ]
            mine.state = "question"
        except MedgraftError as error:
            mine.error, mine.state = str(error), "refused"
        except Exception as error:  # noqa: BLE001  (a page that waits for ever would say less)
            mine.error, mine.state = f"{type(error).__name__}: {error}", "refused"


def _innermost(folder: Path, others: Sequence[Choice]) -> list[Choice]:
    """Each folder that holds images as a class, where no other choice is that already."""
    n: Counter[str] = Counter()
    depths = set()
    for here, _, files in os.walk(folder):
        images = count_pictures(files)
        if images and Path(here) != folder:
            n[Path(here).name] += images
            depths.add(len(Path(here).relative_to(folder).parts))
    parts = ["/".join(("*",) * (depth - 1) + ("class", "image")) for depth in sorted(depths)]
    taken = {frozenset(dict(one.flags)["layout"].split(" + ")) for one in others}
    if not 1 < len(n) <= CLASSES or frozenset(parts) in taken:
        return []
    named = ", ".join(f"{name} {images:,}" for name, images in sorted(n.items()))
    shows = f"{len(n)} classes, the innermost folders: {named}"
    return [Choice(shows, (("layout", " + ".join(parts)),))]


def _typed(data: str) -> str:
    """The path that somebody typed or pasted.

    Raises
    ------
    DataError
        It is a path of Windows and this is none, or says too little.

    Examples
    --------
    >>> _typed(' "/home/me/my images" ')
    '/home/me/my images'
    """
    text = data.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1]
    if os.name != "nt" and WINDOWS.match(text):
        raise DataError(
            f"{text} is a path of Windows, and medgraft runs on {platform.system()} here, which "
            "calls that folder something else; find it by Choose a folder or table"
        )
    path = at_home(text)
    if not path.is_absolute():
        example = "C:\\images" if os.name == "nt" else "/home/me/images"
        raise DataError(f"{text} is no whole path; type it from its start, such as {example}")
    return str(path)


class _Watched:
    """A `Progress` that keeps the tasks of a reading, and ends it when nobody waits."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading

    @contextmanager
    def task(self, description: str, total: int) -> Iterator[Callable[[int], None]]:
        mine: dict[str, Any] = {
            "what": description, "total": total, "done": 0, "began": time.time(),
        }  # fmt: skip

        def advance(steps: int) -> None:
            mine["done"] += steps
            if not self.reading.wanted:
                raise _StoppedError

        self.reading.tasks.append(mine)
        try:
            yield advance
        finally:
            self.reading.tasks.remove(mine)

    def say(self, text: str) -> None:
        pass

    @contextmanager
    def budget(self) -> Iterator[Callable[[BudgetUse], None]]:
        yield lambda use: None
