"""The decision curve: what acting by a classifier is worth at each threshold."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from medgraft.report.charts.plots import MUTED, SERIES, SQUARE, drawing, make_axes, to_svg
from medgraft.results.curves import DecisionCurve

LEAST = -0.1  # of the net benefit that is drawn, in shares of the most there can be


def decision(name: str, curve: DecisionCurve, positive: str) -> Markup:
    """Net benefit against the threshold, beside acting on all and on nobody."""
    with drawing((SQUARE, SQUARE)) as figure:
        axes = make_axes(figure, left=66, right=16, top=16, bottom=58)
        most = 1.1 * max(float(curve.high.max()), 1e-3)
        axes.set(
            xlim=(-0.02, 1.02),
            ylim=(LEAST * most, most),
            xlabel="acts from this probability on",
            ylabel="net benefit an image",
        )
        ticks = [0, 0.2, 0.4, 0.6, 0.8, 1]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.grid(visible=True)
        axes.axhline(0, color=MUTED, lw=1.2, ls=(0, (4, 4)))
        axes.plot(curve.threshold, curve.everyone, color=MUTED, lw=1.2)
        axes.text(0.98, 0.01 * most, "on nobody", color=MUTED, ha="right", va="bottom")
        shown = np.flatnonzero(curve.everyone > 0.3 * most)
        if len(shown):
            at = shown[-1]
            axes.text(
                curve.threshold[at] - 0.02, curve.everyone[at], "on all", color=MUTED, ha="right",
                va="top",
            )  # fmt: skip
        axes.fill_between(curve.threshold, curve.low, curve.high, color=SERIES[0], alpha=0.2, lw=0)
        axes.plot(curve.threshold, curve.benefit, color=SERIES[0], lw=2.2)
        return to_svg(figure, name, f"Net benefit of acting on {positive} with its 95 % band.")
