"""Networks of two scales in every fold: one canvas, two inputs, the same scores everywhere."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from medgraft.data.augment import PRESETS, View, draw
from medgraft.data.ingest import load as load_table
from medgraft.data.phantom import write_phantoms
from medgraft.data.split import Development, make_folds
from medgraft.errors import ScenarioError
from medgraft.explain.attribute import attribute
from medgraft.explain.cam import block_taps, grad_cam
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.learn.cross_validation import CrossFitted
from medgraft.learn.ensemble import FittedEnsemble
from medgraft.learn.finetune_setup import FinetuneSetup
from medgraft.learn.fit import cross_fitted, load, unseen_models
from medgraft.training_recipe import recipe_of
from medgraft.types import Canvas, ImageTable, Scenario

KEY = "finetune/tf_efficientnet_lite0/blocks.6/s128/xray-strong/epochs1/steps0/networks2"
TWO = Scenario.from_key(f"{KEY}/differscale/logistic")


@pytest.fixture(scope="module")
def development(tmp_path_factory: pytest.TempPathFactory) -> Development:
    folder = tmp_path_factory.mktemp("images")
    write_phantoms(folder, n_patients=8)
    table = load_table(folder)
    return Development(table, make_folds(table, 2))


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> Extractor:
    return Extractor(Cache(tmp_path_factory.mktemp("cache")), engine="torch", workers=2)


@pytest.fixture(scope="module")
def crossed(development: Development, extractor: Extractor) -> CrossFitted:
    return cross_fitted(TWO, development, extractor)


@pytest.fixture(scope="module")
def few(development: Development) -> ImageTable:
    return development.table.select(np.arange(6))


@pytest.fixture(scope="module")
def canvases(few: ImageTable, extractor: Extractor, crossed: CrossFitted) -> list[Canvas]:
    made = extractor.canvases(few, crossed.fitted.spec)
    return [canvas for canvas in made if isinstance(canvas, Canvas)]


def test_every_second_network_sees_less_of_the_pixels_and_more_of_the_image_close_by(
    development: Development, extractor: Extractor
) -> None:
    setup = FinetuneSetup.of(TWO, development.table, extractor)
    sizes = [setup.numbered(number).spec.size for number in range(4)]
    assert sizes == [128, 96, 128, 96]
    drawn = [setup.numbered(number).training_edits(1)[0] for number in range(2)]
    assert [view.preset for view in drawn if isinstance(view, View)] == [
        "xray-strong", "xray-strong-closer",
    ]  # fmt: skip
    zooms = [
        [draw(View(name, v), np.zeros((8, 8), np.uint8)).zoom for v in range(1, 60)]
        for name in ("xray-strong", "xray-strong-closer")
    ]
    assert np.mean(zooms[0]) < 1 < np.mean(zooms[1])
    assert "xray-strong-closer" not in PRESETS  # nobody is offered it


def test_the_classifier_s_scores_are_those_of_the_folds_networks(
    crossed: CrossFitted, canvases: list[Canvas], few: ImageTable
) -> None:
    fitted = crossed.fitted
    assert isinstance(fitted, FittedEnsemble)
    assert [one.feature_plan.specs[0].size for one in fitted.networks] == [128, 96, 128, 96]
    alone = [one.scores(canvases) for one in fitted.networks]
    np.testing.assert_allclose(fitted.scores(canvases), np.mean(alone, axis=0), atol=1e-5)
    np.testing.assert_allclose(fitted.predict(few)[0].scores, np.mean(alone, axis=0), atol=1e-5)


def test_out_of_fold_scores_are_those_of_the_fold_s_two_networks(
    crossed: CrossFitted, development: Development, extractor: Extractor
) -> None:
    for fitted, rows in unseen_models(TWO, development, extractor):
        judged = development.table.select(rows)
        made = [c for c in extractor.canvases(judged, fitted.spec) if isinstance(c, Canvas)]
        np.testing.assert_allclose(crossed.predictions.scores[rows], fitted.scores(made), atol=2e-2)


def test_a_bundle_of_it_scores_the_same(
    crossed: CrossFitted, canvases: list[Canvas], tmp_path: Path
) -> None:
    crossed.fitted.save(tmp_path)
    loaded = load(tmp_path, Extractor(Cache(tmp_path / "cache"), engine="torch"))
    np.testing.assert_allclose(loaded.scores(canvases), crossed.fitted.scores(canvases), atol=1e-6)


def test_the_smaller_network_s_graph_takes_the_same_canvas(
    crossed: CrossFitted, canvases: list[Canvas]
) -> None:
    torch = pytest.importorskip("torch")
    small = crossed.fitted.networks[1]
    graph = small.torch_graph()
    assert graph is not None
    pixels = np.stack([np.repeat(np.atleast_3d(c.pixels)[..., :1], 3, axis=2) for c in canvases])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    found = graph(images).detach().numpy()
    expected = small.scores(canvases)
    np.testing.assert_allclose(found[:, -1], expected[:, -1], atol=1e-3)


def test_maps_of_both_scales_are_averaged_on_one_grid(
    crossed: CrossFitted, canvases: list[Canvas]
) -> None:
    fitted = crossed.fitted
    tap = list(block_taps(fitted).values())[-1]
    together = grad_cam(fitted, canvases[:1], [tap], "normal")[0][tap]
    assert together.map.shape == canvases[0].pixels.shape[:2]
    (attribution,) = attribute(fitted, canvases[:1], "normal")
    assert "the mean of 4 networks" in attribution.method


def test_one_that_answers_alone_cannot_be_of_two_scales() -> None:
    with pytest.raises(ScenarioError, match="differ = scale"):
        recipe_of((("differ", "scale"), ("deploy", "distilled")))


def test_networks_that_differ_in_their_seeds_are_trained_as_before(
    development: Development, extractor: Extractor
) -> None:
    """The first network of a fold is the same, and its training is not done again."""
    seeds = Scenario.from_key(f"{KEY}/logistic")
    setups = [FinetuneSetup.of(one, development.table, extractor) for one in (seeds, TWO)]
    assert setups[0].numbered(1).spec == setups[0].spec
    names = [dataclasses.asdict(one.recipe) for one in setups]
    assert {name for name in names[0] if names[0][name] != names[1][name]} == {"differ"}
