"""What choosing costs: simulations whose truth is known, and closed forms."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats

from medgraft.errors import LeakError
from medgraft.evaluate.compare import compare, estimate_all
from medgraft.evaluate.estimates import evaluate
from medgraft.evaluate.intervals import Sampling, bootstrap_weights, newcombe
from medgraft.evaluate.winners_curse import (
    best,
    bias_corrected,
    compare_chosen,
    compare_with_best,
    resample_in_and_out,
)

QUICK = Sampling(resamples=400)


def scenarios(make, skills, seed=0, n=200, groups=None, split="val"):
    """Scenarios of given skill on the same images, half their noise in common."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    common = rng.normal(size=n)
    return [
        make(
            y,
            1 / (1 + np.exp(-(skill * (y - 0.5) + common + rng.normal(size=n)))),
            groups,
            np.full(n, -1),
            split,
            f"s{i}",
        )
        for i, skill in enumerate(skills)
    ]


def test_the_test_split_serves_no_choice(make):
    a, b = scenarios(make, [2, 1])
    splits = a.splits.astype("U5").copy()
    splits[17] = "test"
    with pytest.raises(LeakError, match="1 images"):
        resample_in_and_out([a, dataclasses.replace(b, splits=splits)], "auroc")
    with pytest.raises(LeakError):
        bias_corrected([a, dataclasses.replace(b, splits=splits)], "auroc")


def test_a_bag_and_what_is_left_out_share_no_image(make):
    """The mean loss in and out of the bag, by hand from the weights."""
    (a,) = scenarios(make, [2], n=30, groups=np.arange(30) // 3)
    drawn = resample_in_and_out([a], "brier", sampling=QUICK)
    loss = (a.y_prob[:, 1] - a.y_true) ** 2
    weights = np.concatenate(list(bootstrap_weights(a.groups, QUICK)), axis=1)[:, :5]
    for b in range(5):
        w = weights[:, b]
        assert drawn.in_bag[0, b] == pytest.approx(np.average(loss, weights=w), rel=1e-5)
        assert drawn.out_of_bag[0, b] == pytest.approx(loss[w == 0].mean(), rel=1e-5)


# --------------------------------------------------------------------------- the winner's figure


def noise(make, seed, n_scenarios=20, n=80):
    rng = np.random.default_rng(seed)
    y = np.repeat([0, 1], n // 2)
    fold = np.arange(n) % 5
    return [make(y, rng.random(n), fold=fold, scenario=str(i)) for i in range(n_scenarios)]


def test_the_winner_among_pure_noise_is_worth_nothing(make):
    naive, corrected = [], []
    for seed in range(12):
        several = noise(make, seed)
        naive.append(max(e.value for e in estimate_all(several, "auroc")))
        found = bias_corrected(several, "auroc", sampling=Sampling(resamples=200))
        assert found.low < 0.5 < found.high
        corrected.append(found.value)
    assert np.mean(naive) > 0.59
    assert np.mean(corrected) == pytest.approx(0.5, abs=0.03)


def test_a_loss_is_corrected_upwards(make):
    several = noise(make, 3)
    best = min(e.value for e in estimate_all(several, "brier", sampling=QUICK))
    assert bias_corrected(several, "brier", sampling=QUICK).value > best + 0.01


def test_without_a_choice_nothing_is_corrected(make):
    (only,) = scenarios(make, [2])
    own = evaluate(only, metrics=["auroc"]).estimates["auroc"]
    found = bias_corrected([only], "auroc")
    assert (found.value, found.low, found.high) == pytest.approx((own.value, own.low, own.high))


@pytest.mark.parametrize("metric", ["auroc", "log_loss", "mcc"])
def test_the_interval_is_the_winner_s_moved_on_the_logit_scale(make, metric):
    """The logits of the shares of the metric's range, each end as far from the value as before."""
    several = scenarios(make, [2, 2.1, 2.2, 2, 2.1], n=120)
    rows = [evaluate(p, metrics=[metric]).estimates[metric] for p in several]
    own = (
        min(rows, key=lambda e: e.value)
        if metric == "log_loss"
        else max(rows, key=lambda e: e.value)
    )
    found = bias_corrected(several, metric)
    least, most = {"mcc": (-1, 1), "log_loss": (0, np.log(1e7))}.get(metric, (0, 1))

    def logit(x):
        return np.log((x - least) / (most - x))

    assert abs(found.value - own.value) > 0.002
    for end in ("low", "high"):
        assert logit(getattr(found, end)) - logit(found.value) == pytest.approx(
            logit(getattr(own, end)) - logit(own.value)
        )


def test_the_interval_covers_what_the_winner_is_worth_and_is_no_wider_than_it_need_be(make):
    """Ten scenarios of one true AUROC, Phi(2 / 2): half their noise in common."""
    truth, covered, wide, own = stats.norm.cdf(1), [], [], []
    for seed in range(80):
        several = scenarios(make, [2] * 10, seed=seed, n=100)
        found = bias_corrected(several, "auroc", sampling=Sampling(resamples=200))
        covered.append(found.low < truth < found.high)
        wide.append(found.high - found.low)
        single = evaluate(several[0], metrics=["auroc"]).estimates["auroc"]
        own.append(single.high - single.low)
    assert np.mean(covered) > 0.9
    assert np.mean(wide) < 1.15 * np.mean(own)


def test_a_rule_of_choice_can_be_given(make):
    good, poor = scenarios(make, [4, 1])
    last = bias_corrected(
        [good, poor], "auroc", choose=lambda values: np.full(values.shape[1], 1), sampling=QUICK
    )
    assert last.value == pytest.approx(
        evaluate(poor, metrics=["auroc"]).estimates["auroc"].value, abs=0.01
    )


def test_a_perfect_winner_keeps_its_own_interval(make):
    y = np.repeat([0, 1], 15)
    several = [make(y, 0.2 + 0.6 * y, scenario="a"), make(y, 0.1 + 0.8 * y, scenario="b")]
    found = bias_corrected(several, "auroc", sampling=QUICK)
    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx(newcombe(1.0, 15, 15).low)


@pytest.mark.parametrize("groups", [None, np.arange(40) // 2])
def test_a_perfect_winner_is_never_surer_than_its_own_interval(make, groups):
    """A rival with one image out of order is drawn now and then: spread, but of the wrong kind."""
    y = np.repeat([0, 1], 20)
    perfect = 0.2 + 0.6 * y + np.arange(40) / 1000
    rival = np.where(np.arange(40) == 0, 0.8205, perfect)  # above the first of twenty positives
    several = [make(y, rival, groups, scenario="a"), make(y, perfect, groups, scenario="b")]
    own = evaluate(several[1], metrics=["auroc"]).estimates["auroc"]
    found = bias_corrected(several, "auroc")
    units = 20 if groups is None else 10
    assert own.low == pytest.approx(newcombe(1.0, units, units).low)
    assert found.low <= own.low
    assert found.high == 1


# --------------------------------------------------------------------------- against the best


@pytest.mark.parametrize("metric", ["auroc", "brier"])
def test_of_two_p_is_that_of_the_pair(make, metric):
    """With two to choose from either may be the best: the two-sided p of their difference."""
    pair = scenarios(make, [2, 1.7])
    (found,) = compare_with_best(resample_in_and_out(pair, metric))
    (plain,) = compare(pair[0], [pair[1]], metric)
    assert (found.a, found.b, found.low, found.high) == (plain.a, plain.b, plain.low, plain.high)
    assert found.p == pytest.approx(plain.p, abs=0.01)
    assert 0.001 < found.p < 0.2


def test_what_is_as_good_as_the_best_is_seldom_called_worse(make):
    """Twelve equal scenarios: the pairs' own tests call one worse far too often, these do not."""
    few = Sampling(resamples=300)
    before, after = [], []
    for seed in range(100):
        drawn = resample_in_and_out(scenarios(make, [2] * 12, seed, n=150), "auroc", sampling=few)
        top = int(best(drawn.values[:, None], "auroc")[0])
        others = [p for i, p in enumerate(drawn.scenarios) if i != top]
        before.append(min(c.p for c in compare(drawn.scenarios[top], others, "auroc")) < 0.05)
        after.append(min(c.p for c in compare_with_best(drawn)) < 0.05)
    assert np.mean(before) > 0.12
    assert np.mean(after) <= 0.1  # 5 %, and what 100 runs may differ from it


def test_what_is_worse_is_seen_and_what_is_not_is_not(make):
    several = scenarios(make, [3, 2.9, 1, 1.2, 3])
    found = compare_with_best(resample_in_and_out(several, "log_loss", sampling=QUICK))
    assert {c.b for c in found if c.p < 0.05} == {"s2", "s3"}
    assert len({c.a for c in found}) == 1


def test_copies_of_the_best_are_no_rivals(make):
    (a,) = scenarios(make, [2])
    several = [dataclasses.replace(a, scenario=f"s{i}") for i in range(3)]
    found = compare_with_best(resample_in_and_out(several, "auroc", sampling=QUICK))
    assert [(c.difference, c.p) for c in found] == [(0, 1), (0, 1)]


# --------------------------------------------------------------------------- chosen against chosen


def of_families(n_held, metric="auroc"):
    def choose(values):
        return n_held + best(values[n_held:], metric), best(values[:n_held], metric)

    return choose


@pytest.mark.parametrize(("held", "new"), [(2, 15), (15, 2)])
def test_a_large_family_is_not_better_for_being_large(make, held, new):
    """All are equal; that the difference is none is told whichever side had more to choose from."""
    plain, found, false = [], [], []
    for seed in range(60):
        several = scenarios(make, [2] * (held + new), seed, n=120)
        drawn = resample_in_and_out(several, "auroc", sampling=Sampling(resamples=200))
        one = compare_chosen(drawn, of_families(held))
        plain.append(drawn.values[held:].max() - drawn.values[:held].max())
        found.append(one.difference)
        false.append(one.p < 0.05)
        assert one.low < one.difference < one.high
    assert abs(np.mean(plain)) > 0.02
    assert abs(np.mean(found)) < 0.01
    assert np.mean(false) <= 0.1


def test_a_better_family_is_seen(make):
    several = scenarios(make, [1, 1, 1, 2.5, 2.5, 2.6])
    one = compare_chosen(resample_in_and_out(several, "auroc"), of_families(3))
    assert one.p < 0.01 < one.low


@pytest.mark.parametrize("metric", ["auroc", "log_loss"])
def test_one_against_one_is_the_plain_comparison(make, metric):
    pair = scenarios(make, [1.5, 2])
    one = compare_chosen(resample_in_and_out(pair, metric), of_families(1, metric))
    (plain,) = compare(pair[1], [pair[0]], metric)
    assert dataclasses.astuple(one)[:5] == pytest.approx(dataclasses.astuple(plain)[:5])
    assert one.p == pytest.approx(plain.p, abs=0.02)
