from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medgraft.data.augment import View
from medgraft.data.ingest import load
from medgraft.data.preprocess import Clahe
from medgraft.errors import BackboneError, ScenarioError
from medgraft.features.cache import Cache
from medgraft.features.codebooks import VLAD, FisherVector
from medgraft.features.encoders import CompactBilinear, SpatialPyramid
from medgraft.features.extract import GRID, Extractor
from medgraft.features.feature_plan import (
    FeaturePlan,
    encoder_of,
    feature_plan_of,
    run_feature_plans,
)
from medgraft.scenario import Pooled, Views, views_of
from medgraft.types import Canvas, FeatureSpec, Geometry, ImageTable, Pixels, Scenario

SCENARIO = Scenario.from_key("multiscale/tf_efficientnet_lite0/blocks.1/s64/svm")
DEEP = dataclasses.replace(SCENARIO, tap="blocks.5")
TWO = SCENARIO.with_pixels(sizes=(32, 64))


@pytest.fixture(scope="module")
def pictures() -> list[Pixels]:
    """Images of 64 px whose blocks of 2 x 2 are of one colour, so that halving them is exact."""
    rng = np.random.default_rng(0)
    made = [rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(5)]
    return [np.kron(small, np.ones((2, 2, 1), np.uint8)) for small in made]


@pytest.fixture(scope="module")
def table(pictures: list[Pixels], tmp_path_factory: pytest.TempPathFactory) -> ImageTable:
    folder = tmp_path_factory.mktemp("images")
    for index, pixels in enumerate(pictures):
        path = folder / "ab"[index % 2] / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)
    found = load(folder)
    return found.select(np.argsort([Path(id).name for id in found.ids]))


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> Extractor:
    return Extractor(Cache(tmp_path_factory.mktemp("cache")), engine="torch", workers=2)


@pytest.fixture(scope="module")
def bases(pictures: list[Pixels]) -> list[Canvas]:
    return [Canvas(str(i), p, Geometry.identity(64, 64)) for i, p in enumerate(pictures)]


def by_hand(extractor: Extractor, pixels: list[Pixels], tap: str = "blocks.1") -> np.ndarray:  # type: ignore[type-arg]
    """Codes (n, d) of arrays of pixels, fed to the network as they are."""
    side = len(pixels[0])
    spec = extractor.spec("tf_efficientnet_lite0", [tap], size=side)
    canvases = [Canvas("", p, Geometry.identity(side, side)) for p in pixels]
    return np.stack([found[f"{tap}@avg"] for _, found in extractor.run(canvases, spec)])


def halved(pictures: list[Pixels]) -> list[Pixels]:
    return [pixels[::2, ::2].copy() for pixels in pictures]


def edited(edit: Clahe | View, bases: list[Canvas]) -> list[Pixels]:
    return [edit(canvas).pixels for canvas in bases]


# --------------------------------------------------------------------------- parts and views


def test_sizes_stand_side_by_side_or_are_averaged(
    extractor: Extractor, table: ImageTable, pictures: list[Pixels]
) -> None:
    small, large = by_hand(extractor, halved(pictures)), by_hand(extractor, pictures)
    beside, rows, skipped = feature_plan_of(TWO, extractor).codes(table, extractor)
    assert (beside.shape, rows.ids.tolist(), skipped) == ((1, 5, 48), table.ids.tolist(), ())
    np.testing.assert_allclose(beside[0], np.hstack([small, large]), atol=1e-5)
    mean, _, _ = feature_plan_of(TWO.with_pixels(join="mean"), extractor).codes(table, extractor)
    np.testing.assert_allclose(mean[0], (small + large) / 2, atol=1e-5)
    assert (mean.dtype, beside.dtype) == (np.float32, np.float32)


def test_an_edit_beside_the_raw_image_at_every_size(
    extractor: Extractor, table: ImageTable, pictures: list[Pixels], bases: list[Canvas]
) -> None:
    scenario = SCENARIO.with_pixels(edits=(("raw", "clahe2-8"),))
    codes, _, _ = feature_plan_of(scenario, extractor).codes(table, extractor)
    parts = [by_hand(extractor, pictures), by_hand(extractor, edited(Clahe(), bases))]
    np.testing.assert_allclose(codes[0], np.hstack(parts), atol=1e-5)
    assert np.abs(parts[0] - parts[1]).max() > 0.01
    four = feature_plan_of(TWO.with_pixels(edits=(("raw", "clahe2-8"),)), extractor)
    assert [(spec.size, [e.key for e in spec.edits]) for spec in four.specs] == [
        (32, []), (32, ["clahe2-8"]), (64, []), (64, ["clahe2-8"]),
    ]  # fmt: skip
    codes, _, _ = four.codes(table, extractor)
    smaller = [Canvas("", p, Geometry.identity(32, 32)) for p in halved(pictures)]
    np.testing.assert_allclose(
        codes[0, :, 24:48], by_hand(extractor, edited(Clahe(), smaller)), atol=1e-5
    )


def test_view_0_is_the_image_and_the_others_are_the_presets_views(
    extractor: Extractor, table: ImageTable, pictures: list[Pixels], bases: list[Canvas]
) -> None:
    raw, _, _ = feature_plan_of(SCENARIO, extractor).codes(table, extractor)
    views = feature_plan_of(
        dataclasses.replace(SCENARIO, seed=4).with_pixels(views=views_of("xray3")), extractor
    )
    codes, _, _ = views.codes(table, extractor)
    assert codes.shape == (3, 5, 24)
    np.testing.assert_array_equal(codes[0], raw[0])
    for number in (1, 2):
        pixels = edited(View("xray", number, 4), bases)
        np.testing.assert_allclose(codes[number], by_hand(extractor, pixels), atol=1e-5)
    other = feature_plan_of(
        dataclasses.replace(SCENARIO, seed=5).with_pixels(views=views_of("xray3")), extractor
    )
    assert np.abs(other.codes(table, extractor)[0][1] - codes[1]).max() > 1e-3


@pytest.mark.parametrize(
    "rest",
    [
        "blocks.1/s64",
        "blocks.1/s32+64",
        "blocks.1/s32+64/mean",
        "blocks.1/s64/raw+clahe2-8",
        "blocks.1/s64/clahe2-8",
        "blocks.1/s64/natural3",
        "blocks.1/s32+64/raw+clahe2-8/xray2",
        "stages/s32+64",
    ],
)
def test_streamed_canvases_and_tables_are_read_alike(
    rest: str, extractor: Extractor, table: ImageTable, bases: list[Canvas]
) -> None:
    scenario = Scenario.from_key(f"multiscale/{SCENARIO.backbone}/{rest}/svm")
    feature_plan = feature_plan_of(scenario, extractor)
    codes, _, _ = feature_plan.codes(table, extractor)
    before = [canvas.pixels.copy() for canvas in bases]
    made = list(extractor.canvases(table, feature_plan.canvas))
    canvases = [canvas for canvas in made if isinstance(canvas, Canvas)]
    outputs = list(run_feature_plans(canvases, feature_plan.canvas, feature_plan.specs, extractor))
    np.testing.assert_allclose(feature_plan.codes_from(outputs), codes, atol=1e-5)
    one = list(run_feature_plans(canvases[2:3], feature_plan.canvas, feature_plan.specs, extractor))
    # one image in a batch of its own is added up otherwise
    np.testing.assert_allclose(feature_plan.codes_from(one)[:, 0], codes[:, 2], atol=1e-4)
    assert all(map(np.array_equal, before, [canvas.pixels for canvas in bases]))


def test_one_recipe_is_the_canvas_itself_and_needs_no_base(extractor: Extractor) -> None:
    one = feature_plan_of(SCENARIO, extractor)
    assert one.specs == (one.canvas,)
    assert (one.canvas.base, FeaturePlan.one(one.canvas)) == (0, one)
    two = feature_plan_of(TWO, extractor)
    assert (two.canvas.size, two.canvas.base) == (64, 0)
    assert [(spec.size, spec.base) for spec in two.specs] == [(32, 64), (64, 0)]
    # A small input of its own is decoded at that size, and so is another recipe.
    alone = feature_plan_of(SCENARIO.with_pixels(sizes=(32,)), extractor)
    assert alone.canvas.recipe != two.specs[0].recipe


# --------------------------------------------------------------------------- descriptors


def test_the_descriptors_of_all_sizes_lie_in_one_bag(
    extractor: Extractor, table: ImageTable, pictures: list[Pixels]
) -> None:
    feature_plan = feature_plan_of(TWO, extractor)
    found = list(feature_plan.descriptors(table, extractor)())
    ids, bags = np.concatenate([i for i, _ in found]), np.concatenate([b for _, b in found])
    assert ids.tolist() == table.ids.tolist()
    assert (bags.shape, bags.dtype) == (
        (5, 64 + 256, 24),
        np.float16,
    )  # 8 x 8 and 16 x 16, stride 4
    large, small = bags[:, 64:], bags[:, :64]
    np.testing.assert_allclose(
        large.astype(float).mean(axis=1), by_hand(extractor, pictures), atol=5e-3
    )
    np.testing.assert_allclose(
        small.astype(float).mean(axis=1), by_hand(extractor, halved(pictures)), atol=5e-3
    )


def test_bags_of_canvases_are_those_of_the_table(
    extractor: Extractor, table: ImageTable, bases: list[Canvas]
) -> None:
    feature_plan = feature_plan_of(TWO, extractor)
    ((_, kept),) = list(feature_plan.descriptors(table, extractor)())
    outputs = list(
        run_feature_plans(bases, feature_plan.canvas, feature_plan.grids.specs, extractor)
    )
    bags = np.concatenate(list(feature_plan.bags_from(outputs)))
    assert bags.dtype == np.float16
    np.testing.assert_allclose(bags.astype(float), kept.astype(float), rtol=2e-3, atol=2e-3)
    assert {spec.poolings for spec in feature_plan.grids.specs} == {(GRID,)}


# --------------------------------------------------------------------------- one pass


def test_recipes_that_differ_in_taps_only_share_a_pass(
    extractor: Extractor, bases: list[Canvas], monkeypatch: pytest.MonkeyPatch
) -> None:
    def spec(tap: str, pooling: str) -> FeatureSpec:
        return extractor.spec("tf_efficientnet_lite0", [tap], [pooling], size=64)

    wanted = [spec("stem", "avg"), spec("stem", "max"), spec("blocks.0", "avg")]
    apart = [next(run_feature_plans(bases[:1], wanted[0], [one], extractor))[one] for one in wanted]
    passes = []
    run = Extractor.run
    monkeypatch.setattr(
        Extractor, "run", lambda self, *args: passes.append(args) or run(self, *args)
    )
    twice = [*wanted, wanted[0]]
    (found,) = run_feature_plans(iter(bases[:1]), wanted[0], twice, extractor)
    assert len(passes) == 1
    for one, alone in zip(wanted, apart, strict=True):
        assert found[one].keys() == alone.keys()
        for block in alone:
            np.testing.assert_allclose(found[one][block], alone[block], atol=1e-5)


def test_no_canvas_gives_no_output(extractor: Extractor) -> None:
    feature_plan = feature_plan_of(TWO, extractor)
    assert list(run_feature_plans([], feature_plan.canvas, feature_plan.specs, extractor)) == []


# --------------------------------------------------------------------------- names


def test_keys_say_what_is_read() -> None:
    assert SCENARIO.key == "multiscale/tf_efficientnet_lite0/blocks.1/s64/svm"
    assert TWO.key == "multiscale/tf_efficientnet_lite0/blocks.1/s32+64/svm"
    mean = TWO.with_pixels(join="mean")
    assert mean.key == "multiscale/tf_efficientnet_lite0/blocks.1/s32+64/mean/svm"
    views = Scenario.from_key("probe/net/t/raw+clahe2-8/xray4/svm")
    assert views.key == "probe/net/t/raw+clahe2-8/xray4/svm"
    encoded = Scenario.from_key("vlad/net/t/k64/hard/svm")
    assert encoded.key == "vlad/net/t/k64/hard/svm"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("k4", VLAD(k=4, seed=7)),
        ("k4/pca8/white6/hard", VLAD(k=4, pca=8, whiten=6, assignment="hard", seed=7)),
        ("k4/white0", VLAD(k=4, whiten=None, seed=7)),
        ("fisher2/pca3", FisherVector(k=2, pca=3, seed=7)),
        ("bilinear64", CompactBilinear(n_components=64, seed=7)),
        ("pyramid1-2", SpatialPyramid(levels=(1, 2))),
    ],
)
def test_parameters_name_an_encoder(words: str, expected: VLAD) -> None:
    found = encoder_of(Scenario.from_key(f"vlad/net/t/{words}/svm", 7))
    assert found is not None
    assert (type(found[1]), found[1].get_params()) == (type(expected), expected.get_params())
    assert encoder_of(Scenario.from_key("probe/net/t/svm")) is None


@pytest.mark.parametrize(
    "words", ["", "/x4", "/k", "/kmany", "/pyramid1-", "/avg1", "/fisher2/hard", "/k4/dream1"]
)
def test_what_names_no_encoder_is_refused(words: str) -> None:
    with pytest.raises(ScenarioError, match=r"names no encoder; give one such as k64"):
        encoder_of(Scenario.from_key(f"vlad/net/t{words}/svm"))


@pytest.mark.parametrize(
    ("scenario", "error", "said"),
    [
        (dataclasses.replace(SCENARIO, tap="layer9"), BackboneError, r"no tap 'layer9'; it has: "),
        (DEEP.with_pixels(sizes=(16,)), BackboneError, r"needs 32 or more"),
        (DEEP.with_pixels(sizes=(64, 16)), BackboneError, r"needs 32 or more"),
        (SCENARIO.with_pixels(sizes=(0,)), BackboneError, r"images of 0 px"),
        (SCENARIO.with_pixels(edits=(("sharpen",),)), ScenarioError, r"no edit 'sharpen'; there "),
        (SCENARIO.with_pixels(views=Views("xray")), ScenarioError, r"'xray' does not name views"),
        (SCENARIO.with_pixels(views=Views("xray", number=1)), ScenarioError, r"'xray1' does not n"),
        (SCENARIO.with_pixels(views=Views("dream", number=4)), ScenarioError, r"dream"),
        (dataclasses.replace(SCENARIO, code=Pooled("median")), ScenarioError, r"median"),
    ],
)
def test_what_does_not_exist_is_named(
    scenario: Scenario, error: type[Exception], said: str, extractor: Extractor
) -> None:
    with pytest.raises(error, match=said):
        feature_plan_of(scenario, extractor)
