"""The page of two runs beside each other."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from medgraft import files
from medgraft.report.charts import plots
from medgraft.report.pages.render import render_page
from medgraft.report.text import formatting, runs
from medgraft.results.runs import RunComparison

MOST = 30  # scenarios of the same key that are listed


def write_comparison(path: Path, found: RunComparison) -> None:
    """Write the page, whole or not at all.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    files.write_text(path, render_comparison(found))


def render_comparison(found: RunComparison) -> str:
    """Two runs as one HTML page that loads nothing and names no image."""
    apart = runs.told_apart(found)
    parts, metrics = runs.measured((found.a, found.b))
    return render_page(
        "compare.html.j2",
        {
            "found": found,
            "both": {"A": found.a, "B": found.b},
            "headline": formatting.sentence(runs.headline(found)),
            "words": runs,
            "overlap": runs.overlap(found),
            "cautions": runs.cautions(found),
            "parts": parts,
            "metrics": metrics,
            "charts": list(_charts(found)),
            "changes": [(runs.CHANGES[one.what], *runs.change(one)[1:]) for one in found.changes],
            "common_sentence": runs.common_sentence(found),
            "common": apart[:MOST],
            "left": len(apart) - min(len(apart), MOST),
            "version": importlib.metadata.version("medgraft"),
        },
    )


def _charts(found: RunComparison) -> list[dict[str, object]]:
    """The paired differences around zero, a chart a metric."""
    charts: list[dict[str, object]] = []
    for metric in dict.fromkeys(one.metric for one in found.recommended):
        rows = [
            plots.DifferenceRow(
                f"{formatting.capitalised(runs.PARTS[one.part])}, "
                f"{formatting.images_of_groups(one.a.n, one.patients)}",
                one.comparison,
                "the same" if one.same else formatting.p_value(one.comparison.p),
                not one.same and one.comparison.p < runs.LEVEL,
            )
            for one in found.recommended
            if one.metric == metric and not formatting.is_missing(one.comparison.difference)
        ]
        if rows:
            name = f"gap-{metric}"
            caption = (
                f"B minus A in {formatting.name_metric(metric)}, with the 95 % interval over "
                "patients: where it holds 0, the two are not told apart."
            )
            wide, narrow = (
                plots.forest(f"{name}-{way}", rows, metric, narrow=way == "narrow")
                for way in ("wide", "narrow")
            )
            charts.append({"wide": wide, "narrow": narrow, "caption": caption})
    return charts
