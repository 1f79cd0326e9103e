"""Cumulative logits, against a published table, a plain minimiser and what they should be."""

import numpy as np
import pytest
from scipy import optimize
from scipy.special import expit

from medgraft.evaluate.calibration import Calibrator
from medgraft.learn.estimators import HEADS, LogisticHead, OrdinalHead
from medgraft.learn.linear import FAR, standardise
from medgraft.learn.ordinal import cumulative_logits

CHEESE = np.array(  # tasters who gave each of four additives the grades 1 .. 9 (McCullagh 1980)
    [
        [0, 0, 1, 7, 8, 8, 19, 8, 1],
        [6, 9, 12, 11, 7, 6, 1, 0, 0],
        [1, 1, 6, 8, 23, 7, 5, 1, 0],
        [0, 0, 0, 1, 3, 7, 14, 16, 11],
    ]
)


def graded(n: int = 300, d: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Codes and four grades of unequal frequency that rise along one direction."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) * rng.uniform(0.5, 3, d) + rng.normal(size=d)
    latent = (X - X.mean(axis=0)) @ rng.normal(size=d) + rng.logistic(size=n)
    return X, np.searchsorted(np.quantile(latent, [0.4, 0.7, 0.9]), latent)


def test_the_published_estimates_of_the_cheese_tasting():
    additive, grade = (np.repeat(i.ravel(), CHEESE.ravel()) for i in np.indices(CHEESE.shape))
    head = OrdinalHead(C=1e3, class_weight=None, tol=1e-5).fit(np.eye(4)[additive], grade + 1)
    effect = head.latent_coef_[0] - head.latent_coef_[0, 3]
    np.testing.assert_allclose(-effect[:3], [1.6128, 4.9646, 3.3227], atol=2e-3)
    cuts = head.thresholds_ - head.latent_coef_[0, 3]
    published = [-7.0802, -6.0250, -4.9254, -3.8568, -2.5206, -1.5685, -0.0669, 1.4930]
    np.testing.assert_allclose(cuts, published, atol=3e-3)


@pytest.mark.parametrize("C", [0.01, 10.0])
def test_is_the_minimum_of_the_penalised_likelihood(C):
    X, y = graded()
    weight = np.random.default_rng(1).uniform(0.5, 2, len(y))
    Z = (X - np.average(X, axis=0, weights=weight)) / np.sqrt(
        np.average((X - np.average(X, axis=0, weights=weight)) ** 2, axis=0, weights=weight)
    )

    def loss(p: np.ndarray) -> float:
        cuts = np.cumsum([p[6], *np.exp(p[7:])])
        under = np.column_stack([expit(cuts - (Z @ p[:6])[:, None]), np.ones(len(y))])
        share = np.diff(under, axis=1, prepend=0)[np.arange(len(y)), y]
        return p[:6] @ p[:6] / 2 - C * (weight * np.log(share)).sum()

    found = optimize.minimize(loss, np.zeros(9), method="BFGS", options={"gtol": 1e-5}).x
    codes = standardise(X)
    ours = cumulative_logits(codes, y, weight[:, None], np.array([[C]]), tol=1e-5)
    head = ours.arrays(codes, 0)
    np.testing.assert_allclose(
        X @ head["latent_coef_"][0] - head["thresholds_"][0], Z @ found[:6] - found[6], atol=2e-3
    )
    np.testing.assert_allclose(np.diff(head["thresholds_"]), np.exp(found[7:]), atol=2e-3)


def test_two_grades_are_logistic_regression():
    X, y = graded()
    ordinal, logistic = (h(C=0.1).fit(X, y > 0) for h in (OrdinalHead, LogisticHead))
    a, b = ordinal.decision_function(X), logistic.decision_function(X)
    np.testing.assert_allclose(a[:, 1] - a[:, 0], b[:, 1] - b[:, 0], atol=5e-3)


def test_a_turned_order_turns_the_sign_and_nothing_else():
    X, y = graded()
    a, b = OrdinalHead(C=0.1).fit(X, y), OrdinalHead(C=0.1).fit(X, 3 - y)
    np.testing.assert_allclose(a.latent_coef_, -b.latent_coef_, atol=2e-3)
    np.testing.assert_allclose(a.decision_function(X), b.decision_function(X)[:, ::-1], atol=5e-3)


def test_a_grade_that_a_subset_lacks_is_improbable_there_and_moves_nothing():
    X, y = graded()
    codes = standardise(X)
    for lacking in range(4):
        rows = np.stack([y != lacking, np.ones(len(y), bool)], axis=1).astype(float)
        both = cumulative_logits(codes, y, rows, np.full((2, 2), 0.1))
        scores = both.scores(codes.X, slice(None))
        assert np.isfinite(scores).all()
        assert scores[:, lacking, :2].max() < -FAR / 2
        there = [k for k in range(4) if k != lacking]
        alone = OrdinalHead(C=0.1, class_weight=None).fit(X[y != lacking], y[y != lacking])
        np.testing.assert_allclose(scores[:, there, 0], alone.decision_function(X), atol=5e-3)
        whole = OrdinalHead(C=0.1, class_weight=None).fit(X, y).decision_function(X)
        np.testing.assert_allclose(scores[..., 3], whole, atol=5e-3)


def test_the_mean_grade_rises_with_the_latent_value_also_when_calibrated():
    X, y = graded()
    head = OrdinalHead(C=1.0).fit(X, y)
    order = np.argsort(head.latent(X))
    for calibrator in (Calibrator(1.0, (0.0,) * 4), Calibrator(0.4, (2.0, -1.0, -3.0, 2.0))):
        mean = calibrator(head.decision_function(X)) @ np.arange(4)
        assert (np.diff(mean[order]) > -1e-9).all()


@pytest.mark.parametrize("k", [3, 100])
def test_grades_told_apart_without_error_have_finite_thresholds(k):
    X = np.repeat(np.arange(k), 4)[:, None] + np.tile([0.0, 0.1, 0.2, 0.3], k)[:, None]
    y = np.repeat(np.arange(k), 4)
    for C in OrdinalHead.strengths(1):
        head = HEADS["ordinal"](C=C).fit(X, y)
        assert np.isfinite(head.decision_function(X)).all()
        assert (np.diff(head.thresholds_) > 0).all()
    assert (head.predict(X) == y).mean() > 0.9
