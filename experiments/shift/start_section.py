"""The section of docs/results/shift.md on which frozen probe starts best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from page import figure, lines

OUT_OF_FOLD = "out of fold"
BASE = "lite0 stages, svm"

Row = dict[str, Any]


def start(cells: Sequence[Row], planned: int) -> list[str]:
    """What taps, networks, regularisation, joins and resize rules gain over the usual probe.

    cells : of start.jsonl.
    """
    if not cells:
        return []
    text = [
        "## A better start: frozen probes",
        "",
        f"{len(cells)} of {planned} cells done. A cell is a set of development images on which "
        f"frozen probes are compared with the usual one ({BASE}: all stages of the default network "
        "side by side under a linear SVM, its penalty chosen inside the images learned from). "
        "*Out of fold*: five folds, patients whole. *Unlike*: the mean over everything that judges "
        "besides; kinds are left out of what is learned (either germ, the sharpest tenth, one "
        "cluster each of exposure, frame and colour), `processed otherwise` is "
        "`chest_xray_aspect256`, planted shifts are a film's curve and JPEG of quality 10 on two "
        "fifths of the patients. The usual probe's row holds its AUROC; the others theirs less "
        "that, in thousandths, with 95 % intervals over resampled patients, the same ones for "
        "both. Each interval is of one comparison, and there are many. Fixed penalties are "
        "10^1.5 (strongest), 1, 10^-1.5 and 10^-3 (weakest) times the natural one.",
        "",
        "The files of chest_xray are squares of 224 pixels already, squashed by whoever published "
        "them, so that no `--resize` brings back what published probes saw: the middle of the "
        "original X-rays, unsquashed. What cropping gives is measured on `chest_xray_aspect256`, "
        "600 of the same X-rays with their aspect; learned from and judged there.",
        "",
    ]  # fmt: skip
    for cell in cells:
        text += _cell(cell)
    return text


def _cell(cell: Row) -> list[str]:
    judges = list(cell["judged"])
    ways = cell["ways"]
    unlike = ways[BASE]["unlike"] is not None
    counts = ", ".join(f"{name} {n}" for name, n in cell["judged"].items())
    rows = []
    for name, one in ways.items():
        if name == BASE:
            values = [f"{one['auroc'][judge]['value']:.4f}" for judge in judges]
            others = [one["auroc"][judge]["value"] for judge in judges if judge != OUT_OF_FOLD]
            mean = [f"{sum(others) / len(others):.4f}"] if unlike else []
        else:
            values = [_thousandths(one["gain"][judge]) for judge in judges]
            mean = [_thousandths(one["unlike"])] if unlike else []
        rows.append([name, *mean, *values])
    return [
        f"**{cell['cell']}** ({cell['images']} images; judged: {counts})",
        "",
        *lines(["probe", *(["unlike"] if unlike else []), *judges], rows),
    ]


def _thousandths(one: Row) -> str:
    return figure({key: 1000 * value for key, value in one.items()}, 1)
