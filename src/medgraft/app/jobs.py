"""Commands that run in processes of their own, so that they go on whatever becomes of the page.

A job's folder holds what it is (`job.json`), how far it is (`progress.json`), what it printed
(`out.txt`) and what went wrong (`errors.txt`). A server that is started anew finds all of it again.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from medgraft.app.home import Home, NotFoundError
from medgraft.files import explained, write_json
from medgraft.studies.run_lock import process_began, process_lives

PROGRESS = "MEDGRAFT_PROGRESS"


@dataclass(frozen=True)
class Job:
    """A command: the study or check of some data.

    words : of the command line behind `medgraft`. data, flags : as of the reading. budget : as
    typed, '' for none. began, stopped : seconds since 1970, stopped 0 until somebody asked for it.
    """

    id: str
    kind: str
    name: str
    words: tuple[str, ...]
    data: str
    flags: Mapping[str, Any] = field(default_factory=dict)
    budget: str = ""
    run: str = ""
    began: float = 0.0
    stopped: float = 0.0
    host: str = ""
    pid: int = 0
    pid_began: str = ""


class Jobs:
    """The jobs of a home, running and past; `program` is what stands before a job's words."""

    def __init__(self, home: Home, program: Sequence[str]) -> None:
        self.home, self.program = home, tuple(program)
        self._mine: dict[str, subprocess.Popen[bytes]] = {}

    def folder(self, id: str) -> Path:
        return self.home.jobs / id

    def start(self, job: Job) -> Job:
        """Start a job's process, which outlives this one; what an earlier one left goes.

        Raises
        ------
        StorageError
            Its folder cannot be written.
        """
        folder = self.folder(job.id)
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for name in ("progress.json", "out.txt", "errors.txt"):
                (folder / name).unlink(missing_ok=True)
            with (folder / "out.txt").open("wb") as out, (folder / "errors.txt").open("wb") as err:
                process = subprocess.Popen(
                    [*self.program, *job.words], stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                    env={**os.environ, PROGRESS: str(folder / "progress.json")},
                    **_apart(),
                )  # fmt: skip
        self._mine[job.id] = process
        begun = replace(
            job, began=time.time(), stopped=0.0, host=platform.node(), pid=process.pid,
            pid_began=process_began(process.pid),
        )  # fmt: skip
        write_json(folder / "job.json", asdict(begun))
        return begun

    def get(self, id: str) -> Job:
        """Raises `NotFoundError` where there is none of that id."""
        with suppress(OSError, ValueError, TypeError):
            content = json.loads((self.folder(id) / "job.json").read_text(encoding="utf-8"))
            return Job(**{**content, "words": tuple(content["words"])})
        raise NotFoundError("there is no such study (any more); go back to Start")

    def all(self, kind: str) -> list[Job]:
        """Those of a kind that there is anything of."""
        found = []
        for folder in sorted(self.home.jobs.iterdir()):
            with suppress(NotFoundError):
                found.append(self.get(folder.name))
        return [job for job in found if job.kind == kind]

    def alive(self, job: Job) -> bool:
        """Whether its process still works; one of ours that has ended is let go."""
        process = self._mine.get(job.id)
        if process is not None and process.pid == job.pid:
            return process.poll() is None
        return job.host == platform.node() and bool(job.pid) and process_lives(asdict(job))

    def stop(self, job: Job) -> Job:
        """Ask its process to end, as Ctrl-C does; a study then reports what is known."""
        if not self.alive(job):
            return job
        stopped = replace(job, stopped=time.time())
        write_json(self.folder(job.id) / "job.json", asdict(stopped))
        with suppress(OSError):
            if sys.platform == "win32":
                os.kill(job.pid, signal.SIGTERM)
            else:
                os.kill(job.pid, signal.SIGINT)
        return stopped

    def progress(self, id: str) -> dict[str, Any]:
        """What it last told of itself; an empty object before it has."""
        with suppress(OSError, ValueError):
            found = json.loads((self.folder(id) / "progress.json").read_text(encoding="utf-8"))
            if isinstance(found, dict):
                return found
        return {}

    def output(self, id: str) -> str:
        """What it printed."""
        with suppress(OSError):
            return (self.folder(id) / "out.txt").read_text(encoding="utf-8", errors="replace")
        return ""

    def error(self, id: str) -> str:
        """Why it ended early, in its own words; '' where it says nothing of it."""
        with suppress(OSError):
            path = self.folder(id) / "errors.txt"
            text = path.read_text(encoding="utf-8", errors="replace")[-20_000:]
            said = text.rpartition("medgraft: ")[2] if "medgraft: " in text else text
            lines = [line for line in said.splitlines() if line.strip()]
            return "\n".join(lines if "medgraft: " in text else lines[-1:])
        return ""


def _apart() -> dict[str, Any]:
    """What keeps a process from ending with this one, or by its terminal's Ctrl-C."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}
