"""Canvases derived from a larger one: block means by hand, geometry, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from medgraft.data.augment import View
from medgraft.data.pixels.formats import Decoded
from medgraft.data.preprocess import CanvasRecipe, Clahe, derive, make_canvas, to_canvas, to_source
from medgraft.errors import ScenarioError
from medgraft.types import Box, Canvas, Geometry, Pixels, ResizeRule


def noise(*shape: int) -> Pixels:
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


def plain(pixels: Pixels) -> Canvas:
    return Canvas("a", pixels, Geometry.identity(*pixels.shape[:2]))


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_shrinking_by_a_whole_factor_is_the_mean_of_blocks(
    factor: int, channels: tuple[int, ...]
) -> None:
    pixels = noise(24 * factor, 24 * factor, *channels)
    small = derive(plain(pixels), 24).pixels
    means = pixels.reshape(24, factor, 24, factor, *channels).mean(axis=(1, 3))
    assert (small.shape, small.dtype) == ((24, 24, *channels), np.uint8)
    assert np.abs(small - means).max() <= 0.5 + 1e-6  # rounded once


def test_the_mean_is_kept_by_any_factor() -> None:
    pixels = noise(96, 96, 3)
    for size in (95, 64, 33, 7, 1):
        small = derive(plain(pixels), size).pixels
        np.testing.assert_allclose(small.mean((0, 1)), pixels.mean((0, 1)), atol=1.5)


def test_the_same_size_without_edits_changes_nothing() -> None:
    canvas = plain(noise(32, 32, 3))
    same = derive(canvas, 32)
    np.testing.assert_array_equal(same.pixels, canvas.pixels)
    assert (same.geometry, same.id) == (canvas.geometry, "a")


def test_edits_are_done_after_shrinking_in_order_and_the_base_stays_as_it_was() -> None:
    canvas = plain(noise(64, 64, 3))
    before = canvas.pixels.copy()
    found = derive(canvas, 32, (View("natural", 1), Clahe()))
    expected = Clahe()(View("natural", 1)(derive(canvas, 32)))
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    other = View("natural", 1)(Clahe()(derive(canvas, 32)))
    assert not np.array_equal(found.pixels, other.pixels)
    np.testing.assert_array_equal(canvas.pixels, before)


@pytest.mark.parametrize(
    ("rule", "shape", "content"),
    [
        ("squash", (40, 80), Box(0, 0, 32, 32)),
        ("pad", (40, 80), Box(8, 0, 16, 32)),
        ("pad", (80, 40), Box(0, 8, 32, 16)),
        ("crop", (40, 80), Box(0, 0, 32, 32)),
    ],
)
def test_geometry_follows_as_if_the_canvas_had_been_made_small(
    rule: ResizeRule, shape: tuple[int, int], content: Box
) -> None:
    decoded = Decoded(np.full((*shape, 3), 200, np.uint8), shape)
    base = make_canvas("a", decoded, CanvasRecipe(64, rule))
    derived = derive(base, 32)
    made = make_canvas("a", decoded, CanvasRecipe(32, rule))
    assert derived.geometry == made.geometry
    assert derived.geometry.content == content
    np.testing.assert_array_equal(derived.pixels, made.pixels)
    # Masks and maps find the way: what is drawn on the image lies in the derived content.
    mask = to_canvas(np.ones(shape, np.uint8), derived.geometry)
    np.testing.assert_array_equal(mask > 0, derived.pixels[..., 0] > 100)
    assert to_source(np.ones((32, 32), np.float32), derived.geometry).shape == shape


@pytest.mark.parametrize("shape", [(32, 32), (32, 64), (64, 32)])
def test_larger_than_the_base_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ScenarioError, match=rf"33 pixels .* from one of {shape[0]} x {shape[1]}"):
        derive(plain(noise(*shape)), 33)


def test_a_constant_image_stays_constant() -> None:
    for level in (0, 77, 255):
        canvas = plain(np.full((64, 64), level, np.uint8))
        assert set(np.unique(derive(canvas, 20).pixels)) == {level}
        assert len(np.unique(derive(canvas, 32, (Clahe(),)).pixels)) == 1
