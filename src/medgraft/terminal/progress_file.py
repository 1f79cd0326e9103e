"""What a person who waits elsewhere sees: the same as the bars, in a small file that is replaced.

`medgraft app` shows it of studies that run in processes of their own. The variable
`MEDGRAFT_PROGRESS` names the file, so that the command that a report repeats stays as it was typed.
"""

from __future__ import annotations

import dataclasses
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medgraft.types import BudgetUse

VARIABLE = "MEDGRAFT_PROGRESS"
EVERY = 0.5  # seconds between two writings of a bar that advances
KEPT = 20  # of the things said


@dataclasses.dataclass
class _Task:
    what: str
    total: int
    began: float
    done: int = 0


class ProgressFile:
    """A `Progress` that keeps `path` up to date; what the disk refuses stops no study.

    The file holds an object: `time` of writing; `said`, the last lines; `tasks`, those that are
    open, the innermost last, each `what, total, done, began`; `budget`, null or `seconds` and
    `steps` with their words.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._lock, self._written = path, threading.Lock(), 0.0
        self._said: list[str] = []
        self._tasks: list[_Task] = []
        self._budget: dict[str, Any] | None = None

    @contextmanager
    def task(self, description: str, total: int) -> Iterator[Callable[[int], None]]:
        mine = _Task(description, total, time.time())

        def advance(steps: int) -> None:
            mine.done += steps
            if time.monotonic() - self._written >= EVERY:
                self._write()

        self._tasks.append(mine)
        self._write()
        try:
            yield advance
        finally:
            self._tasks.remove(mine)
            self._write()

    def say(self, text: str) -> None:
        self._said = [*self._said, text][-KEPT:]
        self._write()

    @contextmanager
    def budget(self) -> Iterator[Callable[[BudgetUse], None]]:
        from medgraft.report.text import budget

        def show(use: BudgetUse) -> None:
            steps = [
                {
                    "words": words, "why": why, "outcome": step.outcome, "said": outcome,
                    "predicted": step.predicted, "seconds": step.seconds,
                }
                for words, step, why, outcome in budget.rows(use)
            ]  # fmt: skip
            self._budget = {"seconds": use.seconds, "finish": use.finish, "steps": steps}
            self._write()

        yield show

    def _write(self) -> None:
        """Replace the file; without asking the disk to hold it, for it is of no use later."""
        with self._lock, suppress(OSError):
            content = {
                "time": time.time(),
                "said": self._said,
                "tasks": [dataclasses.asdict(one) for one in self._tasks],
                "budget": self._budget,
            }
            temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
            temporary.write_text(json.dumps(content), encoding="utf-8")
            temporary.replace(self.path)
            self._written = time.monotonic()
