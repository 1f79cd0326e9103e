"""Is the influence of an image the derivative of the figure, and is its spread the known one?"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from medgraft.evaluate.compare import compare
from medgraft.evaluate.estimates import estimate
from medgraft.evaluate.influence import bounds, influence, spread
from medgraft.evaluate.intervals import delong, ones
from medgraft.evaluate.metrics import BINARY, STUDIED, auroc, judge, statistics
from medgraft.types import Operating

AT = Operating(0.5, "by hand")
METRICS = [name for name in (*STUDIED, *BINARY) if name != "ece"]


def drawn(make, seed, n=60, classes=2, **more):
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
    if classes == 2:
        return judge(
            make(y, np.clip(np.round(rng.normal(0.4 + 0.2 * y, 0.2), 1), 0, 1), **more), AT
        )
    z = np.round(rng.normal(size=(n, classes)) + np.eye(classes)[y], 1)
    return judge(make(y, np.exp(z) / np.exp(z).sum(axis=1, keepdims=True), **more))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("fold", [None, np.arange(60) % 3])
def test_influence_is_the_derivative_by_an_image_s_weight(make, metric, classes, fold):
    if classes > 2 and metric in BINARY:
        return
    case = drawn(make, 3, classes=classes, fold=fold)
    step = 1e-4
    weights = ones(60) + step * np.concatenate([np.eye(60), -np.eye(60)], axis=1)
    up, down = np.split(statistics(case, [metric])(weights)[0], 2)
    np.testing.assert_allclose(influence(case, metric), (up - down) / (2 * step), atol=2e-6)
    assert influence(case, metric).sum() == pytest.approx(0, abs=1e-7)


def test_independent_images_of_one_stratum_have_delong_s_interval(make):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 70)
    p = stats.norm.cdf(np.round(rng.normal(size=70) + y, 1))
    case = judge(make(y, p), AT)
    # DeLong's degrees of freedom are those of Satterthwaite alone, as those of a difference.
    variance, freedom = spread(influence(case, "auroc"), case, "auroc", paired=True)
    exact = delong(y == 1, p)
    found = bounds("auroc", exact.value, float(np.sqrt(variance)), freedom, 0.95)
    assert found == pytest.approx((exact.low, exact.high), abs=1e-12)
    assert estimate(case, ["auroc"])["auroc"] == exact


def test_two_images_of_one_patient_among_sixty_hardly_widen_an_interval(make):
    """One positive lies below most negatives, and repeats nothing."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    z = rng.normal(size=60) + 3 * y
    z[1] = -1.0
    p, alone = stats.norm.cdf(z - 1.5), np.arange(60)
    paired = np.where(alone == 59, 57, alone)
    for metric in ("auroc", "sensitivity", "accuracy"):
        one, two = (
            estimate(judge(make(y, p, groups), AT), [metric])[metric] for groups in (alone, paired)
        )
        assert two.high - two.low == pytest.approx(one.high - one.low, rel=0.15), metric


def test_obuchowski_by_hand(make):
    """Three patients: A has a positive .9 and a negative .5, B a positive .4, C negatives .1, .6.

    Placements: .9 wins 3 of 3, .4 wins 1 of 3, so AUROC 2/3; of the positives, .5 has 1 of 2
    above, .1 has 2, .6 has 1. Less 2/3, summed by patient: positives A 1/3, B -1/3; negatives
    A -1/6, C 1/3 - 1/6 = 1/6.
    S10 = 2/1 (1/9 + 1/9) / 2² = 1/9, S01 = 2/1 (1/36 + 1/36) / 3² = 1/81, and of A alone
    2 S11 = 2 * 3/2 * (1/3)(-1/6) / (2 * 3) = -1/36.
    """
    case = judge(make([1, 0, 1, 0, 0], [0.9, 0.5, 0.4, 0.1, 0.6], list("AABCC")), AT)
    variance, freedom = spread(influence(case, "auroc"), case, "auroc", paired=True)
    assert variance == pytest.approx(1 / 9 + 1 / 81 - 1 / 36)
    assert freedom == pytest.approx((1 / 9 + 1 / 81) ** 2 / (1 / 9**2 + 1 / 81**2))


def test_folds_count_pairs_within_and_cost_freedom(make):
    rng = np.random.default_rng(1)
    y, fold = rng.integers(0, 2, 100), np.arange(100) % 5
    p = rng.random(100) * (1 - 0.1 * fold) + 0.1 * fold * 0.5
    case = judge(make(y, p, fold=fold), AT)
    variance, _ = spread(influence(case, "auroc"), case, "auroc")
    paired, freedom = spread(influence(case, "auroc"), case, "auroc", paired=True)
    # By hand: each placement weighs as many pairs as its fold has, centred on the AUROC.
    area, parts, pairs = auroc(y == 1, p, fold), {0: [], 1: []}, 0
    for k in range(5):
        a, b = p[(fold == k) & (y == 1)], p[(fold == k) & (y == 0)]
        wins = (a[:, None] > b).astype(float)
        pairs += wins.size
        parts[1] += ((wins - area).sum(axis=1)).tolist()
        parts[0] += ((wins - area).sum(axis=0)).tolist()
    squares = {k: np.square(v).sum() / pairs**2 * len(v) for k, v in parts.items()}
    free = {k: len(v) - 1 for k, v in parts.items()}
    assert variance == pytest.approx(sum(squares[k] / (free[k] - 4) for k in free))
    own = {k: squares[k] / free[k] for k in free}
    assert paired == pytest.approx(sum(own.values()))
    assert freedom == pytest.approx(paired**2 / sum(own[k] ** 2 / free[k] for k in free))


@pytest.mark.parametrize("metric", ["auroc", "accuracy", "log_loss"])
def test_repeating_every_image_changes_nothing(make, metric):
    rng = np.random.default_rng(2)
    y, p = rng.integers(0, 2, 50), rng.random(50)
    once = judge(make(y, p), AT)
    four = judge(make(y.repeat(4), p.repeat(4), np.arange(50).repeat(4)), AT)
    one, many = (spread(influence(case, metric), case, metric) for case in (once, four))
    assert one == pytest.approx(many, rel=0.01 if metric == "auroc" else 1e-6)  # `blended`


def test_paired_difference_equals_the_covariance_of_placements(make):
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 60)
    shared = rng.normal(size=60)
    a, b = (stats.norm.cdf(shared + k * y + rng.normal(size=60)) for k in (1, 0.5))
    found = compare(make(y, a), [make(y, b, scenario="b")], "auroc", {"a": AT, "b": AT}, "report")[
        0
    ]

    def placed(score):
        wins = score[y == 1][:, None] > score[y == 0]
        return wins.mean(axis=1), wins.mean(axis=0)

    (a10, a01), (b10, b01) = placed(a), placed(b)
    parts = [np.var(u - v, ddof=1) / len(u) for u, v in ((a10, b10), (a01, b01))]
    free = sum(parts) ** 2 / sum(
        s**2 / (len(u) - 1) for s, u in zip(parts, (a10, a01), strict=True)
    )
    error = np.sqrt(sum(parts))
    assert found.difference == pytest.approx(a10.mean() - b10.mean())
    assert found.high - found.low == pytest.approx(2 * stats.t.ppf(0.975, free) * error)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(found.difference) / error, free))


def test_bounds_stay_within_what_a_metric_can_be():
    for metric, value in (("auroc", 0.99), ("mcc", -0.95), ("brier", 0.001), ("auprc", 0.02)):
        low, high = bounds(metric, value, 0.3, 2.0, 0.95)
        assert low < value < high
        assert low >= (-1 if metric == "mcc" else 0)
        assert metric == "brier" or high <= 1
