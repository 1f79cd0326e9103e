"""A network that was trained again as a member of an ensemble: its bundle keeps both backbones."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from medgraft.data.ingest import load as load_table
from medgraft.data.phantom import write_phantoms
from medgraft.data.split import Development, make_folds
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.features.weights import sha256_of
from medgraft.learn.cross_validation import CrossFitted
from medgraft.learn.ensemble import FittedEnsemble, stacked
from medgraft.learn.fit import cross_fitted, load
from medgraft.scenario import Finetune
from medgraft.types import Canvas, ImageTable, Scenario

PROBE = Scenario.from_key("multiscale/tf_efficientnet_lite0/blocks.1/s64/svm")
DEEPER = dataclasses.replace(PROBE, tap="blocks.2")
TUNED = dataclasses.replace(
    PROBE,
    tap="blocks.6",
    classifier=Finetune((("epochs", "4"), ("rate", "0.002"), ("smoothing", "0"), ("keep", "last"))),
)


def joined(*members: Scenario) -> Scenario:
    return Scenario.joining("stack", members)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ImageTable:
    folder = tmp_path_factory.mktemp("images")
    write_phantoms(folder, n_patients=24)
    return load_table(folder)


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> Extractor:
    return Extractor(Cache(tmp_path_factory.mktemp("cache")), engine="torch", workers=2)


@pytest.fixture(scope="module")
def crossed(table: ImageTable, extractor: Extractor) -> dict[str, CrossFitted]:
    folds = make_folds(table, 2)
    every = {"probe": PROBE, "tuned": TUNED, "last": joined(PROBE, DEEPER, TUNED)}
    every["first"] = joined(TUNED, PROBE, DEEPER)
    return {
        name: cross_fitted(each, Development(table, folds), extractor)
        for name, each in every.items()
    }


@pytest.fixture(scope="module")
def canvases(
    table: ImageTable, extractor: Extractor, crossed: dict[str, CrossFitted]
) -> list[Canvas]:
    made = extractor.canvases(table, crossed["last"].fitted.spec)
    return [canvas for canvas in made if isinstance(canvas, Canvas)][:8]


def test_members_of_two_backbones_are_joined_by_their_probabilities(
    crossed: dict[str, CrossFitted], canvases: list[Canvas], table: ImageTable
) -> None:
    fitted = crossed["last"].fitted
    assert isinstance(fitted, FittedEnsemble)
    assert fitted.stack is not None
    assert [member.spec.backbone.partition("~")[0] for member in fitted.members] == [
        PROBE.backbone
    ] * 3
    assert fitted.members[2].spec.backbone != PROBE.backbone
    served = [member.probabilities(canvases) for member in fitted.members]
    np.testing.assert_allclose(fitted.scores(canvases), stacked(served, fitted.stack), atol=1e-5)
    predictions, skipped = fitted.predict(table.select(np.arange(8)))
    assert not skipped
    np.testing.assert_allclose(predictions.scores, fitted.scores(canvases), atol=1e-5)


def test_a_stream_of_canvases_is_taken_once(
    crossed: dict[str, CrossFitted], canvases: list[Canvas]
) -> None:
    """One decode serves all members: a stream that can be read only once is enough."""
    taken = []
    fitted = crossed["last"].fitted
    scores = fitted.scores(taken.append(c.id) or c for c in canvases)
    assert taken == [canvas.id for canvas in canvases]
    np.testing.assert_array_equal(scores, fitted.scores(canvases))


@pytest.mark.parametrize(
    ("name", "apart"),
    [("last", "member2"), ("first", "member0")],
)
def test_a_bundle_keeps_both_backbones_and_scores_the_same(
    name: str,
    apart: str,
    crossed: dict[str, CrossFitted],
    canvases: list[Canvas],
    table: ImageTable,
    tmp_path: Path,
) -> None:
    fitted = crossed[name].fitted
    fitted.save(tmp_path)
    kept = sorted(tmp_path.rglob("backbone.safetensors"))
    inside = sorted((tmp_path / apart).rglob("backbone.safetensors"))  # of its two folds
    assert kept == sorted([tmp_path / "backbone.safetensors", *inside])
    assert len({sha256_of(path) for path in inside}) == len(inside) == 2
    few = table.select(np.arange(8))
    loaded = load(tmp_path, Extractor(Cache(tmp_path / "cache"), engine="torch"))
    np.testing.assert_allclose(loaded.scores(canvases), fitted.scores(canvases), atol=1e-5)
    np.testing.assert_allclose(
        loaded.predict(few)[0].y_prob, fitted.predict(few)[0].y_prob, atol=1e-5
    )
