"""Every family through the one door: judged, served and kept alike, and nothing leaks."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from threadpoolctl import threadpool_limits

from medgraft.data.augment import View
from medgraft.data.ingest import LoadOptions, load
from medgraft.data.split import Development, make_folds
from medgraft.errors import BackboneError, BundleError, FitError, ScenarioError
from medgraft.explain.cam import has_cam
from medgraft.features.cache import Cache
from medgraft.features.encoders import BaseEncoder
from medgraft.features.extract import Extractor, without
from medgraft.features.feature_plan import feature_plan_of
from medgraft.features.weights import sha256_of
from medgraft.learn import fit as fitting
from medgraft.learn import network
from medgraft.learn.cross_validation import CrossFitted
from medgraft.learn.fit import cross_fitted, cross_fitted_all
from medgraft.scenario import Finetune, Head, encoding_of, views_of
from medgraft.types import Canvas, Folds, Geometry, ImageTable, Scenario

PROBE = Scenario.from_key("multiscale/tf_efficientnet_lite0/blocks.1/s64/svm")
SIZES = PROBE.with_pixels(sizes=(64, 96))
VLAD = dataclasses.replace(PROBE, tap="blocks.2", code=encoding_of("k4"))
VIEWS = PROBE.with_pixels(views=views_of("xray3"))
EQUALISED = PROBE.with_pixels(edits=(("clahe2-8",),))


def encoded(word: str, tap: str = "blocks.2", sizes: tuple[int, ...] = (64,)) -> Scenario:
    return dataclasses.replace(VLAD, tap=tap, code=encoding_of(word)).with_pixels(sizes=sizes)


SCENARIOS = {
    "probe": PROBE,
    "edited": EQUALISED,
    "beside": PROBE.with_pixels(edits=(("raw", "clahe2-8"),)),
    "views": VIEWS,
    "views, knn": dataclasses.replace(VIEWS, classifier=Head("knn")),
    "sizes": SIZES,
    "sizes averaged": SIZES.with_pixels(join="mean"),
    "sizes and edits": SIZES.with_pixels(edits=(("raw", "clahe2-8"),)),
    "vlad": VLAD,
    "vlad, all said": encoded("k4.pca8.white6.hard"),
    "vlad, knn": dataclasses.replace(VLAD, classifier=Head("knn")),
    "vlad, two sizes": VLAD.with_pixels(sizes=(64, 96)),
    "fisher": encoded("fisher2"),
    "bilinear": encoded("bilinear64"),
    "pyramid": encoded("pyramid1-2"),
    "finetune": dataclasses.replace(PROBE, tap="blocks.5", classifier=Finetune((("epochs", "2"),))),
    "finetune, augmented": dataclasses.replace(
        PROBE, tap="blocks.4", classifier=Finetune((("epochs", "1"), ("norm", "frozen")))
    ).with_pixels(views=views_of("xray-strong"), edits=(("clahe2-8",),)),
    "mean": Scenario.joining("mean", (PROBE, EQUALISED)),
    "stack": Scenario.joining("stack", (PROBE, VIEWS, VLAD)),
}


DEEPEST = "finetune, augmented"  # takes as long as all others together
MOST = [pytest.param(one, marks=pytest.mark.slow if one == DEEPEST else ()) for one in SCENARIOS]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ImageTable:
    """Twenty-four noisy images, the bright ones sick, two a patient; one is 1 px high."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for index in range(24):
        sick = index % 4 >= 2
        shape = (1, 20_000) if index == 5 else (72, 100)
        pixels = rng.integers(0, 200, shape) + (40 if sick else 0)
        path = folder / ("sick" if sick else "normal") / f"p{index // 2}_{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return load(folder, LoadOptions(group=r"regex:(p\d+)_"))


@pytest.fixture(scope="module")
def folds(table: ImageTable) -> Folds:
    return make_folds(table, 3)


def extractor_of(folder: Path) -> Extractor:
    """By torch, which has no graphs to convert; as another process has it."""
    return Extractor(Cache(folder), engine="torch", workers=2)


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> Extractor:
    return extractor_of(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def crossed(table: ImageTable, folds: Folds, extractor: Extractor) -> dict[str, CrossFitted]:
    """Every scenario, judged as a study judges them."""
    all_of_them = list(SCENARIOS.values())
    by_key = {
        one.predictions.scenario: one
        for one in cross_fitted_all(all_of_them, Development(table, folds), extractor)
    }
    assert len(by_key) == len(SCENARIOS)
    return {name: by_key[scenario.key] for name, scenario in SCENARIOS.items()}


def canvases_of(one: CrossFitted, table: ImageTable, extractor: Extractor) -> list[Canvas]:
    made = extractor.canvases(table, one.fitted.spec)
    return [canvas for canvas in made if isinstance(canvas, Canvas)]


# --------------------------------------------------------------------------- what all families do


@pytest.mark.parametrize("name", MOST)
def test_served_images_are_scored_like_the_table(
    name: str, crossed: dict[str, CrossFitted], table: ImageTable, extractor: Extractor
) -> None:
    one = crossed[name]
    canvases = canvases_of(one, table, extractor)[:8]  # the one of 1 px among them
    before = [canvas.pixels.copy() for canvas in canvases]
    predictions, skipped = one.fitted.predict(table)
    assert (predictions.ids.tolist(), skipped) == (table.ids.tolist(), ())
    scores = one.fitted.scores(iter(canvases))
    tolerance = 1e-4 * max(1.0, float(np.ptp(scores)))
    np.testing.assert_allclose(scores, predictions.scores[:8], rtol=0, atol=tolerance)
    np.testing.assert_allclose(
        one.fitted.probabilities(canvases), predictions.y_prob[:8], rtol=0, atol=1e-4
    )
    alone = np.concatenate([one.fitted.scores([canvas]) for canvas in canvases[:2]])
    np.testing.assert_allclose(alone, scores[:2], rtol=0, atol=tolerance)
    assert all(map(np.array_equal, before, [canvas.pixels for canvas in canvases]))
    assert one.fitted.scores([]).shape == one.fitted.probabilities([]).shape == (0, 2)


@pytest.mark.parametrize("name", [name for name in SCENARIOS if "finetune" not in name])
def test_out_of_fold_the_bright_are_told_apart(
    name: str, crossed: dict[str, CrossFitted], table: ImageTable, folds: Folds
) -> None:
    oof = crossed[name].predictions
    assert oof.ids.tolist() == table.ids.tolist()
    np.testing.assert_array_equal(oof.fold, folds.assignment)
    np.testing.assert_allclose(oof.y_prob.sum(axis=1), 1)
    assert np.isfinite(oof.scores).all()
    right = (oof.y_prob.argmax(axis=1) == table.labels).mean()
    assert right >= (0.6 if "all said" in name else 0.75)  # six numbers of hard shares tell less
    assert crossed[name].fitted.operating is not None


@pytest.mark.parametrize("name", MOST)
def test_a_bundle_gives_the_same_scores_on_another_machine(
    name: str, crossed: dict[str, CrossFitted], table: ImageTable, extractor: Extractor,
    tmp_path: Path,
) -> None:  # fmt: skip
    one = crossed[name]
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    one.fitted.save(bundle)
    loaded = fitting.load(bundle, extractor_of(tmp_path / "cache"))
    for field in ("scenario", "classes", "positive", "operating"):
        assert getattr(loaded, field) == getattr(one.fitted, field)
    canvases = canvases_of(one, table, extractor)[:5]
    expected = one.fitted.scores(canvases)
    np.testing.assert_allclose(loaded.scores(canvases), expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(
        loaded.probabilities(canvases), one.fitted.probabilities(canvases), atol=1e-6
    )
    weights = list(bundle.rglob("backbone.safetensors"))
    assert bundle / "backbone.safetensors" in weights
    assert len({sha256_of(path) for path in weights}) == len(weights)  # each network once


def test_nothing_is_computed_twice(
    crossed: dict[str, CrossFitted], table: ImageTable, folds: Folds, extractor: Extractor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def never(*_: object, **__: object) -> None:
        raise AssertionError("computed twice")

    for owner, name in (
        (fitting, "nested_scores"), (fitting, "cross_combine"), (Extractor, "run"),
        (BaseEncoder, "fit"), (BaseEncoder, "transform"),
    ):  # fmt: skip
        monkeypatch.setattr(owner, name, never)
    other = extractor_of(extractor.cache.folder)
    for name, scenario in SCENARIOS.items():
        again, first = cross_fitted(scenario, Development(table, folds), other), crossed[name]
        for field in ("scores", "y_prob", "fold"):
            np.testing.assert_array_equal(
                getattr(again.predictions, field), getattr(first.predictions, field)
            )
        assert (again.fitted.operating, again.seconds) == (first.fitted.operating, first.seconds)
    with pytest.raises(AssertionError, match="computed twice"):
        cross_fitted(dataclasses.replace(VLAD, seed=1), Development(table, folds), other)


def test_a_fresh_cache_gives_the_same_bits(
    crossed: dict[str, CrossFitted], table: ImageTable, folds: Folds, tmp_path: Path
) -> None:
    for name in ("vlad", "views"):
        again = cross_fitted(SCENARIOS[name], Development(table, folds), extractor_of(tmp_path))
        np.testing.assert_array_equal(again.predictions.scores, crossed[name].predictions.scores)


def test_descriptors_that_are_too_many_to_keep_give_the_same_bits(
    crossed: dict[str, CrossFitted], table: ImageTable, folds: Folds, tmp_path: Path
) -> None:
    small = Extractor(Cache(tmp_path, limit=1000), engine="torch", workers=2)
    for name in ("vlad", "vlad, two sizes"):
        again = cross_fitted(SCENARIOS[name], Development(table, folds), small)
        np.testing.assert_array_equal(again.predictions.scores, crossed[name].predictions.scores)
        predicted, _ = again.fitted.predict(table)
        np.testing.assert_array_equal(
            predicted.scores, crossed[name].fitted.predict(table)[0].scores
        )
    assert not list(tmp_path.rglob("*@grid.npy"))


@pytest.mark.parametrize("name", ["sizes", "views", "vlad", "vlad, two sizes", "mean", "stack"])
def test_a_bad_image_is_named_once_and_the_rest_predicted(
    name: str, crossed: dict[str, CrossFitted], table: ImageTable, tmp_path: Path
) -> None:
    (tmp_path / "bad.png").write_text("no image")
    bad = dataclasses.replace(table.sources[1], path=str(tmp_path / "bad.png"))
    hashes = table.content_hashes.copy()
    hashes[1] = "f" * len(hashes[1])
    harmed = dataclasses.replace(
        table, sources=(table.sources[0], bad, *table.sources[2:]), content_hashes=hashes
    )
    good, _ = crossed[name].fitted.predict(table)
    predictions, skipped = crossed[name].fitted.predict(harmed)
    assert [row.source for row in skipped] == [table.ids[1]]
    assert predictions.ids.tolist() == without(table, skipped).ids.tolist()
    np.testing.assert_allclose(predictions.scores, np.delete(good.scores, 1, axis=0), atol=1e-5)
    nothing, skipped = crossed[name].fitted.predict(harmed.select(np.array([1])))
    assert (nothing.scores.shape, nothing.y_prob.shape, len(skipped)) == ((0, 2), (0, 2), 1)


# --------------------------------------------------------------------------- nothing leaks


class Spied:
    """Which images every encoder learned from, told by their descriptors."""

    def __init__(self, table: ImageTable, extractor: Extractor, scenario: Scenario) -> None:
        stream = feature_plan_of(scenario, extractor).descriptors(table, extractor)
        self.image = {
            bag.tobytes(): index
            for index, bag in enumerate(np.concatenate([bags for _, bags in stream()]))
        }
        assert len(self.image) == len(table)
        self.fits: list[set[int]] = []

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fit = BaseEncoder.fit

        def spied(encoder: BaseEncoder, X: np.ndarray, y: object = None) -> BaseEncoder:  # type: ignore[type-arg]
            self.fits.append({self.image[bag.tobytes()] for bag in X})
            return fit(encoder, X, y)

        monkeypatch.setattr(BaseEncoder, "fit", spied)


@pytest.mark.parametrize("name", ["vlad", "fisher", "vlad, two sizes"])
def test_an_encoder_never_sees_the_fold_that_it_judges(
    name: str, table: ImageTable, folds: Folds, extractor: Extractor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    scenario = dataclasses.replace(SCENARIOS[name], seed=9)
    spied = Spied(table, extractor, scenario)
    spied.patch(monkeypatch)
    cross_fitted(scenario, Development(table, folds), extractor)
    inside = [set(np.flatnonzero(folds.assignment == k).tolist()) for k in range(folds.n_folds)]
    everything = set(range(len(table)))
    assert spied.fits == [everything - fold for fold in inside] + [everything]


def test_out_of_fold_scores_come_from_the_folds_own_encoder(
    crossed: dict[str, CrossFitted], table: ImageTable, folds: Folds, extractor: Extractor
) -> None:
    """Fold k done by hand, kNN with all neighbours in reach: what it gives is in the OOF scores."""
    from medgraft.features.codebooks import ENCODERS
    from medgraft.learn.estimators import HEADS
    from medgraft.learn.heads import nested_scores

    stream = feature_plan_of(VLAD, extractor).descriptors(table, extractor)
    bags = np.concatenate([bags for _, bags in stream()])
    codes = {}
    with threadpool_limits(1):  # as in a study
        for k in [*range(folds.n_folds), None]:
            outside = folds.assignment != (-1 if k is None else k)
            codes[k] = ENCODERS["vlad"](k=4, seed=0).fit(bags[outside]).transform(bags)
        nested = nested_scores(
            "svm", codes.__getitem__, table.labels, folds.assignment, groups=table.groups
        )
    np.testing.assert_allclose(crossed["vlad"].predictions.scores, nested.scores, atol=1e-6)
    for k, strength in enumerate(nested.chosen):
        outside = folds.assignment != k
        of_all = strength * len(table) / outside.sum()  # a strength is that of all images
        head = HEADS["svm"](of_all).fit(codes[k][outside], table.labels[outside])
        np.testing.assert_allclose(
            head.decision_function(codes[k][~outside]), nested.scores[~outside], atol=1e-2
        )


def test_a_codebook_learns_from_a_bounded_seeded_draw(
    table: ImageTable, folds: Folds, extractor: Extractor, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(fitting, "LEARN_FROM", 7)
    spied = Spied(table, extractor, VLAD)
    spied.patch(monkeypatch)
    for folder, seed in (("a", 21), ("b", 21), ("c", 22)):
        cache = tmp_path / folder
        scenario = dataclasses.replace(VLAD, seed=seed)
        cross_fitted(scenario, Development(table, folds), extractor_of(cache))
    assert {len(seen) for seen in spied.fits} == {7}
    first, second, third = spied.fits[:4], spied.fits[4:8], spied.fits[8:]
    assert first == second != third
    for k in range(3):
        assert not first[k] & set(np.flatnonzero(folds.assignment == k).tolist())


def test_the_views_of_an_image_share_its_fold_and_are_averaged_when_judged(
    table: ImageTable, folds: Folds, extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[object, ...]] = []
    nested_scores = fitting.nested_scores

    def spied(head, X, y, fold, **more):  # type: ignore[no-untyped-def]
        found = nested_scores(head, X, y, fold, **more)
        seen.append((X, y, fold, more["groups"], more["sample_weight"], found.scores))
        return found

    monkeypatch.setattr(fitting, "nested_scores", spied)
    scenario = dataclasses.replace(VIEWS, seed=3)
    crossed = cross_fitted(scenario, Development(table, folds), extractor)
    ((X, y, fold, groups, weight, scores),) = seen
    of_views = [  # (3, n, d), each view read on its own
        extractor.codes(table, extractor.spec(PROBE.backbone, ["blocks.1"], size=64, edits=edits))[
            0
        ].matrix()
        for edits in ([], [View("xray", 1, 3)], [View("xray", 2, 3)])
    ]
    image = {codes.tobytes(): i for view in of_views for i, codes in enumerate(view)}
    assert len(image) == 3 * len(table)
    rows = np.array([image[row.tobytes()] for row in X])  # type: ignore[attr-defined]
    assert np.bincount(rows).tolist() == [3] * len(table)
    np.testing.assert_array_equal(fold, folds.assignment[rows])
    np.testing.assert_array_equal(y, table.labels[rows])
    np.testing.assert_array_equal(groups, table.groups[rows])
    np.testing.assert_allclose(weight, 1 / 3)
    for index in range(len(table)):
        np.testing.assert_allclose(
            crossed.predictions.scores[index],
            scores[rows == index].mean(axis=0),  # type: ignore[index]
            atol=1e-9,
        )
    by_hand = np.mean([crossed.fitted.head.decision_function(v) for v in of_views], axis=0)  # type: ignore[attr-defined]
    np.testing.assert_allclose(crossed.fitted.predict(table)[0].scores, by_hand, atol=1e-9)


def test_weights_reach_every_view_and_every_member(
    crossed: dict[str, CrossFitted], table: ImageTable, folds: Folds, extractor: Extractor
) -> None:
    ones = np.ones(len(table))
    for name in ("views", "vlad", "mean"):
        same = cross_fitted(SCENARIOS[name], Development(table, folds, ones), extractor)
        np.testing.assert_allclose(
            same.predictions.scores, crossed[name].predictions.scores, atol=1e-9
        )
        uneven = np.where(np.arange(len(table)) % 4 == 0, 9.0, 1.0)
        other = cross_fitted(SCENARIOS[name], Development(table, folds, uneven), extractor)
        assert not np.allclose(other.predictions.scores, crossed[name].predictions.scores)


# --------------------------------------------------------------------------- graphs


def test_a_graph_is_given_only_where_gradients_reach_the_canvas(
    crossed: dict[str, CrossFitted],
) -> None:
    with_graph = {n for n, one in crossed.items() if one.fitted.torch_graph() is not None}
    assert with_graph == {"probe", "edited"}
    with_cam = {n for n, one in crossed.items() if has_cam(one.fitted)}
    assert with_cam == with_graph | {"finetune", "finetune, augmented"}  # a graph a network


# --------------------------------------------------------------------------- bundles


@pytest.fixture(scope="module")
def bundles(
    crossed: dict[str, CrossFitted], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Of VLAD with two codebooks of one shape."""
    found = {}
    for name in ("vlad", "stack"):
        found[name] = tmp_path_factory.mktemp(name)
        crossed[name].fitted.save(found[name])
    return found


def test_a_codebook_of_another_bundle_is_refused(
    bundles: dict[str, Path], crossed: dict[str, CrossFitted], extractor: Extractor, tmp_path: Path
) -> None:
    copied = Path(shutil.copytree(bundles["vlad"], tmp_path / "bundle"))
    path = copied / "encoder.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"encoder\.safetensors is missing or was changed"):
        fitting.load(copied, extractor_of(extractor.cache.folder))
    path.unlink()
    with pytest.raises(BundleError, match=r"encoder\.safetensors is missing"):
        fitting.load(copied, extractor_of(extractor.cache.folder))


def test_an_encoder_that_is_not_named_is_refused(
    bundles: dict[str, Path], extractor: Extractor, tmp_path: Path
) -> None:
    copied = Path(shutil.copytree(bundles["vlad"], tmp_path / "bundle"))
    content = json.loads((copied / "bundle.json").read_text())
    content["encoder"]["name"] = "dream"
    (copied / "bundle.json").write_text(json.dumps(content))
    with pytest.raises((BundleError, ScenarioError), match="dream"):
        fitting.load(copied, extractor_of(extractor.cache.folder))


def test_a_codebook_belongs_to_the_weights_that_gave_its_descriptors(
    crossed: dict[str, CrossFitted], table: ImageTable, folds: Folds, extractor: Extractor
) -> None:
    """The same network with other weights: nothing that was kept is taken for its own."""
    other = extractor_of(extractor.cache.folder)
    backbone = other.backbone(PROBE.backbone)
    card = dataclasses.replace(backbone.card, sha256="0" * 64, mean=(0.4, 0.4, 0.4))
    other.adopt(dataclasses.replace(backbone, card=card))
    assert other.backbone(PROBE.backbone).key != backbone.key
    again = cross_fitted(VLAD, Development(table, folds), other)
    assert not np.allclose(again.predictions.scores, crossed["vlad"].predictions.scores)
    mine, theirs = crossed["vlad"].fitted.encoder, again.fitted.encoder  # type: ignore[attr-defined]
    assert not np.allclose(mine.centres_, theirs.centres_)


@pytest.mark.parametrize("name", ["vlad", "sizes", "stack"])
def test_a_classifier_whose_weights_were_replaced_refuses_to_score(
    name: str, crossed: dict[str, CrossFitted], table: ImageTable, extractor: Extractor
) -> None:
    other = extractor_of(extractor.cache.folder)
    backbone = other.backbone(PROBE.backbone)
    card = dataclasses.replace(backbone.card, sha256="0" * 64)
    other.adopt(dataclasses.replace(backbone, card=card))
    fitted = dataclasses.replace(crossed[name].fitted, extractor=other)  # type: ignore[type-var]
    with pytest.raises(BackboneError, match=r"other weights .* than these codes"):
        fitted.scores(canvases_of(crossed[name], table, extractor)[:1])


# --------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("scenario", "error", "said"),
    [
        (
            encoded("k100", tap="blocks.4", sizes=(32,)),
            FitError,
            r"16 images of 4 positions are 64 descriptors, fewer than k = 100",
        ),
        (encoded("k4", tap="blocks.5", sizes=(16,)), BackboneError, r"needs 32 or more"),
        (encoded("k4", tap="layer9"), BackboneError, r"no tap 'layer9'; it has: stem, "),
        (encoded("k4", tap="stages"), ScenarioError, r"stages"),
        (encoded("k0"), ScenarioError, r"k"),
        (encoded("pyramid1-2", sizes=(64, 96)), ScenarioError, r"pyramid"),
        (
            dataclasses.replace(SIZES, tap="blocks.5").with_pixels(sizes=(64, 16)),
            BackboneError,
            r"32 or more",
        ),
        (VIEWS.with_pixels(views=views_of("xray1")), ScenarioError, r"does not name views"),
        (
            Scenario.joining("dream", (PROBE, EQUALISED)),
            ScenarioError,
            r"no way 'dream' to join .* there are: mean, stack",
        ),
        (
            Scenario.joining("mean", (PROBE,)),
            ScenarioError,
            r"joins 1 members",
        ),
        (
            Scenario.joining("mean", (PROBE, SIZES)),
            ScenarioError,
            r"all of one size, resize rule",
        ),
        (
            Scenario.joining("mean", (PROBE, SCENARIOS["mean"])),
            ScenarioError,
            r"two or more that join none",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_reason(
    scenario: Scenario, error: type[Exception], said: str, table: ImageTable, folds: Folds,
    extractor: Extractor,
) -> None:  # fmt: skip
    with pytest.raises(error, match=said):
        cross_fitted(scenario, Development(table, folds), extractor)


@pytest.mark.slow
def test_a_constant_image_is_scored_by_every_family(
    crossed: dict[str, CrossFitted],
) -> None:
    for name, one in crossed.items():
        size = one.fitted.spec.size
        for level in (0, 128, 255):
            pixels = np.full((size, size), level, np.uint8)
            canvas = Canvas("constant", pixels, Geometry.identity(size, size))
            assert np.isfinite(one.fitted.probabilities([canvas])).all(), (name, level)


def test_a_stream_is_scored_in_batches_of_bounded_size(
    crossed: dict[str, CrossFitted], table: ImageTable, extractor: Extractor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """What a batch holds is let go: the stream is not drawn to its end before the first scores."""
    one = crossed["stack"]
    canvases = canvases_of(one, table, extractor)
    whole = one.fitted.scores(canvases)
    drawn, largest = [], []

    def stream() -> Iterator[Canvas]:
        for canvas in canvases:
            drawn.append(canvas)
            yield canvas

    scores_from = type(one.fitted).scores_from

    def spied(self, outputs):  # type: ignore[no-untyped-def]
        largest.append((len(outputs), len(drawn)))
        return scores_from(self, outputs)

    monkeypatch.setattr(network, "BATCH", 4)
    monkeypatch.setattr(type(one.fitted), "scores_from", spied)
    np.testing.assert_allclose(one.fitted.scores(stream()), whole, atol=1e-5)
    assert [size for size, _ in largest] == [4] * 6
