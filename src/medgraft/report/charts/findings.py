"""Several findings on one axis, and which come together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from medgraft.report.charts.plots import (
    GRID,
    INK,
    MUTED,
    NARROW,
    SERIES,
    SURFACE,
    WIDE,
    drawing,
    make_axes,
    set_ticks,
    to_svg,
)
from medgraft.report.text import formatting
from medgraft.types import Estimate

if TYPE_CHECKING:
    from matplotlib.patches import Rectangle

Row = tuple[str, Estimate, bool]
"""A finding, its figure, and whether it is told from chance."""


def findings(
    name: str, rows: Sequence[Row], metric: str, chance: float | None, *, narrow: bool = False
) -> Markup:
    """Findings as points with intervals, what is not told from chance hollow."""
    step, top = (40, 4) if narrow else (26, 4)
    longest = max(len(row[0]) for row in rows)
    left = 12 if narrow else min(300, 20 + 8 * longest)
    height = step * len(rows) + 66
    with drawing((NARROW if narrow else WIDE, height)) as figure:
        axes = make_axes(figure, left=left, right=16 if narrow else 70, top=top, bottom=58)
        if chance is not None:
            axes.axvline(chance, color=MUTED, lw=1.2, ls=(0, (3, 3)))
        beside = axes.get_yaxis_transform()
        for y, (text, found, told) in enumerate(rows):
            if formatting.is_missing(found.value):
                continue
            axes.hlines(y, found.low, found.high, color=SERIES[0], lw=2)
            axes.plot(
                found.value, y, marker="o", ms=7, color=SERIES[0], ls="none", mew=1.8,
                mfc=SERIES[0] if told else SURFACE,
            )  # fmt: skip
            figures = formatting.value(metric, found.value)
            if narrow:
                short = formatting.shorten(text, 32)
                axes.text(0.01, y - 0.42, short, transform=beside, va="center", fontsize=13)
                axes.text(0.99, y - 0.42, figures, transform=beside, va="center", ha="right")
            else:
                axes.text(1.02, y, figures, transform=beside, va="center")
        axes.set_ylim(len(rows) - 0.5, -0.8 if narrow else -0.6)
        axes.set_yticks(
            [] if narrow else range(len(rows)),
            [] if narrow else [formatting.shorten(text, 34) for text, _, _ in rows],
        )
        axes.tick_params(axis="y", length=0, pad=8)
        axes.spines["left"].set_visible(False)
        axes.margins(x=0.04)
        axes.grid(axis="x")
        title = formatting.name_metric(metric)
        axes.set_xlabel(title)
        set_ticks(axes, "x", metric, most=4 if narrow else 6)
        alt = "; ".join(
            f"{text} {formatting.value(metric, one.value)} ({formatting.interval(metric, one)})"
            f"{'' if told else ', not told from chance'}"
            for text, one, told in rows
        )
        return to_svg(figure, name, f"{title} of {len(rows)} findings. {alt}.")


def company(
    name: str,
    names: Sequence[str],
    shares: Mapping[tuple[str, str], float],
    gaps: Mapping[tuple[str, str], tuple[float, bool]],
) -> Markup:
    """How often the finding of a row comes with that of a column, and what it loses without it.

    shares : (row, column) → the share of images with the first that have the second. gaps : the
    AUROC of the first without the second minus its usual one, and whether that is a warning.
    """
    n = len(names)
    cell = max(13.0, min(64.0, 560 / n))
    side, room = cell * n, min(220, 16 + 7.6 * max(map(len, names)))
    written = cell >= 44
    with drawing((side + room + 20, side + room + 20)) as figure:
        axes = make_axes(figure, left=room, right=20, top=room, bottom=20)
        axes.set(xlim=(0, n), ylim=(n, 0))
        for i, one in enumerate(names):
            for j, other in enumerate(names):
                if i == j:
                    continue
                share = shares.get((one, other), 0.0)
                gap = gaps.get((one, other))
                size = float(np.sqrt(share)) * 0.92
                colour = SERIES[1] if gap and gap[1] else SERIES[0]
                axes.add_patch(_square(j + 0.5, i + 0.5, size, colour))
                if written and gap:
                    text = f"{gap[0]:+.2f}".replace("-", "−")
                    axes.text(j + 0.5, i + 0.5, text, ha="center", va="center", fontsize=12)
        middle = np.arange(n) + 0.5
        size = 13 if cell >= 20 else 9
        shown = [formatting.shorten(one, 26) for one in names]
        axes.xaxis.tick_top()
        axes.set_xticks(middle, shown, rotation=90, fontsize=size)
        axes.set_yticks(middle, shown, fontsize=size)
        axes.set_xticks(range(n + 1), minor=True)
        axes.set_yticks(range(n + 1), minor=True)
        axes.grid(which="minor", color=GRID)
        axes.tick_params(which="both", length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        alt = "; ".join(
            f"{one} with {other} in {formatting.percent(share)}"
            + (f", {gaps[one, other][0]:+.3f} without it" if (one, other) in gaps else "")
            for (one, other), share in sorted(shares.items(), key=lambda p: -p[1])[:24]
            if share
        )
        return to_svg(figure, name, f"Which findings come together. {alt}.")


def _square(x: float, y: float, size: float, colour: str) -> Rectangle:
    from matplotlib.patches import Rectangle

    corner = (x - size / 2, y - size / 2)
    return Rectangle(corner, size, size, facecolor=colour, edgecolor=INK, lw=0, alpha=0.45)
