"""Codes that are fitted themselves: `nested_scores` with a function of the fold, and `rbf`."""

import gc
import weakref

import numpy as np
import pytest
from sklearn.kernel_approximation import Nystroem
from sklearn.metrics import roc_auc_score
from sklearn.svm import SVC

from medgraft.errors import FitError
from medgraft.learn import heads, nystroem
from medgraft.learn.criteria import auroc_within
from medgraft.learn.estimators import HEADS, RBFHead
from medgraft.learn.heads import nested_scores
from medgraft.learn.nystroem import fit_landmarks, rbf, stratified


def codes_of_two(n=120, d=10, n_folds=4, seed=0, apart=0.5):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    X = rng.standard_normal((n, d)) + apart * y[:, None] * rng.standard_normal(d)
    return X.astype(np.float32), y, (np.arange(n) // 2) % n_folds


# ------------------------------------------------------------------ a function of the fold


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("n_folds", [2, 4])
def test_a_function_that_always_gives_the_same_codes_is_the_array(name, n_folds):
    X, y, fold = codes_of_two(n_folds=n_folds)
    array = nested_scores(name, X, y, fold)
    function = nested_scores(name, lambda k: X, y, fold)
    assert (function.chosen, function.final) == (array.chosen, array.final)
    np.testing.assert_allclose(list(function.path.values()), list(array.path.values()), atol=1e-3)
    spread = array.scores.std()
    assert np.abs(function.scores - array.scores).max() < 5e-3 * spread
    ours, theirs = (r.head.decision_function(X) for r in (function, array))
    assert np.abs(ours - theirs).max() < 5e-3 * spread


def head_of(name, strength, n, train):
    """The head that a strength of all n rows means for some: C grows as rows get fewer."""
    by_sum = name in ("svm", "logistic", "ordinal")
    return HEADS[name](strength * n / len(train) if by_sum else strength)


def naive_by_fold(name, codes, y, fold, metric):
    """The nested loop as a textbook has it, each fold with its own codes."""
    kind, n_folds, rows = HEADS[name], int(fold.max()) + 1, []
    scores = np.empty((len(y), 2))
    for k in range(n_folds):
        X, outside = codes(k), fold != k
        rows.append([])
        for strength in kind.strengths(X.shape[1]):
            inner = np.empty((len(y), 2))
            for j in set(range(n_folds)) - {k}:
                train = np.flatnonzero(outside & (fold != j))
                head = head_of(name, strength, len(y), train).fit(X[train], y[train])
                inner[fold == j] = head.decision_function(X[fold == j])
            rows[-1].append(metric(y[outside], inner[outside], fold[outside]))
        best = kind.strengths(X.shape[1])[heads._best(np.array(rows[-1]))]
        head = head_of(name, best, len(y), np.flatnonzero(outside)).fit(X[outside], y[outside])
        scores[~outside] = head.decision_function(X[~outside])
    X, mean = codes(None), np.mean(rows, axis=0)
    final = kind.strengths(X.shape[1])[heads._best(mean)]
    return scores, mean, kind(final).fit(X, y)


@pytest.mark.parametrize("name", ["svm", "logistic", "lda", "ordinal", "knn"])
def test_equals_the_naive_loop_over_codes_of_different_widths(name):
    X, y, fold = codes_of_two()
    widths = {0: 4, 1: 7, 2: 10, 3: 5, None: 8}

    def codes(k):  # a random projection of its own for each fold
        rng = np.random.default_rng(50 if k is None else k)
        return (X @ rng.standard_normal((10, widths[k]))).astype(np.float32)

    def metric(*of):
        return round(auroc_within(*of), 2)

    ours = nested_scores(name, codes, y, fold, metric=metric)
    scores, mean, final = naive_by_fold(name, codes, y, fold, metric)
    np.testing.assert_allclose(list(ours.path.values()), mean, atol=6e-3)
    assert list(ours.path) == list(HEADS[name].strengths(8))
    assert np.abs(ours.scores - scores).max() < 5e-3 * scores.std()
    theirs = final.decision_function(codes(None))
    assert np.abs(ours.head.decision_function(codes(None)) - theirs).max() < 5e-3 * theirs.std()


@pytest.mark.parametrize(
    "name",
    [pytest.param(one, marks=() if one in ("svm", "knn") else pytest.mark.slow) for one in HEADS],
)
def test_only_one_folds_codes_are_held(name):
    X, y, fold = codes_of_two(60)
    given, asked = [], []

    def codes(k):
        gc.collect()
        assert all(ref() is None for ref in given)
        mine = X.copy()
        given.append(weakref.ref(mine))
        asked.append(k)
        return mine

    nested_scores(name, codes, y, fold)
    assert asked[:5] == [0, 1, 2, 3, None]
    assert asked[5:] == sorted(set(asked[5:]))  # once more, under the final strength


def test_codes_of_the_wrong_rows_are_refused():
    X, y, fold = codes_of_two(60)
    with pytest.raises(FitError, match=r"fold 0 have shape \(59, 10\), and there are 60"):
        nested_scores("svm", lambda k: X[1:], y, fold)
    broken = X.copy()
    broken[3] = np.nan
    with pytest.raises(FitError, match="rows 3"):
        nested_scores("rbf", broken, y, fold)


def test_labels_that_leak_through_codes_fitted_on_all_rows_are_not_seen():
    """Codes that betray the labels of the rows they were fitted on help no row judged."""
    rng = np.random.default_rng(0)
    _, y, fold = codes_of_two(400)
    y = rng.permutation(y)

    def codes(k):
        told = np.where(fold == k, rng.standard_normal(len(y)), y)
        return np.column_stack([told, rng.standard_normal(len(y))])

    area = roc_auc_score(y, nested_scores("logistic", codes, y, fold).scores[:, 1])
    assert abs(area - 0.5) < 0.1


# ------------------------------------------------------------------ the kernel


def exact_svm(X, y, C):
    """The squared-hinge machine by scikit-learn's hard margin.

    1/2 |v|² + C Σ ξ² has the dual of the hard margin with the kernel K + I/(2C).
    """
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    squares = ((Z[:, None] - Z[None]) ** 2).sum(axis=2)
    K = np.exp(-squares / np.median(squares[np.triu_indices(len(Z), 1)]))
    soft = np.eye(len(y)) / (2 * C)
    model = SVC(kernel="precomputed", C=1e8, tol=1e-6).fit(K + soft, y)
    f = K[:, model.support_] @ model.dual_coef_[0] + model.intercept_
    return f


@pytest.mark.parametrize("C", [0.1, 1.0, 30.0])
def test_with_all_rows_as_landmarks_it_is_the_exact_machine(C):
    X, y, _ = codes_of_two(90, 5, apart=1.0)
    f = exact_svm(X.astype(float), y, C)
    scores = RBFHead(C, class_weight=None).fit(X, y).decision_function(X)
    np.testing.assert_allclose(scores[:, 1], f / 2, atol=2e-2 * f.std())


def test_decides_as_scikit_learns_svc():
    """The hinge itself is another loss; it decides alike but near the boundary."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 2))
    y = (np.linalg.norm(X, axis=1) > 1.2).astype(int)  # a ring, which no line separates
    ours = RBFHead(10.0, class_weight=None).fit(X, y)
    gamma = ours.gamma_.item()
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    theirs = SVC(C=10.0, gamma=gamma).fit(Z, y)
    assert (ours.predict(X) == theirs.predict(Z)).mean() > 0.97
    assert (ours.predict(X) == y).mean() > 0.95
    assert (HEADS["svm"]().fit(X, y).predict(X) == y).mean() < 0.8


def test_features_are_scikit_learns_nystroem_on_the_same_landmarks():
    X, y, _ = codes_of_two(80, 4)
    marks = fit_landmarks(X, y, np.ones(80), 20, seed=3)
    assert marks.points.shape == (20, 4)
    Z = (X - X.mean(axis=0, dtype=float)) / X.std(axis=0, dtype=float)
    theirs = Nystroem(gamma=marks.gamma, n_components=20).fit(marks.points)
    ours, features = marks.features(X), theirs.transform(Z)
    np.testing.assert_allclose(ours @ ours.T, features @ features.T, atol=1e-4)
    # on the landmarks the kernel is exact
    where = [np.flatnonzero(np.isclose(Z, p).all(axis=1))[0] for p in marks.points]
    exact = rbf(marks.points, marks.points, marks.gamma)
    np.testing.assert_allclose(ours[where] @ ours[where].T, exact, atol=1e-4)


def test_landmarks_are_stratified_seeded_and_of_training_rows():
    y = np.repeat([0, 1, 2], [60, 30, 10])
    rows = stratified(y, 20, seed=1)
    assert np.bincount(y[rows]).tolist() == [12, 6, 2]
    assert len(set(rows.tolist())) == 20
    np.testing.assert_array_equal(rows, stratified(y, 20, seed=1))
    assert (rows != stratified(y, 20, seed=2)).any()
    assert stratified(y, 500, seed=1).tolist() == list(range(100))


def test_by_hand_on_three_points():
    """Points 0, 1, 3 standardised by mean 4/3: squared distances 1, 4, 9 over the variance; γ
    is 1 over their median 4, so that k(0, 1) = exp(-1/4)."""
    X = np.array([[0.0], [1.0], [3.0]])
    marks = fit_landmarks(X, np.array([0, 0, 1]), np.ones(3), 512, 0)
    K = rbf(marks.points, marks.points, marks.gamma)
    np.testing.assert_allclose(K[0], [1, np.exp(-1 / 4), np.exp(-9 / 4)])
    np.testing.assert_allclose(K[1, 2], np.exp(-1))


@pytest.mark.parametrize("as_function", [False, True])
def test_landmarks_come_from_the_fold_s_training_rows_only(monkeypatch, as_function):
    X, y, fold = codes_of_two(seed=1)
    X[:, 0] = np.arange(len(X))  # a row is known by its first code
    seen = []
    fit = nystroem.fit_landmarks

    def spy(X, y, weight, most, seed):
        marks = fit(X, y, weight, most, seed)
        seen.append(np.rint(marks.points[:, 0] * marks.scale[0] + marks.mean[0]).astype(int))
        return marks

    monkeypatch.setattr("medgraft.learn.estimators.fit_landmarks", spy)
    found = nested_scores("rbf", (lambda k: X) if as_function else X, y, fold)
    again = [k for k in range(4) if found.chosen[k] != found.final]
    assert again  # folds that are judged under the final strength, too
    assert [set(rows) for rows in seen] == [
        *(set(np.flatnonzero(fold != k)) for k in range(4)),
        set(range(len(X))),
        *(set(np.flatnonzero(fold != k)) for k in again),
    ]


def test_rbf_equals_the_naive_loop_with_each_folds_landmarks():
    """Strength and scores as a loop has them over the exact kernel of each fold's own scale."""
    X, y, fold = codes_of_two(80, 6, apart=0.8)
    ours = nested_scores("rbf", X, y, fold, class_weight=None)
    for k in range(4):
        train = fold != k
        C = ours.chosen[k] * len(y) / train.sum()
        alone = RBFHead(C, class_weight=None).fit(X[train], y[train])
        expected = alone.decision_function(X[~train])
        assert np.abs(ours.scores[~train] - expected).max() < 5e-3 * expected.std()
    assert isinstance(ours.head, RBFHead)
    assert (ours.head.C, ours.head.n_landmarks) == (ours.final, 512)
