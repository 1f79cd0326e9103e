from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from medgraft.data.ingest import LoadOptions
from medgraft.data.ingest import load as load_table
from medgraft.data.split import Development, make_folds
from medgraft.errors import (
    BackboneError,
    BundleError,
    LeakError,
    ScenarioError,
    UnreadableDataError,
)
from medgraft.evaluate.threshold import RULE
from medgraft.features import extract
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.features.feature_plan import feature_plan_of
from medgraft.features.weights import sha256_of
from medgraft.learn import fit as fitting
from medgraft.learn import frozen
from medgraft.learn.cross_validation import CrossFitted
from medgraft.learn.fit import cross_fitted, load
from medgraft.scenario import Head
from medgraft.types import Canvas, Folds, ImageTable, Scenario, Skipped

SCENARIO = Scenario.from_key("multiscale/tf_efficientnet_lite0/blocks.1/s64/svm")
KNN = dataclasses.replace(SCENARIO, classifier=Head("knn"))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ImageTable:
    """Forty noisy images, the bright ones sick; two a patient."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for index in range(40):
        sick = index % 4 >= 2
        pixels = rng.integers(0, 200, (32, 32)) + (40 if sick else 0)
        path = folder / ("sick" if sick else "normal") / f"p{index // 2}_{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return load_table(folder, LoadOptions(group=r"regex:(p\d+)_"))


@pytest.fixture(scope="module")
def folds(table: ImageTable) -> Folds:
    return make_folds(table, 3)


@pytest.fixture(scope="module")
def fresh(
    tmp_path_factory: pytest.TempPathFactory, graphs: Path
) -> Callable[[], tuple[Extractor, Path]]:
    """Makes an extractor with an empty cache, as another process on another machine has it."""

    def make() -> tuple[Extractor, Path]:
        folder = tmp_path_factory.mktemp("cache")
        (folder / "graphs").symlink_to(graphs)
        return Extractor(Cache(folder), workers=2), folder

    return make


@pytest.fixture(scope="module")
def extractor(fresh: Callable[[], tuple[Extractor, Path]]) -> Extractor:
    return fresh()[0]


@pytest.fixture(scope="module")
def crossed(table: ImageTable, folds: Folds, extractor: Extractor) -> CrossFitted:
    return cross_fitted(SCENARIO, Development(table, folds), extractor)


@pytest.fixture(scope="module")
def images(table: ImageTable, extractor: Extractor) -> list[Canvas]:
    spec = feature_plan_of(SCENARIO, extractor).canvas
    return [row for row in extractor.canvases(table, spec) if isinstance(row, Canvas)]


# --------------------------------------------------------------------------- across folds


def test_patients_are_whole_and_the_bright_are_told_apart(
    crossed: CrossFitted, table: ImageTable
) -> None:
    oof = crossed.predictions
    assert len(np.unique(table.groups)) == 20
    assert all(len(np.unique(oof.fold[oof.groups == group])) == 1 for group in table.groups)
    assert oof.positive == "sick"
    assert (oof.y_prob.argmax(axis=1) == table.labels).mean() > 0.9
    np.testing.assert_allclose(oof.y_prob.sum(axis=1), 1)
    operating = crossed.fitted.operating
    assert operating is not None
    assert operating.rule == RULE


def test_the_second_time_comes_from_the_cache_with_the_same_bits(
    crossed: CrossFitted,
    table: ImageTable,
    folds: Folds,
    extractor: Extractor,
    images: list[Canvas],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("computed twice")

    monkeypatch.setattr(fitting, "nested_scores", never)
    monkeypatch.setattr(Extractor, "run", never)
    other = Extractor(Cache(extractor.cache.folder), workers=1)
    again = cross_fitted(SCENARIO, Development(table, folds), other)
    for name in ("scores", "y_prob", "fold"):
        np.testing.assert_array_equal(
            getattr(again.predictions, name), getattr(crossed.predictions, name)
        )
    np.testing.assert_array_equal(again.fitted.head.coef_, crossed.fitted.head.coef_)  # type: ignore[attr-defined]
    assert again.seconds == crossed.seconds
    with pytest.raises(AssertionError, match="computed twice"):
        cross_fitted(dataclasses.replace(SCENARIO, seed=1), Development(table, folds), other)


def test_weights_of_one_change_nothing_and_other_weights_are_not_taken_from_the_cache(
    crossed: CrossFitted, table: ImageTable, folds: Folds, extractor: Extractor
) -> None:
    ones = cross_fitted(SCENARIO, Development(table, folds, np.ones(len(table))), extractor)
    np.testing.assert_array_equal(ones.predictions.scores, crossed.predictions.scores)
    uneven = np.where(np.arange(len(table)) % 4 == 0, 9.0, 1.0)
    weighted = cross_fitted(SCENARIO, Development(table, folds, uneven), extractor)
    assert not np.allclose(weighted.predictions.scores, crossed.predictions.scores)


def test_two_patients_a_class_are_judged_at_the_natural_strength(
    table: ImageTable, extractor: Extractor
) -> None:
    patients = [np.unique(table.groups[table.labels == label])[:2] for label in (0, 1)]
    two_each = table.select(np.isin(table.groups, patients))
    folds = make_folds(two_each, 2)
    crossed = cross_fitted(SCENARIO, Development(two_each, folds), extractor)
    assert np.isfinite(crossed.predictions.scores).all()
    np.testing.assert_allclose(crossed.predictions.y_prob.sum(axis=1), 1)


def test_test_images_are_refused(table: ImageTable, folds: Folds, extractor: Extractor) -> None:
    splits = np.where(np.arange(len(table)) < 3, "test", "train")
    with pytest.raises(LeakError, match="3 test images"):
        Development(dataclasses.replace(table, splits=splits), folds)


def test_a_head_that_does_not_exist_is_named(
    table: ImageTable, folds: Folds, extractor: Extractor
) -> None:
    scenario = dataclasses.replace(SCENARIO, classifier=Head("svn"))
    with pytest.raises(ScenarioError, match="no head 'svn'"):
        cross_fitted(scenario, Development(table, folds), extractor)


# --------------------------------------------------------------------------- the classifier


def test_a_batch_equals_its_images_and_the_table(
    crossed: CrossFitted, images: list[Canvas], table: ImageTable
) -> None:
    before = [canvas.pixels.copy() for canvas in images]
    scores = crossed.fitted.scores(images)
    one_by_one = np.concatenate([crossed.fitted.scores([canvas]) for canvas in images[:5]])
    np.testing.assert_allclose(one_by_one, scores[:5], rtol=1e-5, atol=1e-6)
    predictions, skipped = crossed.fitted.predict(table)
    np.testing.assert_allclose(predictions.scores, scores, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(predictions.y_prob, crossed.fitted.probabilities(images), atol=1e-6)
    assert (skipped, set(predictions.fold)) == ((), {-1})
    assert all(map(np.array_equal, before, [canvas.pixels for canvas in images]))
    assert crossed.fitted.scores([]).shape == crossed.fitted.probabilities([]).shape == (0, 2)


def test_an_image_that_cannot_be_read_is_named_and_the_rest_predicted(
    crossed: CrossFitted, table: ImageTable, tmp_path: Path
) -> None:
    (tmp_path / "bad.png").write_text("no image")
    source = dataclasses.replace(table.sources[0], path=str(tmp_path / "bad.png"))
    three = table.select(np.arange(3))
    hashes = np.array(["f" * 32, *three.content_hashes[1:]])
    three = dataclasses.replace(three, sources=(source, *three.sources[1:]), content_hashes=hashes)
    predictions, skipped = crossed.fitted.predict(three)
    assert predictions.ids.tolist() == three.ids[1:].tolist()
    assert skipped == (Skipped(three.ids[0], skipped[0].reason),)
    nothing, _ = crossed.fitted.predict(three.select(np.array([0])))
    assert nothing.scores.shape == (0, 2)


@pytest.fixture(scope="module")
def joined(table: ImageTable, folds: Folds, extractor: Extractor) -> CrossFitted:
    """All stages side by side; torch has no graph to convert."""
    by_torch = Extractor(extractor.cache, engine="torch", workers=2)
    return cross_fitted(
        dataclasses.replace(SCENARIO, tap="stages"), Development(table, folds), by_torch
    )


@pytest.mark.parametrize("name", ["crossed", "joined"])
def test_the_graph_says_what_the_study_says(
    name: str, images: list[Canvas], request: pytest.FixtureRequest
) -> None:
    crossed: CrossFitted = request.getfixturevalue(name)
    scores = crossed.fitted.scores(images)
    pixels = np.stack([np.broadcast_to(c.pixels[..., None], (64, 64, 3)) for c in images])
    graph = crossed.fitted.torch_graph()
    assert graph is not None
    batch = torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2).float()
    spread = scores.max() - scores.min()
    np.testing.assert_allclose(graph(batch).numpy(), scores, rtol=0, atol=1e-3 * spread)


# --------------------------------------------------------------------------- bundles


@pytest.fixture(scope="module")
def bundle(crossed: CrossFitted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    crossed.fitted.save(folder)
    return folder


@pytest.fixture
def copied(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "bundle"))


def test_a_bundle_stands_alone(
    crossed: CrossFitted,
    bundle: Path,
    images: list[Canvas],
    fresh: Callable[[], tuple[Extractor, Path]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_backbone(*args: object) -> None:
        raise BackboneError("not installed; the weights must come from the bundle")

    monkeypatch.setattr(extract, "load_backbone", no_backbone)
    loaded = load(bundle, fresh()[0])
    for name in ("scenario", "classes", "positive", "operating", "calibrator"):
        assert getattr(loaded, name) == getattr(crossed.fitted, name)
    verified = f"bundle-{sha256_of(bundle / 'backbone.safetensors')}"
    assert loaded.spec == dataclasses.replace(crossed.fitted.spec, weights=verified)  # type: ignore[attr-defined]
    np.testing.assert_allclose(
        loaded.scores(images), crossed.fitted.scores(images), rtol=0, atol=1e-5
    )
    loaded.save(tmp_path)
    for name in ("bundle.json", "head.safetensors", "backbone.safetensors"):
        assert (tmp_path / name).read_bytes() == (bundle / name).read_bytes()
    assert sorted(path.name for path in bundle.iterdir()) == [
        "backbone.safetensors",
        "bundle.json",
        "head.safetensors",
    ]


def test_a_bundle_cannot_pass_its_codes_off_as_another_networks(
    crossed: CrossFitted, copied: Path, extractor: Extractor, table: ImageTable
) -> None:
    """Other weights under the card of the honest ones, whose codes lie in the cache already."""
    path = copied / "backbone.safetensors"
    harmed = {name: value * 1.5 if value.is_floating_point() else value
              for name, value in load_file(path).items()}  # fmt: skip
    save_file(harmed, path)
    content = json.loads((copied / "bundle.json").read_text())
    content["sha256"][path.name] = sha256_of(path)
    (copied / "bundle.json").write_text(json.dumps(content))
    by_torch = Extractor(extractor.cache, engine="torch", workers=2)
    liar = load(copied, by_torch)
    honest = Extractor(extractor.cache, engine="torch", workers=2)
    mine = feature_plan_of(SCENARIO, honest).canvas
    before = honest.codes(table, mine)[0].matrix()
    theirs = by_torch.codes(table, liar.spec)[0].matrix()  # type: ignore[attr-defined]
    assert not np.allclose(theirs, before)
    assert liar.spec.weights != mine.weights == crossed.fitted.spec.weights  # type: ignore[attr-defined]


def test_the_bundle_of_a_study_finds_the_codes_of_its_study(
    crossed: CrossFitted, bundle: Path, extractor: Extractor
) -> None:
    again = load(bundle, Extractor(extractor.cache))
    assert again.spec == crossed.fitted.spec  # type: ignore[attr-defined]


def test_a_bundle_of_known_weights_is_used_though_one_before_it_has_gone(
    crossed: CrossFitted,
    bundle: Path,
    images: list[Canvas],
    extractor: Extractor,
    tmp_path: Path,
) -> None:
    """Of equal weights the first that was loaded stays in use, and nothing was read of it yet."""
    one = Extractor(extractor.cache, engine="torch")
    assert one.weights_file(SCENARIO.backbone).is_file()
    shared = Extractor(extractor.cache, engine="torch")
    gone, there = (Path(shutil.copytree(bundle, tmp_path / name)) for name in ("gone", "there"))
    load(gone, shared)
    shutil.rmtree(gone)
    loaded = load(there, shared)
    np.testing.assert_allclose(loaded.scores(images), crossed.fitted.scores(images), atol=1e-3)


def test_a_cache_that_cannot_keep_weights_does_not_keep_a_bundle_from_being_saved(
    crossed: CrossFitted, bundle: Path, tmp_path: Path
) -> None:
    cache, folder = tmp_path / "cache", tmp_path / "bundle"
    cache.mkdir()
    folder.mkdir()
    for name in ("weights", "notes", "graphs"):
        (cache / name).write_text("in the way")
    fitted = dataclasses.replace(crossed.fitted, extractor=Extractor(Cache(cache)))  # type: ignore[type-var]
    fitted.save(folder)
    assert (folder / "backbone.safetensors").read_bytes() == (
        bundle / "backbone.safetensors"
    ).read_bytes()


def test_neighbours_are_kept_once(
    table: ImageTable, folds: Folds, fresh: Callable[[], tuple[Extractor, Path]]
) -> None:
    """The cache holds kNN's codes in their own store only, and the head is the same again."""
    extractor, folder = fresh()
    first = cross_fitted(KNN, Development(table, folds), extractor).fitted.head  # type: ignore[attr-defined]
    (kept,) = (folder / "predictions").glob("*.npz")
    with np.load(kept) as arrays:
        assert [name for name in arrays.files if name.startswith("head.")] == ["head.k"]
    again = cross_fitted(KNN, Development(table, folds), Extractor(Cache(folder))).fitted.head  # type: ignore[attr-defined]
    for a, b in zip(first.to_arrays()[0].values(), again.to_arrays()[0].values(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_bundle_of_neighbours(
    table: ImageTable,
    folds: Folds,
    extractor: Extractor,
    images: list[Canvas],
    fresh: Callable[[], tuple[Extractor, Path]],
    tmp_path: Path,
) -> None:
    fitted = cross_fitted(KNN, Development(table, folds), extractor).fitted
    assert fitted.torch_graph() is None
    fitted.save(tmp_path)
    loaded = load(tmp_path, fresh()[0])
    np.testing.assert_allclose(
        loaded.probabilities(images[:8]), fitted.probabilities(images[:8]), rtol=0, atol=1e-5
    )


def _flip_a_byte(folder: Path) -> None:
    path = folder / "head.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def _rewrite(**changes: object) -> Callable[[Path], None]:
    def rewrite(folder: Path) -> None:
        content = json.loads((folder / "bundle.json").read_text())
        (folder / "bundle.json").write_text(json.dumps(content | changes))

    return rewrite


def _name_a_file_outside(folder: Path) -> None:
    """The file is there, with that very content, but not in the bundle."""
    (folder.parent / "x").write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    _rewrite(sha256={"../x": empty})(folder)


def _name_outside(folder: Path) -> None:
    """A backbone whose notes and graphs would be written outside the cache."""
    content = json.loads((folder / "bundle.json").read_text())
    _rewrite(card=content["card"] | {"name": "../../x"})(folder)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (_flip_a_byte, "was changed"),
        (lambda folder: (folder / "backbone.safetensors").unlink(), "is missing"),
        (lambda folder: (folder / "bundle.json").unlink(), "no model in"),
        (lambda folder: (folder / "bundle.json").write_text("{"), "as JSON"),
        (lambda folder: (folder / "bundle.json").write_text("[]"), "format None"),
        (_rewrite(format=99), "format 99"),
        (_rewrite(family="dream"), "'dream'"),
        (_rewrite(sha256=None), "does not name its parts"),
        (_rewrite(card=[]), "garbles"),
        (_rewrite(reading={}), "garbles"),
        (_name_outside, "cannot name a backbone"),
        (_name_a_file_outside, "is missing"),
    ],
)
def test_what_is_no_bundle_is_refused(
    harm: Callable[[Path], object],
    said: str,
    copied: Path,
    extractor: Extractor,
) -> None:
    harm(copied)
    with pytest.raises(BundleError, match=said):
        load(copied, Extractor(extractor.cache))


def test_rows_of_an_image_that_is_not_read_again_are_refused_and_not_shifted() -> None:
    ids = np.array(["a", "b", "c"])
    frozen._refuse_others(ids[:2], ids[:2])
    for seen in (ids[[0, 2]], ids[:2]):
        with pytest.raises(UnreadableDataError, match="could be read before and cannot be read"):
            frozen._refuse_others(seen, ids)
