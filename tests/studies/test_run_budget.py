"""A whole study whose budget decides: stopped by Ctrl-C, reported, and taken up again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import medgraft.studies.budget_plan as budget_plan
import medgraft.studies.within_budget as within
from medgraft.data.ingest import load
from medgraft.data.phantom import write_phantoms
from medgraft.errors import MedgraftError
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.files import StorageError
from medgraft.run_folders import study_to_folder
from medgraft.runs.read import open_run
from medgraft.studies.options import StudyOptions
from medgraft.studies.store import BesideModel
from medgraft.types import FeatureSpec, ImageTable, Skipped

OPTIONS = StudyOptions(budget=3600.0, heads=("logistic",), learning_curve=False, audit=False)


class Interrupted(Extractor):
    """Somebody presses Ctrl-C when images are to be read with their contrast equalised."""

    def prepare(self, table: ImageTable, *specs: FeatureSpec) -> tuple[Skipped, ...]:
        if any(spec.edits for spec in specs):
            raise KeyboardInterrupt
        return super().prepare(table, *specs)


@pytest.fixture
def two_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probes, and probes with CLAHE."""
    every = budget_plan.offered

    def offered(*asked: Any) -> Any:
        return {n: step for n, step in every(*asked).items() if n in ("probe", "clahe")}

    monkeypatch.setattr(within, "offered", offered)


def outcomes(content: dict[str, Any]) -> dict[str, str]:
    return {step["name"]: step["outcome"] for step in content["budget"]["steps"]}


@pytest.mark.usefixtures("two_steps")
def test_ctrl_c_leaves_a_report_of_what_is_known_and_resume_goes_on(
    tmp_path: Path, graphs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StorageError("the disk is full")

    write_phantoms(tmp_path / "images", n_patients=24, seed=3)
    table, run, cache = load(tmp_path / "images"), tmp_path / "run", Cache(tmp_path / "cache")
    (tmp_path / "cache").mkdir(exist_ok=True)
    (tmp_path / "cache" / "graphs").symlink_to(graphs)
    study_to_folder(table, OPTIONS, Interrupted(cache, workers=2), run)
    first = json.loads((run / "result.json").read_text())
    assert outcomes(first) == {"probe": "done", "clahe": "stopped"}
    assert first["budget"]["interrupted"]
    assert (run / "model").is_dir()
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "What the budget bought" in page
    assert "Ctrl-C ended the study" in page

    other = table.select(table.ids != table.ids[0])
    with pytest.raises(MedgraftError, match="different: data"):
        study_to_folder(other, OPTIONS, Extractor(cache, workers=2), run, resume=True)
    assert "it was looked at once" in (run / "methods.md").read_text(encoding="utf-8")
    write = BesideModel.write
    with monkeypatch.context() as patch:
        patch.setattr(BesideModel, "write", full)
        with pytest.raises(StorageError):
            study_to_folder(table, OPTIONS, Extractor(cache, workers=2), run, resume=True)
    assert open_run(run).state != "finished"  # no old result beside a new report
    assert BesideModel.write is write
    study_to_folder(table, OPTIONS, Extractor(cache, workers=2), run, resume=True)
    assert "it was looked at 2 times" in (run / "methods.md").read_text(encoding="utf-8")
    second = json.loads((run / "result.json").read_text())
    assert outcomes(second) == {"probe": "done", "clahe": "done"}
    assert not second["budget"]["interrupted"]
    figures = [
        {row["key"]: row["validation"]["auroc"]["value"] for row in one["scenarios"]}
        for one in (first, second)
    ]
    assert figures[0].items() < figures[1].items()  # the same numbers, and more
    plans = [row for row in (run / "run.jsonl").read_text().splitlines() if '"plan"' in row]
    assert len(plans) == 1
