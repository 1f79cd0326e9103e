"""Two processes never write to one run's folder, and a dead one never keeps another out."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from medgraft import run_folders
from medgraft.studies.run_lock import LOCK, RunLockedError, is_empty, locked, this_process
from medgraft.studies.store import RunStore

HOLD = """
import pathlib, sys
from medgraft.studies.run_lock import RunLockedError, locked
try:
    with locked(pathlib.Path(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.read()
except RunLockedError:
    print("refused", flush=True)
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    """A process that holds the lock until its input ends."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline()


@contextmanager
def held_elsewhere(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock, killed at the end as `kill -9` does."""
    with holder(folder) as process:
        assert first_line(process) == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_told_who_writes_and_takes_over_from_the_dead(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with held_elsewhere(run) as process:
        began = time.strftime("%Y-%m-%d")
        said = rf"process {process.pid} on .*, since {began}.*wait for it, stop it, or choose"
        with pytest.raises(RunLockedError, match=said), locked(run):
            pass
        process.send_signal(signal.SIGSTOP)  # one that is asleep is not dead
        with pytest.raises(RunLockedError), locked(run):
            pass
    assert (run / LOCK).exists()  # what kill -9 leaves
    with locked(run):
        RunStore(run, {"seed": 1})
        with pytest.raises(RunLockedError, match=f"process {os.getpid()} "), locked(run):
            pass
    assert {one.name for one in run.iterdir()} == {"config.json", "run.jsonl"}


def test_a_clock_that_goes_back_and_a_garbled_file_change_nothing(tmp_path: Path) -> None:
    ahead = {**this_process(), "since": time.time() + 1e6}
    for content in (json.dumps(ahead), '{"host": "a', "", "[]"):
        (tmp_path / LOCK).write_text(content)
        with locked(tmp_path):
            (tmp_path / LOCK).write_text(content)
            with pytest.raises(RunLockedError, match="is written to by another"), locked(tmp_path):
                pass


def test_of_several_that_come_at_once_to_a_dead_ones_folder_one_wins(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text("")
    together = [holder(tmp_path) for _ in range(4)]
    said = sorted(first_line(one) for one in together)
    for one in together:
        one.communicate()
    assert said == ["held\n", *["refused\n"] * 3]
    assert is_empty(tmp_path)


def test_a_folder_that_was_made_for_a_lock_goes_with_it(tmp_path: Path) -> None:
    with locked(tmp_path / "a" / "run"):
        assert is_empty(tmp_path / "a" / "run")
    assert not (tmp_path / "a" / "run").exists()
    assert is_empty(tmp_path / "a" / "run")
    with locked(tmp_path / "b"):
        (tmp_path / "b" / "report.html").write_text("")
    assert not is_empty(tmp_path / "b")


def test_a_lock_that_cannot_be_taken_away_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EIO, "Input/output error", str(path))

    with monkeypatch.context() as broken:
        broken.setattr(Path, "unlink", refused)
        with locked(tmp_path / "run"):
            pass
    with locked(tmp_path / "run"):  # whoever comes next takes it
        assert is_empty(tmp_path / "run")


def test_on_a_disk_without_locks_what_the_file_says_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", without)
    with locked(tmp_path), pytest.raises(RunLockedError), locked(tmp_path):
        pass
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    gone = {**this_process(), "pid": dead.pid, "since": 0}
    for holding in (gone, {**gone, "pid_began": ""}):
        (tmp_path / LOCK).write_text(json.dumps(holding))
        with locked(tmp_path):
            assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    (tmp_path / LOCK).write_text(json.dumps({**gone, "host": "another"}))
    with pytest.raises(RunLockedError, match=r"gone for good, remove .*\.lock"), locked(tmp_path):
        pass


def test_studies_and_trainings_take_the_lock_before_they_compute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_folders, "config", lambda *_: {})
    monkeypatch.setattr(run_folders, "check", lambda *_: None)
    nothing: Any = SimpleNamespace(engine="torch", fingerprint="", refuse_unused=lambda: None)
    with locked(tmp_path):
        with pytest.raises(RunLockedError):
            run_folders.study_to_folder(nothing, nothing, nothing, tmp_path)
        with pytest.raises(RunLockedError):
            run_folders.train_to_folder(nothing, nothing, nothing, nothing, tmp_path)
