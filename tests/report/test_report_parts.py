"""The parts of the report: pictures, words and verdicts, against values worked out by hand."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
from xml.etree import ElementTree

import fabricate
import numpy as np
import pytest
from PIL import Image

from medgraft.evaluate.compare import difference_apart
from medgraft.evaluate.intervals import delong
from medgraft.evaluate.recalibration import recalibrate
from medgraft.report.charts import images, plots
from medgraft.report.pages.render import ROOM
from medgraft.report.sections.cases import _where
from medgraft.report.text import calibration, formatting, verdicts
from medgraft.results.curves import ReliabilityBin
from medgraft.results.figures import Calibration, Comparison, Evaluation
from medgraft.results.study import DepthPoint
from medgraft.types import Estimate, Finding, Grouping


def decoded(uri: str) -> np.ndarray:
    head, _, body = uri.partition(",")
    assert head == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(body))))


# --------------------------------------------------------------------------- pictures


def test_grey_stays_grey() -> None:
    for pixels in (fabricate.radiograph(3), np.repeat(fabricate.radiograph(3)[..., None], 3, 2)):
        seen = decoded(images.data_uri(pixels, 128)).astype(int)
        assert seen.shape == (128, 128, 3)
        assert np.ptp(seen, axis=2).max() <= 1


def test_thumbnails_keep_their_aspect_and_are_never_enlarged() -> None:
    assert decoded(images.data_uri(np.zeros((100, 400), np.uint8), 200)).shape == (50, 200, 3)
    assert decoded(images.data_uri(np.zeros((28, 28), np.uint8), 200)).shape == (28, 28, 3)


def test_an_empty_map_leaves_the_picture_alone() -> None:
    pixels = fabricate.radiograph(1, size=32)
    shown = images.overlay(pixels, np.zeros((32, 32), np.float32))
    assert np.array_equal(shown, np.repeat(pixels[..., None], 3, axis=2))


def test_a_colour_image_is_grey_under_its_map() -> None:
    red = np.zeros((1, 1, 3), np.uint8)
    red[..., 0] = 200
    shown = images.overlay(red, np.zeros((1, 1)))
    assert shown[0, 0].tolist() == [60, 60, 60]  # 0.299 of 200
    grey = np.full((2, 2), 77, np.uint8)
    both = np.linspace(0, 1, 4).reshape(2, 2)
    planes = np.repeat(grey[..., None], 3, axis=2)
    assert np.array_equal(images.overlay(grey, both), images.overlay(planes, both))


def test_the_strongest_place_is_covered_by_so_much_and_no_more() -> None:
    grey = np.full((1, 1), 100, np.uint8)
    shown = images.overlay(grey, np.ones((1, 1)))[0, 0]
    brightest = np.array([252, 253, 191])  # the last colour of magma
    assert np.allclose(shown, 0.35 * 100 + 0.65 * brightest, atol=1)
    two = images.overlay(np.array([[60, 200]], np.uint8), np.ones((1, 2)))[0].astype(int)
    assert (two[1] - two[0] > 40).all()  # the anatomy under it can still be seen


def test_maps_outside_their_range_and_not_numbers_are_clipped() -> None:
    pixels = np.full((1, 3), 50, np.uint8)
    wild = images.overlay(pixels, np.array([[-3.0, 7.0, np.nan]]))
    tame = images.overlay(pixels, np.array([[0.0, 1.0, 0.0]]))
    assert np.array_equal(wild, tame)


@pytest.mark.parametrize(
    ("row", "column", "words_"),
    [(0, 0, "top left"), (15, 15, "middle centre"), (29, 29, "bottom right")],
)
def test_where_a_map_is_strongest(row: int, column: int, words_: str) -> None:
    level = np.zeros((30, 30), np.float32)
    level[row, column] = 1
    assert _where(level) == f"strongest at the {words_} of the picture"
    assert _where(0 * level) == "nothing raised the score"


# --------------------------------------------------------------------------- charts


ESTIMATES = [Estimate(v, v - 0.02, v + 0.01, 100, "Wilson") for v in (0.9, 0.8)]


def drawings() -> list[str]:
    rows = [
        plots.ForestRow("a <b> & $c$", ESTIMATES[0], True, False),
        plots.ForestRow("肺", ESTIMATES[1], False, True),
    ]
    points = [DepthPoint("net", f"t{i}", i, "svm", one) for i, one in enumerate(ESTIMATES)]
    bins = [ReliabilityBin(0.2, ESTIMATES[1]), ReliabilityBin(0.9, ESTIMATES[0])]
    return [
        plots.comparison("x", rows, "accuracy"),
        plots.comparison("y", rows, "accuracy", narrow=True),
        plots.depth("z", points, "auroc"),
        plots.reliability("r", bins, "ill"),
    ]


def test_charts_are_whole_xml_with_alternative_text_and_the_page_s_colours() -> None:
    for svg in drawings():
        root = ElementTree.fromstring(svg)
        assert root.tag == "svg"
        assert root[0].tag == "title"
        assert root[0].text
        assert "http" not in svg
        assert "DejaVu" not in svg
        assert set(re.findall(r"#[0-9a-f]{6}\b", svg)) <= {"#000000"}
        assert "var(--ink)" in svg


def test_charts_keep_what_users_wrote_as_text() -> None:
    texts = [e.text for e in ElementTree.fromstring(drawings()[0]).iter("text")]
    assert "a <b> & $c$" in texts
    assert "肺" in texts
    assert "90.0 % recommended" in texts


def test_labels_at_the_ends_of_equal_lines_do_not_overlap() -> None:
    same = Estimate(0.9, 0.88, 0.92, 100, "Wilson")
    points = [
        DepthPoint("net", f"t{i}", i, head, same) for i in range(4) for head in ("a1", "b1", "c1")
    ]
    root = ElementTree.fromstring(plots.depth("d", points, "auroc"))
    heights = sorted(
        float(e.attrib["y"]) for e in root.iter("text") if e.text in {"a1", "b1", "c1"}
    )
    assert len(heights) == 3
    assert min(np.diff(heights)) >= 14  # the size of the letters


# --------------------------------------------------------------------------- verdicts


def calibrated(
    slope: tuple[float, float] | None = (0.9, 1.1),
    average: tuple[float, float] = (-0.02, 0.03),
    p: float = 0.4,
    reason: str = "",
) -> Calibration:
    """A calibration with these intervals, and estimates in their middle."""
    middle = None if slope is None else Estimate(sum(slope) / 2, *slope, 200, "Firth")
    return Calibration(
        middle,
        Estimate(0, -0.2, 0.2, 200, "Firth"),
        {"PNEUMONIA": Estimate(sum(average) / 2, *average, 200, "t")},
        None if middle is None else (middle.value, 0.0),
        p,
        344,
        reason,
    )


def judged(found: Calibration | None, confusion: list[list[int]], auroc: Estimate) -> Evaluation:
    counts = np.array(confusion, dtype=np.int64)
    n = int(counts.sum())
    return Evaluation(
        {"auroc": auroc}, counts, ("NORMAL", "PNEUMONIA"), "PNEUMONIA", None, n, n, found
    )


SHARP = Estimate(0.96, 0.95, 0.97, 200, "DeLong")
KEPT = calibrated()


@pytest.fixture(scope="module")
def content() -> verdicts.ReportInput:
    return fabricate.study()


def cards(content: verdicts.ReportInput, evaluation: Evaluation) -> dict[str, str]:
    changed = dataclasses.replace(content, test_evaluation=evaluation)
    return {card.title: card.word for card in verdicts.verdicts(changed)}


@pytest.mark.parametrize(
    ("found", "word", "says"),
    [
        (calibrated(), "PASS", "mean what they say"),
        (calibrated((0.6, 1.1)), "INCONCLUSIVE", "about 350 like these would do"),
        (calibrated(average=(-0.02, 0.11)), "INCONCLUSIVE", "200 images cannot tell"),
        (calibrated((0.85, 0.95), p=0.01), "PASS", "too close to it to matter"),
        (calibrated((0.7, 0.95), p=0.01), "WARN", "of images given 90 % for PNEUMONIA, about 86 %"),
        (calibrated((0.4, 0.6), p=0.01), "FAIL", "too extreme"),
        (calibrated((1.6, 2.4), p=0.01), "FAIL", "too moderate"),
        (calibrated(average=(0.02, 0.09), p=0.01), "WARN", "is 5.5 points too high (2.0 to 9.0)"),
        (calibrated(average=(-0.2, -0.11), p=0.01), "FAIL", "15.5 points too low"),
        (calibrated((0.7, 1.3), p=0.01), "WARN", "which way they err is not sure"),
        (calibrated(None, reason="all images are NORMAL"), "INCONCLUSIVE", "all images are NORMAL"),
        (None, "not run", "Not measured"),
    ],
)
def test_calibration(
    content: verdicts.ReportInput, found: Calibration | None, word: str, says: str
) -> None:
    evaluation = judged(found, [[90, 10], [10, 90]], SHARP)
    changed = dataclasses.replace(content, test_evaluation=evaluation)
    card = next(card for card in verdicts.verdicts(changed) if card.title == "Calibration")
    assert card.word == word
    assert says in card.text


def test_right_probabilities_are_warned_of_at_the_stated_rate() -> None:
    """Of right probabilities at most one in twenty warns or fails; wrong ones do nearly all."""
    base = fabricate.predictions(("a", "b"), "b", 300, "test", 0, 1.0)
    said = {1.0: [], 0.4: [], 2.5: []}
    for seed in range(40):
        rng = np.random.default_rng(seed)
        y = (rng.random(300) < 0.4).astype(int)
        logit = 2 * (rng.normal(size=300) + 2 * y - 1) + np.log(0.4 / 0.6)
        for slope, found in said.items():
            p = 1 / (1 + np.exp(-logit / slope))
            one = dataclasses.replace(
                base, y_true=y, y_prob=np.stack([1 - p, p], axis=1), groups=base.ids
            )
            found.append(calibration.verdict(recalibrate(one)))
    assert sum(word in {"WARN", "FAIL"} for word in said[1.0]) <= 5  # two expected
    assert said[1.0].count("PASS") > 24
    assert min(said[0.4].count("FAIL"), said[2.5].count("FAIL")) > 36


@pytest.mark.parametrize(
    ("half", "normal", "word"),
    [(0.02, 30, "PASS"), (0.02, 29, "WARN"), (0.03, 300, "WARN"), (0.08, 300, "INCONCLUSIVE")],
)
def test_enough_images(content: verdicts.ReportInput, half: float, normal: int, word: str) -> None:
    auroc = Estimate(0.9, 0.9 - half, 0.9 + half, 500, "DeLong")
    found = cards(content, judged(KEPT, [[normal, 0], [10, 290]], auroc))
    assert found["Enough images"] == word


@pytest.mark.parametrize(("distance", "word"), [(0.9, "PASS"), (1.1, "WARN"), (-1.1, "WARN")])
def test_agreement_is_of_the_difference_and_not_of_intervals(
    content: verdicts.ReportInput, distance: float, word: str
) -> None:
    """Half-widths of .004 and .003 make one of .005, whether or not the intervals meet."""
    corrected = Estimate(0.9, 0.896, 0.904, 400, "BBC")
    result = dataclasses.replace(content.result, corrected=corrected)
    value = 0.9 + 0.005 * distance
    test = Estimate(value, value - 0.003, value + 0.003, 400, "DeLong")
    evaluation = judged(KEPT, [[90, 10], [10, 90]], test)
    changed = dataclasses.replace(content, result=result, test_evaluation=evaluation)
    card = verdicts.verdicts(changed)[-1]
    assert card.word == word
    assert "(95 % interval " in card.text
    assert test.low < corrected.high  # the intervals meet, both ways
    assert test.high > corrected.low


def test_agreement_is_denied_at_the_stated_rate() -> None:
    """Two sets from one population: the intervals part in 1 of 180, the difference in 1 of 20."""
    rng, apart, parted = np.random.default_rng(0), [], []
    for _ in range(400):
        found = []
        for n in (300, 200):
            y = rng.random(n) < 0.4
            found.append(delong(y, rng.normal(size=n) + 2 * y))
        d = difference_apart(*found)
        apart.append(d.low > 0 or d.high < 0)
        parted.append(found[0].low > found[1].high or found[1].low > found[0].high)
    assert 0.03 <= np.mean(apart) <= 0.075
    assert np.mean(parted) < 0.02


@pytest.mark.parametrize(
    ("severities", "word"),
    [((), "PASS"), (("info",), "PASS"), (("info", "warn"), "WARN"), (("warn", "severe"), "FAIL")],
)
def test_data_takes_the_gravest(
    content: verdicts.ReportInput, severities: tuple[str, ...], word: str
) -> None:
    findings = tuple(Finding(f"check {s}", s, f"it is {s}") for s in severities)
    result = dataclasses.replace(content.result, findings=findings)
    card = verdicts.verdicts(dataclasses.replace(content, result=result))[0]
    assert card.word == word
    if word in {"WARN", "FAIL"}:
        assert card.text.startswith(f"It is {severities[-1]}.")


def test_without_patients_no_leak_between_them_can_be_ruled_out(
    content: verdicts.ReportInput,
) -> None:
    def card(severity: str) -> verdicts.VerdictCard:
        findings = (Finding("one", severity, "so it is"),)
        table = dataclasses.replace(content.result.table, grouping=Grouping())
        result = dataclasses.replace(content.result, findings=findings, table=table)
        return verdicts.verdicts(dataclasses.replace(content, result=result))[0]

    assert card("info").word == "INCONCLUSIVE"
    assert "--group" in card("info").text
    assert card("severe").word == "FAIL"


def test_few_test_images_agree_with_anything(content: verdicts.ReportInput) -> None:
    value = content.result.corrected.value
    wide = Estimate(0.9, 0.8, value + 0.001, 26, "DeLong")  # ±0.09
    assert cards(content, judged(KEPT, [[9, 1], [1, 9]], wide))["New images"] == "INCONCLUSIVE"
    apart = dataclasses.replace(wide, high=value - 0.02)
    assert cards(content, judged(KEPT, [[9, 1], [1, 9]], apart))["New images"] == "WARN"


def test_an_audit_that_was_not_made_is_not_passed(content: verdicts.ReportInput) -> None:
    card = next(one for one in verdicts.verdicts(content) if one.title == "Evidence")
    assert card.word == "not run"


def test_advice_names_the_most_frequent_mistake_as_a_share_of_its_class(
    content: verdicts.ReportInput,
) -> None:
    evaluation = judged(KEPT, [[80, 20], [30, 370]], SHARP)  # 20 % of NORMAL, 7.5 % of the other
    first = verdicts.advice(dataclasses.replace(content, test_evaluation=evaluation))[0]
    assert "NORMAL" in first
    assert "20 of 100 were called PNEUMONIA (20.0 %)" in first


@pytest.mark.parametrize(("tap", "cautioned"), [("blocks.0", True), ("blocks.5", False)])
def test_an_early_layer_that_suffices_calls_for_caution(
    content: verdicts.ReportInput, tap: str, cautioned: bool
) -> None:
    key = fabricate.CHOSEN.replace("blocks.5", tap)
    result = dataclasses.replace(content.result, recommended=key)
    first = verdicts.advice(dataclasses.replace(content, result=result))[0]
    assert (f"{tap} is an early layer" in first) == cautioned


def test_what_is_advised_says_which_check_asked_for_it(content: verdicts.ReportInput) -> None:
    finding = Finding("small_test", "warn", "few", {}, (), "collect more")
    evaluation = judged(KEPT, [[80, 20], [30, 370]], Estimate(0.9, 0.8, 0.95, 500, "DeLong"))
    result = dataclasses.replace(content.result, findings=(finding,))
    changed = dataclasses.replace(content, result=result, test_evaluation=evaluation)
    advised = verdicts.advice(changed)
    assert "Small test: Collect more." in advised
    assert not any("More images to judge by" in text for text in advised)  # once is enough


def test_gap_is_the_metric_of_the_row_minus_the_reference() -> None:
    one = Comparison("best", "other", 0.01, 0.0, 0.02, 0.3)  # best minus other
    assert verdicts.gap(one, "other") == -0.01
    assert verdicts.gap(one, "best") == 0.01
    assert np.isnan(verdicts.gap(None, "other"))


def test_every_metric_is_explained() -> None:
    assert set(formatting.METRIC_WORDS) <= set(formatting.GLOSSARY)


def test_shortened_names_keep_their_ends() -> None:
    short = formatting.shorten("test/PNEUMONIA/person1_bacteria_1234.jpeg", 20)
    assert len(short) == 20
    assert short.startswith("test/PNEUMON")
    assert short.endswith("4.jpeg")
    assert formatting.shorten("a\n b", 9) == "a b"


def test_every_section_has_its_template_beside_it() -> None:
    """Two templates need no code: what they show is handed to every page."""
    room = ROOM / "sections"
    code = {file.stem for file in room.glob("[!_]*.py")}
    templates = {file.name.removesuffix(".html.j2") for file in room.glob("*.j2")}
    assert templates == code | {"glossary", "skipped"}


def test_a_thin_class_is_what_is_asked_for_first(content: verdicts.ReportInput) -> None:
    """Eleven against 88: not more of the large class, though most mistakes are of its images."""
    labels = np.repeat([0, 1], [11, 88])
    table = dataclasses.replace(content.result.table.select(np.arange(99)), labels=labels)
    table = dataclasses.replace(table, splits=np.full(99, "train"))
    result = dataclasses.replace(content.result, table=table)
    evaluation = judged(KEPT, [[3, 0], [4, 18]], SHARP)
    changed = dataclasses.replace(content, result=result, test_evaluation=evaluation)
    first, *others = verdicts.advice(changed)
    thin, large = table.classes
    assert first == f"More images of {thin} to learn from: there are 11, against 88 of {large}."
    assert not any(text.startswith("More development images of") for text in others)
    assert f"A look at the images of {large}: 4 of 22 were called {thin}" in " ".join(others)


def test_the_data_card_leads_with_what_makes_figures_say_little(
    content: verdicts.ReportInput,
) -> None:
    findings = tuple(
        Finding(check, "warn", f"about {check}")
        for check in ("positive_class", "possible_groups", "small_test", "small_class")
    )
    result = dataclasses.replace(content.result, findings=findings)
    changed = dataclasses.replace(content, result=result)
    assert verdicts.verdicts(changed)[0].text.startswith("About small_class. 3 further warnings")


@pytest.mark.parametrize(
    ("words", "undecided"),
    [(["INCONCLUSIVE"] * 3 + ["WARN", "WARN"], "3 of 5"), (["WARN"] * 2, "")],
)
def test_mostly_undecided_is_said_at_the_top_with_its_numbers(
    content: verdicts.ReportInput, words: list[verdicts.Word], undecided: str
) -> None:
    made = [verdicts.VerdictCard("", word, "", "", "") for word in [*words, "not run"]]
    evaluation = judged(KEPT, [[3, 0], [4, 18]], SHARP)
    changed = dataclasses.replace(content, test_evaluation=evaluation)
    said = verdicts.doubt(changed, made)
    assert (f"{undecided} questions below stay undecided." in said) == bool(undecided)
    assert ("(3 of NORMAL) and 600 to learn from (178 of NORMAL)" in said) == bool(undecided)
