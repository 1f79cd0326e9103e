"""The lower end: the truth comes from images drawn as if the surface told nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from scipy import special
from sklearn.metrics import roc_auc_score

from medgraft.errors import DataError, LeakError
from medgraft.evaluate.intervals import Sampling
from medgraft.evaluate.overlap import effective_groups, lower_end, overlap_weights
from medgraft.types import Predictions

Make = Callable[..., Predictions]
FAST = Sampling(resamples=400)
TELLS, SHARE = 2.2, 0.3  # slope of the log odds of the class on the surface; share of positives


def drawn(
    rng: np.random.Generator, n: int, *, blind: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Class, surface and score (n,) each; `blind`: from the population in which overlap lies.

    The class follows the surface, the score follows both. By rejection: a surface is kept with
    probability h(x), and then says nothing of the class, which is drawn by coin.
    """
    if not blind:
        x = rng.normal(size=n)
        y = rng.random(n) < special.expit(TELLS * x + special.logit(SHARE))
    else:
        x = rng.normal(size=8 * n)
        e = special.expit(TELLS * x + special.logit(SHARE))
        x = x[rng.random(8 * n) < 4 * e * (1 - e)][:n]
        y = rng.random(len(x)) < 0.5
    return y.astype(int), x, 1.5 * x + 2.0 * y + rng.normal(size=len(x))


def read(make: Make, y: np.ndarray, x: np.ndarray, **kwargs: object) -> Predictions:
    """What a reader of the surface says: twice too sure of itself, at equal class shares."""
    return make(y, special.expit(2 * TELLS * x), fold=np.arange(len(y)) % 5, **kwargs)


def test_weights_are_the_other_classs_probability_and_keep_the_shares() -> None:
    rng = np.random.default_rng(0)
    p, y = rng.random(50), rng.integers(0, 2, 50)
    weights = overlap_weights(np.stack([1 - p, p], axis=1), y)
    other = np.where(y == 1, 1 - p, p)
    for k in (0, 1):
        ratio = weights[y == k] / other[y == k]
        np.testing.assert_allclose(ratio, ratio[0])
        assert weights[y == k].sum() == pytest.approx((y == k).sum())


def test_weights_of_three_classes_by_hand() -> None:
    """e = (.5, .25, .25): h = 1/(2 + 4 + 4) = .1, so .2 and .4; e = thirds: 1/3 each."""
    prob = np.array([[0.5, 0.25, 0.25], [1 / 3, 1 / 3, 1 / 3]])
    first = overlap_weights(prob, np.array([0, 0]))
    assert first[0] / first[1] == pytest.approx(0.2 * 3)
    second = overlap_weights(prob, np.array([1, 1]))
    assert second[0] / second[1] == pytest.approx(0.4 * 3)


def test_groups_count_by_what_they_weigh() -> None:
    y = np.array([0, 0, 0, 0, 1, 1])
    groups = np.array(["a", "a", "b", "c", "d", "e"])
    assert effective_groups(np.ones(6), y, groups) == pytest.approx([16 / 6, 2])
    weights = np.array([1.0, 1, 2, 2, 9, 0])
    assert effective_groups(weights, y, groups) == pytest.approx([3, 1])


def test_it_is_the_figure_of_images_whose_surface_tells_nothing(make: Make) -> None:
    y, _, score = drawn(np.random.default_rng(9), 100_000, blind=True)
    truth = roc_auc_score(y, score)
    plain, values, before, after, inside = [], [], [], [], []
    for seed in range(25):
        y, x, score = drawn(np.random.default_rng(seed), 800)
        found = lower_end(
            make(y, special.expit(score), fold=np.arange(800) % 5), read(make, y, x), "auroc", FAST
        )
        assert found.estimate is not None
        plain.append(roc_auc_score(y, score))
        values.append(found.estimate.value)
        before.append(found.surface_auroc)
        after.append(found.surface_auroc_weighted)
        inside.append(found.estimate.low <= truth <= found.estimate.high)
    assert np.mean(plain) > truth + 0.03
    assert np.mean(values) == pytest.approx(truth, abs=0.006)
    assert np.mean(before) > 0.8
    assert np.mean(after) == pytest.approx(0.5, abs=0.02)
    assert np.mean(inside) > 0.85


def test_a_surface_that_tells_nothing_leaves_the_figure(make: Make) -> None:
    y, x, score = drawn(np.random.default_rng(1), 600)
    x = np.random.default_rng(2).normal(size=600)
    found = lower_end(
        make(y, special.expit(score), fold=np.arange(600) % 5), read(make, y, x), "auroc", FAST
    )
    assert found.estimate is not None
    assert found.estimate.value == pytest.approx(roc_auc_score(y, score), abs=0.01)
    assert found.n_effective > 0.95 * min(np.bincount(y))


@pytest.mark.parametrize("n", [60, 2000])
def test_a_surface_that_tells_all_gives_none(make: Make, n: int) -> None:
    """Uniform weights have a large effective n: that the surface still tells is what counts."""
    y = np.arange(n) % 2
    score = np.random.default_rng(0).normal(y)
    surface = make(y, np.where(y == 1, 0.99, 0.01), fold=np.arange(n) // 2 % 5)
    found = lower_end(make(y, special.expit(score), fold=np.arange(n) // 2 % 5), surface, "auroc")
    assert (found.estimate, found.reason) == (None, "still telling")
    assert found.surface_auroc_weighted == pytest.approx(1)


def test_few_who_overlap_give_none(make: Make) -> None:
    y, x, score = drawn(np.random.default_rng(3), 60)
    found = lower_end(
        make(y, special.expit(score), fold=np.arange(60) % 5), read(make, y, x), "auroc"
    )
    assert (found.estimate, found.reason) == (None, "few images")
    assert 0 < found.n_effective < 20


@pytest.mark.parametrize("metric", ["auroc", "balanced_accuracy", "mcc", "log_loss", "ppv"])
def test_perfect_predictions_have_an_interval(make: Make, metric: str) -> None:
    y, x, _ = drawn(np.random.default_rng(4), 500)
    perfect = make(y, np.where(y == 1, 1.0, 0.0), fold=np.arange(500) % 5)
    found = lower_end(perfect, read(make, y, x), metric, FAST).estimate
    assert found is not None
    assert "no spread" in found.method
    assert 0.005 < found.high - found.low < 0.2
    assert found.low <= found.value <= found.high


def test_a_patients_images_are_one_patient(make: Make) -> None:
    """Every image five times: the same figure, as sure as of the patients."""
    y, x, score = drawn(np.random.default_rng(5), 300)
    alone = lower_end(
        make(y, special.expit(score), fold=np.arange(300) % 5), read(make, y, x), "auroc", FAST
    )
    rows = np.repeat(np.arange(300), 5)
    groups = {"groups": rows, "fold": rows % 5}
    many = lower_end(
        make(y[rows], special.expit(score[rows]), **groups),
        make(y[rows], special.expit(2 * TELLS * x[rows]), **groups),
        "auroc",
        FAST,
    )
    assert alone.estimate is not None
    assert many.estimate is not None
    assert many.estimate.value == pytest.approx(alone.estimate.value, abs=0.005)
    assert many.n_effective == pytest.approx(alone.n_effective, rel=0.05)
    width = many.estimate.high - many.estimate.low
    assert width == pytest.approx(alone.estimate.high - alone.estimate.low, rel=0.25)


def test_three_classes(make: Make) -> None:
    rng = np.random.default_rng(6)
    x = rng.normal(size=1500)
    logits = np.stack([-1.5 * x, np.zeros(1500), 1.5 * x], axis=1)
    y = (special.softmax(logits, axis=1).cumsum(axis=1) < rng.random((1500, 1))).sum(axis=1)
    fold = np.arange(1500) % 5
    surface = make(y, special.softmax(2 * logits, axis=1), fold=fold)
    own = special.softmax(2 * np.eye(3)[y] + rng.normal(size=(1500, 3)) + logits, axis=1)
    found = lower_end(make(y, own, fold=fold), surface, "auroc", FAST)
    assert found.estimate is not None
    assert found.surface_auroc > 0.7
    assert found.surface_auroc_weighted == pytest.approx(0.5, abs=0.03)
    assert found.estimate.value < roc_auc_score(y, own, multi_class="ovr") - 0.02


def test_test_images_and_other_images_are_refused(make: Make) -> None:
    y, x, score = drawn(np.random.default_rng(7), 100)
    mine = make(y, special.expit(score), fold=np.arange(100) % 5)
    surface = read(make, y, x)
    with pytest.raises(LeakError):
        lower_end(dataclasses.replace(mine, splits=np.full(100, "test")), surface, "auroc")
    with pytest.raises(DataError, match="other images"):
        lower_end(mine, dataclasses.replace(surface, ids=surface.ids[::-1]), "auroc")
