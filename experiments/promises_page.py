"""The page of what two versions promised and what came true."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from page import difference, lines

PAGE = Path(__file__).parents[1] / "docs" / "results" / "promises.md"

Row = dict[str, Any]


def write_page(found: Row) -> None:
    """Write docs/results/promises.md from what `promises.py` measured."""
    text = [
        "# What was promised, and what came true, before and after",
        "",
        "Written by `make results-promises` (`experiments/promises.py`); do not edit. *Before* is "
        f"commit {found['commit']}, whose folds were calibrated by each other's scores; *after* is "
        "the code that wrote this page. Both measured the same images on the same machine.",
        "",
        "## Whole data sets",
        "",
        "The default study of each. Slope: of a logistic recalibration on the test; 1 is right, "
        "below it stated probabilities are too extreme. Differences are paired, after minus "
        "before, with 95 % intervals over groups; in bold what is surely worse.",
        "",
        *_whole(found),
        "## Small data sets",
        "",
        "Some patients' development images are studied, the other development images are the "
        "truth: means over draws. *Covers*: how often the interval of the AUROC out of fold holds "
        "the AUROC that the deployed model has on the others.",
        "",
        *_small(found),
    ]
    PAGE.write_text("\n".join(text).rstrip() + "\n", encoding="utf-8")


def _whole(found: Row) -> list[str]:
    rows = []
    versions = (_rows(found[which], whole=True) for which in ("before", "after"))
    for old, new in zip(*versions, strict=True):
        changed = "" if old["recommended"] == new["recommended"] else f" → {_short(new)}"
        rows.append(
            [
                new["data"].removesuffix(".csv"),
                _short(old) + changed,
                *(_both(old, new, name) for name in ("oof_auroc", "corrected", "test_auroc")),
                *(_both(old, new, name) for name in ("test_accuracy", "test_brier")),
                *(_both(old, new, name) for name in ("test_log_loss", "slope")),
            ]
        )
    head = "data, recommended, out of fold, corrected, test, accuracy, Brier, log loss, slope"
    table = lines(head.split(", "), rows)
    return [*table, *_differences(found["differences"])]


def _differences(rows: list[Row]) -> list[str]:
    by_data: dict[str, dict[str, Row]] = {}
    for row in rows:
        by_data.setdefault(row["data"], {})[row["metric"]] = row
    table = []
    for name, metrics in by_data.items():
        cells = []
        for metric in ("log_loss", "brier", "accuracy"):
            one = metrics[metric]
            worse = one["high"] < 0 if metric == "accuracy" else one["low"] > 0
            cells.append(f"**{difference(one)}**" if worse else difference(one))
        table.append([name.removesuffix(".csv"), *cells])
    return lines(["data", "log loss", "Brier", "accuracy"], table)


def _small(found: Row) -> list[str]:
    kinds = dict.fromkeys((r["data"], r["n"], r["scenario"]) for r in _rows(found["after"], False))
    table = []
    for kind in kinds:
        old, new = (
            [r for r in _rows(found[w], False) if (r["data"], r["n"], r["scenario"]) == kind]
            for w in ("before", "after")
        )
        cells = [
            f"{_mean(old, name):.3f} → {_mean(new, name):.3f}"
            for name in ("oof", "truth", "covered", "log_loss", "slope", "balanced_accuracy")
        ]
        table.append([kind[0], str(kind[1]), kind[2].split("/", 2)[2], str(len(new)), *cells])
    head = (
        "data, images, scenario, draws, promised, true, covers, log loss, slope, balanced accuracy"
    )
    return lines(head.split(", "), table)


def _rows(rows: list[Row], whole: bool) -> list[Row]:
    return [row for row in rows if ("draw" not in row) == whole]


def _mean(rows: list[Row], name: str) -> float:
    return float(np.mean([row[name] for row in rows]))


def _short(row: Row) -> str:
    return str(row["recommended"]).replace("tf_efficientnet_lite0/", "")


def _both(old: Row, new: Row, name: str) -> str:
    a, b = (row[name][0] if isinstance(row[name], list) else row[name] for row in (old, new))
    return f"{a:.3f} → {b:.3f}"
