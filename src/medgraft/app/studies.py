"""Studies and checks of the page: started as commands, and told of while they run and after."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from medgraft.app.home import Home, NotFoundError, free_name
from medgraft.app.jobs import Job, Jobs
from medgraft.app.readings import Reading, words_of
from medgraft.errors import DataError
from medgraft.types import Finding

SHORTEST, LONGEST = 1, 7 * 24 * 60  # minutes of a budget


class Studies:
    """What the page starts, and the runs that lie in its home."""

    def __init__(self, home: Home, jobs: Jobs) -> None:
        self.home, self.jobs = home, jobs
        self._starting = threading.Lock()

    # ----------------------------------------------------------------------- to start and to end

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
        id = f"check-{reading.fingerprint[:16]}"
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
            return {"state": "done", "findings": found, "page": f"checks/{id}/data.html"}
        if job.stopped:
            return {"state": "stopped"}
        return {"state": "failed", "error": self.jobs.error(id)}

    def _start_check(self, reading: Reading, id: str) -> Job:
        for other in self.jobs.all("check"):
            self.jobs.stop(other)
        words = ["profile", reading.data, f"--out={self.home.checks / id}", "--json"]
        words += words_of(reading.flags)
        flags = dict(reading.flags)
        return self.jobs.start(Job(id, "check", "", tuple(words), reading.data, flags))

    def _checked(self, id: str) -> list[dict[str, Any]] | None:
        """The findings of a check that is done."""
        from medgraft.app.reading_json import findings

        try:
            rows = json.loads(self.jobs.output(id))["findings"]
            return findings([
                Finding(
                    one["check"], one["severity"], one["text"], one.get("numbers", {}),
                    images=tuple(one["images"]), remedy=one["remedy"],
                )
                for one in rows
            ])  # fmt: skip
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
            found.setdefault(self.home.id_of(folder.path), _listed(run, self.home))
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
        job: Job | None = None
        try:
            job = self.jobs.get(id)
            run = Path(job.run)
        except NotFoundError:
            run = self.home.run(id)
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
                "tasks": [_with_time_left(one) for one in progress.get("tasks", [])],
                "said": progress.get("said", []), "plan": progress.get("budget"),
            }  # fmt: skip
            return {**found, "state": state, **now}
        if (known := _finished(run, self.home)) is not None:
            return {**found, **known}
        error = self.jobs.error(id) if job is not None else ""
        stopped = job is not None and bool(job.stopped)
        state = "stopped" if stopped or not error else "failed"
        return {**found, "state": state, "error": "" if stopped else error}


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
