"""Two runs are compared on the images that both judged, and on no other."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import made
import numpy as np
import pytest
from scipy import stats

from medgraft.evaluate.compare import compare
from medgraft.evaluate.threshold import cross_fit_thresholds
from medgraft.results.runs import RunComparison
from medgraft.runs.compare import compare_runs
from medgraft.runs.read import open_run


def compared(a: Path, b: Path) -> RunComparison:
    return compare_runs(open_run(a), open_run(b))


def test_the_test_is_paired_and_counts_from_a_to_b(tmp_path: Path) -> None:
    """Held to the paired comparison itself, and to SciPy: Holm of two p values."""
    oof = [made.answers(made.SVM, 400, skill, seed=1) for skill in (1, 2.5)]
    test = [made.answers(made.SVM, 300, skill, split="test", seed=1) for skill in (1, 2.5)]
    folders = [
        made.study(tmp_path / name, [oof[i]], [test[i]], seed=i) for i, name in enumerate("AB")
    ]
    found = compared(*folders)
    raw = []
    for one, (a, b) in zip(found.recommended, (oof, test), strict=True):
        named = dataclasses.replace(b, scenario="b"), dataclasses.replace(a, scenario="a")
        (plain,) = compare(named[0], named[1:], "auroc", purpose="report")
        got = one.comparison
        assert (got.difference, got.low, got.high) == (plain.difference, plain.low, plain.high)
        assert got.difference > 0.05
        assert one.a.n == len(a)
        raw.append(plain.p)
    corrected = [one.comparison.p for one in found.recommended]
    ordered = sorted(raw)
    assert sorted(corrected) == pytest.approx([2 * ordered[0], max(2 * ordered[0], ordered[1])])
    assert [one.part for one in found.recommended] == ["validation", "test"]
    assert [one.patients for one in found.recommended] == [200, 150]
    assert [(one.what, one.name, one.a, one.b) for one in found.changes] == [
        ("options", "seed", 0, 1)
    ]
    back = compared(*reversed(folders)).recommended
    assert [-one.comparison.difference for one in back] == pytest.approx(
        [one.comparison.difference for one in found.recommended]
    )


def test_only_images_of_both_on_the_same_side_and_of_the_same_class_count(tmp_path: Path) -> None:
    whole = made.answers(made.SVM, 200, 1)
    mine = made.only(whole, np.arange(160))
    theirs = made.answers(made.SVM, 200, 2)
    relabelled = theirs.y_true.copy()
    relabelled[40:44] = 1 - relabelled[40:44]
    theirs = dataclasses.replace(theirs, y_true=relabelled)
    moved = made.only(theirs, np.arange(30), splits=np.full(30, "test"), fold=np.full(30, -1))
    a = made.study(tmp_path / "A", [mine], data="abc")
    b = made.study(tmp_path / "B", [made.only(theirs, np.arange(30, 200)[::-1])], [moved])
    found = compared(a, b)
    s = found.shared
    assert (s.images, s.only_a, s.only_b) == (160, 0, 40)
    assert (s.other_side, s.other_label, s.validation, s.test) == (30, 4, 126, 0)
    (one,) = found.recommended
    assert one.a.n == 126
    keep = [i for i in range(30, 160) if not 40 <= i < 44]
    y = whole.y_true[keep] == 0
    for estimate, p in ((one.a, whole), (one.b, theirs)):  # AUROC within folds, by counting pairs
        score, fold = p.y_prob[keep, 0], p.fold[keep]
        pairs = [
            (score[i] > score[j])
            for i in np.flatnonzero(y)
            for j in np.flatnonzero(~y)
            if fold[i] == fold[j]
        ]
        assert estimate.value == pytest.approx(np.mean(pairs))


@pytest.mark.parametrize("metric", ["auroc", "balanced_accuracy"])
def test_a_run_that_judged_one_fold_of_the_other_is_compared_at_the_thresholds_of_each(
    tmp_path: Path, metric: str
) -> None:
    whole = made.answers(made.SVM, 400, 1.0)
    one = whole.fold == 4
    mine = made.only(
        made.answers(made.SVM, 400, 1.5, seed=1), one, fold=np.arange(one.sum()) // 2 % 4
    )
    a = made.study(tmp_path / "a", [whole], metric=metric)
    b = made.study(tmp_path / "b", [mine], metric=metric)
    (found,) = compared(a, b).recommended
    assert found.patients == 40
    at = cross_fit_thresholds(whole)[one]
    labels = np.where(whole.y_prob[one, 0] >= at, 0, 1)
    recalls = [(labels == k)[whole.y_true[one] == k].mean() for k in (0, 1)]
    if metric == "balanced_accuracy":
        assert found.a.value == pytest.approx(np.mean(recalls))


def test_whoever_shares_a_patient_in_either_run_is_one_patient(tmp_path: Path) -> None:
    one = made.answers(made.SVM, 240, 1)
    joined = np.array([f"clinic{i // 8}" for i in range(240)])
    other = dataclasses.replace(made.answers(made.SVM, 240, 1.4, seed=2), groups=joined)
    found = compared(made.study(tmp_path / "A", [one]), made.study(tmp_path / "B", [other]))
    (figure,) = found.recommended
    assert figure.patients == 30
    assert found.shared.other_patients == 240


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"classes": ("ill", "sound")}, "classes"),
        ({"positive": "well"}, "positive class"),
        ({"ids": np.array([f"x{i}" for i in range(60)])}, "no images"),
    ],
)
def test_what_cannot_be_compared_is_named_and_not_tested(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    p = made.answers(made.SVM, 60, 1)
    b = made.study(tmp_path / "B", [dataclasses.replace(p, **change)], data="other")
    found = compared(made.study(tmp_path / "A", [p]), b)
    assert found.not_paired == reason
    assert found.recommended == ()
    assert ("data", "fingerprint", "abc", "other") in [
        dataclasses.astuple(one) for one in found.changes
    ]


def test_one_run_twice_a_killed_one_and_too_few_patients(tmp_path: Path) -> None:
    a = made.study(tmp_path / "A", [made.answers(made.SVM, 60, 1)])
    assert compared(a, a / "model").not_paired == "one run"
    b = made.study(tmp_path / "B", [made.answers(made.SVM, 12, 1)])
    assert compared(a, b).not_paired == "few patients"
    (b / "result.json").unlink()
    assert compared(a, b).not_paired == "unfinished"


def test_classes_in_another_order_are_the_same_classes(tmp_path: Path) -> None:
    p = made.answers(made.SVM, 80, 1)
    turned = dataclasses.replace(
        p,
        classes=p.classes[::-1],
        y_true=1 - p.y_true,
        scores=p.scores[:, ::-1],
        y_prob=p.y_prob[:, ::-1],
    )
    found = compared(made.study(tmp_path / "A", [p]), made.study(tmp_path / "B", [turned]))
    assert [one.same for one in found.recommended] == [True]
    assert found.recommended[0].comparison.p == 1


def test_runs_chosen_by_two_metrics_are_tested_by_both(tmp_path: Path) -> None:
    a = made.study(tmp_path / "A", [made.answers(made.SVM, 120, 1)], metric="auroc")
    b = made.study(tmp_path / "B", [made.answers(made.SVM, 120, 2)], metric="brier")
    assert [one.metric for one in compared(a, b).recommended] == ["auroc", "brier"]


def test_the_difference_out_of_fold_discounts_that_both_were_chosen(tmp_path: Path) -> None:
    """Twelve scenarios of one skill: the best of them only looks better than one alone.

    Over draws the plain difference leans towards the run that could choose; the discounted does
    not.
    """
    plain, discounted = [], []
    for seed in range(12):
        keys = [f"probe/net/t{i}/svm" for i in range(12)]
        many = [made.answers(key, 120, 1, seed=seed) for key in keys]
        values = [stats.rankdata(p.y_prob[:, 0])[p.y_true == 0].sum() for p in many]
        best = keys[int(np.argmax(values))]
        b = made.study(tmp_path / f"B{seed}", many, recommended=best)
        a = made.study(tmp_path / f"A{seed}", [made.answers(made.KNN, 120, 1, seed=seed)])
        (one,) = compared(a, b).recommended
        assert one.discounted
        plain.append(one.b.value - one.a.value)
        discounted.append(one.comparison.difference)
    assert np.mean(plain) > 0.03
    assert abs(np.mean(discounted)) < np.mean(plain) / 2


def test_a_scenario_that_lacks_an_image_is_left_out_and_the_others_stay_in_order(
    tmp_path: Path,
) -> None:
    mine, other = made.answers(made.SVM, 120, 1), made.answers(made.KNN, 120, 1)
    short = made.only(other, np.arange(1, 120))
    a = made.study(tmp_path / "A", [short, mine], recommended=made.SVM)
    b = made.study(tmp_path / "B", [other, mine], recommended=made.SVM)
    found = compared(a, b)
    assert [one.same for one in found.recommended] == [True]
    assert set(found.common) == {made.SVM}


def test_scenarios_in_both_are_held_to_themselves(tmp_path: Path) -> None:
    same = made.answers(made.SVM, 200, 1.5)
    a = made.study(tmp_path / "A", [same, made.answers(made.KNN, 200, 0.3)])
    b = made.study(tmp_path / "B", [same, made.answers(made.KNN, 200, 2.5)])
    common = compared(a, b).common
    assert {key: one.same for key, one in common.items()} == {made.SVM: True, made.KNN: False}
    assert common[made.KNN].comparison.p < 0.01
    assert common[made.KNN].comparison.difference > 0
