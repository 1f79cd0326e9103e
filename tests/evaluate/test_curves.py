from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as truth

from medgraft.errors import DataError
from medgraft.evaluate.curves import decision_curve, precision_recall_curve, reliability, roc_curve
from medgraft.evaluate.intervals import Sampling
from medgraft.evaluate.metrics import auroc

QUICK = Sampling(resamples=200)


@pytest.fixture(scope="module")
def noisy(make):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 150)
    p = np.clip(np.round(rng.normal(0.4 + 0.2 * y, 0.2), 2), 0, 1)
    return make(y, p, groups=np.arange(150) // 2)


def test_roc_has_the_corners_and_the_area(noisy):
    y, p = noisy.y_true == 1, noisy.y_prob[:, 1]
    curve = roc_curve(noisy, sampling=QUICK)
    fpr, tpr, _ = truth.roc_curve(y, p, drop_intermediate=False)
    for x, height in zip(curve.x, curve.y, strict=True):
        assert np.min(np.abs(fpr - x) + np.abs(tpr - height)) < 1e-9
    assert truth.auc(curve.x, curve.y) == pytest.approx(auroc(y, p))
    assert (curve.x[[0, -1]].tolist(), curve.y[[0, -1]].tolist()) == ([0, 1], [0, 1])


def test_precision_recall_has_the_steps_of_the_average_precision(noisy):
    y, p = noisy.y_true == 1, noisy.y_prob[:, 1]
    curve = precision_recall_curve(noisy, sampling=QUICK)
    area = float(np.sum(np.diff(curve.x, prepend=0) * curve.y))
    assert area == pytest.approx(truth.average_precision_score(y, p))


@pytest.mark.parametrize("draw", [roc_curve, precision_recall_curve])
def test_the_band_holds_the_curve_and_has_width(noisy, draw):
    curve = draw(noisy, sampling=QUICK)
    assert curve.grid.shape == curve.low.shape == curve.high.shape == (101,)
    assert ((curve.low >= 0) & (curve.low <= curve.high) & (curve.high <= 1)).all()
    middle = slice(10, 90)
    assert (curve.high[middle] - curve.low[middle] > 0.01).all()
    if draw is roc_curve:
        on_grid = np.interp(curve.grid, curve.x, curve.y)
        assert ((curve.low <= on_grid + 1e-9) & (on_grid <= curve.high + 1e-9)).all()


@pytest.mark.parametrize("draw", [roc_curve, precision_recall_curve])
def test_a_perfect_curve_is_not_certain(make, draw):
    y = np.repeat([0, 1], 20)
    curve = draw(make(y, 0.1 + 0.8 * y), sampling=QUICK)
    assert (curve.high == 1).all()
    assert (curve.low[:-1] < 0.99).all()
    # At 1 - specificity .5 all twenty are found: Wilson's 20 of 20. Precision where half are
    # found rests on ten.
    n, at = (20, 50) if draw is roc_curve else (10, 50)
    assert curve.low[at] == pytest.approx(n / (n + 3.8415), abs=1e-4)


def test_one_class_of_three_against_the_rest(make):
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, 90)
    p = rng.dirichlet([1, 1, 1], 90)
    curve = roc_curve(make(y, p), of="c2", sampling=QUICK)
    assert truth.auc(curve.x, curve.y) == pytest.approx(truth.roc_auc_score(y == 2, p[:, 2]))
    with pytest.raises(DataError, match="name one of c0, c1, c2"):
        roc_curve(make(y, p))


def test_a_curve_needs_both_classes(make, noisy):
    with pytest.raises(DataError, match="3 of 3"):
        roc_curve(make([1, 1, 1], [0.1, 0.2, 0.3]))
    with pytest.raises(DataError, match="well"):
        precision_recall_curve(noisy, of="well")


def test_reliability_by_hand(make):
    # Thirty images in fifteen pairs; the second of each pair is ill.
    p = np.arange(30) / 30
    bins = reliability(make(np.arange(30) % 2, p))
    assert len(bins) == 15
    assert [b.observed.n for b in bins] == [2] * 15
    assert bins[3].predicted == pytest.approx(6.5 / 30)
    assert {b.observed.value for b in bins} == {0.5}
    assert {b.observed.method for b in bins} == {"Wilson"}


def test_reliability_of_few_values_has_few_bins(make):
    bins = reliability(make([0, 1, 1, 1], [0.2, 0.2, 0.9, 0.9]))
    assert [(b.predicted, b.observed.value, b.observed.n) for b in bins] == [
        (pytest.approx(0.2), 0.5, 2),
        (pytest.approx(0.9), 1.0, 2),
    ]


def test_the_area_out_of_fold_is_the_auroc_within_folds(make):
    rng = np.random.default_rng(2)
    y, fold = rng.integers(0, 2, 90), rng.integers(0, 5, 90)
    p = np.clip(np.round(rng.normal(0.3 + 0.2 * y + 0.1 * fold, 0.2), 1), 0, 1)
    curve = roc_curve(make(y, p, fold=fold), sampling=QUICK)
    assert (np.diff(curve.x) >= 0).all()
    assert (np.diff(curve.y) >= -1e-12).all()
    assert (curve.x[0], curve.y[0], curve.x[-1], curve.y[-1]) == pytest.approx((0, 0, 1, 1))
    area = np.trapezoid(curve.y, curve.x)
    assert area == pytest.approx(auroc(y == 1, p, fold), abs=1e-6)
    assert abs(area - auroc(y == 1, p)) > 0.02
    assert (curve.low <= curve.high).all()


def test_net_benefit_by_hand(make):
    """Of 10, 4 ill: from .5 on 3 ill and 1 healthy are acted on, 3/10 - 1/10 * 1; acting on all
    is 4/10 - 6/10 at .5, and 4/10 - 6/10 / 4 at .2."""
    y = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    p = [0.9, 0.8, 0.7, 0.3, 0.6, 0.1, 0.1, 0.1, 0.1, 0.1]
    found = decision_curve(make(y, p), QUICK)
    at = {round(float(t), 2): i for i, t in enumerate(found.threshold)}
    assert found.benefit[at[0.5]] == pytest.approx(0.2)
    assert found.benefit[at[0.2]] == pytest.approx(0.4 - 0.1 / 4)
    assert found.everyone[at[0.5]] == pytest.approx(-0.2)
    assert found.everyone[at[0.2]] == pytest.approx(0.25)
    assert (found.low <= found.benefit).all()
    assert (found.benefit <= found.high).all()
