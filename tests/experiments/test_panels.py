"""Panels of real sets: what their findings are, and what equal to the bit means."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from medgraft.panel import ABSENT, PRESENT, UNKNOWN
from medgraft.types import ImageTable, Predictions, Source
from panels import SCENES, by_class, pneumonia, same_bits


def table(classes: tuple[str, ...], names: list[str], labels: list[int]) -> ImageTable:
    n = len(names)
    nothing = np.full(n, "")
    return ImageTable(
        ids=np.array(names), sources=tuple(Source(f"x/{name}") for name in names),
        content_hashes=np.array(names), labels=np.array(labels), groups=np.array(names),
        splits=nothing, masks=nothing, classes=classes,
    )  # fmt: skip


def test_the_kind_of_pneumonia_is_unknown_where_there_is_none() -> None:
    names = ["IM-1.jpeg", "person1_bacteria_1.jpeg", "person2_virus_2.jpeg"]
    panel = pneumonia(table(("NORMAL", "PNEUMONIA"), names, [0, 1, 1]))
    assert panel.marks.tolist() == [
        [ABSENT, UNKNOWN, UNKNOWN],
        [PRESENT, PRESENT, ABSENT],
        [PRESENT, ABSENT, PRESENT],
    ]
    assert panel.images.classes == ()


def test_a_coast_is_natural_open_and_water() -> None:
    panel = by_class(table(("coast", "street"), ["a", "b"], [0, 1]), SCENES)
    assert [name for name, mark in zip(panel.names, panel.marks[0], strict=True) if mark] == [
        "natural", "open", "water",
    ]  # fmt: skip
    assert not panel.marks[1].any()


@pytest.mark.parametrize("part", ["scores", "y_prob"])
def test_the_last_bit_tells(part: str) -> None:
    of = table(("coast", "street"), ["a", "b"], [0, 1])
    said = Predictions.of("x", of, np.ones((2, 2)), np.full((2, 2), 0.5))
    other = getattr(said, part).copy()
    other[0, 0] = np.nextafter(other[0, 0], 2)
    assert same_bits(said, said)
    assert not same_bits(said, dataclasses.replace(said, **{part: other}))
