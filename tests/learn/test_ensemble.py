"""Ensembles: the arithmetic by hand, one canvas for all members, and bundles of bundles."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medgraft.data.ingest import load as load_table
from medgraft.data.split import Development, make_folds
from medgraft.errors import BundleError, ScenarioError
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.learn.cross_validation import CrossFitted
from medgraft.learn.ensemble import FittedEnsemble, share
from medgraft.learn.ensemble_cv import cross_combine
from medgraft.learn.fit import cross_fitted, load
from medgraft.learn.out_of_fold import OutOfFold, Probabilities, calibrated
from medgraft.learn.stacking import Stack, fit_stack, log_mean, stacked
from medgraft.scenario import Head
from medgraft.types import Canvas, ImageTable, Scenario

STEM = Scenario.from_key("multiscale/tf_efficientnet_lite0/stem/s32/svm")
DEEPER = dataclasses.replace(STEM, tap="blocks.0", classifier=Head("logistic"))
STACK = Scenario.joining("stack", (STEM, DEEPER))
MEAN = Scenario.joining("mean", (STEM, DEEPER))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ImageTable:
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for index in range(18):
        pixels = rng.integers(0, 200, (32, 32)) + 30 * (index % 2)
        path = folder / ("normal", "sick")[index % 2] / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return load_table(folder)


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> Extractor:
    return Extractor(Cache(tmp_path_factory.mktemp("cache")), engine="torch", workers=2)


@pytest.fixture(scope="module")
def crossed(table: ImageTable, extractor: Extractor) -> dict[str, CrossFitted]:
    folds = make_folds(table, 3)
    everyone = {"stem": STEM, "deeper": DEEPER, "stack": STACK, "mean": MEAN}
    return {
        name: cross_fitted(each, Development(table, folds), extractor)
        for name, each in everyone.items()
    }


@pytest.fixture(scope="module")
def canvases(
    table: ImageTable, extractor: Extractor, crossed: dict[str, CrossFitted]
) -> list[Canvas]:
    made = extractor.canvases(table, crossed["mean"].fitted.spec)
    return [canvas for canvas in made if isinstance(canvas, Canvas)]


# --------------------------------------------------------------------------- by hand


def test_the_mean_is_of_probabilities_and_not_of_their_logarithms() -> None:
    a, b = np.array([[0.9, 0.1], [1.0, 0.0]]), np.array([[0.5, 0.5], [0.0, 1.0]])
    found = np.exp(log_mean([a, b]))
    np.testing.assert_allclose(found, [[0.7, 0.3], [0.5, 0.5]])
    sure = log_mean([np.array([[1.0, 0.0]])] * 2)
    assert np.isfinite(sure).all()
    assert sure[0, 1] == pytest.approx(np.log(1e-6))


def test_a_stack_multiplies_powers_of_probabilities() -> None:
    """With scales of 1: p ∝ p_a^w_a p_b^w_b."""
    a, b = np.array([[0.8, 0.2]]), np.array([[0.3, 0.7]])
    found = np.exp(stacked([a, b], Stack((0.25, 0.75), (1.0, 1.0))))
    by_hand = np.array([0.8**0.25 * 0.3**0.75, 0.2**0.25 * 0.7**0.75])
    np.testing.assert_allclose(found[0] / found.sum(), by_hand / by_hand.sum())


def member(noise: float, y: np.ndarray, fold: np.ndarray, seed: int) -> Probabilities:
    """A member that sees the truth through noise, and says something else of an image each time."""
    rng = np.random.default_rng(seed)

    def scores() -> np.ndarray:
        f = (2 * y - 1) + noise * rng.standard_normal(len(y))
        return np.column_stack([-f, f]) / 2

    inner = np.stack([np.where((fold == k)[:, None], np.nan, scores()) for k in range(3)])
    return calibrated(OutOfFold(scores(), inner, scores(), scores()), y, fold)


def test_a_stack_is_fitted_on_what_saw_neither_the_fold_nor_the_image() -> None:
    y, fold = np.arange(60) % 2, np.arange(60) // 2 % 3
    members = [member(noise, y, fold, seed) for seed, noise in enumerate((0.4, 1.5))]
    found, stack = cross_combine("stack", members, y, fold)
    assert stack == fit_stack([np.log(m.final) for m in members], y)
    for k in range(3):  # what calibrates the stack in use was weighed without the image's fold
        here = fold == k
        own = fit_stack([np.log(m.final[~here]) for m in members], y[~here])
        expected = stacked([m.final[here] for m in members], own)
        np.testing.assert_allclose(found.final[here], expected)
    assert found.inner is not None
    for k in range(3):
        outside = fold != k
        seen = [m.inner[k][outside] for m in members if m.inner is not None]
        without = fit_stack([np.log(p) for p in seen], y[outside])
        np.testing.assert_allclose(found.inner[k][outside], stacked(seen, without), atol=1e-9)
        assert np.isnan(found.inner[k][~outside]).all()
        for ours, field in ((found.scores, "unchanged"), (found.changed, "changed")):
            theirs = stacked([getattr(m, field)[~outside] for m in members], without)
            assert ours is not None
            np.testing.assert_allclose(ours[~outside], theirs, atol=1e-9)
    # What a fold says of its own images moves no weight that judges them.
    lied = y.copy()
    lied[fold == 0] = 1 - lied[fold == 0]
    other, _ = cross_combine("stack", members, lied, fold)
    np.testing.assert_array_equal(other.scores[fold == 0], found.scores[fold == 0])
    assert not np.allclose(other.scores[fold == 1], found.scores[fold == 1])
    mean, nothing = cross_combine("mean", members, y, fold)
    assert nothing is None
    expected = (members[0].unchanged + members[1].unchanged) / 2
    np.testing.assert_allclose(np.exp(mean.scores), expected)


# --------------------------------------------------------------------------- fitted


def test_out_of_fold_and_served_members_are_joined_by_their_calibrated_probabilities(
    crossed: dict[str, CrossFitted], table: ImageTable, canvases: list[Canvas]
) -> None:
    members = [crossed[name] for name in ("stem", "deeper")]
    oof = [member.predictions.y_prob for member in members]
    np.testing.assert_allclose(
        np.exp(crossed["mean"].predictions.scores), (oof[0] + oof[1]) / 2, atol=1e-6
    )
    served = [member.fitted.probabilities(canvases) for member in members]
    np.testing.assert_allclose(
        np.exp(crossed["mean"].fitted.scores(canvases)), (served[0] + served[1]) / 2, atol=1e-5
    )
    stack = crossed["stack"].fitted
    assert isinstance(stack, FittedEnsemble)
    assert stack.stack is not None
    np.testing.assert_allclose(stack.scores(canvases), stacked(served, stack.stack), atol=1e-4)
    assert sum(stack.weights) == pytest.approx(1)
    assert crossed["mean"].fitted.weights == (0.5, 0.5)  # type: ignore[attr-defined]


def test_members_of_one_recipe_share_a_pass(
    crossed: dict[str, CrossFitted], canvases: list[Canvas], monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = []
    run = Extractor.run
    monkeypatch.setattr(
        Extractor, "run", lambda self, *args: passes.append(args) or run(self, *args)
    )
    crossed["stack"].fitted.scores(canvases)
    assert len(passes) == 1
    assert crossed["stack"].fitted.torch_graph() is None


def test_a_member_that_changes_changes_the_ensemble(
    crossed: dict[str, CrossFitted], table: ImageTable, extractor: Extractor
) -> None:
    """Its members' numbers are in the key of what is kept of it."""
    other = Scenario.joining("mean", (STEM, dataclasses.replace(DEEPER, classifier=Head("knn"))))
    assert other.key == MEAN.key
    again = cross_fitted(other, Development(table, make_folds(table, 3)), extractor)
    assert not np.allclose(again.predictions.scores, crossed["mean"].predictions.scores)


def test_all_that_a_member_said_is_in_the_key() -> None:
    y, fold = np.arange(60) % 2, np.arange(60) // 2 % 3
    one = member(1.0, y, fold, 0)
    assert one.fingerprint == member(1.0, y, fold, 0).fingerprint
    for part in ("unchanged", "inner", "final", "changed"):
        array = getattr(one, part).copy()
        array.flat[-1] = 0.25
        assert dataclasses.replace(one, **{part: array}).fingerprint != one.fingerprint, part
    assert dataclasses.replace(one, changed=None).fingerprint != one.fingerprint


# --------------------------------------------------------------------------- bundles


@pytest.fixture(scope="module")
def bundle(crossed: dict[str, CrossFitted], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    crossed["stack"].fitted.save(folder)
    return folder


def test_a_shared_backbone_is_kept_once(bundle: Path) -> None:
    names = sorted(str(path.relative_to(bundle)) for path in bundle.rglob("*") if path.is_file())
    assert names == [
        "backbone.safetensors", "bundle.json", "member0/bundle.json", "member0/head.safetensors",
        "member1/bundle.json", "member1/head.safetensors",
    ]  # fmt: skip


def test_files_that_differ_are_both_kept(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / name).write_bytes(content)
        share(tmp_path / name, shared)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "shared"]
    assert ((tmp_path / "c").read_bytes(), shared.read_bytes()) == (b"2", b"1")


def test_a_member_with_weights_of_its_own_keeps_them(
    bundle: Path, crossed: dict[str, CrossFitted], canvases: list[Canvas], tmp_path: Path
) -> None:
    """A bundle whose members each hold the weights is read like one that shares them."""
    copied = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    for name in ("member0", "member1"):
        shutil.copyfile(copied / "backbone.safetensors", copied / name / "backbone.safetensors")
    (copied / "backbone.safetensors").unlink()
    loaded = load(copied, Extractor(Cache(tmp_path / "cache"), engine="torch"))
    np.testing.assert_allclose(
        loaded.scores(canvases), crossed["stack"].fitted.scores(canvases), atol=1e-5
    )


def _flip(name: str) -> Callable[[Path], None]:
    def flip(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[-1] ^= 1
        (folder / name).write_bytes(content)

    return flip


def _rewrite(name: str, **changes: object) -> Callable[[Path], None]:
    def rewrite(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return rewrite


def _swap(folder: Path) -> None:
    """The first member's weight would go to the second."""
    (folder / "member0").rename(folder / "other")
    (folder / "member1").rename(folder / "member0")
    (folder / "other").rename(folder / "member1")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (_flip("backbone.safetensors"), "was changed"),
        (_flip("member1/head.safetensors"), "was changed"),
        (lambda folder: (folder / "backbone.safetensors").unlink(), "is missing"),
        (lambda folder: (folder / "member0" / "head.safetensors").unlink(), "is missing"),
        (lambda folder: shutil.rmtree(folder / "member1"), "no model in"),
        (lambda folder: (folder / "member1" / "bundle.json").write_text("{"), "as JSON"),
        (_rewrite("bundle.json", format=1), "format 1"),
        (_rewrite("member0/bundle.json", format=99), "format 99"),
        (_rewrite("member0/bundle.json", family="dream"), "'dream'"),
        (_rewrite("bundle.json", n_members=1), "garbles"),
        (_rewrite("bundle.json", n_members=3), "no model in"),
        (_rewrite("bundle.json", n_members="two"), "garbles"),
        (_rewrite("bundle.json", stack={"weights": [1.0]}), "garbles"),
        (_swap, "garbles"),
    ],
)
def test_what_is_no_ensemble_is_refused(
    harm: Callable[[Path], object], said: str, bundle: Path, extractor: Extractor, tmp_path: Path
) -> None:
    copied = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    harm(copied)
    with pytest.raises(BundleError, match=said):
        load(copied, Extractor(extractor.cache, engine="torch"))


def test_a_member_that_is_an_ensemble_is_refused(
    crossed: dict[str, CrossFitted], table: ImageTable, extractor: Extractor
) -> None:
    nested = Scenario.joining("mean", (STEM, MEAN))
    with pytest.raises(ScenarioError, match=r"two or more that join none"):
        cross_fitted(nested, Development(table, make_folds(table, 3)), extractor)
