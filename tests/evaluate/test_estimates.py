from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from medgraft.evaluate.estimates import estimate, evaluate
from medgraft.evaluate.groups import by_group
from medgraft.evaluate.intervals import Sampling, ones, wilson
from medgraft.evaluate.metrics import BINARY, COMMON, auroc, judge, statistics
from medgraft.types import Operating

QUICK = Sampling(resamples=300)


def test_counts_and_proportions_by_hand(make):
    found = evaluate(make([0, 0, 0, 1, 1], [0.1, 0.2, 0.7, 0.6, 0.3]), sampling=QUICK)
    assert found.confusion.tolist() == [[2, 1], [1, 1]]
    assert found.operating == Operating(0.5, "0.5, none was chosen")
    assert (found.n_images, found.n_groups) == (5, 5)
    values = {name: found.estimates[name].value for name in ("accuracy", *BINARY)}
    assert values == pytest.approx(
        {"accuracy": 0.6, "sensitivity": 0.5, "specificity": 2 / 3, "ppv": 0.5, "npv": 2 / 3}
    )
    assert found.estimates["specificity"] == wilson(2, 3)
    assert found.estimates["auroc"].value == pytest.approx(4 / 6)


def test_every_interval_says_how_it_was_got(make):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 80)
    p = np.clip(rng.normal(0.4 + 0.2 * y, 0.2), 0, 1)
    alone = evaluate(make(y, p), sampling=QUICK).estimates
    paired = evaluate(make(y, p, groups=np.arange(80) // 2), sampling=QUICK).estimates
    folds = evaluate(make(y, p, fold=np.arange(80) % 5), sampling=QUICK).estimates
    assert alone["accuracy"].method == "Wilson"
    assert alone["auroc"].method == "DeLong, logit scale"
    assert alone["mcc"].method == "influence values over images, Fisher's z scale"
    assert alone["ece"].method == "noise-corrected bootstrap over images, 300 resamples"
    assert paired["accuracy"].method.startswith("Wilson on the effective number, ")
    assert paired["accuracy"].method.endswith(", over 40 groups")
    assert paired["auroc"].method == "DeLong over 40 groups, logit scale"
    assert paired["log_loss"].method == "influence values over 40 groups, log scale"
    assert folds["auroc"].method == "DeLong within folds over images, logit scale"
    for name in (*COMMON, *BINARY):
        assert alone[name].value == pytest.approx(paired[name].value)
        for found in (alone[name], paired[name], folds[name]):
            assert found.low < found.high, name
            assert found.low <= found.value <= found.high, name


def test_repeating_every_image_in_its_group_adds_no_certainty(make):
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 100)
    p = np.clip(rng.normal(0.4 + 0.2 * y, 0.2), 0, 1)
    once = evaluate(make(y, p)).estimates
    four = evaluate(make(y.repeat(4), p.repeat(4), np.arange(100).repeat(4))).estimates
    for name in ("accuracy", "auroc", "mcc", "brier", "auprc", "macro_f1"):
        ratio = (four[name].high - four[name].low) / (once[name].high - once[name].low)
        assert ratio == pytest.approx(1, abs=0.12), name


@pytest.mark.parametrize("groups", [None, np.arange(40) // 2, np.zeros(40)])
def test_perfect_separation_is_never_certain(make, groups):
    y = np.repeat([0, 1], 20)
    found = evaluate(make(y, y * 1.0, groups=groups), sampling=QUICK).estimates
    for name, one in found.items():
        best = 0.0 if name in ("brier", "log_loss", "ece") else 1.0
        assert one.value == best, name
        assert one.high - one.low > 0.05, name
        assert min(abs(one.low - best), abs(one.high - best)) < 1e-9, name
        assert "percentile" not in one.method, name


def test_perfect_separation_of_three_classes(make):
    y = np.repeat([0, 1, 2], 20)
    for name, one in evaluate(make(y, np.eye(3)[y]), sampling=QUICK).estimates.items():
        assert one.high - one.low > 0.05, name
    # All right of 60, but a bound of three classes at once: below that of one Wilson of 60.
    balanced = evaluate(make(y, np.eye(3)[y]), sampling=QUICK).estimates["balanced_accuracy"]
    assert balanced.low == pytest.approx(wilson(20, 20).low)


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_intervals_widen_with_the_level(make, level):
    rng = np.random.default_rng(4)
    y = rng.integers(0, 2, 60)
    p = np.clip(rng.normal(0.4 + 0.2 * y, 0.2), 0, 1)
    found = evaluate(make(y, p), sampling=Sampling(resamples=500, level=level)).estimates
    wide = evaluate(make(y, p), sampling=Sampling(resamples=500, level=0.999)).estimates
    for name in found:
        assert wide[name].high - wide[name].low >= found[name].high - found[name].low, name


def test_a_class_without_images_leaves_metrics_undefined_and_says_so(make):
    found = evaluate(make([1, 1, 1, 1], [0.2, 0.9, 0.8, 0.7]), sampling=QUICK).estimates
    for name in ("auroc", "specificity"):
        assert np.isnan(found[name].value)
        assert (found[name].low, found[name].high) == (0, 1)
        assert "undefined" in found[name].method
    assert "normal" in found["auroc"].method
    assert (found["mcc"].low, found["mcc"].high) == (-1, 1)
    assert found["sensitivity"].value == 0.75


def test_labels_never_given_leave_their_predictive_value_undefined(make):
    found = evaluate(make([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4]), sampling=QUICK).estimates
    assert np.isnan(found["ppv"].value)
    assert found["npv"].value == 0.5


@pytest.mark.parametrize("y", [[0], [1], [0, 1], [0, 0, 1]])
def test_a_handful_of_images_gives_wide_intervals_and_no_crash(make, y):
    found = evaluate(make(y, np.linspace(0.3, 0.6, len(y))), sampling=QUICK).estimates
    for name in ("accuracy", "auroc", "balanced_accuracy", "auprc", "macro_f1"):
        assert found[name].high - found[name].low > 0.4, (name, found[name])


def test_same_seed_same_numbers_and_other_seed_other_numbers(make):
    rng = np.random.default_rng(2)
    predictions = make(rng.integers(0, 2, 50), rng.random(50))
    one, two, three = (
        evaluate(predictions, metrics=["ece"], sampling=Sampling(seed, 200)).estimates["ece"]
        for seed in (0, 0, 1)
    )
    assert one == two
    assert one != three


def test_by_group_takes_means_and_keeps_labels_apart(make):
    p = make([0, 0, 1, 1, 0], [0.1, 0.3, 0.6, 0.8, 0.5], groups=["A", "A", "B", "B", "B"])
    rows = by_group(p)
    assert rows.ids.tolist() == ["A", "B normal val", "B ill val"]
    assert rows.groups.tolist() == ["A", "B", "B"]
    assert rows.y_true.tolist() == [0, 0, 1]
    np.testing.assert_allclose(rows.y_prob[:, 1], [0.2, 0.5, 0.7])
    np.testing.assert_allclose(rows.y_prob.sum(axis=1), 1)


def test_by_group_of_groups_of_one_changes_nothing_but_the_order(make):
    rng = np.random.default_rng(0)
    p = make(rng.integers(0, 2, 30), rng.random(30))
    rows = by_group(p)
    back = rows.select(np.array([rows.ids.tolist().index(i) for i in p.ids]))
    assert (back.y_true == p.y_true).all()
    np.testing.assert_allclose(back.y_prob, p.y_prob)


def _covers(make, simulate, true, metric, runs, sampling, grouped=True):
    """The share of simulated data sets whose interval holds the true value."""
    hits = 0
    for seed in range(runs):
        y, p, groups = simulate(np.random.default_rng(seed))
        found = evaluate(
            make(y, p, groups if grouped else None), metrics=[metric], sampling=sampling
        ).estimates[metric]
        hits += found.low <= true <= found.high
    return hits / runs


def _patients(rng, n_groups=50, size=6):
    """Images of a patient are right with the patient's own probability, .8 on average."""
    own = rng.beta(1.6, 0.4, n_groups)
    right = rng.random((n_groups, size)) < own[:, None]
    y = rng.integers(0, 2, (n_groups, size))
    return y.ravel(), np.where(right, y, 1 - y).ravel() * 1.0, np.arange(n_groups).repeat(size)


def test_clustered_intervals_cover_where_naive_ones_do_not(make):
    sampling = Sampling(resamples=200)
    clustered = _covers(make, _patients, 0.8, "accuracy", 200, sampling)
    naive = _covers(make, _patients, 0.8, "accuracy", 200, sampling, grouped=False)
    assert clustered > 0.9
    assert naive < 0.8


def _binormal_patients(rng, n_groups=80, size=4, shift=1.5):
    """Scores with a patient's own offset, half the variance; AUROC is Phi(shift / sqrt 2)."""
    y = rng.integers(0, 2, n_groups).repeat(size)
    offset = rng.normal(0, np.sqrt(0.5), n_groups).repeat(size)
    score = offset + rng.normal(0, np.sqrt(0.5), len(y)) + shift * y
    return y, 1 / (1 + np.exp(-score)), np.arange(n_groups).repeat(size)


METRICS = ("auroc", "accuracy", "sensitivity", "balanced_accuracy", "auprc", "brier", "log_loss")


def test_intervals_of_thirty_patients_cover(make):
    """AUROC .92, ten images a patient; a large sample stands for the truth of the others."""
    shift, hits, naive, runs = 2.0, dict.fromkeys(METRICS, 0), 0, 150
    y, p, _ = _binormal_patients(np.random.default_rng(10**6), 60_000, 4, shift)
    at = Operating(0.7, "by hand")
    true = {k: float(statistics(judge(make(y, p), at), [k])(ones(len(y)))[0, 0]) for k in METRICS}
    for seed in range(runs):
        y, p, groups = _binormal_patients(np.random.default_rng(seed), 30, 10, shift)
        found = estimate(judge(make(y, p, groups), at), METRICS)
        alone = estimate(judge(make(y, p), at), ["auroc"])["auroc"]
        naive += alone.low <= true["auroc"] <= alone.high
        for name in METRICS:
            hits[name] += found[name].low <= true[name] <= found[name].high
    assert min(hits.values()) / runs > 0.89, hits
    assert naive / runs < 0.75


def _judged_in_folds(rng, n_groups, size, n_features=10, shift=2.0):
    """Patients judged by a ridge regression on the other four folds, each on a scale of its own.

    Returns y, scores, groups, folds, and the mean true AUROC of the five models.
    """
    y = (rng.random(n_groups) < 0.4).repeat(size)
    own = rng.normal(size=(n_groups, n_features)).repeat(size, axis=0)
    x = (own + rng.normal(size=(len(y), n_features))) / np.sqrt(2)
    x[:, 0] += shift * y
    fold = np.empty(n_groups, np.int64)
    for label in (False, True):
        rows = np.flatnonzero(y[::size] == label)
        fold[rows] = rng.permutation(np.arange(len(rows)) % 5)
    fold = fold.repeat(size)
    score, true = np.empty(len(y)), []
    for k in range(5):
        out = fold == k
        inside = x[~out] - x[~out].mean(axis=0)
        weight = np.linalg.solve(
            inside.T @ inside + 10 * np.eye(n_features), inside.T @ (y[~out] - y[~out].mean())
        )
        score[out] = x[out] @ weight * rng.uniform(0.5, 2) + rng.normal()
        true.append(norm.cdf(shift * weight[0] / np.linalg.norm(weight) / np.sqrt(2)))
    return y, score, np.arange(n_groups).repeat(size), fold, float(np.mean(true))


@pytest.mark.parametrize(("n_groups", "size"), [(150, 1), (40, 5)])
def test_auroc_out_of_fold_covers_that_of_the_models_that_judged(make, n_groups, size):
    hits, bias, pooled, runs = 0, [], [], 120
    for seed in range(runs):
        y, score, groups, fold, true = _judged_in_folds(np.random.default_rng(seed), n_groups, size)
        case = judge(make(y, 1 / (1 + np.exp(-score)), groups, fold), Operating(0.5, "by hand"))
        found = estimate(case, ["auroc"])["auroc"]
        hits += found.low <= true <= found.high
        bias.append(found.value - true)
        pooled.append(auroc(y, score) - true)
    assert hits / runs > 0.91
    assert abs(np.mean(bias)) < 0.01
    assert np.mean(pooled) < -0.03


def test_folds_that_hold_one_class_each_are_ranked_together_by_name(make):
    y = np.array([0, 0, 1, 1, 0, 0, 1, 1])
    p = np.array([0.1, 0.4, 0.3, 0.8, 0.2, 0.5, 0.6, 0.9])
    found = estimate(judge(make(y, p, fold=np.arange(8) // 2)), ["auroc"])["auroc"]
    assert "pairs across folds" in found.method
    assert found.value == auroc(y == 1, p)


def test_a_class_in_one_patient_has_a_named_fallback(make):
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], [40, 40, 6])
    groups = np.concatenate([np.arange(80) // 4, np.full(6, 99)])
    p = rng.dirichlet(np.ones(3), 86) + np.eye(3)[y]
    found = evaluate(make(y, p / 2, groups), sampling=QUICK).estimates
    for name in ("auroc", "balanced_accuracy", "auprc", "mcc"):
        assert "no spread" in found[name].method
        assert found[name].high - found[name].low > 0.2
    assert "groups" in found["brier"].method


def test_a_calibrated_model_may_be_calibrated(make):
    """Its error is noise alone, and the interval must reach down to the true 0."""
    found = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        p = rng.random(150)
        predictions = make(rng.random(150) < p, p)
        found.append(evaluate(predictions, metrics=["ece"], sampling=QUICK).estimates["ece"])
    assert np.mean([e.value for e in found]) > 0.05
    assert np.mean([e.low == 0 for e in found]) > 0.93
