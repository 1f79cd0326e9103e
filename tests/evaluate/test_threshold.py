"""Thresholds: by hand, and the operating one in simulations against the empirically best."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgraft.errors import DataError, FitError, LeakError
from medgraft.evaluate.calibration import fit_calibrator, require_development
from medgraft.evaluate.threshold import (
    RULE,
    best_threshold,
    choose_threshold,
    cross_fit_thresholds,
    operating_threshold,
)


def two(f: np.ndarray) -> np.ndarray:
    return np.stack([-f / 2, f / 2], axis=1)


def balanced(y: np.ndarray, p: np.ndarray, threshold: float) -> float:
    return float(((p[y] >= threshold).mean() + (p[~y] < threshold).mean()) / 2)


def test_a_gain_that_is_sure_is_taken_and_one_that_is_not_is_left() -> None:
    """By hand: k of 20 negatives lie between the share (.5) and what is best (.75), no positive.
    The gain is k/20, its error √k/20: sure where √k > 1.645, so from k = 3 on."""
    y = np.repeat([False, True], 20)
    for k, expected in ((1, 0.5), (2, 0.5), (3, 0.75), (4, 0.75)):
        p = np.concatenate([np.full(20 - k, 0.1), np.full(k, 0.6), np.full(20, 0.9)])
        assert best_threshold(y, p) == pytest.approx(0.75)
        assert operating_threshold(y, p) == pytest.approx(expected), k


def test_images_of_one_group_tell_one_thing() -> None:
    """The same four negatives, of one patient: gain 4/20, error 4/20."""
    y = np.repeat([False, True], 20)
    p = np.concatenate([np.full(16, 0.1), np.full(4, 0.6), np.full(20, 0.9)])
    groups = np.arange(40).astype(str)
    assert operating_threshold(y, p, groups) == pytest.approx(0.75)
    groups[16:20] = "one"
    assert operating_threshold(y, p, groups) == 0.5


def test_it_is_the_share_of_positives_where_probabilities_are_calibrated() -> None:
    rng = np.random.default_rng(0)
    p = rng.beta(2, 5, 4000)
    y = rng.random(4000) < p
    assert operating_threshold(y, p) == y.mean()


def test_probabilities_that_mislead_are_met() -> None:
    """p is far too low: the best threshold is at .05, and the share would call nobody ill."""
    y = np.repeat([False, True], 50)
    p = np.concatenate([np.linspace(0.01, 0.04, 50), np.linspace(0.06, 0.3, 50)])
    assert operating_threshold(y, p) == pytest.approx(0.05)


@pytest.mark.parametrize("positives", [0, 10])
def test_one_class_has_no_threshold(positives: int) -> None:
    with pytest.raises(FitError, match="both classes"):
        operating_threshold(np.arange(10) < positives, np.full(10, 0.5))


def _images(kind: str, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Truth and scores: all but separable with outliers, overlapping, or of unequal spread."""
    y = rng.random(n) < 0.74
    if kind == "separable":
        t = rng.standard_t(3, n)
        return y, np.where(y, 6 + t, -3 + 0.7 * t)
    if kind == "overlapping":
        return y, 2 * rng.normal(1.5 * y)
    return y, np.where(y, rng.normal(2, 2, n), rng.normal(0, 0.6, n))  # no logistic curve


def _judged(kind: str, n: int, shifted: bool, repeats: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Balanced accuracy on 1000 new images (repeats,) at the best and at the operating
    threshold, both chosen on n others. shifted : elsewhere scores lie nearer together, off centre.
    """
    rng = np.random.default_rng(0)
    found = []
    for _ in range(repeats):
        y, f = _images(kind, n, rng)
        there, g = _images(kind, 1000, rng)
        if shifted:
            middle = (g[there].mean() + g[~there].mean()) / 2
            g = middle + rng.uniform(0.25, 0.8) * (g - middle) + rng.normal(0, 0.8)
            g += rng.normal(0, 0.8, len(g))
        calibrator = fit_calibrator(two(f), y.astype(int))
        p, q = calibrator(two(f))[:, 1], calibrator(two(g))[:, 1]
        found.append(
            [balanced(there, q, rule(y, p)) for rule in (best_threshold, operating_threshold)]
        )
    best, operating = np.array(found).T
    return best, operating


def test_it_is_better_where_classes_are_separable_here_and_not_elsewhere() -> None:
    best, operating = _judged("separable", 100, shifted=True)
    assert operating.mean() > best.mean() + 0.02
    assert np.quantile(operating, 0.1) > np.quantile(best, 0.1) + 0.05
    assert (operating > best + 0.05).sum() > 2 * (operating < best - 0.05).sum()


@pytest.mark.parametrize("kind", ["separable", "overlapping", "unequal"])
def test_it_loses_nothing_where_new_images_are_alike(kind: str) -> None:
    best, operating = _judged(kind, 150, shifted=False)
    assert operating.mean() > best.mean() - 0.001
    assert np.quantile(operating, 0.05) > np.quantile(best, 0.05) - 0.003


@pytest.mark.parametrize(
    ("y", "p", "expected"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9], 0.4),
        # Cuts .15 (1/2 + 1) and .7 (1 + 1/2) are equally good; .5 to .9 is the wider gap.
        ([0, 1, 0, 1], [0.1, 0.2, 0.5, 0.9], 0.7),
        # The same turned round: the wider gap is the lower.
        ([0, 1, 0, 1], [0.1, 0.5, 0.8, 0.9], 0.3),
        # Equal gaps (whole numbers halved, exact in binary): the lower.
        ([0, 1, 0, 1], [0.125, 0.25, 0.375, 0.5], 0.1875),
        # Balanced: one of three negatives above costs a third, one of one positives all.
        ([0, 0, 0, 1], [0.1, 0.2, 0.6, 0.4], 0.3),
        # A ranking that misleads: nothing beats labelling all alike; 0 to .3 is the widest.
        ([1, 0], [0.3, 0.9], 0.15),
        ([0, 1], [0.5, 0.5], 0.25),
    ],
)
def test_threshold_by_hand(y, p, expected):
    assert best_threshold(np.array(y, bool), np.array(p)) == pytest.approx(expected)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 10)), min_size=2, max_size=25))
def test_no_threshold_is_better(rows):
    y, p = np.array([a for a, _ in rows]), np.array([b / 10 for _, b in rows])
    if y.all() or not y.any():
        return

    def merit(t):
        return (p >= t)[y].mean() + (p < t)[~y].mean()

    found = merit(best_threshold(y, p))
    assert found == pytest.approx(max(merit(t) for t in [*p, 0.0, 1.1]))


def test_neighbouring_floats_are_still_told_apart():
    low = 0.5
    high = np.nextafter(low, 1)
    t = best_threshold(np.array([False, True]), np.array([low, high]))
    assert low < t <= high


def test_choosing_a_threshold_says_by_which_rule(make):
    operating = choose_threshold(make([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9]))
    assert operating.threshold == pytest.approx(0.5)  # at the share of positives
    assert operating.rule == RULE == "highest balanced accuracy"


def test_an_image_has_no_say_in_its_own_threshold(make):
    rng = np.random.default_rng(0)
    y, fold = rng.integers(0, 2, 60), np.arange(60) % 3
    p = np.clip(rng.normal(0.4 + 0.2 * y, 0.2), 0, 1)
    before = cross_fit_thresholds(make(y, p, fold=fold))
    after = cross_fit_thresholds(make(np.where(fold == 2, 1 - y, y), p, fold=fold))
    assert (before[fold == 2] == after[fold == 2]).all()
    assert set(before[fold == 2]) == {operating_threshold(y[fold != 2] == 1, p[fold != 2])}


def test_the_test_split_may_not_choose(make):
    test = make([0, 1, 0, 1], [0.1, 0.9, 0.2, 0.8], fold=[0, 0, 1, 1], split="test")
    for chooses in (choose_threshold, cross_fit_thresholds):
        with pytest.raises(LeakError, match="4 images of the test split"):
            chooses(test)
    development = dataclasses.replace(test, splits=np.array(["train", "val", "", "val"]))
    require_development(development, "anything")
    one = dataclasses.replace(test, splits=np.array(["train", "val", "", "test"]))
    with pytest.raises(LeakError, match="1 images"):
        require_development([development, one], "anything")


def test_what_has_no_threshold_is_refused(make):
    with pytest.raises(DataError, match="most probable"):
        choose_threshold(make([0, 1, 2], np.full((3, 3), 1 / 3)))
    with pytest.raises(FitError, match="both classes"):
        choose_threshold(make([1, 1], [0.2, 0.4]))
    nameless = dataclasses.replace(make([0, 1], [0.2, 0.4]), positive=None)
    with pytest.raises(DataError, match="--positive"):
        choose_threshold(nameless)
