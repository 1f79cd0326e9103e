"""What a person who waits sees, on stderr: bars with the time left, the steps of a budget."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from medgraft.terminal.output import new_console
from medgraft.terminal.progress_file import VARIABLE, ProgressFile

if TYPE_CHECKING:
    from rich.table import Table

    from medgraft.types import BudgetUse, Progress

WIDE = 110  # columns of a screen that hold a description beside a long bar
SLOW = 600.0  # seconds of which a rate is made; of what steps seldom less gives none


def progress(quiet: bool) -> Progress:
    """Bars for a person who waits, or nothing where `quiet`; or the file of `progress_file.py`."""
    from medgraft.types import Silent

    if file := os.environ.get(VARIABLE):
        return ProgressFile(Path(file))
    return Silent() if quiet else RichProgress()


class RichProgress:
    """Bars with the time left, on stderr, so that stdout stays for answers."""

    def __init__(self) -> None:
        self.console = new_console(stderr=True)

    @contextmanager
    def task(self, description: str, total: int) -> Iterator[Callable[[int], None]]:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.table import Column

        def whole() -> Column:
            return Column(no_wrap=True)  # on a narrow screen the description folds, no figure

        columns = (
            TextColumn("{task.description}", table_column=Column(overflow="fold")),
            BarColumn(bar_width=30 if self.console.width >= WIDE else 8),
            MofNCompleteColumn(table_column=whole()),
            TimeElapsedColumn(table_column=whole()),
            TextColumn("·", table_column=whole()),
            TimeRemainingColumn(compact=True, table_column=whole()),
            TextColumn("left", table_column=whole()),
        )
        with Progress(*columns, console=self.console, speed_estimate_period=SLOW) as bars:
            bar = bars.add_task(description, total=total)
            yield lambda steps: bars.advance(bar, steps)

    def say(self, text: str) -> None:
        self.console.print(text, markup=False)

    @contextmanager
    def budget(self) -> Iterator[Callable[[BudgetUse], None]]:
        from rich.live import Live
        from rich.text import Text

        with Live(Text(), console=self.console, refresh_per_second=4) as live:
            yield lambda use: live.update(budget_table(use))
        if not self.console.is_terminal:  # where a table that was live leaves its line open
            self.console.print()


def budget_table(use: BudgetUse) -> Table:
    """The steps of a budget: what they should take, what they took, what became of them."""
    from rich.table import Table

    from medgraft.report.text import budget
    from medgraft.report.text.formatting import duration

    begun = any(step.outcome != "planned" and step.seconds for step in use.steps)
    columns = ("took", "outcome") if begun else ("together", "why it is there")
    table = Table(
        title=f"Plan for {duration(use.seconds)}", box=None, header_style="bold",
        title_justify="left", padding=(0, 2, 0, 0),
    )  # fmt: skip
    table.add_column("", justify="right")
    table.add_column("step", overflow="fold")
    for name in ("scenarios", "predicted", columns[0]):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column(columns[1], overflow="fold")
    gone = budget.cumulated(use)
    for number, (words, step, why, outcome) in enumerate(budget.rows(use), start=1):
        waits = step.outcome == "planned"
        took = duration(step.seconds) if step.seconds and not waits else ""
        together = gone[number - 1]
        last = (took, outcome) if begun else ("" if together is None else duration(together), why)
        if not begun and outcome:
            last = ("", f"{outcome}: {why}")
        predicted = duration(step.predicted) if step.predicted else ""
        style = "" if waits or step.judged else "dim"
        table.add_row(f"{number}", words, f"{step.scenarios}", predicted, *last, style=style)
    end = "" if begun or gone[-1] is None else duration(gone[-1])
    table.add_row("", "comparison, audit, report", "", duration(use.finish), end, "")
    return table
