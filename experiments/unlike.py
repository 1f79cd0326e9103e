"""Does "unlike anything I learned from" find what is, and how often is it a false alarm?

`make results-unlike` measures what `results/unlike.jsonl` lacks, one line a cell, so that it can be
killed and called anew, and writes docs/results/unlike.md. A cell is a draw of a data set's
patients: about 300 images are learned from, the others' patients are new. Of these all should be
known; of the other sets' images, and of negatives and noise, none. Only development images are
read; no official test split is looked at.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medgraft.data.split import holdout
from medgraft.evaluate.intervals import wilson
from medgraft.features.extract import Extractor
from medgraft.files import written_file
from medgraft.profile.reference import Reference
from medgraft.profile.unlike import RATE, Unlikeness
from medgraft.types import Canvas, Edit, ImageTable, Predictions

sys.path.insert(0, str(Path(__file__).parent))

from page import lines, read_cells
from shift.sources import SETS, development

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "unlike.jsonl"
PAGE = ROOT / "docs" / "results" / "unlike.md"
IMAGES, LEARNED, OTHERS = 500, 0.6, 60  # of a set; share learned from; of each other set
DRAWS = 3
Row = dict[str, Any]


@dataclass(frozen=True)
class Inverted:
    """An `Edit`: black is white."""

    key: str = "inverted"

    def __call__(self, canvas: Canvas) -> Canvas:
        return dataclasses.replace(canvas, pixels=255 - canvas.pixels)


@dataclass(frozen=True)
class Noise:
    """An `Edit`: nothing but noise."""

    key: str = "noise"

    def __call__(self, canvas: Canvas) -> Canvas:
        rng = np.random.default_rng(int(canvas.pixels.sum()))
        pixels = rng.integers(0, 256, canvas.pixels.shape, np.uint8)
        return dataclasses.replace(canvas, pixels=pixels)


EDITS: Mapping[str, Edit] = {"its negatives": Inverted(), "noise": Noise()}


def main() -> None:
    """Measure what is missing, and write the page."""
    done = {row["cell"] for row in read_cells(RESULTS)}
    tables = {name: development(name, IMAGES) for name in SETS}
    extractor = Extractor()
    for name in SETS:
        for draw in range(DRAWS):
            cell = f"{name} {draw}"
            if cell not in done:
                row = {"cell": cell, **measured(name, draw, tables, extractor)}
                with RESULTS.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
    write_page(read_cells(RESULTS))


def measured(name: str, draw: int, tables: Mapping[str, ImageTable], extractor: Extractor) -> Row:
    """False alarms by patient and image, and the share of others that is found."""
    began, table = time.perf_counter(), tables[name]
    first = holdout(table.groups, table.labels, LEARNED, draw)
    learned, new = table.select(first), table.select(~first)
    prob = np.full((len(learned), len(table.classes)), 1 / len(table.classes))
    said = Predictions.of(name, learned, prob, prob, 0)
    reference = Reference.of(learned, said, extractor)
    known = Unlikeness.of(reference)
    strange = known.judge(reference.encode(new, extractor)[0])
    figures = known.figures(strange, new.groups)
    found = {}
    for other, of in tables.items():
        if other != name:
            codes, _ = reference.encode(
                of.select(np.arange(len(of))[:: len(of) // OTHERS]), extractor
            )
            found[other] = counted(known.judge(codes))
    for what, edit in EDITS.items():
        codes, _ = reference.encode(new.select(np.arange(min(OTHERS, len(new)))), extractor, edit)
        found[what] = counted(known.judge(codes))
    return {
        "set": name,
        "learned": [len(learned), len(np.unique(learned.groups))],
        "new": [len(new), figures.patients.n],
        "patients": round(figures.patients.value * figures.patients.n),
        "images": figures.images,
        "known": figures.known,
        "found": found,
        "seconds": round(time.perf_counter() - began, 1),
    }


def counted(strange: np.ndarray) -> list[int]:
    """How many are called unlike, of how many."""
    return [int(strange.sum()), len(strange)]


# --------------------------------------------------------------------------- the page

HEAD = """# Unlike anything learned from

Written by `make results-unlike` (experiments/unlike.py) from `experiments/results/unlike.jsonl`;
{done} of {all} cells are done. Each row holds {draws} draws of patients together. How images are
called unlike is said in [sets.md](../sets.md); {rate:.0%} of patients may be by mistake.

## False alarms

Patients of the same set that were not learned from: with an image that is called unlike, and of
all their images. The interval is Wilson's for one draw's number of patients.
"""
FOUND = """
## What is found

The share of images called unlike anything learned from: 60 of each other set, and of the set's own
new images their negatives, and noise.
"""


def write_page(rows: list[Row]) -> None:
    """Write docs/results/unlike.md."""
    by_set = {name: [row for row in rows if row["set"] == name] for name in SETS}
    done = {name: mine for name, mine in by_set.items() if mine}
    head = HEAD.format(done=len(rows), all=len(SETS) * DRAWS, draws=DRAWS, rate=RATE)
    alarms = lines(
        ("set", "images learned from (patients)", "new patients", "false alarms, patients",
         "95 % interval", "false alarms, images"),
        [_alarms(name, mine) for name, mine in done.items()],
    )  # fmt: skip
    columns = [*SETS, *EDITS]
    found = lines(
        ("learned from", *columns),
        [[name, *(_found(mine, column) for column in columns)] for name, mine in done.items()],
    )
    with written_file(PAGE) as path:
        text = "\n".join([head, *alarms, FOUND, *found]).rstrip() + "\n"
        path.write_text(text, encoding="utf-8")


def _alarms(name: str, rows: list[Row]) -> list[str]:
    of, patients = np.sum([row["new"] for row in rows], axis=0)
    images, alarmed = (sum(row[name] for row in rows) for name in ("images", "patients"))
    share = alarmed / patients
    interval = wilson(share * patients / len(rows), patients / len(rows))
    learned, groups = np.mean([r["learned"] for r in rows], axis=0)
    return [
        name, f"{learned:.0f} ({groups:.0f})", f"{patients / len(rows):.0f}", f"{share:.1%}",
        f"{interval.low:.1%} to {interval.high:.1%}", f"{images / of:.1%}",
    ]  # fmt: skip


def _found(rows: list[Row], column: str) -> str:
    counts = [row["found"][column] for row in rows if column in row["found"]]
    hits, of = np.sum(counts, axis=0) if counts else (0, 0)
    return f"{hits / of:.0%}" if of else ""


if __name__ == "__main__":
    main()
