"""What several questions about the same images share changes no bit of their answers."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import pytest

from medgraft.features.extract import Extractor
from medgraft.features.shared import ROW_SETS, Shared
from medgraft.learn.heads import nested_scores

RNG = np.random.default_rng(0)
CODES = RNG.normal(size=(90, 12)).astype(np.float32)
FOLD = np.arange(90) % 3


@pytest.mark.parametrize("head", ["svm", "logistic", "lda", "knn", "rbf"])
def test_a_second_question_finds_what_the_first_made_and_answers_as_alone(head: str) -> None:
    made: list[Hashable] = []
    kept: dict[Hashable, Any] = {}

    def memo(name: Hashable, make: Callable[[], Any]) -> Any:
        if name not in kept:
            made.append(name)
            kept[name] = make()
        return kept[name]

    for column in (0, 1):
        labels = (CODES[:, column] + RNG.normal(size=90) > 0).astype(np.int64)
        alone = nested_scores(head, CODES, labels, FOLD)
        beside = nested_scores(head, CODES, labels, FOLD, memo=memo)
        assert np.array_equal(alone.scores, beside.scores)
        assert np.array_equal(alone.final_scores, beside.final_scores)
        assert np.array_equal(alone.inner, beside.inner, equal_nan=True)
        assert alone.path == beside.path
    assert len(made) == (0 if head == "rbf" else 1)  # its landmarks are drawn by class


def test_neighbours_of_other_folds_are_others() -> None:
    kept: dict[Hashable, Any] = {}

    def memo(name: Hashable, make: Callable[[], Any]) -> Any:
        return kept.setdefault(name, make())

    labels = (CODES[:, 0] > 0).astype(np.int64)
    for fold in (FOLD, FOLD[::-1].copy(), np.roll(FOLD, 1)):
        beside = nested_scores("knn", CODES, labels, fold, memo=memo)
        assert np.array_equal(beside.scores, nested_scores("knn", CODES, labels, fold).scores)


def test_what_is_shared_does_not_grow_with_the_sets_of_images() -> None:
    shared, made = Shared(), []

    def ask(images: str) -> Any:
        return shared.get(images, "codes", lambda: made.append(images))

    for images in ("a", "a", *map(str, range(ROW_SETS)), "a"):
        ask(images)
    assert made == ["a", *map(str, range(ROW_SETS)), "a"]


def test_sharing_ends_where_it_began() -> None:
    extractor = Extractor.__new__(Extractor)
    with extractor.sharing():
        outer = extractor.shared
        assert outer is not None
        with extractor.sharing():
            assert extractor.shared is outer
        assert extractor.shared is outer
    assert extractor.shared is None
