"""One network for several findings: its loss, what is not known, and what each finding gets."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, roc_auc_score
from torch.nn import functional

from medgraft.data.ingest import load_any
from medgraft.data.panel_split import panel_folds
from medgraft.data.split import Development, Together, folds_of
from medgraft.errors import DataError, ScenarioError
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.learn import finetune_cv, multilabel
from medgraft.learn.cross_validation import CrossFitted
from medgraft.learn.ensemble import FittedEnsemble
from medgraft.learn.finetune import Training, score
from medgraft.learn.finetune_setup import FinetuneSetup, Trained, TrainingTask
from medgraft.learn.fit import cross_fitted, load, unseen_models
from medgraft.panel import ABSENT, PRESENT, UNKNOWN, Panel
from medgraft.training_recipe import Recipe
from medgraft.types import ImageTable, Scenario
from two_lesions import write_lesions

KEY = "finetune/tf_efficientnet_lite0/blocks.6/s64/epochs1/steps0/rate0.002/smoothing0"
TUNED = Scenario.from_key(f"{KEY}/logistic")
ONCE = Scenario.from_key(f"{KEY}/deployonce/logistic")
SEARCHED = Scenario.from_key(
    "finetune/tf_efficientnet_lite0/best/s64/rungs40x1/epochs1/steps0/logistic"
)


# --------------------------------------------------------------------------- what is lost


@pytest.fixture
def truth() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.choice([ABSENT, PRESENT, UNKNOWN], (40, 3)).astype(np.int8)


def test_the_loss_is_that_of_what_is_known_and_nothing_else(truth: np.ndarray) -> None:
    logits = torch.randn(40, 3, generator=torch.manual_seed(0), requires_grad=True)
    weight = np.linspace(0.5, 2, 40)
    known = truth != UNKNOWN
    own = multilabel.loss_weights(truth, weight, np.arange(40), balanced=False)
    target = torch.from_numpy(multilabel.smoothed(truth, own, 0.0))
    loss = -(target * multilabel.log_probabilities(logits)).sum() / target.sum()
    (gradient,) = torch.autograd.grad(loss, logits)
    by_hand = functional.binary_cross_entropy_with_logits(
        logits[known], torch.from_numpy((truth[known] == PRESENT).astype(np.float32)),
        torch.from_numpy(np.repeat(weight, known.sum(axis=1)).astype(np.float32)), reduction="sum",
    )  # fmt: skip
    assert float(loss.detach()) == pytest.approx(
        float(by_hand.detach()) / (weight[:, None] * known).sum(), rel=1e-5
    )
    assert (gradient[~known] == 0).all()
    assert (gradient[known] != 0).all()


def test_with_and_without_weigh_the_same_and_findings_what_they_did(truth: np.ndarray) -> None:
    weight, rows = np.ones(40), np.arange(30)
    found = multilabel.loss_weights(truth, weight, rows, balanced=True)[rows]
    for j, marks in enumerate(truth[rows].T):
        there, away = (found[marks == value, j].sum() for value in (PRESENT, ABSENT))
        assert there == pytest.approx(away, rel=1e-5)
        assert there + away == pytest.approx((marks != UNKNOWN).sum(), rel=1e-5)
        assert (found[marks == UNKNOWN, j] == 0).all()


def test_figures_are_of_what_is_known(truth: np.ndarray) -> None:
    logits = np.random.default_rng(1).normal(size=(40, 3))
    known = truth != UNKNOWN
    loss, area, accuracy = score(logits, truth)
    y, p = truth[known], 1 / (1 + np.exp(-logits[known]))
    assert loss == pytest.approx(log_loss(y, p))
    assert accuracy == pytest.approx(((p > 0.5) == y).mean())
    areas = [roc_auc_score(truth[known[:, j], j], logits[known[:, j], j]) for j in range(3)]
    assert area == pytest.approx(np.mean(areas))
    assert np.isnan(score(logits, np.full_like(truth, UNKNOWN))).all()


def test_what_is_held_out_holds_every_finding_in_its_share() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random((300, 3)) < [0.5, 0.1, 0.3]).astype(np.int8)
    groups = np.repeat(np.arange(150), 2).astype(str)
    held = multilabel.held_out(groups, truth, 0.2, 0)
    assert not set(groups[held]) & set(groups[~held])
    assert np.abs(truth[held].mean(axis=0) - truth.mean(axis=0)).max() < 0.03
    assert held.mean() == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize("setting", [{"balance": "sampler"}, {"deploy": "distilled"}])
def test_what_several_findings_do_not_have_is_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(ScenarioError, match="several findings; choose --training"):
        multilabel.check_for_findings(Recipe(**setting))


# --------------------------------------------------------------------------- what each gets


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> Extractor:
    return Extractor(Cache(tmp_path_factory.mktemp("cache")), engine="torch", workers=2)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Together:
    """Lesions a and b in 48 images, b known in 40 of them."""
    panel = load_any(write_lesions(tmp_path_factory.mktemp("images"), 48, faint=140))
    assert isinstance(panel, Panel)
    marks = panel.marks[:, :2].copy()
    marks[5:13, 1] = UNKNOWN
    panel = dataclasses.replace(panel, names=("a", "b"), marks=marks)
    folds, short = panel_folds(panel, 3, 0)
    assert not short
    return Together(panel, folds)


def asked(together: Together, name: str) -> Development:
    question = together.panel.question(name)
    return Development(question, folds_of(together.folds, question), together=together)


@pytest.fixture(scope="module")
def trained() -> list[int]:
    return []


@pytest.fixture(scope="module")
def crossed(together: Together, extractor: Extractor, trained: list[int]) -> dict[str, CrossFitted]:
    real = Training.epochs

    def spy(self: Training, train: Any, *rest: Any, **how: Any) -> Any:
        trained.append(len(train.rows))
        return real(self, train, *rest, **how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "epochs", spy)
        return {name: cross_fitted(TUNED, asked(together, name), extractor) for name in ("a", "b")}


def test_one_network_a_fold_is_trained_for_all_findings(
    crossed: dict[str, CrossFitted], trained: list[int]
) -> None:
    assert len(trained) == 3
    a, b = (one.fitted for one in crossed.values())
    assert isinstance(a, FittedEnsemble)
    assert isinstance(b, FittedEnsemble)
    names = [[one.feature_plan.canvas.backbone for one in f.members] for f in (a, b)]
    assert names[0] == names[1]
    assert (a.positive, b.positive) == ("a", "b")
    assert a.classes == ("a", "no a")


def test_each_finding_is_judged_by_its_output_where_it_is_known(
    crossed: dict[str, CrossFitted], together: Together, extractor: Extractor
) -> None:
    panel, folds = together.panel, together.folds
    setup = FinetuneSetup.of(TUNED, panel.images, extractor, truth=panel.truth)
    for j, name in enumerate(panel.names):
        said = crossed[name].predictions
        assert len(said.ids) == int((panel.truth[:, j] != UNKNOWN).sum())
        score_of = dict(zip(said.ids.tolist(), said.scores.tolist(), strict=True))
        for k in range(3):
            rows = np.flatnonzero(folds.assignment == k)
            run = _run(setup, np.flatnonzero(folds.assignment != k), rows)
            for row, logit in zip(rows, run.scores[:, j], strict=True):
                one = score_of.get(str(panel.images.ids[row]))
                assert (one is None) == (panel.truth[row, j] == UNKNOWN)
                if one is not None:
                    assert one == pytest.approx([logit / 2, -logit / 2])


def _run(setup: FinetuneSetup, learned: np.ndarray, judged: np.ndarray) -> Trained:
    """The network of a fold, from the cache."""
    task = TrainingTask("blocks.6", setup.inputs("blocks.6"), learned, judged, "")
    before = set(setup.extractor.cache.folder.rglob("*"))
    run = setup.trained(task)
    assert set(setup.extractor.cache.folder.rglob("*")) == before
    return run


def test_both_lesions_are_learned(crossed: dict[str, CrossFitted]) -> None:
    for name, one in crossed.items():
        y = one.predictions.y_true == one.fitted.classes.index(name)
        at = one.fitted.classes.index(name)
        assert roc_auc_score(y, one.predictions.scores[:, at]) > 0.7, name


def test_a_saved_finding_says_the_same_and_folds_judge_their_own(
    crossed: dict[str, CrossFitted], together: Together, extractor: Extractor, tmp_path: Path
) -> None:
    few: ImageTable = together.panel.question("b").select(np.arange(4))
    fitted = crossed["b"].fitted
    fitted.save(tmp_path)
    again = load(tmp_path, extractor)
    expected = fitted.predict(few)[0].y_prob
    np.testing.assert_allclose(again.predict(few)[0].y_prob, expected, atol=1e-6)
    for model, rows in unseen_models(TUNED, asked(together, "b"), extractor):
        own = model.predict(together.panel.question("b").select(rows[:3]))[0]
        np.testing.assert_allclose(own.scores, crossed["b"].predictions.scores[rows[:3]], atol=1e-3)


@pytest.mark.slow
def test_one_network_on_all_images_and_a_depth_by_the_mean_over_findings(
    together: Together, extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetune_cv, "searched", lambda setup: ("blocks.5", "blocks.6"))
    once = cross_fitted(ONCE, asked(together, "a"), extractor)
    assert not isinstance(once.fitted, FittedEnsemble)
    found = cross_fitted(SEARCHED, asked(together, "a"), extractor).training
    assert found is not None
    assert found.search is not None
    best = max(found.search.curve, key=lambda trial: trial.estimate.value)
    assert found.search.chosen == best.depth
    assert "mean of 2 findings" in best.estimate.method
    assert found.search.gain is not None
    assert found.search.gain.b == "a linear head"


def test_a_finding_that_is_not_learned_is_no_question(together: Together) -> None:
    other = dataclasses.replace(together.panel, names=("a", "c"))
    development = dataclasses.replace(
        asked(together, "b"), together=dataclasses.replace(together, panel=other)
    )
    with pytest.raises(DataError, match="b is none of the findings"):
        cross_fitted(TUNED, development, Extractor())
