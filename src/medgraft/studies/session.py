"""What every step of one study works with: the extractor, the run's events and the clock."""

from __future__ import annotations

import threading
import time
import weakref
from itertools import pairwise
from typing import Any

from medgraft.features.extract import Extractor
from medgraft.studies.store import RunStore, read_events

STARTS = ("started", "resumed")  # events that begin a session
ALIVE = 60.0  # seconds between notes that a session works: a fold may take an hour, and be killed
DECIDED = ("audit", "budget", "networks", "plan", "race")  # events of what the clock decided


class Session:
    """One study under way.

    store : where its events are written; nothing is where it is None. step_seconds : by name, in
    the order in which they were done. sessions : how many there are with those gone on with.
    """

    def __init__(self, extractor: Extractor, store: RunStore | None) -> None:
        self.extractor, self.store = extractor, store
        self.step_seconds: dict[str, float] = {}
        events = read_events(store.folder) if store is not None else []
        self._earlier = {name: [e for e in events if e["event"] == name] for name in DECIDED}
        self._before = _seconds_before(events)
        self._looked = {
            int(row.get("scenarios", 0))
            for row in events
            if row["event"] == "test split looked at" and row.get("images")
        }
        self.sessions = max(1, sum(one["event"] in STARTS for one in events))
        self._steps_before = _steps_before(events)
        self._began = self._last = time.perf_counter()
        if store is not None:
            watch = (weakref.ref(self), store)
            threading.Thread(target=_note_life, args=watch, daemon=True).start()

    def event(self, name: str, **facts: object) -> None:
        """Write an event, where somebody keeps them."""
        if self.store is not None:
            self.store.event(name, **facts)

    def earlier(self, name: str) -> list[dict[str, Any]]:
        """What the clock decided before this session began: events of a name in `DECIDED`."""
        return self._earlier[name]

    @property
    def resumed(self) -> bool:
        """Whether an earlier session decided what the budget buys; then nothing is decided anew."""
        return bool(self._earlier["budget"])

    def looks(self, scenarios: int) -> int:
        """How often the test split was looked at, if so many scenarios are looked at now.

        A run that was killed after its look and goes on sees the same figures again; one that was
        stopped, reported and went on with more scenarios looks anew.
        """
        return len(self._looked | {scenarios})

    def end_step(self, step: str) -> None:
        """Note the seconds of a step that began when the one before ended."""
        now = time.perf_counter()
        self.step_seconds[step] = now - self._last
        self._last = now
        self.event("step", step=step, seconds=round(self.step_seconds[step], 3))

    @property
    def all_step_seconds(self) -> dict[str, float]:
        """The same, with what the sessions before took."""
        names = dict.fromkeys((*self._steps_before, *self.step_seconds))
        return {
            name: self._steps_before.get(name, 0.0) + self.step_seconds.get(name, 0.0)
            for name in names
        }

    @property
    def seconds(self) -> float:
        """Since this session began."""
        return time.perf_counter() - self._began

    @property
    def spent(self) -> float:
        """Seconds of this session, and of those that it goes on with."""
        return self._before + self.seconds


def _note_life(session: weakref.ref[Session], store: RunStore) -> None:
    """Write an event now and then while a session works, until it has ended or is gone."""
    while True:
        time.sleep(ALIVE)
        if store.ended or session() is None:
            return
        store.alive()


def _seconds_before(events: list[dict[str, Any]]) -> float:
    """How long the sessions before the last one worked, by the times of their events."""
    starts = [i for i, row in enumerate(events) if row["event"] in STARTS]
    times = [float(row.get("time", 0.0)) for row in events]
    return sum(max(0.0, times[end - 1] - times[i]) for i, end in pairwise(starts))


def _steps_before(events: list[dict[str, Any]]) -> dict[str, float]:
    """Seconds by step of the sessions before the last one."""
    starts = [i for i, row in enumerate(events) if row["event"] in STARTS]
    found: dict[str, float] = {}
    for row in events[: starts[-1] if starts else 0]:
        if row["event"] == "step":
            found[row["step"]] = found.get(row["step"], 0.0) + float(row["seconds"])
    return found
