from __future__ import annotations

import numpy as np
import pytest

from medgraft.evaluate.estimates import evaluate
from medgraft.evaluate.groups import by_group
from medgraft.evaluate.intervals import Sampling, wilson
from medgraft.evaluate.metrics import BINARY, COMMON
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


def test_closed_forms_where_no_group_repeats_and_the_bootstrap_where_one_does(make):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 80)
    p = np.clip(rng.normal(0.4 + 0.2 * y, 0.2), 0, 1)
    alone = evaluate(make(y, p), sampling=QUICK).estimates
    paired = evaluate(make(y, p, groups=np.arange(80) // 2), sampling=QUICK).estimates
    assert alone["accuracy"].method == "Wilson"
    assert alone["auroc"].method == "DeLong, logit scale"
    assert alone["mcc"].method == "percentile bootstrap over images, 300 resamples"
    assert paired["accuracy"].method == "percentile bootstrap over 40 groups, 300 resamples"
    assert paired["auroc"].method == "percentile bootstrap over 40 groups, 300 resamples"
    for name in (*COMMON, *BINARY):
        assert alone[name].value == pytest.approx(paired[name].value)
        for found in (alone[name], paired[name]):
            assert found.low < found.high, name
            assert found.low <= found.value <= found.high, name


def test_repeating_every_image_in_its_group_adds_no_certainty(make):
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 100)
    p = np.clip(rng.normal(0.4 + 0.2 * y, 0.2), 0, 1)
    once = evaluate(make(y, p)).estimates
    four = evaluate(make(y.repeat(4), p.repeat(4), np.arange(100).repeat(4))).estimates
    for name in ("accuracy", "auroc", "mcc", "brier", "auprc"):
        ratio = (four[name].high - four[name].low) / (once[name].high - once[name].low)
        assert ratio == pytest.approx(1, abs=0.12), name


@pytest.mark.parametrize("groups", [None, np.arange(40) // 2, np.zeros(40)])
def test_perfect_separation_is_never_certain(make, groups):
    y = np.repeat([0, 1], 20)
    found = evaluate(make(y, y * 1.0, groups=groups), sampling=QUICK).estimates
    for name, estimate in found.items():
        best = 0.0 if name in ("brier", "log_loss", "ece") else 1.0
        assert estimate.value == best, name
        assert estimate.high - estimate.low > 0.05, name
        assert min(abs(estimate.low - best), abs(estimate.high - best)) < 1e-9, name
        assert "percentile" not in estimate.method, name


def test_perfect_separation_of_three_classes(make):
    y = np.repeat([0, 1, 2], 20)
    for name, estimate in evaluate(make(y, np.eye(3)[y]), sampling=QUICK).estimates.items():
        assert estimate.high - estimate.low > 0.05, name
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
        evaluate(predictions, metrics=["mcc"], sampling=Sampling(seed, 200)).estimates["mcc"]
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


def test_clustered_auroc_covers(make):
    from scipy.stats import norm

    true = float(norm.cdf(1.5 / np.sqrt(2)))
    sampling = Sampling(resamples=200)
    assert _covers(make, _binormal_patients, true, "auroc", 150, sampling) > 0.89
    assert _covers(make, _binormal_patients, true, "auroc", 150, sampling, False) < 0.86


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


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["auroc", "auprc", "balanced_accuracy", "brier", "ece"])
def test_every_bootstrap_covers(make, metric):
    """A large sample of the same process stands for the truth."""
    y, p, _ = _binormal_patients(np.random.default_rng(10**6), n_groups=100_000)
    true = evaluate(make(y, p), metrics=[metric], sampling=Sampling(resamples=100))
    sampling = Sampling(resamples=500)
    covered = _covers(make, _binormal_patients, true.estimates[metric].value, metric, 400, sampling)
    assert 0.91 < covered < 0.99
