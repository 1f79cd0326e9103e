"""What is cleaned away is what nobody needs: nothing of a finished run, nothing of a user's."""

from __future__ import annotations

import os
import time
from pathlib import Path

import made
import numpy as np

from medgraft.features.cache import Cache
from medgraft.runs.clean import clean, leftovers
from medgraft.runs.find import find_runs
from medgraft.runs.read import read_run


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def old(path: Path, days: float = 100) -> None:
    os.utime(path, (time.time() - 86400 * days,) * 2)


def test_killed_runs_go_and_finished_ones_stay_whole(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    finished = made.study(runs / "finished", [made.answers(made.SVM, 40, 2)])
    before = everything(finished)
    half = finished / ".predictions.parquet.4711-0badcafe"
    half.write_bytes(b"x" * 100)
    old(half)
    (finished / ".notes").write_text("mine")
    for name in ("killed", "kept"):
        (runs / name).mkdir()
        made.write(runs / name / "config.json", {"data": "abc"})
        made.events(runs / name, {"event": "started"}, when=1.0)
    (runs / "kept" / "my notes.txt").write_text("mine")
    (runs / "mine").mkdir()
    made.write(runs / "mine" / "config.json", {"not": "a run"})
    (runs / "mine" / "run.jsonl").write_text('{"step": 1, "loss": 2}\n')  # of another program
    cache = Cache(tmp_path / "cache")
    for key in ("new", "old"):
        cache.put("oof", key, {"a": np.zeros(3)})
    old(cache.folder / "oof" / "old.npz")

    found = leftovers(map(read_run, find_runs([runs])), cache, days=60)
    assert everything(finished) == before | {half.name, ".notes"}  # listing removes nothing
    assert {one.path.name for one in found} == {
        half.name, "config.json", "run.jsonl", "old.npz",
    }  # fmt: skip
    freed = clean(found)
    assert freed == sum(one.size for one in found) > 0
    assert everything(finished) == before | {".notes"}
    assert not (runs / "killed").exists()
    assert everything(runs / "kept") == {"my notes.txt"}
    assert everything(runs / "mine") == {"config.json", "run.jsonl"}
    assert everything(cache.folder) == {"oof", "oof/new.npz"}


def test_a_broken_run_with_a_model_a_running_and_a_newer_one_stay(tmp_path: Path) -> None:
    for name in ("broken", "newer"):
        made.study(tmp_path / name, [made.answers(made.SVM, 40, 2)])
    (tmp_path / "broken" / "result.json").write_text("{")
    (tmp_path / "newer" / "result.json").write_text('{"schema": 9}')
    (tmp_path / "running").mkdir()
    made.write(tmp_path / "running" / "config.json", {"data": "abc"})
    made.events(tmp_path / "running", {"event": "started"}, when=time.time())
    runs = list(map(read_run, find_runs([tmp_path])))
    assert {run.state for run in runs} == {"broken", "newer", "running"}
    assert leftovers(runs, Cache(tmp_path / "cache"), days=60) == []
