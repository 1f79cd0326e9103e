"""A whole study that recommends a network trained again: judged, reported, served, had again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import medgraft
from medgraft.data.phantom import write_phantoms
from medgraft.learn.fit import load
from medgraft.studies.options import StudyOptions
from medgraft.studies.run import Study
from medgraft.types import ImageTable

OPTIONS = StudyOptions(
    families=("finetune",),
    depths=("input",),
    n_folds=2,
    training_size=48,
    training=(("epochs", "1"), ("batch_size", "8")),
    validate="changed",
)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ImageTable:
    folder = tmp_path_factory.mktemp("images")
    write_phantoms(folder, n_patients=20)
    return medgraft.load(folder)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def run(table: ImageTable, home: Path, name: str) -> Study:
    extractor = medgraft.Extractor(
        medgraft.Cache(home / f"cache of {name}"), engine="torch", workers=2
    )
    return medgraft.study(table, OPTIONS, out=home / name, extractor=extractor)


@pytest.fixture(scope="module")
def study(table: ImageTable, home: Path) -> Study:
    return run(table, home, "first")


def test_images_were_judged_in_the_changed_view_and_the_report_says_so(
    study: Study, home: Path
) -> None:
    assert study.folds.view is not None
    assert study.folds.view.key == "xray.v8"
    (trained,) = study.training
    assert study.result.recommended == trained
    assert "probeFalse" in trained  # its head does not start with what the surface may tell
    page = (home / "first" / "report.html").read_text(encoding="utf-8")
    assert "changed views of the images" in page


def test_the_model_serves_what_the_study_tested(study: Study, home: Path) -> None:
    extractor = medgraft.Extractor(medgraft.Cache(home / "other"), engine="torch", workers=2)
    model = load(home / "first" / "model", extractor)
    served, _ = model.predict(study.result.table.test)
    tested = study.test[study.result.recommended]
    np.testing.assert_allclose(served.y_prob, tested.y_prob, atol=1e-4)


def test_a_second_run_gives_the_same_numbers(study: Study, table: ImageTable, home: Path) -> None:
    again = run(table, home, "second")
    key = study.result.recommended
    np.testing.assert_array_equal(again.oof[key].scores, study.oof[key].scores)
    np.testing.assert_array_equal(again.test[key].scores, study.test[key].scores)
    first, second = (
        json.loads((home / name / "result.json").read_text()) for name in ("first", "second")
    )
    assert first["recommended"] == second["recommended"]
