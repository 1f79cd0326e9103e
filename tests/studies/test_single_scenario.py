"""One scenario without a study: the same numbers as in one, a cap that is kept, files, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from medgraft.api import load
from medgraft.bundle.model import load_model
from medgraft.data.phantom import write_phantoms
from medgraft.data.split import Development, make_folds
from medgraft.errors import DataError, FitError, MedgraftError, ScenarioError
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.learn.fit import cross_fitted
from medgraft.run_folders import train_to_folder
from medgraft.scenario import Scenario
from medgraft.studies.single_scenario import SingleOptions, classic_scenario, run_single
from medgraft.types import ImageTable

PROBE = "probe/tf_efficientnet_lite0/blocks.4/svm"
TUNED = "finetune/tf_efficientnet_lite0/blocks.6/epochs3/patience0/logistic"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ImageTable:
    folder = tmp_path_factory.mktemp("single") / "images"
    write_phantoms(folder, n_patients=24, seed=5)
    return load(folder)


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory, graphs: Path) -> Extractor:
    folder = tmp_path_factory.mktemp("single-cache")
    (folder / "graphs").symlink_to(graphs)
    return Extractor(Cache(folder), workers=2)


def _reached(*_: object) -> None:
    raise FitError("here")


def test_a_probe_is_judged_as_in_a_study(
    table: ImageTable, extractor: Extractor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = Scenario.from_key(PROBE)
    found = train_to_folder(table, scenario, SingleOptions(), extractor, tmp_path / "T")
    development = found.table.development
    same = cross_fitted(
        scenario, Development(development, make_folds(development, 5, 0)), extractor
    )
    np.testing.assert_array_equal(found.crossed.predictions.scores, same.predictions.scores)
    assert len(found.crossed.predictions) == len(table)  # no test split was made
    assert found.tested is None
    assert {file.name for file in (tmp_path / "T").iterdir()} == {
        "model", "predictions.parquet", "images.parquet", "config.json", "run.jsonl",
    }  # fmt: skip
    assert load_model(tmp_path / "T").scenario == scenario
    with pytest.raises(MedgraftError, match="is not empty"):
        train_to_folder(table, scenario, SingleOptions(), extractor, tmp_path / "T")
    events = tmp_path / "T" / "run.jsonl"
    events.write_text(events.read_text().splitlines(keepends=True)[0])  # killed before its end
    monkeypatch.setattr("medgraft.run_folders.run_single", _reached)
    with pytest.raises(FitError, match="here"):  # no longer refused
        train_to_folder(table, scenario, SingleOptions(), extractor, tmp_path / "T")


def test_a_cap_ends_training_and_a_larger_one_goes_on(
    table: ImageTable, extractor: Extractor, tmp_path: Path
) -> None:
    """Six milliseconds are over before three epochs are; a second call keeps those of the first."""
    scenario = Scenario.from_key(TUNED)
    short = SingleOptions(holdout_only=True, cap=0.0001)
    found = train_to_folder(table, scenario, short, extractor, tmp_path / "A")
    assert found.crossed.training is not None
    (run,) = found.crossed.training.histories.values()
    seconds = np.array([epoch.seconds for epoch in run])
    assert seconds.sum() > 0.006 >= seconds[:-1].sum()
    assert len(run) < 4
    assert run[-1].stopped == "the cap of 0.0001 minutes was passed"
    longer = SingleOptions(holdout_only=True)
    again = train_to_folder(table, scenario, longer, extractor, tmp_path / "B")
    assert again.crossed.training is not None
    (more,) = again.crossed.training.histories.values()
    assert [epoch.number for epoch in more] == [0, 1, 2, 3]
    assert [one.train for one in more[: len(run)]] == [one.train for one in run]
    # The patients that judge are a fold's, whole, and none of those learned from.
    held = found.crossed.predictions
    assert 0 < len(held) < len(table) / 3
    rest = table.groups[~np.isin(table.ids, held.ids)]
    assert not set(held.groups) & set(rest)
    read = json.loads((tmp_path / "A" / "training.json").read_text())[TUNED]
    assert len(read["histories"]["one holdout"]) == len(run)
    assert (tmp_path / "A" / "history.png").read_bytes()[:4] == b"\x89PNG"
    assert load_model(tmp_path / "A").classes == table.classes


def test_what_makes_no_sense_is_refused_before_anything_is_read(
    table: ImageTable, extractor: Extractor
) -> None:
    probe = Scenario.from_key(PROBE)
    with pytest.raises(ScenarioError, match="leave --holdout-only out"):
        run_single(table, probe, SingleOptions(holdout_only=True), extractor)
    with pytest.raises(DataError, match="no test split to look at"):
        run_single(table, probe, SingleOptions(test=True), extractor)
    with pytest.raises(ScenarioError, match="with --holdout-only"):
        SingleOptions(cap=3)
    with pytest.raises(ScenarioError, match="no way to validate 'odd'"):
        SingleOptions(validate="odd")


def test_the_classic_recipe_is_vgg_whole_without_augmentation() -> None:
    assert classic_scenario().key == "finetune/vgg16/input/classic/logistic"
    given = classic_scenario(weights="vgg19.safetensors", start="block4_pool")
    assert given.key == "finetune/vgg19/block4_pool/classic/logistic"
    assert Scenario.from_key(given.key) == given
