"""The clock of a study that was stopped and resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from medgraft.cli.option_parsing import command_line
from medgraft.features.extract import Extractor
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


def test_the_command_to_repeat_a_resumed_study_is_the_one_that_began_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.argv", ["medgraft", "study", "moles", "--resume", "--seed", "1"])
    none = np.array([""])
    table = ImageTable(none, (), none, np.array([0]), none, none, none, ("a",))
    assert command_line(table) == "medgraft study moles --seed 1"
