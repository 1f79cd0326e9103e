"""docs/results/panels.md, from what `panels.py` measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medgraft.files import written_file
from page import figure, lines

PAGE = Path(__file__).parents[1] / "docs" / "results" / "panels.md"
Row = dict[str, Any]

HEAD = """# Several findings an image, on real images

Written by `make results-panels` (experiments/panels.py) from `experiments/results/panels.jsonl`; do
not edit. Findings are derived from the classes of three sets; development images only, of which a
fifth is set aside to be tested on. No official test split is looked at.
"""

ALONE = """## The same question, in a panel and alone

Each question is studied a second time by itself, on the panel's folds, with nothing but codes in
the cache. *Same* says that scores, probabilities, AUROC and its interval are equal to the bit, out
of fold and on the test images, where the scenario is the same; *same own* that alone it recommends
what the panel says its own study would.
"""


def write_page(rows: Sequence[Row]) -> None:
    """Write the page."""
    text = [HEAD, ALONE]
    for row in rows:
        if row["cell"].endswith(" alone"):
            text += alone(row)
    with written_file(PAGE) as path:
        path.write_text("\n".join(text).rstrip() + "\n", encoding="utf-8")


def alone(row: Row) -> list[str]:
    """A set: its findings in the panel, and whether they are the same alone."""
    head = (
        "finding", "images", "with it", "AUROC out of fold", "AUROC on test images", "scenario",
        "its own", "same", "same own",
    )  # fmt: skip
    words = f"**{row['set']}**, {row['images']:,} images: {row['taken']} scenario"
    each = " for all" if row["taken"] == "one" else " each its own"
    return [
        f"{words}{each}; mean AUROC {figure(row['macro'])}.",
        "",
        *lines(head, (_line(one) for one in row["findings"])),
    ]


def _line(one: Row) -> list[str]:
    return [
        one["name"],
        f"{one['images']:,}",
        f"{one['with']:,}",
        figure(one["auroc"]),
        figure(one["test"]),
        f"`{_short(one['scenario'])}`",
        f"`{_short(one['own'])}`",
        "yes" if one["same"] else "NO",
        "yes" if one["same_own"] else "NO",
    ]


def _short(key: str) -> str:
    """A scenario without its family and network, which all share."""
    return key.split("/", 2)[-1]
