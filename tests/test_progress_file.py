"""What a running command tells a program that watches it."""

from __future__ import annotations

import json

import pytest

from medgraft import terminal
from medgraft.terminal import progress_file
from medgraft.types import BudgetStep, BudgetUse


def test_what_is_under_way_stands_in_the_file(tmp_path, monkeypatch):
    path = tmp_path / "progress.json"
    monkeypatch.setenv("MEDGRAFT_PROGRESS", str(path))
    monkeypatch.setattr(progress_file, "EVERY", 0)
    progress = terminal.progress(quiet=True)

    def told():
        return json.loads(path.read_text(encoding="utf-8"))

    progress.say("two classes: <a> & b")
    with progress.task("outer", 2), progress.task("inner", 10) as advance:
        advance(3)
        advance(4)
        assert [(one["what"], one["done"], one["total"]) for one in told()["tasks"]] == [
            ("outer", 0, 2), ("inner", 7, 10),
        ]  # fmt: skip
    with progress.budget() as show:
        show(BudgetUse(600, 30, 0.1, (BudgetStep("probe", 12, 40, "first", "done", 44, 12),)))
    found = told()
    assert found["tasks"] == []
    assert found["said"] == ["two classes: <a> & b"]
    (step,) = found["budget"]["steps"]
    assert (step["outcome"], step["said"], step["seconds"]) == ("done", "12 judged", 44)
    assert [one.name for one in tmp_path.iterdir()] == ["progress.json"]


def test_a_bar_is_not_written_at_every_step(tmp_path, monkeypatch):
    monkeypatch.setattr(progress_file, "EVERY", 3600)
    progress = progress_file.ProgressFile(tmp_path / "progress.json")
    with progress.task("many", 50_000) as advance:
        before = (tmp_path / "progress.json").stat().st_ino
        for _ in range(1000):
            advance(1)
        assert (tmp_path / "progress.json").stat().st_ino == before


def test_a_folder_that_is_gone_stops_nothing(tmp_path):
    progress = progress_file.ProgressFile(tmp_path / "gone" / "progress.json")
    with progress.task("one", 1) as advance:
        advance(1)
    with pytest.raises(ZeroDivisionError), progress.task("one", 1):
        _ = 1 / 0
