"""The proof of the statistics: docs/results/statistics.md, from simulations whose truth is known.

`make prove-statistics` runs it in full (an hour on 2 cores); cells that are in
experiments/results/statistics.json already are not run again, so that a killed run goes on
(`--again` measures them anew, after a change of the code). `--size ci` is the short form, which
writes nothing and is part of what a change must pass: fewer runs of some cells, with the same
random numbers every time. There a figure fails if it lies outside its bounds by more than `SLACK`
of the simulation's own standard errors. All bounds stand beside the cells in experiments/proof/.
Exit code 1: a figure is out of bounds.
"""

from __future__ import annotations

import argparse
import dataclasses
import fnmatch
import json
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from medgraft.files import written_file
from medgraft.terminal import progress
from proof import (
    cards,
    comparisons,
    conformal,
    fallbacks,
    grades,
    heads,
    intervals,
    leaks,
    stacks,
    views,
)
from proof.cell import Cell, Figure, read_figures
from statistics_page import write_page

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "statistics.json"
PROCESSES = 2
RULES = 2  # of intervals, tests and cards: raise it when one of them changes
SLACK = 2.5  # a figure whose truth lies at the edge of its bounds fails once in 160 times


def main() -> None:
    """Simulate what is not in the results yet, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=("full", "ci"), default="full")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="cells by name: '*svm*'")
    parser.add_argument("--again", action="store_true", help="measure anew what is known")
    parser.add_argument("--page", action="store_true", help="only write the page anew")
    asked = parser.parse_args()
    every = list(cells())
    wanted = [cell for cell in every if fnmatch.fnmatch(cell.name, f"*{asked.only}*")]
    if asked.size == "ci":
        sys.exit(short_form([cell for cell in wanted if cell.sample]))
    known: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if not asked.page:
        missing = [cell for cell in wanted if asked.again or not _as_now(known.get(cell.name))]
        for cell, made in simulated(missing, [cell.repeats for cell in missing]):
            known[cell.name] = made
            write_results({cell.name: known[cell.name] for cell in every if cell.name in known})
    found = {
        cell.name: read_figures(known[cell.name]["figures"]) for cell in every if cell.name in known
    }
    seconds = sum(known[name]["seconds"] for name in found)
    older = sum(not _as_now(known[name]) for name in found)
    write_page(every, found, seconds, older, ROOT)
    off = {cell.name: cell.outside(found[cell.name]) for cell in every if cell.name in found}
    print(f"{len(found)} of {len(every)} cells; out of bounds: {sum(map(len, off.values()))}")
    sys.exit(1 if any(off.values()) else 0)


def _as_now(made: Mapping[str, Any] | None) -> bool:
    """Whether a cell was simulated by the rules of today."""
    return made is not None and made.get("rules", 1) == RULES


def cells() -> Iterator[Cell]:
    """All cells, question by question."""
    yield from intervals.cells()
    yield from heads.cells()
    yield from leaks.cells()
    yield from stacks.cells()
    yield from views.cells()
    yield from cards.cells()
    yield from comparisons.cells()
    yield from fallbacks.cells()
    yield from conformal.cells()
    yield from grades.cells()


def write_results(known: Mapping[str, Any]) -> None:
    """Write the results file, a line a cell."""
    rows = (f"{json.dumps(name)}: {json.dumps(made)}" for name, made in known.items())
    with written_file(RESULTS) as path:
        path.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")


def short_form(chosen: Sequence[Cell]) -> int:
    """Run the sample of each cell and say what is out of bounds; 1 if anything is."""
    began, out, by_chance = time.perf_counter(), 0, 0.0
    for cell, made in simulated(chosen, [cell.sample for cell in chosen]):
        figures = read_figures(made["figures"])
        by_chance += sum(
            figures[name].chance_off(bound, SLACK)
            for name, bound in cell.bounds.items()
            if name in figures
        )
        for name in cell.outside(figures, SLACK):
            out += 1
            is_, bound = figures.get(name, Figure.of([])), cell.bounds[name]
            print(
                f"OUT: {cell.name}: {name} is {is_.value:.3f} ± {is_.error:.3f}, "
                f"should be {bound.nominal:g} ({bound.low:g} to {bound.high:g})"
            )
    checked = sum(len(cell.bounds) for cell in chosen)
    print(
        f"{len(chosen)} cells, {checked} figures in {time.perf_counter() - began:.0f} s: "
        f"{out or 'none'} out of bounds by more than {SLACK:g} simulation errors. Were all as they "
        f"should be, other random numbers would put one out with a chance of {by_chance:.1%}."
    )
    return int(out > 0)


def simulated(
    chosen: Sequence[Cell], repeats: Sequence[int]
) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Each cell with what is kept of it, as soon as it is done."""
    bar = progress(False)
    with (
        ProcessPoolExecutor(PROCESSES) as pool,
        bar.task("Simulating", len(chosen)) as advance,
    ):
        jobs = {
            pool.submit(_simulate, cell, times): cell
            for cell, times in zip(chosen, repeats, strict=True)
        }
        for job in as_completed(jobs):
            yield jobs[job], job.result()
            advance(1)


def _simulate(cell: Cell, repeats: int) -> dict[str, Any]:
    began = time.perf_counter()
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("error")
        figures = cell.simulate(repeats)
    return {
        "rules": RULES,
        "repeats": repeats,
        "seconds": round(time.perf_counter() - began, 1),
        "figures": {
            name: [round(v, 6) for v in dataclasses.astuple(one)] for name, one in figures.items()
        },
    }


if __name__ == "__main__":
    main()
