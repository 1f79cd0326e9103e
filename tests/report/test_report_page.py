"""The page as a whole: well-formed, self-contained, escaped, the same every time, in its order."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import fabricate
import numpy as np
import pytest

from medgraft.errors import DataError
from medgraft.evaluate.curves import draw_curves
from medgraft.report.charts import plots
from medgraft.report.pages.render import ROOM
from medgraft.report.pages.study import render, write_report
from medgraft.report.sections import performance
from medgraft.report.sections.performance import Judged
from medgraft.results.study import ReportInput
from medgraft.scenario import Head

CHOSEN_KEY = fabricate.CHOSEN
VOID = {"meta", "img", "br", "hr", "link", "input", "col"}
HEADINGS = {"h1", "h2", "h3", "h4", "h5", "h6"}


class Page(HTMLParser):
    """Reads a page strictly: every element is closed, in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[int] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"an attribute twice in {tag}: {names}"
        self.elements.append((tag, dict(attrs)))
        if tag in HEADINGS:
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag
        if tag not in {"span", "a", "strong", "code", "small"}:
            self.text.append(" ")

    def handle_data(self, data: str) -> None:
        if not {"style", "title"} & set(self.open):
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join("".join(self.text).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture(scope="module")
def content() -> ReportInput:
    return fabricate.study()


@pytest.fixture(scope="module")
def html(content: ReportInput) -> str:
    return render(content)


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_ids_are_unique_and_every_reference_resolves(page: Page) -> None:
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    wanted = set()
    for _, attrs in page.elements:
        if (attrs.get("href") or "").startswith("#"):
            wanted.add(attrs["href"][1:])
        wanted.update(re.findall(r"url\(#([^)]+)\)", attrs.get("clip-path") or ""))
        wanted.update((attrs.get("aria-labelledby") or "").split())
    assert wanted
    assert wanted <= set(ids)


def test_nothing_is_loaded_and_nothing_runs(page: Page, html: str) -> None:
    for _, attrs in page.elements:
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            target = attrs.get(name)
            assert target is None or target.startswith(("#", "data:image/webp;base64,"))
    assert not page.all("script")
    assert not page.all("link")
    assert "@import" not in html
    assert "url(http" not in html
    assert not any(name.startswith("on") for _, attrs in page.elements for name in attrs)
    policies = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


def test_headings_step_down_by_one_and_follow_the_order_of_the_specification(page: Page) -> None:
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(b <= a + 1 for a, b in zip(page.headings, page.headings[1:], strict=False))
    order = [
        "May it be believed?",
        "What it looks at",
        "What we tried",
        "Why this one, and what would help",
        "How good, exactly",
        "The data",
        "How to repeat it",
        "What the words mean",
    ]
    body = page.words[page.words.index("Glossary") :]  # after the list of parts
    places = [body.index(title) for title in order]
    assert places == sorted(places)


def test_every_picture_says_what_it_shows(page: Page) -> None:
    images = page.all("img")
    assert len(images) == 8 * (1 + 1 + 5) + 2 * 6  # cases with map and strip, then samples
    assert all(len(image["alt"] or "") > 20 for image in images)
    drawings = [svg for svg in page.all("svg") if svg.get("role") == "img"]
    # wide and narrow: comparison, depth, learning curve, map; ROC, PR, decision, reliability
    assert len(drawings) == 2 * 4 + 4
    assert all(svg.get("aria-labelledby") for svg in drawings)
    others = [svg for svg in page.all("svg") if svg.get("role") != "img"]
    assert all(svg.get("aria-hidden") == "true" for svg in others)


def test_table_headers_have_a_scope_and_scrolling_boxes_take_the_keyboard(page: Page) -> None:
    assert all(header.get("scope") in {"row", "col"} for header in page.all("th"))
    boxes = [div for div in page.all("div") if div.get("class") == "scroll"]
    assert len(boxes) == len(page.all("table")) == 7
    assert all(box["tabindex"] == "0" and box["aria-label"] for box in boxes)


def test_same_study_same_bytes(html: str) -> None:
    assert render(fabricate.study()) == html


def test_a_normal_study_stays_under_five_megabytes(html: str) -> None:
    assert len(html.encode()) < 1_500_000


@pytest.mark.slow
def test_many_classes_stay_under_five_megabytes() -> None:
    many = fabricate.study(tuple(f"class {k}" for k in range(30)))
    assert len(render(many).encode()) < 5_000_000


def test_what_users_name_is_text_and_never_markup() -> None:
    evil = "<script>alert(1)</script>"
    strange = "día & $x_1$ \n “肺炎” {{ 7*7 }}"
    studied = fabricate.study((strange, evil))
    text = render(studied)
    page = Page(text)
    assert not page.all("script")
    assert "<script" not in text
    assert f"{evil} is told from" in page.words
    assert "$x_1$" in page.words
    assert "{{ 7*7 }}" in page.words
    assert "“肺炎”" in page.words


def test_one_sentence_leads_with_the_number_its_interval_and_n(
    content: ReportInput, page: Page
) -> None:
    one = content.test_evaluation.estimates["auroc"]
    assert (
        f"PNEUMONIA is told from NORMAL with AUROC {one.value:.3f} (95\u00a0% interval "
        f"{one.low:.3f}–{one.high:.3f}) on 624 test images never used for any choice."
    ) in page.words.replace("95 %", "95\u00a0%")


def test_research_use_is_said_once_and_nothing_is_praised(page: Page) -> None:
    assert page.words.count("For research only") == 1
    assert page.words.count("medical device") == 1
    assert "!" not in page.words
    assert not re.search(r"\b(excellent|great|outstanding|impressive|superb|thinks)\b", page.words)


def test_what_is_missing_is_called_not_measured() -> None:
    whole = fabricate.study(tested=False)
    bare = dataclasses.replace(whole, cases=(), samples={}, depth=())
    text = Page(render(bare)).words
    assert "Heatmaps: not measured." in text
    assert "sub-group" not in text  # what is not offered is not listed as missing
    assert "not learned from, corrected for the choice, there being no test" in text
    assert text.count("not measured") >= len(whole.result.scenarios)  # no test figure for any
    assert not re.search(r"\b(nan|None|inf)\b", text.replace("None among", ""))


def test_a_metric_that_is_undefined_is_not_measured(content: ReportInput) -> None:
    judged = content.test_evaluation
    nothing = dataclasses.replace(judged.estimates["ppv"], value=float("nan"))
    broken = dataclasses.replace(judged, estimates={**judged.estimates, "ppv": nothing})
    text = Page(render(dataclasses.replace(content, test_evaluation=broken))).words
    assert "PPV not measured" in text


def test_without_a_map_the_reason_is_given() -> None:
    content = fabricate.study(mapped=False)
    nearest = dataclasses.replace(content.recipe.scenario, classifier=Head("knn"))
    recipe = dataclasses.replace(content.recipe, scenario=nearest)
    text = Page(render(dataclasses.replace(content, recipe=recipe))).words
    assert "No heatmap: This classifier goes by likeness to other images" in text


def test_how_many_cases_were_left_out_is_said(content: ReportInput, page: Page) -> None:
    counts = content.test_evaluation.confusion
    for k in range(2):
        right, wrong = int(counts[k, k]), int(counts[k].sum() - counts[k, k])
        assert f"Called right: 2 of {right} shown" in page.words
        assert f"Called wrong: 2 of {wrong} shown" in page.words


def test_a_class_without_mistakes_has_no_empty_column(content: ReportInput) -> None:
    right = tuple(case for case in content.cases if case.correct)
    judged = dataclasses.replace(content.test_evaluation, confusion=np.diag([208, 416]))
    text = render(dataclasses.replace(content, cases=right, test_evaluation=judged))
    assert "None of 208 images of NORMAL was called wrong." in Page(text).words
    assert text.count('class="kinds one"') == 2
    assert "Called wrong" not in Page(text).words


def test_too_few_images_get_no_reliability_plot() -> None:
    for n, drawn in ((26, False), (600, True)):  # 15 points of 26 images would hold two each
        one = fabricate.predictions(("a", "b"), "b", n, "test", 3, 1.0)
        evaluation = fabricate.evaluate(one, sampling=fabricate.FAST)
        shown = performance.section(
            Judged(draw_curves(one, fabricate.FAST), evaluation, "x", {"Test": evaluation})
        )
        assert (shown["reliability"] is not None) == drawn


def test_precision_has_no_band_where_few_were_found(monkeypatch: pytest.MonkeyPatch) -> None:
    one = fabricate.predictions(("a", "b"), "b", 60, "test", 3, 1.0)
    n_positive = int((one.y_true == 1).sum())
    evaluation = fabricate.evaluate(one, sampling=fabricate.FAST)
    drawn = []
    monkeypatch.setattr(
        plots, "precision_recall", lambda _, curve, *rest: drawn.append(curve) or "svg"
    )
    performance.section(
        Judged(draw_curves(one, fabricate.FAST), evaluation, "x", {"Test": evaluation})
    )
    (curve,) = drawn
    found = np.linspace(0, 1, 101) * n_positive
    assert np.array_equal(np.isnan(curve.low), found < 10)
    assert np.array_equal(np.isnan(curve.high), found < 10)
    assert not np.isnan(curve.y).any()


def test_scenarios_are_named_in_the_text_as_in_the_table(content: ReportInput) -> None:
    why = content.result.why
    assert CHOSEN_KEY == why.recommended != why.best
    text = Page(render(content)).words
    text = text[text.index("out of fold on 600 images") :]
    names = ["/".join(key.split("/")[2:]).replace("/", " · ") for key in (CHOSEN_KEY, why.best)]
    assert f"), {names[0]} is the simplest" in text
    assert f" of {names[1]}, a loss" in text


def test_more_than_two_classes_get_a_curve_each() -> None:
    page = Page(render(fabricate.study(("coast", "forest", "street"))))
    assert "3 classes are told apart with AUROC" in page.words
    drawings = [svg for svg in page.all("svg") if svg.get("role") == "img"]
    assert len(drawings) == 2 * 4 + 3 + 1  # three ROC curves, reliability


def test_a_recommendation_from_elsewhere_is_refused(content: ReportInput) -> None:
    lost = dataclasses.replace(content.result, recommended="probe/other/tap/svm")
    with pytest.raises(DataError, match="probe/other/tap/svm"):
        render(dataclasses.replace(content, result=lost))


def test_inputs_stay_as_they_were(content: ReportInput) -> None:
    before = [case.pixels.copy() for case in content.cases]
    maps = [heat.copy() for case in content.cases for _, heat in case.maps]
    render(content)
    assert all(np.array_equal(a, b.pixels) for a, b in zip(before, content.cases, strict=True))
    after = [heat for case in content.cases for _, heat in case.maps]
    assert all(np.array_equal(a, b) for a, b in zip(maps, after, strict=True))


def test_the_file_is_what_was_rendered(content: ReportInput, html: str, tmp_path: Path) -> None:
    write_report(tmp_path / "deep" / "report.html", content)
    assert (tmp_path / "deep" / "report.html").read_text(encoding="utf-8") == html
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["report.html"]


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb (WCAG 2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, two: str) -> float:
    light, dark = sorted((luminance(one), luminance(two)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_of_known_pairs() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_text_can_be_read_on_every_ground(mode: str) -> None:
    css = (ROOM / "pages" / "report.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{(.*?)\}", css, flags=re.S)
    assert len(blocks) == 2
    light, dark = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in blocks)
    assert light.keys() == dark.keys()
    colours = light if mode == "light" else dark
    for text in ("ink", "muted", "accent", "good", "caution", "bad"):
        for ground in ("page", "surface", "shade"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for line in ("series-1", "series-2", "series-3"):
        assert contrast(colours[line], colours["surface"]) >= 3, line
