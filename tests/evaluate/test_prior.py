"""Class shares from unlabelled images: closed forms, a grid, simulations, and where it fails."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from medgraft.errors import DataError
from medgraft.evaluate.intervals import Sampling
from medgraft.evaluate.prior import adjust, estimate_shares

QUICK = Sampling(resamples=200)


def alone(n: int) -> np.ndarray:
    return np.arange(n).astype(str)


def drawn(
    share: float, n: int, seed: int, apart: float = 2.0, moved: float = 0.0, learned: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Truth (n,) and exact probabilities (n, 2) of two normals that lie `apart`, by Bayes' rule.

    moved : a change of all images that training never saw.
    """
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < share).astype(int)
    x = rng.normal(apart * y + moved)
    ill, well = learned * stats.norm.pdf(x, apart), (1 - learned) * stats.norm.pdf(x)
    return y, np.stack([well, ill], axis=1) / (well + ill)[:, None]


# ------------------------------------------------------------------ independent derivations


@pytest.mark.parametrize("positives", [30, 55, 72])
def test_a_yes_or_no_test_gives_rogan_and_gladens_share(positives: int) -> None:
    """(apparent share + specificity - 1) / (sensitivity + specificity - 1), Rogan & Gladen 1978."""
    sensitivity, specificity, learned, n = 0.85, 0.8, 0.3, 100
    ppv = sensitivity * learned / (sensitivity * learned + (1 - specificity) * (1 - learned))
    npv = specificity * (1 - learned)
    npv /= npv + (1 - sensitivity) * learned
    prob = np.array([[1 - ppv, ppv]] * positives + [[npv, 1 - npv]] * (n - positives))
    found = estimate_shares(prob, (1 - learned, learned), alone(n), QUICK)
    by_hand = (positives / n + specificity - 1) / (sensitivity + specificity - 1)
    assert found.shares[1].value == pytest.approx(by_hand, abs=1e-5)
    assert found.shares[0].value == pytest.approx(1 - by_hand, abs=1e-5)


def test_sure_probabilities_are_counted() -> None:
    prob = np.repeat(np.eye(3), [10, 30, 60], axis=0)
    found = estimate_shares(prob, (0.2, 0.3, 0.5), alone(100), QUICK)
    np.testing.assert_allclose(found.values, [0.1, 0.3, 0.6], atol=1e-9)
    # G-test of the counts: 2 sum n log(observed / expected), chi-square with 2.
    counts = np.array([10, 30, 60])
    g, p = stats.power_divergence(counts, [20, 30, 50], lambda_="log-likelihood")
    assert found.statistic == pytest.approx(g, rel=1e-6)
    assert found.p == pytest.approx(p, rel=1e-6)


def test_it_is_the_highest_point_of_the_likelihood_on_a_grid() -> None:
    _, prob = drawn(0.2, 150, seed=1, apart=1.2, learned=0.6)
    found = estimate_shares(prob, (0.4, 0.6), alone(150), QUICK)
    grid = np.linspace(0, 1, 100_001)[1:-1]
    height = np.zeros(len(grid))
    for well, ill in prob:
        height += np.log(grid * ill / 0.6 + (1 - grid) * well / 0.4)
    assert found.shares[1].value == pytest.approx(grid[height.argmax()], abs=2e-5)
    at_training = np.log(prob.sum(axis=1)).sum()
    assert found.statistic == pytest.approx(2 * (height.max() - at_training), abs=1e-6)


def test_shares_on_the_edge_stay_there() -> None:
    """All images healthy beyond doubt: the share of the ill is 0, and nothing is nan."""
    prob = np.tile([0.99, 0.01], (40, 1))
    found = estimate_shares(prob, (0.5, 0.5), alone(40), QUICK)
    assert found.shares[1].value == pytest.approx(0, abs=1e-6)
    assert all(np.isfinite([share.low, share.high]).all() for share in found.shares)
    # To adjust by, half an image in 40 is left; so sure a healthy one stays healthy, finitely.
    assert found.values[1] == pytest.approx(0.5 / 40.5)
    assert np.isfinite(adjust(np.eye(2), found.training, found.values)).all()


def test_no_interval_is_of_no_width() -> None:
    found = estimate_shares(np.tile([0.99, 0.01], (40, 1)), (0.5, 0.5), np.arange(40).astype(str))
    none = found.shares[1]
    assert none.value == pytest.approx(0, abs=1e-6)
    assert none.high > 0.05
    assert "Wilson" in none.method


def test_one_patient_of_a_hundred_images_makes_no_other_mix() -> None:
    rng, seldom = np.random.default_rng(0), 0
    for _ in range(200):
        ill = rng.random(61) < 0.2
        y = np.repeat(ill, [100] + [1] * 60)
        prob = np.where(y[:, None], [0.05, 0.95], [0.95, 0.05])
        groups = np.repeat(np.arange(61), [100] + [1] * 60).astype(str)
        seldom += estimate_shares(prob, (0.8, 0.2), groups, Sampling(resamples=100)).p < 0.01
    assert seldom <= 6


def test_adjusted_probabilities_are_bayes_rule_at_the_new_shares() -> None:
    _, learned_at_half = drawn(0.3, 50, seed=2, learned=0.5)
    _, learned_at_tenth = drawn(0.3, 50, seed=2, learned=0.1)  # the same images
    moved = adjust(learned_at_half, (0.5, 0.5), (0.9, 0.1))
    np.testing.assert_allclose(moved, learned_at_tenth, atol=1e-12)
    np.testing.assert_allclose(adjust(moved, (0.9, 0.1), (0.5, 0.5)), learned_at_half, atol=1e-12)


def test_the_mean_of_the_adjusted_probabilities_is_the_shares() -> None:
    """Where EM stands still; three classes."""
    rng = np.random.default_rng(0)
    prob = rng.dirichlet([0.5, 0.5, 0.5], 200)
    found = estimate_shares(prob, (0.2, 0.3, 0.5), alone(200), QUICK)
    moved = adjust(prob, found.training, found.values)
    np.testing.assert_allclose(moved.mean(axis=0), found.values, atol=1e-5)


# ------------------------------------------------------------------ simulations


def test_intervals_cover_and_false_alarms_are_rare() -> None:
    """200 draws of 120 images: 95 % intervals hold the known share, p < .05 in about 5 %."""
    covered = alarms = 0
    for seed in range(200):
        _, prob = drawn(0.25, 120, seed)
        covered += _holds(estimate_shares(prob, (0.5, 0.5), alone(120), QUICK), 0.25)
        _, prob = drawn(0.5, 120, 1000 + seed)
        alarms += estimate_shares(prob, (0.5, 0.5), alone(120), Sampling(resamples=100)).p < 0.05
    assert 181 <= covered <= 198  # 95 % within three standard errors
    assert 2 <= alarms <= 20


def test_groups_are_drawn_whole() -> None:
    """Each image five times: images would give an interval √5 too narrow, and p too small."""
    _, once = drawn(0.4, 60, seed=3)
    five, groups = np.repeat(once, 5, axis=0), np.repeat(alone(60), 5)
    single = estimate_shares(once, (0.5, 0.5), alone(60), Sampling(resamples=1000))
    grouped = estimate_shares(five, (0.5, 0.5), groups, Sampling(resamples=1000))
    assert grouped.shares[1].value == pytest.approx(single.shares[1].value, abs=1e-5)
    assert grouped.shares[1].low == pytest.approx(single.shares[1].low, abs=0.01)
    assert grouped.shares[1].high == pytest.approx(single.shares[1].high, abs=0.01)
    assert grouped.statistic == pytest.approx(single.statistic, abs=1e-6)
    assert "60 groups" in grouped.shares[1].method
    assert "60 groups" in grouped.method


def test_adjusting_lowers_the_error_where_the_mix_alone_changed() -> None:
    y, prob = drawn(0.1, 2000, seed=4, apart=1.5)
    found = estimate_shares(prob, (0.5, 0.5), alone(2000), QUICK)
    moved = adjust(prob, found.training, found.values)
    wrong = [float((p.argmax(axis=1) != y).mean()) for p in (prob, moved)]
    loss = [-float(np.log(p[np.arange(2000), y]).mean()) for p in (prob, moved)]
    assert wrong[1] < 0.6 * wrong[0]
    assert loss[1] < 0.7 * loss[0]


def test_it_fails_where_the_images_of_a_class_look_different() -> None:
    """The assumption broken: the mix is as in training, but all images are half a standard
    deviation nearer the ill (another machine). It is sure of a shift of the mix that is none."""
    y, prob = drawn(0.3, 1000, seed=5, moved=0.5, learned=0.3)
    found = estimate_shares(prob, (0.7, 0.3), alone(1000), QUICK)
    assert found.p < 1e-4
    assert found.shares[1].low > 0.35
    assert abs(float(y.mean()) - 0.3) < 0.03
    moved = adjust(prob, found.training, found.values)
    loss = [-float(np.log(p[np.arange(1000), y]).mean()) for p in (prob, moved)]
    assert loss[1] > loss[0]  # and adjusting made it worse


# ------------------------------------------------------------------ refused


@pytest.mark.parametrize(
    ("prob", "training", "said"),
    [
        (np.tile([0.5, 0.5], (19, 1)), (0.5, 0.5), "19 images"),
        (np.tile([0.5, 0.6], (30, 1)), (0.5, 0.5), "row 0 .* sum to 1"),
        (np.tile([-0.5, 1.5], (30, 1)), (0.5, 0.5), "from 0 to 1"),
        (np.tile([np.nan, 0.5], (30, 1)), (0.5, 0.5), "row 0"),
        (np.full(30, 0.5), (0.5, 0.5), r"shape \(30,\)"),
        (np.ones((30, 1)), (1.0,), "two classes"),
        (np.tile([0.5, 0.5], (30, 1)), (1.0, 0.0), "above 0"),
        (np.tile([0.5, 0.5], (30, 1)), (0.5, 0.2), "together they are 1"),
        (np.tile([0.5, 0.5], (30, 1)), (0.5, float("nan")), "no shares"),
        (np.tile([0.5, 0.5], (30, 1)), (0.2, 0.3, 0.5), "3 shares for 2"),
    ],
)
def test_what_is_refused(prob: np.ndarray, training: tuple[float, ...], said: str) -> None:
    with pytest.raises(DataError, match=said):
        estimate_shares(prob, training, alone(len(prob)), QUICK)
    if len(prob) >= 20:
        with pytest.raises(DataError):
            adjust(prob, training, (0.5, 0.5))


def _holds(found: object, share: float) -> bool:
    one = found.shares[1]  # type: ignore[attr-defined]
    return bool(one.low <= share <= one.high)
