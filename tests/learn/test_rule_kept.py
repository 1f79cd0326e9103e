"""The rule for stored values goes with a classifier, and with nothing that it is given."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medgraft.bundle.model import in_classes_of
from medgraft.bundle.predict import predict_files
from medgraft.classifier import TransferClassifier
from medgraft.data.ingest import load as load_table
from medgraft.data.split import Development, make_folds
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.learn.ensemble import FittedEnsemble
from medgraft.learn.fit import cross_fitted, load
from medgraft.types import PLAIN, Canvas, FittedScenario, ImageTable, PixelRule, Scenario, Source

PROBE = "multiscale/tf_efficientnet_lite0/blocks.1/s64/svm"
SCENARIO = Scenario.from_key(PROBE)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ImageTable:
    """Twenty images of 12 bits in 16, the bright ones sick; in half a pixel that is hot."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for index in range(20):
        sick = index % 2
        pixels = rng.integers(0, 3000, (64, 64)) + 1000 * sick
        pixels[0, 0] = 65535 if index % 4 > 1 else 0
        path = folder / ("sick" if sick else "normal") / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels.astype(np.uint16)).save(path)
    found = load_table(folder)
    assert found.rule == PixelRule(0, 4095)
    return found


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory, graphs: Path) -> Extractor:
    folder = tmp_path_factory.mktemp("cache")
    (folder / "graphs").symlink_to(graphs)
    return Extractor(Cache(folder), workers=2)


@pytest.fixture(scope="module")
def fitted(table: ImageTable, extractor: Extractor) -> FittedScenario:
    development = Development(table, make_folds(table, 2))
    return cross_fitted(SCENARIO, development, extractor).fitted


def pixels(fitted: FittedScenario, sources: list[Source | bytes]) -> list[np.ndarray]:
    rows = fitted.canvases(list(map(str, range(len(sources)))), sources)
    return [row.pixels for row in rows if isinstance(row, Canvas)]


def test_a_saved_classifier_shows_everything_by_its_own_rule(
    table: ImageTable, fitted: FittedScenario, extractor: Extractor, tmp_path: Path
) -> None:
    fitted.save(tmp_path)
    assert json.loads((tmp_path / "bundle.json").read_text())["rule"]["high"] == 4095
    loaded = load(tmp_path, extractor)
    assert loaded.rule == fitted.rule == table.rule
    own = pixels(fitted, list(table.sources))
    for rule in (PLAIN, PixelRule(0, 65535)):
        others: list[Source | bytes] = [Source(one.path, rule=rule) for one in table.sources]
        as_bytes: list[Source | bytes] = [Path(one.path).read_bytes() for one in table.sources]
        for sources in (others, as_bytes):
            for mine, theirs in zip(own, pixels(loaded, sources), strict=True):
                np.testing.assert_array_equal(mine, theirs)
        foreign = table.shown_by(rule)
        said = loaded.predict(foreign)[0]
        np.testing.assert_allclose(said.scores, fitted.predict(table)[0].scores, atol=1e-5)
        assert (
            in_classes_of(loaded, foreign).fingerprint == in_classes_of(loaded, table).fingerprint
        )


def test_an_ensemble_has_its_members_rule(
    table: ImageTable, extractor: Extractor, tmp_path: Path
) -> None:
    other = Scenario.from_key(PROBE.replace("svm", "logistic"))
    scenario = Scenario.joining("mean", (SCENARIO, other))
    development = Development(table, make_folds(table, 2))
    joined = cross_fitted(scenario, development, extractor).fitted
    assert isinstance(joined, FittedEnsemble)
    joined.save(tmp_path)
    loaded = load(tmp_path, extractor)
    assert loaded.rule == joined.rule == table.rule
    foreign = loaded.predict(table.shown_by(PLAIN))[0]
    np.testing.assert_allclose(foreign.scores, joined.predict(table)[0].scores, atol=1e-5)


def test_a_bundle_of_before_has_the_plain_rule(
    fitted: FittedScenario, extractor: Extractor, tmp_path: Path
) -> None:
    fitted.save(tmp_path)
    content = json.loads((tmp_path / "bundle.json").read_text())
    del content["rule"]
    (tmp_path / "bundle.json").write_text(json.dumps(content))
    assert load(tmp_path, extractor).rule == PLAIN


def test_codes_of_two_rules_do_not_meet_in_the_cache(
    table: ImageTable, fitted: FittedScenario, extractor: Extractor
) -> None:
    spec = fitted.spec
    mine, _ = extractor.codes(table, spec)
    others, _ = extractor.codes(table.shown_by(PixelRule(0, 65535)), spec)
    again, _ = extractor.codes(table, spec)
    assert np.abs(mine.matrix() - others.matrix()).max() > 0.1
    np.testing.assert_array_equal(mine.matrix(), again.matrix())


def test_predictions_say_what_lies_beyond(fitted: FittedScenario, tmp_path: Path) -> None:
    file = tmp_path / "wide.png"
    Image.fromarray(np.full((64, 64), 30000, np.uint16)).save(file)
    [said] = predict_files(fitted, [str(file)])
    assert "100% of its values lie beyond 0 to 4095" in said.remark
    assert said.to_json()["remark"] == said.remark


def test_the_scikit_learn_classifier_keeps_it_too(
    table: ImageTable, extractor: Extractor, tmp_path: Path
) -> None:
    paths = [source.path for source in table.sources]
    model = TransferClassifier(tap="blocks.1", cache=str(extractor.cache.folder), workers=2)
    model.fit(paths, table.labels)
    assert model.fitted_.rule == table.rule
    values = np.asarray(Image.open(paths[0])).copy()
    cool = tmp_path / "cool.png"
    values[0, 0] = 60000
    Image.fromarray(values).save(cool)
    alone, among = model.predict_proba([str(cool)]), model.predict_proba(paths[:1])
    np.testing.assert_allclose(alone, among, atol=0.05)
