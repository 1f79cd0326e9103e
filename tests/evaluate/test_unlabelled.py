"""What is said of images without labels, against simulations whose labels are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from medgraft.evaluate.intervals import Sampling
from medgraft.evaluate.unlabelled import (
    ExpectedAccuracy,
    Labelled,
    expected_accuracy,
    halfway,
    matching_threshold,
)
from medgraft.types import Floats

FEW = Sampling(resamples=100)


def simulated(
    seed: int, n: int, centre: float, truth: float = 1.0
) -> tuple[Floats, np.ndarray, np.ndarray]:
    """Confidence, whether it was right, groups; log odds about +-centre that come true `truth`."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(centre, 1, n) * rng.choice([-1, 1], n)
    p = expit(odds)
    y = rng.random(n) < expit(truth * odds)
    return np.maximum(p, 1 - p), (p >= 0.5) == y, np.arange(n).astype(str)


def expected(seed: int, centre: float, truth: float = 1.0) -> tuple[ExpectedAccuracy, float]:
    known = Labelled(*simulated(seed, 600, 2.0))
    confidence, right, groups = simulated(seed + 1000, 400, centre, truth)
    return expected_accuracy(known, confidence, groups, FEW), float(right.mean())


def test_the_same_place_is_expected_to_be_as_good_and_intervals_cover() -> None:
    found = [expected(seed, 2.0) for seed in range(15)]
    true = np.mean([right for _, right in found])
    for name in ("atc", "doc"):
        values = np.array([getattr(one, name).value for one, _ in found])
        assert values.mean() == pytest.approx(true, abs=0.015)
        covered = [getattr(one, name).low <= true <= getattr(one, name).high for one, _ in found]
        assert np.mean(covered) > 0.8


@pytest.mark.parametrize("centre", [1.0, 3.0])
def test_harder_and_easier_images_are_noticed_where_probabilities_mean_what_they_say(
    centre: float,
) -> None:
    """Out of fold .85 are right; .73 of images nearer to the boundary and .94 of those farther.

    DoC then says so; ATC says more of either, its known fault where confidence is spread.
    """
    found = [expected(seed, centre) for seed in range(8)]
    true = np.mean([right for _, right in found])
    doc, atc, before = (
        np.mean([getattr(one, name).value for one, _ in found])
        for name in ("doc", "atc", "out_of_fold")
    )
    assert doc == pytest.approx(true, abs=0.02)
    assert (atc - before) / (true - before) > 1


def test_all_right_is_not_surely_all_right() -> None:
    thirty = np.arange(30).astype(str)
    known = Labelled(np.linspace(0.7, 0.9, 30), np.ones(30, bool), thirty)
    found = expected_accuracy(known, np.full(30, 0.95), thirty)
    assert found.out_of_fold.value == 1
    assert found.out_of_fold.low < 0.95
    assert found.atc.low < 0.95


def test_errors_made_with_confidence_are_not_noticed() -> None:
    """Log odds that mean a quarter of what they say: .63 are right, and .88 are expected."""
    one, right = expected(0, 2.0, truth=0.25)
    assert right < 0.7
    assert min(one.atc.low, one.doc.low) > 0.8


def test_atc_counts_what_lies_above_the_bound_by_hand() -> None:
    """3 of 8 wrong: the bound lies above the three lowest, at .7; 2 of 4 new ones reach it."""
    sure = np.array([0.5, 0.6, 0.65, 0.7, 0.8, 0.9, 0.95, 0.99])
    known = Labelled(sure, np.array([1, 0, 0, 1, 1, 1, 0, 1], bool), np.arange(8).astype(str))
    new = np.array([0.55, 0.69, 0.7, 0.99])
    found = expected_accuracy(known, new, np.arange(4).astype(str), FEW)
    assert (found.out_of_fold.value, found.atc.value) == (0.625, 0.5)
    assert found.doc.value == pytest.approx(0.625 - sure.mean() + new.mean())


@pytest.mark.parametrize(
    ("share", "threshold", "called"),
    [(0.0, 0.95, 0), (0.2, 0.65, 2), (0.5, 0.35, 4), (0.75, 0.15, 7), (1.0, 0.05, 10)],
)
def test_a_matching_threshold_by_hand(share: float, threshold: float, called: int) -> None:
    """Ten images, of which three share .1 and three .2; the nearest count that ties allow."""
    p = np.array([0.1] * 3 + [0.2] * 3 + [0.5, 0.5, 0.8, 0.9])
    assert matching_threshold(p, share) == pytest.approx(threshold)
    assert int((p >= matching_threshold(p, share)).sum()) == called


def test_a_shift_of_all_log_odds_is_undone_by_matching() -> None:
    """Whatever rising function a new place puts on probabilities, the same images are positive."""
    p = np.random.default_rng(0).random(500)
    share = float((p >= 0.7).mean())
    moved = expit(3 * np.log(p / (1 - p)) + 2)
    np.testing.assert_array_equal(moved >= matching_threshold(moved, share), p >= 0.7)


def test_halfway_is_the_middle_in_log_odds() -> None:
    assert halfway(0.2, 0.8) == pytest.approx(0.5)
    assert halfway(0.2, 1.0, 1.0) == 1.0
    assert 0.2 < halfway(0.2, 1.0) < 1.0
