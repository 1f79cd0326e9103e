"""Verdicts on the seed study's conclusions: what an interval says, and the committed figures."""

from __future__ import annotations

import numpy as np
import pytest

from recommendation.regret import Cell
from seed_study.verdicts import (
    FAILS,
    HOLDS,
    OPEN,
    _apart,
    _best_vlad,
    _family,
    _mean_gain,
    over_rows,
    sign,
    verdicts,
)
from study_page import MEASURED_BY, RESULTS, gathered


def test_an_interval_without_zero_decides() -> None:
    assert [sign(0.1, 0.2), sign(-0.2, -0.1), sign(-0.1, 0.1)] == [HOLDS, FAILS, OPEN]
    assert over_rows([HOLDS, HOLDS]) == HOLDS
    assert over_rows([HOLDS, OPEN, OPEN]) == "holds in 1, not shown in 2 of 3 rows"


def test_intervals_of_different_images_are_joined() -> None:
    a = {"value": 0.9, "low": 0.87, "high": 0.92}
    b = {"value": 0.8, "low": 0.76, "high": 0.84}
    assert _apart(a, b) == pytest.approx((0.1, 0.05, 0.1 + 0.02 * 5**0.5))


def test_a_gain_is_over_data_sets_and_a_draw_of_two_fields_counts_once() -> None:
    def cell(data: str, draw: int, images: int, gain: float, *policies: str) -> Cell:
        worth = np.array([[0.8, 0.8], [0.8 + gain, 0.8 + gain]])
        return Cell(
            data=data, n=images, draw=draw, images=images, distance=0.0, keys=("a", "b"),
            worth=worth, also=worth, error=np.zeros(2),
            chosen=dict(zip(policies, (0, 1), strict=False)),
        )  # fmt: skip

    both = ("old", "new")
    cells = [cell("skin7", draw, 50, 0.01 * draw, *both) for draw in (0, 1, 2)]
    assert _mean_gain([*cells, cell("mini_scenes", 0, 50, 0.02, *both)], "new", "old") is None
    cells += [cell("skin7", 2, 50, 0.02, *both), cell("skin7", 3, 50, 0.9, "old")]
    cells += [cell("mini_scenes", 0, 50, 0.02, *both), cell("scenes_ot8", 0, 50, 0.03, *both)]
    cells += [cell("scenes_ot8", 1, 500, 0.5, *both)]
    assert _mean_gain(cells, "new", "old") == pytest.approx((2.0, -0.484, 4.484, 5), abs=1e-3)


def test_the_best_of_a_family_is_chosen_on_the_other_half() -> None:
    worth = np.array([[0.9, 0.6], [0.7, 0.8], [0.5, 0.5]])
    cell = Cell(
        data="skin7", n=50, draw=0, images=50, distance=0.0, keys=("vlad/a", "vlad/b", "probe/a"),
        worth=worth, also=worth, error=np.zeros(3), chosen={},
    )  # fmt: skip
    # The first is best on the first half and gets .6 on the second; the second .7 on the first.
    assert _family(cell, "vlad") == pytest.approx(65.0)
    assert "skin7 +15.00 (cells: 1)" in _best_vlad([cell])


def test_every_conclusion_gets_a_verdict_from_files_that_are_here() -> None:
    found = verdicts(gathered())
    assert len({one.conclusion for one in found}) == len(found) == 13
    for one in found:
        assert one.files
        assert set(one.files) <= set(MEASURED_BY)
    known = {one.conclusion: one.answer for one in found}
    # As docs/results/evidence.md has it: 14 (3 to 25) against 31 (21 to 43) of 100.
    assert known["Depthwise-separable blocks look inside the chest more"] == HOLDS
    assert (RESULTS / "frozen.json").is_file()
