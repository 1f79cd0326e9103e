"""The page of one run without an image or the name of one: what may leave its folder."""

from __future__ import annotations

import dataclasses

from medgraft.report.pages.render import render_page
from medgraft.report.text import formatting, runs
from medgraft.results.runs import Run
from medgraft.types import Estimate


def render_run(run: Run) -> str:
    """A finished study or scenario as one HTML page that loads nothing."""
    run = dataclasses.replace(run, data="", command="")  # paths may name a person
    parts, metrics = runs.measured([run])
    return render_page(
        "run.html.j2",
        {
            "run": run,
            "headline": headline(run),
            "words": runs,
            "facts": runs.facts(run),
            "parts": parts,
            "metrics": metrics,
            "version": run.versions.get("medgraft", ""),
        },
    )


def headline(run: Run) -> str:
    """How good what the run recommends is, on how many images."""
    estimate: Estimate | None = run.test or run.corrected or run.validation
    if estimate is None:
        return f"A run of {runs.KINDS[run.kind]}"
    where = "test images" if run.test else "images judged out of fold"
    return (
        f"{formatting.name_metric(run.metric)} {runs.figure(run.metric, estimate)} on "
        f"{formatting.count(estimate.n)} {where}"
    )
