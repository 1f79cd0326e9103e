"""The rule of the simplest, on values and noise that are given, so that the truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from medgraft.studies.simplest import Rule, allowed_loss, expected_distance
from medgraft.types import Floats

FREE = np.zeros(20, bool)


def rule(worth: Floats, noise: float, seed: int = 0, resamples: int = 200) -> Rule:
    """Independent scenarios: what is out of the bag lacks what is in it (e - 1 times the noise)."""
    rng = np.random.default_rng(seed)
    inside = noise * rng.normal(size=(len(worth), resamples))
    outside = -inside + np.sqrt(np.e - 2) * noise * rng.normal(size=inside.shape)
    slack = np.where(worth == worth.max(), 0, 1.96 * np.sqrt(2) * noise)
    return Rule(worth, inside, outside, slack, "auroc")


def test_the_allowed_loss_shrinks_where_little_is_left() -> None:
    assert float(allowed_loss(0.80, "auroc")) == 0.01
    assert float(allowed_loss(0.97, "auroc")) == pytest.approx(0.01)
    assert float(allowed_loss(0.997, "auroc")) == pytest.approx(0.001)
    assert float(allowed_loss(0.03, "brier")) == pytest.approx(0.01)  # a third of 0.03
    assert float(allowed_loss(0.006, "brier")) == pytest.approx(0.002)


@pytest.mark.parametrize(("loss", "expected"), [(0.004, 0), (0.009, 0), (0.011, 1)])
def test_without_noise_the_margin_decides(loss: float, expected: int) -> None:
    assert rule(np.array([0.9 - loss, 0.9]), 1e-9).choose(FREE[:2]) == expected


def test_without_noise_what_is_expected_is_what_is_seen() -> None:
    """The rehearsal costs the gap itself, of which half the margin is allowed."""
    nothing = np.zeros((3, 100))
    for gap, expected in ((0.004, 0.004), (0.006, 0.0)):
        worth = np.array([0.9 - gap, 0.9, 0.8])
        assert expected_distance(worth, nothing, nothing, 0.01) == pytest.approx(expected)


def test_a_scenario_that_looks_better_by_luck_alone_makes_way_for_the_simplest() -> None:
    """Values that differ by no more than resampling makes them differ: the first of them is taken
    where it does not lie below the others."""
    worth = np.array([0.9, 0.89, 0.91, 0.88, 0.92])
    noise = 0.03
    assert rule(worth, noise).choose(FREE[:5]) == 0
    assert rule(worth, noise / 30).choose(FREE[:5]) == 4


@pytest.mark.parametrize("lead", [0.5, 1.0, 1.5, 3.0])
@pytest.mark.parametrize("noise", [0.3, 1.0, 3.0])
def test_choosing_so_costs_at_most_the_margin_against_the_best(lead: float, noise: float) -> None:
    """Nineteen simpler ones, `lead` margins worse than the last; noise in margins, too."""
    truth = 0.8 - 0.01 * np.array([lead] * 19 + [0.0])
    rng = np.random.default_rng(3)
    taken, bests = [], []
    for seed in range(60):
        worth = truth + 0.01 * noise * rng.normal(size=20)
        taken.append(rule(worth, 0.01 * noise, seed).choose(FREE))
        bests.append(int(worth.argmax()))
    cost = truth[bests].mean() - truth[taken].mean()
    assert cost <= 0.01
    if noise >= 1 and lead <= 1.5:  # what cannot be seen is not paid for
        assert np.mean(taken) < 0.8 * np.mean(bests)


def test_on_the_images_themselves_and_in_bags_it_is_one_rule() -> None:
    """Bags that add nothing are the images themselves."""
    worth = np.array([0.895, 0.9, 0.898, 0.902, 0.901])
    drawn = rule(worth, 0.002)
    still = Rule(worth, np.zeros_like(drawn.inside), drawn.outside, drawn.slack, "auroc")
    assert set(still.choose_in_bags(FREE[:5])) == {still.choose(FREE[:5])}


def test_an_undefined_metric_is_never_close() -> None:
    worth = np.array([-np.inf, 0.9, 0.902])
    noisy = rule(np.array([0.9, 0.9, 0.902]), 0.02)
    found = Rule(worth, noisy.inside, noisy.outside, noisy.slack, "auroc")
    assert found.choose(FREE[:3]) == 1
    assert 0 not in found.choose_in_bags(FREE[:3])


def test_what_is_barred_is_taken_only_where_nothing_else_is_close() -> None:
    even = rule(np.array([0.9, 0.9, 0.9]), 0.001)
    assert even.choose(np.array([True, False, False])) == 1
    assert even.choose(np.full(3, True)) == 0
    apart = rule(np.array([0.9, 0.7, 0.7]), 0.001)
    assert apart.choose(np.array([True, False, False])) == 0
