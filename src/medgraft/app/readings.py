"""Data that is read for the page: in a thread, once for each way to read it."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medgraft.app.home import NotFoundError
from medgraft.errors import AmbiguousDataError, DataError, MedgraftError

if TYPE_CHECKING:
    from medgraft.data.pool.pool import DecodePool
    from medgraft.panel import Panel
    from medgraft.types import BudgetUse, ImageTable, Progress

KEPT = 4  # readings that are held; one that went is read again when it is asked for
FLAGS = (
    "layout", "group", "no_groups", "leave_out", "rename", "drop_classes_below", "images",
    "path_column", "label_column", "label_columns", "finding_columns", "split_column",
    "class_names", "binarize", "encoding", "sheet", "window", "page", "pixel_range", "positive",
    "uncertain", "overrides", "order", "ordered",
)  # fmt: skip
"""Options of `medgraft study` about how data is read, which the page may set."""

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
    table: ImageTable | None = None
    tasks: list[dict[str, Any]] = field(default_factory=list)
    wanted: bool = True

    def json(self) -> dict[str, Any]:
        return {
            "id": self.id, "data": self.data, "flags": dict(self.flags), "state": self.state,
            "error": self.error, "choices": self.choices, "found": self.found,
            "tasks": self.tasks[-1:],
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
        path = str(Path(data).expanduser().absolute())
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
            mine.found = described(read)
            mine.table = read.images if isinstance(read, Panel) else read
            mine.fingerprint = read.fingerprint
            mine.state = "read"
        except _StoppedError:
            with self._lock:
                self._held.pop(mine.id, None)
        except AmbiguousDataError as error:
            mine.error = error.question
            mine.choices = [
                {"shows": one.shows, "flags": dict(one.flags), "data": one.data, "text": str(one)}
                for one in error.choices
            ]
            mine.state = "question"
        except MedgraftError as error:
            mine.error, mine.state = str(error), "refused"
        except Exception as error:  # noqa: BLE001  (a page that waits for ever would say less)
            mine.error, mine.state = f"{type(error).__name__}: {error}", "refused"


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
