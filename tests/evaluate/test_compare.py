from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from medgraft.errors import DataError, LeakError
from medgraft.evaluate.compare import compare, estimate_all, holm, upper_loss
from medgraft.evaluate.estimates import evaluate
from medgraft.evaluate.intervals import Sampling, newcombe
from medgraft.results.figures import Comparison

QUICK = Sampling(resamples=400)


def scenarios(make, skills, seed=0, n=200, groups=None, split="val"):
    """Scenarios of given skill on the same images, half their noise in common."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    common = rng.normal(size=n)
    return [
        make(
            y,
            1 / (1 + np.exp(-(skill * (y - 0.5) + common + rng.normal(size=n)))),
            groups,
            np.arange(n) % 5,
            split,
            f"s{i}",
        )
        for i, skill in enumerate(skills)
    ]


def test_holm_by_hand():
    # Sorted .005 .01 .03 .04, times 4 3 2 1: .02 .03 .06 .04, and none below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.7, 0.8]) == (1.0, 1.0)
    assert holm([]) == ()


@pytest.mark.parametrize("metric", ["auroc", "accuracy", "brier"])
@pytest.mark.parametrize("groups", [None, np.arange(200) // 2])
def test_a_scenario_does_not_differ_from_itself(make, metric, groups):
    (a,) = scenarios(make, [2], groups=groups)
    (same,) = compare(a, [a], metric, sampling=QUICK)
    assert same == Comparison("s0", "s0", 0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize("metric", ["auroc", "balanced_accuracy", "log_loss"])
@pytest.mark.parametrize("groups", [None, np.arange(200) // 2])
def test_differences_are_those_of_the_figures_and_turn_with_the_pair(make, metric, groups):
    a, b = scenarios(make, [3, 1], groups=groups)
    (ab,) = compare(a, [b], metric, sampling=QUICK)
    (ba,) = compare(b, [a], metric, sampling=QUICK)
    each = [evaluate(p, metrics=[metric], sampling=QUICK).estimates[metric].value for p in (a, b)]
    assert ab.difference == pytest.approx(each[0] - each[1])
    assert (ab.a, ab.b) == ("s0", "s1")
    assert (ba.difference, ba.low, ba.high) == pytest.approx((-ab.difference, -ab.high, -ab.low))
    assert ba.p == pytest.approx(ab.p)
    assert ab.p < 0.01
    assert ab.low * ab.high > 0


def test_one_pair_of_images_in_a_group_changes_little(make):
    a, b = scenarios(make, [2.5, 1.5], n=400)
    (fast,) = compare(a, [b], "auroc")
    pairs = np.append(np.arange(399), 398)
    (drawn,) = compare(
        *(
            dataclasses.replace(a, groups=pairs.astype(str)),
            [dataclasses.replace(b, groups=pairs.astype(str))],
        ),
        "auroc",
    )
    assert (drawn.low, drawn.high) == pytest.approx((fast.low, fast.high), abs=0.008)
    assert drawn.low != fast.low


def test_p_is_corrected_for_their_number(make):
    best, *others = scenarios(make, [2.5, 2.0, 2.2, 1.8])
    alone = [compare(best, [other], "auroc")[0].p for other in others]
    together = [c.p for c in compare(best, others, "auroc")]
    assert together == pytest.approx(holm(alone))


def test_upper_loss_counts_upwards_for_every_metric(make):
    a, b = scenarios(make, [3, 1])
    (rank,) = compare(a, [b], "auroc", sampling=QUICK)
    (loss,) = compare(a, [b], "brier", sampling=QUICK)
    assert upper_loss(rank, "auroc") == rank.high > rank.difference > 0
    assert upper_loss(loss, "brier") == -loss.low > -loss.difference > 0


@pytest.mark.parametrize("groups", [None, np.arange(20) // 2])
def test_two_perfect_scenarios_are_not_known_to_be_equal(make, groups):
    y = np.repeat([0, 1], 10)
    a = make(y, 0.1 + 0.8 * y, groups=groups, scenario="a")
    b = make(y, 0.2 + 0.6 * y, groups=groups, scenario="b")
    (found,) = compare(a, [b], "auroc", sampling=QUICK)
    units = 10 if groups is None else 5
    gap = 1 - newcombe(1.0, units, units).low
    assert (found.difference, found.p) == (0, 1)
    assert (found.low, found.high) == pytest.approx((-gap, gap))


def test_only_the_same_images_are_compared(make):
    a, b = scenarios(make, [2, 1])
    order = np.random.default_rng(0).permutation(200)
    with pytest.raises(DataError, match="ids of s1 and s0 differ"):
        compare(a, [b.select(order)], "auroc")
    with pytest.raises(DataError, match="y_true"):
        compare(a, [dataclasses.replace(b, y_true=1 - b.y_true)], "auroc")
    with pytest.raises(DataError, match="classes"):
        compare(a, [dataclasses.replace(b, classes=("x", "ill"))], "auroc")


def test_the_test_split_may_be_reported_but_not_chosen_by(make):
    a, b = (
        dataclasses.replace(p, fold=np.full(200, -1)) for p in scenarios(make, [2, 1], split="test")
    )
    with pytest.raises(LeakError):
        compare(a, [b], "auroc")
    assert compare(a, [b], "auroc", purpose="report")[0].difference > 0


def test_one_test_image_among_many_is_seen(make):
    a, b = scenarios(make, [2, 1])
    splits = a.splits.astype("U5").copy()
    splits[17] = "test"
    with pytest.raises(LeakError, match="1 images"):
        compare(a, [dataclasses.replace(b, splits=splits)], "auroc")


@pytest.mark.parametrize("metric", ["auroc", "accuracy", "mcc"])
@pytest.mark.parametrize("groups", [None, np.arange(200) // 2])
def test_all_at_once_equals_one_by_one(make, metric, groups):
    several = scenarios(make, [2, 1, 3], groups=groups)
    together = estimate_all(several, metric, sampling=QUICK)
    for one, predictions in zip(together, several, strict=True):
        alone = evaluate(predictions, metrics=[metric], sampling=QUICK).estimates[metric]
        assert one == alone


def test_a_test_that_says_different_is_wrong_one_time_in_twenty(make):
    """Equal scenarios: p below .05 in about 5 % of data sets, with groups of four images."""
    p = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        y = rng.integers(0, 2, 40).repeat(4)
        own = rng.normal(size=(40, 2)).repeat(4, axis=0)
        z = 1.5 * (y - 0.5)[:, None] + own + rng.normal(size=(160, 2))
        prob = 1 / (1 + np.exp(-z))
        groups = np.arange(40).repeat(4)
        a, b = (make(y, prob[:, i], groups, scenario=str(i)) for i in (0, 1))
        p.append(compare(a, [b], "auroc", sampling=Sampling(resamples=150))[0].p)
    assert 0.01 < np.mean(np.array(p) < 0.05) < 0.11
