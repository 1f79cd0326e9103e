"""Views of an image whose scores are averaged: the same out of fold, in use and from a bundle."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medgraft.data.augment import View
from medgraft.data.ingest import load as load_table
from medgraft.data.split import Development, make_folds
from medgraft.errors import ScenarioError
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.learn.cross_validation import CrossFitted
from medgraft.learn.finetune import Training
from medgraft.learn.finetune_cv import held_out
from medgraft.learn.finetune_setup import FinetuneSetup, Trained, TrainingTask
from medgraft.learn.fit import cross_fitted, load
from medgraft.learn.trained import FittedTrained
from medgraft.scenario import views_of
from medgraft.training_recipe import recipe_of
from medgraft.types import Canvas, ImageTable, Scenario

KEY = "finetune/tf_efficientnet_lite0/blocks.6/s64/xray-strong/epochs1/probeTrue"
ALONE = Scenario.from_key(f"{KEY}/logistic")
VIEWED = Scenario.from_key(f"{KEY}/tta3/logistic")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ImageTable:
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for index in range(36):
        pixels = np.kron(rng.integers(0, 200, (8, 8)) + 40 * (index % 2), np.ones((8, 8)))
        path = folder / ("normal", "sick")[index % 2] / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return load_table(folder)


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> Extractor:
    return Extractor(Cache(tmp_path_factory.mktemp("cache")), engine="torch", workers=2)


def held(scenario: Scenario, table: ImageTable, extractor: Extractor) -> CrossFitted:
    return held_out(scenario, Development(table, make_folds(table, 3)), extractor)


def raw(table: ImageTable, extractor: Extractor, fitted: FittedTrained) -> list[Canvas]:
    made = extractor.canvases(table, dataclasses.replace(fitted.spec, edits=()))
    return [canvas for canvas in made if isinstance(canvas, Canvas)]


@pytest.mark.parametrize(("depth", "off"), [("blocks.6", 3e-3), ("input", 2e-4)])
def test_out_of_fold_scores_are_those_in_use(
    depth: str, off: float, table: ImageTable, extractor: Extractor
) -> None:
    """`held_out` deploys the network that judged: kept maps (float16), or pixels, and its tail
    give what the whole network gives of canvases."""
    crossed = held(dataclasses.replace(VIEWED, tap=depth), table, extractor)
    fitted = crossed.fitted
    assert isinstance(fitted, FittedTrained)
    assert [[e.key for e in s.edits] for (s,) in fitted.feature_plan.views] == [
        [], ["xray.v1"], ["xray.v2"],
    ]  # fmt: skip
    judged = table.select(np.isin(table.ids, crossed.predictions.ids))
    canvases = raw(judged, extractor, fitted)
    in_use = fitted.scores(canvases)
    np.testing.assert_allclose(crossed.predictions.scores, in_use, atol=off)
    one = dataclasses.replace(
        fitted, feature_plan=type(fitted.feature_plan).one(fitted.feature_plan.views[0][0])
    )
    assert np.abs(one.scores(canvases) - in_use).max() > 10 * off  # the views do count
    # By hand: the same network shown each view as if that were the image.
    by_hand = [one.scores([View("xray", v)(canvas) for canvas in canvases]) for v in range(3)]
    np.testing.assert_allclose(in_use, np.mean(by_hand, axis=0), atol=1e-4)


def test_nothing_changes_without_it(table: ImageTable, extractor: Extractor) -> None:
    fitted = held(ALONE, table, extractor).fitted
    assert isinstance(fitted, FittedTrained)
    assert fitted.feature_plan.specs == (fitted.spec,)
    assert fitted.torch_graph() is not None
    with pytest.raises(ScenarioError, match="tta = 0"):
        recipe_of((("tta", "0"),))


def test_what_judges_a_fold_is_trained_the_same_with_and_without_views(
    table: ImageTable, extractor: Extractor
) -> None:
    """The state's name is the tuned network's: views change how it is asked, not what it is."""
    alone, viewed = (held(scenario, table, extractor).fitted for scenario in (ALONE, VIEWED))
    assert alone.spec.backbone == viewed.spec.backbone


def test_a_bundle_asks_for_the_same_views(
    table: ImageTable, extractor: Extractor, tmp_path: Path
) -> None:
    fitted = held(VIEWED, table, extractor).fitted
    fitted.save(tmp_path)
    loaded = load(tmp_path, Extractor(Cache(tmp_path / "cache"), engine="torch"))
    few = table.select(np.arange(8))
    canvases = raw(few, extractor, fitted)  # type: ignore[arg-type]
    np.testing.assert_allclose(loaded.scores(canvases), fitted.scores(canvases), atol=1e-6)
    predictions, _ = loaded.predict(few)
    np.testing.assert_allclose(predictions.scores, fitted.scores(canvases), atol=1e-5)


def test_cross_validation_judges_each_fold_by_all_views(
    table: ImageTable, extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    logits = Training.logits
    monkeypatch.setattr(
        Training,
        "logits",
        lambda self, data, view=0: asked.append((len(data.rows), view)) or logits(self, data, view),
    )
    held = []
    trained = FinetuneSetup.trained

    def noted(self: FinetuneSetup, task: TrainingTask) -> Trained:
        run = trained(self, task)
        held.extend(run.held.tolist())
        return run

    monkeypatch.setattr(FinetuneSetup, "trained", noted)
    fresh = dataclasses.replace(VIEWED, seed=7)  # no other test has trained it
    crossed = cross_fitted(fresh, Development(table, make_folds(table, 3)), extractor)
    assert held  # they tell how far networks differ
    assert sum(n for n, view in asked if view == 1) == len(table) + len(held)
    assert sum(n for n, view in asked if view == 2) == len(table) + len(held)
    assert np.isfinite(crossed.predictions.y_prob).all()


@pytest.mark.parametrize(
    ("augment", "key"),
    [("strong", "natural.v1"), ("xray-strong", "xray.v1"), ("", "natural.v1")],
)
def test_the_mild_views_of_each_preset(
    augment: str, key: str, table: ImageTable, extractor: Extractor
) -> None:
    from medgraft.learn.finetune_setup import FinetuneSetup

    setup = FinetuneSetup.of(
        VIEWED.with_pixels(views=views_of(augment) if augment else None), table, extractor
    )
    assert [edit.key for edit in setup.tta_edits(1)] == [key]
    assert setup.tta_edits(0) == ()


def test_members_with_other_backbones_share_one_decode(
    table: ImageTable, extractor: Extractor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An ensemble of a probe and a tuned network predicts files it has never seen."""
    probe = Scenario.from_key(f"multiscale/{ALONE.backbone}/blocks.1/s64/svm")
    joined = Scenario.joining("mean", (probe, VIEWED))
    fitted = cross_fitted(joined, Development(table, make_folds(table, 3)), extractor).fitted
    fitted.save(tmp_path)
    loaded = load(tmp_path, Extractor(Cache(tmp_path / "cache"), engine="torch"))
    decoded = []
    canvases = Extractor.canvases
    monkeypatch.setattr(
        Extractor,
        "canvases",
        lambda self, rows, spec: decoded.append(len(rows)) or canvases(self, rows, spec),
    )
    few = table.select(np.arange(8))
    predictions, _ = loaded.predict(few)
    assert decoded == [len(few)]
    np.testing.assert_allclose(predictions.scores, fitted.predict(few)[0].scores, atol=1e-5)
