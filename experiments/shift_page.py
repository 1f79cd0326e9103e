"""The page of what holds under shift: docs/results/shift.md, a function a section.

`make results-shift` measures what the committed files of results lack and writes the page anew;
`python experiments/shift_page.py` only writes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from page import figure, lines

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "experiments" / "results"
PAGE = ROOT / "docs" / "results" / "shift.md"
PLAIN = "plain folds"
CHEST = "chest_xray"
CELLS = 5  # of the ranking
GAINS = ("gain", "saved")

Row = dict[str, Any]


def write_page() -> None:
    """Write the page from what has been measured by now."""
    text = [
        "# What holds under shift",
        "",
        "Written by `make results-shift`; do not edit. Everything here is measured on development "
        "images; no official test split was looked at.",
        "",
        *ranking(read(RESULTS / "ranking.jsonl")),
    ]
    PAGE.write_text("\n".join(text).rstrip() + "\n", encoding="utf-8")


def read(path: Path) -> list[Row]:
    """The cells of a file of results, one a line; a line cut short is none."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


# --------------------------------------------------------------------------- ranking


def ranking(cells: Sequence[Row]) -> list[str]:
    """Which way to judge ranks scenarios as a second source does."""
    if not cells:
        return []
    rows = [
        [cell["cell"], way, str(one["seconds"]), *(figure(one[key], 2) for key in ("rho", "gain")),
         *(figure(one[key], 4) for key in ("regret", "saved"))]
        for cell in cells
        for way, one in cell["mean"].items()
    ]  # fmt: skip
    return [
        "## Which way to judge ranks scenarios as a second source does",
        "",
        f"{len(cells)} of {CELLS} cells done. Thirty frozen scenarios (ten taps of the default "
        "network under a linear SVM and a logistic regression, 128 pixels with and without CLAHE, "
        "kNN, VLAD) learn from a first source, and are judged there in several ways and at second "
        "sources that nothing was chosen by. *Second sources*: the same X-rays processed by others "
        "(`chest_xray_aspect256`, `chest_xray_originals`; their patients are left out of the "
        "first), endoscopy with the inset taken out, and five shifts planted into images of "
        "patients left out (a film's curve, light that falls off, Gaussian blur, JPEG of quality "
        "10, an octagonal frame). A view is never compared on a shift of its own type. *One "
        "changed view* is that of decision 0012. *Several views*: histogram equalised, sharpened, "
        "eight grey levels, warped, speckled; no training view does these. *Kinds*: the sharpest "
        "tenth of each class, one cluster each of exposure, frame and colour, and of chest_xray "
        "either germ, each judged by models that learned without it.",
        "",
        "*Rank correlation*: Spearman's, of the AUROC of the thirty by this way with that at the "
        "second source, the mean over the second sources of a set. *Against plain*: minus that of "
        "plain folds on the same second sources. *Lost*: AUROC at the second source of the best of "
        "the thirty minus that of the one picked. *Saved*: what plain folds lose beyond that. 95 % "
        "intervals over resampled groups, of both sources.",
        "",
        *lines(
            ["first source", "judged by", "second sources", "rank correlation", "against plain",
             "lost", "saved"],
            rows,
        ),
        "Over data sets, mean and 95 % t interval of what is "
        "gained: what another set would show.",
        "",
        *lines(["judged by", "sets", "rank correlation against plain", "AUROC saved"],
               _over_sets(cells)),
        "By second source:",
        "",
        *lines(
            ["first source", "second", "images", "best", "spread of the thirty",
             *(way for way in _ways(cells))],
            _by_second(cells),
        ),
    ]  # fmt: skip


def _ways(cells: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(way for cell in cells for way in cell["mean"]))


def _over_sets(cells: Sequence[Row]) -> list[list[str]]:
    found = []
    for way in _ways(cells):
        if way == PLAIN:
            continue
        mine = [cell["mean"][way] for cell in cells if way in cell["mean"]]
        gain, saved = (_t_interval([one[key]["value"] for one in mine]) for key in GAINS)
        found.append([way, str(len(mine)), figure(gain, 2), figure(saved, 4)])
    return found


def _t_interval(values: Sequence[float]) -> Mapping[str, float]:
    mean, n = float(np.mean(values)), len(values)
    half = float(stats.t.isf(0.025, n - 1) * np.std(values, ddof=1) / n**0.5) if n > 1 else np.nan
    return {"value": mean, "low": mean - half, "high": mean + half}


def _by_second(cells: Sequence[Row]) -> list[list[str]]:
    return [
        [
            cell["cell"],
            pair["second"],
            f"{pair['images']:,}",
            f"{pair['best']:.3f}",
            f"{pair['spread']:.3f}",
            *(
                f"{pair['ways'][way]['rho']['value']:.2f}" if way in pair["ways"] else ""
                for way in _ways(cells)
            ),
        ]
        for cell in cells
        for pair in cell["pairs"]
    ]


if __name__ == "__main__":
    write_page()
