"""LDA with shrinkage against scikit-learn's, and against its formula by hand."""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.preprocessing import StandardScaler

from medgraft.learn import discriminant
from medgraft.learn.discriminant import discriminants
from medgraft.learn.estimators import SHRINKAGES, LDAHead
from medgraft.learn.linear import FAR, standardise


def codes_and_classes(n, d, n_classes, seed=0):
    rng = np.random.default_rng(seed)
    y = np.minimum(np.arange(n) % (n_classes + 2), n_classes - 1)  # the last class is larger
    mixing = rng.standard_normal((d, d)) / np.sqrt(np.arange(1, d + 1))[:, None]
    X = (rng.standard_normal((n, d)) + 0.5 * rng.standard_normal((n_classes, d))[y]) @ mixing
    return (X * np.exp(rng.standard_normal(d)) + 3).astype(np.float32), y


def truth(X, y, shrinkage, priors=None, solver="lsqr"):
    Z = StandardScaler().fit(X.astype(np.float64))
    model = LinearDiscriminantAnalysis(solver=solver, shrinkage=shrinkage, priors=priors)
    model.fit(Z.transform(X.astype(np.float64)), y)

    def scores(X):
        f = model.decision_function(Z.transform(X.astype(np.float64)))
        f = np.column_stack([-f / 2, f / 2]) if f.ndim == 1 else f
        return f - f.mean(axis=1, keepdims=True)

    return scores


def centred(scores):
    return scores - scores.mean(axis=1, keepdims=True)


@pytest.mark.parametrize("solver", ["lsqr", "eigen"])
@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("shrinkage", SHRINKAGES)
def test_agrees_with_scikit_learn(n_classes, shrinkage, solver):
    X, y = codes_and_classes(150, 12, n_classes)
    expected = truth(X, y, shrinkage, np.full(n_classes, 1 / n_classes), solver)(X)
    ours = LDAHead(shrinkage).fit(X.astype(np.float64), y).decision_function(X.astype(np.float64))
    np.testing.assert_allclose(centred(ours), expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(("n", "d"), [(150, 12), (40, 90)])
def test_priors_of_the_rows_without_balance(n, d):
    X, y = codes_and_classes(n, d, 3)
    ours = LDAHead(0.3, None).fit(X, y).decision_function(X)
    expected = truth(X, y, 0.3)(X)
    np.testing.assert_allclose(centred(ours), expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("shrinkage", SHRINKAGES)
def test_fewer_rows_than_features_agree_too(shrinkage):
    X, y = codes_and_classes(40, 90, 3)
    ours = LDAHead(shrinkage).fit(X, y).decision_function(X)
    expected = truth(X, y, shrinkage, np.full(3, 1 / 3))(X)
    np.testing.assert_allclose(centred(ours), expected, atol=2e-5 * np.abs(expected).max())


def test_one_feature_worked_out_by_hand():
    """Codes 0, 2 | 4, 6 have mean 3 and variance 5.

    Class means are -2/√5 and 2/√5, S_within = 1/5, and tr(S)/d is the same, so that shrinkage
    changes nothing: f = (μ_1 - μ_0) z / S = 4/√5 · 5 · (x - 3)/√5 = 4 (x - 3).
    """
    X, y = np.array([[0.0], [2.0], [4.0], [6.0]]), np.array([0, 0, 1, 1])
    for shrinkage in (1.0, 0.2):
        head = LDAHead(shrinkage).fit(X, y)
        np.testing.assert_allclose(head.coef_[:, 0], [-2, 2], rtol=1e-5)
        np.testing.assert_allclose(head.intercept_, [6, -6], rtol=1e-5)


@pytest.mark.parametrize("class_weight", [None, "balanced"])
@pytest.mark.parametrize("d", [6, 60])
def test_weights_count_copies(class_weight, d):
    X, y = codes_and_classes(60, d, 3)
    times = np.arange(60) % 3
    copies = np.repeat(np.arange(60), times)
    ours = LDAHead(0.2, class_weight).fit(X, y, times).decision_function(X)
    theirs = LDAHead(0.2, class_weight).fit(X[copies], y[copies]).decision_function(X)
    np.testing.assert_allclose(ours, theirs, atol=2e-5 * np.abs(theirs).max())


@pytest.mark.parametrize("d", [8, 150])
@pytest.mark.parametrize("turns", [1 << 26, 64])
def test_many_subsets_are_each_what_they_are_alone(monkeypatch, d, turns):
    """Subsets that overlap share their moments; however many are held at once."""
    monkeypatch.setattr(discriminant, "MOMENTS", turns)
    X, y = codes_and_classes(120, d, 3)
    weight = 0.5 + np.random.default_rng(0).random(120)
    codes, fold = standardise(X), np.arange(120) // 3 % 4
    pairs = [(j, k) for j in range(4) for k in range(j)]
    rows = np.stack([weight * (fold != j) * (fold != k) for j, k in pairs], axis=1)
    models = discriminants(codes, y, rows, np.tile(SHRINKAGES, (6, 1)), class_weight="balanced")
    for s, (j, k) in enumerate(pairs):
        inside = (fold != j) & (fold != k)
        for i in (0, 3, 6):
            coef, intercept = models.raw(codes, 7 * s + i)
            head = LDAHead(SHRINKAGES[i]).fit(X[inside], y[inside], weight[inside])
            expected = head.decision_function(X)
            ours = X @ coef.T + intercept
            np.testing.assert_allclose(ours, expected, atol=5e-5 * np.abs(expected).max())


def test_a_class_without_rows_is_improbable():
    X, y = codes_and_classes(90, 5, 3)
    codes = standardise(X)
    models = discriminants(codes, y, (y != 2)[:, None] * 1.0, np.array([[0.4]]))
    scores = models.scores(codes.X, slice(0, 1))[..., 0]
    inside = y != 2
    assert (scores[inside, 2] < scores[inside, :2].max(axis=1) - FAR / 2).all()
    two = LDAHead(0.4, None).fit(X[inside], y[inside]).decision_function(X)
    np.testing.assert_allclose(
        scores[:, 1] - scores[:, 0], two[:, 1] - two[:, 0], atol=1e-4 * np.abs(two).max()
    )
