"""The search for a depth: halving, images nobody learns from, and what training gains at all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from medgraft.api import load
from medgraft.data.phantom import write_phantoms
from medgraft.data.split import make_folds
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.learn.depth import MORE, search_depth, searched
from medgraft.learn.finetune_setup import FinetuneSetup, Trained, TrainingTask
from medgraft.results.training import DepthSearch
from medgraft.types import ImageTable, Ints, Scenario

RUNGS = "40x1+4000x2"
SCENARIO = Scenario.from_key(f"finetune/tf_efficientnet_lite0/best/s64/rungs{RUNGS}/logistic")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ImageTable:
    folder = tmp_path_factory.mktemp("depth") / "images"
    write_phantoms(folder, n_patients=24, seed=3)
    return load(folder).development


@pytest.fixture(scope="module")
def setup(table: ImageTable, tmp_path_factory: pytest.TempPathFactory) -> FinetuneSetup:
    return FinetuneSetup.of(SCENARIO, table, Extractor(Cache(tmp_path_factory.mktemp("cache"))))


@pytest.fixture(scope="module")
def seen() -> list[tuple[str, Ints, Ints, int | None]]:
    return []


def late(setup: FinetuneSetup) -> Sequence[str]:
    """Depths from which training is quick."""
    return searched(setup)[-4:]


@pytest.fixture(scope="module")
def found(setup: FinetuneSetup, seen: list[tuple[str, Ints, Ints, int | None]]) -> DepthSearch:
    real = FinetuneSetup.trained

    def spy(self: FinetuneSetup, task: TrainingTask) -> Trained:
        ids = self.development.ids
        seen.append((task.depth, ids[task.rows], ids[task.judge], task.epochs))
        return real(self, task)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FinetuneSetup, "trained", spy)
        return search_depth(setup, make_folds(setup.development, 5, 0), late(setup), "auroc")


def test_the_better_half_goes_on_and_the_chosen_is_the_best_of_them(
    setup: FinetuneSetup, found: DepthSearch
) -> None:
    depths = late(setup)
    first = [t for t in found.trials if t.rung == 0]
    second = [t for t in found.trials if t.rung == 1]
    assert [t.depth for t in first] == list(depths)
    assert len(second) == -(-len(depths) // 2)
    values = sorted((t.estimate.value for t in first), reverse=True)
    assert (
        min(t.estimate.value for t in first if t.depth in {s.depth for s in second})
        >= values[len(second) - 1]
    )
    assert found.chosen == max(second, key=lambda t: t.estimate.value).depth
    assert all(one.a == found.chosen and one.difference >= 0 for one in found.comparisons)


def test_nobody_learns_from_the_last_fold_or_from_who_judges(
    table: ImageTable, found: DepthSearch, seen: list[tuple[str, Ints, Ints, int | None]]
) -> None:
    folds = make_folds(table, 5, 0)
    outer = set(table.ids[folds.assignment == 4].tolist())
    group_of = dict(zip(table.ids.tolist(), table.groups.tolist(), strict=True))
    judges = {tuple(judge.tolist()) for _, _, judge, _ in seen}
    assert len(judges) == 1
    for _, rows, judge, _ in seen:
        used = {*rows.tolist(), *judge.tolist()}
        assert not used & outer
        assert not {group_of[i] for i in rows} & {group_of[i] for i in judge}
    assert found.holdout == len(next(iter(judges)))


def test_few_images_are_shown_more_often_and_the_frozen_head_is_asked_too(
    found: DepthSearch, seen: list[tuple[str, Ints, Ints, int | None]]
) -> None:
    assert {t.epochs for t in found.trials if t.rung == 1} == {2 * MORE}
    assert seen[-1][3] == 0  # of the last rung, untrained
    np.testing.assert_array_equal(seen[-1][1], seen[-2][1])
    assert found.gain is not None
    assert (found.gain.a, found.gain.b) == (found.chosen, "a linear head")
    assert found.gain.low <= found.gain.difference <= found.gain.high
