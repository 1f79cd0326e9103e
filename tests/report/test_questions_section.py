"""'What helped here', and what scenarios are called: every family, whatever was recommended."""

from __future__ import annotations

import dataclasses
import re
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import fabricate
import numpy as np
import pytest
import test_report_page as whole
from test_report_page import Page

from medgraft.data.listing import content_hash
from medgraft.features.codebooks import VLAD
from medgraft.learn.ensemble import FittedEnsemble
from medgraft.learn.estimators import KNNHead
from medgraft.report.charts import plots
from medgraft.report.pages.study import render
from medgraft.report.sections import questions, scenarios
from medgraft.report.text import scenario_names
from medgraft.results.figures import Comparison
from medgraft.results.recommendation import Question, ScenarioResult, Variation
from medgraft.results.study import ClassifierFacts, DepthPoint, ReportInput
from medgraft.scenario import Head, Pooled, encoding_of, views_of
from medgraft.studies import examples, report_input
from medgraft.studies.report_input import classifier_facts
from medgraft.types import Estimate, FeatureSpec, Scenario

PLAIN = Scenario.from_key("probe/net/stages/svm")
CLAHE = PLAIN.with_pixels(edits=(("clahe2-8",),))
BESIDE = PLAIN.with_pixels(edits=(("raw", "clahe2-8"),))
VIEWS = PLAIN.with_pixels(views=views_of("xray4"))
SIZES = PLAIN.with_pixels(sizes=(224, 544))
MEAN = SIZES.with_pixels(join="mean")
CODES = dataclasses.replace(PLAIN, tap="blocks.6", code=encoding_of("k64"))
AVERAGED = Scenario.joining("mean", (PLAIN, CLAHE))
STACK = Scenario.joining("stack", (PLAIN, CODES))
ALL = (PLAIN, CLAHE, BESIDE, VIEWS, SIZES, MEAN, CODES, AVERAGED, STACK)


# --------------------------------------------------------------------------- names


def test_names_say_what_tells_scenarios_apart() -> None:
    common, names = scenario_names.short_names(ALL)
    assert common == "net"
    assert list(names.values()) == [
        "stages · svm",
        "stages · CLAHE · svm",
        "stages · raw + CLAHE · svm",
        "stages · 4 views · svm",
        "stages · 224+544 px · svm",
        "stages · 224, 544 px averaged · svm",
        "blocks.6 · VLAD 64 · svm",
        "stages · raw, CLAHE averaged · svm",
        "stack of 2",
    ]


def test_what_differs_is_in_the_names_and_what_is_shared_is_not() -> None:
    two = [
        PLAIN,
        dataclasses.replace(PLAIN, backbone="other", code=Pooled("gem")).with_pixels(resize="pad"),
    ]
    assert scenario_names.short_names(two) == (
        "",
        {two[0].key: "net · stages · svm", two[1].key: "other · stages · gem · pad · svm"},
    )
    padded = [one.with_pixels(resize="pad", edits=(("clahe4-8",),)) for one in two]
    common, names = scenario_names.short_names(padded)
    assert common == "CLAHE 4-8 · pad"
    assert list(names.values()) == ["net · stages · svm", "other · stages · gem · svm"]


def test_a_join_of_networks_is_named_after_both() -> None:
    other = dataclasses.replace(PLAIN, backbone="other")
    joined = {how: Scenario.joining(how, (PLAIN, other)) for how in ("mean", "stack")}  # type: ignore[arg-type]
    _, names = scenario_names.short_names([PLAIN, other, *joined.values()])
    assert list(names.values()) == [
        "net · stages · svm",
        "other · stages · svm",
        "net + other · stages · svm, averaged",
        "net + other · stages · svm, stacked",
    ]
    for how, said in (("mean", "probabilities averaged. "), ("stack", "joined with weights that")):
        text = scenario_names.sentence(joined[how])
        assert "differ in their network (net and other)" in text
        assert said in text


def test_two_scenarios_never_share_a_name() -> None:
    hard = dataclasses.replace(CODES, code=encoding_of("k64.hard"))
    twice = Scenario.joining("stack", (CLAHE, dataclasses.replace(CODES, tap="t")))
    _, names = scenario_names.short_names([*ALL, hard, twice])
    assert len(set(names.values())) == len(ALL) + 2


# --------------------------------------------------------------------------- in sentences


@pytest.mark.parametrize("scenario", ALL)
def test_every_scenario_is_told_in_whole_sentences(scenario: Scenario) -> None:
    text = scenario_names.sentence(scenario)
    assert text.endswith(".")
    assert "/" not in text  # no keys
    assert "net" in text
    assert not re.search(r"None|\(\)|  | [.,]|[.,][.,]", text)


def test_sentences_name_what_is_particular() -> None:
    assert "equalised" not in scenario_names.sentence(PLAIN)
    assert (
        "as it is, and again with its local contrast equalised (CLAHE)."
        in scenario_names.sentence(BESIDE)
    )
    assert "4 views" in scenario_names.sentence(VIEWS)
    assert "at 224 and 544 pixels" in scenario_names.sentence(MEAN)
    assert "the readings averaged" in scenario_names.sentence(MEAN)
    assert "the readings side by side" in scenario_names.sentence(SIZES)
    assert "64 kinds" in scenario_names.sentence(CODES)
    assert "blocks.6" in scenario_names.sentence(CODES)
    assert "probabilities averaged" in scenario_names.sentence(AVERAGED)
    assert "2 scenarios are asked" in scenario_names.sentence(STACK)


@pytest.mark.parametrize(
    ("scenario", "word"),
    [
        (STACK, "answers of several"),
        (AVERAGED, "answers of several"),
        (CODES, "wherever they lie"),
        (SIZES, "several readings"),
        (VIEWS, "several readings"),
        (dataclasses.replace(PLAIN, classifier=Head("knn")), "likeness"),
        (dataclasses.replace(PLAIN, classifier=Head("rbf")), "likeness"),
    ],
)
def test_why_there_is_no_map_is_one_plain_sentence(scenario: Scenario, word: str) -> None:
    text = scenario_names.why_no_map(ClassifierFacts(scenario, 224), "no gradient")
    assert word in text
    assert "." not in text


def test_where_a_map_exists_nothing_is_said_and_a_layer_without_extent_is_named() -> None:
    flat = ClassifierFacts(PLAIN, 224, ("stem", "pre_logits"))
    assert scenario_names.why_no_map(flat, "") == ""
    assert scenario_names.why_no_map(flat, "no extent").startswith("pre_logits has no extent")


def fitted(scenario: Scenario, **parts: Any) -> SimpleNamespace:
    spec = FeatureSpec("net", "w", 224, (scenario.tap,))
    own = {name: {"kind": type(one).__name__, **one.get_params()} for name, one in parts.items()}
    return SimpleNamespace(
        scenario=scenario, spec=spec, settings=own, networks=(), members=(), weights=()
    )


def facts(classifier: object) -> scenario_names.ScenarioFacts:
    return scenario_names.scenario_facts(classifier_facts(classifier))  # type: ignore[arg-type]


def test_a_recipe_lists_encoder_sizes_views_and_neighbours() -> None:
    made = facts(fitted(CODES, encoder=VLAD(k=64, pca=128, whiten=256, assignment="hard")))
    assert made.facts["Layer"] == "blocks.6"
    for part in ("VLAD", "k 64", "pca 128", "whiten 256", "assignment hard"):
        assert part in made.facts["Encoder"]
    assert "Pooling" not in made.facts
    made = facts(fitted(MEAN))
    assert made.facts["Input"] == "224 and 544 px, codes averaged, resized by squash"
    assert made.facts["Image"] == "raw"
    assert "4 views (xray4)" in facts(fitted(VIEWS)).facts["Views"]
    nearest = dataclasses.replace(PLAIN, classifier=Head("knn"))
    made = facts(fitted(nearest, head=KNNHead(9)))
    assert made.facts["Head"].endswith("k = 9")


def ensemble() -> FittedEnsemble:
    return FittedEnsemble(
        scenario=STACK,
        classes=("a", "b"),
        positive="b",
        operating=None,
        members=(fitted(PLAIN), fitted(CODES, encoder=VLAD(k=64, pca=99))),  # type: ignore[arg-type]
        stack=SimpleNamespace(weights=(0.7, 0.3)),  # type: ignore[arg-type]
        calibrator=None,  # type: ignore[arg-type]
        extractor=None,  # type: ignore[arg-type]
    )


def test_a_recipe_of_an_ensemble_lists_its_members_and_weights() -> None:
    made = facts(ensemble())
    assert made.members == (("stages · svm", 0.7), ("blocks.6 · VLAD 64 · svm", 0.3))
    assert made.facts["Network"] == "net"
    assert "Layer" not in made.facts  # the members differ in it
    assert "k 64" in made.facts["Encoders"]
    assert "pca 99" in made.facts["Encoders"]


def test_an_ensemble_shows_its_cases_without_maps() -> None:
    reason, maps = examples._maps(ensemble(), [None, None], ["a", "b"], None)  # type: ignore[list-item]
    assert reason == "no gradient"
    assert maps == [(), ()]


def test_maps_are_kept_under_all_that_decides_them() -> None:
    def network(**other: Any) -> Any:
        weights = np.arange(6.0) + other.get("more", 0)
        return SimpleNamespace(
            scenario=SimpleNamespace(key="k"), classes=other.get("classes", ("a", "b")),
            spec=SimpleNamespace(recipe={"decoder": other.get("decoder", "2")}),
            learned={"coef": content_hash(weights.tobytes())},
        )  # fmt: skip

    picture = SimpleNamespace(pixels=np.zeros((2, 2), np.uint8))
    brighter = SimpleNamespace(pixels=np.ones((2, 2), np.uint8))
    keys = {
        examples._maps_key(networks, [shown], [target], [tap])
        for networks, shown, target, tap in (
            ([network()], picture, "a", "t"),
            ([network(), network()], picture, "a", "t"),
            ([network(more=1)], picture, "a", "t"),
            ([network(decoder="3")], picture, "a", "t"),
            ([network(classes=("b", "a"))], picture, "a", "t"),
            ([network()], brighter, "a", "t"),
            ([network()], picture, "b", "t"),
            ([network()], picture, "a", "s"),
        )
    }
    assert len(keys) == 8


# --------------------------------------------------------------------------- the section


@pytest.fixture(scope="module")
def content() -> ReportInput:
    return fabricate.with_families(fabricate.study())


@pytest.fixture(scope="module")
def page(content: ReportInput) -> Page:
    return Page(render(content))


def test_the_page_with_all_families_is_as_well_formed_as_any(page: Page) -> None:
    whole.test_ids_are_unique_and_every_reference_resolves(page)
    whole.test_headings_step_down_by_one_and_follow_the_order_of_the_specification(page)
    assert all(header.get("scope") in {"row", "col"} for header in page.all("th"))


def test_questions_are_drawn_and_tabled_with_what_could_not_be_seen(page: Page) -> None:
    assert "3 questions of this kind could be asked here. Seen to help: 1. Seen to harm: 1." in (
        page.words
    )
    # half of −0.011 to +0.009 is 0.010; of three questions .05 / 3 may lie outside: 2.394 / 1.960
    assert "no difference seen less than ±0.012 would not show" in page.words
    assert "−0.001(−0.011 to +0.009)" in page.words
    drawings = [svg for svg in page.all("svg") if svg.get("role") == "img"]
    assert len(drawings) == 12 + 2
    assert page.words.count("What helped here") == 2  # in the list of parts, and as a heading
    assert "were chosen on the images they are judged by" in page.words


def test_one_family_and_no_question_have_no_such_part() -> None:
    assert "helped" not in Page(render(fabricate.study())).words


def test_families_without_questions_are_still_tabled(content: ReportInput) -> None:
    bare = dataclasses.replace(content, result=dataclasses.replace(content.result, questions=()))
    page = Page(render(bare))
    assert "Which family" in page.words
    assert "could be asked here" not in page.words


def test_nothing_seen_is_no_proof_of_no_difference(content: ReportInput) -> None:
    nothing = tuple(
        dataclasses.replace(one, answer="no difference seen") for one in content.result.questions
    )
    text = questions._sentence(nothing, "auroc")
    assert "no proof" in text
    assert "±0.012" in text  # the widest of the three


def forest(metric: str = "auroc") -> list[ElementTree.Element]:
    gaps = ((0.02, 0.01, 0.03), (-0.01, -0.02, 0.0))
    asked = [
        Question(
            Variation("views", views=f"view{i}"),
            Comparison("a", "b", *gap, 0.01),
            answer,
            tap="t",
            head="svm",
        )
        for i, (gap, answer) in enumerate(zip(gaps, ("better", "no difference seen"), strict=True))
    ]
    svg = plots.forest("f", questions.chart_rows(asked), metric)
    assert set(re.findall(r"#[0-9a-f]{6}\b", svg)) <= {"#000000"}
    return list(ElementTree.fromstring(svg).iter())


def test_the_forest_says_which_side_is_better_and_each_answer() -> None:
    texts = [e.text or "" for e in forest()]
    assert "Do augmented views (view0) help (t, svm)?" in texts
    assert "difference in AUROC, better →" in texts
    assert "(view0) help (t, svm)? +0.020 (+0.010 to +0.030), better" in texts[1]
    assert "difference in log loss, ← better" in [e.text for e in forest("log_loss")]


def test_many_scenarios_stay_readable(content: ReportInput) -> None:
    row = content.result.scenarios[-1]
    many = [dataclasses.replace(PLAIN, tap=f"t{i}") for i in range(150)]
    rows = tuple(dataclasses.replace(row, key=one.key) for one in many)
    result = dataclasses.replace(
        content.result, scenarios=(*content.result.scenarios, *rows), questions=()
    )
    full = dataclasses.replace(content, result=result, scenarios=(*content.scenarios, *many))
    section = scenarios.section(full)
    assert len(section["listed"]) <= scenarios.LISTED + 1
    assert "The best 12 of 183 are drawn." in section["comparison"]["caption"]


def test_of_equal_scenarios_the_simplest_stands_first(content: ReportInput) -> None:
    same = dataclasses.replace(
        content,
        result=dataclasses.replace(
            content.result,
            scenarios=tuple(
                dataclasses.replace(row, validation=content.result.scenarios[0].validation)
                for row in content.result.scenarios
            ),
        ),
    )
    rows = scenarios.section(same)["listed"]
    assert [row.key for row in rows[:5]] == [row.key for row in content.result.scenarios[:5]]


# --------------------------------------------------------------------------- depth


def test_what_stands_beside_is_points_without_a_line_and_the_best_is_ringed() -> None:
    def points(*, beside: bool) -> list[DepthPoint]:
        plain = [Estimate(v, v - 0.02, v + 0.01, 100, "x") for v in (0.8, 0.9, 0.85)]
        found = [DepthPoint("net", f"t{i}", i, "svm", one) for i, one in enumerate(plain)]
        extra = Estimate(0.88, 0.86, 0.9, 100, "x")
        return (
            found
            + [DepthPoint("net", "t2", 2, "svm", extra, dataclasses.replace(CODES, tap="t2"))]
            * beside
        )

    def drawn(svg: str) -> tuple[int, int]:
        root = ElementTree.fromstring(svg)
        return svg.count("<use"), sum(e.text == "VLAD 64" for e in root.iter("text"))

    alone, both = (plots.depth("d", points(beside=b), "auroc") for b in (False, True))
    assert "best 0.900 at t1 with svm" in both
    assert drawn(both)[1] == 1
    assert drawn(alone)[1] == 0
    assert drawn(both)[0] - drawn(alone)[0] >= 2  # its point, and the one at its name


def entry(scenario: Scenario) -> SimpleNamespace:
    return SimpleNamespace(scenario=scenario)


def test_the_depth_profile_is_plain_whatever_is_recommended() -> None:
    at = [dataclasses.replace(PLAIN, tap=tap) for tap in ("t0", "t1")]
    other = [
        dataclasses.replace(CODES, tap="t1"),
        dataclasses.replace(SIZES, tap="t1"),
        dataclasses.replace(MEAN, tap="t1"),
        dataclasses.replace(VIEWS, tap="t1"),
        dataclasses.replace(CLAHE, tap="t1"),
        dataclasses.replace(PLAIN, tap="t1", code=Pooled("gem")),
        PLAIN,  # all stages have no depth
    ]
    value = {one.key: 0.5 + i / 100 for i, one in enumerate([*at, *other])}
    rows = [
        ScenarioResult(
            one.key, one.family, "net", 0, None,  # type: ignore[arg-type]
            {"auroc": Estimate(value[one.key], 0, 1, 9, "x")},
        )
        for one in [*at, *other]
    ]  # fmt: skip
    study = SimpleNamespace(
        planned=[entry(one) for one in [*at, *other]],
        result=SimpleNamespace(scenarios=rows, metric="auroc", recommended=other[3].key),
        options=SimpleNamespace(
            backbones=("net",), preprocess=("raw", "clahe2-8"), poolings=("avg", "gem")
        ),
    )
    taps = [SimpleNamespace(name="t0"), SimpleNamespace(name="t1")]
    extractor = SimpleNamespace(backbone=lambda _: SimpleNamespace(taps=taps))
    found = [
        (p.tap, scenario_names.way_of(p), p.beside is not None)
        for p in report_input._depth(study, extractor)
    ]  # type: ignore[arg-type]
    assert found == [
        ("t0", "svm", False),
        ("t1", "svm", False),
        ("t1", "VLAD 64", True),
        ("t1", "2 sizes averaged", True),  # the better of the two ways to join sizes
    ]


def test_families_are_those_that_ran_with_their_question() -> None:
    base = fabricate.predictions(("a", "b"), "b", 120, "train", 0, 1.0)
    scenarios = [PLAIN, CLAHE, CODES]
    oof = {one.key: dataclasses.replace(base, scenario=one.key) for one in scenarios}
    rows = tuple(
        ScenarioResult(
            one.key, one.family, "net", 0, None,  # type: ignore[arg-type]
            {"auroc": Estimate(value, 0, 1, 9, "x")},
        )
        for one, value in zip(scenarios, (0.8, np.nan, 0.7), strict=True)
    )  # fmt: skip
    against = Comparison(CODES.key, PLAIN.key, -0.1, -0.2, 0.0, 0.04)
    other = Comparison(CODES.key, CLAHE.key, 0.3, 0.2, 0.4, 0.04)
    questions = (
        Question(Variation("views"), other, "better"),
        Question(Variation("family"), against, "worse"),
    )
    result = SimpleNamespace(scenarios=rows, metric="auroc", questions=questions)
    found = report_input._families(SimpleNamespace(result=result, oof=oof))  # type: ignore[arg-type]
    assert [(one.family, one.n, one.best) for one in found] == [
        ("probe", 2, PLAIN.key),
        ("vlad", 1, CODES.key),
    ]
    assert [one.against for one in found] == [None, against]
    assert found[1].corrected == rows[2].validation["auroc"]  # nothing was chosen
    alone = SimpleNamespace(scenarios=rows[:2], metric="auroc", questions=())
    assert report_input._families(SimpleNamespace(result=alone, oof=oof)) == ()  # type: ignore[arg-type]
