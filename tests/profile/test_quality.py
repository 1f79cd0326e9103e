"""Which pictures stand out, and which do not?"""

from __future__ import annotations

import numpy as np
import pytest

from medgraft.profile.image_stats import ImageStats, border_of, image_stats_of, pixel_hash
from medgraft.profile.quality import low, quality, suggest
from medgraft.types import Canvas, Finding, Geometry


def image_stats(n: int = 100, **changed: dict[int, float]) -> ImageStats:
    """n ordinary images, some numbers changed by row."""
    rng = np.random.default_rng(0)
    columns = {
        "clear": np.ones(n),
        "mean": rng.normal(120, 4, n),
        "spread": rng.normal(50, 3, n),
        "sharpness": rng.normal(6, 0.15, n),
        "dark": rng.uniform(0, 0.05, n),
        "bright": rng.uniform(0, 0.05, n),
        "border": np.full(n, 20.0),
        "height": np.full(n, 400.0),
        "width": np.full(n, 500.0),
    }
    for name, rows in changed.items():
        for row, value in rows.items():
            columns[name][row] = value
    ids = np.array([f"{i:03}" for i in range(n)])
    return ImageStats(
        ids=ids,
        hashes=np.zeros((n, 32), np.uint8),
        pixels=ids,
        **columns,
        surface=np.zeros((n, 20)),
    )


def found(seen: ImageStats) -> dict[str, Finding]:
    return {finding.check: finding for finding in quality(seen)}


def test_ordinary_images_give_no_finding() -> None:
    assert quality(image_stats()) == ()


@pytest.mark.parametrize(
    ("check", "column", "value"),
    [
        ("empty_images", "spread", 0.0),
        ("tiny_images", "height", 50.0),
        ("tiny_images", "width", 99.0),  # less than a quarter of what is usual
        ("blurred_images", "sharpness", 4.5),
        ("clipped_images", "dark", 0.6),
        ("clipped_images", "bright", 0.6),
        ("odd_brightness", "mean", 30.0),
        ("odd_brightness", "mean", 220.0),
    ],
)
def test_one_that_stands_out_is_named_for_it_alone(check: str, column: str, value: float) -> None:
    findings = found(image_stats(**{column: {7: value}}))
    assert set(findings) == {check}
    assert (findings[check].images, findings[check].severity) == (("007",), "warn")


def test_the_worst_comes_first_and_a_habit_is_no_outlier() -> None:
    two = found(image_stats(sharpness={3: 4.0, 9: 3.0}))["blurred_images"]
    assert two.images == ("009", "003")
    many = found(image_stats(sharpness=dict.fromkeys(range(3), 3.0)))["blurred_images"]
    assert (many.severity, many.numbers["share"]) == ("info", 0.03)


def test_far_is_measured_in_the_datas_own_spread() -> None:
    values = np.array([10.0, 10, 10, 10, 10, 9.5])
    among = np.ones(6, bool)
    assert not low(values, among, 1.0).any()  # no spread at all, and less than the least
    assert low(np.array([10.0, 10, 10, 10, 10, 8.5]), among, 1.0).tolist() == [False] * 5 + [True]
    wide = np.array([0.0, 10, 20, 30, 40, -70])  # median 15, deviation 1.4826 · 15
    assert not low(wide, among, 1.0).any()
    assert low(np.append(wide[:-1], -200), among, 1.0).tolist() == [False] * 5 + [True]


def test_data_of_tiny_or_few_images_is_taken_as_it_is() -> None:
    size = dict.fromkeys(range(100), 28.0)
    assert found(image_stats(height=size, width=size)) == {}
    assert found(image_stats(3, sharpness={0: 0.0})) == {}
    everything = image_stats(6, spread=dict.fromkeys(range(6), 0.0))
    assert found(everything)["empty_images"].numbers["images"] == 6
    assert {one.action for one in suggest(everything)} == {"exclude"}


def test_a_glance_measures_what_it_says() -> None:
    pixels = np.full((32, 64), 128, np.uint8)
    pixels[:, :16], pixels[:, 48:] = 0, 255
    geometry = Geometry.identity(32, 64)
    _, _, _, numbers, _ = image_stats_of(Canvas("", pixels, geometry))
    mean, spread, _, dark, bright, border, height, width = numbers
    assert (dark, bright, height, width) == (0.25, 0.25, 32, 64)
    assert mean == (0 + 128 + 128 + 255) / 4
    assert spread == pytest.approx(np.std([0, 128, 128, 255]))
    assert border == pytest.approx(border_of(pixels).mean())
    ring = np.zeros((32, 32), np.uint8)
    ring[2:-2, 2:-2] = 9
    assert set(border_of(ring)) == {0}
    assert len(border_of(ring)) == 32 * 32 - 28 * 28


def test_grey_stored_in_colour_is_the_same_picture() -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert pixel_hash(grey) == pixel_hash(np.repeat(grey[..., None], 3, axis=2))
    assert pixel_hash(grey) != pixel_hash(grey.reshape(4, 3))
