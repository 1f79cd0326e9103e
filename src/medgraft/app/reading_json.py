"""How data was read, as the page shows it: a table of classes, notes, findings, some pictures."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medgraft.app.plain_words import ways_of, without_flags
from medgraft.data.split import SET_ASIDE
from medgraft.panel import PRESENT, UNCERTAIN, Panel
from medgraft.report.pages.data import title_of
from medgraft.report.text import reading
from medgraft.results.evidence import FEW_OF_CLASS
from medgraft.types import Finding, ImageTable

if TYPE_CHECKING:
    from medgraft.data.pool.pool import DecodePool

PICTURES = 4  # of a class
CLASSES = 40  # that are shown with pictures
SIDE = 144  # pixels of a picture, twice what the page gives it where pixels are small


def described(read: ImageTable | Panel) -> dict[str, Any]:
    """What stands on the page about it; pictures by their row in the table."""
    table = read.images if isinstance(read, Panel) else read
    splits = reading.splits(table)
    rows = _findings(read, splits) if isinstance(read, Panel) else _classes(read, splits)
    return {
        "title": reading.title(table),
        "several": isinstance(read, Panel),
        "splits": [one or "in no split" for one in splits] if splits != [""] else [],
        "classes": rows,
        "more": max(0, len(rows) - CLASSES),
        "notes": _notes(table),
        "skipped": [[one.source, one.reason] for one in table.skipped],
        "grouping": {
            "rule": table.grouping.rule,
            "guessed": table.grouping.guessed,
            "text": without_flags(table.grouping.text),
        },
        "columns": list(table.metadata),
        "audit": {} if isinstance(read, Panel) else _short_for_the_audit(table),
        "positive": table.positive,
        "grades": "taken" if table.ordered else "proposed" if _may_be_grades(table) else "",
        "findings": findings([one for one in table.findings if one.severity != "info"]),
        "layout": table.reading.layout,
        "images": len(table),
        "groups": len(np.unique(table.groups)),
    }


def _notes(table: ImageTable) -> list[str]:
    """What the page has no words of its own for."""
    found = reading.notes(replace(table, skipped=()))
    return [text for one in found if not one.startswith("groups: ") if (text := without_flags(one))]


def _short_for_the_audit(table: ImageTable) -> dict[str, Any]:
    """The class with too few images for the audit to decide anything; nothing where none has.

    The audit takes images that are learned from: where no test split is given, four in five.
    """
    test = table.splits == "test"
    given = bool(test.any())
    counts = np.bincount(table.labels[~test & (table.labels >= 0)], minlength=len(table.classes))
    wanted = FEW_OF_CLASS if given else int(np.ceil(FEW_OF_CLASS / (1 - SET_ASIDE)))
    fewest = int(counts.argmin())
    if counts[fewest] >= wanted:
        return {}
    return {
        "name": table.classes[fewest],
        "images": int(counts[fewest]),
        "wanted": wanted,
        "given": given,
    }


def _may_be_grades(table: ImageTable) -> bool:
    return any(one.check == "grades" and one.remedy for one in table.findings)


def findings(found: list[Finding] | tuple[Finding, ...]) -> list[dict[str, Any]]:
    """Findings as the data's own page says them."""
    return [
        {
            "check": one.check,
            "severity": one.severity,
            "title": title_of(one),
            "text": without_flags(one.text),
            "remedy": without_flags(one.remedy),
            "ways": ways_of(one),
            "such as": list(one.images[:2]),
        }
        for one in found
    ]


def _classes(table: ImageTable, splits: list[str]) -> list[dict[str, Any]]:
    parts = [(name, table.labels == label) for label, name in enumerate(table.classes)]
    if (table.labels < 0).any():
        parts.append(("without a label", table.labels < 0))
    return [
        {**_row(table, name, here, splits), "positive": name == table.positive}
        for name, here in parts
    ]


def _findings(panel: Panel, splits: list[str]) -> list[dict[str, Any]]:
    found = []
    for name, marks in zip(panel.names, panel.marks.T, strict=True):
        row = _row(panel.images, name, marks == PRESENT, splits)
        uncertain = int((marks == UNCERTAIN).sum())
        found.append({**row, "positive": False, "uncertain": uncertain})
    return found


def _row(
    table: ImageTable, name: str, here: NDArray[np.bool_], splits: list[str]
) -> dict[str, Any]:
    rows = np.flatnonzero(here)
    spread = np.linspace(0, len(rows) - 1, min(PICTURES, len(rows))).round().astype(int)
    return {
        "name": name,
        "images": len(rows),
        "by split": [int((here & (table.splits == split)).sum()) for split in splits],
        "pictures": rows[spread].tolist(),
    }


def picture(table: ImageTable, row: int, pool: DecodePool) -> bytes | None:
    """An image of the table, small, as WebP; None where it cannot be read."""
    from PIL import Image

    from medgraft.data.preprocess import CanvasRecipe
    from medgraft.errors import DecodeError

    source = table.sources[row]
    try:
        canvas = pool.canvas(source, CanvasRecipe(SIDE, "pad"), source.rule)
    except DecodeError:
        return None
    content = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(canvas.pixels)).convert("RGB").save(content, "WEBP")
    return content.getvalue()
