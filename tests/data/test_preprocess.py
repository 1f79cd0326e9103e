"""Canvases, the geometry both ways, and CLAHE: numbers by hand, by Pillow, or by symmetry."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from medgraft.data.masks import read_mask
from medgraft.data.pixels.formats import Decoded
from medgraft.data.pixels.orientation import turn, unturn
from medgraft.data.pool.pool import DecodePool
from medgraft.data.preprocess import (
    CanvasRecipe,
    Clahe,
    edit_from_key,
    make_canvas,
    to_canvas,
    to_source,
)
from medgraft.errors import DataError, ScenarioError
from medgraft.types import Box, Canvas, Edit, Geometry, ResizeRule

ORIENTATIONS = range(1, 9)
RULES = get_args(ResizeRule)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def canvas_of(pixels: np.ndarray, size: int | tuple[int, int], rule: str = "squash") -> Canvas:
    return make_canvas("a", Decoded(pixels, pixels.shape[:2]), CanvasRecipe(size, rule))


# ------------------------------------------------------------------------ turning


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_turn_agrees_with_pillow(orientation: int) -> None:
    stored = noise(3, 5, 3)
    image = Image.fromarray(stored)
    image.getexif()[0x0112] = orientation
    np.testing.assert_array_equal(
        turn(stored, orientation), np.asarray(ImageOps.exif_transpose(image))
    )


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 3), (1, 1)])
def test_unturn_undoes_turn(orientation: int, shape: tuple[int, ...]) -> None:
    stored = noise(*shape)
    np.testing.assert_array_equal(unturn(turn(stored, orientation), orientation), stored)


def test_an_orientation_that_exif_does_not_know_is_refused() -> None:
    with pytest.raises(DataError, match="orientation 9"):
        turn(noise(2, 2), 9)


# ------------------------------------------------------------------------ make_canvas


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("shape", [(7, 7), (7, 7, 3)])
def test_what_fits_already_is_untouched(rule: str, shape: tuple[int, ...]) -> None:
    pixels = noise(*shape)
    canvas = canvas_of(pixels, 7, rule)
    np.testing.assert_array_equal(canvas.pixels, pixels)
    assert canvas.geometry == Geometry.identity(7, 7)


def test_shrinking_averages_areas() -> None:
    pixels = np.array([[0, 10, 100, 100], [20, 30, 100, 104]], np.uint8)
    canvas = canvas_of(pixels, (1, 2))
    assert canvas.pixels.tolist() == [[15, 101]]  # (0+10+20+30)/4, (100+100+100+104)/4


def test_an_axis_that_shrinks_is_averaged_even_when_the_other_grows() -> None:
    """20 columns to 3: each is the mean of 6 2/3 columns, which hold 2, 1 and 1 of the bright."""
    pixels = np.tile(np.array([[200, 0, 0, 0, 0]], np.uint8), (2, 4))
    assert canvas_of(pixels, (7, 3)).pixels.tolist() == [[60, 30, 30]] * 7


def test_enlarging_keeps_a_constant_and_clips_overshoot() -> None:
    assert np.unique(canvas_of(np.full((3, 3), 77, np.uint8), 10).pixels).tolist() == [77]
    edge = np.repeat(np.array([[0, 0, 255, 255]], np.uint8), 4, axis=0)
    large = canvas_of(edge, 32).pixels.astype(int)
    assert large[:, :8].max() < 128 < large[:, 24:].min()  # overshoot wrapped round would not


@pytest.mark.parametrize(
    ("rule", "crop", "content"),
    [
        ("squash", Box(0, 0, 100, 200), Box(0, 0, 50, 50)),
        ("crop", Box(0, 50, 100, 100), Box(0, 0, 50, 50)),
        ("pad", Box(0, 0, 100, 200), Box(12, 0, 25, 50)),  # (50 - 25) // 2 = 12
    ],
)
def test_geometry_of_each_rule(rule: str, crop: Box, content: Box) -> None:
    canvas = canvas_of(np.full((100, 200), 255, np.uint8), 50, rule)
    assert canvas.geometry == Geometry((100, 200), 1, crop, (50, 50), content)
    picture = np.zeros((50, 50), np.uint8)
    picture[content.top : content.top + content.height] = 255
    np.testing.assert_array_equal(canvas.pixels, picture)


def test_crop_to_a_canvas_that_is_not_square_keeps_its_aspect() -> None:
    # 100 x 200 to 60 x 30 (height x width): the largest 2:1 part is 100 high and 50 wide.
    assert canvas_of(noise(100, 200), (60, 30), "crop").geometry.crop == Box(0, 75, 100, 50)


def test_crop_of_a_reduced_decoding_is_that_of_the_full_image() -> None:
    full = np.zeros((800, 1600), np.uint8)
    full[:, 400:1200] = 200
    recipe = CanvasRecipe(100, "crop")
    reduced = make_canvas("a", Decoded(full[::4, ::4].copy(), (800, 1600)), recipe)
    assert reduced.geometry == make_canvas("a", Decoded(full, (800, 1600)), recipe).geometry
    assert np.unique(reduced.pixels).tolist() == [200]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("shape", [(1, 20_000), (20_000, 1), (1, 1), (1, 20_000, 3), (3, 2)])
def test_extreme_shapes(rule: str, shape: tuple[int, ...]) -> None:
    canvas = canvas_of(np.full(shape, 9, np.uint8), 224, rule)
    assert canvas.pixels.shape == (224, 224, *shape[2:])
    assert canvas.pixels.max() == 9
    back = to_source(np.ones((224, 224), np.float32), canvas.geometry)
    assert back.shape == shape[:2]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_turned_image_makes_the_canvas_of_the_upright_one(rule: str, orientation: int) -> None:
    upright = noise(40, 60)
    stored = unturn(upright, orientation)
    turned = make_canvas(
        "a", Decoded(turn(stored, orientation), stored.shape, orientation), CanvasRecipe(16, rule)
    )
    np.testing.assert_array_equal(turned.pixels, canvas_of(upright, 16, rule).pixels)
    assert turned.geometry.source == stored.shape


def test_the_input_is_not_changed_and_not_aliased_by_edits() -> None:
    pixels = noise(16, 16)
    before = pixels.copy()
    make_canvas("a", Decoded(pixels, (16, 16)), CanvasRecipe(16, edits=(Clahe(),)))
    np.testing.assert_array_equal(pixels, before)


@pytest.mark.parametrize("size", [0, -3, (0, 5)])
def test_an_impossible_size_is_refused(size: int | tuple[int, int]) -> None:
    with pytest.raises(ScenarioError, match="below 1"):
        CanvasRecipe(size)


def test_an_unknown_resize_rule_is_refused() -> None:
    with pytest.raises(ScenarioError, match="squash, crop, pad"):
        CanvasRecipe(4, "stretch")


# ------------------------------------------------------------------------ both ways


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_mask_lies_on_what_it_marks(orientation: int) -> None:
    """A bright square, drawn and masked on the stored image, is the bright part of the canvas."""
    stored = np.zeros((80, 120), np.uint8)
    stored[8:32, 64:104] = 255
    for rule in RULES:
        canvas = make_canvas(
            "a",
            Decoded(turn(stored, orientation), stored.shape, orientation),
            CanvasRecipe(40, rule),
        )
        mask = to_canvas(stored > 0, canvas.geometry)
        assert mask.dtype == bool
        disagreement = (mask != (canvas.pixels > 127)).mean()
        assert disagreement < 0.03, (rule, orientation)
        assert mask.any()


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("size", [(80, 120), (96, 96)])
def test_a_mask_that_kept_its_images_tag_lies_there_too(
    orientation: int, size: tuple[int, int], tmp_path: Path
) -> None:
    """Drawn on the image as stored, and written with the camera's orientation or without it."""
    drawn = np.zeros(size, np.uint8)
    drawn[8:32, 64:90] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(drawn).save(tmp_path / "plain.png")
    Image.fromarray(drawn).save(tmp_path / "tagged.png", exif=exif)
    image = Decoded(turn(drawn, orientation), size, orientation)
    geometry = make_canvas("a", image, CanvasRecipe(40)).geometry
    with DecodePool(1) as pool:
        plain, tagged = (
            read_mask(str(tmp_path / f"{name}.png"), geometry, pool) for name in ("plain", "tagged")
        )
    assert plain.any()
    np.testing.assert_array_equal(tagged, plain)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_mask_with_its_tag_lies_on_an_image_that_was_stored_anew_upright(
    orientation: int, tmp_path: Path
) -> None:
    drawn = np.zeros((96, 96), np.uint8)
    drawn[8:32, 64:90] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(drawn).save(tmp_path / "tagged.png", exif=exif)
    upright = turn(drawn, orientation)
    geometry = make_canvas("a", Decoded(upright, (96, 96)), CanvasRecipe(40)).geometry
    with DecodePool(1) as pool:
        mask = read_mask(str(tmp_path / "tagged.png"), geometry, pool)
    np.testing.assert_array_equal(mask, to_canvas((upright > 0).astype(np.uint8), geometry) > 0)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("rule", RULES)
def test_a_spot_on_the_canvas_goes_back_to_where_it_came_from(rule: str, orientation: int) -> None:
    stored = np.zeros((64, 96), np.float32)
    stored[24:32, 40:48] = 1  # inside the part that `crop` keeps, of every turn
    geometry = make_canvas(
        "a",
        Decoded(turn(stored, orientation).astype(np.uint8), stored.shape, orientation),
        CanvasRecipe(32, rule),
    ).geometry
    back = to_source(to_canvas(stored, geometry, nearest=False), geometry)
    assert back.shape == stored.shape
    centre = np.argwhere(back > 0.5 * back.max()).mean(axis=0)
    np.testing.assert_allclose(centre, (27.5, 43.5), atol=2.5)


def test_identity_does_nothing_both_ways() -> None:
    values = np.random.default_rng(0).random((5, 6)).astype(np.float32)
    geometry = Geometry.identity(5, 6)
    np.testing.assert_array_equal(to_canvas(values, geometry), values)
    np.testing.assert_array_equal(to_canvas(values, geometry, nearest=False), values)
    np.testing.assert_array_equal(to_source(values, geometry), values)


def test_nearest_takes_the_value_at_the_centre_and_keeps_the_type() -> None:
    labels = np.array([[1, 2, 3, 4, 5, 6]], np.int64)
    geometry = Geometry((1, 6), 1, Box(0, 0, 1, 6), (1, 2), Box(0, 0, 1, 2))
    assert to_canvas(labels, geometry).tolist() == [[2, 5]]  # centres at 1.5 and 4.5 of 0..6
    assert to_canvas(labels, geometry).dtype == np.int64
    large = Geometry((1, 2), 1, Box(0, 0, 1, 2), (1, 6), Box(0, 0, 1, 6))
    assert to_canvas(np.array([[7, 9]]), large).tolist() == [[7, 7, 7, 9, 9, 9]]


def test_what_was_cropped_away_or_padded_has_no_heat() -> None:
    cropped = canvas_of(noise(10, 30), 10, "crop").geometry
    heat = to_source(np.ones((10, 10), np.float32), cropped)
    assert heat.sum() == 100
    assert heat[:, 10:20].min() == 1
    padded = canvas_of(noise(10, 30), 30, "pad").geometry
    heat = np.zeros((30, 30), np.float32)
    heat[:10] = 5  # on the upper bar only
    assert to_source(heat, padded).max() == 0
    assert to_canvas(np.ones((10, 30)), padded).sum() == 300


def test_a_mask_or_map_of_another_size_is_refused() -> None:
    geometry = Geometry.identity(4, 6)
    with pytest.raises(DataError, match="does not fit 4 x 6"):
        to_canvas(np.zeros((6, 4)), geometry)
    with pytest.raises(DataError, match="7 x 7"):
        to_source(np.zeros((7, 7)), geometry)


@settings(max_examples=120, deadline=None)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    rule=st.sampled_from(RULES),
    orientation=st.sampled_from(ORIENTATIONS),
)
def test_any_geometry_is_sound(
    height: int, width: int, size: tuple[int, int], rule: ResizeRule, orientation: int
) -> None:
    stored = noise(height, width)
    decoded = Decoded(turn(stored, orientation), (height, width), orientation)
    canvas = make_canvas("a", decoded, CanvasRecipe(size, rule))
    crop, content = canvas.geometry.crop, canvas.geometry.content
    assert canvas.pixels.shape == size
    assert canvas.pixels.flags.c_contiguous
    rows, columns = decoded.pixels.shape
    for box, outer_rows, outer_columns in ((crop, rows, columns), (content, *size)):
        assert 0 <= box.top <= box.top + box.height <= outer_rows
        assert 0 <= box.left <= box.left + box.width <= outer_columns
        assert min(box.height, box.width) >= 1
    assert to_canvas(stored, canvas.geometry).shape == size
    heat = to_source(np.ones(size, np.float32), canvas.geometry)
    assert heat.shape == (height, width)
    assert heat.sum() == pytest.approx(crop.height * crop.width)
    whole = to_canvas(np.ones((height, width), np.uint8), canvas.geometry)
    assert whole.sum() == content.height * content.width


# ------------------------------------------------------------------------ CLAHE


def test_clahe_is_opencvs_on_grey_and_keeps_the_rest() -> None:
    canvas = canvas_of(noise(40, 40), 40)
    before = canvas.pixels.copy()
    edited = Clahe(3.0, 4)(canvas)
    expected = cv2.createCLAHE(3.0, (4, 4)).apply(before)
    np.testing.assert_array_equal(edited.pixels, expected)
    np.testing.assert_array_equal(canvas.pixels, before)
    assert (edited.id, edited.geometry) == (canvas.id, canvas.geometry)


def test_clahe_multiplies_a_faint_contrast_by_its_clip_limit() -> None:
    """One tile, 21 of 256 levels in use: each may rise by `clip` times the mean height, and what
    was clipped off, 1 - 21 * 2 / 256, is spread over all levels: a gain of 2 + 0.84."""
    faint = np.tile(np.repeat(np.arange(100, 121, dtype=np.uint8), 10), (210, 1))
    edited = Clahe(2.0, 1)(canvas_of(faint, 210)).pixels
    assert np.ptp(edited) / np.ptp(faint) == pytest.approx(2.84, abs=0.1)


def test_clahe_of_grey_in_three_channels_is_that_of_grey() -> None:
    grey = noise(32, 32)
    coloured = Clahe()(canvas_of(np.repeat(grey[..., None], 3, axis=2), 32)).pixels
    for channel in range(3):
        np.testing.assert_array_equal(coloured[..., channel], Clahe()(canvas_of(grey, 32)).pixels)


def test_clahe_of_colour_changes_lightness_and_hardly_hue() -> None:
    ramp = np.tile(np.linspace(80, 95, 64), (64, 1))
    reddish = np.stack([ramp * 1.5, ramp, ramp], axis=2).astype(np.uint8)
    edited = Clahe(2.0, 1)(canvas_of(reddish, 64)).pixels
    before = cv2.cvtColor(reddish, cv2.COLOR_RGB2LAB).astype(int)
    after = cv2.cvtColor(edited, cv2.COLOR_RGB2LAB).astype(int)
    assert after[..., 0].std() > 1.8 * before[..., 0].std()
    assert np.abs(after[..., 1:] - before[..., 1:]).mean() < 3


@pytest.mark.parametrize("level", [0, 50, 255])
@pytest.mark.parametrize(
    ("shape", "tiles"), [((2, 2), 1), ((16, 20), 8), ((17, 16, 3), 8), ((224, 224), 7)]
)
def test_clahe_keeps_a_constant_canvas_constant(
    shape: tuple[int, ...], tiles: int, level: int
) -> None:
    edited = Clahe(2, tiles)(canvas_of(np.full(shape, level, np.uint8), shape[:2])).pixels
    assert edited.shape == shape
    assert len(np.unique(edited)) == 1


@pytest.mark.parametrize("level", [0, 130, 255])
@pytest.mark.parametrize("shape", [(1, 1), (1, 20_000), (20_000, 1, 3)])
def test_clahe_of_an_absurd_source_that_became_a_canvas(shape: tuple[int, ...], level: int) -> None:
    for pixels in (np.full(shape, level, np.uint8), noise(*shape)):
        edited = Clahe()(canvas_of(pixels, 64)).pixels
        assert edited.shape == (64, 64, *shape[2:])
        if pixels.min() == pixels.max():
            assert edited.min() == edited.max()


@pytest.mark.parametrize("shape", [(1, 1), (15, 64), (64, 15, 3)])
def test_clahe_with_tiles_of_one_pixel_is_refused(shape: tuple[int, ...]) -> None:
    """A tile of one pixel is equalised to white, whatever it was."""
    canvas = canvas_of(noise(*shape), shape[:2])
    with pytest.raises(ScenarioError, match=rf"clahe2-8 .* {shape[0]} x {shape[1]} .* 16 pixels"):
        Clahe()(canvas)


def test_clahe_in_one_tile_without_clip_is_histogram_equalisation_by_hand() -> None:
    """Of 4 pixels 1 is at most 10, 3 at most 20 and 4 at most 30: 255 * (1/4, 3/4, 1)."""
    edited = Clahe(256, 1)(canvas_of(np.array([[10, 20], [20, 30]], np.uint8), 2)).pixels
    np.testing.assert_array_equal(edited, [[64, 191], [191, 255]])


@pytest.mark.parametrize("clip", [256, 1e8, 1e300])
def test_clahe_without_clip_is_the_cumulative_share_however_large_the_clip(clip: float) -> None:
    """OpenCV overflows for a clip near 1e8, and then clips almost everything."""
    pixels = (noise(64, 64) // 8 + 100).astype(np.uint8)
    share = np.cumsum(np.bincount(pixels.ravel(), minlength=256)) / pixels.size
    edited = Clahe(clip, 1)(canvas_of(pixels, 64)).pixels
    np.testing.assert_allclose(edited, 255 * share[pixels], atol=0.51)


@pytest.mark.parametrize("tiles", [1, 4])
def test_clahe_scales_with_the_image(tiles: int) -> None:
    """Each pixel made four: larger tiles, the same contrast, but for half a pixel in the blend."""
    field = cv2.resize(noise(9, 9), (128, 128), interpolation=cv2.INTER_CUBIC)
    larger = field.repeat(2, axis=0).repeat(2, axis=1)
    small = Clahe(2, tiles)(canvas_of(field, 128)).pixels.repeat(2, axis=0).repeat(2, axis=1)
    large = Clahe(2, tiles)(canvas_of(larger, 256)).pixels
    with_tiles_of_equal_pixels = Clahe(2, 2 * tiles)(canvas_of(larger, 256)).pixels
    gap = np.abs(large - small.astype(float)).mean()
    assert gap < 4
    assert np.abs(with_tiles_of_equal_pixels - small.astype(float)).mean() > 3 * gap


def test_clahe_in_many_threads_gives_the_same() -> None:
    canvas = canvas_of(noise(96, 96), 96)
    expected, found = Clahe()(canvas).pixels, []
    threads = [
        threading.Thread(target=lambda: found.extend(Clahe()(canvas).pixels for _ in range(20)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 80
    assert all((each == expected).all() for each in found)


@given(
    st.floats(0, 1e6, exclude_min=True, allow_nan=False),
    st.integers(1, 64),
)
def test_an_edits_key_makes_the_edit_again(clip: float, tiles: int) -> None:
    edit = Clahe(clip, tiles)
    assert edit_from_key(edit.key) == edit
    assert isinstance(edit, Edit)


def test_keys_by_hand() -> None:
    assert Clahe().key == "clahe2-8"
    assert Clahe(0.5, 4).key == "clahe0.5-4"
    assert edit_from_key("clahe") == Clahe()


@pytest.mark.parametrize("key", ["", "clahe2", "clahe2-", "raw", "CLAHE2-8", "clahe-1-8"])
def test_an_unknown_edit_names_those_that_exist(key: str) -> None:
    with pytest.raises(ScenarioError, match="clahe2-8"):
        edit_from_key(key)


@pytest.mark.parametrize(("clip", "tiles"), [(0, 8), (float("inf"), 8), (2.0, 0)])
def test_clahe_with_senseless_numbers_is_refused(clip: float, tiles: int) -> None:
    with pytest.raises(ScenarioError, match="makes no sense"):
        Clahe(clip, tiles)
