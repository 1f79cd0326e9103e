"""Cells that a spreadsheet would run, in what is written and in what is read back."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from medgraft.bundle.predict import Classification, Prediction, write_predictions
from medgraft.data.overrides import apply_overrides
from medgraft.files import write_csv
from medgraft.profile.suggestions import write_suggestions
from medgraft.results.data import Suggestion
from medgraft.types import ImageTable, Source

RUN = ("=", "+", "-", "@", "\t", "\r", "\n")  # what begins a formula, by OWASP's list
NAMES = ["=cmd|'/C calc'!A0.png", "+1.png", "-x.png", "@SUM(A1).png", "'=twice.png", "plain.png"]


def test_no_cell_of_predictions_is_a_formula(tmp_path: Path) -> None:
    rows = [Prediction(name, Classification("=A", {"=A": 1.0})) for name in NAMES]
    write_predictions(tmp_path / "p.csv", [*rows, Prediction("b", None, "-no")], ["=A"])
    with (tmp_path / "p.csv").open(newline="", encoding="utf-8") as stream:
        cells = [cell for row in csv.reader(stream) for cell in row]
    assert len(cells) == 4 * (len(NAMES) + 2)
    assert not [cell for cell in cells if cell.startswith(RUN)]
    assert {"'=cmd|'/C calc'!A0.png", "''=twice.png", "plain.png", "1.0"} <= set(cells)


def test_numbers_stay_numbers(tmp_path: Path) -> None:
    write_csv(tmp_path / "n.csv", [["a"], [-0.5], ["-1e-7"], [None]])
    assert (tmp_path / "n.csv").read_bytes() == b'a\r\n-0.5\r\n-1e-7\r\n""\r\n'


def test_overrides_are_read_back_as_they_were_meant(tmp_path: Path) -> None:
    """Names and classes that look like formulas, through the file and onto the table."""
    classes = ("+", "=mal")
    n = len(NAMES)
    blank = np.array([""] * n)
    labels = np.arange(n) % 2
    sources = tuple(Source(name) for name in NAMES)
    table = ImageTable(
        np.array(NAMES), sources, blank, labels, np.array(NAMES), blank, blank, classes
    )
    meant = [
        Suggestion(name, "relabel", classes[1 - label], "=why", "x")
        for name, label in zip(NAMES, labels.tolist(), strict=True)
    ]
    write_suggestions(tmp_path / "o.csv", meant)
    lines = (tmp_path / "o.csv").read_text(encoding="utf-8").splitlines()
    assert not [cell for line in lines for cell in line.split(",") if cell.startswith(RUN)]
    assert apply_overrides(table, tmp_path / "o.csv").labels.tolist() == (1 - labels).tolist()
