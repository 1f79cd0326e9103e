"""The committed cells, and how many there are to be."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from page import read_cells
from recommendation.fields import FIELDS
from recommendation.sets import ALL, SIZES

RESULTS = Path(__file__).parents[1] / "results" / "recommendation.jsonl"
DEVELOPMENT = {  # images to draw from, which say how many sizes a data set has
    "cancer_cells": 98, "mini_scenes": 120, "skin7": 1600, "lc25000_lung_unique": 402,
    "hyperkvasir5": 1006, "scenes_ot8": 1881, "chest_xray": 5232,
}  # fmt: skip
VERSION = 1  # raise it when a change of code changes what cells find; older cells are run again

Row = dict[str, Any]


def read(path: Path = RESULTS) -> list[Row]:
    """The cells, one a line; a line cut short is none."""
    return [row for row in read_cells(path) if row["version"] == VERSION]


def key_of(field: str, data: str, n: int | str, draw: int) -> str:
    return f"{field}, {data}, {n}, {draw}"


def done(rows: Iterable[Row]) -> set[str]:
    return {key_of(row["field"], row["data"], row["n"], row["draw"]) for row in rows}


def planned(field: str, data: str) -> int:
    """How many cells a data set has when all is done."""
    one = FIELDS[field]
    sizes = sum(n < DEVELOPMENT[data] for n in SIZES)
    return one.draws * sizes + one.draws_of_all


def label(n: int | str) -> str:
    return ALL if n == ALL else f"{n:,}"
