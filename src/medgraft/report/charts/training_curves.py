"""Charts of training: log loss and AUROC by epoch, and the score by the depth trained from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from medgraft.report.charts import plots
from medgraft.report.charts.plots import INK, MARKERS, MUTED, NARROW, SERIES, SURFACE, WIDE, End
from medgraft.report.text import formatting
from medgraft.results.training import DepthSearch, DepthTrial, Epoch, best_epoch
from medgraft.types import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HELD_OUT, LEARNED = SERIES[0], SERIES[1]
PANELS = ("log loss", "AUROC")  # in the order in which `Epoch` keeps them
Histories = Mapping[str, Sequence[Epoch]]
Tint = Callable[[str], str]


def history(name: str, histories: Histories, *, narrow: bool = False) -> Markup:
    """Log loss and AUROC by epoch of images learned from and held out: runs thin, mean thick.

    histories : of runs that held images out, by name; one at least.
    """
    size = (NARROW, 540) if narrow else (WIDE, 300)
    with plots.drawing(size) as figure:
        _draw(figure, histories, str, narrow=narrow)
        return plots.to_svg(figure, name, _said(histories))


def history_png(histories: Histories) -> bytes:
    """The same chart as a PNG that stands alone."""
    with plots.drawing((WIDE, 300), paper=True) as figure:
        _draw(figure, histories, lambda colour: plots.PAPER[colour], narrow=False)
        return plots.to_png(figure)


def scores(run: Sequence[Epoch], which: int, side: str) -> Floats:
    """(n_epochs,) of loss (0), AUROC (1) or accuracy (2), of `train` or `holdout`; from epoch 0."""
    return np.array([getattr(epoch, side)[which] for epoch in run], np.float64)


def _draw(figure: Figure, histories: Histories, tint: Tint, *, narrow: bool) -> None:
    for which, title in enumerate(PANELS):
        if narrow:
            box = {"left": 58, "right": 84, "top": 34 + 260 * which, "bottom": 310 - 260 * which}
        else:
            box = {"left": 58 + 362 * which, "right": 446 - 362 * which, "top": 34, "bottom": 56}
        axes = plots.make_axes(figure, **box)
        _panel(axes, histories, which, tint)
        axes.set_title(title, loc="left", fontsize=14, color=tint(INK))
        if not narrow or which:
            axes.set_xlabel("epoch (0: before training)")


def _panel(axes: Axes, histories: Histories, which: int, tint: Tint) -> None:
    runs = list(histories.values())
    common = min(map(len, runs))  # a mean of fewer runs than all would jump where one ends
    ends = []
    means = {}
    for side, label, colour in (("train", "learned", LEARNED), ("holdout", "held out", HELD_OUT)):
        values = [scores(run, which, side) for run in runs]
        for line in values if len(runs) > 1 else ():
            axes.plot(range(len(line)), line, color=tint(colour), lw=0.9, alpha=0.55)
        mean = np.mean([line[:common] for line in values], axis=0)
        means[side] = mean
        dashes = (0, (5, 2)) if side == "train" else "solid"
        axes.plot(range(common), mean, color=tint(colour), lw=2.6, ls=dashes, zorder=3)
        finite = mean[np.isfinite(mean)]
        if len(finite):
            ends.append((float(finite[-1]), label, tint(colour)))
    axes.fill_between(
        range(common), means["train"], means["holdout"], color=tint(MUTED), alpha=0.14, lw=0
    )
    for run in runs:
        at = best_epoch(run)
        axes.plot(
            at, scores(run, which, "holdout")[at], marker="o", ms=7, mfc=tint(SURFACE),
            mec=tint(HELD_OUT), mew=1.8, ls="none", zorder=4,
        )  # fmt: skip
    last = max(map(len, runs)) - 1
    axes.set_xlim(-0.04 * max(last, 1), max(last, 1) * 1.04)
    step = max(1, math.ceil(last / 6))
    axes.set_xticks(range(0, last + 1, step))
    axes.grid(axis="y")
    plots.set_ticks(axes, "y", "log_loss", most=5)
    _name_ends(axes, ends)


def _name_ends(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Name the two lines beside the axes at the height of their ends, kept apart."""
    low, high = axes.get_ylim()
    gap = 0.12 * (high - low)
    places = sorted(ends)
    if len(places) == 2 and places[1][0] - places[0][0] < gap:
        middle = (places[0][0] + places[1][0]) / 2
        places = [(middle + (i - 0.5) * gap, *one[1:]) for i, one in enumerate(places)]
    beside = axes.get_yaxis_transform()
    for y, label, colour in places:
        axes.text(1.02, y, label, transform=beside, va="center", color=colour, weight="bold")
    axes.set_ylim(low, high)


def _said(histories: Histories) -> str:
    parts = []
    for name, run in histories.items():
        at = best_epoch(run)
        kept = run[at]
        parts.append(
            f"{name}: kept epoch {at} of {len(run) - 1}, log loss "
            f"{formatting.number(kept.train[0])} learned from and "
            f"{formatting.number(kept.holdout[0])} held out, AUROC "
            f"{formatting.number(kept.train[1])} and {formatting.number(kept.holdout[1])}"
        )
    return f"Log loss and AUROC by epoch, of images learned from and held out. {'; '.join(parts)}."


# --------------------------------------------------------------------------- score by depth


def depth_curve(name: str, search: DepthSearch, *, narrow: bool = False) -> Markup:
    """The metric by the layer trained from, a line a round with intervals; the chosen is ringed."""
    depths = [trial.depth for trial in search.curve]
    rounds = [
        [trial for trial in search.trials if trial.rung == rung]
        for rung in sorted({trial.rung for trial in search.trials})
    ]
    metric = formatting.name_metric(search.metric)
    width = NARROW if narrow else WIDE
    with plots.drawing((width, 330)) as figure:
        axes = plots.make_axes(figure, left=64, right=100, top=14, bottom=98)
        ends = []
        for i, trials in enumerate(rounds):
            colour, marker = SERIES[i % len(SERIES)], MARKERS[i % len(MARKERS)]
            trials = sorted(trials, key=lambda trial: depths.index(trial.depth))
            x = [depths.index(trial.depth) + 0.1 * i for trial in trials]
            _depth_line(axes, x, trials, colour, marker)
            ends.append(End(trials[-1].estimate.value, f"round {i + 1}", colour, marker))
        chosen = next(t for t in reversed(search.trials) if t.depth == search.chosen)
        axes.plot(
            depths.index(chosen.depth) + 0.1 * chosen.rung, chosen.estimate.value, marker="o",
            ms=16, color=INK, mfc="none", mew=1.4,
        )  # fmt: skip
        axes.set_xticks(range(len(depths)), [formatting.shorten(depth, 14) for depth in depths])
        axes.tick_params(axis="x", labelrotation=40)
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
        axes.grid(axis="y")
        axes.set_ylabel(metric)
        axes.set_xlabel(
            "trained from: all ← → least"
            if narrow
            else "trained from here on: everything ← → the least"
        )
        axes.xaxis.set_label_coords(0.5, -84 / 218)
        plots.set_ticks(axes, "y", search.metric, most=5)
        plots.end_labels(axes, ends, x=len(depths) - 1)
        alt = ", ".join(
            f"{trial.depth} {formatting.value(search.metric, trial.estimate.value)}"
            for trial in search.curve
        )
        return plots.to_svg(
            figure, name, f"{metric} by the layer trained from: {alt}; chosen {search.chosen}."
        )


def _depth_line(
    axes: Axes, x: Sequence[float], trials: Sequence[DepthTrial], colour: str, marker: str
) -> None:
    value, low, high = (
        [getattr(trial.estimate, end) for trial in trials] for end in ("value", "low", "high")
    )
    axes.vlines(x, low, high, color=colour, lw=1.8, alpha=0.7)
    axes.plot(x, value, color=colour, marker=marker, ms=7, lw=2, mec=SURFACE, mew=1)
