"""What twice the images would bring: known laws are found, and intervals hold what comes."""

from __future__ import annotations

import numpy as np
import pytest

from medgraft.evaluate.power_law import Points, double
from medgraft.results.recommendation import CurvePoint, LearningCurve
from medgraft.types import Estimate

SHARES = np.array([0.25, 0.5, 0.75, 1.0])
REPEATS = np.array([3.0, 3.0, 3.0, 1.0])


def points(losses: np.ndarray, error: float, learned: float = 0.0) -> Points:
    """Losses that err by `error` of themselves as judged alike, and by `learned` as learned."""
    judged = error**2 * np.outer(losses, losses)
    draws = learned**2 * (1 - SHARES) * losses**2
    draws[-1] = np.nan
    return Points(SHARES, losses, judged, draws, REPEATS)


@pytest.mark.parametrize(("a", "b", "c"), [(0.0, 0.1, 0.5), (0.05, 0.04, 1.0), (0.2, 0.0, 1.0)])
def test_a_law_without_noise_is_found(a: float, b: float, c: float) -> None:
    found = double(points(a + b * SHARES**-c, 1e-3, 1e-4))
    then = a + b * 2**-c
    assert found.loss[0] == pytest.approx(then, rel=2e-3)
    assert found.gain[0] == pytest.approx(a + b - then, abs=2e-3 * (a + b))


def test_a_straight_line_over_doublings_goes_on() -> None:
    found = double(points(0.2 - 0.05 * np.log2(SHARES), 1e-3, 1e-4))
    assert found.gain[0] == pytest.approx(0.05, rel=0.02)


def test_more_images_never_make_it_worse() -> None:
    found = double(points(np.array([0.1, 0.11, 0.12, 0.13]), 0.05, 0.05))
    assert found.gain[:2] == (0, 0)
    assert found.loss[0] == pytest.approx(0.115, abs=0.02)


def test_points_that_err_more_make_it_less_certain() -> None:
    losses = 0.02 + 0.05 * SHARES**-0.7
    sure, unsure = (double(points(losses, 0.02, learned)) for learned in (0.01, 0.1))
    assert sure.gain[2] - sure.gain[1] < (unsure.gain[2] - unsure.gain[1]) / 2
    assert sure.gain[1] < sure.gain[0] < sure.gain[2]


def test_what_comes_lies_in_the_interval() -> None:
    """Curves of a known law, erring as `Points` says: nine of ten intervals hold the loss."""
    rng = np.random.default_rng(0)
    law = 0.02 + 0.06 * SHARES**-0.6
    then = 0.02 + 0.06 * 2**-0.6
    held = 0
    for _ in range(100):
        judged = np.exp(0.05 * rng.standard_normal())
        learned = np.exp(0.04 * rng.standard_normal(4))
        low, high = double(points(law * judged * learned, 0.05, 0.04)).loss[1:]
        held += low <= then <= high
    assert held >= 90


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.011, 0.03, "helps"), (0.0, 0.009, "hardly helps"), (0.0, 0.02, "cannot be told")],
)
def test_the_verdict_is_the_intervals(low: float, high: float, verdict: str) -> None:
    gain = Estimate(low, low, high, 100, "law")
    point = CurvePoint(1.0, 80, 1, gain)
    assert LearningCurve("key", (point,), gain, gain, 0.01).verdict == verdict
    assert LearningCurve("key", (point,), None, None, 0.01).verdict == ""
