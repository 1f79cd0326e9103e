"""Agreement of maps with masks, and means beside chance, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

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
