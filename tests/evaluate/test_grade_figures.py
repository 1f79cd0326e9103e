"""How far mistakes of grades go, against sums by hand and by scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as truth

from medgraft.errors import LeakError
from medgraft.evaluate.grades import at_least, grade_figures, grading_of, mean_grade
from medgraft.types import Predictions

GRADES = ("0", "1", "2", "3")


def graded(n: int = 240, seed: int = 0, per_group: int = 1, skill: float = 1.0) -> Predictions:
    """Out-of-fold predictions by a latent value with noise, in five folds, groups whole."""
    rng = np.random.default_rng(seed)
    group = np.arange(n) // per_group
    latent = rng.normal(size=n)
    y = np.searchsorted([-0.2, 0.6, 1.4], latent)
    cuts = np.array([-np.inf, -0.2, 0.6, 1.4, np.inf])
    seen = skill * latent + rng.normal(size=n) * 0.8
    under = 1 / (1 + np.exp(-(cuts[None] - seen[:, None]) * 2))
    prob = np.diff(under, axis=1)
    ids = np.array([f"i{i}" for i in range(n)])
    names = np.array([f"g{g}" for g in group]) if per_group > 1 else ids
    return Predictions(
        scenario="k", classes=GRADES, positive=None, ids=ids, groups=names,
        splits=np.full(n, "train"), fold=group % 5, y_true=y, scores=np.log(prob), y_prob=prob,
    )  # fmt: skip


def test_distances_and_their_means() -> None:
    p = graded()
    found = grade_figures(p, grading_of(p))
    distance = np.abs(p.y_prob.argmax(axis=1) - p.y_true)
    assert found.exact.value == pytest.approx((distance == 0).mean())
    assert found.off_by_one.value == pytest.approx((distance == 1).mean())
    assert found.off_by_more.value == pytest.approx((distance >= 2).mean())
    assert found.mean_error.value == pytest.approx(distance.mean())
    mean = p.y_prob @ np.arange(4)
    assert found.mean_grade_error.value == pytest.approx(np.abs(mean - p.y_true).mean())
    kappa = truth.cohen_kappa_score(p.y_true, p.y_prob.argmax(axis=1), weights="quadratic")
    assert found.kappa.value == pytest.approx(kappa)
    every = (found.exact, found.off_by_one, found.off_by_more, found.mean_error, found.kappa)
    assert all(one.low < one.value < one.high for one in every)


def test_every_threshold_between_two_grades_is_the_question_of_two_classes() -> None:
    p = graded()
    found = grade_figures(p, grading_of(p))
    assert [cut.grade for cut in found.cuts] == ["1", "2", "3"]
    for k, cut in enumerate(found.cuts, start=1):
        above = p.y_prob[:, k:].sum(axis=1)
        wins = pairs = 0.0  # within folds
        for fold in range(5):
            here = p.fold == fold
            yes, no = above[here & (p.y_true >= k)], above[here & (p.y_true < k)]
            wins += (yes[:, None] > no).sum()
            pairs += len(yes) * len(no)
        assert cut.estimates["auroc"].value == pytest.approx(wins / pairs)
        assert cut.n_above == (p.y_true >= k).sum()
        assert {one.of for one in cut.wishes} == {"sensitivity"}


def test_thresholds_of_a_test_come_from_out_of_fold_predictions() -> None:
    p, other = graded(), graded(seed=1)
    test = Predictions(
        **{**vars_of(other), "fold": np.full(240, -1), "splits": np.full(240, "test")}
    )
    chosen = grading_of(p)
    found = grade_figures(test, chosen, p)
    for k, cut in enumerate(found.cuts, start=1):
        assert cut.operating == chosen.cuts[cut.grade]
        called = test.y_prob[:, k:].sum(axis=1) >= cut.operating.threshold
        assert cut.estimates["sensitivity"].value == pytest.approx(called[test.y_true >= k].mean())
        assert cut.estimates["specificity"].value == pytest.approx(
            1 - called[test.y_true < k].mean()
        )
    with pytest.raises(LeakError):
        grading_of(test)


def vars_of(p: Predictions) -> dict[str, object]:
    return {name: getattr(p, name) for name in p.__dataclass_fields__}


def test_a_turned_order_keeps_kappa_and_distances() -> None:
    p = graded()
    turned = Predictions(
        **{
            **vars_of(p),
            "classes": GRADES[::-1],
            "y_true": 3 - p.y_true,
            "scores": p.scores[:, ::-1],
            "y_prob": p.y_prob[:, ::-1],
        }
    )  # type: ignore[arg-type]
    a, b = (grade_figures(one, grading_of(one)) for one in (p, turned))
    for name in ("kappa", "exact", "off_by_one", "off_by_more", "mean_error", "mean_grade_error"):
        assert getattr(a, name).value == pytest.approx(getattr(b, name).value)
        assert getattr(a, name).low == pytest.approx(getattr(b, name).low)
    areas = [[cut.estimates["auroc"].value for cut in one.cuts] for one in (a, b)]
    assert areas[0] == pytest.approx(areas[1][::-1])


def test_a_grade_without_images_in_the_test_is_no_obstacle() -> None:
    p = graded()
    test = graded(seed=2).select(graded(seed=2).y_true < 3)
    test = Predictions(**{**vars_of(test), "fold": np.full(len(test), -1)})  # type: ignore[arg-type]
    found = grade_figures(test, grading_of(p), p)
    assert found.cuts[-1].n_above == 0
    assert np.isnan(found.cuts[-1].estimates["sensitivity"].value)
    assert 0 < found.kappa.value < 1


def test_no_mistake_has_an_interval_all_the_same() -> None:
    p = graded()
    right = Predictions(**{**vars_of(p), "y_prob": np.eye(4)[p.y_true]})  # type: ignore[arg-type]
    found = grade_figures(right, grading_of(right))
    assert found.mean_error.value == 0 < found.mean_error.high < 0.3
    assert found.kappa.value == 1 > found.kappa.low > 0.8
    assert found.off_by_more.high > 0
    assert found.mean_grade_error.value == 0 < found.mean_grade_error.high


def test_the_mean_grade_and_its_spread() -> None:
    mean, spread = mean_grade(np.array([[0.0, 0.2, 0.8], [1.0, 0.0, 0.0]]), (1, 2, 3))
    np.testing.assert_allclose(mean, [2.8, 1.0])
    np.testing.assert_allclose(spread, [0.4, 0.0], atol=1e-12)


def test_the_probability_of_a_grade_or_a_higher_one() -> None:
    p = graded(20)
    one = at_least(p, 2)
    assert one.positive == "2 or higher"
    np.testing.assert_allclose(one.y_prob[:, 1], p.y_prob[:, 2] + p.y_prob[:, 3])
