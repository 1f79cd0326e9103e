from unittest import SkipTest

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.estimator_checks import estimator_checks_generator

from medgraft.errors import FitError
from medgraft.learn import estimators, heads
from medgraft.learn.criteria import auroc_within, criterion
from medgraft.learn.estimators import HEADS, TEMPERATURE, head_from_arrays
from medgraft.learn.heads import nested_scores


def codes_of_patients(n_groups=40, d=12, n_classes=2, n_folds=4, seed=0):
    """Codes, classes, folds and groups of three images each, whole in the folds."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(n_groups), 3)
    y = group % n_classes
    centres = rng.standard_normal((n_classes, d))
    X = 0.5 * centres[y] + 0.7 * rng.standard_normal((n_groups, d))[group]
    X = np.maximum(X + rng.standard_normal(X.shape) + 0.5, 0)
    fold = (group // n_classes) % n_folds
    return X.astype(np.float32), y, fold, group


# ------------------------------------------------------------------ estimators


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_scores_have_a_column_for_each_class_and_labels_may_be_words(name, n_classes):
    X, y, *_ = codes_of_patients(n_classes=n_classes)
    words = np.array(["sick", "well", "odd"])[y]
    head = HEADS[name]().fit(X, words)
    scores = head.decision_function(X)
    assert scores.shape == (len(X), n_classes)
    assert list(head.classes_) == sorted(set(words))
    assert (head.predict(X) == head.classes_[scores.argmax(axis=1)]).all()
    # in the order of their names these are no grades, and one latent value does not tell three
    assert (head.predict(X) == words).mean() > (0.5 if name == "ordinal" else 0.7)
    if name not in ("knn", "rbf", "ordinal"):
        np.testing.assert_allclose(scores, X @ head.coef_.T + head.intercept_, atol=1e-5)
        if n_classes == 2:
            np.testing.assert_allclose(scores[:, 0], -scores[:, 1])


@pytest.mark.parametrize("name", HEADS)
def test_one_row_at_a_time_is_the_same(name):
    X, y, *_ = codes_of_patients()
    head = HEADS[name]().fit(X, y)
    together = head.decision_function(X)
    np.testing.assert_allclose(
        np.concatenate([head.decision_function(row[None]) for row in X]), together, atol=1e-5
    )


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("words", [False, True])
def test_arrays_and_back_is_the_same_head(name, words):
    X, y, *_ = codes_of_patients()
    head = HEADS[name](class_weight=None).fit(X, np.array(["b", "a"])[y] if words else y)
    arrays, settings = head.to_arrays()
    again = head_from_arrays(name, arrays, settings)
    assert again.get_params() == head.get_params()
    assert (again.predict(X) == head.predict(X)).all()
    assert again.decision_function(X).tobytes() == head.decision_function(X).tobytes()


@pytest.mark.parametrize("weighted", [False, True])
def test_knn_agrees_with_scikit_learn(weighted):
    X, y, *_ = codes_of_patients(n_classes=3)
    y = np.where(np.arange(len(y)) % 2, 0, y)
    X = X + 0.05  # no row of zeros, for which cosine is not defined
    train = np.arange(len(X)) % 4 != 0
    row_weight = compute_sample_weight("balanced", y[train]) if weighted else np.ones(train.sum())
    theirs = KNeighborsClassifier(7, metric="cosine", algorithm="brute").fit(X[train], y[train])
    distance, which = theirs.kneighbors(X[~train])
    vote = row_weight[which] * np.exp((distance[:, :1] - distance) / TEMPERATURE)
    prior = np.bincount(y[train], row_weight) / row_weight.sum()
    votes = np.stack([(vote * (y[train][which] == c)).sum(axis=1) for c in range(3)], axis=1)
    share = (votes + prior) / (votes.sum(axis=1, keepdims=True) + 1)
    head = estimators.KNNHead(7, "balanced" if weighted else None).fit(X[train], y[train])
    np.testing.assert_allclose(head.decision_function(X[~train]), np.log(share), atol=1e-4)


def test_knn_with_more_neighbours_than_rows_asks_them_all():
    X, y, *_ = codes_of_patients(n_groups=4)
    few, many = estimators.KNNHead(len(X)).fit(X, y), estimators.KNNHead(10**6).fit(X, y)
    np.testing.assert_array_equal(few.decision_function(X), many.decision_function(X))


@pytest.mark.parametrize("name", HEADS)
def test_rows_that_weigh_nothing_are_not_there(name):
    X, y, *_ = codes_of_patients()
    weight = (np.arange(len(y)) % 3 > 0).astype(float)
    a = HEADS[name]().fit(X, y, weight)
    b = HEADS[name]().fit(X[weight > 0], y[weight > 0])
    np.testing.assert_allclose(a.decision_function(X), b.decision_function(X), atol=1e-3)


@pytest.mark.parametrize("name", HEADS)
def test_what_cannot_be_learned_is_refused(name):
    X, y, *_ = codes_of_patients()
    with pytest.raises(FitError, match="one class"):
        HEADS[name]().fit(X, np.zeros(len(X)))
    broken = X.copy()
    broken[5] = np.nan
    with pytest.raises(FitError, match="rows 5"):
        HEADS[name]().fit(broken, y)
    with pytest.raises(FitError, match=r"C = 0|k = 0|shrinkage = 0"):
        HEADS[name](0).fit(X, y)


EXCEPTIONS = {
    # two classes have two columns of scores here
    "check_classifiers_train": "(n, 2)",
    "check_classifiers_classes": "(n, 2)",
    # refusals are FitErrors, which are no ValueErrors
    "check_estimators_nan_inf": "FitError",
    "check_classifiers_one_label": "FitError",
    "check_classifiers_one_label_sample_weights": "FitError",
    "check_fit2d_1sample": "FitError",
    # two solutions within `tol`, not within 1e-7; and kNN counts a row once, whatever its weight
    "check_sample_weight_equivalence_on_dense_data": "tolerance",
    "check_class_weight_classifiers": "weights per class are 'balanced' or None",
}


@pytest.mark.parametrize("name", HEADS)
def test_is_a_scikit_learn_estimator(name):
    failed = []
    for estimator, check in estimator_checks_generator(HEADS[name]()):
        if check.func.__name__ in EXCEPTIONS:
            continue
        try:
            check(estimator)
        except SkipTest:
            continue
        except Exception as error:  # noqa: BLE001  collected, and asserted below
            failed.append((check.func.__name__, repr(error)[:100]))
    assert not failed
    assert clone(HEADS[name](2)).get_params() == HEADS[name](2).get_params()


# ------------------------------------------------------------------ nested choice


def head_of(name, strength, n, train):
    """The head that a strength of all n rows means for some: C grows as rows get fewer."""
    by_sum = name in ("svm", "logistic", "ordinal", "rbf")  # C multiplies a sum over rows
    return HEADS[name](strength * n / len(train) if by_sum else strength)


def naive(name, X, y, fold, metric):
    """The nested loop as a textbook has it, with the head as a single estimator."""
    kind, n_folds = HEADS[name], int(fold.max()) + 1
    strengths = kind.strengths(X.shape[1])
    table, scores = np.empty((n_folds, len(strengths))), np.empty((len(y), y.max() + 1))
    for k in range(n_folds):
        outside = np.flatnonzero(fold != k)
        for s, strength in enumerate(strengths):
            inner = np.empty_like(scores)
            for j in set(range(n_folds)) - {k}:
                train = outside[fold[outside] != j]
                held = outside[fold[outside] == j]
                head = head_of(name, strength, len(y), train)
                inner[held] = head.fit(X[train], y[train]).decision_function(X[held])
            table[k, s] = metric(y[outside], inner[outside], fold[outside])
        best = strengths[int(np.flatnonzero(table[k] >= table[k].max() - heads.TIE)[0])]
        held, train = np.flatnonzero(fold == k), np.flatnonzero(fold != k)
        head = head_of(name, best, len(y), train)
        scores[held] = head.fit(X[train], y[train]).decision_function(X[held])
    return scores, dict(zip(strengths, table.mean(axis=0), strict=True))


@pytest.mark.parametrize("name", sorted(set(HEADS) - {"rbf"}))  # its own: test_heads_by_fold.py
@pytest.mark.parametrize("n_classes", [2, 3])
def test_equals_the_naive_nested_loop(name, n_classes):
    X, y, fold, _ = codes_of_patients(n_classes=n_classes, n_groups=36)

    def metric(*of):
        return round(auroc_within(*of), 2)

    ours = nested_scores(name, X, y, fold, metric=metric)
    theirs, path = naive(name, X, y, fold, metric)
    assert list(ours.path) == list(path)
    np.testing.assert_allclose(list(ours.path.values()), list(path.values()), atol=6e-3)
    assert np.abs(ours.scores - theirs).max() < 5e-3 * theirs.std()


def test_strength_is_what_scikit_learn_would_choose():
    X, y, fold, _ = codes_of_patients(n_groups=60)
    exact = X.astype(np.float64)  # in single precision its search may end in the noise of sums

    def likelihood(y, scores, cell):
        return -log_loss(y, softmax(scores, axis=1)[:, 1])

    ours = nested_scores("logistic", X, y, fold, class_weight=None, metric=likelihood)
    for C, value in ours.path.items():
        per_fold = []
        for k in range(4):
            inner = []
            for j in set(range(4)) - {k}:
                train, held = (fold != k) & (fold != j), fold == j
                as_large = C * len(y) / train.sum()
                model = make_pipeline(StandardScaler(), LogisticRegression(C=as_large, tol=1e-6))
                inner.append(
                    (y[held], model.fit(exact[train], y[train]).predict_proba(exact[held]))
                )
            per_fold.append(-log_loss(*(np.concatenate(part) for part in zip(*inner, strict=True))))
        assert value == pytest.approx(np.mean(per_fold), abs=2e-3)
    assert ours.final == max(ours.path, key=ours.path.__getitem__)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=ours.final, tol=1e-8)).fit(
        exact, y
    )
    f = ours.head.decision_function(X)
    np.testing.assert_allclose(f[:, 1] - f[:, 0], model.decision_function(exact), atol=1e-2)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("n_folds", [2, 3, 5])
def test_a_fold_has_no_say_in_the_model_that_judges_it(name, n_folds):
    """Whatever happens to fold 0, even scaled a thousandfold and mislabelled, its model stays."""
    X, y, fold, group = codes_of_patients(n_groups=60, n_folds=n_folds)
    before = nested_scores(name, X, y, fold, groups=group)
    changed, labels = X.copy(), y.copy()
    mine = np.flatnonzero(fold == 0)
    probe = mine[:3]  # the rows by which the model is seen, left as they are
    changed[mine[3:]] = 1000 * changed[mine[3:]][:, ::-1]
    labels[mine[3:]] = 1 - labels[mine[3:]]
    after = nested_scores(name, changed, labels, fold, groups=group)
    assert after.chosen[0] == before.chosen[0]
    spread = before.scores.std()
    assert np.abs(after.scores[probe] - before.scores[probe]).max() < 5e-3 * spread
    assert np.abs(after.scores[fold != 0] - before.scores[fold != 0]).max() > 0.05 * spread


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=pytest.mark.slow if one == "rbf" else ()) for one in HEADS]
)
def test_noise_is_not_learned(name):
    """Labels that mean nothing, but images of one patient alike: out of fold is chance."""
    X, _, fold, group = codes_of_patients(n_groups=200, seed=2)
    y = np.random.default_rng(1).integers(0, 2, 200)[group]
    area = roc_auc_score(y, nested_scores(name, X, y, fold).scores[:, 1])
    assert abs(area - 0.5) < 0.1


@pytest.mark.parametrize("name", HEADS)
def test_the_final_head_is_the_one_fitted_on_all_rows(name):
    X, y, fold, _ = codes_of_patients(n_classes=3)
    result = nested_scores(name, X, y + 4, fold)
    alone = HEADS[name](result.final).fit(X, y + 4)
    ours, theirs = result.head.decision_function(X), alone.decision_function(X)
    assert np.abs(ours - theirs).max() < 5e-3 * theirs.std()
    assert result.head.classes_.tolist() == [4, 5, 6]
    assert result.head.get_params().keys() == alone.get_params().keys()


@pytest.mark.parametrize("name", ["svm", "logistic", "lda", "ordinal", "rbf"])
def test_a_feature_scaled_a_thousandfold_changes_nothing(name):
    X, y, fold, _ = codes_of_patients()
    scaled = X * np.where(np.arange(X.shape[1]) == 3, 1000, 1).astype(np.float32)
    a, b = nested_scores(name, X, y, fold), nested_scores(name, scaled, y, fold)
    np.testing.assert_allclose(a.scores, b.scores, atol=2e-3)
    assert a.chosen == b.chosen


@pytest.mark.parametrize("name", HEADS)
def test_repeats_bit_for_bit_and_leaves_its_inputs(name):
    X, y, fold, _ = codes_of_patients(n_classes=3)
    X.flags.writeable = y.flags.writeable = fold.flags.writeable = False
    a, b = nested_scores(name, X, y, fold), nested_scores(name, X, y, fold)
    assert a.scores.tobytes() == b.scores.tobytes()
    assert a.scores.dtype == np.float64
    assert (a.chosen, a.final, a.path) == (b.chosen, b.final, b.path)


@pytest.mark.parametrize("name", HEADS)
def test_rows_of_no_weight_are_judged_but_not_learned_from(name):
    X, y, fold, _ = codes_of_patients()
    ignored = np.arange(len(y)) % 6 == 0

    def metric(*of):  # rounded, for the solver promises no pair that is all but tied
        return round(auroc_within(*of), 2)

    result = nested_scores(name, X, y, fold, metric=metric, sample_weight=1.0 - ignored)
    alone = nested_scores(name, X[~ignored], y[~ignored], fold[~ignored], metric=metric)
    assert result.chosen == alone.chosen
    assert np.abs(result.scores[~ignored] - alone.scores).max() < 5e-3 * alone.scores.std()
    assert np.isfinite(result.scores).all()


@pytest.mark.parametrize("name", HEADS)
def test_a_class_in_two_folds_only_can_be_judged(name):
    X, y, fold, _ = codes_of_patients(n_classes=3, n_folds=4)
    keep = (y != 2) | (fold < 2)
    result = nested_scores(name, X[keep], y[keep], fold[keep])
    assert np.isfinite(result.scores).all()


@pytest.mark.parametrize("name", HEADS)
def test_refusals_say_what_to_do(name):
    X, y, fold, _ = codes_of_patients(n_classes=3)
    keep = (y != 2) | (fold == 1)
    with pytest.raises(FitError, match=r"class '2' .* merge the class"):
        nested_scores(name, X[keep], y[keep], fold[keep])
    with pytest.raises(FitError, match="none of them empty"):
        nested_scores(name, X, y, fold, 6)
    with pytest.raises(FitError, match="no metric 'luck'"):
        nested_scores(name, X, y, fold, metric="luck")
    with pytest.raises(FitError, match="no head named 'forest'"):
        nested_scores("forest", X, y, fold)
    broken = X.copy()
    broken[7, 0] = np.inf
    with pytest.raises(FitError, match="rows 7"):
        nested_scores(name, broken, y, fold)


def test_the_stronger_penalty_wins_a_tie():
    X, y, fold, _ = codes_of_patients()
    for name, kind in HEADS.items():
        result = nested_scores(name, X, y, fold, metric=lambda y, s, cell: 1.0)
        assert result.final == kind.strengths(X.shape[1])[0]
    C = estimators.LinearSVMHead.strengths(100)
    assert list(C) == sorted(C)
    assert C[2] == pytest.approx(1 / 100)  # 1/d is on the grid


@pytest.mark.parametrize("n_folds", [2, 4])
@pytest.mark.parametrize("value", [0.0, 0.1])
@pytest.mark.parametrize("name", HEADS)
def test_identical_images_teach_nothing_and_raise_nothing(name, value, n_folds):
    """As many of each class in every fold, so that nothing but the codes could tell them apart."""
    X = np.full((24, 30), value, np.float32)
    y, fold = np.arange(24) % 2, np.arange(24) // 2 % n_folds
    nested = nested_scores(name, X, y, fold, n_folds)
    np.testing.assert_allclose(nested.scores, np.tile(nested.scores[0], (24, 1)), atol=1e-6)
    assert auroc_within(y, nested.scores, fold) == 0.5
    scores = HEADS[name]().fit(X, y).decision_function(X)
    np.testing.assert_allclose(scores, np.tile(scores[0], (24, 1)), atol=1e-6)


@pytest.mark.parametrize("name", HEADS)
def test_too_few_groups_to_choose_a_strength_take_the_natural_one(name):
    """Two groups of each class: in a fold of one each there is nothing to choose by."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((4, 10)) + 3 * np.array([0, 1, 0, 1])[:, None]
    y, fold = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
    nested = nested_scores(name, X, y, fold, 2)
    natural = {"knn": 5, "lda": 0.4, "rbf": 1.0}.get(name, 1 / 10)
    assert nested.path == {}
    assert (nested.chosen, nested.final) == ((natural, natural), natural)
    alone = head_of(name, natural, 4, X[:2]).fit(X[:2], y[:2])
    expected = alone.decision_function(X[2:])
    np.testing.assert_allclose(nested.scores[2:], expected, rtol=5e-3, atol=1e-6)
    np.testing.assert_allclose(
        nested.head.decision_function(X), HEADS[name](natural).fit(X, y).decision_function(X),
        rtol=5e-3,
    )  # fmt: skip


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("name", HEADS)
def test_identical_images_in_uneven_folds_raise_nothing(name, n_classes):
    """Where the best score is nothing at all, rounding must not keep the solver going."""
    rng = np.random.default_rng(1)
    for value in (0.0, 0.1, 7.3):
        y, fold = np.arange(23) % n_classes, rng.permutation(23) % 5
        nested = nested_scores(name, np.full((23, 40), value, np.float32), y, fold)
        for k in range(5):
            of_fold = nested.scores[fold == k]
            np.testing.assert_allclose(of_fold, np.tile(of_fold[0], (len(of_fold), 1)), atol=1e-6)


# ------------------------------------------------------------------ scores that have one unit


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("by_fold", [False, True])
def test_inner_scores_and_those_of_the_final_strength_equal_a_plain_loop(name, by_fold):
    X, y, fold, _ = codes_of_patients(n_groups=60, seed=3)
    found = nested_scores(name, (lambda k: X) if by_fold else X, y, fold)
    if name == "rbf":  # its landmarks are those of each fold
        assert np.isnan(found.inner[0][fold == 0]).all()
        assert np.isfinite(found.final_scores).all()
        return
    spread = found.scores.std()
    for k in range(4):
        assert np.isnan(found.inner[k][fold == k]).all()
        held, train = fold == k, np.flatnonzero(fold != k)
        head = head_of(name, found.final, len(y), train).fit(X[train], y[train])
        assert np.abs(found.final_scores[held] - head.decision_function(X[held])).max() < (
            5e-3 * spread
        )
        for j in set(range(4)) - {k}:
            train, held = np.flatnonzero((fold != k) & (fold != j)), fold == j
            head = head_of(name, found.chosen[k], len(y), train).fit(X[train], y[train])
            ours = found.inner[k][held]
            assert np.abs(ours - head.decision_function(X[held])).max() < 5e-3 * spread


def test_where_nothing_can_be_chosen_there_are_no_inner_scores():
    X, y, *_ = codes_of_patients(n_groups=4)
    group = np.arange(12) // 3
    found = nested_scores("logistic", X, y, (group // 2) % 2, groups=group)
    assert found.inner is None
    np.testing.assert_array_equal(found.scores, found.final_scores)


# ------------------------------------------------------------------ what strengths are chosen by


@pytest.mark.parametrize("n_classes", [2, 4])
def test_ranks_are_compared_within_cells_and_weighed_by_their_pairs(n_classes):
    """scikit-learn's area of each cell; a shift of one cell changes nothing."""
    rng = np.random.default_rng(0)
    y, cell = rng.integers(0, n_classes, 90), np.repeat([0, 1, 2], [20, 30, 40])
    scores = (rng.standard_normal((90, n_classes)) + np.eye(n_classes)[y]).round(1)
    if n_classes == 2:
        scores[:, 0] = -scores[:, 1]
    areas = []
    for k in [1] if n_classes == 2 else range(n_classes):
        parts = [(y[cell == c] == k, scores[cell == c, k]) for c in range(3)]
        pairs = [yes.sum() * (~yes).sum() for yes, _ in parts]
        areas.append(np.average([roc_auc_score(*part) for part in parts], weights=pairs))
    assert auroc_within(y, scores, cell) == pytest.approx(np.mean(areas))
    shifted = scores + 64.0 * (cell == 1)[:, None]
    assert auroc_within(y, shifted.round(1), cell) == pytest.approx(np.mean(areas))
    assert auroc_within(np.zeros(90, int), scores, cell) == 0.5


@pytest.mark.parametrize("metric", ["balanced_accuracy", "accuracy", "macro_f1", "mcc", "auprc"])
def test_a_criterion_asks_nothing_of_the_scores_unit(metric):
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 200)
    f = rng.standard_normal(200) + 1.5 * y
    values = [
        criterion(metric)(y, np.stack([-a * f - b, a * f + b], axis=1), np.zeros(200, int))
        for a, b in ((1, 0), (300, 0), (0.01, 5))
    ]
    np.testing.assert_allclose(values, values[0], atol=1e-9)
    assert 0.5 < values[0] < 1


def test_losses_are_chosen_by_downwards_and_after_calibration():
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 4000)
    f = rng.standard_normal(4000) + 1.5 * y
    scores = 7 * np.stack([-f, f], axis=1)
    truth = 1 / (1 + np.exp(-(1.5 * f - 1.5**2 / 2)))  # of two normals 1.5 apart
    cell = np.zeros(4000, int)
    for metric, theirs in (("log_loss", log_loss(y, truth)), ("brier", ((truth - y) ** 2).mean())):
        assert criterion(metric)(y, scores, cell) == pytest.approx(-theirs, rel=0.01)
    assert criterion("log_loss")(y, 0 * scores, cell) < criterion("log_loss")(y, scores, cell)
