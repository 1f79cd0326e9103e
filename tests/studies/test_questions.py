"""The questions a study answers: which pairs are compared, and what counts as an answer."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from medgraft.errors import LeakError
from medgraft.evaluate.compare import compare
from medgraft.evaluate.intervals import Sampling
from medgraft.evaluate.winners_curse import resample_in_and_out
from medgraft.results.recommendation import Variation
from medgraft.scenario import Head, Join, Pooled, Preprocessing, Views, encoding_of, steps_of
from medgraft.studies.questions import answer
from medgraft.types import Predictions, Scenario

N = 200
PLAIN = Scenario.from_key("probe/net/t1/svm")


def probe(
    tap: str = "t1", head: str = "svm", *, edit: str = "raw", views: int = 0,
    sizes: tuple[int, ...] = (), join: Join = "concat", encoder: str = "",
) -> Scenario:  # fmt: skip
    """A frozen scenario, plain but for what is said."""
    asked = Views("xray", number=views) if views else None
    pixels = Preprocessing(steps_of(edit), sizes, join, views=asked)
    code = encoding_of(encoder) if encoder else Pooled()
    return Scenario("net", tap, Head(head), pixels, code)


def averaged(plain: Scenario) -> Scenario:
    return Scenario.joining("mean", (plain, plain.with_pixels(edits=(("clahe2-8",),))))


def judged(scenario: Scenario, skill: float, seed: int = 0, split: str = "train") -> Predictions:
    """Half the images positive; their score leads by `skill` standard deviations."""
    y = np.arange(N) % 2
    score = np.random.default_rng(seed).normal(0, 1, N) + skill * y
    prob = 1 / (1 + np.exp(-score))
    both = np.stack([1 - prob, prob], axis=1)
    names = np.array([f"i{i}" for i in range(N)])
    return Predictions(
        scenario.key, ("healthy", "ill"), "ill", names, names, np.full(N, split),
        np.arange(N) % 5, y.astype(np.int64), both, both,
    )  # fmt: skip


def asked(
    skills: dict[Scenario, float], values: dict[str, float] | None = None, metric: str = "auroc"
) -> list[tuple[Variation, str, str, str]]:
    """(variation, new, held against, answer); equal skills give equal predictions."""
    oof = {scenario.key: judged(scenario, skill) for scenario, skill in skills.items()}
    drawn = resample_in_and_out(list(oof.values()), metric, sampling=Sampling(resamples=300))
    if values:
        drawn = dataclasses.replace(drawn, values=np.array([values[key] for key in oof]))
    found = answer(list(skills), drawn)
    return [(q.variation, q.comparison.a, q.comparison.b, q.answer) for q in found]


def test_each_way_is_held_against_the_scenario_that_lacks_only_it() -> None:
    sizes: dict[str, Any] = {"sizes": (224, 544)}
    variations = {
        probe(edit="clahe2-8"): Variation("instead", ("clahe2-8",)),
        probe(edit="raw+clahe2-8"): Variation("beside", ("clahe2-8",)),
        probe(views=4): Variation("views", views="xray4"),
        averaged(PLAIN): Variation("averaged", ("clahe2-8",)),
        probe(**sizes): Variation("sizes", **sizes),
        probe(**sizes, join="mean"): Variation("sizes", **sizes, join="mean"),
        probe(sizes=(544,)): Variation("sizes", sizes=(544,)),
    }
    found = asked({PLAIN: 1.0} | dict.fromkeys(variations, 1.0))
    expected = [
        (variation, new.key, PLAIN.key, "no difference seen")
        for new, variation in variations.items()
    ]
    # of equals the simplest is a family's best, so the families' pairs were all asked about
    assert found == expected


def test_a_question_says_where_it_was_asked_and_of_which_network_if_there_are_several() -> None:
    other = dataclasses.replace(PLAIN, backbone="other", tap="t9", classifier=Head("knn"))
    for plain, networks in (((PLAIN,), [""]), ((PLAIN, other), ["net", "other"])):
        both = [*plain, *(one.with_pixels(edits=(("clahe2-8",),)) for one in plain)]
        oof = [judged(one, 1.0) for one in both]
        drawn = resample_in_and_out(oof, "auroc", sampling=Sampling(resamples=300))
        found = answer(both, drawn)
        assert [(q.tap, q.head) for q in found] == [(one.tap, one.head) for one in plain]
        assert [q.backbone for q in found] == networks


def test_a_way_without_its_twin_is_not_asked_about() -> None:
    assert asked({probe(edit="clahe2-8"): 1.0, probe(tap="t2"): 1.0}) == []


def test_two_kinds_of_clahe_are_two_questions() -> None:
    variations = [probe(edit=key) for key in ("clahe2-8", "clahe4-8")]
    found = [
        variation.edits for variation, *_ in asked({PLAIN: 1.0} | dict.fromkeys(variations, 1.0))
    ]
    assert found == [("clahe2-8",), ("clahe4-8",)]


def test_a_way_is_asked_about_once_where_its_twin_is_best() -> None:
    shallow, deep = probe(tap="t1"), probe(tap="t2")
    skills = {shallow: 0.5, probe(tap="t1", views=4): 2.0, deep: 1.0}
    skills[probe(tap="t2", views=4)] = 1.0
    ((_, new, held, _),) = asked(skills)
    assert (new, held) == ("probe/net/t2/xray4/svm", "probe/net/t2/svm")


def test_all_ways_are_asked_about_with_the_head_that_all_were_tried_with() -> None:
    knn = probe(head="knn")
    skills = {
        PLAIN: 1.0,
        knn: 2.0,  # the better twin, but it has no views
        probe(edit="clahe2-8"): 1.0,
        probe(head="knn", edit="clahe2-8"): 1.0,
        probe(views=4): 1.0,
    }
    assert {held for _, _, held, _ in asked(skills)} == {PLAIN.key}
    del skills[probe(views=4)]
    assert {held for _, _, held, _ in asked(skills)} == {knn.key}


def test_a_second_network_and_the_join_are_held_against_the_best_probe_of_the_first() -> None:
    shallow, other = probe(tap="t0"), dataclasses.replace(PLAIN, backbone="other")
    joined = Scenario.joining("mean", (PLAIN, other))
    found = asked({PLAIN: 0.2, shallow: 1.0, other: 2.0, joined: 0.5})
    assert found == [
        (Variation("network", networks=("other",)), other.key, shallow.key, "better"),
        (Variation("network", networks=("net", "other")), joined.key, shallow.key, "worse"),
        (Variation("family", family="ensemble"), joined.key, other.key, "worse"),
    ]
    assert asked({PLAIN: 0.2, other: 2.0}) == []  # named by the user: nobody joined them


def test_of_a_family_the_best_is_held_against_the_best_probe() -> None:
    codes = {k: probe(encoder=f"k{k}") for k in ("32", "64")}
    views = probe(views=4)
    skills = {PLAIN: 0.5, views: 1.0, codes["32"]: 0.2, codes["64"]: 0.4}
    *_, (variation, new, held, found) = asked(skills)
    assert variation == Variation("family", family="vlad")
    assert (new, held) == (codes["64"].key, views.key)
    assert found == "worse"
    del skills[PLAIN], skills[views]
    assert asked(skills) == []  # no probe ran


@pytest.mark.parametrize("metric", ["auroc", "log_loss"])
def test_better_is_better_whichever_way_the_metric_counts(metric: str) -> None:
    sign = 1 if metric == "auroc" else -1
    views = probe(views=4)
    for skill, expected in ((2.0, "better"), (0.1, "worse"), (1.0, "no difference seen")):
        skills = {PLAIN: 1.0, views: skill}
        values = {scenario.key: sign * skill for scenario, skill in skills.items()}
        assert [found for *_, found in asked(skills, values, metric)] == [expected]


def test_p_is_corrected_for_the_number_of_questions_and_the_interval_is_the_pair_s_own() -> None:
    variations = [probe(views=4), probe(edit="clahe2-8"), probe(edit="raw+clahe2-8")]
    oof = {PLAIN.key: judged(PLAIN, 1.0, seed=0)}
    oof |= {way.key: judged(way, 1.0 + 0.3 * i, seed=i + 1) for i, way in enumerate(variations)}
    found = answer([PLAIN, *variations], resample_in_and_out(list(oof.values()), "auroc"))
    alone = [compare(oof[way.key], [oof[PLAIN.key]], "auroc")[0] for way in variations]
    p = sorted(one.p for one in alone)
    steps = np.maximum.accumulate([min(1, 3 * p[0]), min(1, 2 * p[1]), p[2]])
    assert sorted(q.comparison.p for q in found) == pytest.approx(steps)
    for q, one in zip(found, alone, strict=True):
        assert (q.comparison.low, q.comparison.high) == pytest.approx((one.low, one.high))
        assert (q.answer == "no difference seen") == (q.comparison.p >= 0.05)


def test_an_undefined_metric_is_not_the_best() -> None:
    deep, views = probe(tap="t2"), {t: probe(tap=t, views=4) for t in ("t1", "t2")}
    skills = {PLAIN: 1.0, deep: 1.0, views["t1"]: 1.0, views["t2"]: 1.0}
    values = dict.fromkeys((scenario.key for scenario in skills), 0.5) | {PLAIN.key: float("nan")}
    assert [held for _, _, held, _ in asked(skills, values)] == [deep.key]


def test_the_test_split_answers_no_question() -> None:
    views = probe(views=4)
    oof = {s.key: judged(s, 1.0, split="test") for s in (PLAIN, views)}
    with pytest.raises(LeakError):
        answer([PLAIN, views], resample_in_and_out(list(oof.values()), "auroc"))


def test_a_choice_that_was_made_is_discounted_and_said() -> None:
    """Twenty codes that are as good as the one probe: the best of them is not better."""
    codes = [probe(encoder=f"k{k + 1}") for k in range(20)]
    oof = [judged(one, 1.5, seed) for seed, one in enumerate([PLAIN, *codes])]
    drawn = resample_in_and_out(oof, "auroc")
    (found,) = answer([PLAIN, *codes], drawn)
    assert found.corrected
    plain = drawn.values[1:].max() - drawn.values[0]
    assert plain > found.comparison.difference + 0.01
    (alone,) = answer([PLAIN, codes[3]], resample_in_and_out([oof[0], oof[4]], "auroc"))
    assert not alone.corrected
    assert alone.comparison.difference == pytest.approx(drawn.values[4] - drawn.values[0])
