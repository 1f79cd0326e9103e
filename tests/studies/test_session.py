"""The clock of a study that was stopped and resumed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from medgraft.cli.option_parsing import command_line
from medgraft.features.extract import Extractor
from medgraft.studies import session as session_module
from medgraft.studies.session import Session
from medgraft.studies.store import RunStore
from medgraft.types import ImageTable


def test_all_sessions_of_a_resumed_study_count(tmp_path: Path) -> None:
    """100 s until it was stopped, and what it takes from there on; the hour between is no work."""
    rows = [
        {"time": 1000.0, "event": "started"},
        {"time": 1060.0, "event": "step", "step": "read the images", "seconds": 60.0},
        {"time": 1100.0, "event": "stopped"},
    ]
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "run.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    session = Session(cast(Extractor, None), RunStore(tmp_path, {}, resume=True))
    session.end_step("read the images")
    steps: dict[str, Any] = session.all_step_seconds
    assert session.sessions == 2
    assert session.spent == pytest.approx(100, abs=5)
    assert steps == {"read the images": pytest.approx(60, abs=5)}
    assert session.step_seconds["read the images"] < 5


def test_a_session_that_is_killed_within_a_long_step_counts_as_long_as_it_lived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "ALIVE", 0.02)
    others = watchers()
    store = RunStore(tmp_path, {})
    session = Session(cast(Extractor, None), store)
    wait_until(lambda: len(store.events("alive")) >= 3)
    lived = store.events("alive")[-1]["time"] - store.events("started")[0]["time"]
    del session  # and no event tells of its end
    wait_until(lambda: watchers() <= others)
    before = len(store.events("alive"))
    again = RunStore(tmp_path, {}, resume=True)
    resumed = Session(cast(Extractor, None), again)
    assert resumed.spent >= lived
    again.end()
    wait_until(lambda: watchers() <= others)
    assert len(again.events("alive")) - before < 3


def test_a_fresh_run_takes_over_no_decision_of_one_that_judged_nothing(tmp_path: Path) -> None:
    dead = RunStore(tmp_path, {"seed": 1})
    for name in ("plan", "budget", "alive"):
        dead.event(name, steps=[], seconds=3600)
    dead.end()
    store = RunStore(tmp_path, {"seed": 2})
    session = Session(cast(Extractor, None), store)
    assert session.sessions == 1
    assert not session.earlier("plan")
    assert not session.resumed
    assert session.spent < 1
    store.end()


def watchers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if "_note_life" in thread.name}


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_command_to_repeat_a_resumed_study_is_the_one_that_began_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.argv", ["medgraft", "study", "moles", "--resume", "--seed", "1"])
    none = np.array([""])
    table = ImageTable(none, (), none, np.array([0]), none, none, none, ("a",))
    assert command_line(table) == "medgraft study moles --seed 1"
