from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgraft.errors import DataError, FitError, LeakError
from medgraft.evaluate.calibration import (
    RULE,
    best_threshold,
    calibrate_folds,
    choose_threshold,
    cross_fit,
    cross_fit_thresholds,
    fit_calibrator,
    fold_calibrators,
    require_development,
    steady_threshold,
)
from medgraft.evaluate.metrics import auroc


def two(f):
    """Scores of two classes whose difference is f."""
    return np.stack([-f / 2, f / 2], axis=1)


def noisy(seed=0, n=200):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    return y, 3 * rng.normal(size=n) + 2 * y - 5


def test_two_classes_solve_the_equations_of_smoothed_targets():
    """The fit is where the smoothed targets and probabilities agree in sum and in moment."""
    y, f = noisy()
    p = fit_calibrator(two(f), y)(two(f))[:, 1]
    n1, n0 = (y == 1).sum(), (y == 0).sum()
    target = np.where(y == 1, (n1 + 0.25) / (n1 + 0.5), 0.25 / (n0 + 0.5))
    assert abs((p - target).sum()) < 1e-4
    assert abs(((p - target) * f).sum()) < 1e-3


def test_two_classes_are_platts_sigmoid():
    y, f = noisy()
    found = fit_calibrator(two(f), y)
    p = found(two(f))[:, 1]
    intercept = found.biases[1] - found.biases[0]
    np.testing.assert_allclose(p, 1 / (1 + np.exp(-(found.slope * f + intercept))), rtol=1e-12)
    assert sum(found.biases) == pytest.approx(0, abs=1e-12)


def test_three_classes_solve_the_equations_of_the_log_loss():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    scores = 2 * rng.normal(size=(300, 3)) + 3 * np.eye(3)[y] + [1, 0, -4]
    p = fit_calibrator(scores, y)(scores)
    n = np.bincount(y)
    own = np.eye(3)[y]
    target = np.where(own == 1, n[y][:, None] + 0.25, 0.125) / (n[y] + 0.5)[:, None]
    np.testing.assert_allclose(target.sum(axis=1), 1)
    np.testing.assert_allclose((p - target).sum(axis=0), 0, atol=1e-3)
    assert abs(((p - target) * scores).sum()) < 1e-2
    np.testing.assert_allclose(p.sum(axis=1), 1)


def test_true_probabilities_stay_what_they_are():
    rng = np.random.default_rng(3)
    f = rng.normal(0, 2, 40_000)
    y = (rng.random(40_000) < 1 / (1 + np.exp(-f))).astype(int)
    found = fit_calibrator(two(f), y)
    assert found.slope == pytest.approx(1, abs=0.05)
    assert found.biases[1] == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize("factor", [1e-4, 1.0, 1e4])
def test_the_unit_of_the_scores_does_not_matter(factor):
    y, f = noisy()
    one, other = (fit_calibrator(s, y)(s) for s in (two(f), two(f * factor)))
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_perfect_separation_stays_finite_and_modest():
    f = np.concatenate([np.linspace(-3, -1, 20), np.linspace(1, 3, 30)])
    y = (f > 0).astype(int)
    p = fit_calibrator(two(f), y)(two(f))[:, 1]
    assert p.min() > 0.0002  # of 50 images
    assert p.max() < 0.9998
    assert ((p > 0.5) == (y == 1)).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([-1.0, 1.0]), st.sampled_from([0.01, 1.0, 100.0]))
def test_calibration_never_changes_the_ranking(seed, sign, factor):
    y, f = noisy(seed, 60)
    f = np.round(f, 1) * sign * factor
    p = fit_calibrator(two(f), y)(two(f))[:, 1]
    assert auroc(y == 1, p) == auroc(y == 1, f)


def test_one_class_cannot_calibrate():
    with pytest.raises(FitError, match="one class"):
        fit_calibrator(two(np.arange(4.0)), np.zeros(4, int))


def test_an_image_has_no_say_in_its_own_calibration():
    y, f = noisy(1, 90)
    fold = np.arange(90) % 3
    before = cross_fit(two(f), y, fold)
    turned = np.where(fold == 1, 1 - y, y)
    after = cross_fit(two(f), turned, fold)
    assert (before[fold == 1] == after[fold == 1]).all()
    assert (before[fold != 1] != after[fold != 1]).all()
    others = fit_calibrator(two(f)[fold != 1], y[fold != 1])
    assert (before[fold == 1] == others(two(f)[fold == 1])).all()


def test_scores_of_two_units_are_calibrated_each_by_its_own():
    """Two strengths, a hundredfold apart: from inner scores of each fold both come out right."""
    rng = np.random.default_rng(0)
    y, fold = rng.integers(0, 2, 4000), np.arange(4000) % 2
    f = rng.normal(size=4000) + 2 * y - 1
    truth = 1 / (1 + np.exp(-2 * f))
    unit = np.array([0.1, 10.0])
    inner = np.stack([np.where((fold == k)[:, None], np.nan, unit[k] * two(f)) for k in (0, 1)])
    scores = unit[fold][:, None] * two(f)
    nested = cross_fit(scores, y, fold, inner)[:, 1]
    np.testing.assert_allclose(nested, truth, atol=0.03)
    pooled = cross_fit(scores, y, fold)[:, 1]
    assert np.abs(pooled - truth).max() > 0.3
    own = fold_calibrators(scores, y, fold, inner)
    other_view = calibrate_folds(own, scores + np.array([0.0, 1.0]), fold)[:, 1]
    assert (other_view > nested).all()


@pytest.mark.parametrize("fold", [np.zeros(4, int), np.array([-1, -1, 0, 1])])
def test_cross_fitting_needs_folds(fold):
    with pytest.raises(DataError, match="two folds"):
        cross_fit(two(np.arange(4.0)), np.array([0, 1, 0, 1]), fold)


# --------------------------------------------------------------------------- thresholds


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
    assert set(before[fold == 2]) == {steady_threshold(y[fold != 2] == 1, p[fold != 2])}


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
