"""The classifiers that have not seen a fold: they say of it what cross-validation said."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from medgraft.data.ingest import load
from medgraft.data.phantom import write_phantoms
from medgraft.data.split import Development, make_folds
from medgraft.errors import FitError, ScenarioError
from medgraft.evaluate.metrics import auroc
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.learn import fit as fitting
from medgraft.learn.finetune import Training
from medgraft.learn.fit import cross_fitted, unseen_models
from medgraft.scenario import Finetune
from medgraft.types import ImageTable, Scenario

PROBE = Scenario.from_key("multiscale/tf_efficientnet_lite0/blocks.2/s64/svm")
TUNED = dataclasses.replace(
    PROBE,
    tap="blocks.6",
    classifier=Finetune((("epochs", "1"), ("rate", "0.002"), ("smoothing", "0"))),
)
STACK = Scenario.joining("stack", (PROBE, dataclasses.replace(PROBE, tap="blocks.1")))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ImageTable:
    folder = tmp_path_factory.mktemp("images")
    write_phantoms(folder, n_patients=60, seed=1)
    return load(folder)


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> Extractor:
    return Extractor(Cache(tmp_path_factory.mktemp("cache")), engine="torch", workers=2)


def said(scenario: Scenario, table: ImageTable, extractor: Extractor) -> np.ndarray:
    """What the classifiers of the folds say of their own folds, (n, n_classes)."""
    folds = make_folds(table, 3)
    scores = np.full((len(table), len(table.classes)), np.nan)
    for fitted, rows in unseen_models(scenario, Development(table, folds), extractor):
        predictions, skipped = fitted.predict(table.select(rows))
        assert not skipped
        scores[rows] = predictions.scores
    return scores


@pytest.mark.parametrize("scenario", [PROBE, STACK], ids=["probe", "stack"])
def test_what_is_fitted_again_ranks_its_folds_as_cross_validation_did(
    scenario: Scenario, table: ImageTable, extractor: Extractor
) -> None:
    crossed = cross_fitted(
        scenario, Development(table, make_folds(table, 3)), extractor
    ).predictions
    own = said(scenario, table, extractor)
    y = table.labels == 1
    before, now = (auroc(y, s[:, 1] - s[:, 0], crossed.fold) for s in (crossed.scores, own))
    assert abs(before - now) < 0.05  # of 57 images
    for k in range(3):
        inside = crossed.fold == k
        assert np.corrcoef(crossed.scores[inside, 1], own[inside, 1])[0, 1] > 0.7


def test_a_trained_network_says_of_its_fold_what_it_said_and_is_not_trained_again(
    table: ImageTable, extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = table.select(np.isin(table.groups, np.unique(table.groups)[:20]))
    crossed = cross_fitted(TUNED, Development(table, make_folds(table, 3)), extractor)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a network was trained again")

    monkeypatch.setattr(Training, "epochs", refuse)
    own = said(TUNED, table, extractor)
    # The maps that trained it were kept in half precision.
    np.testing.assert_allclose(own, crossed.predictions.scores, atol=0.02)
    models = unseen_models(TUNED, Development(table, make_folds(table, 3)), extractor)
    assert {model.operating for model, _ in models} == {crossed.fitted.operating}
    assert len({model.spec.weights for model, _ in models}) == 3


def test_no_classifier_learns_from_the_patients_it_is_asked_about(
    table: ImageTable, extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned: list[set[str]] = []
    real = fitting.cross_fitted

    def watched(scenario: Scenario, development: Development, *rest: object) -> object:
        learned.append(set(development.table.groups.tolist()))
        return real(scenario, development, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(fitting, "cross_fitted", watched)
    models = unseen_models(PROBE, Development(table, make_folds(table, 3)), extractor)
    assert len(models) == len(learned) == 3
    for groups, (_, rows) in zip(learned, models, strict=True):
        assert not groups & set(table.groups[rows].tolist())
    assert sorted(np.concatenate([rows for _, rows in models]).tolist()) == list(range(len(table)))


def test_what_would_have_to_be_trained_again_is_refused(
    table: ImageTable, extractor: Extractor
) -> None:
    joined = Scenario.joining("stack", (PROBE, TUNED))
    with pytest.raises(ScenarioError, match="audit its saved model"):
        unseen_models(joined, Development(table, make_folds(table, 3)), extractor)


def test_two_patients_of_a_class_leave_too_few_to_learn_from(
    table: ImageTable, extractor: Extractor
) -> None:
    of_class = [np.unique(table.groups[table.labels == k])[:2] for k in (0, 1)]
    few = table.select(np.isin(table.groups, np.concatenate(of_class)))
    with pytest.raises(FitError, match="two are needed"):
        unseen_models(PROBE, Development(few, make_folds(few, 2)), extractor)
