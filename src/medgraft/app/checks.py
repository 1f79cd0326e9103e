"""Checks of data that the page shows after its reading: `medgraft profile`, started and told of."""

from __future__ import annotations

import hashlib
import json
import threading
from typing import Any

from medgraft.app.home import Home, NotFoundError
from medgraft.app.jobs import Job, Jobs
from medgraft.app.plain_words import without_flags
from medgraft.app.readings import Reading, words_of
from medgraft.types import Finding, Skipped

SUGGESTIONS = "suggestions.csv"  # of a check's folder


class Checks:
    """One check at a time, of data as it was read."""

    def __init__(self, home: Home, jobs: Jobs) -> None:
        self.home, self.jobs = home, jobs
        self._starting = threading.Lock()

    def check(self, reading: Reading, *, again: bool = False) -> dict[str, Any]:
        """How far the check of data is, which is begun where it is not there; others end.

        again : begin one anew that did not work.
        """
        if reading.state != "read":
            return {"state": "none"}
        id = _check_of(reading)
        with self._starting:  # the page may be open twice
            try:
                job = self.jobs.get(id)
            except NotFoundError:
                job = self._start_check(reading, id)
            gone = not self.jobs.alive(job) and self._checked(id) is None
            if gone and (again or (job.stopped and not self._studying())):
                job = self._start_check(reading, id)
        alive = self.jobs.alive(job)
        if alive:
            return {"state": "running", "tasks": self.jobs.progress(id).get("tasks", [])[-1:]}
        if (found := self._checked(id)) is not None:
            table = self.home.checks / id / SUGGESTIONS
            return {
                "state": "done", "findings": found[0], "page": f"checks/{id}/data.html",
                "skipped": [[one.source, one.reason] for one in found[1]],
                "suggestions": str(table) if found[2] and table.is_file() else "",
            }  # fmt: skip
        if job.stopped:
            return {"state": "stopped"}
        return {"state": "failed", "error": without_flags(self.jobs.error(id))}

    def skipped(self, reading: Reading) -> list[Skipped]:
        """Images that the check of a reading could not read; none before it is done."""
        found = self._checked(_check_of(reading))
        return [] if found is None else found[1]

    def _start_check(self, reading: Reading, id: str) -> Job:
        for other in self.jobs.all("check"):
            self.jobs.stop(other)
        words = ["profile", reading.data, f"--out={self.home.checks / id}", "--json"]
        words += words_of(reading.flags)
        flags = dict(reading.flags)
        return self.jobs.start(Job(id, "check", "", tuple(words), reading.data, flags))

    def _checked(self, id: str) -> tuple[list[dict[str, Any]], list[Skipped], int] | None:
        """The findings of a check that is done, what it could not read, and its suggestions."""
        from medgraft.app.reading_json import findings

        try:
            content = json.loads(self.jobs.output(id))
            shown = findings([
                Finding(
                    one["check"], one["severity"], one["text"], one.get("numbers", {}),
                    images=tuple(one["images"]), remedy=one["remedy"],
                )
                for one in content["findings"]
            ])  # fmt: skip
            rows = content.get("data", {}).get("skipped", [])
            skipped = [Skipped(one["source"], one["reason"]) for one in rows]
            return shown, skipped, len(content.get("suggestions", []))
        except (ValueError, LookupError, TypeError):
            return None

    def _studying(self) -> bool:
        return any(self.jobs.alive(job) for job in self.jobs.all("study"))


def _check_of(reading: Reading) -> str:
    """The id of a reading's check: another way to read the same images has another answer."""
    key = f"{reading.id} {reading.fingerprint}".encode()
    return f"check-{hashlib.sha256(key).hexdigest()[:16]}"
