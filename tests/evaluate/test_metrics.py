from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as truth

from medgraft.errors import DataError
from medgraft.evaluate import metrics as m
from medgraft.evaluate.calibration import cross_fit
from medgraft.evaluate.intervals import ones
from medgraft.evaluate.threshold import cross_fit_thresholds
from medgraft.types import Operating


def value(case, metric, weights=None):
    weights = ones(len(case.y)) if weights is None else np.asarray(weights, float)[:, None]
    return float(m.statistics(case, [metric])(weights)[0, 0])


def random_binary(make, seed, n=120):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    p = np.clip(np.round(rng.normal(0.4 + 0.2 * y, 0.25), 1 + seed % 2), 0, 1)  # many ties
    return m.judge(make(y, p)), rng.integers(0, 4, n).astype(float)


def random_many(make, seed, n=150, k=4):
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(k), rng.integers(0, k, n - k)])
    z = np.round(rng.normal(size=(n, k)) + 1.2 * np.eye(k)[y], 1)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    return m.judge(make(y, p)), rng.integers(1, 4, n).astype(float)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("weighted", [False, True])
def test_two_classes_agree_with_scikit_learn(make, seed, weighted):
    case, w = random_binary(make, seed)
    w = w if weighted else np.ones(len(case.y))
    y, label, p = case.y, case.labels, case.prob[:, 1]
    expected = {
        "accuracy": truth.accuracy_score(y, label, sample_weight=w),
        "balanced_accuracy": truth.balanced_accuracy_score(y, label, sample_weight=w),
        "auroc": truth.roc_auc_score(y, p, sample_weight=w),
        "auprc": truth.average_precision_score(y, p, sample_weight=w),
        "macro_f1": truth.f1_score(y, label, average="macro", sample_weight=w),
        "mcc": truth.matthews_corrcoef(y, label, sample_weight=w),
        "quadratic_kappa": truth.cohen_kappa_score(y, label, weights="quadratic", sample_weight=w),
        "mean_absolute_error": truth.mean_absolute_error(y, label, sample_weight=w),
        "brier": truth.brier_score_loss(y, p, sample_weight=w),
        "log_loss": truth.log_loss(y, np.clip(p, 1e-7, 1 - 1e-7), sample_weight=w),
        "sensitivity": truth.recall_score(y, label, sample_weight=w),
        "specificity": truth.recall_score(y, label, pos_label=0, sample_weight=w),
        "ppv": truth.precision_score(y, label, sample_weight=w),
        "npv": truth.precision_score(y, label, pos_label=0, sample_weight=w),
    }
    assert {name: value(case, name, w) for name in expected} == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("weighted", [False, True])
def test_four_classes_agree_with_scikit_learn(make, seed, weighted):
    case, w = random_many(make, seed)
    w = w if weighted else np.ones(len(case.y))
    y, label, p = case.y, case.labels, case.prob
    onehot = np.eye(4)[y]
    expected = {
        "accuracy": truth.accuracy_score(y, label, sample_weight=w),
        "balanced_accuracy": truth.balanced_accuracy_score(y, label, sample_weight=w),
        "auroc": truth.roc_auc_score(y, p, multi_class="ovr", average="macro", sample_weight=w),
        "auprc": truth.average_precision_score(onehot, p, average="macro", sample_weight=w),
        "macro_f1": truth.f1_score(y, label, average="macro", sample_weight=w),
        "mcc": truth.matthews_corrcoef(y, label, sample_weight=w),
        "quadratic_kappa": truth.cohen_kappa_score(y, label, weights="quadratic", sample_weight=w),
        "mean_absolute_error": truth.mean_absolute_error(y, label, sample_weight=w),
        "brier": np.average(((p - onehot) ** 2).sum(axis=1), weights=w),
        "log_loss": truth.log_loss(y, p, sample_weight=w),
    }
    assert {name: value(case, name, w) for name in expected} == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("metric", [*m.STUDIED, *m.BINARY])
def test_a_whole_chunk_of_resamples_equals_each_alone(make, metric):
    case, _ = random_binary(make, 3)
    weights = np.random.default_rng(0).integers(0, 3, (len(case.y), 5)).astype(np.float32)
    together = m.statistics(case, [metric])(weights)[0]
    alone = [value(case, metric, weights[:, b]) for b in range(5)]
    np.testing.assert_allclose(together, alone, rtol=2e-5)


def within_folds(y, score, fold, w):
    """Scikit-learn's AUROC fold by fold, each weighing as many pairs as it has."""
    right = pairs = 0.0
    for k in np.unique(fold):
        here = fold == k
        own = w[here & y].sum() * w[here & ~y].sum()
        if own:
            right += own * truth.roc_auc_score(y[here], score[here], sample_weight=w[here])
            pairs += own
    return right / pairs


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("classes", [2, 4])
def test_auroc_out_of_fold_is_that_of_the_pairs_within_folds(make, seed, classes):
    case, w = (random_binary if classes == 2 else random_many)(make, seed)
    fold = np.random.default_rng(seed).integers(0, 5, len(case.y))
    case = dataclasses.replace(case, fold=fold)
    columns = [1] if classes == 2 else range(4)
    for weights in (np.ones(len(case.y)), w):
        expected = [within_folds(case.y == k, case.prob[:, k], fold, weights) for k in columns]
        assert value(case, "auroc", weights) == pytest.approx(np.mean(expected), abs=1e-6)


def test_what_differs_between_folds_alone_is_no_ranking(make):
    """Scores shifted by fold: pooled they would rank .7, within folds each pair ties."""
    fold = np.repeat([0, 1], 10)
    y = np.concatenate([np.arange(10) < 3, np.arange(10) < 7]).astype(int)
    p = np.where(fold == 0, 0.2, 0.8)
    assert truth.roc_auc_score(y, p) == pytest.approx(0.7)
    assert value(m.judge(make(y, p, fold=fold), Operating(0.5, "")), "auroc") == 0.5


def test_noise_calibrated_by_the_other_folds_ranks_one_half(make):
    """A fold rich in positives is given the others' poorer share: pooled, noise ranks below .5."""
    pooled, within = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        y, fold = rng.integers(0, 2, 60), rng.integers(0, 5, 60)
        p = cross_fit(rng.normal(size=(60, 2)), y, fold)
        pooled.append(truth.roc_auc_score(y, p[:, 1]))
        within.append(m.auroc(y == 1, p[:, 1], fold))
    assert np.mean(pooled) < 0.45
    assert np.mean(within) == pytest.approx(0.5, abs=0.03)


def test_folds_without_a_class_count_no_pair_and_folds_of_one_class_are_joined(make):
    y, p = [0, 1, 1, 1, 0, 0], [0.2, 0.6, 0.1, 0.1, 0.9, 0.9]
    case = m.judge(make(y, p, fold=[0, 0, 1, 1, 2, 2]), Operating(0.5, ""))
    assert value(case, "auroc") == 1  # fold 0 alone has a pair
    lone = m.judge(make(y, p, fold=[0, 1, 1, 1, 0, 0]), Operating(0.5, ""))
    assert value(lone, "auroc") == pytest.approx(truth.roc_auc_score(y, p))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=30))
def test_auroc_is_the_share_of_pairs_ranked_right(rows):
    y = np.array([a for a, _ in rows])
    score = np.array([b for _, b in rows], float)
    if y.all() or not y.any():
        return
    pairs = [(a > b) + 0.5 * (a == b) for a in score[y] for b in score[~y]]
    assert m.auroc(y, score) == pytest.approx(np.mean(pairs), abs=1e-12)
    assert m.auroc(y, -score) == pytest.approx(1 - np.mean(pairs), abs=1e-12)


@pytest.mark.parametrize("metric", [*m.STUDIED, *m.BINARY])
def test_the_order_of_the_images_does_not_matter(make, metric):
    case, _ = random_binary(make, 2)
    order = np.random.default_rng(1).permutation(len(case.y))
    turned = m.judge(make(case.y[order], case.prob[order, 1]))
    assert value(case, metric) == pytest.approx(value(turned, metric), abs=1e-6)


def test_calibration_error_by_hand(make):
    # Ties share a bin: (.2, .2) holds one of two ill, (.8) one of one: (|.4 - 1| + |.8 - 1|) / 3.
    case = m.judge(make([0, 1, 1], [0.2, 0.2, 0.8]))
    assert value(case, "ece") == pytest.approx(0.8 / 3)
    # Thirty images, two a bin: bins (0,0) and (1,1) around pairs that come true half the time.
    p = np.arange(30) / 30
    y = np.arange(30) % 2
    by_hand = sum(abs(p[i] + p[i + 1] - 1) for i in range(0, 30, 2)) / 30
    assert value(m.judge(make(y, p)), "ece") == pytest.approx(by_hand)


def test_calibration_error_of_three_classes_is_of_the_most_probable(make):
    # Confidences .5 (true), .6 (false): (|.5 - 1| + |.6 - 0|) / 2.
    case = m.judge(make([0, 2], [[0.5, 0.3, 0.2], [0.6, 0.2, 0.2]]))
    assert value(case, "ece") == pytest.approx((0.5 + 0.6) / 2)


def test_losses_by_hand(make):
    three = m.judge(make([0], [[0.5, 0.3, 0.2]]))
    assert value(three, "brier") == pytest.approx(0.25 + 0.09 + 0.04)
    assert value(three, "log_loss") == pytest.approx(np.log(2))
    two = m.judge(make([1, 0], [0.0, 0.3]))
    assert value(two, "brier") == pytest.approx((1 + 0.09) / 2)
    assert value(two, "log_loss") == pytest.approx((7 * np.log(10) - np.log(0.7)) / 2)


def test_a_class_without_images_is_left_out_of_the_mean(make):
    p = np.array([[0.6, 0.3, 0.1], [0.3, 0.5, 0.2], [0.4, 0.5, 0.1], [0.2, 0.7, 0.1]])
    case = m.judge(make([0, 0, 1, 1], p))
    # c0 against the rest: .6, .3 over .4, .2: 3 of 4 pairs; c1: .5, .7 over .3, .5: 3.5 of 4.
    assert value(case, "auroc") == pytest.approx((0.75 + 0.875) / 2)


def test_labels_come_from_the_rule_of_the_predictions(make):
    p = [0.1, 0.2, 0.3, 0.4]
    at = Operating(0.3, "by hand")
    assert m.judge(make([0, 0, 1, 1], p), at).labels.tolist() == [0, 0, 1, 1]
    assert m.judge(make([0, 0, 1, 1], p)).labels.tolist() == [0, 0, 0, 0]
    each = np.array([0.0, 0.3, 0.2, 0.5])
    assert m.judge(make([0, 0, 1, 1], p), each).labels.tolist() == [1, 0, 1, 0]
    folds = make([0, 1, 0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4, 0.1, 0.5], fold=[0, 0, 1, 1, 2, 2])
    expected = folds.y_prob[:, 1] >= cross_fit_thresholds(folds)
    assert m.judge(folds).labels.tolist() == expected.astype(int).tolist()


def test_the_positive_class_need_not_be_the_second(make):
    plain = make([0, 1, 1, 0], [0.2, 0.9, 0.4, 0.6])
    turned = dataclasses.replace(
        plain, classes=("ill", "normal"), y_true=1 - plain.y_true, y_prob=plain.y_prob[:, ::-1]
    )
    for metric in (*m.STUDIED, *m.BINARY):
        assert value(m.judge(plain), metric) == value(m.judge(turned), metric), metric


def test_what_cannot_be_judged_is_refused(make):
    with pytest.raises(DataError, match="no label"):
        m.judge(make([0, -1], [0.1, 0.2]))
    with pytest.raises(DataError, match="calibrate"):
        m.judge(make([0, 1], [[0.1, 0.2], [0.5, 0.5]]))
    with pytest.raises(DataError, match="calibrate"):
        m.judge(make([0, 1], [np.nan, 0.2]))
    with pytest.raises(DataError, match="one each"):
        m.judge(make([0, 1], [0.1, 0.2]), np.array([0.5]))
    case = m.judge(make([0, 1, 2], np.full((3, 3), 1 / 3)))
    with pytest.raises(DataError, match="sensitivity"):
        m.statistics(case, ["sensitivity"])
    with pytest.raises(DataError, match="auc"):
        m.statistics(case, ["auc"])


def test_nothing_given_is_changed(make):
    predictions = make([0, 1, 1, 0], [0.2, 0.9, 0.4, 0.6])
    before = predictions.y_prob.copy(), predictions.y_true.copy()
    case = m.judge(predictions)
    weights = np.ones((4, 3), np.float32)
    m.statistics(case, [*m.STUDIED, *m.BINARY])(weights)
    assert (predictions.y_prob == before[0]).all()
    assert (predictions.y_true == before[1]).all()
    assert (weights == 1).all()
