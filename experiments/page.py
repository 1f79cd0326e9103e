"""Small parts of the pages of results: cells that were measured, figures with intervals, tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def read_cells(path: Path) -> list[dict[str, Any]]:
    """The cells of a file of results, one a line; a line cut short is none."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def figure(one: Mapping[str, float], digits: int = 3) -> str:
    """A value with its interval."""
    return f"{one['value']:.{digits}f} ({one['low']:.{digits}f} to {one['high']:.{digits}f})"


def difference(one: Mapping[str, float]) -> str:
    """A paired difference with its interval."""
    return f"{one['difference']:+.4f} ({one['low']:+.4f} to {one['high']:+.4f})"


def lines(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """A table."""
    head = list(head)
    made = ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]
    return [*made, ""]
