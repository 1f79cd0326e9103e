"""Studies and checks of the page: started as commands, and told of while they run and after."""

from __future__ import annotations

import hashlib
import json
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
from medgraft.errors import DataError
from medgraft.files import explained, write_csv
from medgraft.types import Finding, Skipped

SHORTEST, LONGEST = 1, 7 * 24 * 60  # minutes of a budget
SUGGESTIONS = "suggestions.csv"  # of a check's folder
STEPS = {
    "time a few images": "timing a few images",
    "read the images": "reading the images",
    "look at every image": "looking at every image",
    "measure the similarity to ImageNet": "comparing them with everyday photographs",
    "judge the scenarios out of fold": "judging ways to learn from them",
    "train further networks": "training further networks",
    "compare and recommend": "comparing what was judged",
    "audit the evidence": "auditing what decides",
    "look at the test split once": "looking at the test images, once",
    "check the data": "checking the data, and writing the report",
}
"""Steps of a study as its events name them, in their order, and what the page calls them."""
OF_A_BUDGET = ("time a few images", "train further networks")


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

    # ----------------------------------------------------------------------- to tell

    def all(self) -> list[dict[str, Any]]:
        """Every run of the home and every study that has begun, the newest first.

        Of several findings an image the run of all is listed, and tells of each finding's own.
        """
        from medgraft.runs.read import read_run

        found: dict[str, dict[str, Any]] = {}
        for folder in self.home.found():
            if _of_a_panel(folder.path):
                continue
            run = read_run(folder)
            row = {**_listed(run, self.home), "when": _began(folder.path) or run.when}
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
            **_events(run),
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
                "step": None if _several(run) else _step(found["steps"], bool(job.budget)),
                "tasks": [_with_time_left(one) for one in progress.get("tasks", [])],
                "said": [text for text in map(without_flags, progress.get("said", [])) if text],
                "plan": progress.get("budget"),
            }  # fmt: skip
            return {**found, "state": state, **now}
        if (known := _finished(run, self.home)) is not None:
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
        if run == self.home.folder or _of_a_panel(run):
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
        return alive or ((_finished(run, self.home) or {}).get("state") == "elsewhere")


def _several(run: Path) -> bool:
    """Whether a study is one of several findings an image, of which each has its own steps."""
    from medgraft.runs.find import CONFIG, load_object

    return "findings" in load_object(run / CONFIG)


def _used(job: Job) -> list[str]:
    """The data that a study reads, and the corrections of it."""
    return [job.data, *([str(job.flags["overrides"])] if job.flags.get("overrides") else [])]


def _inside(path: str, folder: Path) -> bool:
    return Path(path).resolve().is_relative_to(folder)


def _check_of(reading: Reading) -> str:
    """The id of a reading's check: another way to read the same images has another answer."""
    key = f"{reading.id} {reading.fingerprint}".encode()
    return f"check-{hashlib.sha256(key).hexdigest()[:16]}"


def _began(run: Path) -> float:
    """When a run began, in seconds since 1970; 0 where it does not say."""
    from medgraft.studies.store import read_events

    events = read_events(run)
    return float(events[0].get("time", 0.0)) if events else 0.0


def _step(done: list[dict[str, Any]], budget: bool) -> dict[str, Any]:
    """Which step of how many a study is at, and what it does."""
    known = [name for name in STEPS if budget or name not in OF_A_BUDGET]
    last = max((known.index(one["name"]) for one in done if one["name"] in known), default=-1)
    at = min(last + 1, len(known) - 1)
    return {"number": at + 1, "of": len(known), "words": STEPS[known[at]]}


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


def _events(run: Path) -> dict[str, Any]:
    """What a run's own events tell of scenarios and steps, those of earlier sessions too."""
    from medgraft.report.text.runs import scenario as named
    from medgraft.studies.store import read_events

    judged: dict[str, dict[str, Any]] = {}
    given_up: dict[str, dict[str, Any]] = {}
    steps, recommended, interrupted = [], "", False
    for one in read_events(run):
        if one["event"] == "scenario judged":
            judged[one["key"]] = {"name": named(one["key"]), "seconds": one["seconds"]}
        elif one["event"] == "race":
            for row in one.get("stopped") or ():
                given_up[row["key"]] = {"name": named(row["key"])}
        elif one["event"] == "step":
            steps.append({"name": one["step"], "seconds": one["seconds"]})
        elif one["event"] == "recommended":
            recommended = named(one["key"])
        elif one["event"] == "interrupted":
            interrupted = True
        elif one["event"] in ("started", "resumed"):
            steps, interrupted = [], False
    return {
        "scenarios": list(judged.values()), "given up": list(given_up.values()),
        "steps": steps, "recommended": recommended, "interrupted": interrupted,
    }  # fmt: skip


def _finished(run: Path, home: Home) -> dict[str, Any] | None:
    """What a run that is finished says of itself; None where it is not."""
    from medgraft.report.text import runs
    from medgraft.runs.find import RunFolder, kinds_in
    from medgraft.runs.read import read_run
    from medgraft.serve.words import AUDIT_MEANS, AUDIT_SAYS

    kinds = kinds_in(run) if run.is_dir() else ()
    if not kinds:
        return None
    found = read_run(RunFolder(run, kinds[0]))
    if found.state not in ("finished", "broken", "newer"):
        return None if found.state == "killed" else {"state": "elsewhere"}
    return {
        "state": found.state,
        "error": found.reason if found.state != "finished" else "",
        "facts": [list(row) for row in runs.facts(found)],
        "headline": _listed(found, home),
        "audit": f"{AUDIT_SAYS[found.verdict or '']} {AUDIT_MEANS[found.verdict or '']}",
        "model": (run / "model").is_dir(),
        "findings": _each_finding(run, home),
        "files": [name for name in FILES if (run / name).is_file()],
    }


FINDINGS = "findings"  # folder in which the run of a panel keeps each finding's own
FILES = ("report.html", "methods.md", "references.bib", "result.json", "predictions.csv")


def _each_finding(run: Path, home: Home) -> list[dict[str, str]]:
    found = sorted((run / FINDINGS).glob("*"))
    done = [one for one in found if (one / "report.html").is_file()]
    return [{"id": home.id_of(one), "name": one.name} for one in done]


def _of_a_panel(run: Path) -> bool:
    return run.parent.name == FINDINGS and (run.parents[1] / "config.json").is_file()


def _listed(run: Any, home: Home) -> dict[str, Any]:
    """A run in the list."""
    from medgraft.report.text import formatting, runs

    path = Path(run.path)
    name = path.name if path.parent == home.runs else str(path.relative_to(home.folder))
    test = run.test is not None
    return {
        "name": name, "state": run.state, "reason": run.reason, "when": run.when,
        "kind": runs.KINDS[run.kind], "data": runs.data(run),
        "metric": formatting.name_metric(run.metric) if run.scenario else "",
        "figure": runs.figure(run.metric, run.test if test else runs.named_figure(run)),
        "where": "test" if test else "out of fold", "verdict": run.verdict,
        "comparable": run.kind in ("study", "scenario") and run.state == "finished",
    }  # fmt: skip
