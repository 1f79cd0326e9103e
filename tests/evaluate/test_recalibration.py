"""Calibration slope, intercept and test: closed forms, another fit, simulated truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from medgraft.evaluate import recalibration
from medgraft.evaluate.calibration import fit_calibrator
from medgraft.evaluate.recalibration import recalibrate
from medgraft.results.figures import Calibration
from medgraft.types import Predictions


def stated(y, p, groups=None) -> Predictions:
    """Predictions that state p, (n,) of the positive class or (n, n_classes)."""
    p = np.asarray(p, float)
    prob = np.stack([1 - p, p], axis=1) if p.ndim == 1 else p
    n, n_classes = prob.shape
    groups = np.arange(n) if groups is None else groups
    return Predictions(
        "a", tuple("abcdefgh"[:n_classes]), "b" if n_classes == 2 else None,
        np.arange(n).astype(str), np.asarray(groups).astype(str), np.full(n, "test"),
        np.full(n, -1), np.asarray(y, np.int64), np.log(np.maximum(prob, 1e-12)), prob,
    )  # fmt: skip


def binormal(rng, n: int, d: float = 2.0, size: int = 1):
    """Truth, right probabilities and patients, of `size` images each and of one class."""
    group = np.repeat(np.arange(n // size), size)
    y = (rng.random(n // size) < 0.4).astype(int)[group]
    patient = rng.normal(size=n // size)[group] if size > 1 else rng.normal(size=n)
    x = (patient + rng.normal(size=len(y)) if size > 1 else patient * 2**0.5) / 2**0.5
    return y, special.expit(d * (x + d * y - d / 2) + special.logit(0.4)), group


def sharpened(p, slope: float):
    """Probabilities whose calibration slope is `slope` where that of p is 1."""
    return special.expit(special.logit(p) / slope)


def finite(found: Calibration) -> None:
    """Every number of it, and no interval without width."""
    estimates = [*found.averages.values(), found.intercept, found.slope]
    for one in (one for one in estimates if one is not None):
        assert np.isfinite([one.value, one.low, one.high]).all()
        assert one.low < one.value < one.high or one.low < one.high == one.value
    assert 0 < found.p <= 1
    assert found.slope is not None or found.reason


def test_two_probabilities_have_a_closed_form() -> None:
    """Firth's estimate of a 2 by 2 table adds half an image to each cell."""
    p, y = np.repeat([0.3, 0.7], 50), np.r_[np.ones(10), np.zeros(40), np.ones(42), np.zeros(8)]
    found = recalibrate(stated(y, p))
    gained = np.log(42.5 / 8.5) - np.log(10.5 / 40.5)
    assert found.slope is not None
    assert found.curve is not None
    assert found.slope.value == pytest.approx(gained / (2 * special.logit(0.7)), abs=1e-3)
    assert found.curve[1] == pytest.approx(np.log(42.5 / 8.5 * 10.5 / 40.5) / 2, abs=1e-3)
    assert found.averages["b"].value == pytest.approx(0.5 - 0.52)


def test_one_probability_for_all_leaves_the_intercept() -> None:
    found = recalibrate(stated(np.arange(40) < 30, np.full(40, 0.5)))
    assert found.slope is None
    assert found.reason == "all images have one probability"
    assert found.intercept is not None
    assert found.intercept.value == pytest.approx(np.log(30.5 / 10.5), abs=1e-4)
    assert found.p < 0.01
    assert recalibrate(stated(np.arange(40) < 20, np.full(40, 0.5))).p > 0.5


@pytest.mark.parametrize("n_classes", [2, 4])
def test_slope_and_bias_are_those_that_a_calibrator_would_undo(n_classes: int) -> None:
    """Platt's targets and Firth's penalty are nothing among so many images."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, n_classes, 8_000)
    right = special.softmax(
        1.5 * rng.normal(size=(8_000, n_classes)) + 2.2 * np.eye(n_classes)[y], 1
    )
    bias = np.linspace(-0.4, 0.4, n_classes)
    said = special.softmax(np.log(right) * 1.6 + bias, axis=1)
    fitted = fit_calibrator(np.log(said), y)
    found = recalibrate(stated(y, said))
    assert found.slope is not None
    assert found.slope.value == pytest.approx(fitted.slope, abs=5e-3)
    assert found.slope.low < fitted.slope < found.slope.high
    if found.curve is not None:
        assert found.curve[1] == pytest.approx(fitted.biases[1] - fitted.biases[0], abs=1e-2)
    assert found.p < 0.002


def p_alone(predictions: Predictions) -> float:
    """The p of `recalibrate` without its intervals, which take ten times as long."""
    return recalibration._test(recalibration._model(predictions))


@pytest.mark.parametrize(("n", "size", "d"), [(60, 1, 2.9), (300, 1, 1.0), (300, 10, 2.9)])
def test_right_probabilities_are_suspected_once_in_twenty(n: int, size: int, d: float) -> None:
    """Few images, classes all but separated, thirty patients: all at their stated rate."""
    drawn = [binormal(np.random.default_rng(seed), n, d, size) for seed in range(200)]
    p = np.array([p_alone(stated(*one)) for one in drawn])
    assert p[0] == recalibrate(stated(*drawn[0])).p
    assert np.mean(p < 0.05) <= 0.085  # the rate and two standard errors
    assert 0.4 < np.mean(p) < 0.6
    slopes = [recalibrate(stated(*one)).slope for one in drawn[:30]]
    assert np.mean([slope is not None and slope.low <= 1 <= slope.high for slope in slopes]) > 0.85


def test_many_rare_classes_are_no_alarm() -> None:
    """Eight classes of seven images each, all but separated: chi squared would alarm in 13 %."""
    p = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        y = rng.choice(8, 60, p=np.arange(1, 9) / 36)
        x = rng.normal(size=(60, 8)) + 4 * np.eye(8)[y]
        said = special.softmax(4 * x + np.log(np.arange(1, 9)), axis=1)
        p.append(p_alone(stated(y, said)))
    assert np.mean(np.array(p) < 0.05) <= 0.085


@pytest.mark.parametrize("slope", [0.4, 2.5])
def test_wrong_probabilities_are_found(slope: float) -> None:
    for seed in range(5):
        y, p, _ = binormal(np.random.default_rng(seed), 200)
        found = recalibrate(stated(y, sharpened(p, slope)))
        assert found.p < 0.05
        assert found.slope is not None
        assert (
            found.slope.low <= slope <= found.slope.high or abs(found.slope.value / slope - 1) < 0.4
        )
        assert (found.slope.high < 1) == (slope < 1)


def test_copies_add_nothing() -> None:
    """Each image five times, as one patient: as sure as with each image once."""
    y, p, _ = binormal(np.random.default_rng(3), 200)
    once = recalibrate(stated(y, p))
    copies = recalibrate(stated(np.repeat(y, 5), np.repeat(p, 5), np.repeat(np.arange(200), 5)))
    careless = recalibrate(stated(np.repeat(y, 5), np.repeat(p, 5)))

    def width(found: Calibration) -> float:
        assert found.slope is not None
        return found.slope.high - found.slope.low

    assert width(copies) == pytest.approx(width(once), rel=0.15)
    assert width(careless) == pytest.approx(width(once) / 5**0.5, rel=0.1)
    assert copies.p == pytest.approx(once.p, abs=0.1)
    assert copies.averages["b"].high == pytest.approx(once.averages["b"].high, abs=5e-3)


def test_the_order_of_images_and_the_name_of_the_positive_mean_nothing() -> None:
    y, p, groups = binormal(np.random.default_rng(5), 300, size=3)
    found = recalibrate(stated(y, p, groups))
    order = np.random.default_rng(0).permutation(len(y))
    other = recalibrate(stated(1 - y[order], 1 - p[order], groups[order]))
    assert found.slope is not None
    assert other.slope is not None
    assert other.slope.value == pytest.approx(found.slope.value)
    assert other.slope.high == pytest.approx(found.slope.high, abs=1e-3)
    assert other.averages["b"].value == pytest.approx(-found.averages["b"].value)


def test_degenerate_data_have_a_named_answer() -> None:
    separated = np.r_[np.linspace(0.01, 0.4, 20), np.linspace(0.6, 0.99, 20)]
    truth = np.arange(40) >= 20
    found = recalibrate(stated(truth, separated))
    finite(found)
    assert found.slope is not None
    assert found.slope.value > 1.5
    sure = recalibrate(stated(truth, truth * 1.0))
    finite(sure)
    assert sure.reason == "no probability was moderate enough to be put to the test"
    assert sure.p == 1
    finite(recalibrate(stated(~truth, truth * 1.0)))  # always wrong, and sure of it
    one = recalibrate(stated(np.zeros(40), separated))
    finite(one)
    assert one.reason == "all images are a"
    assert one.p < 0.01  # half of them are said to be b
    few = recalibrate(stated(truth, separated, np.arange(40) // 10))
    finite(few)
    assert few.reason == "the images are of 4 groups only"
    alone = recalibrate(stated(truth, separated, np.zeros(40)))
    finite(alone)
    assert (alone.intercept, alone.p) == (None, 1.0)
    rng = np.random.default_rng(0)
    three = special.softmax(3 * np.eye(4)[np.arange(12) % 4] + rng.normal(size=(12, 4)), axis=1)
    finite(recalibrate(stated(np.arange(12) % 4, three)))
    finite(recalibrate(stated(np.arange(12) % 3, three)))  # a class that is absent


def test_the_number_of_images_that_would_do_does() -> None:
    """With as many as asked for, right probabilities are told from those that matter."""
    y, p, _ = binormal(np.random.default_rng(0), 100)
    needed = recalibrate(stated(y, p)).needed
    assert 150 < needed < 800
    within = 0
    for seed in range(20):
        y, p, _ = binormal(np.random.default_rng(seed), needed)
        slope = recalibrate(stated(y, p)).slope
        within += slope is not None and slope.low > 2 / 3 and slope.high < 3 / 2
    assert within >= 12


def test_large_data_are_sampled_by_whole_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fifth of the patients say the same, with intervals as wide as a fifth allows."""
    y, p, groups = binormal(np.random.default_rng(2), 6_000, size=3)
    whole = recalibrate(stated(y, p, groups)).slope
    monkeypatch.setattr("medgraft.evaluate.recalibration.LARGEST", 4 * 1_200)
    some = recalibrate(stated(y, p, groups)).slope
    assert whole is not None
    assert some is not None
    assert (whole.n, some.n) == (6_000, 1_200)
    assert some.high - some.low == pytest.approx(5**0.5 * (whole.high - whole.low), rel=0.2)


def test_a_narrow_interval_is_the_profile_likelihoods(monkeypatch: pytest.MonkeyPatch) -> None:
    y, p, groups = binormal(np.random.default_rng(2), 4_000, size=2)
    wald = recalibrate(stated(y, p, groups)).slope
    monkeypatch.setattr("medgraft.evaluate.recalibration.NARROW", 0.0)
    profile = recalibrate(stated(y, p, groups)).slope
    assert wald is not None
    assert profile is not None
    assert "Wald" in wald.method
    assert "profile" in profile.method
    assert wald.low == pytest.approx(profile.low, abs=0.01)
    assert wald.high == pytest.approx(profile.high, abs=0.01)
