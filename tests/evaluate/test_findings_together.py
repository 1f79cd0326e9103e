"""Several findings of the same patients: their mean, and each without another's company."""

from __future__ import annotations

import numpy as np
import pytest

from medgraft.evaluate.company import company_gaps
from medgraft.evaluate.estimates import estimate
from medgraft.evaluate.macro import macro_mean
from medgraft.evaluate.metrics import judge
from medgraft.types import Predictions


def said(y, score, groups=None, fold=None) -> Predictions:
    y, n = np.asarray(y, np.int64), len(y)
    ids = np.array([f"i{i}" for i in range(n)])
    prob = 1 / (1 + np.exp(-np.asarray(score, float)))
    return Predictions(
        "s", ("no", "yes"), "yes", ids, ids if groups is None else groups, np.full(n, "train"),
        np.full(n, -1) if fold is None else fold, y, np.stack([-prob, prob], 1),
        np.stack([1 - prob, prob], 1),
    )  # fmt: skip


def test_the_mean_of_one_finding_is_its_own_estimate():
    rng = np.random.default_rng(0)
    groups, fold = np.repeat(np.arange(100), 3).astype(str), np.repeat(np.arange(100) % 5, 3)
    y = rng.random(300) < 0.4
    case = judge(said(y, y + rng.normal(size=300), groups, fold))
    for metric in ("auroc", "brier", "auprc"):
        own, mean = estimate(case, [metric])[metric], macro_mean([case], metric)
        assert (mean.value, mean.low, mean.high) == pytest.approx((own.value, own.low, own.high))


@pytest.mark.parametrize("shared", [0.0, 0.8])
def test_the_interval_of_a_mean_holds_the_truth_though_findings_share_patients(shared):
    rng, held, widths = np.random.default_rng(1), 0, []
    truth = 0.7602  # of a shift of one standard deviation: Phi(1 / sqrt(2))
    for _ in range(150):
        patient = rng.normal(size=60) * np.sqrt(shared)  # moves all scores of a patient
        cases = []
        for _ in range(3):
            y = np.arange(60) % 2 == 0
            noise = patient + rng.normal(size=60) * np.sqrt(1 - shared)
            cases.append(judge(said(y, y + noise)))
        mean = macro_mean(cases, "auroc")
        held += mean.low <= truth <= mean.high
        widths.append(mean.high - mean.low)
    assert 0.9 <= held / 150 <= 0.99
    assert (np.mean(widths) > 0.17) == (shared > 0)  # three that know the same are no three


def test_findings_without_an_error_do_not_make_a_mean_sure():
    y = np.arange(40) % 2
    perfect, other = judge(said(y, y)), judge(said(y, y + np.random.default_rng(0).normal(size=40)))
    both, own = macro_mean([perfect, perfect], "auroc"), estimate(perfect, ["auroc"])["auroc"]
    assert own.low < both.low < both.value == both.high == 1
    assert macro_mean([perfect, other], "auroc").low < macro_mean([other], "auroc").value


def two_lesions(seed: int, *, drain: bool, n: int = 400):
    """Scores of lesions a and b and of a drain that comes with a, if there is one: then the model
    of a goes by it."""
    rng = np.random.default_rng(seed)
    a, b = rng.random(n) < 0.3, rng.random(n) < 0.3
    tube = (a & (rng.random(n) < 0.6)) | (rng.random(n) < 0.05)
    marks = {"a": a, "b": b, "drain": tube}
    if not drain:  # a third lesion that has nothing to do with a
        marks["drain"] = rng.random(n) < 0.25
    looks = a + 2.5 * tube if drain else 2.0 * a
    scores = {"a": looks + rng.normal(size=n), "b": 2 * b + rng.normal(size=n),
              "drain": 3 * marks["drain"] + rng.normal(size=n)}  # fmt: skip
    folds = np.arange(n) % 5
    predictions = {name: said(marks[name], scores[name], fold=folds) for name in marks}
    rows = {f"i{i}": i for i in range(n)}

    def marks_of(name, ids):
        return marks[name][[rows[i] for i in ids.tolist()]].astype(np.int8)

    return company_gaps(predictions, marks_of)


def lost(gaps) -> set[tuple[str, str]]:
    return {(g.name, g.without) for g in gaps if g.difference.p < 0.05 and g.difference.high < 0}


def test_a_drain_that_tells_of_a_lesion_is_found_and_nothing_where_none_does():
    assert all(("a", "drain") in lost(two_lesions(seed, drain=True)) for seed in range(6))
    assert not any(lost(two_lesions(seed, drain=False)) for seed in range(6))


def test_the_gap_is_of_the_images_without_the_other():
    (gap, *_) = [g for g in two_lesions(3, drain=True) if (g.name, g.without) == ("a", "drain")]
    assert gap.difference.difference == pytest.approx(gap.alone.value - gap.usual.value)
    assert gap.alone.n < gap.usual.n == 400
    assert gap.together > gap.apart


def test_a_pair_of_few_patients_is_not_judged():
    rng = np.random.default_rng(0)
    a, b = rng.random(200) < 0.3, np.arange(200) < 9
    predictions = {"a": said(a, a + rng.normal(size=200)), "b": said(b, b + rng.normal(size=200))}
    marks = {"a": a, "b": b}
    assert company_gaps(predictions, lambda name, ids: marks[name].astype(np.int8)) == ()
