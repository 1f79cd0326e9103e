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

from medgraft.evaluate.curves import ReliabilityBin
from medgraft.report import figures, images, verdicts, words
from medgraft.report.build import _where
from medgraft.report.content import DepthPoint
from medgraft.types import Comparison, Estimate, Evaluation, Finding, Grouping


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
        figures.Row("a <b> & $c$", ESTIMATES[0], True, False),
        figures.Row("肺", ESTIMATES[1], False, True),
    ]
    points = [DepthPoint("net", f"t{i}", i, "svm", one) for i, one in enumerate(ESTIMATES)]
    bins = [ReliabilityBin(0.2, ESTIMATES[1]), ReliabilityBin(0.9, ESTIMATES[0])]
    return [
        figures.comparison("x", rows, "accuracy"),
        figures.comparison("y", rows, "accuracy", narrow=True),
        figures.depth("z", points, "auroc"),
        figures.reliability("r", bins, "ill"),
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
    root = ElementTree.fromstring(figures.depth("d", points, "auroc"))
    heights = sorted(
        float(e.attrib["y"]) for e in root.iter("text") if e.text in {"a1", "b1", "c1"}
    )
    assert len(heights) == 3
    assert min(np.diff(heights)) >= 14  # the size of the letters


# --------------------------------------------------------------------------- verdicts


def judged(ece: Estimate, confusion: list[list[int]], auroc: Estimate) -> Evaluation:
    counts = np.array(confusion, dtype=np.int64)
    n = int(counts.sum())
    return Evaluation(
        {"auroc": auroc, "ece": ece}, counts, ("NORMAL", "PNEUMONIA"), "PNEUMONIA", None, n, n
    )


SHARP = Estimate(0.96, 0.95, 0.97, 200, "DeLong")
KEPT = Estimate(0.02, 0.01, 0.04, 200, "bootstrap")


@pytest.fixture(scope="module")
def content() -> verdicts.ReportInput:
    return fabricate.study()


def cards(content: verdicts.ReportInput, evaluation: Evaluation) -> dict[str, str]:
    changed = dataclasses.replace(content, test_evaluation=evaluation)
    return {card.title: card.word for card in verdicts.verdicts(changed)}


@pytest.mark.parametrize(
    ("value", "low", "high", "word"),
    [
        (0.05, 0.03, 0.09, "PASS"),
        (0.051, 0.03, 0.09, "WARN"),
        (0.2, 0.1, 0.3, "WARN"),
        (0.2, 0.101, 0.3, "FAIL"),
        (float("nan"), 0, 1, "not run"),
    ],
)
def test_calibration(
    content: verdicts.ReportInput, value: float, low: float, high: float, word: str
) -> None:
    ece = Estimate(value, low, high, 200, "bootstrap")
    assert cards(content, judged(ece, [[90, 10], [10, 90]], SHARP))["Calibration"] == word


@pytest.mark.parametrize(
    ("half", "normal", "word"),
    [(0.02, 30, "PASS"), (0.02, 29, "WARN"), (0.03, 300, "WARN"), (0.08, 300, "INCONCLUSIVE")],
)
def test_enough_images(content: verdicts.ReportInput, half: float, normal: int, word: str) -> None:
    auroc = Estimate(0.9, 0.9 - half, 0.9 + half, 500, "DeLong")
    found = cards(content, judged(KEPT, [[normal, 0], [10, 290]], auroc))
    assert found["Enough images"] == word


def test_agreement_needs_intervals_that_meet(content: verdicts.ReportInput) -> None:
    confusion = [[90, 10], [10, 90]]
    corrected = content.result.corrected  # 0.983 to 0.991
    meets = Estimate(0.98, 0.97, corrected.low, 200, "DeLong")
    misses = Estimate(0.97, 0.96, corrected.low - 0.001, 200, "DeLong")
    assert cards(content, judged(KEPT, confusion, meets))["New images"] == "PASS"
    assert cards(content, judged(KEPT, confusion, misses))["New images"] == "WARN"


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
    def card(severity: str) -> verdicts.Verdict:
        findings = (Finding("one", severity, "so it is"),)
        table = dataclasses.replace(content.result.table, grouping=Grouping())
        result = dataclasses.replace(content.result, findings=findings, table=table)
        return verdicts.verdicts(dataclasses.replace(content, result=result))[0]

    assert card("info").word == "INCONCLUSIVE"
    assert "--group" in card("info").text
    assert card("severe").word == "FAIL"


def test_few_test_images_agree_with_anything(content: verdicts.ReportInput) -> None:
    low = content.result.corrected.low
    wide = Estimate(0.9, 0.8, low + 0.001, 26, "DeLong")  # meets, ±0.09
    assert cards(content, judged(KEPT, [[9, 1], [1, 9]], wide))["New images"] == "INCONCLUSIVE"
    apart = dataclasses.replace(wide, high=low - 0.001)
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
    assert set(words.METRICS) <= set(words.GLOSSARY)


def test_shortened_names_keep_their_ends() -> None:
    short = words.shorten("test/PNEUMONIA/person1_bacteria_1234.jpeg", 20)
    assert len(short) == 20
    assert short.startswith("test/PNEUMON")
    assert short.endswith("4.jpeg")
    assert words.shorten("a\n b", 9) == "a b"
