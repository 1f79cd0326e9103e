"""Frozen probes compared: resampled patients, and what the section says of a cell."""

from __future__ import annotations

import numpy as np

from shift.resamples import RESAMPLES, interval, resampled
from shift.start import CELLS
from shift.start_section import BASE, OUT_OF_FOLD, start


def test_patients_are_drawn_whole() -> None:
    groups = np.array(["a", "b", "a", "c", "b", "a"])
    weights = resampled(groups, 0)
    assert weights.shape == (6, 1 + RESAMPLES)
    assert (weights[:, 0] == 1).all()
    for same in ([0, 2, 5], [1, 4]):
        assert (weights[same] == weights[same[0]]).all()
    assert (weights[[0, 1, 3]].sum(axis=0) == 3).all()  # as many patients as there are


def test_an_interval_is_of_the_resamples_and_its_value_of_all_images() -> None:
    samples = np.array([7.0, *np.linspace(0, 1, RESAMPLES)])
    assert interval(samples) == {"value": 7.0, "low": 0.025, "high": 0.975}


def test_every_cell_compares_with_the_usual_probe() -> None:
    assert all(BASE in ways for ways in CELLS.values())


def test_a_table_holds_the_usual_figure_and_differences_in_thousandths() -> None:
    def one(value: float) -> dict[str, float]:
        return {"value": value, "low": value - 0.002, "high": value + 0.002}

    def way(auroc: float, gain: float) -> dict[str, object]:
        judges = (OUT_OF_FOLD, "virus")
        return {
            "auroc": dict.fromkeys(judges, one(auroc)),
            "gain": dict.fromkeys(judges, one(gain)),
            "unlike": one(gain),
        }

    judged = {OUT_OF_FOLD: 40, "virus": 10}
    ways = {BASE: way(0.95, 0.0), "other": way(0.955, 0.005)}
    text = start([{"cell": "set", "images": 40, "judged": judged, "ways": ways}], 3)
    assert "1 of 3 cells done" in text[2]
    assert f"| {BASE} | 0.9500 | 0.9500 | 0.9500 |" in text
    assert f"| other |{' 5.0 (3.0 to 7.0) |' * 3}" in text
    assert start([], 3) == []
