"""The steady threshold: by hand, and in simulations against the empirically best one."""

from __future__ import annotations

import numpy as np
import pytest

from medgraft.errors import FitError
from medgraft.evaluate.calibration import best_threshold, fit_calibrator, steady_threshold


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
        assert steady_threshold(y, p) == pytest.approx(expected), k


def test_images_of_one_group_tell_one_thing() -> None:
    """The same four negatives, of one patient: gain 4/20, error 4/20."""
    y = np.repeat([False, True], 20)
    p = np.concatenate([np.full(16, 0.1), np.full(4, 0.6), np.full(20, 0.9)])
    groups = np.arange(40).astype(str)
    assert steady_threshold(y, p, groups) == pytest.approx(0.75)
    groups[16:20] = "one"
    assert steady_threshold(y, p, groups) == 0.5


def test_it_is_the_share_of_positives_where_probabilities_are_calibrated() -> None:
    rng = np.random.default_rng(0)
    p = rng.beta(2, 5, 4000)
    y = rng.random(4000) < p
    assert steady_threshold(y, p) == y.mean()


def test_probabilities_that_mislead_are_met() -> None:
    """p is far too low: the best threshold is at .05, and the share would call nobody ill."""
    y = np.repeat([False, True], 50)
    p = np.concatenate([np.linspace(0.01, 0.04, 50), np.linspace(0.06, 0.3, 50)])
    assert steady_threshold(y, p) == pytest.approx(0.05)


@pytest.mark.parametrize("positives", [0, 10])
def test_one_class_has_no_threshold(positives: int) -> None:
    with pytest.raises(FitError, match="both classes"):
        steady_threshold(np.arange(10) < positives, np.full(10, 0.5))


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
    """Balanced accuracy on 1000 new images (repeats,) at the best and at the steady threshold,
    both chosen on n others. shifted : elsewhere scores lie nearer together and off centre."""
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
            [balanced(there, q, rule(y, p)) for rule in (best_threshold, steady_threshold)]
        )
    best, steady = np.array(found).T
    return best, steady


def test_it_is_better_where_classes_are_separable_here_and_not_elsewhere() -> None:
    best, steady = _judged("separable", 100, shifted=True)
    assert steady.mean() > best.mean() + 0.02
    assert np.quantile(steady, 0.1) > np.quantile(best, 0.1) + 0.05
    assert (steady > best + 0.05).sum() > 2 * (steady < best - 0.05).sum()


@pytest.mark.parametrize("kind", ["separable", "overlapping", "unequal"])
def test_it_loses_nothing_where_new_images_are_alike(kind: str) -> None:
    best, steady = _judged(kind, 150, shifted=False)
    assert steady.mean() > best.mean() - 0.001
    assert np.quantile(steady, 0.05) > np.quantile(best, 0.05) - 0.003
