"""What the page says and shows of an audit, of classifiers whose reason is known."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from typing import Any

import fabricate
import numpy as np
import pytest

from medgraft.audit.evidence import Audit, AuditOptions, audit_evidence
from medgraft.audit.evidence_view import evidence_view
from medgraft.audit.findings import about_regions
from medgraft.audit.heatmap_clusters import HeatmapCluster, Seen
from medgraft.data.ingest import LoadOptions, load
from medgraft.report.charts import images, regions
from medgraft.report.pages.audit import AuditInput, render_audit
from medgraft.report.pages.study import render
from medgraft.report.sections import evidence
from medgraft.report.text import formatting, verdicts
from medgraft.report.text.audit_findings import sentence, verdict_sentence
from medgraft.results.evidence import UNDECIDED, RegionEffect
from medgraft.results.recommendation import AuditResult
from medgraft.types import AuditFinding, AuditReason, Canvas, Estimate, Floats, SeenBefore, Severity
from numpy_model import SIDE, ByBrightness

CORNER = (slice(4, 11), slice(4, 11))  # inside the border ring


class ByCorner(ByBrightness):
    """Calls an image ill where its top left corner is bright."""

    classes = ("ill", "well")
    positive = "ill"

    def probabilities(self, canvases: Iterable[Canvas]) -> Floats:
        return super().probabilities(canvases)[:, ::-1]


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    folder = tmp_path_factory.mktemp("made")
    rng = np.random.default_rng(0)
    images = rng.normal(100, 12, (130, SIDE, SIDE))
    labels = np.arange(130) % 2  # 1 is ill
    images[(slice(None), *CORNER)] += (40 * (labels - 0.5))[:, None, None]
    file = folder / "made.npz"
    np.savez(
        file,
        train_images=np.clip(images, 0, 255).astype(np.uint8),
        train_labels=labels[:, None].astype(np.uint8),
    )
    table = load(file, LoadOptions(no_groups=True))
    table = dataclasses.replace(table, labels=1 - table.labels, classes=("ill", "well"))
    return audit_evidence([(ByCorner(CORNER), table)], AuditOptions("xray", pairs=40))


@pytest.fixture(scope="module")
def page(audit: Audit) -> str:
    content = AuditInput(
        "run/model",
        "/data/other <hospital>",
        "probe/a/b/svm",
        evidence_view(audit),
        130,
        SeenBefore(130, 2, 1),
    )
    return render_audit(content)


def test_the_strips_show_images_that_follow_the_corner_of_another_class(audit: Audit) -> None:
    shown = evidence_view(audit)
    assert {one.region for one in shown.exchanges} == {"top left corner"}
    assert len(shown.exchanges) == 3
    for one in shown.exchanges:
        ours, theirs, mixed = one.pictures
        assert set(one.truths) == {"ill", "well"}
        assert (ours.label, theirs.label) == one.truths  # this classifier is never wrong
        assert mixed.label == theirs.label != ours.label
        changed = ours.pixels != mixed.pixels
        assert changed[ours.place].mean() > 0.9
        assert not changed[~ours.place].any()


def test_a_minority_is_shown_above_the_rest_under_its_heatmaps(audit: Audit) -> None:
    assert audit.swaps is not None
    canvases = audit.swaps.parts[0].canvases
    place = np.zeros((SIDE, SIDE), bool)
    place[CORNER] = True
    heat = place.astype(np.float32)
    seen = [Seen(canvas, heat, 0.9) for canvas in canvases[:6]]
    one = HeatmapCluster(
        "ill", 9, 60, "top left corner", place, 0.5, 0.1, 0.6, 0.0, 0.01,
        tuple(seen[:3]), tuple(seen[3:]),
    )  # fmt: skip
    shown = evidence_view(dataclasses.replace(audit, strategies=(one,)))
    (minority,) = shown.minorities
    assert [p.id for p in minority.pictures] == [c.id for c in canvases[:3]]
    first = minority.pictures[0]
    assert first.map is not None
    warm = images.overlay(first.pixels, first.map)
    assert warm.shape == (SIDE, SIDE, 3)
    assert (np.ptp(warm, axis=2)[place] > 0).all()  # coloured where the heatmap is, and there only
    assert not np.ptp(warm, axis=2)[~place].any()
    page = render_audit(AuditInput("m", "d", "k", shown, 6))
    assert images.data_uri(warm, evidence.SIDE) in page
    assert "Heatmaps of another kind: the top left corner" in page
    assert page.index("of another kind</figcaption>") < page.index("the rest</figcaption>")
    assert all(canvas.id in page for canvas in canvases[:6])


def test_the_page_says_what_decides_how_sure_that_is_and_what_could_have_been_seen(
    page: str, audit: Audit
) -> None:
    assert audit.result.verdict == "FAIL"
    assert "FAIL: a place that was declared to be no evidence decides." in page
    decides = next(f for f in audit.result.findings if f.check == "region_decides")
    effect, low, high = (round(100 * float(decides.numbers[k])) for k in ("effect", "low", "high"))
    assert effect > 50
    assert f"The top left corner decides: it turns {effect} in 100 labels" in page
    assert f"{effect} ({low} to {high})" in page  # in the chart
    seen = formatting.in_100(audit.result.smallest_effect)
    assert f"Had any region turned {seen} in 100 labels" in page
    assert "Exchanged: the top left corner" in page
    assert page.count('<figure class="case exchange">') == 3
    assert "The model learned from 3 of the 130 images; audit it on others" in page


def test_the_page_loads_nothing_escapes_names_and_describes_every_picture(page: str) -> None:
    assert "<script" not in page
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page)
    assert "<hospital>" not in page
    drawn = re.findall(r"<svg class=\"regions\".*?</svg>", page, re.DOTALL)
    assert len(drawn) == 2 + 9  # regions and map, three strips of three
    assert all("<title>" in one and 'role="img"' in one for one in drawn)
    ids = re.findall(r"\bid=\"([^\"]+)\"", page)
    assert len(ids) == len(set(ids))


def test_an_outline_runs_round_its_region_and_its_hole() -> None:
    ring = np.zeros((20, 20), dtype=bool)
    ring[4:16, 2:18] = True
    ring[7:13, 5:15] = False
    svg = str(
        regions.outlined("data:,", 20, [regions.RegionOutline(ring, "+7", decides=True)], "a ring")
    )
    outer, inner = (
        np.array([[float(x) for x in point.split()] for point in part[:-1].split("L")])
        for part in re.findall(r"M([^M\"]+)", re.findall(r" d=\"([^\"]+)\"", svg)[0])
    )
    np.testing.assert_allclose([outer.min(axis=0), outer.max(axis=0)], [[2, 4], [18, 16]], atol=0.3)
    np.testing.assert_allclose([inner.min(axis=0), inner.max(axis=0)], [[5, 7], [15, 13]], atol=0.3)
    assert 'class="region decides"' in svg
    assert ">+7</text>" in svg


def of(verdict: Any, *findings: AuditFinding, smallest: float = 0.034) -> AuditResult:
    return AuditResult(verdict, smallest, findings)


def corner(severity: Severity) -> AuditFinding:
    numbers: dict[str, float | int | str] = {
        "region": "border ring",
        "effect": 0.214,
        "low": 0.081,
        "high": 0.342,
    }
    reason: AuditReason = "declared" if severity == "severe" else "suspect"
    return AuditFinding("region_decides", severity, reason, numbers)


def test_the_card_says_the_gravest_thing_first_and_never_more_than_was_seen() -> None:
    quiet = AuditFinding("suspect_regions", "info")
    assert verdict_sentence(of("PASS", quiet)) == (
        "No region that should not decide does. An effect on 4 in 100 labels would have been seen."
    )
    assert verdict_sentence(of("WARN", quiet, corner("warn"))) == (
        "The border ring decides: it turns 21 in 100 labels (8 to 34). Nobody declared it to be no "
        "evidence: is this acceptable?"
    )
    both = of("FAIL", corner("warn"), corner("severe"))
    assert verdict_sentence(both).endswith(
        "It was declared to be no evidence. 1 further region decides."
    )
    few = AuditFinding("few_images", "warn", counts={"ill": 12}, limit=50)
    assert verdict_sentence(of("INCONCLUSIVE", few, smallest=1.0)) == (
        "Only 12 usable images of class ill; below 50 a class nothing is decided."
    )
    assert "too little was visible" in verdict_sentence(of("INCONCLUSIVE", quiet, smallest=0.3))


def test_a_study_leads_with_its_audit_and_says_so_where_there_is_none(audit: Audit) -> None:
    plain = fabricate.study()
    assert "not run" in [card.word for card in verdicts.verdicts(plain)]
    result = dataclasses.replace(plain.result, audit=audit.result)
    content = dataclasses.replace(plain, result=result, evidence=evidence_view(audit))
    page = render(content)
    card = next(card for card in verdicts.verdicts(content) if card.title == "Evidence")
    assert card.word == "FAIL"
    assert "top left corner decides" in card.text
    looks = page[page.index('id="looks"') :]
    assert looks.index("The audit of its evidence") < looks.index("Where the score comes from")
    assert "The audit of its evidence" not in render(plain)


def test_an_audit_without_exchanges_says_why(audit: Audit) -> None:
    few = AuditFinding("few_pairs", "warn", numbers={"pairs": 3}, limit=30)
    none = dataclasses.replace(
        audit, result=of("INCONCLUSIVE", few, smallest=1.0), effects=(), swaps=None, left=None
    )
    page = render_audit(AuditInput("m", "d", "k", evidence_view(none), 6))
    assert "INCONCLUSIVE: these images do not allow a verdict." in page
    assert "Only 3 pairs of patients of different classes could be formed" in page
    assert "No region was exchanged." in page
    assert '<svg class="regions"' not in page


@pytest.mark.parametrize(
    ("points", "ranking", "enough", "outcome"),
    [
        ((0.13, 0.04, 0.24), 0.096, True, "decides"),
        ((0.02, -0.02, 0.07), 0.032, True, "decides"),  # by the order of the images
        ((0.13, 0.04, 0.24), 0.096, False, "undecided"),  # too few images of a class
        ((0.02, 0.01, 0.03), 0.001, True, ""),  # too small to matter
    ],
)
def test_no_region_decides_where_a_class_has_too_few_images(
    points: tuple[float, float, float], ranking: float, enough: bool, outcome: str
) -> None:
    estimate = Estimate(*points, 60, "by hand")
    effect = RegionEffect(
        "border ring", "suspect", "", estimate, ranking, 1.0, 0.001, 0.05, 60, enough
    )
    assert (effect.decides, effect.undecided) == (outcome == "decides", outcome == "undecided")
    found = about_regions([effect], {"border ring": ()})
    text = sentence(found[0])
    assert text.startswith("Too few images to say whether the border") == (outcome == "undecided")
    assert (" decides: it" in verdict_sentence(AuditResult("WARN", 0.05, tuple(found)))) == (
        outcome == "decides"
    )


@pytest.mark.parametrize(("enough", "check"), [(True, "region_against"), (False, UNDECIDED)])
def test_labels_that_follow_the_other_class_are_said_to_do_so(enough: bool, check: str) -> None:
    estimate = Estimate(-0.3, -0.4, -0.2, 60, "by hand")
    effect = RegionEffect(
        "border ring", "declared", "", estimate, -0.1, -1.0, 0.001, 0.05, 60, enough, against=True
    )
    (found,) = about_regions([effect], {"border ring": ()})
    assert (found.check, found.severity) == (check, "warn")
    assert "turns labels the other way round" in sentence(found)
    assert "30 in 100 images more the label of the other" in sentence(found)
    assert "20 to 40" in sentence(found)
    assert not effect.decides


def test_where_no_label_changed_the_page_says_so_instead_of_examples(audit: Audit) -> None:
    shown = dataclasses.replace(evidence_view(audit), exchanges=())
    assert evidence.section(shown)["strips_none"] == "the top left corner"
    assert evidence.section(evidence_view(audit))["strips_none"] == ""
