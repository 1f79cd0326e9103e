"""Refits on fewer patients: the same folds, patients whole, and on all what stood there already."""

from __future__ import annotations

import numpy as np
import pytest

from medgraft.learn.heads import nested_scores
from medgraft.learn.learning_curve import REPEATS, SHARES, _ranks, refits

N = 120


@pytest.fixture(scope="module")
def codes() -> tuple[np.ndarray, ...]:
    """120 images of 60 patients in three classes, five folds."""
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(60), 2)
    y, fold = patient % 3, patient // 3 % 5
    X = rng.standard_normal((N, 12)).astype(np.float32) + 1.2 * np.eye(12, dtype=np.float32)[y]
    return X, y, fold, patient.astype(str)


@pytest.mark.parametrize("head", ["svm", "logistic", "lda", "knn"])
def test_on_all_patients_it_is_the_head_that_was_judged(
    codes: tuple[np.ndarray, ...], head: str
) -> None:
    X, y, fold, groups = codes
    nested = nested_scores(head, X, y, fold, groups=groups)
    found = refits(head, nested.final, X, y, fold, groups)
    assert [one.share for one in found] == [*np.repeat(SHARES, REPEATS), 1.0]
    assert found[-1].scores == pytest.approx(nested.final_scores, abs=2e-2)
    assert all(np.isfinite(one.scores).all() for one in found)


def test_fewer_patients_tell_less(codes: tuple[np.ndarray, ...]) -> None:
    X, y, fold, groups = codes
    found = refits("svm", 1 / 12, X, y, fold, groups)
    right = [float((one.scores.argmax(axis=1) == y).mean()) for one in found]
    assert np.mean(right[:REPEATS]) < right[-1]


def test_patients_are_drawn_whole_by_class_and_never_from_the_fold(
    codes: tuple[np.ndarray, ...],
) -> None:
    _, y, fold, groups = codes
    for k, places in enumerate(_ranks(y, groups, fold, np.random.default_rng(0))):
        assert np.isinf(places[fold == k]).all()
        for share in SHARES:
            drawn = places <= share
            assert not set(groups[drawn]) & set(groups[~drawn])
            per_class = np.bincount(y[drawn], minlength=3)
            assert per_class.tolist() == [2 * int(16 * share)] * 3


def test_too_few_patients_are_not_refitted() -> None:
    rng = np.random.default_rng(0)
    y, fold = np.arange(8) % 2, np.arange(8) // 2 % 2
    X = rng.standard_normal((8, 3)).astype(np.float32)
    assert refits("svm", 1.0, X, y, fold, np.arange(8).astype(str)) == ()


def test_images_are_judged_as_they_are_seen(codes: tuple[np.ndarray, ...]) -> None:
    X, y, fold, groups = codes
    same = refits("svm", 1 / 12, X, y, fold, groups)
    turned = refits("svm", 1 / 12, X, y, fold, groups, seen=np.zeros_like(X))
    assert np.ptp(turned[-1].scores[fold == 0], axis=0) == pytest.approx(0, abs=1e-5)
    assert np.ptp(same[-1].scores[fold == 0], axis=0).max() > 1
