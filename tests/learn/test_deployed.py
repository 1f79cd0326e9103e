"""What a trained scenario deploys: the mean of its folds' networks, or one trained once more."""

from __future__ import annotations

import dataclasses
import errno
import importlib.metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medgraft.data.ingest import load as load_table
from medgraft.data.phantom import write_phantoms
from medgraft.data.split import Development, make_folds
from medgraft.errors import ScenarioError
from medgraft.evaluate.calibration import calibrator_towards, fit_calibrator
from medgraft.explain.attribute import attribute
from medgraft.explain.cam import block_taps, grad_cam, signed_maps
from medgraft.features import engine
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.learn import finetune_setup
from medgraft.learn.cross_validation import CrossFitted
from medgraft.learn.ensemble import FittedEnsemble
from medgraft.learn.finetune import Training
from medgraft.learn.finetune_setup import FinetuneSetup, Trained, TrainingTask
from medgraft.learn.fit import cross_fitted, load, unseen_models
from medgraft.learn.trained import FittedTrained
from medgraft.scenario import Finetune
from medgraft.types import Canvas, Folds, ImageTable, Scenario

KEY = "finetune/tf_efficientnet_lite0/blocks.6/s64/epochs1/steps0/rate0.002/smoothing0"
TUNED = Scenario.from_key(f"{KEY}/logistic")
TWO = Scenario.from_key(f"{KEY}/networks2/logistic")
ONCE = Scenario.from_key(f"{KEY}/deployonce/logistic")
DISTILLED = Scenario.from_key(f"{KEY}/deploydistilled/logistic")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ImageTable:
    folder = tmp_path_factory.mktemp("images")
    write_phantoms(folder, n_patients=16)
    return load_table(folder)


@pytest.fixture(scope="module")
def folds(table: ImageTable) -> Folds:
    return make_folds(table, 3)


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> Extractor:
    return Extractor(Cache(tmp_path_factory.mktemp("cache")), engine="torch", workers=2)


@pytest.fixture(scope="module")
def crossed(table: ImageTable, folds: Folds, extractor: Extractor) -> CrossFitted:
    return cross_fitted(TUNED, Development(table, folds), extractor)


@pytest.fixture(scope="module")
def canvases(table: ImageTable, extractor: Extractor, crossed: CrossFitted) -> list[Canvas]:
    made = extractor.canvases(table.select(np.arange(8)), crossed.fitted.spec)
    return [canvas for canvas in made if isinstance(canvas, Canvas)]


def test_a_checkpoint_that_cannot_be_taken_away_ends_no_training(
    crossed: CrossFitted, table: ImageTable, folds: Folds, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    refused = []

    def broken(was: Any, path: Path, *how: object, **more: Any) -> Any:
        if path.parent.name == "checkpoints" and not path.name.startswith("."):
            refused.append(path)
            raise OSError(errno.EIO, "Input/output error", str(path))
        return was(path, *how, **more)

    rename, unlink = Path.rename, Path.unlink
    monkeypatch.setattr(Path, "rename", lambda *how, **more: broken(rename, *how, **more))
    monkeypatch.setattr(Path, "unlink", lambda *how, **more: broken(unlink, *how, **more))
    extractor = Extractor(Cache(tmp_path), engine="torch", workers=2)
    again = cross_fitted(TUNED, Development(table, folds), extractor)
    assert len(refused) >= 3  # a fold each
    np.testing.assert_array_equal(again.predictions.scores, crossed.predictions.scores)


def test_it_is_the_mean_of_the_networks_that_judged(
    crossed: CrossFitted, canvases: list[Canvas], table: ImageTable, folds: Folds,
    extractor: Extractor,
) -> None:  # fmt: skip
    networks = [fitted for fitted, _ in unseen_models(TUNED, Development(table, folds), extractor)]
    scores = [network.scores(canvases) for network in networks]
    assert not np.allclose(scores[0], scores[1], atol=1e-3)
    deployed = crossed.fitted
    np.testing.assert_allclose(deployed.scores(canvases), np.mean(scores, axis=0), atol=1e-5)
    few = table.select(np.arange(8))
    said = deployed.predict(few)[0]
    np.testing.assert_allclose(said.scores, np.mean(scores, axis=0), atol=1e-5)
    np.testing.assert_allclose(said.y_prob, deployed.probabilities(canvases), atol=1e-5)
    assert crossed.training is not None
    assert list(crossed.training.histories) == ["fold 1", "fold 2", "fold 3"]


def test_once_trains_one_more_network_and_none_of_the_folds_again(
    crossed: CrossFitted, table: ImageTable, folds: Folds, extractor: Extractor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    begun = []
    train = Training.epochs

    def counted(self: Training, data: object, *args: object, **kwargs: object) -> object:
        begun.append(len(data.rows))  # type: ignore[attr-defined]
        return train(self, data, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Training, "epochs", counted)
    once = cross_fitted(ONCE, Development(table, folds), extractor)
    assert begun == [len(table)]
    assert isinstance(once.fitted, FittedTrained)
    assert once.training is not None
    assert list(once.training.histories)[-1] == "all images"
    np.testing.assert_array_equal(once.predictions.scores, crossed.predictions.scores)


def test_where_fewer_epochs_are_trained_the_rate_falls_over_them(
    table: ImageTable, extractor: Extractor
) -> None:
    """A network that stops while its rate is high answers worse than any that ended."""
    setup = FinetuneSetup.of(
        Scenario.from_key(f"{KEY.replace('epochs1', 'epochs9')}/probeFalse/logistic"),
        table,
        extractor,
    )
    rows = np.arange(len(table))
    task = TrainingTask("blocks.6", setup.inputs("blocks.6"), rows, rows[:0], "Training", 2)
    steps = setup.trained(task).history[1:]
    assert len(steps) == 2
    assert steps[-1].rate < 0.5 * setup.recipe.rate


def test_a_distilled_network_learns_what_those_said_that_had_not_seen_an_image(
    crossed: CrossFitted, table: ImageTable, folds: Folds, extractor: Extractor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Half by the networks themselves, asked again, and half the label; asked and trained once."""
    tasks = []
    train = FinetuneSetup.trained

    def noted(self: FinetuneSetup, task: TrainingTask) -> Trained:
        tasks.append(task)
        return train(self, task)

    monkeypatch.setattr(FinetuneSetup, "trained", noted)
    development = Development(table, folds)
    one = cross_fitted(DISTILLED, development, extractor)
    assert isinstance(one.fitted, FittedTrained)
    np.testing.assert_array_equal(one.predictions.scores, crossed.predictions.scores)
    np.testing.assert_array_equal(one.predictions.y_prob, crossed.predictions.y_prob)
    *learned, last = tasks
    assert last.targets is not None
    networks = [fitted for fitted, _ in unseen_models(TUNED, development, extractor)]
    said = np.stack([network.predict(table)[0].scores for network in networks])
    runs = [train(FinetuneSetup.of(TUNED, table, extractor), task) for task in learned]
    away = np.stack([np.isin(np.arange(len(table)), [*task.judge, *run.held])
                     for task, run in zip(learned, runs, strict=True)])  # fmt: skip
    assert {1, 2} <= set(away.sum(axis=0)) <= {1, 2, 3}  # some were held out elsewhere, too
    for row, of_image in enumerate(np.exp(said).transpose(1, 0, 2)):
        odds = np.prod(of_image[away[:, row]], axis=0) ** (1 / away[:, row].sum())
        label = np.eye(len(table.classes))[table.labels[row]]
        expected = (odds / odds.sum() + label) / 2
        np.testing.assert_allclose(last.targets[0, row], expected, atol=2e-3)
    scores = one.fitted.predict(table)[0].scores
    bold = fit_calibrator(scores, table.labels)
    timid = calibrator_towards(scores, crossed.predictions.y_prob)
    slope = one.probabilities.calibrator.slope
    assert slope == pytest.approx((bold.slope * timid.slope) ** 0.5, rel=0.01)

    def nobody(*args: object) -> None:
        raise AssertionError("a network is asked again")

    monkeypatch.setattr(Training, "logits", nobody)
    again = cross_fitted(DISTILLED, development, extractor).fitted
    assert again.calibrator == one.fitted.calibrator  # type: ignore[attr-defined]


def test_what_is_given_to_learn_is_all_that_is_learned(
    crossed: CrossFitted, table: ImageTable, extractor: Extractor
) -> None:
    """The same targets and other labels: the same network."""
    rows, nobody = np.arange(len(table)), np.arange(0)
    targets = np.random.default_rng(0).dirichlet(np.ones(len(table.classes)), (1, len(table)))
    other = dataclasses.replace(table, labels=table.labels[::-1].copy())
    states = []
    for images in (table, other):
        scenario = Scenario.from_key(f"{KEY}/balancenone/logistic")
        setup = FinetuneSetup.of(scenario, images, extractor)
        inputs = setup.inputs("blocks.6")
        task = TrainingTask("blocks.6", inputs, rows, nobody, "", 1, targets)
        states.append(setup.trained(task).state["head.weight"])
    np.testing.assert_array_equal(states[0], states[1])


def test_networks_that_were_trained_otherwise_are_judged_anew(
    crossed: CrossFitted, table: ImageTable, folds: Folds, extractor: Extractor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """What is kept of a scenario is kept under what its networks said, not under its name."""
    train = FinetuneSetup.trained

    def otherwise(self: FinetuneSetup, task: TrainingTask) -> Trained:
        run = train(self, task)
        return dataclasses.replace(run, scores=-run.scores)

    monkeypatch.setattr(FinetuneSetup, "trained", otherwise)
    again = cross_fitted(TUNED, Development(table, folds), extractor)
    np.testing.assert_array_equal(again.predictions.scores, -crossed.predictions.scores)


def test_two_networks_a_fold_judge_together_and_the_first_are_not_trained_again(
    crossed: CrossFitted, canvases: list[Canvas], table: ImageTable, folds: Folds,
    extractor: Extractor, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    begun = []
    train = Training.epochs

    def counted(self: Training, *args: object, **kwargs: object) -> object:
        begun.append(self.seed)
        return train(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Training, "epochs", counted)
    development = Development(table, folds)
    two = cross_fitted(TWO, development, extractor)
    assert begun == [finetune_setup.APART] * 3
    assert isinstance(two.fitted, FittedEnsemble)
    networks = [member.scores(canvases) for member in two.fitted.members]
    assert len(networks) == 6
    np.testing.assert_allclose(two.fitted.scores(canvases), np.mean(networks, axis=0), atol=1e-5)
    for judges, rows in unseen_models(TWO, development, extractor):
        said = judges.predict(table.select(rows))[0]
        # Out of fold the trunk's maps were kept in float16.
        np.testing.assert_allclose(said.scores, two.predictions.scores[rows], rtol=0.01, atol=0.02)
    assert two.training is not None
    assert list(two.training.histories)[:2] == ["fold 1", "fold 1, network 2"]


def test_trainings_are_kept_under_the_version_of_torch(
    table: ImageTable, extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup, rows = FinetuneSetup.of(TUNED, table, extractor), np.arange(4)
    task = TrainingTask("blocks.6", setup.inputs("blocks.6"), rows, rows, "")
    before = setup._identity(task)
    assert setup._identity(task) == before
    whole = TrainingTask("input", setup.inputs("input"), rows, rows, "")
    of_pixels, version = setup._identity(whole), importlib.metadata.version
    for package, tasks in (("openvino", []), ("pydicom", []), ("torch", [task, whole])):
        with monkeypatch.context() as patch:
            patch.setattr(
                importlib.metadata, "version",
                lambda name, other=package: "99" if name == other else version(name),
            )  # fmt: skip
            engine.versions.cache_clear()
            now = FinetuneSetup.of(TUNED, table, extractor)
            assert (now._identity(task) != before) == (task in tasks), package
            assert (now._identity(whole) != of_pixels) == (whole in tasks), package
    engine.versions.cache_clear()


def test_a_bundle_of_it_answers_the_same(
    crossed: CrossFitted, canvases: list[Canvas], tmp_path: Path
) -> None:
    crossed.fitted.save(tmp_path)
    loaded = load(tmp_path, Extractor(Cache(tmp_path / "cache"), engine="torch"))
    assert isinstance(loaded, FittedEnsemble)
    assert loaded.alike
    assert loaded.scenario == TUNED
    assert loaded.operating == crossed.fitted.operating
    before = crossed.fitted.probabilities(canvases)
    np.testing.assert_allclose(loaded.probabilities(canvases), before, atol=1e-5)


def test_its_map_adds_up_to_its_score(crossed: CrossFitted, canvases: list[Canvas]) -> None:
    """Of linear heads on pooled maps HiResCAM adds up to the score without the intercept."""
    fitted = crossed.fitted
    assert isinstance(fitted, FittedEnsemble)
    name = fitted.classes[1]
    maps, _ = signed_maps(fitted, canvases, "hirescam", fitted.spec.taps[-1], name)
    bias = np.mean([network.head.intercept_[1] for network in fitted.members])  # type: ignore[union-attr]
    np.testing.assert_allclose(
        maps.sum(axis=(1, 2)), fitted.scores(canvases)[:, 1] - bias, atol=1e-4
    )
    (one, *_) = attribute(fitted, canvases, name)
    assert one.method.endswith("the mean of 3 networks")
    shown = np.maximum(maps[0], 0)
    np.testing.assert_allclose(one.map.max(), shown.max(), rtol=0.2)


def test_grad_cam_explains_the_label_of_the_mean(
    crossed: CrossFitted, canvases: list[Canvas]
) -> None:
    fitted = crossed.fitted
    taps = list(block_taps(fitted).values())
    found = grad_cam(fitted, canvases, taps)
    labels = [fitted.classes[row] for row in fitted.scores(canvases).argmax(axis=1)]
    assert [one[taps[-1]].target for one in found] == labels
    assert [list(one) for one in found] == [taps] * len(canvases)


def test_there_is_no_third_way(table: ImageTable, folds: Folds, extractor: Extractor) -> None:
    other = dataclasses.replace(TUNED, classifier=Finetune((("deploy", "both"),)))
    with pytest.raises(ScenarioError, match="deploy = both"):
        cross_fitted(other, Development(table, folds), extractor)
