"""A planted drain that tells of a lesion: how often a study of several findings finds it.

Images of `two_lesions.py`: two lesions and a line. In half of the panels the line is a drain
that comes with lesion a, which is faint; in the others it comes with nothing. What is right was
written down before anything ran: of 20 panels each, the drain is found in at least 19, and in at
most 1 is any finding said to need company where none tells of it. With 400 images about 30 patients
to learn from have the lesion without the drain; with 200 one panel in six had fewer than the ten
that a pair takes, and was not judged.

`make results-panels` goes on where it was stopped, and writes docs/results/panels.md:

    python experiments/company.py --panels 20
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from medgraft.data.ingest import load_any
from medgraft.features.extract import Extractor
from medgraft.panel import Panel
from medgraft.studies.options import StudyOptions
from medgraft.studies.panel import run_panel
from page import read_cells
from two_lesions import write_lesions

RESULTS = Path(__file__).parent / "results" / "company.jsonl"
OPTIONS = StudyOptions(backbones=("tf_efficientnet_lite0",), heads=("logistic",))


def warned(seed: int, n: int, scratch: Path, *, drain: bool) -> set[tuple[str, str]]:
    """The pairs (finding, without) that a study of n images warns of."""
    folder = scratch / f"{seed}{drain}"
    faint = 8.0 if drain else 16.0
    panel = load_any(write_lesions(folder, n, seed, drain=drain, faint=faint))
    assert isinstance(panel, Panel)
    result = run_panel(panel, OPTIONS, Extractor()).result
    return {(one.name, one.without) for one in result.warnings()}


def main() -> int:
    """Study what is lacking, count, and say whether it is as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--panels", type=int, default=20, help="of each kind")
    parser.add_argument("--images", type=int, default=400, help="of each panel")
    asked = parser.parse_args()
    rows = {row["seed"]: row for row in read_cells(RESULTS) if row["images"] == asked.images}
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(asked.panels):
            if seed in rows:
                continue
            planted, none = (
                sorted(warned(seed, asked.images, Path(scratch), drain=drain))
                for drain in (True, False)
            )
            rows[seed] = {"seed": seed, "images": asked.images, "planted": planted, "none": none}
            with RESULTS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(rows[seed]) + "\n")
    found = sum(["a", "drain"] in [*map(list, row["planted"])] for row in rows.values())
    said, n = sum(bool(row["none"]) for row in rows.values()), len(rows)
    sys.stdout.write(f"drain found in {found} of {n}; something said in {said} of {n} without\n")
    return int(found < 19 / 20 * n or said > max(1, n / 20))


if __name__ == "__main__":
    sys.exit(main())
