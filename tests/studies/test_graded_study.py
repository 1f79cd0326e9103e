"""A study of grades from images to a saved model, and what of it is the plain study's own."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medgraft.api import load
from medgraft.bundle.predict import predict_files, write_predictions
from medgraft.data.split import Development, make_folds
from medgraft.errors import BundleError, ScenarioError
from medgraft.evaluate.compare import estimate_all
from medgraft.explain.attribute import attribute, is_read_inside
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.learn.cross_validation import CrossFitted
from medgraft.learn.fit import cross_fitted
from medgraft.learn.fit import load as load_bundle
from medgraft.run_folders import study_to_folder
from medgraft.scenario import Encoded, Head, Preprocessing, Scenario
from medgraft.studies import budget_plan, within_budget
from medgraft.studies.defaults import with_defaults
from medgraft.studies.options import StudyOptions
from medgraft.studies.run import Study, config, run_study
from medgraft.types import Canvas, ImageTable

NET = "tf_efficientnet_lite0"
OPTIONS = StudyOptions(
    backbones=(NET,), heads=("ordinal", "logistic"), families=("multiscale",), sizes=(64, 96),
    audit=False, n_folds=3,
)  # fmt: skip


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four grades of a bright disc on noise, 15 images each."""
    folder = tmp_path_factory.mktemp("graded")
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:96, :96]
    for i in range(60):
        grade = i % 4
        pixels = rng.normal(90, 25, (96, 96))
        at = rng.integers(30, 66, 2)
        pixels += 30 * grade * (np.hypot(x - at[0], y - at[1]) < 14)
        path = folder / f"grade {grade}" / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)
    return folder


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> Extractor:
    return Extractor(Cache(tmp_path_factory.mktemp("cache")), engine="torch", workers=1)


@pytest.fixture(scope="module")
def table(images: Path) -> ImageTable:
    return load(images, ordered=True, no_groups=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs") / "run"


@pytest.fixture(scope="module")
def study(table: ImageTable, extractor: Extractor, run: Path) -> Study:
    return study_to_folder(table, OPTIONS, extractor, run)


def test_grades_are_chosen_by_kappa_and_told_by_distance(study: Study, run: Path) -> None:
    result = study.result
    assert result.metric == "quadratic_kappa"
    assert set(result.grades) == {"validation", "test"}
    content = json.loads((run / "result.json").read_text())
    assert content["grades"]["test"]["values"] == [0, 1, 2, 3]
    assert [cut["grade"] for cut in content["grades"]["test"]["cuts"]] == list(
        result.table.classes[1:]
    )
    assert json.loads((run / "config.json").read_text())["ordered"] is True
    page = (run / "report.html").read_text()
    assert "How far mistakes go" in page
    assert "what raises the grade" in page
    assert "[@cohen1968]" in (run / "methods.md").read_text()
    assert "mccullagh1980" in (run / "references.bib").read_text()
    assert result.grades["validation"].kappa.value > 0.5


def test_a_saved_model_says_the_mean_grade_and_its_spread(
    study: Study, run: Path, images: Path, extractor: Extractor, tmp_path: Path
) -> None:
    fitted = load_bundle(run / "model", extractor)
    assert fitted.grading == study.fitted.grading
    rows = predict_files(fitted, [str(images / "grade 3"), str(images / "grade 0")])
    write_predictions(tmp_path / "out.csv", rows, fitted.classes)
    with (tmp_path / "out.csv").open() as stream:
        lines = list(csv.DictReader(stream))
    for line in lines:
        p = np.array([float(line[f"probability of {name}"]) for name in fitted.classes])
        mean = p @ np.arange(4)
        assert float(line["mean grade"]) == pytest.approx(mean, abs=1e-3)
        spread = np.sqrt(p @ (np.arange(4) - mean) ** 2)
        assert float(line["sd of grade"]) == pytest.approx(spread, abs=1e-3)
    assert rows[0].to_json()["mean_grade"] > rows[-1].to_json()["mean_grade"] + 1


GARBLED = "are not a rising number for each class"


@pytest.mark.parametrize(
    ("values", "message"), [([0, 1, 2], GARBLED), ([0, 2, 1, 3], GARBLED), (["0"] * 4, GARBLED)]
)
def test_a_model_whose_grades_make_no_sense_is_refused(
    study: Study, run: Path, tmp_path: Path, values: object, message: str
) -> None:
    shutil.copytree(run / "model", tmp_path / "model")
    content = json.loads((tmp_path / "model" / "bundle.json").read_text())
    content["grading"]["values"] = values
    (tmp_path / "model" / "bundle.json").write_text(json.dumps(content))
    with pytest.raises(BundleError, match=message):
        load_bundle(tmp_path / "model", Extractor(Cache(tmp_path / "cache"), engine="torch"))


def judged(scenario: Scenario, table: ImageTable, extractor: Extractor) -> CrossFitted:
    """A scenario out of fold, by kappa."""
    folds = replace(make_folds(table, 3, 0), metric="quadratic_kappa")
    return cross_fitted(scenario, Development(table, folds), extractor)


def kappa(found: CrossFitted) -> float:
    (estimate,) = estimate_all([found.predictions], "quadratic_kappa")
    return estimate.value


@pytest.mark.slow
def test_an_encoder_of_descriptors_takes_the_head_of_grades(
    table: ImageTable, extractor: Extractor, tmp_path: Path
) -> None:
    code = Encoded("vlad", (2,), pca=16, white=0)
    scenario = Scenario(NET, "blocks.4", Head("ordinal"), Preprocessing(sizes=(64,)), code)
    found = judged(scenario, table, extractor)
    assert kappa(found) > 0.5
    found.fitted.save(tmp_path)
    again = load_bundle(tmp_path, extractor)
    assert again.grading == found.fitted.grading
    canvases = [
        one for one in again.canvases(table.ids[:3], table.sources[:3]) if isinstance(one, Canvas)
    ]
    np.testing.assert_allclose(
        again.probabilities(canvases), found.fitted.probabilities(canvases), atol=1e-6
    )


@pytest.mark.slow
def test_a_trained_network_keeps_the_grades(
    table: ImageTable, extractor: Extractor, tmp_path: Path
) -> None:
    key = f"finetune/{NET}/blocks.6/s64/epochs2/steps0/logistic"
    found = judged(Scenario.from_key(key), table, extractor)
    assert kappa(found) > 0.5
    found.fitted.save(tmp_path)
    rows = predict_files(load_bundle(tmp_path, extractor), [table.sources[0].path])
    assert rows[0].to_json()["grade_sd"] >= 0


@pytest.mark.slow
def test_a_budget_is_spent_by_kappa(
    table: ImageTable, extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = budget_plan.offered
    monkeypatch.setattr(
        within_budget,
        "offered",
        lambda *asked: {n: s for n, s in every(*asked).items() if n in ("probe", "clahe")},
    )
    options = StudyOptions(
        backbones=(NET,), heads=("ordinal",), budget=3600.0, audit=False, n_folds=3,
    )  # fmt: skip
    result = run_study(table, options, extractor).result
    assert result.metric == "quadratic_kappa"
    assert result.budget is not None
    assert {step.name: step.outcome for step in result.budget.steps} == {
        "probe": "done", "clahe": "done",
    }  # fmt: skip
    assert result.grades["validation"].kappa.value > 0.5


def test_maps_of_an_ordinal_head_are_of_its_latent_value(
    study: Study, table: ImageTable, extractor: Extractor
) -> None:
    fitted = study.fitted
    assert fitted.scenario.head == "ordinal"
    canvases = [
        one for one in fitted.canvases(table.ids[-2:], table.sources[-2:])
        if isinstance(one, Canvas)
    ]  # fmt: skip
    assert is_read_inside(fitted)
    maps = {name: attribute(fitted, canvases, [name] * 2)[0].map for name in table.classes}
    high = maps[table.classes[3]]
    assert np.ptp(high) > 0
    np.testing.assert_allclose(maps[table.classes[1]], high, rtol=1e-4, atol=1e-6)
    assert not (maps[table.classes[0]] * high).any()  # what lowers the grade does not raise it


def test_the_order_is_no_part_of_what_a_plain_head_computes(
    images: Path, table: ImageTable, extractor: Extractor
) -> None:
    plain = load(images, no_groups=True)
    assert plain.fingerprint == table.fingerprint
    a, b = (with_defaults(StudyOptions(backbones=(NET,)), one, extractor) for one in (plain, table))
    assert (a.metric, b.metric) == ("auroc", "quadratic_kappa")
    assert b.heads == (*a.heads, "ordinal")
    assert "ordered" not in config(plain, a, extractor)
    asked = with_defaults(StudyOptions(backbones=(NET,), metric="auroc"), table, extractor)
    assert asked.metric == "auroc"


def test_a_head_of_grades_needs_their_order(images: Path, extractor: Extractor) -> None:
    with pytest.raises(ScenarioError, match="pass --ordered"):
        with_defaults(StudyOptions(heads=("ordinal",)), load(images, no_groups=True), extractor)
