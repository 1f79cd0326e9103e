"""What is told of the mean of networks from one at a time, against simulated networks."""

import numpy as np
import pytest

from medgraft.evaluate.calibration import fit_calibrator
from medgraft.learn.network_mean import FEWEST, as_mean_of, variance_between

N, FOLDS, NOISE = 400, 5, 1.2


def networks(rng, y, signal=1.5, spread=1.0):
    """Scores (FOLDS, n, 2) of networks that differ by chance, and their mean over many."""
    truth = np.where(y == 1, signal, -signal) / 2 + spread * rng.standard_normal(len(y))
    each = truth + NOISE * rng.standard_normal((FOLDS, len(y)))
    return np.stack([-each / 2, each / 2], axis=2), truth


def unseen(rng, scores, fold):
    """What each network has not learned from: its fold, and a seventh of the rest."""
    for k, own in enumerate(scores):
        rows = np.flatnonzero((fold == k) | (rng.random(len(fold)) < 0.15))
        yield rows, own[rows]


def test_variance_between_networks_is_that_of_their_noise():
    rng = np.random.default_rng(0)
    y = np.arange(4000) % 2
    fold = np.arange(4000) // 2 % FOLDS
    scores, _ = networks(rng, y)
    found = variance_between(list(unseen(rng, scores, fold)), len(y))
    # Scores are (-s/2, s/2): the sum over classes of noise on s of variance v is v / 2.
    assert found == pytest.approx(NOISE**2 / 2, rel=0.1)


def test_slope_in_use_of_the_mean_of_networks_is_one():
    """The calibration slope of new images by all networks, over repeated studies."""
    rng = np.random.default_rng(1)
    slopes = {"single": [], "mean": []}
    for _ in range(60):
        y = np.arange(N) % 2
        fold = np.arange(N) // 2 % FOLDS
        scores, _ = networks(rng, y)
        out = scores[fold, np.arange(N)]
        variance = variance_between(list(unseen(rng, scores, fold)), N)
        new_y = np.arange(4000) % 2
        new, _ = networks(rng, new_y)
        in_use = new.mean(axis=0)
        for name, fitted_on in (
            ("single", out),
            ("mean", as_mean_of(out, y, variance, judged=1, deployed=FOLDS)),
        ):
            calibrator = fit_calibrator(fitted_on, y)
            ideal = fit_calibrator(in_use, new_y)
            slopes[name].append(ideal.slope / calibrator.slope)
    assert np.median(slopes["mean"]) == pytest.approx(1, abs=0.06)
    assert np.median(slopes["single"]) > 1.5  # (1 + 1.44) / (1 + 1.44 / 5) = 1.89


def test_nothing_changes_where_networks_agree_or_nobody_can_tell():
    rng = np.random.default_rng(2)
    y = np.arange(N) % 2
    fold = np.arange(N) // 2 % FOLDS
    scores, _ = networks(rng, y)
    out = scores[fold, np.arange(N)]
    few = [(np.arange(FEWEST - 1), scores[k, : FEWEST - 1]) for k in range(2)]
    assert variance_between(few, N) == 0
    np.testing.assert_array_equal(as_mean_of(out, y, 0.0, 1, FOLDS), out)
    np.testing.assert_array_equal(as_mean_of(out, y, 1.0, 1, 1), out)


def test_one_network_spreads_more_than_the_mean_of_two():
    """Two networks a fold judge, one is deployed: scores move away from their class."""
    rng = np.random.default_rng(3)
    y = np.arange(N) % 2
    scores, _ = networks(rng, y)
    out = scores[:2].mean(axis=0)
    found = as_mean_of(out, y, NOISE**2 / 2, judged=2, deployed=1)
    assert found[y == 1, 1].std() > out[y == 1, 1].std()
    assert found[y == 1].mean(axis=0) == pytest.approx(out[y == 1].mean(axis=0))


def test_classes_of_one_image_and_equal_scores_are_left_alone():
    same = np.zeros((3, 3))
    np.testing.assert_array_equal(as_mean_of(same, np.arange(3), 1.0, 1, 5), same)
