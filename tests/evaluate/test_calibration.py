from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgraft.errors import DataError, FitError
from medgraft.evaluate.calibration import (
    calibrate_folds,
    cross_fit,
    fit_calibrator,
    fold_calibrators,
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
