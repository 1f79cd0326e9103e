"""Runs listed, shown, compared and cleaned up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from medgraft.terminal.output import new_console, plain, show_rows

if TYPE_CHECKING:
    from medgraft.results.runs import Run, RunComparison
    from medgraft.runs.clean import Leftover

SHOWN = 8  # scenarios in the summary of a study


def show_runs(found: Sequence[Run]) -> None:
    """One line a run, and what there is to say of those that are not finished."""
    from medgraft.report.text import runs

    names = runs.short_paths(found, Path())
    if not found:
        typer.echo("no runs here; name the folder that they lie in or below")
        return
    show_rows(*runs.lines(found, names), whole=True)
    for run, name in zip(found, names, strict=True):
        if run.reason:
            typer.echo(f"{name}: {runs.state(run)}", err=True)


def show_run(run: Run) -> None:
    """One run: facts, every figure, what was asked, versions, where time went."""
    from medgraft.report.text import runs
    from medgraft.report.text.formatting import duration

    show_rows(("run", run.path), runs.facts(run))
    _show_figures({"": run})
    for title, rows in (
        ("option", run.options),
        ("weights", run.weights),
        ("version", run.versions),
    ):
        if rows:
            show_rows((title, ""), [(name, runs.option(value)) for name, value in rows.items()])
    for title, seconds in (("step", run.steps), ("slowest scenario", run.slowest)):
        if seconds:
            show_rows((title, "took"), [(name, duration(s)) for name, s in seconds.items()])


def show_leftovers(found: Sequence[Leftover], *, done: bool) -> None:
    """What may go, a line each; of the cache a line for each kind of thing."""
    from medgraft.report.text import runs

    own = [one for one in found if one.why != "unused"]
    rows = [(str(one.path), one.why, one.what, runs.size(one.size)) for one in own]
    unused: dict[str, list[Leftover]] = {}
    for one in found:
        if one.why == "unused":
            unused.setdefault(one.what.partition(",")[0], []).append(one)
    rows += [
        (f"cache: {len(some):,} of {what}", "unused", "", runs.size(sum(one.size for one in some)))
        for what, some in unused.items()
    ]
    if not rows:
        typer.echo("nothing to clean up")
        return
    show_rows(("what", "why", "", "size"), rows)
    if not done:
        typer.echo(
            f"{runs.size(sum(one.size for one in found))} in all; nothing is removed without --yes"
        )


def _show_figures(named: Mapping[str, Run]) -> None:
    """Every metric of what runs recommend, each on its run's own images."""
    from medgraft.report.text import runs
    from medgraft.report.text.formatting import name_metric

    parts, metrics = runs.measured(list(named.values()))
    for part in parts:
        rows = [
            (
                name_metric(metric),
                *(
                    runs.figure(metric, run.figures.get(part, {}).get(metric))
                    for run in named.values()
                ),
            )
            for metric in metrics
        ]
        words = runs.PARTS[part]
        show_rows((words, *(name or "value (95 % interval)" for name in named)), rows)


def show_comparison(found: RunComparison) -> None:
    """Two runs beside each other: what can be told, what changed, every figure."""
    from medgraft.report.text import runs
    from medgraft.report.text.formatting import sentence

    console = new_console()
    for letter, run in (("A", found.a), ("B", found.b)):
        console.print(plain(f"{letter}: {run.path}  {runs.scenario(run.scenario)}"))
    console.print(plain(f"\n{sentence(runs.headline(found))}\n"), style="bold")
    for said in (*runs.overlap(found), *runs.cautions(found)):
        console.print(plain(said))
    for one in found.recommended:
        both = " and ".join(runs.figure(one.metric, figure) for figure in (one.a, one.b))
        console.print(plain(f"- {sentence(runs.verdict(one))} A and B: {both}."))
    if found.not_paired == "one run":
        return
    if found.changes:
        show_rows(("", "what changed", "A", "B"), map(runs.change, found.changes))
    else:
        console.print("Nothing that the two folders tell changed between them.")
    _show_figures({"A": found.a, "B": found.b})
    if said := runs.common_sentence(found):
        console.print(plain(said))
    apart = [
        (runs.scenario(key), runs.gap(one), runs.p(one))
        for key, one in runs.told_apart(found)[:SHOWN]
    ]
    if apart:
        show_rows(("scenario", "B minus A", "p"), apart)
