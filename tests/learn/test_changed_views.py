"""Images judged in a changed view of them: what teaches stays as it is, in every family."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from medgraft.data.augment import PRESETS, judging_view
from medgraft.data.ingest import load
from medgraft.data.phantom import write_phantoms
from medgraft.data.split import Development, make_folds
from medgraft.errors import ScenarioError
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.learn.cross_validation import CrossFitted
from medgraft.learn.depth import search_depth
from medgraft.learn.finetune_cv import held_out
from medgraft.learn.finetune_setup import FinetuneSetup
from medgraft.learn.fit import cross_fitted
from medgraft.learn.heads import nested_scores
from medgraft.scenario import Finetune, Head, encoding_of, views_of
from medgraft.types import Canvas, Edit, Folds, ImageTable, Scenario

PROBE = Scenario.from_key("multiscale/tf_efficientnet_lite0/blocks.1/s64/svm")
EQUALISED = PROBE.with_pixels(edits=(("clahe2-8",),))
TUNED = dataclasses.replace(PROBE, tap="blocks.6", classifier=Finetune((("epochs", "1"),)))
SCENARIOS = {
    "probe": PROBE,
    "views": PROBE.with_pixels(views=views_of('xray3')),
    "sizes": PROBE.with_pixels(sizes=(64, 96)),
    "neighbours": dataclasses.replace(PROBE, classifier=Head('knn')),
    "kernel": dataclasses.replace(PROBE, classifier=Head('rbf')),
    "vlad": dataclasses.replace(PROBE, code=encoding_of('k4')),
    "tuned": TUNED,
    "tuned, views averaged": dataclasses.replace(
        TUNED, classifier=Finetune((("epochs", "1"), ("tta", "2")))
    ),
    "mean": Scenario.joining("mean", (PROBE, EQUALISED)),
}  # fmt: skip


LONG = ("sizes", "tuned, views averaged")  # of which "views" and "tuned" show most
MOST = [pytest.param(one, marks=pytest.mark.slow if one in LONG else ()) for one in SCENARIOS]


@dataclasses.dataclass(frozen=True)
class Filled:
    """A canvas of one grey, or as it is."""

    grey: int | None

    @property
    def key(self) -> str:
        return f"filled{self.grey}"

    def __call__(self, canvas: Canvas) -> Canvas:
        if self.grey is None:
            return canvas
        return dataclasses.replace(canvas, pixels=np.full_like(canvas.pixels, self.grey))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ImageTable:
    folder = tmp_path_factory.mktemp("images")
    write_phantoms(folder, n_patients=12)
    return load(folder)


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> Extractor:
    return Extractor(Cache(tmp_path_factory.mktemp("cache")), engine="torch", workers=2)


def judged(
    scenario: Scenario, table: ImageTable, extractor: Extractor, view: Edit | None
) -> tuple[CrossFitted, Folds]:
    folds = dataclasses.replace(make_folds(table, 3), view=view)
    return cross_fitted(scenario, Development(table, folds), extractor), folds


@pytest.mark.parametrize("name", MOST)
def test_a_view_changes_what_is_judged_and_nothing_that_was_learned(
    name: str, table: ImageTable, extractor: Extractor
) -> None:
    scenario = SCENARIOS[name]
    plain, folds = judged(scenario, table, extractor, None)
    same, _ = judged(scenario, table, extractor, Filled(None))
    np.testing.assert_allclose(same.predictions.scores, plain.predictions.scores, atol=2e-3)
    blank, _ = judged(scenario, table, extractor, Filled(90))
    for k in range(folds.n_folds):  # an image without a picture says nothing of its class
        mine = blank.predictions.scores[folds.assignment == k]
        np.testing.assert_allclose(mine, np.broadcast_to(mine[0], mine.shape), atol=1e-4)
        assert np.ptp(plain.predictions.scores[folds.assignment == k], axis=0).min() > 1e-3
        assert np.ptp(blank.unchanged.scores[folds.assignment == k], axis=0).min() > 1e-3
    if scenario.family == "finetune":  # stopped by what was judged
        return
    # In use images come as they are: so do those that calibrate and set the threshold.
    # (Of scores that hardly differ the calibrator's slope makes much of the solver's last digits.)
    np.testing.assert_allclose(blank.unchanged.y_prob, plain.predictions.y_prob, atol=0.03)
    at = [one.fitted.operating.threshold for one in (blank, plain) if one.fitted.operating]
    assert at[0] == pytest.approx(at[1], abs=0.03)
    made = extractor.canvases(table, plain.fitted.spec)
    canvases = [canvas for canvas in made if isinstance(canvas, Canvas)]
    for ask in ("scores", "probabilities"):
        blanked, as_is = (getattr(one.fitted, ask)(canvases) for one in (blank, plain))
        np.testing.assert_allclose(blanked, as_is, atol=0.03)


@pytest.mark.parametrize("head", ["knn", "rbf"])
def test_rows_that_weigh_nothing_are_judged_and_not_kept(head: str) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 8)).astype(np.float32), np.arange(60) % 2
    X[:, 0] += y
    fold, weight = np.arange(60) % 3, np.repeat([1.0, 0.0], 60)
    alone = nested_scores(head, X, y, fold)
    both = nested_scores(
        head, np.concatenate([X, 0 * X]), np.tile(y, 2), np.tile(fold, 2), sample_weight=weight
    )
    np.testing.assert_allclose(both.scores[:60], alone.scores, atol=2e-3)
    assert np.ptp(both.scores[60:][fold == 0], axis=0).max() < 1e-6
    np.testing.assert_allclose(
        both.head.decision_function(X), alone.head.decision_function(X), atol=2e-3
    )  # of rbf the solver stops elsewhere


def test_folds_with_a_view_are_other_folds(table: ImageTable) -> None:
    plain = make_folds(table, 3)
    views = [Filled(None), Filled(3), judging_view("xray"), judging_view("xray", 1)]
    prints = {dataclasses.replace(plain, view=view).fingerprint for view in views}
    assert len(prints | {plain.fingerprint}) == 5


def test_search_and_holdout_judge_in_the_view_too(table: ImageTable, extractor: Extractor) -> None:
    folds = dataclasses.replace(make_folds(table, 3), view=Filled(90))
    one = held_out(TUNED, Development(table, folds), extractor).predictions
    assert np.ptp(one.scores, axis=0).max() < 1e-4
    scenario = dataclasses.replace(TUNED, tap="best", classifier=Finetune((("rungs", "20x1"),)))
    setup = FinetuneSetup.of(scenario, table, extractor, view=folds.view)
    found = search_depth(setup, folds, ["blocks.5", "blocks.6"], "auroc")
    assert [trial.estimate.value for trial in found.trials] == [0.5, 0.5]


def test_the_view_is_an_ordinary_one_in_which_everything_varies() -> None:
    assert judging_view().key == "xray.v8"
    assert judging_view("xray", 3).key == "xray.v8.s3"
    assert all(len(PRESETS[name].symmetries) < judging_view(name).number for name in PRESETS)
    with pytest.raises(ScenarioError, match="no augmentation preset 'odd'"):
        judging_view("odd")
