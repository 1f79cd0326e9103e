"""Runs are found and read as they lie, whatever state they are in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import made
import pytest

from medgraft.bundle.model import bundle_folder
from medgraft.errors import BundleError
from medgraft.results.runs import Run
from medgraft.run_folders import looked_before
from medgraft.runs.find import find_runs
from medgraft.runs.read import open_run, read_run
from medgraft.studies.run_lock import locked, process_began, this_process
from medgraft.studies.store import RunError, RunStore


def read(folder: Path) -> Run:
    (found,) = (read_run(one) for one in find_runs([folder]))
    return found


def begun(folder: Path, **facts: object) -> Path:
    folder.mkdir()
    made.write(folder / "config.json", {"data": "abc"})
    made.events(folder, {"event": "started", **facts}, when=facts.pop("when", time.time()))  # type: ignore[arg-type]
    return folder


def test_a_file_of_that_name_that_no_audit_wrote_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "audit.json").write_text('{"a cell": 1}')
    assert list(find_runs([tmp_path])) == []
    (tmp_path / "audit.json").write_text('{"scenario": "probe/a/b/svm"}')
    (found,) = map(read_run, find_runs([tmp_path]))
    assert found.state == "broken"
    assert found.reason.startswith("its files do not hold what a run's do")


def test_runs_beside_that_looked_at_the_same_test_split_are_named(tmp_path: Path) -> None:
    for name, data, images in (("a", "abc", 60), ("b", "abc", 0), ("c", "other", 60)):
        store = RunStore(tmp_path / name, {"data": data})
        store.event("test split looked at", images=images)
    assert looked_before(tmp_path / "new", "abc") == ["a"]
    assert looked_before(tmp_path / "a", "abc") == []


def test_a_study_under_way_and_a_stopped_one_say_so_where_a_model_is_asked_for(
    tmp_path: Path,
) -> None:
    store = RunStore(tmp_path, {"seed": 1})
    store.event("scenario judged", key="k", seconds=1)
    with pytest.raises(BundleError, match=r"running since \d{4}-.*scenarios judged: 1.*wait"):
        bundle_folder(tmp_path)
    store.event("stopped", reason="KeyboardInterrupt")
    with pytest.raises(BundleError, match=r"stopped by Ctrl-C\); type its command .*--resume"):
        bundle_folder(tmp_path)


def test_a_finished_study_tells_what_its_files_say(tmp_path: Path) -> None:
    oof, test = made.answers(made.SVM, 80, 2), made.answers(made.SVM, 40, 1, split="test")
    folder = made.study(tmp_path / "A", [oof, made.answers(made.KNN, 80, 1)], [test], seed=3)
    run = open_run(folder)
    content = json.loads((folder / "result.json").read_text())
    assert (run.kind, run.state, run.reason) == ("study", "finished", "")
    assert (run.images, run.patients, run.classes) == (120, 60, made.CLASSES)
    assert run.test is not None
    assert run.test.value == content["scenarios"][0]["test"]["auroc"]["value"]
    assert set(run.figures["test"]) == set(content["scenarios"][0]["test"])
    assert (run.verdict, run.scenario, run.options["seed"]) == ("WARN", made.SVM, 3)
    assert run.steps == {"judge": 10.0}
    assert run.seconds == 12.5
    assert run.when == 1.7e9
    assert run.size == sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    assert open_run(folder / "model").path == str(folder)


def test_a_run_lives_as_long_as_its_process(tmp_path: Path) -> None:
    """A number that another process was given since is not taken for it."""
    folder = begun(tmp_path / "A", **this_process())
    assert read(folder).state == "running"
    made.events(folder, {"event": "stopped", "reason": "KeyboardInterrupt"})
    assert (read(folder).state, "Ctrl-C" in read(folder).reason) == ("killed", True)
    made.events(folder, {"event": "resumed", **this_process(), "pid_began": "1"})
    assert read(folder).state == ("killed" if process_began(os.getpid()) else "running")
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    made.events(folder, {"event": "resumed", **this_process(), "pid": child.pid, "pid_began": ""})
    assert read(folder).state == "killed"


@pytest.mark.parametrize(("hours", "state"), [(1, "running"), (25, "killed")])
def test_of_another_machine_silence_decides(tmp_path: Path, hours: int, state: str) -> None:
    elsewhere = {"host": "another", "pid": 1, "when": time.time() - 3600 * hours}
    assert read(begun(tmp_path / "A", **elsewhere)).state == state


def test_what_is_damaged_or_newer_is_said_and_never_stops_a_list(tmp_path: Path) -> None:
    for name in "AB":
        made.study(tmp_path / name, [made.answers(made.SVM, 40, 2)])
    content = json.loads((tmp_path / "A" / "result.json").read_text())
    made.write(tmp_path / "A" / "result.json", {**content, "schema": 2})
    (tmp_path / "B" / "result.json").write_text('{"schema": 1, "metric"')
    begun(tmp_path / "C", when=1.0)
    with (tmp_path / "C" / "run.jsonl").open("a") as file:
        file.write('{"time": 12, "eve')  # killed in a line
    states = {Path(run.path).name: run for run in map(read_run, find_runs([tmp_path]))}
    assert {name: run.state for name, run in states.items()} == {
        "A": "newer", "B": "broken", "C": "killed",
    }  # fmt: skip
    assert "schema 2, and this version reads 1" in states["A"].reason
    for name in "AB":
        with pytest.raises(RunError, match="cannot be read"):
            open_run(tmp_path / name)
    with pytest.raises(RunError, match="holds no run; name a folder"):
        open_run(tmp_path)
    with pytest.raises(RunError, match="is no folder"):
        list(find_runs([tmp_path / "nowhere"]))


def test_evaluations_audits_and_adapted_models_are_runs_too(tmp_path: Path) -> None:
    figure = {"value": 0.9, "low": 0.8, "high": None, "n": 30, "method": "DeLong"}
    (tmp_path / "E").mkdir()
    judged = {"n_images": 30, "n_groups": 20, "classes": ["ill", "well"], "positive": "ill"}
    judged |= {"metrics": {"auroc": figure}}
    made.write(tmp_path / "E" / "evaluation.json", {"scenario": made.SVM, "by_image": judged})
    audit = {"scenario": made.SVM, "verdict": "PASS", "ranked": figure, "images": 30, "options": {}}
    made.write(tmp_path / "E" / "audit.json", audit)  # in one folder
    (tmp_path / "M").mkdir()
    bundle = {"key": made.SVM, "classes": ["ill", "well"], "positive": "ill"}
    card = {"images": 150, "groups": 120, "verdict": "other look"}
    made.write(tmp_path / "M" / "bundle.json", {**bundle, "adapted": card})
    (tmp_path / "copy").mkdir()
    made.write(tmp_path / "copy" / "bundle.json", bundle)  # a model alone is no run
    found = [(one.kind, one.images, one.verdict) for one in map(read_run, find_runs([tmp_path]))]
    assert found == [
        ("evaluation", 30, ""), ("audit", 30, "PASS"), ("adapted", 150, "other look"),
    ]  # fmt: skip


def test_a_store_says_who_writes_and_what_ended_it(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "A", {"data": "abc"}, facts={"command": "medgraft study x"})
    assert (read(tmp_path / "A").state, read(tmp_path / "A").command) == (
        "running",
        "medgraft study x",
    )
    store.event("scenario judged", key=made.SVM, seconds=1.0)
    store.stopped(KeyboardInterrupt())
    assert read(tmp_path / "A").reason == "scenarios judged: 1, stopped by Ctrl-C"
    with locked(tmp_path / "B"):
        RunStore(tmp_path / "B", {"data": "abc"}).stopped(RunError("refused"))
    assert not (tmp_path / "B").exists()
