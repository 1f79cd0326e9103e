import warnings

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.class_weight import compute_sample_weight

from medgraft.errors import FitError
from medgraft.learn.linear import FAR, class_weights, solve, standardise


def codes_and_classes(n, d, n_classes, seed=0):
    """Codes like a network's: not negative, correlated, of very different scales."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % n_classes
    spread = 1 / np.sqrt(np.arange(1, d + 1))
    mixing = np.linalg.qr(rng.standard_normal((d, d)))[0]
    centres = rng.standard_normal((n_classes, d))
    X = ((rng.standard_normal((n, d)) + 0.6 * centres[y]) * spread) @ mixing
    return (np.maximum(X + 0.1, 0) * np.exp(rng.standard_normal(d))).astype(np.float32), y


def fit(X, y, C, loss, class_weight=None, weight=None, tol=1e-4):
    codes = standardise(X)
    rows = np.ones((len(y), 1)) if weight is None else weight[:, None]
    models = solve(codes, y, rows, np.array([[C]]), loss=loss, class_weight=class_weight, tol=tol)
    return models.raw(codes, 0)


def truth(X, y, C, loss, weight=None):
    """Scikit-learn's solution, to high precision: scores as ours are given."""
    Z = StandardScaler().fit_transform(X.astype(np.float64))
    if loss == "log":
        model = LogisticRegression(C=C, tol=1e-8, max_iter=20000).fit(Z, y, weight)
    else:  # liblinear penalises the intercept; a large scaling makes that vanish
        model = LinearSVC(C=C, dual=False, tol=1e-8, max_iter=100000, intercept_scaling=300.0)
        model.fit(Z, y, weight)
    f = model.decision_function(Z)
    return np.column_stack([-f / 2, f / 2]) if f.ndim == 1 else f


def assert_same_scores(ours, theirs, loss, within=2e-3):
    if loss == "log":  # softmax does not change when all scores move together
        ours = ours - ours.mean(axis=1, keepdims=True)
        theirs = theirs - theirs.mean(axis=1, keepdims=True)
    assert np.abs(ours - theirs).max() < within * theirs.std()


@pytest.mark.parametrize("loss", ["squared_hinge", "log"])
@pytest.mark.parametrize(("n", "d", "n_classes"), [(300, 12, 2), (80, 150, 2), (240, 15, 4)])
@pytest.mark.parametrize("C", [1e-3, 0.1, 10.0])
def test_agrees_with_scikit_learn(loss, n, d, n_classes, C):
    X, y = codes_and_classes(n, d, n_classes)
    coef, intercept = fit(X, y, C, loss)
    assert_same_scores(X @ coef.T + intercept, truth(X, y, C, loss), loss)


@pytest.mark.parametrize("loss", ["squared_hinge", "log"])
def test_hard_margin_that_needs_newton(loss):
    X, y = codes_and_classes(60, 200, 2, seed=3)
    coef, intercept = fit(X, y, 100.0, loss)
    # Sums of float32 differ with the number of threads: 6e-3 with one.
    assert_same_scores(X @ coef.T + intercept, truth(X, y, 100.0, loss), loss, within=0.01)


def test_a_weak_penalty_on_rows_that_barely_overlap_is_solved_to_tolerance():
    """About as many support vectors as features: sums in float32 are 4e-3 off."""
    n, d, C = 700, 300, 33.0
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d)) * np.geomspace(1, 0.01, d)
    X = X @ np.linalg.qr(rng.standard_normal((d, d)))[0]
    X += rng.standard_normal((n, 1)) * rng.standard_normal(d)
    y = (X[:, :5].sum(axis=1) + rng.standard_normal(n) > 0).astype(int)
    codes = standardise(X)
    models = solve(codes, y, np.ones((n, 1)), np.array([[C]]), loss="squared_hinge")
    Z, v = np.column_stack([codes.X.astype(float), np.ones(n)]), models.coef[:, 0, 0].astype(float)
    t, b = 2 * y - 1, models.intercept[0, 0]
    gap = np.maximum(0, 1 - t * (Z @ np.append(v, b)))
    ridge = np.append(np.full(d, 1 / C), 0)
    gradient = ridge * np.append(v, b) - 2 * Z.T @ (t * gap)
    inside = Z[gap > 0]
    assert d < len(inside) < 1.2 * d
    step = np.linalg.solve(2 * inside.T @ inside + np.diag(ridge), gradient)
    assert gradient @ step < 1e-3**2 * (v @ v / C + 2 * (gap**2).sum())


@pytest.mark.parametrize("loss", ["squared_hinge", "log"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_balanced_is_scikit_learns_balanced_sample_weight(loss, n_classes):
    X, y = codes_and_classes(300, 8, 3)
    keep = (y == 0) | (np.arange(300) % 4 == 0)
    X, y = X[keep], np.minimum(y[keep], n_classes - 1)
    coef, intercept = fit(X, y, 0.05, loss, class_weight="balanced")
    theirs = truth(X, y, 0.05, loss, compute_sample_weight("balanced", y))
    assert_same_scores(X @ coef.T + intercept, theirs, loss)


@pytest.mark.parametrize("loss", ["squared_hinge", "log"])
@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_weights_count_copies(loss, class_weight):
    X, y = codes_and_classes(120, 6, 3)
    times = np.arange(120) % 3  # none, one or two copies
    copies = np.repeat(np.arange(120), times)
    weighted = fit(X, y, 0.1, loss, class_weight, times.astype(float))
    copied = fit(X[copies], y[copies], 0.1, loss, class_weight)
    np.testing.assert_allclose(
        X @ weighted[0].T + weighted[1], X @ copied[0].T + copied[1], atol=2e-3
    )


def test_one_feature_worked_out_by_hand():
    """z = y = ±1: by symmetry b = 0, and v²/2 + 4 C (1 - v)² is least at v = 8C / (1 + 8C)."""
    X, y = np.array([[2.0], [2.0], [6.0], [6.0]]), np.array([0, 0, 1, 1])
    coef, intercept = fit(X, y, 0.5, "squared_hinge")
    np.testing.assert_allclose(coef[:, 0], np.array([-0.5, 0.5]) * 0.8 / 2, rtol=1e-4)
    np.testing.assert_allclose(intercept, np.array([0.5, -0.5]) * 0.8 * 4 / 2, rtol=1e-4)


def test_many_problems_are_each_what_they_are_alone():
    X, y = codes_and_classes(200, 30, 2)
    codes, fold = standardise(X), np.arange(200) // 2 % 4
    rows = np.stack([fold != k for k in range(4)], axis=1).astype(float)
    C = np.tile([1e-3, 0.1, 10.0], (4, 1))
    for loss in ("squared_hinge", "log"):
        models = solve(codes, y, rows, C, loss=loss, tol=1e-4)
        for column in range(12):
            inside = fold != column // 3
            alone = fit(X[inside], y[inside], C[0, column % 3], loss)
            together = models.raw(codes, column)
            ours, theirs = (X @ w.T + b for w, b in (together, alone))
            assert np.abs(ours - theirs).max() < 3e-3 * theirs.std()


def test_scores_are_those_of_the_raw_coefficients():
    X, y = codes_and_classes(90, 5, 3)
    codes = standardise(X)
    models = solve(codes, y, np.ones((90, 1)), np.array([[0.1, 1.0]]), loss="log")
    coef, intercept = models.raw(codes, 1)
    np.testing.assert_allclose(
        models.scores(codes.X, slice(1, 2))[..., 0], X @ coef.T + intercept, atol=1e-4
    )


@pytest.mark.parametrize("loss", ["squared_hinge", "log"])
def test_scaling_and_shifting_a_feature_changes_no_score(loss):
    X, y = codes_and_classes(150, 6, 2)
    other = X.astype(np.float64)
    other[:, 2] = other[:, 2] * 1000 + 5000
    a, b = fit(X, y, 0.1, loss), fit(other, y, 0.1, loss)
    np.testing.assert_allclose(X @ a[0].T + a[1], other @ b[0].T + b[1], atol=1e-3)


@pytest.mark.parametrize("loss", ["squared_hinge", "log"])
def test_rows_outside_a_subset_have_no_say(loss):
    X, y = codes_and_classes(150, 6, 2)
    inside = np.arange(150) < 100
    changed, labels = X.copy(), y.copy()
    changed[~inside] = changed[~inside] * 1000 - 7
    labels[~inside] = 1 - labels[~inside]
    before = fit(X, y, 0.1, loss, weight=inside * 1.0)
    after = fit(changed, labels, 0.1, loss, weight=inside * 1.0)
    np.testing.assert_allclose(
        X[inside] @ before[0].T + before[1], X[inside] @ after[0].T + after[1], atol=2e-3
    )


def test_a_constant_feature_gets_no_coefficient():
    X, y = codes_and_classes(100, 4, 2)
    X[:, 1] = 3.3
    for loss in ("squared_hinge", "log"):
        coef, _ = fit(X, y, 0.1, loss)
        assert np.isfinite(coef).all()
        np.testing.assert_allclose(coef[:, 1], 0, atol=1e-6)


@pytest.mark.parametrize("loss", ["squared_hinge", "log"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_class_without_rows_is_pinned_far_away(loss, n_classes):
    X, y = codes_and_classes(90, 5, n_classes)
    without = (y != n_classes - 1)[:, None] * 1.0
    codes = standardise(X)
    models = solve(codes, y, without, np.array([[1.0]]), loss=loss, class_weight="balanced")
    scores = models.scores(codes.X, slice(0, 1))[..., 0]
    best = scores[:, :-1].max(axis=1)
    assert (scores[:, -1] < best - FAR / 2).all()
    if n_classes == 3:  # the others are as if that class did not exist
        alone = fit(X[y < 2], y[y < 2], 1.0, loss, "balanced")
        expected = X @ alone[0].T + alone[1]
        ours = scores[:, 1] - scores[:, 0]
        if loss == "log":  # a softmax of two halves the penalty on their difference
            assert np.corrcoef(ours, expected[:, 1] - expected[:, 0])[0, 1] > 0.99
        else:
            np.testing.assert_allclose(scores[:, 1], expected[:, 1] * 2, atol=5e-3)


def test_softmax_reaches_the_minimum_a_general_optimiser_finds():
    X, y = codes_and_classes(60, 3, 3)
    Z, target = StandardScaler().fit_transform(X.astype(np.float64)), np.eye(3)[y]

    def objective(parameters):
        scores = Z @ parameters[:9].reshape(3, 3) + parameters[9:]
        log_sum = np.log(np.exp(scores).sum(axis=1))
        return (parameters[:9] ** 2).sum() / 2 + 0.3 * (log_sum - (scores * target).sum(1)).sum()

    best = minimize(objective, np.zeros(12), tol=1e-10)
    coef, intercept = fit(X, y, 0.3, "log")
    ours = X @ coef.T + intercept
    assert_same_scores(ours, Z @ best.x[:9].reshape(3, 3) + best.x[9:], "log")


def test_inputs_stay_and_results_repeat_bit_for_bit():
    X, y = codes_and_classes(120, 40, 3)
    X.flags.writeable = y.flags.writeable = False
    for loss in ("squared_hinge", "log"):
        first, second = fit(X, y, 1.0, loss), fit(X, y, 1.0, loss)
        assert first[0].tobytes() == second[0].tobytes()
        assert first[1].tobytes() == second[1].tobytes()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_standardise_takes_any_float_and_memory_maps(dtype, tmp_path):
    X = codes_and_classes(50, 7, 2)[0].astype(dtype)
    stored = np.memmap(tmp_path / "codes", dtype, "w+", shape=X.shape)
    stored[:] = X
    expected = StandardScaler().fit_transform(X.astype(np.float64))
    np.testing.assert_allclose(standardise(stored).X, expected, atol=1e-4)
    one = standardise(X[:, :1])
    assert one.eigen[1].shape == (1, 1)


def test_rows_that_are_not_finite_are_named():
    X, _ = codes_and_classes(20, 3, 2)
    X[4, 1], X[11, 0] = np.nan, np.inf
    with pytest.raises(FitError, match=r"2 of 20 rows .* \(rows 4, 11\)"):
        standardise(X)


def test_balanced_weights_by_hand():
    """Weights 1, 1, 1 and 3 of two classes: both must weigh 3 of the total 6."""
    rows = np.array([[1.0], [1.0], [1.0], [3.0]])
    y = np.array([0, 0, 0, 1])
    np.testing.assert_allclose(class_weights(y, rows, "balanced")[:, 0], [1, 1, 1, 3])
    rows[3] = 1.0  # total 4, each class 2
    np.testing.assert_allclose(class_weights(y, rows, "balanced")[:, 0], [2 / 3, 2 / 3, 2 / 3, 2])
    with pytest.raises(FitError, match="'even' is unknown"):
        class_weights(y, rows, "even")


def test_a_fit_that_does_not_converge_says_so():
    X, y = codes_and_classes(60, 10, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(X, y, 1.0, "log")
    with pytest.warns(RuntimeWarning, match="stopped before tolerance"):
        fit(X, y, 1e4, "log", tol=1e-12)
