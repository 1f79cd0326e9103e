"""Sets: against the definition by p-values, by hand, and their coverage where truth is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from medgraft.errors import DataError, LeakError
from medgraft.evaluate.conformal import (
    OwnProbability,
    cross_fit_sets,
    describe_sets,
    patients_needed,
    sets_at,
)
from medgraft.types import Floats, Predictions
from proof.conformal import coverage_of_run


def by_p_value(known: OwnProbability, p: Floats, alpha: float) -> np.ndarray:
    """The definition: a class stays where the new image is not among the alpha strangest of it.

    Its p-value counts the patients of the class that conform no better, the new one among them; a
    patient counts for the share of his images.
    """
    stays = np.zeros(p.shape, bool)
    for k in range(p.shape[1]):
        mine = known.truth == k
        names = np.unique(known.groups[mine])
        for i, value in enumerate(p[:, k]):
            below = [np.mean(known.own[mine & (known.groups == g)] <= value) for g in names]
            above = 1 - np.sum([1 - b for b in below]) / (len(names) + 1)
            # at or below: those with a strictly higher probability leave the rest
            stays[i, k] = above > alpha - 1e-9 or len(names) / (len(names) + 1) < 1 - alpha - 1e-9
    return stays


@pytest.mark.parametrize("alpha", [0.1, 0.25])
@pytest.mark.parametrize("size", [1, 3])
def test_a_class_stays_where_its_p_value_says_so(alpha: float, size: int) -> None:
    rng = np.random.default_rng(3)
    n = 60 * size
    truth = np.arange(n) // size % 3
    prob = rng.dirichlet((1, 1, 1), n) + np.eye(3)[truth]
    groups = (np.arange(n) // size).astype(str)
    known = OwnProbability.of(prob / prob.sum(axis=1, keepdims=True), truth, groups)
    new = rng.dirichlet((1, 1, 1), 40)
    found = new >= known.thresholds(alpha)
    np.testing.assert_array_equal(found, by_p_value(known, new, alpha))


def test_by_hand_the_ninth_of_nine_and_without_it_no_threshold() -> None:
    """alpha .1: of 9 patients all are to be covered, of 19 all but one (.9 * 20)."""
    own = np.linspace(0.1, 0.9, 9)
    assert patients_needed(0.1) == 9

    def threshold(values: np.ndarray) -> float:
        groups = np.arange(len(values)).astype(str)
        truth = np.zeros(len(values), np.int64)
        return float(OwnProbability(values, truth, groups, 2).thresholds(0.1)[0])

    assert threshold(own) == 0.1
    assert threshold(own[1:]) == 0.0
    assert threshold(np.linspace(0.05, 0.95, 19)) == pytest.approx(0.1)


def test_a_class_of_two_patients_is_in_every_set_and_named() -> None:
    truth = np.repeat([0, 1], [50, 8])
    groups = np.array([f"a{i}" for i in range(50)] + [f"b{i % 2}" for i in range(8)])
    known = OwnProbability(np.full(58, 0.8), truth, groups, 3)
    assert known.patients == (50, 2, 0)
    assert known.too_few(0.1) == (1, 2)
    found = sets_at(np.array([[0.98, 0.01, 0.01]]), np.array([0]), known.thresholds(0.1))
    assert found.tolist() == [[True, True, True]]


def test_a_set_holds_the_label_and_is_never_empty() -> None:
    prob = np.array([[0.5, 0.5], [0.3, 0.7]])
    found = sets_at(prob, np.array([1, 0]), np.array([0.9, 0.6]))
    assert found.tolist() == [[False, True], [True, True]]


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_alpha_is_a_share(alpha: float) -> None:
    known = OwnProbability(np.ones(3), np.zeros(3, np.int64), np.array(["a", "b", "c"]), 1)
    with pytest.raises(DataError, match="between 0 and 1"):
        known.thresholds(alpha)


def test_the_test_split_never_chooses(make: Callable[..., Predictions]) -> None:
    rows = make([0, 1] * 20, [0.2, 0.8] * 20, fold=np.arange(40) % 2, split="test")
    with pytest.raises(LeakError, match="prediction sets"):
        cross_fit_sets(rows, 0.1)


def test_a_fold_is_judged_by_the_others_thresholds(make: Callable[..., Predictions]) -> None:
    """Fold 1's own ill images would ask for .2; those of fold 0 ask for .6."""
    y = np.tile([0, 1], 20)
    p = np.where(y == 1, 0.8, 0.2)
    fold = np.repeat([0, 1], 20)
    p[np.flatnonzero((fold == 0) & (y == 1))[0]] = 0.6
    p[np.flatnonzero((fold == 1) & (y == 1))[0]] = 0.2
    found = cross_fit_sets(make(y, p, fold=fold), 0.1)
    held = found[np.arange(40), y]
    assert held.sum() == 39
    assert not held[20:][1]


def test_coverage_is_a_mean_over_patients(make: Callable[..., Predictions]) -> None:
    """One patient of 8 images all missed, and two of one image held: 2 of 3, not 2 of 10."""
    rows = make(np.ones(10), np.full(10, 0.5), groups=["a"] * 8 + ["b", "c"])
    sets = np.ones((10, 2), bool)
    sets[:8, 1] = False
    found = describe_sets(sets, rows, 0.1)
    ill = found.by_class["ill"]
    assert ill is not None
    assert ill.value == pytest.approx(2 / 3)
    assert found.by_class["normal"] is None
    assert found.size.value == pytest.approx(1 + 2 / 3)
    assert found.single.value == pytest.approx(1 / 3)


@pytest.mark.parametrize("size", [1, 4])
def test_each_class_is_covered_over_data_sets_of_known_truth(size: int) -> None:
    """200 data sets, a hard class and an easy one; the mean coverage of each is that promised.

    By the theory it lies between .9 and .9 + 1 / (patients of the class + 1); its standard error
    over 200 data sets is below .006. One threshold for all would cover the hard class .8.
    """
    rng = np.random.default_rng(0)
    runs = [coverage_of_run(rng, 120 * size, size) for _ in range(200)]
    hard, easy = (np.mean([run[f"class {k}"] for run in runs]) for k in (1, 0))
    assert 0.885 < hard < 0.94
    assert 0.885 < easy < 0.94
    assert np.mean([run["marginal, class 1"] for run in runs]) < 0.87
