"""Studies of the page: started as commands, told of while they run and after, taken away."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from medgraft.app.home import Home, NotFoundError, free_name
from medgraft.app.jobs import Job, Jobs
from medgraft.app.plain_words import without_flags
from medgraft.app.readings import Reading, words_of
from medgraft.app.run_state import (
    began,
    events,
    finished,
    listed,
    of_a_panel,
    several_findings,
    step,
)
from medgraft.errors import DataError
from medgraft.files import explained, write_csv

SHORTEST, LONGEST = 1, 7 * 24 * 60  # minutes of a budget


class Studies:
    """What the page starts, and the runs that lie in its home."""

    def __init__(self, home: Home, jobs: Jobs) -> None:
        self.home, self.jobs = home, jobs
        self._starting = threading.Lock()

    # ----------------------------------------------------------------------- to start and to end

    def under_way(self, reading: Reading) -> dict[str, str] | None:
        """The id and name of a study of the same data that runs; None where there is none."""
        for job in self.jobs.all("study"):
            if job.data == reading.data and self.jobs.alive(job):
                return {"id": job.id, "name": job.name}
        return None

    def start(self, reading: Reading, minutes: int) -> str:
        """Start the study of data as it was read, and give its id; 0 minutes for no budget.

        A check that is under way ends: it would take half the machine, and a study checks too.

        Raises
        ------
        DataError
            The data has not been read, or it is no such budget.
        """
        if reading.state != "read":
            raise DataError("this data has not been read; answer what is asked first")
        if minutes and not SHORTEST <= minutes <= LONGEST:
            raise DataError(f"{minutes} minutes is no budget; {SHORTEST} to {LONGEST:,} can be")
        for job in self.jobs.all("check"):
            self.jobs.stop(job)
        budget = f"{minutes}m" if minutes else ""
        with self._starting:  # a study makes its folder only when it has read its data
            begun = [job.name for job in self.jobs.all("study")]
            name = free_name(self.home.runs, _name_of(reading), begun)
            run = self.home.runs / name
            words = ["study", reading.data, f"--out={run}", *words_of(reading.flags)]
            words += [f"--budget={budget}"] * bool(budget)
            job = Job(
                self.home.id_of(run), "study", name, tuple(words), reading.data,
                dict(reading.flags), budget, str(run),
            )  # fmt: skip
            self.jobs.start(job)
        return job.id

    def stop(self, id: str) -> None:
        """Ask a study to end."""
        self.jobs.stop(self.jobs.get(id))

    def resume(self, id: str) -> None:
        """Go on with a study that has ended early."""
        with self._starting:
            job = self.jobs.get(id)
            if not self.jobs.alive(job):
                words = tuple(dict.fromkeys((*job.words, "--resume")))
                self.jobs.start(replace(job, words=words))

    # ----------------------------------------------------------------------- to tell

    def all(self) -> list[dict[str, Any]]:
        """Every run of the home and every study that has begun, the newest first.

        Of several findings an image the run of all is listed, and tells of each finding's own.
        """
        from medgraft.runs.read import read_run

        found: dict[str, dict[str, Any]] = {}
        for folder in self.home.found():
            if of_a_panel(folder.path):
                continue
            run = read_run(folder)
            row = {**listed(run, self.home), "when": began(folder.path) or run.when}
            found.setdefault(self.home.id_of(folder.path), row)
        for job in self.jobs.all("study"):
            alive = self.jobs.alive(job)
            if job.id not in found and (alive or not Path(job.run).exists()):
                state = "running" if alive else "failed"
                found[job.id] = {"state": state, "when": job.began, "name": job.name}
            elif job.id in found and alive:
                found[job.id]["state"] = "running"
        rows = [{**one, "id": id} for id, one in found.items()]
        return sorted(rows, key=lambda row: -row["when"])

    def told(self, id: str) -> dict[str, Any]:
        """One study: what it is, how far it is, what it found.

        Raises
        ------
        NotFoundError
            There is none of that id.
        """
        job, run = self._job_and_run(id)
        alive = job is not None and self.jobs.alive(job)
        found: dict[str, Any] = {
            "id": id, "name": run.name, "folder": str(run), "resumable": job is not None,
            **events(run),
        }  # fmt: skip
        if job is not None:
            found |= {
                "budget": job.budget, "data": job.data, "flags": job.flags,
                "elapsed": time.time() - job.began if alive else 0.0,
            }  # fmt: skip
        if alive and job is not None:
            progress = self.jobs.progress(id)
            state = "stopping" if job.stopped else "running"
            now = {
                "step": None if several_findings(run) else step(found["steps"], bool(job.budget)),
                "tasks": [_with_time_left(one) for one in progress.get("tasks", [])],
                "said": [text for text in map(without_flags, progress.get("said", [])) if text],
                "plan": progress.get("budget"),
            }  # fmt: skip
            return {**found, "state": state, **now}
        if (known := finished(run, self.home)) is not None:
            return {**found, **known}
        error = self.jobs.error(id) if job is not None else ""
        stopped = job is not None and bool(job.stopped)
        state = "stopped" if stopped or not error else "failed"
        return {**found, "state": state, "error": "" if stopped else without_flags(error)}

    def corrected(self, id: str, table: str) -> None:
        """Add to a table of corrections that was dropped those that a study was read with.

        Of an image that both speak of, the later table is believed.

        Raises
        ------
        NotFoundError
            There is no such study of this page.
        DataError
            The table does not lie in the home, or is none of corrections.
        """
        from medgraft.data.overrides import read_overrides

        path = Path(table).resolve()
        if not path.is_relative_to(self.home.data.resolve()):
            raise DataError(f"{table} is no table that was copied here; choose it again")
        rows = {one.path: one for one in read_overrides(path)}
        if earlier := self.jobs.get(id).flags.get("overrides"):
            rows = {one.path: one for one in read_overrides(Path(earlier))} | rows
        said = [(one.path, one.action, one.value, one.why) for one in rows.values()]
        write_csv(path, [("path", "action", "value", "why"), *said])

    # ----------------------------------------------------------------------- to take away

    def belongs(self, id: str) -> list[Path]:
        """The folders that go with a study: its own, and dropped copies that no other uses.

        Raises
        ------
        NotFoundError
            There is none of that id.
        DataError
            It is not a study by itself.
        """
        job, run = self._job_and_run(id)
        if run == self.home.folder or of_a_panel(run):
            raise DataError(f"{run} holds or is a part of other studies; delete it by hand")
        folders = [run] if run.is_dir() else []
        others = [one for one in self.jobs.all("study") if one.id != id]
        data = self.home.data.resolve()
        for path in [] if job is None else _used(job):
            if data not in Path(path).resolve().parents:
                continue
            copy = data / Path(path).resolve().relative_to(data).parts[0]
            used = any(_inside(one, copy) for other in others for one in _used(other))
            if copy.exists() and not used and copy not in folders:
                folders.append(copy)
        return folders

    def delete(self, id: str) -> None:
        """Remove a study with all that `belongs` to it, and what checks of that copy left.

        Raises
        ------
        NotFoundError
            There is none of that id.
        DataError
            It runs.
        StorageError
            A folder cannot be removed.
        """
        job, run = self._job_and_run(id)
        if self._running(job, run):
            raise DataError(f"{run.name} is being studied; stop it first")
        gone = self.belongs(id)
        for check in self.jobs.all("check"):
            if any(_inside(check.data, one) for one in gone):
                self.jobs.stop(check)
                gone += [self.home.checks / check.id, self.jobs.folder(check.id)]
        for folder in [*gone, self.jobs.folder(id)]:
            with explained(folder), suppress(FileNotFoundError):
                shutil.rmtree(folder) if folder.is_dir() else folder.unlink()

    def _job_and_run(self, id: str) -> tuple[Job | None, Path]:
        try:
            job = self.jobs.get(id)
        except NotFoundError:
            return None, self.home.run(id)
        return job, Path(job.run)

    def _running(self, job: Job | None, run: Path) -> bool:
        alive = job is not None and self.jobs.alive(job)
        return alive or ((finished(run, self.home) or {}).get("state") == "elsewhere")


def _used(job: Job) -> list[str]:
    """The data that a study reads, and the corrections of it."""
    return [job.data, *([str(job.flags["overrides"])] if job.flags.get("overrides") else [])]


def _inside(path: str, folder: Path) -> bool:
    return Path(path).resolve().is_relative_to(folder)


def _name_of(reading: Reading) -> str:
    """What a study is called: as its data, but for DICOM, whose folder may have a person's name."""
    from medgraft.data.dicom.identity import withheld

    if reading.table is None or withheld(reading.table):
        return "dicom"
    data = Path(reading.data)
    return data.stem if data.is_file() else data.name


def _with_time_left(task: Mapping[str, Any]) -> dict[str, Any]:
    """A task with the seconds that it still takes, if it goes on as it went; null if unknown."""
    spent, done = time.time() - float(task["began"]), int(task["done"])
    left = spent / done * (int(task["total"]) - done) if done and spent > 2 else None
    return {**task, "left": left}
