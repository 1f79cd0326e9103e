from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from medgraft.errors import DataError
from medgraft.evaluate import intervals
from medgraft.evaluate.intervals import (
    Sampling,
    blended,
    bootstrap,
    bootstrap_weights,
    delong,
    freedom_of,
    newcombe,
    percentile,
    placements,
    proportion,
    repeats,
    wilson,
)

Z2 = 1.959963984540054**2


def test_wilson_by_hand():
    # At n of n the lower bound is n / (n + z²), at 0 of n the upper one z² / (n + z²).
    assert wilson(10, 10).low == pytest.approx(10 / (10 + Z2))
    assert wilson(10, 10).high == 1
    assert wilson(0, 25).high == pytest.approx(Z2 / (25 + Z2))
    assert wilson(0, 25).low == 0
    # Newcombe (1998), table I: 81 of 263 is .2553 to .3662, and 15 of 148 is .0624 to .1605.
    assert (wilson(81, 263).low, wilson(81, 263).high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert (wilson(15, 148).low, wilson(15, 148).high) == pytest.approx((0.0624, 0.1605), abs=5e-5)


def test_wilson_of_nothing_is_everything():
    assert np.isnan(wilson(0, 0).value)
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0, 1)


@pytest.mark.parametrize(("p", "n"), [(0.95, 50), (0.5, 20), (0.99, 200), (0.8, 30)])
def test_wilson_covers(p, n):
    """Exact coverage: the probability of the counts whose interval holds p."""
    held = [k for k in range(n + 1) if wilson(k, n).low <= p <= wilson(k, n).high]
    assert 0.925 < stats.binom.pmf(held, n, p).sum() < 0.99


def test_newcombe_solves_its_equation_and_mirrors():
    for auc, m, n in [(0.9, 30, 50), (1.0, 10, 10), (0.3, 5, 100)]:
        found = newcombe(auc, m, n)
        for x in (found.low, found.high):
            if 0 < x < 1:
                spare = (m + n) / 2 - 1
                v = x * (1 - x) * (1 + spare * (1 - x) / (2 - x) + spare * x / (1 + x)) / (m * n)
                assert (auc - x) ** 2 == pytest.approx(Z2 * v)
        mirror = newcombe(1 - auc, n, m)
        assert (1 - mirror.high, 1 - mirror.low) == pytest.approx((found.low, found.high))


def _placements_by_hand(y, score):
    kernel = np.array([[(a > b) + 0.5 * (a == b) for b in score[~y]] for a in score[y]])
    return kernel.mean(axis=1), kernel.mean(axis=0)


@pytest.mark.parametrize("seed", range(5))
def test_placements_are_the_mean_comparisons(seed):
    rng = np.random.default_rng(seed)
    y, score = rng.random(50) < 0.4, rng.integers(0, 12, 50).astype(float)
    for fast, plain in zip(placements(y, score), _placements_by_hand(y, score), strict=True):
        np.testing.assert_allclose(fast, plain, atol=1e-12)


def test_delong_equals_the_plain_structural_components():
    rng = np.random.default_rng(0)
    y = rng.random(70) < 0.5
    score = np.round(rng.normal(size=70) + y, 1)
    v10, v01 = _placements_by_hand(y, score)
    a, b = np.var(v10, ddof=1) / len(v10), np.var(v01, ddof=1) / len(v01)
    freedom = (a + b) ** 2 / (a**2 / (len(v10) - 1) + b**2 / (len(v01) - 1))
    auc = v10.mean()
    half = stats.t.ppf(0.975, freedom) * np.sqrt(a + b) / (auc * (1 - auc))
    expected = stats.logistic.cdf(stats.logistic.ppf(auc) + np.array([-half, half]))
    found = delong(y, score)
    assert found.value == pytest.approx(auc)
    assert (found.low, found.high) == pytest.approx(tuple(expected))


@pytest.mark.parametrize("score", [[0, 0, 1, 1], [1, 1, 0, 0], [1, 1, 1, 1]])
def test_delong_without_spread_falls_back(score):
    y = np.array([False, False, True, True])
    found = delong(y, np.array(score, float))
    assert found.method.startswith("Newcombe")
    assert found.high - found.low > 0.3
    assert delong(y[1:3], np.array([0.0, 1.0])).low < 0.3


def _delong_coverage(m, n, auc, runs):
    rng = np.random.default_rng(7)
    y = np.repeat([True, False], [m, n])
    shift = stats.norm.ppf(auc) * np.sqrt(2)
    found = [delong(y, rng.normal(size=m + n) + shift * y) for _ in range(runs)]
    return np.mean([e.low <= auc <= e.high for e in found])


@pytest.mark.parametrize("auc", [0.7, 0.9, 0.98])
def test_delong_covers(auc):
    assert 0.91 < _delong_coverage(60, 60, auc, 400) < 0.985


@pytest.mark.slow
@pytest.mark.parametrize("auc", [0.6, 0.9, 0.97, 0.99])
def test_delong_covers_more_images(auc):
    assert 0.925 < _delong_coverage(200, 400, auc, 2000) < 0.975


def test_resamples_draw_whole_groups():
    groups = np.array(["b", "a", "b", "c", "a", "b"])
    weights = np.concatenate(list(bootstrap_weights(groups, Sampling(resamples=400))), axis=1)
    assert weights.shape == (6, 400)
    assert (weights[0] == weights[2]).all()
    assert (weights[0] == weights[5]).all()
    assert (weights[1] == weights[4]).all()
    drawn = weights[[0, 1, 3]]  # one image a group
    assert (drawn.sum(axis=0) == 3).all()
    np.testing.assert_allclose(drawn.mean(axis=1), 1, atol=0.15)


def test_resamples_do_not_depend_on_how_they_are_chunked(monkeypatch):
    groups = np.arange(500).astype(str)
    sampling = Sampling(resamples=150)
    whole = np.concatenate(list(bootstrap_weights(groups, sampling)), axis=1)
    monkeypatch.setattr(intervals, "KEPT", 0)
    monkeypatch.setattr(intervals, "CHUNK", 5000)
    chunks = list(bootstrap_weights(groups, sampling))
    assert len(chunks) == 15
    assert (np.concatenate(chunks, axis=1) == whole).all()


def test_the_bootstrap_of_a_mean_has_its_known_error():
    x = np.random.default_rng(0).normal(size=400)
    groups = np.arange(400).astype(str)
    samples = bootstrap(lambda w: (x @ w / w.sum(axis=0))[None], groups, Sampling())[0]
    assert samples.std() == pytest.approx(x.std() / 20, rel=0.06)
    low, high = percentile(samples, Sampling())
    assert (low, high) == pytest.approx((x.mean() - 0.098, x.mean() + 0.098), abs=0.015)


def test_proportion_knows_groups():
    hit = np.array([True, True, False, False, True])
    assert proportion(hit, np.arange(5).astype(str)) == wilson(3, 5)
    # Twelve images of four patients, all right: four units.
    grouped = proportion(np.ones(12, bool), (np.arange(12) // 3).astype(str))
    assert (grouped.low, grouped.high) == pytest.approx((4 / (4 + Z2), 1))
    assert "4 groups" in grouped.method
    assert grouped.n == 12


def test_effective_number_by_hand():
    """Eight patients of two images: five both right, three both wrong."""
    hit = np.array([True] * 10 + [False] * 6)
    found = proportion(hit, (np.arange(16) // 2).astype(str))
    # Sums 2 (3/8) five times, -2 (5/8) three times: squares 7.5, fourth powers 8.90625.
    variance = 8 / 7 * 7.5 / 16**2
    kurtosis = 8 * 8.90625 / 7.5**2
    freedom = 1 / (0.5 / min(7, 16 / (kurtosis - 1 + 2 / 7)) + 0.5 / 7)  # others: 1 of 2
    told = (15 / 64) / variance * (np.sqrt(Z2) / stats.t.ppf(0.975, freedom)) ** 2
    expected = wilson(10 / 16 * told, told)
    assert (found.value, found.n) == (10 / 16, 16)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert "8 groups (so few may cover less" in found.method


def test_freedom_is_that_of_a_normal_variance_or_less():
    assert freedom_of(np.array([0.0, 0.0, 0.0])) == 2
    rng = np.random.default_rng(0)
    assert freedom_of(rng.normal(size=4000)) > 3600
    # One of ten groups holds it all: kurtosis 10, 20 / (9 + 2/9).
    assert freedom_of(np.array([1.0] + [0.0] * 9)) == pytest.approx(20 / (9 + 2 / 9))
    assert freedom_of(np.array([-1.0, 1.0] * 6)) == 11


def test_freedom_moves_from_alone_to_groups_as_images_repeat():
    assert blended(3, 50, np.ones(9, int)) == 50
    assert blended(3, 50, np.array([2, 2])) == pytest.approx(2 / (1 / 3 + 1 / 50))
    assert blended(3, 50, np.array([1000, 1000])) == pytest.approx(3, rel=0.01)


def test_undefined_resamples_drop_out():
    assert percentile(np.array([np.nan, 1.0, 1.0]), Sampling()) == (1, 1)
    assert np.isnan(percentile(np.full(3, np.nan), Sampling())).all()


def test_repeats():
    assert repeats(np.array(["a", "b", "a"]))
    assert not repeats(np.array(["a", "b"]))


@pytest.mark.parametrize("bad", [{"level": 1.0}, {"level": 0.0}, {"resamples": 10}])
def test_a_sampling_that_gives_no_interval_is_refused(bad):
    with pytest.raises(DataError, match="no interval"):
        Sampling(**bad)
