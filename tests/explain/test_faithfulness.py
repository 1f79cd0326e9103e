"""Curves, drops and agreement worked out by hand on a model that reads one quarter."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from medgraft.errors import DataError
from medgraft.evaluate.intervals import Sampling
from medgraft.explain.agreement import (
    MEASURES,
    agreement,
    energy_inside,
    iou_at_area,
    pointing_game,
)
from medgraft.explain.chance_baseline import beside_chance, mean_estimate
from medgraft.explain.faithfulness import (
    deletion,
    drop_and_rise,
    faithfulness,
    insertion,
    random_maps,
)
from medgraft.types import Attribution, Box, Canvas, Geometry

SIDE = 8


@dataclasses.dataclass
class UpperLeft:
    """The probability of `bright` is the mean of the upper left quarter over 255."""

    classes: tuple[str, ...] = ("dark", "bright")

    def probabilities(self, canvases: object) -> NDArray[np.float64]:
        seen = [c.pixels[: SIDE // 2, : SIDE // 2].mean() / 255 for c in canvases]  # type: ignore[attr-defined]
        return np.stack([1 - np.array(seen), np.array(seen)], axis=1)


MODEL = UpperLeft()


@pytest.fixture
def canvas() -> Canvas:
    """White upper left, black elsewhere; its mean is 64."""
    pixels = np.zeros((SIDE, SIDE), np.uint8)
    pixels[:4, :4] = 255
    return Canvas("a", pixels, Geometry.identity(SIDE, SIDE))


def marks(canvas: Canvas, rows: slice, columns: slice) -> Attribution:
    map = np.zeros(canvas.pixels.shape[:2], np.float32)
    map[rows, columns] = 3.0
    return Attribution(map, canvas.geometry, "bright", "pixels")


# --------------------------------------------------------------------------- interventions


def test_deletion_and_insertion_by_hand(canvas: Canvas) -> None:
    """In four steps a right map takes the quarter first, and a wrong one last, or nearly."""
    right, wrong = marks(canvas, np.s_[:4], np.s_[:4]), marks(canvas, np.s_[4:], np.s_[:])
    low = 64 / 255  # covered by the mean
    gone = deletion(MODEL, [canvas], [right], 4, "mean")  # type: ignore[arg-type]
    np.testing.assert_allclose(gone.probabilities, [[1, low, low, low, low]])
    np.testing.assert_allclose(gone.area, (1 + low) / 8 + 3 / 4 * low)
    come = insertion(MODEL, [canvas], [right], 4, "mean")  # type: ignore[arg-type]
    np.testing.assert_allclose(come.probabilities, [[low, 1, 1, 1, 1]])
    late = deletion(MODEL, [canvas], [wrong], 4, "mean")  # type: ignore[arg-type]
    np.testing.assert_allclose(late.probabilities[0, [0, 1, 2, 4]], [1, 1, 1, low])
    assert late.area[0] > gone.area[0]


def test_a_batch_equals_its_items_and_inputs_stay(canvas: Canvas) -> None:
    right, wrong = marks(canvas, np.s_[:4], np.s_[:4]), marks(canvas, np.s_[4:], np.s_[:])
    before = canvas.pixels.copy()
    both = deletion(MODEL, [canvas, canvas], [right, wrong])  # type: ignore[arg-type]
    for i, one in enumerate((right, wrong)):
        alone = deletion(MODEL, [canvas], [one])  # type: ignore[arg-type]
        np.testing.assert_array_equal(both.probabilities[i], alone.probabilities[0])
    np.testing.assert_array_equal(canvas.pixels, before)


def test_padding_is_never_touched() -> None:
    pixels = np.full((SIDE, SIDE), 100, np.uint8)
    geometry = Geometry((4, 8), 1, Box(0, 0, 4, 8), (8, 8), Box(4, 0, 4, 8))
    one = Canvas("a", pixels, geometry)
    pixels[:4] = 0
    whole = marks(one, np.s_[:4], np.s_[:])  # marks the padding, where the model looks
    curve = deletion(MODEL, [one], [whole])  # type: ignore[arg-type]
    np.testing.assert_array_equal(curve.probabilities, 0)


def test_drop_and_rise_by_hand(canvas: Canvas) -> None:
    right, wrong = marks(canvas, np.s_[:4], np.s_[:4]), marks(canvas, np.s_[4:], np.s_[:])
    half = dataclasses.replace(right, map=right.map.copy())
    half.map[:2, :4] = 1.5  # shown by a half: mean of 255 and 64 for half of the quarter
    drop, rise = drop_and_rise(MODEL, [canvas] * 3, [right, wrong, half], "mean")  # type: ignore[arg-type]
    # 159.5 is rounded to the even 160.
    np.testing.assert_allclose(drop, [0, 1 - 64 / 255, (1 - 160 / 255) / 2])
    assert rise.tolist() == [0, 0, 0]
    inverse = dataclasses.replace(canvas, pixels=(255 - canvas.pixels))
    _, rise = drop_and_rise(MODEL, [inverse], [wrong], "mean")  # type: ignore[arg-type]
    assert rise.tolist() == [1]


def test_a_right_map_beats_random_ones_and_a_random_one_does_not(canvas: Canvas) -> None:
    canvases = [dataclasses.replace(canvas, id=str(i)) for i in range(30)]
    groups = np.array([str(i // 2) for i in range(30)])
    right = [marks(canvas, np.s_[:4], np.s_[:4])] * 30
    few = Sampling(resamples=200)
    for one in faithfulness(MODEL, canvases, right, groups, few):  # type: ignore[arg-type]
        if one.name == "increase in confidence":  # it was 1 before
            continue
        assert one.difference.low > 0 if one.higher_is_better else one.difference.high < 0
        assert one.value.n == 30
        assert one.left_out == 0
    noise = random_maps(right, seed=5)
    measured = faithfulness(MODEL, canvases, noise, groups, few)  # type: ignore[arg-type]
    assert "15 groups" in measured[0].difference.method
    for one in measured[:2]:
        assert one.difference.low < 0 < one.difference.high


def test_what_does_not_go_together_is_refused(canvas: Canvas) -> None:
    one = marks(canvas, np.s_[:4], np.s_[:4])
    with pytest.raises(DataError, match="2 canvases and 1 maps do not go together"):
        deletion(MODEL, [canvas, canvas], [one])  # type: ignore[arg-type]
    with pytest.raises(DataError, match="0 steps make no curve"):
        deletion(MODEL, [canvas], [one], 0)  # type: ignore[arg-type]


# --------------------------------------------------------------------------- masks


def test_measures_of_agreement_by_hand() -> None:
    maps = np.array([[[4.0, 1], [3, 2]], [[5, 5], [0, 0]], [[0, 0], [0, 0]], [[1, 1], [1, 1]]])
    masks = np.array([[[0, 1], [1, 0]], [[1, 0], [0, 1]], [[1, 0], [0, 0]], [[0, 0], [0, 0]]], bool)
    nan = np.nan
    np.testing.assert_allclose(pointing_game(maps, masks), [0, 0.5, nan, nan])
    np.testing.assert_allclose(energy_inside(maps, masks), [0.4, 0.5, nan, nan])
    # Image 0: the two largest, 4 and 3, share one pixel with the mask: 1 of 3.
    np.testing.assert_allclose(iou_at_area(maps, masks), [1 / 3, 1 / 3, nan, nan])
    # A constant map has the area's share: energy .5, and half of two pixels: 1 of 3.
    np.testing.assert_allclose(energy_inside(maps[3:], masks[:1]), [0.5])
    np.testing.assert_allclose(iou_at_area(maps[3:], masks[:1]), [1 / 3])
    np.testing.assert_allclose(energy_inside(np.negative(maps[:1]) + 3.5, masks[:1]), [3 / 4.5])


def test_agreement_beside_chance_leaves_out_and_counts() -> None:
    rng = np.random.default_rng(0)
    n = 60
    masks = np.zeros((n, 6, 6), bool)
    for i, (row, column) in enumerate(rng.integers(0, 5, (n, 2))):
        masks[i, row : row + 2, column : column + 2] = True
    masks[:5] = False
    groups = np.array([str(i // 3) for i in range(n)])
    few = Sampling(resamples=300)
    own = agreement(masks + 0.01 * rng.random(masks.shape), masks, groups, few)
    assert [one.name for one in own] == [
        "pointing game", "energy inside", "energy inside", "IoU at the mask's area",
    ]  # fmt: skip
    for one in own:
        assert (one.left_out, one.value.n) == (5, 55)
        assert one.difference.low > 0
    assert own[0].value.value == 1
    assert own[0].value.low < 1  # all hit, and yet not sure
    assert own[2].chance.value == pytest.approx(4 / 36)
    centre = np.zeros(masks.shape)
    centre[:, 2:4, 2:4] = 1  # the same place in every image
    for one in agreement(centre, masks, groups, few):
        if one.against.startswith("masks"):
            assert one.difference.low < 0 < one.difference.high


def test_agreement_without_masks_or_of_other_shapes_is_refused() -> None:
    maps, groups = np.ones((3, 2, 2)), np.array(["a", "b", "c"])
    with pytest.raises(DataError, match="0 of 3 images have a mask"):
        agreement(maps, np.zeros(maps.shape, bool), groups)
    with pytest.raises(DataError, match="do not go together"):
        agreement(maps, np.zeros((3, 4, 4), bool), groups)
    with pytest.raises(DataError, match="none of 3 images has a value of energy"):
        beside_chance("energy", np.full(3, np.nan), np.zeros(3), groups, "nothing")


def test_a_mean_has_the_width_that_the_central_limit_gives() -> None:
    values = np.random.default_rng(0).random(400)
    found = mean_estimate(values, np.arange(400).astype(str))
    half = 1.96 * values.std() / 20
    assert found.high - found.low == pytest.approx(2 * half, rel=0.1)
    same = mean_estimate(np.full(10, 1.0), np.array(list("aabbccddee")))
    assert same.high == 1
    assert 0.4 < same.low < 0.7  # five groups, not ten images
    assert same.method == "Wilson on 5 groups (no spread)"
    assert len(MEASURES) == 3
