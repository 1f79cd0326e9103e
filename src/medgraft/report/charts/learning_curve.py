"""The learning curve as a chart: measured points, and where a power law goes from them."""

from __future__ import annotations

from markupsafe import Markup

from medgraft.report.charts.plots import (
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
from medgraft.results.recommendation import LearningCurve


def learning_curve(name: str, found: LearningCurve, metric: str, *, narrow: bool = False) -> Markup:
    """The metric over the images learned from, on a logarithmic axis; twice as many set apart."""
    x = [point.n_images for point in found.points]
    width, title = (NARROW if narrow else WIDE), formatting.name_metric(metric)
    with drawing((width, 260)) as figure:
        axes = make_axes(figure, left=64, right=24, top=16, bottom=58)
        axes.set_xscale("log")
        y = [point.estimate.value for point in found.points]
        for at, point in zip(x, found.points, strict=True):
            axes.vlines(at, point.estimate.low, point.estimate.high, color=SERIES[0], lw=2)
        axes.plot(x, y, color=SERIES[0], lw=2.2, marker="o", ms=7)
        alt = "; ".join(
            f"{at:,} images: {formatting.value(metric, value)}"
            for at, value in zip(x, y, strict=True)
        )
        if found.twice is not None:
            then = 2 * x[-1]
            axes.plot(
                [x[-1], then], [y[-1], found.twice.value], color=MUTED, lw=1.8, ls=(0, (4, 3))
            )
            axes.vlines(then, found.twice.low, found.twice.high, color=MUTED, lw=2)
            axes.plot(then, found.twice.value, marker="o", ms=8, color=MUTED, mfc=SURFACE, mew=2)
            axes.annotate(
                "twice as many", (then, found.twice.high), (0, 6), textcoords="offset points",
                ha="right" if narrow else "center", va="bottom", color=INK, size=13,
            )  # fmt: skip
            x = [*x, then]
            alt += (
                f"; with twice as many expected {formatting.value(metric, found.twice.value)} "
                f"({formatting.interval(metric, found.twice)})"
            )
        axes.set_xticks(x, [f"{at:,}" for at in x])
        axes.minorticks_off()
        axes.margins(x=0.1, y=0.18)
        axes.grid(axis="y")
        axes.set_xlabel("images learned from")
        axes.set_ylabel(title)
        set_ticks(axes, "y", metric, most=5)
        return to_svg(figure, name, f"{title} out of fold by images learned from. {alt}.")
