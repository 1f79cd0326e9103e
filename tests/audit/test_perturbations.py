from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pytest

from medgraft.audit.marks import Mark
from medgraft.audit.parts import Part
from medgraft.audit.perturbations import (
    Changed,
    Cleaned,
    Framed,
    check_perturbations,
    perturbations,
    try_perturbations,
)
from medgraft.audit.sample import sampled
from medgraft.errors import ScenarioError
from medgraft.report.text.audit_findings import sentence
from medgraft.types import Canvas, FeatureSpec, Geometry, ImageTable, Predictions, Source

SIDE = 100


@dataclass(frozen=True)
class Bright:
    """Calls an image bright by how far its mean, or its upper left pixel, is above 127.5."""

    gain: float = 0.2
    corner: bool = False
    classes: tuple[str, ...] = ("dark", "bright")
    positive: str = "bright"
    operating: None = None

    @property
    def spec(self) -> FeatureSpec:
        return FeatureSpec("none", "none", SIDE, ())

    def probabilities(self, canvases: Any) -> Any:
        level = [c.pixels[5:9, 5:9].mean() if self.corner else c.pixels.mean() for c in canvases]
        p = 1 / (1 + np.exp(-self.gain * (np.array(level) - 127.5)))
        return np.stack([1 - p, p], axis=1)


def part_of(fitted: Bright, levels: list[float], labels: list[int] | None = None) -> Part:
    n = len(levels)
    geometry = Geometry.identity(SIDE, SIDE)
    canvases = tuple(
        Canvas(f"i{i}", np.full((SIDE, SIDE), level, np.uint8), geometry)
        for i, level in enumerate(levels)
    )
    ids = np.array([c.id for c in canvases])
    blank = np.full(n, "")
    table = ImageTable(
        ids, (Source(""),) * n, ids, np.array(labels or [int(v > 127) for v in levels]), ids,
        blank, blank, fitted.classes, fitted.positive,
    )  # fmt: skip
    prob = fitted.probabilities(canvases)
    return Part(fitted, table, canvases, None, Predictions.of("bright", table, prob, prob))  # type: ignore[arg-type]


def test_labels_turn_where_the_classifier_reads_what_was_changed() -> None:
    # Half of the images lie 10 grey levels under the threshold and half far away: 20 brighter
    # turns just the first half, 20 darker nothing, and log odds move by 0.2 * 20 = 4.
    part = part_of(Bright(), [118.0] * 20 + [60.0] * 10 + [200.0] * 10)
    found = {c.trial.name: c for c in try_perturbations([part])}
    assert len(found) == len(perturbations()) == 17
    brighter, darker = found["made 20 grey levels brighter"], found["made 20 grey levels darker"]
    assert brighter.turned.value == 0.5
    assert brighter.turned.method == "Wilson"
    assert set(brighter.images) == {f"i{i}" for i in range(20)}
    assert (brighter.towards, darker.towards) == ("bright", "dark")
    # Log odds of the far images are cut at 1e-6, so only those in the middle move by exactly 4.
    assert darker.turned.value == 0
    near = part_of(Bright(), [118.0] * 10 + [137.0] * 10)
    shifts = {c.trial.name: c.shift for c in try_perturbations([near])}
    assert shifts["made 20 grey levels brighter"] == pytest.approx(4, abs=0.01)
    assert shifts["made 20 grey levels darker"] == pytest.approx(4, abs=0.01)


def test_a_mark_that_turns_labels_warns_and_a_change_of_the_whole_image_informs() -> None:
    near = part_of(Bright(), [118.0] * 25 + [200.0] * 25)
    *places, whole = check_perturbations([near], 0.05)
    assert {f.severity for f in places} <= {"warn"}
    assert whole.severity == "info"
    assert whole.reason == "whole image"
    assert whole.estimates["made 20 grey levels brighter"].value == 0.5
    rim = part_of(Bright(), [130.0] * 50)  # a black border of 4 % takes 20 grey levels of the mean
    marked = [f for f in check_perturbations([rim], 0.05) if f.severity == "warn"]
    assert "with a black border" in {f.numbers["change"] for f in marked}
    assert all("made 20" not in str(f.numbers["change"]) for f in marked)
    far = part_of(Bright(), [60.0] * 25 + [200.0] * 25)
    (finding,) = check_perturbations([far], 0.05)
    assert (finding.severity, finding.numbers["effect"]) == ("info", 0)
    assert (finding.reason, len(finding.names), finding.limit) == ("none turns", 17, 0.05)
    assert all(sentence(one) for one in (*places, whole, *marked, finding))


def test_a_mark_in_a_corner_is_seen_by_a_classifier_that_reads_one_corner() -> None:
    part = part_of(Bright(corner=True), [100.0] * 24 + [200.0] * 24)
    found = {c.trial.name: c for c in try_perturbations([part])}
    box = found["with a box in a corner"]
    # Each corner gets every fourth image; those of class dark that got the upper left one turn.
    assert 0 < box.turned.value < 0.5
    assert box.towards == "bright"
    assert all(int(i[1:]) < 24 for i in box.images)


def test_cleaning_takes_letters_away_and_leaves_a_plain_image_alone() -> None:
    plain = Canvas("a", np.full((128, 128), 60, np.uint8), Geometry.identity(128, 128))
    assert Cleaned()(plain) is plain
    lettered = Mark("text", 0.12, "top left corner", 1)(plain)
    assert (lettered.pixels != 60).sum() > 20
    np.testing.assert_allclose(Cleaned()(lettered).pixels, plain.pixels, atol=12)


def test_aspects_by_hand() -> None:
    ramp = np.tile(np.arange(100, dtype=np.uint8) + 50, (100, 1))
    canvas = Canvas("a", ramp, Geometry.identity(100, 100))
    np.testing.assert_array_equal(Changed("brightness", 20)(canvas).pixels, ramp + 20)
    wanted = np.rint((ramp - 99.5) * 0.8 + 99.5)
    np.testing.assert_array_equal(Changed("contrast", 0.8)(canvas).pixels, wanted)
    # A ramp of 1 a pixel that is stretched by 1.25 climbs 0.8 a pixel, about the same middle.
    wide = Changed("stretch", 1.25)(canvas).pixels.astype(float)
    np.testing.assert_allclose(
        wide[50, [10, 50, 90]], 99.5 + (np.array([10, 50, 90]) - 49.5) * 0.8, atol=1
    )
    # Stretched upwards, what does not depend on the row stays.
    np.testing.assert_allclose(Changed("stretch", 0.8)(canvas).pixels, ramp, atol=1)
    framed = Framed(0.1)(canvas).pixels
    assert (framed[:10] == 0).all()
    np.testing.assert_array_equal(framed[10:90, 10:90], ramp[10:90, 10:90])


@pytest.mark.parametrize("trial", perturbations(), ids=lambda trial: trial.name)
def test_edits_keep_shape_and_input_and_do_grey_as_equal_colours(trial: Any) -> None:
    grey = cv2.GaussianBlur(
        np.random.default_rng(0).integers(0, 256, (90, 90), np.uint8), (0, 0), 2
    )
    geometry = Geometry.identity(90, 90)
    for edit in trial.edits:
        before = grey.copy()
        one = edit(Canvas("a", grey, geometry)).pixels
        three = edit(Canvas("a", np.repeat(grey[..., None], 3, axis=2), geometry)).pixels
        np.testing.assert_array_equal(grey, before)
        assert one.shape == grey.shape
        assert three.dtype == np.uint8
        np.testing.assert_allclose(three, np.repeat(one[..., None], 3, axis=2), atol=3)


def test_keys_differ() -> None:
    keys = [edit.key for trial in perturbations() for edit in trial.edits]
    assert len(set(keys)) == len(keys)


def test_colours_stay_in_order_through_compression() -> None:
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 200
    out = Changed("compression", 80)(Canvas("a", red, Geometry.identity(32, 32))).pixels
    np.testing.assert_allclose(out.mean(axis=(0, 1)), [200, 0, 0], atol=3)


def test_an_aspect_that_does_not_exist() -> None:
    with pytest.raises(ScenarioError, match="no aspect 'hue' of an image; there are brightness"):
        Changed("hue", 1)  # type: ignore[arg-type]


def test_a_sample_has_classes_in_equal_shares_over_parts() -> None:
    first = part_of(Bright(), [100.0] * 30 + [200.0] * 5)
    second = part_of(Bright(), [100.0] * 30 + [200.0] * 5)
    drawn = sampled([first, second], 20, seed=1)
    labels = np.concatenate([part.table.labels for part in drawn])
    assert np.bincount(labels).tolist() == [10, 10]
    for part in drawn:
        assert [c.id for c in part.canvases] == part.table.ids.tolist() == part.said.ids.tolist()
    everything = sampled([first, second], 500)
    assert [len(part.table) for part in everything] == [35, 35]
