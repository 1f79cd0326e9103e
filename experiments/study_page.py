"""The seed study's data sets and conclusions on one page: docs/results/study.md.

`make results-study` writes it from the committed files of results, which other targets measure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from page import figure, lines
from recommendation.regret import Cell
from recommendation.results import read
from seed_study.verdicts import Results, Verdict, verdicts

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "experiments" / "results"
PAGE = ROOT / "docs" / "results" / "study.md"
STANDS_FOR = {
    "cancer_cells": "the study's photographs of cells (72 to learn from, 26 and 26): patches of "
    "lung tissue, not single cells",
    "scenes_ot8": "the study's scenes, whole, but grey",
    "mini_scenes": "the study's scenes, few: 120 in three classes",
    "chest_xray": "the same set, at 224 px and squashed",
    "hyperkvasir5": "Kvasir v2, which could not be had: five classes of the same hospital",
}
MEASURED_BY = {
    "frozen.json": "make results-frozen",
    "finetune.json": "make results-finetune",
    "evidence.json": "make results-evidence",
    "real_audits.json": "make results-audits",
    "recommendation.jsonl": "make prove-recommendation",
}


def gathered() -> Results:
    """The files that the verdicts rest on."""
    rows = read(RESULTS / "recommendation.jsonl")
    return {
        **{name: _json(f"{name}.json") for name in ("frozen", "finetune", "evidence")},
        "cells": [Cell.of(row) for row in rows],
        "distance": _distances(),
    }


def write_page(found: Results) -> None:
    """Write the page."""
    answers = verdicts(found)
    text = [
        "# The seed study, again",
        "",
        "Written by `make results-study` from the committed files of experiments/results; do not "
        "edit. medgraft grew from a study of transfer learning with VGG-19 on four data sets. Each "
        "of its conclusions gets a verdict here from what is measured; the network of that time is "
        "stood for by VGG-16 and the default is tf_efficientnet_lite0. *Holds* and *does not hold* "
        "need a 95 % interval without 0; *not shown* says that the images cannot tell.",
        "",
        "## The data sets",
        "",
        *_data(found),
        "## The conclusions",
        "",
        *lines(
            ["conclusion", "verdict"],
            [[f"[{one.conclusion}](#{_anchor(one.conclusion)})", one.answer] for one in answers],
        ),
    ]
    for one in answers:
        text += _section(one)
    text += ["## What measured it", "", *_sources(answers)]
    PAGE.write_text("\n".join(text).rstrip() + "\n", encoding="utf-8")


def _data(found: Results) -> list[str]:
    rows = []
    for name, stands_for in STANDS_FOR.items():
        one = found["frozen"][name]
        tested = one["tested"] or {}
        rows.append([
            name, stands_for, f"{one['images']:,} + {one['test_images']:,}", f"{one['groups']:,}",
            str(one["classes"]), found["distance"].get(name, ""), f"`{one['recommended']}`",
            figure(one["corrected"]),
            *(figure(tested[metric]) if tested else "" for metric in ("auroc", "accuracy")),
        ])  # fmt: skip
    trained = found["finetune"]["study"]
    best = trained["tested"]
    return [
        "*Images*: to learn from + in the test. *Distance* to ImageNet, by "
        "[similarity.md](similarity.md). *Recommended*: of frozen scenarios; its AUROC out of fold "
        "corrected for the choice, and on the one look at the test.",
        "",
        *lines(
            ["data", "stands for", "images", "groups", "classes", "distance", "recommended",
             "out of fold", "test AUROC", "test accuracy"],
            rows,
        ),
        f"Within an hour a study of chest_xray recommends `{trained['recommended']}`: test AUROC "
        f"{figure(best['auroc'])}, accuracy {figure(best['accuracy'])}.",
        "",
    ]  # fmt: skip


def _section(one: Verdict) -> list[str]:
    rests = ", ".join(one.files)
    return [
        f"### {one.conclusion}",
        "",
        f"**{one.answer[0].upper()}{one.answer[1:]}.** {one.because} ({rests})",
        "",
        *one.table,
    ]


def _sources(answers: list[Verdict]) -> list[str]:
    files = dict.fromkeys(name for one in answers for name in one.files)
    return lines(["file", "measured by"], [[name, f"`{MEASURED_BY[name]}`"] for name in files])


def _anchor(heading: str) -> str:
    kept = "".join(c for c in heading.lower() if c.isalnum() or c in " -")
    return kept.replace(" ", "-")


def _json(name: str) -> Mapping[str, Any]:
    return dict(json.loads((RESULTS / name).read_text(encoding="utf-8")))


def _distances() -> dict[str, str]:
    """Of each set as it is, its distance to ImageNet with its interval."""
    found = {}
    for line in (RESULTS / "similarity.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if not row["change"]:
            value, low, high = row["distance"]
            found[row["set"].removesuffix(".csv")] = f"{value:.3f} ({low:.3f} to {high:.3f})"
    return found


if __name__ == "__main__":
    write_page(gathered())
