"""The page of several findings: all at a glance, and the way to each one's own report."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from medgraft import files
from medgraft.evaluate.metrics import METRICS
from medgraft.report.charts import findings as charts
from medgraft.report.pages.render import render_page
from medgraft.report.text import formatting, panel
from medgraft.results.panel import PanelResult
from medgraft.types import Estimate

MOST_PAIRS = 40  # that are listed


@dataclass(frozen=True, slots=True)
class PanelPage:
    """What the page says besides the result: what was typed, and each scenario's short name."""

    command: str
    names: Mapping[str, str]


def write_panel(path: Path, result: PanelResult, page: PanelPage) -> None:
    """Write the page, whole or not at all.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    files.write_text(path, render_panel(result, page))


def render_panel(result: PanelResult, page: PanelPage) -> str:
    """The findings as one HTML page that loads nothing and names no image."""
    part, mean = panel.mean_of(result)
    rows = [
        (one.name, _figure(result, i, part), one.told == "told")
        for i, one in enumerate(result.findings)
    ]
    chance = _chance(result.metric)
    wide, narrow = (
        charts.findings(f"findings-{way}", rows, result.metric, chance, narrow=way == "narrow")
        for way in ("wide", "narrow")
    )
    pairs = sorted(result.company, key=lambda one: one.difference.difference)
    return render_page(
        "panel.html.j2",
        {
            "result": result,
            "page": page,
            "words": panel,
            "part": part,
            "mean": mean,
            "headline": formatting.sentence(panel.headline(result)),
            "wide": wide,
            "narrow": narrow,
            "company": _company(result) if result.company else None,
            "pairs": pairs[:MOST_PAIRS],
            "left": max(0, len(pairs) - MOST_PAIRS),
            "uncertain": [one for one in result.findings if one.others],
            "version": importlib.metadata.version("medgraft"),
        },
    )


def _figure(result: PanelResult, at: int, part: str) -> Estimate:
    """The figure of a finding that the chart shows; out of fold where it has none on the test."""
    one = result.findings[at]
    tested = one.test if part == "test" and one.tested else None
    return (tested or one.validation)[result.metric]


def _chance(metric: str) -> float | None:
    return 0.5 if metric in ("auroc", "balanced_accuracy") and metric in METRICS else None


def _company(result: PanelResult) -> object:
    names = [one.name for one in result.findings]
    with_it = {one.name: max(one.n_with, 1) for one in result.findings}
    shares = {}
    for a in names:
        for b in names:
            if a != b:
                both = result.pairs.get((a, b), result.pairs.get((b, a), 0))
                shares[a, b] = both / with_it[a]
    warned = set(map(id, result.warnings()))
    gaps = {
        (one.name, one.without): (one.difference.difference, id(one) in warned)
        for one in result.company
    }
    return charts.company("company", names, shares, gaps)
