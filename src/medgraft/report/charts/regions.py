"""Pictures with regions outlined, and the chart of what each region does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup, escape

from medgraft.report.charts.plots import (
    GRID,
    INK,
    MUTED,
    NARROW,
    PAGE,
    SERIES,
    SURFACE,
    WIDE,
    drawing,
    make_axes,
    to_svg,
)
from medgraft.report.text import formatting
from medgraft.results.evidence import POINTS, Mask, RegionEffect

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rows = Sequence[tuple[str, Sequence[RegionEffect]]]


@dataclass(frozen=True, eq=False, slots=True)
class RegionOutline:
    """A region of a picture: where it lies (side, side), what is written in it, how it is drawn."""

    place: Mask
    text: str
    decides: bool


def outlined(uri: str, side: int, marks: Sequence[RegionOutline], alt: str) -> Markup:
    """A square picture of `side` pixels with the outlines of regions on it, as inline SVG.

    uri : of the picture, shown whole. Regions that decide have a thick line, others a thin one.
    """
    shapes = [
        f'<path class="region{" decides" if mark.decides else ""}" d="{_path(mark.place)}"/>'
        for mark in sorted(marks, key=lambda mark: mark.decides)
        if mark.place.any()
    ]
    size = side / 18
    texts = [
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:.1f}"'
        f"{' class=' + chr(34) + 'decides' + chr(34) if mark.decides else ''}>"
        f"{escape(mark.text)}</text>"
        for mark in marks
        if mark.text and mark.place.any()
        for x, y in [_middle(mark.place)]
    ]
    return Markup(
        f'<svg class="regions" viewBox="0 0 {side} {side}" role="img"><title>{escape(alt)}</title>'
        f'<image href="{uri}" width="{side}" height="{side}" preserveAspectRatio="none"/>'
        f"{''.join(shapes)}{''.join(texts)}</svg>"
    )


def _path(place: Mask) -> str:
    """The outline of a mask, holes too, as an SVG path along the edges of its pixels."""
    import cv2

    doubled = np.repeat(np.repeat(place.astype(np.uint8), 2, axis=0), 2, axis=1)
    contours, _ = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    parts = []
    for contour in contours:
        points = (contour[:, 0] + 0.5) / 2  # (n, 2) x, y in pixels of the picture
        parts.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + "Z")
    return "".join(parts)


def _middle(place: Mask) -> tuple[float, float]:
    """Where a region is written in: the place that is deepest inside it, the lowest of several."""
    import cv2

    padded = np.pad(place.astype(np.uint8), 1)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    rows, columns = np.nonzero(depth >= depth.max() - 1)
    row, column = rows.max(), columns[rows == rows.max()]
    middle = float(np.median(column)), float(np.median(rows)) if _round(rows, place) else float(row)
    return middle


def _round(rows: np.ndarray, place: Mask) -> bool:
    """Whether the deepest places lie together, not along a ring."""
    return bool(np.ptp(rows) < len(place) / 3)


def effects_chart(name: str, groups: Rows, *, narrow: bool = False) -> Markup:
    """Labels in 100 that follow each region, as points with intervals, in groups."""
    limit = 100 * POINTS
    step, head = (46, 40) if narrow else (30, 40)
    y, places, heads = 0.0, [], []
    for title, effects in groups:
        heads.append((y, title))
        y += head
        for effect in effects:
            places.append((y + step / 2, effect))
            y += step
    with drawing((NARROW if narrow else WIDE, y + 80)) as figure:
        axes = make_axes(
            figure, left=16 if narrow else 250, right=24 if narrow else 215, top=24, bottom=56
        )
        axes.set_ylim(y, 0)
        axes.axvline(0, color=MUTED, lw=1.2)
        axes.axvline(limit, color=INK, lw=1.2, ls=(0, (4, 3)))
        beside = axes.get_yaxis_transform()
        left = 0.0 if narrow else -240 / (WIDE - 465)
        ground = {"facecolor": PAGE, "edgecolor": "none", "pad": 1.5}
        for top, title in heads:
            axes.text(
                left, top + 22, title, transform=beside, va="center", weight="bold", bbox=ground
            )
        for place, effect in places:
            _row(axes, place, effect, left, narrow=narrow)
        axes.text(limit, -6, f"from {limit:.0f} on it matters", ha="left", va="bottom", fontsize=13)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.margins(x=0.04)
        axes.grid(axis="x", color=GRID)
        axes.set_xlabel(
            "labels in 100 that follow"
            if narrow
            else "labels in 100 that follow the region's class"
        )
        alt = "; ".join(f"{e.region}: {_figure(e)}{_word(e)}" for _, e in places)
        return to_svg(
            figure, name, f"Labels in 100 that follow each region, 95 % intervals. {alt}."
        )


def _word(effect: RegionEffect) -> str:
    if effect.turns_against:
        return ", the other way round"
    return ", decides" if effect.decides else ""


def _row(axes: Axes, y: float, effect: RegionEffect, left: float, *, narrow: bool) -> None:
    """One region: its name, its interval, its figure in words."""
    sure = effect.sure
    colour = SERIES[1] if sure and effect.role in ("declared", "suspect") else MUTED
    points = effect.points
    place = y + 9 if narrow else y
    axes.hlines(place, 100 * points.low, 100 * points.high, color=colour, lw=3 if sure else 1.8)
    axes.plot(
        100 * points.value, place, marker="D" if sure else "o", ms=8, color=colour, mew=1.8,
        ls="none", mfc=colour if sure else SURFACE,
    )  # fmt: skip
    beside = axes.get_yaxis_transform()
    weight = "bold" if sure else "normal"
    ground = {"facecolor": PAGE, "edgecolor": "none", "pad": 1}
    label = formatting.shorten(effect.region, 34)
    if narrow:
        text = f"{label} {_figure(effect)}"
        axes.text(
            0, y - 11, text, transform=beside, va="center", weight=weight, fontsize=13, bbox=ground
        )
    else:
        axes.text(left, y, label, transform=beside, va="center", weight=weight)
        axes.text(1.02, y, _figure(effect), transform=beside, va="center", weight=weight)


def _figure(effect: RegionEffect) -> str:
    """Labels in 100 with their interval.

    >>> from medgraft.types import Estimate
    >>> points = Estimate(0.123, -0.004, 0.2, 80, "by hand")
    >>> _figure(RegionEffect("ring", "declared", "", points, 0.1, 1.0, 0.01, 0.05, 80))
    '12 (0 to 20)'
    """
    low, value, high = (
        f"{100 * x:.0f}".replace("-0", "0").replace("-", "−")
        for x in (effect.points.low, effect.points.value, effect.points.high)
    )
    text = f"{value} ({low} to {high})"
    if effect.decides and effect.points.value < POINTS:  # it was the order that suffered
        text += f", AUROC −{effect.ranking:.2f}"
    return text
