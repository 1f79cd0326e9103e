"""Augmented views: what is drawn by content and seed, what is exact, what a preset never does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgraft.data import augment
from medgraft.data.augment import (
    PRESETS,
    SYMMETRIES,
    Draw,
    Preset,
    View,
    apply,
    draw,
    preset_for,
    views,
)
from medgraft.data.preprocess import edit_from_key
from medgraft.errors import ScenarioError
from medgraft.types import Canvas, Edit, Geometry

NAMES = sorted(PRESETS)


def canvas_of(pixels: np.ndarray, id: str = "a") -> Canvas:
    return Canvas(id, pixels, Geometry.identity(*pixels.shape[:2]))


def field(*shape: int, seed: int = 0) -> np.ndarray:
    """A smooth random picture."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, *shape[2:]), dtype=np.uint8)
    return cv2.resize(coarse, shape[1::-1], interpolation=cv2.INTER_LINEAR)


def by_hand(name: str, pixels: np.ndarray) -> np.ndarray:
    """Each symmetry as indices: new row and column from old, written out."""
    swapped = pixels.swapaxes(0, 1)
    return {
        "quarter turn left": swapped[::-1],  # what was on the right is on top
        "half turn": pixels[::-1, ::-1],
        "quarter turn right": swapped[:, ::-1],  # what was on the left is on top
        "mirrored left-right": pixels[:, ::-1],
        "mirrored top-bottom": pixels[::-1],
        "mirrored, quarter turn left": swapped,  # left-right first, so left is on top, transposed
        "mirrored, quarter turn right": swapped[::-1, ::-1],
    }[name]


# ------------------------------------------------------------------------ keys


@given(st.sampled_from(NAMES), st.integers(0, augment.LARGEST), st.integers(0, augment.LARGEST))
def test_a_views_key_makes_the_view_again(preset: str, number: int, seed: int) -> None:
    view = View(preset, number, seed)
    assert edit_from_key(view.key) == view
    assert isinstance(view, Edit)


def test_keys_by_hand() -> None:
    assert View("xray", 3).key == "xray.v3"
    assert View("xray", 3, 7).key == "xray.v3.s7"
    assert edit_from_key("natural.v12.s0") == View("natural", 12)


@pytest.mark.parametrize("key", ["ct.v1", "xray.v", "xray.v-1", "xray.v1.s", "xray.v" + "9" * 5000])
def test_a_key_of_no_view_is_refused(key: str) -> None:
    with pytest.raises(ScenarioError, match="xray"):
        edit_from_key(key)


@pytest.mark.parametrize(("number", "seed"), [(-1, 0), (0, -1), (2**63, 0), (0, 2**63)])
def test_senseless_numbers_are_refused(number: int, seed: int) -> None:
    with pytest.raises(ScenarioError, match="makes no sense"):
        View("xray", number, seed)


def test_presets_by_modality() -> None:
    for modality in ("xray", "microscopy", "endoscopy", "natural"):
        assert preset_for(modality) in PRESETS
    with pytest.raises(ScenarioError, match=r"'mri'.*xray"):
        preset_for("mri")
    with pytest.raises(TypeError):
        PRESETS["xray"] = Preset("")  # type: ignore[index]


def test_views_start_with_the_image_itself() -> None:
    assert views("xray", 3, 5) == (View("xray", 0, 5), View("xray", 1, 5), View("xray", 2, 5))
    with pytest.raises(ScenarioError, match="ask for 1"):
        views("xray", 0)


# ------------------------------------------------------------------------ what is drawn


@pytest.mark.parametrize("preset", NAMES)
def test_view_0_is_the_image(preset: str) -> None:
    pixels = field(32, 32, 3)
    np.testing.assert_array_equal(View(preset, 0, 9)(canvas_of(pixels)).pixels, pixels)
    assert draw(View(preset, 0, 9), pixels) == Draw()


@pytest.mark.parametrize("preset", NAMES)
def test_the_same_pixels_get_the_same_view_whatever_they_are_called(preset: str) -> None:
    pixels = field(48, 48, 3)
    for view in views(preset, 12, 3):
        one, other = view(canvas_of(pixels)), view(canvas_of(pixels.copy(), "other/name.png"))
        np.testing.assert_array_equal(one.pixels, other.pixels)
        assert other.id == "other/name.png"


@pytest.mark.parametrize("preset", NAMES)
def test_numbers_seeds_presets_and_contents_differ(preset: str) -> None:
    pixels = field(48, 48, 3)
    free = len(PRESETS[preset].symmetries) + 1
    drawn = [
        draw(View(preset, number, seed), pixels) for number in (free, free + 1) for seed in (0, 1)
    ]
    drawn.append(draw(View(preset, free), field(48, 48, 3, seed=1)))
    changed = pixels.copy()
    changed[0, 0, 0] ^= 1  # one bit is another image
    drawn.append(draw(View(preset, free), changed))
    assert len(set(drawn)) == len(drawn)


def test_the_first_views_are_the_symmetries_each_once_in_the_images_own_order() -> None:
    orders = []
    for seed in range(20):
        pixels = field(24, 24, seed=seed)
        drawn = [draw(view, pixels) for view in views("microscopy", 8)[1:]]
        assert sorted(one.symmetry for one in drawn) == sorted(SYMMETRIES)
        assert all(replace(one, symmetry="") == Draw() for one in drawn)
        orders.append(tuple(one.symmetry for one in drawn))
    assert len(set(orders)) > 10


def test_what_is_not_square_is_not_given_quarter_turns() -> None:
    pixels = field(20, 30)
    for number in range(1, 30):
        drawn = draw(View("endoscopy", number), pixels)
        assert "quarter" not in drawn.symmetry
        assert View("endoscopy", number)(canvas_of(pixels)).pixels.shape == (20, 30)
    first = {draw(View("endoscopy", number), pixels).symmetry for number in (1, 2, 3)}
    assert first == {"half turn", "mirrored left-right", "mirrored top-bottom"}


@pytest.mark.parametrize("preset", NAMES)
def test_draws_keep_to_the_table_and_fill_it(preset: str) -> None:
    """400 draws: none leaves its range, and their extremes come within a tenth of its ends."""
    table = PRESETS[preset]
    pixels = field(16, 16, 3)
    drawn = [draw(View(preset, number), pixels) for number in range(8, 408)]
    limits = {name: getattr(table, name) for name in ("zoom", "brightness", "contrast", "gamma")}
    limits |= {"saturation": table.saturation, "turn": (-table.turn, table.turn)}
    others = {"symmetry", "shift", "tint", "black", "aspect", "detail", "noise", "boxes", "seed"}
    assert {*limits, *others} == {one.name for one in fields(Draw)}
    for name, (low, high) in limits.items():
        values = [getattr(one, name) for one in drawn]
        assert low <= min(values) <= low + (high - low) / 10
        assert high - (high - low) / 10 <= max(values) <= high
        assert np.mean(values) == pytest.approx((low + high) / 2, abs=(high - low) / 10)
    for one in drawn:
        room = (one.zoom - 1) / 2 + 1e-12 if table.inside else table.shift
        assert max(map(abs, one.shift)) <= min(room, table.shift)
        assert max(abs(factor - 1) for factor in one.tint) <= table.tint + 1e-12
        assert one.symmetry in ("", *table.symmetries)
        assert one.black == table.black
        assert 1 / table.aspect - 1e-12 <= one.aspect <= table.aspect + 1e-12
        assert 0 <= one.noise <= table.noise
        assert one.detail == 1  # a picture of 16 pixels has none to lose
        assert len(one.boxes) <= table.boxes
        for top, left, height, width in one.boxes:
            assert 0.05 <= min(height, width) <= max(height, width) <= table.box
            assert 0 <= min(top, left) <= max(top + height, left + width) <= 1
    assert max(one.aspect for one in drawn) >= table.aspect**0.9
    assert max(one.noise for one in drawn) >= 0.9 * table.noise
    assert {len(one.boxes) for one in drawn} == set(range(table.boxes + 1))
    assert {one.symmetry for one in drawn} == {"", *table.symmetries}


# ------------------------------------------------------------------------ what is done


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 3), (5, 5, 3)])
@pytest.mark.parametrize("name", SYMMETRIES)
def test_a_symmetry_is_the_permutation_written_out(name: str, shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    np.testing.assert_array_equal(apply(Draw(name), pixels), by_hand(name, pixels))


def test_views_1_to_7_are_permutations_of_the_pixels_no_two_alike() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    seen = {view(canvas_of(pixels)).pixels.tobytes() for view in views("microscopy", 8)}
    assert seen == {pixels.tobytes(), *(by_hand(name, pixels).tobytes() for name in SYMMETRIES)}
    assert len(seen) == 8


def test_a_turn_by_90_degrees_is_the_quarter_turn() -> None:
    pixels = field(31, 31)
    turned = apply(Draw(turn=90), pixels)
    np.testing.assert_allclose(turned, by_hand("quarter turn left", pixels), atol=1)


def test_a_shift_by_whole_pixels_moves_them_and_reflects_the_edge() -> None:
    pixels = np.arange(20, dtype=np.uint8).reshape(4, 5)
    moved = apply(Draw(shift=(0.25, -0.2)), pixels)  # one down, one to the left
    np.testing.assert_array_equal(moved[1:, :-1], pixels[:-1, 1:])
    np.testing.assert_array_equal(moved[0, :-1], pixels[1, 1:])
    np.testing.assert_array_equal(moved[1:, -1], pixels[:-1, -2])


def test_a_zoom_of_2_shows_the_middle_half() -> None:
    ramp = np.tile(np.arange(0, 160, 4, dtype=np.uint8), (40, 1))  # 4 a column; 2 once enlarged
    across = apply(Draw(zoom=2), ramp).astype(int)
    assert np.ptp(across[:, 0]) == 0
    assert np.abs(np.diff(across[0]) - 2).max() <= 1
    assert across[0].mean() == pytest.approx(ramp.mean(), abs=1)
    assert np.ptp(across) == pytest.approx(np.ptp(ramp) / 2, abs=2)


def test_a_natural_view_never_looks_past_the_edge() -> None:
    """Only the outermost ring is dark: enlarged, it may be seen at an edge, but not what reflects
    it: nothing dark lies further inside than the ring, enlarged, is wide."""
    pixels = np.full((40, 40), 200, np.uint8)
    pixels[[0, -1]] = pixels[:, [0, -1]] = 0
    for number in range(2, 80):
        view = View("natural", number)
        drawn = draw(view, pixels)
        seen = apply(Draw(zoom=drawn.zoom, shift=drawn.shift), pixels)
        wide = int(np.ceil(1.5 * drawn.zoom))
        assert (seen[wide:-wide, wide:-wide] == 200).all()
    past = apply(Draw(zoom=1.0, shift=(0.2, 0.0)), pixels)
    assert (past[2:-2, 2:-2] < 100).any()  # the test can see it


@pytest.mark.parametrize("number", range(1, 40))
def test_an_xray_view_never_mirrors_nor_lies_down(number: int) -> None:
    """A mark a quarter from the left and from the top stays in that quarter of the picture."""
    pixels = field(64, 64) // 4
    pixels[12:20, 12:20] = 255
    seen = View("xray", number, 5)(canvas_of(pixels)).pixels
    rows, columns = np.nonzero(seen > 150)
    assert len(rows) > 30
    assert rows.max() < 32
    assert columns.max() < 32


def test_light_by_hand() -> None:
    """Grey 51, 102, 153 are .2, .4, .6 and their mean .4."""
    pixels = np.array([[51, 102, 153]], np.uint8)
    assert apply(Draw(brightness=1.2), pixels).tolist() == [[61, 122, 184]]  # .24, .48, .72
    assert apply(Draw(contrast=0.8), pixels).tolist() == [[61, 102, 143]]  # .24, .4, .56
    assert apply(Draw(gamma=2.0), pixels).tolist() == [[10, 41, 92]]  # .04, .16, .36
    assert apply(Draw(brightness=3.0), pixels).tolist() == [[153, 255, 255]]  # clipped at white


def test_colour_by_hand() -> None:
    pixels = np.array([[[100, 150, 200]]], np.uint8)
    assert apply(Draw(tint=(1.1, 1.0, 0.9)), pixels).tolist() == [[[110, 150, 180]]]
    luminance = 0.299 * 100 + 0.587 * 150 + 0.114 * 200  # 140.75
    gone = apply(Draw(saturation=0.0), pixels)
    assert gone.tolist() == [[[round(luminance)] * 3]]
    half = apply(Draw(saturation=0.5), pixels)
    np.testing.assert_allclose(half[0, 0], (np.array([100, 150, 200]) + luminance) / 2, atol=0.5)


@pytest.mark.parametrize("preset", [name for name in NAMES if not PRESETS[name].noise])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_constant_image_stays_constant_and_within_its_range(preset: str, level: int) -> None:
    """In its middle half at least, for past the edge of an endoscopic picture all is black."""
    table = PRESETS[preset]
    for number in range(1, 30):
        seen = View(preset, number)(canvas_of(np.full((24, 24), level, np.uint8))).pixels[
            6:-6, 6:-6
        ]
        assert len(np.unique(seen)) == 1
        low, high = (255 * (level / 255) ** gamma for gamma in table.gamma[::-1])
        assert low * table.brightness[0] - 1 <= seen[0, 0]
        assert seen[0, 0] <= min(high * table.brightness[1], 255) + 1


def test_detail_is_lost_down_to_the_pixels_that_the_preset_leaves() -> None:
    pixels = field(96, 96, 3)
    shares = [draw(View("strong", number), pixels).detail for number in range(8, 408)]
    least = PRESETS["strong"].detail / 96
    assert least <= min(shares) <= least + 0.05
    assert 0.95 <= max(shares) <= 1
    assert np.mean(shares) == pytest.approx((1 + least) / 2, abs=0.03)
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255  # all its detail is finer than half
    seen = apply(Draw(detail=0.5), board.astype(np.uint8))
    assert np.abs(seen.astype(int) - 127.5).max() <= 1


def test_noise_has_its_deviation_and_its_seed_and_boxes_hold_the_mean() -> None:
    flat = np.full((64, 64, 3), 100, np.uint8)
    seen = apply(Draw(noise=0.04, seed=5), flat)
    assert seen.std() == pytest.approx(0.04 * 255, rel=0.1)
    assert (seen[..., 0] == seen[..., 2]).all()
    np.testing.assert_array_equal(seen, apply(Draw(noise=0.04, seed=5), flat))
    assert (seen != apply(Draw(noise=0.04, seed=6), flat)).any()
    halves = np.zeros((8, 8), np.uint8)
    halves[:, 4:] = 200
    covered = apply(Draw(boxes=((0.25, 0.5, 0.5, 0.25),)), halves)
    assert (covered[2:6, 4:6] == 100).all()
    covered[2:6, 4:6] = 200
    np.testing.assert_array_equal(covered, halves)


def test_an_aspect_of_two_shows_the_middle_half_across() -> None:
    ramp = np.tile(np.arange(0, 160, 4, dtype=np.uint8), (40, 1))
    across = apply(Draw(aspect=2), ramp).astype(int)
    assert np.abs(np.diff(across[0]) - 2).max() <= 1
    assert np.ptp(apply(Draw(aspect=2), ramp.T.copy()).astype(int)) == np.ptp(ramp)


def test_black_around_an_endoscopic_picture_stays_black() -> None:
    pixels = field(96, 96, 3) // 2 + 60
    rows, columns = np.indices((96, 96)) - 47.5
    pixels[rows**2 + columns**2 > 44**2] = 0
    for number in range(8, 40):
        seen = View("endoscopy", number)(canvas_of(pixels)).pixels
        zoom = draw(View("endoscopy", number), pixels).zoom
        outside = rows**2 + columns**2 > (44 * zoom + 2) ** 2
        assert (seen[outside] == 0).all()


# ------------------------------------------------------------------------ as every edit


@pytest.mark.parametrize("preset", NAMES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 7, 3), (2, 2, 3), (33, 47), (40, 40, 3)])
def test_a_view_keeps_size_id_and_geometry_and_its_input(
    preset: str, shape: tuple[int, ...]
) -> None:
    canvas = canvas_of(np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8))
    before = canvas.pixels.copy()
    canvas.pixels.flags.writeable = False
    for view in views(preset, 12):
        seen = view(canvas)
        assert seen.pixels.shape == shape
        assert seen.pixels.dtype == np.uint8
        assert seen.pixels.flags.c_contiguous
        assert (seen.id, seen.geometry) == (canvas.id, canvas.geometry)
        np.testing.assert_array_equal(canvas.pixels, before)
        if view.number:
            assert not np.shares_memory(seen.pixels, canvas.pixels)
            assert seen.pixels.flags.writeable


@pytest.mark.parametrize("preset", NAMES)
def test_grey_stays_grey_in_one_plane_or_three(preset: str) -> None:
    grey = field(40, 40)
    threefold = np.repeat(grey[..., None], 3, axis=2)
    for view in views(preset, 12):
        seen = view(canvas_of(threefold)).pixels
        for channel in range(3):
            np.testing.assert_array_equal(seen[..., channel], view(canvas_of(grey)).pixels)


def test_eight_threads_see_the_same() -> None:
    pictures = [canvas_of(field(64, 64, 3, seed=seed)) for seed in range(6)]
    jobs = [(view, one) for one in pictures for name in NAMES for view in views(name, 10)]
    alone = [view(one).pixels for view, one in jobs]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda job: job[0](job[1]).pixels, jobs))
    assert all((a == b).all() for a, b in zip(alone, together, strict=True))
