"""Do prediction sets hold each class of real images as often as they promise?

`make results-sets` measures what `results/sets.jsonl` lacks, one line a cell, so that it can be
killed and called anew, and writes docs/results/sets.md. A cell is a draw of a data set's patients:
from about 600 images a linear SVM on all stages is learned, the others' patients are new. Only
development images are read; no official test split is looked at.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from medgraft.data.split import Development, holdout, make_folds
from medgraft.evaluate.conformal import ALPHA, OwnProbability, describe_sets, sets_at
from medgraft.evaluate.metrics import judge
from medgraft.features.extract import Extractor
from medgraft.files import written_file
from medgraft.learn.fit import cross_fitted
from medgraft.learn.kept_sets import own_probability
from medgraft.scenario import Scenario
from medgraft.types import ImageTable

sys.path.insert(0, str(Path(__file__).parent))

from page import lines, read_cells
from shift.sources import SETS, development

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "sets.jsonl"
PAGE = ROOT / "docs" / "results" / "sets.md"
IMAGES, LEARNED, DRAWS = 1000, 0.6, 5
SCENARIO = Scenario.from_key("probe/tf_efficientnet_lite0/stages/svm")
Row = dict[str, Any]


def main() -> None:
    """Measure what is missing, and write the page."""
    done = {row["cell"] for row in read_cells(RESULTS)}
    extractor = Extractor()
    for name in SETS:
        table = None
        for draw in range(DRAWS):
            cell = f"{name} {draw}"
            if cell not in done:
                table = development(name, IMAGES) if table is None else table
                row = {"cell": cell, "set": name, **measured(table, draw, extractor)}
                with RESULTS.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
    write_page(read_cells(RESULTS))


def measured(table: ImageTable, draw: int, extractor: Extractor) -> Row:
    """Coverage by class on new patients, of sets by class and of one threshold for all."""
    began = time.perf_counter()
    first = holdout(table.groups, table.labels, LEARNED, draw)
    learned, new = table.select(first), table.select(~first)
    crossed = cross_fitted(SCENARIO, Development(learned, make_folds(learned)), extractor)
    said = crossed.fitted.predict(new)[0]
    own = own_probability(crossed)
    labels = judge(said, crossed.fitted.operating).labels
    together = OwnProbability(own.own, np.zeros(len(own.own), np.int64), own.groups, 1)
    row: Row = {}
    for name, thresholds in (
        ("by class", own.thresholds(ALPHA)),
        ("one for all", np.repeat(together.thresholds(ALPHA), own.n_classes)),
    ):
        found = describe_sets(sets_at(said.y_prob, labels, thresholds), said, ALPHA)
        row[name] = {
            "coverage": {k: round(one.value, 4) for k, one in found.by_class.items() if one},
            "size": round(found.size.value, 4),
        }
    least = [table.classes[k] for k in own.too_few(ALPHA)]
    return {
        "learned": len(learned), "new": len(new), "always": least, **row,
        "seconds": round(time.perf_counter() - began, 1),
    }  # fmt: skip


# --------------------------------------------------------------------------- the page

HEAD = """# Prediction sets on real images

Written by `make results-sets` (experiments/sets.py) from `experiments/results/sets.jsonl`;
{done} of {all} cells are done. Of each data set {draws} draws of patients: a linear SVM on all
stages of the default network learns from 60 % of about {images} development images, the others are
new. The sets may miss a tenth of each class ([how](../sets.md)); coverage is the mean over draws.
*One threshold for all* is the usual conformal set. Both hold the label, which alone may cover more
than 90 %.
"""


def write_page(rows: list[Row]) -> None:
    """Write docs/results/sets.md."""
    made = []
    for name in SETS:
        mine = [row for row in rows if row["set"] == name]
        if mine:
            made.append(_line(name, mine))
    table = lines(
        ("set", "classes", "learned, new", "least covered class, by class", "least, one for all",
         "mean over classes, by class", "one for all", "classes in a set, by class", "one for all",
         "always in"),
        made,
    )  # fmt: skip
    text = HEAD.format(done=len(rows), all=len(SETS) * DRAWS, draws=DRAWS, images=IMAGES)
    with written_file(PAGE) as path:
        path.write_text("\n".join([text, *table]).rstrip() + "\n", encoding="utf-8")


def _line(name: str, rows: list[Row]) -> list[str]:
    ways = ("by class", "one for all")
    classes = list(rows[0]["by class"]["coverage"])
    covered = {
        way: {k: np.mean([row[way]["coverage"][k] for row in rows]) for k in classes}
        for way in ways
    }
    least = {way: min(covered[way], key=lambda k: covered[way][k]) for way in ways}
    size = {way: np.mean([row[way]["size"] for row in rows]) for way in ways}
    always = sorted({k for row in rows for k in row["always"]})
    return [
        name,
        f"{len(classes)}",
        f"{rows[0]['learned']}, {rows[0]['new']}",
        *(f"{least[way]} {covered[way][least[way]]:.1%}" for way in ways),
        *(f"{np.mean(list(covered[way].values())):.1%}" for way in ways),
        *(f"{size[way]:.2f}" for way in ways),
        ", ".join(always) or "none",
    ]


if __name__ == "__main__":
    main()
