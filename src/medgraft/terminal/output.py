"""Small parts of every answer: tables of rows, what was skipped or written, JSON, numbers."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from medgraft.types import Estimate, Skipped

PIPED = 1000  # columns of a table that a program reads
SHORT = 12  # characters of a cell that is not broken
NARROWEST = 20  # characters of the first column, however much the others need
GAP = 2  # between columns


def show_rows(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    title: str | None = None,
    *,
    whole: bool = False,
) -> None:
    """A table of plain words, none of which is cut off however narrow it is.

    Short cells, numbers among them, stand on one line; where that leaves too little for what the
    first column names, that is folded. whole : a line a row where no person reads it, so that it
    can be searched.
    """
    from rich.console import Console
    from rich.table import Table

    console = new_console()
    if whole and not console.is_terminal:
        console = Console(width=PIPED, highlight=False)
    table = Table(title=title and plain(title), box=None, header_style="bold")
    rows = list(rows)
    widths = [
        max([len(heading), *(len(row[i]) for row in rows if i == 0 or len(row[i]) <= SHORT)])
        for i, heading in enumerate(headings)
    ]
    left = console.width - sum(width + GAP for width in widths[1:]) - GAP
    widths[0] = min(widths[0], max(NARROWEST, left))
    for heading, width in zip(headings, widths, strict=True):
        table.add_column(plain(heading), overflow="fold", min_width=width)
    for row in rows:
        table.add_row(*map(plain, row))
    console.print(table)


def show_skipped(rows: Iterable[Skipped]) -> None:
    """Each image that could not be read, with its reason."""
    for row in rows:
        typer.echo(f"skipped {row.source}: {row.reason}", err=True)


def show_written(paths: Iterable[Path]) -> None:
    """Each file that was written, a line each."""
    from medgraft.data.listing import shown

    for path in paths:
        typer.echo(f"written: {shown(str(path))}")


def show_json(answer: object) -> None:
    """An answer for scripts, as they read it: in letters where the stream has all of them."""
    some = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") != "utf8"
    typer.echo(json.dumps(answer, indent=1, ensure_ascii=some))


def show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """A warning as one plain line: where in the code it arose helps nobody at a terminal."""
    typer.echo(f"medgraft: warning: {' '.join(str(message).split())}", err=True)


def new_console(*, stderr: bool = False) -> Console:
    """A console that colours nothing by itself."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def plain(text: str) -> Text:
    """What others named, for a table: brackets in it are no markup."""
    from rich.text import Text

    return Text(text)


def figure(estimate: Estimate) -> str:
    """A value with its interval."""
    return f"{number(estimate.value)} ({number(estimate.low)} to {number(estimate.high)})"


def number(value: float) -> str:
    """Three decimals always, so that the points stand under each other."""
    return f"{value:.3f}" if math.isfinite(value) else "undefined"
