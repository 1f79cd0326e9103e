"""Charts as SVG text for the page: drawn by matplotlib, coloured by the page.

Shapes and text are drawn in stand-in colours that are replaced by CSS variables, so that one
drawing reads in light, in dark and on paper. Text stays text, in the reader's own font. Every
chart has an alternative text. Nothing touches pyplot, and equal input gives equal bytes.
"""

from __future__ import annotations

import io
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
from markupsafe import Markup

from medgraft.evaluate.metrics import METRICS
from medgraft.evaluate.recalibration import comes_true
from medgraft.report.text import formatting
from medgraft.report.text.scenario_names import way_of
from medgraft.results.figures import Calibration, Comparison
from medgraft.results.study import DepthPoint
from medgraft.types import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from medgraft.results.curves import Curve, ReliabilityBin

INK, MUTED, GRID, SURFACE, SHADE = "#010101", "#020202", "#030303", "#040404", "#050505"
PAGE = "#060606"
SERIES = ("#0a0001", "#0a0002", "#0a0003", "#0a0004", "#0a0005", "#0a0006")
MARKERS = ("o", "s", "^", "D", "v", "P")
VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--line)",
    SURFACE: "var(--surface)",
    SHADE: "var(--shade)",
    PAGE: "var(--page)",
    **{colour: f"var(--series-{i})" for i, colour in enumerate(SERIES, start=1)},
}
PAPER = {  # the colours where there is no page to give them: those of report.css in light
    INK: "#1b1f24",
    MUTED: "#545d68",
    GRID: "#d8dde3",
    SURFACE: "#ffffff",
    SHADE: "#eef3f8",
    PAGE: "#ffffff",
    **dict(
        zip(SERIES, ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"), strict=True)
    ),
}
WIDE, NARROW, SQUARE = 720, 360, 380  # widths of the drawings in CSS pixels
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "medgraft",
    "text.parse_math": False,
    "font.size": 14.0,
    "font.family": ["DejaVu Sans"],
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "axes.formatter.useoffset": False,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.grid": False,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "lines.solid_capstyle": "butt",
}


@dataclass(frozen=True, slots=True)
class ForestRow:
    """One line of the comparison chart; `tied` says that it cannot be told from the chosen."""

    name: str
    estimate: Estimate
    chosen: bool
    tied: bool


def comparison(
    name: str, rows: Sequence[ForestRow], metric: str, *, narrow: bool = False
) -> Markup:
    """Scenarios as points with intervals on one axis, best first, the chosen one filled."""
    longest = max(len(row.name) for row in rows)
    step = 44 if narrow else 30
    height = step * len(rows) + 70
    left = 10 if narrow else min(320, 20 + 8 * longest)
    title = formatting.name_metric(metric)
    alt = "; ".join(
        f"{row.name}: {formatting.value(metric, row.estimate.value)} "
        f"({formatting.interval(metric, row.estimate)}){', recommended' if row.chosen else ''}"
        for row in rows
    )
    with drawing((NARROW if narrow else WIDE, height)) as figure:
        axes = make_axes(figure, left=left, right=16 if narrow else 170, top=6, bottom=56)
        for y, row in enumerate(rows):
            _comparison_row(axes, y, row, metric, narrow=narrow)
        axes.set_ylim(len(rows) - 0.4, -0.75 if narrow else -0.6)
        axes.set_yticks([] if narrow else range(len(rows)), [] if narrow else _labels(rows))
        axes.tick_params(axis="y", length=0, pad=8)
        axes.spines["left"].set_visible(False)
        axes.margins(x=0.04)
        axes.grid(axis="x")
        axes.set_xlabel(f"{title}, out of fold")
        set_ticks(axes, "x", metric, most=4 if narrow else 6)
        return to_svg(figure, name, f"{title} of {len(rows)} scenarios, out of fold. {alt}.")


def _labels(rows: Sequence[ForestRow]) -> list[str]:
    return [formatting.shorten(row.name, 38) for row in rows]


def _comparison_row(axes: Axes, y: int, row: ForestRow, metric: str, *, narrow: bool) -> None:
    estimate, colour = row.estimate, SERIES[0] if row.chosen else MUTED
    if row.tied or row.chosen:
        axes.axhspan(y - (0.7 if narrow else 0.5), y + (0.3 if narrow else 0.5), color=SHADE, lw=0)
    axes.hlines(y, estimate.low, estimate.high, color=colour, lw=3 if row.chosen else 1.8)
    axes.plot(
        estimate.value,
        y,
        marker="D" if row.chosen else "o",
        ms=9 if row.chosen else 7,
        color=colour,
        mfc=colour if row.chosen else SURFACE,
        mec=colour,
        mew=1.8,
        ls="none",
    )
    figure_text = formatting.value(metric, estimate.value)
    weight = "bold" if row.chosen else "normal"
    beside = axes.get_yaxis_transform()
    if narrow:
        axes.text(
            0.01,
            y - 0.4,
            formatting.shorten(row.name, 34),
            transform=beside,
            va="center",
            weight=weight,
            fontsize=13,
        )
        axes.text(
            0.99,
            y - 0.4,
            figure_text,
            transform=beside,
            va="center",
            ha="right",
            weight=weight,
            fontsize=13,
        )
    else:
        note = f"{figure_text} recommended" if row.chosen else figure_text
        axes.text(1.02, y, note, transform=beside, va="center", weight=weight)


@dataclass(frozen=True, slots=True)
class DifferenceRow:
    """One line of a chart of differences: what it is about, what it says, whether it is sure."""

    text: str
    comparison: Comparison
    answer: str
    sure: bool


def forest(
    name: str,
    rows: Sequence[DifferenceRow],
    metric: str,
    *,
    where: str = "",
    narrow: bool = False,
) -> Markup:
    """Differences with their paired intervals around zero, each under what it is about.

    where : on which images, for those who do not see it; '' where the rows say so.
    """
    title = f"difference in {formatting.name_metric(metric)}"
    folded = [textwrap.wrap(one.text, 40 if narrow else 84) for one in rows]
    line, rest = 18, 34  # pixels of a line of words, and of the point under it
    heights = [line * len(lines) + rest for lines in folded]
    tops = np.cumsum([0, *heights])
    with drawing((NARROW if narrow else WIDE, float(tops[-1]) + 62)) as figure:
        axes = make_axes(figure, left=24, right=24, top=4, bottom=58)
        axes.set_ylim(float(tops[-1]), 0)
        axes.axvline(0, color=MUTED, lw=1.2)
        beside = axes.get_yaxis_transform()
        for top, lines, one in zip(tops, folded, rows, strict=False):
            seen, found = one.sure, one.comparison
            colour, y = (SERIES[0] if seen else MUTED), top + line * len(lines) + rest * 0.36
            axes.hlines(y, found.low, found.high, color=colour, lw=3 if seen else 1.8)
            axes.plot(
                found.difference, y, marker="o", ms=8, color=colour, mew=1.8, ls="none",
                mfc=colour if seen else SURFACE,
            )  # fmt: skip
            text = "\n".join(lines)
            ground = {"facecolor": PAGE, "edgecolor": "none", "pad": 1}
            axes.text(0, top, text, transform=beside, va="top", fontsize=13, bbox=ground)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.margins(x=0.04)
        axes.grid(axis="x")
        arrow = "← better" if METRICS[metric].lower_is_better else "better →"
        points = " in points" if metric in formatting.PERCENT else ""
        axes.set_xlabel(f"{title}{points}, {arrow}")
        set_ticks(axes, "x", metric, most=4 if narrow else 6, gaps=True)
        alt = "; ".join(
            f"{one.text} {formatting.difference(metric, one.comparison.difference)} "
            f"({formatting.between(metric, one.comparison)}), {one.answer}"
            for one in rows
        )
        told = f"{title[0].upper()}{title[1:]}" + (f", {where}" if where else "")
        return to_svg(figure, name, f"{told}. {alt}.")


def depth(name: str, points: Sequence[DepthPoint], metric: str, *, narrow: bool = False) -> Markup:
    """The metric over the taps of one backbone: a line and a band for each head, the best ringed.

    What was tried at some taps only stands beside them as points with their intervals, where
    there is room.
    """
    points = [point for point in points if not (narrow and point.beside)]
    taps = [tap for _, tap in sorted({(point.order, point.tap) for point in points})]
    series = list(dict.fromkeys((point.beside is not None, way_of(point)) for point in points))
    heads = [head for _, head in sorted(series, key=lambda one: one[0])]
    width = NARROW if narrow else WIDE
    right = 100 if len(heads) == sum(not beside for beside, _ in series) else 150
    longest = min(24, max(map(len, taps)))
    crowded = longest * 8 * max(1, len(taps) - 1) > 0.9 * (width - 50 - right)
    room = 56 + (5 * longest if crowded else 0)
    with drawing((width, 270 + room)) as figure:
        axes = make_axes(figure, left=64, right=right, top=12, bottom=room)
        ends: list[End] = []
        for i, head in enumerate(heads):
            colour, marker = SERIES[i % len(SERIES)], MARKERS[i % len(MARKERS)]
            line = sorted((p for p in points if way_of(p) == head), key=lambda p: p.order)
            aside = 0.07 * (i - (len(heads) - 1) / 2)  # so that equal lines do not hide each other
            x = [taps.index(point.tap) + aside for point in line]
            _depth_line(axes, x, line, colour, marker)
            ends.append(End(line[-1].estimate.value, head, colour, marker))
        axes.set_xticks(range(len(taps)), [formatting.shorten(tap, 24) for tap in taps])
        if crowded:
            axes.tick_params(axis="x", labelrotation=40)
            for label in axes.get_xticklabels():
                label.set(ha="right", rotation_mode="anchor")
        axes.grid(axis="y")
        axes.set_ylabel(formatting.name_metric(metric))
        axes.set_xlabel("layer, from the image to the output")
        set_ticks(axes, "y", metric, most=5)
        plain = [point for point in points if not point.beside]
        best = max(plain, key=lambda p: p.estimate.value * METRICS[metric].sign)
        aside = 0.07 * (heads.index(best.head) - (len(heads) - 1) / 2)
        axes.plot(
            taps.index(best.tap) + aside, best.estimate.value, marker="o", ms=15, color=INK,
            mfc="none", mew=1.4,
        )  # fmt: skip
        end_labels(axes, ends, x=len(taps) - 1)
        return to_svg(
            figure,
            name,
            f"{formatting.name_metric(metric)} over {len(taps)} layers from {taps[0]} to "
            f"{taps[-1]} for {formatting.join(heads)}; best "
            f"{formatting.value(metric, best.estimate.value)} at {best.tap} with {best.head}.",
        )


def _depth_line(
    axes: Axes, x: Sequence[float], line: Sequence[DepthPoint], colour: str, marker: str
) -> None:
    """A head's line with its band; of what stands beside, points with their intervals."""
    value, low, high = (
        [getattr(point.estimate, end) for point in line] for end in ("value", "low", "high")
    )
    if line[0].beside:
        axes.vlines(x, low, high, color=colour, lw=1.8)
        axes.plot(x, value, color=colour, marker=marker, ms=7, ls="none", mec=SURFACE, mew=1)
        return
    axes.fill_between(x, low, high, color=colour, alpha=0.16, lw=0)
    axes.plot(x, value, color=colour, marker=marker, ms=6, lw=2)


class End(NamedTuple):
    """Where a line ends, and how it is drawn."""

    y: float
    head: str
    colour: str
    marker: str


def end_labels(axes: Axes, ends: Sequence[End], x: float) -> None:
    """Name the lines at their right ends, pushed down where they would overlap."""
    from matplotlib.transforms import ScaledTranslation

    low, high = axes.get_ylim()
    axes.set(xlim=axes.get_xlim(), ylim=(low, high))  # what follows must not move them
    gap = (high - low) * 0.085
    order = sorted(ends)
    places = [end.y for end in order]
    for i in reversed(range(len(places) - 1)):
        places[i] = min(places[i], places[i + 1] - gap)
    inches = axes.figure.dpi_scale_trans
    for place, end in zip(places, order, strict=True):
        mark = axes.transData + ScaledTranslation(18 / 72, 0, inches)
        text = axes.transData + ScaledTranslation(28 / 72, 0, inches)
        axes.plot(
            x, place, color=end.colour, marker=end.marker, ms=6, transform=mark, clip_on=False
        )
        axes.text(x, place, formatting.shorten(end.head, 16), va="center", transform=text)


def roc(name: str, curve: Curve, positive: str, point: tuple[float, float] | None) -> Markup:
    """Sensitivity against 1 − specificity with its band; `point` is where the classifier works."""
    with drawing((SQUARE, SQUARE)) as figure:
        axes = _square(figure, "1 − specificity", "sensitivity")
        axes.plot([0, 1], [0, 1], color=MUTED, lw=1.2, ls=(0, (4, 4)))
        axes.text(0.6, 0.54, "guessing", color=MUTED, ha="left", va="top")
        _band(axes, curve)
        if point is not None:
            _mark(axes, point, (0.06, -0.04), "left", "top")
        return to_svg(figure, name, f"ROC curve of {positive} with its 95 % band{_at(point)}.")


def precision_recall(
    name: str, curve: Curve, positive: str, point: tuple[float, float] | None, share: float
) -> Markup:
    """Precision (PPV) against recall (sensitivity) with its band; guessing gives `share`."""
    with drawing((SQUARE, SQUARE)) as figure:
        axes = _square(figure, "recall (sensitivity)", "precision (PPV)")
        axes.axhline(share, color=MUTED, lw=1.2, ls=(0, (4, 4)))
        below = share > 0.15
        axes.text(
            0.03,
            share + (-0.02 if below else 0.02),
            f"guessing: {formatting.percent(share)}",
            color=MUTED,
            va="top" if below else "bottom",
        )
        _band(axes, curve, steps="steps-pre")
        if point is not None:
            _mark(axes, point, (-0.05, -0.06), "right", "top")
        return to_svg(
            figure, name, f"Precision against recall of {positive} with its 95 % band{_at(point)}."
        )


def reliability(
    name: str, bins: Sequence[ReliabilityBin], what: str, fitted: Calibration | None = None
) -> Markup:
    """How often what was said with some probability was so; on the diagonal, it was kept.

    fitted : its curve is drawn, where the probabilities stated reach.
    """
    with drawing((SQUARE, SQUARE)) as figure:
        axes = _square(
            figure, f"stated probability of {formatting.shorten(what, 20)}", "share that was so"
        )
        axes.plot([0, 1], [0, 1], color=MUTED, lw=1.2, ls=(0, (4, 4)))
        axes.text(0.62, 0.56, "as stated", color=MUTED, va="top")
        if fitted is not None:
            stated = np.linspace(bins[0].predicted, bins[-1].predicted, 200)
            axes.plot(stated, comes_true(fitted, stated), color=SERIES[0], lw=1.2)
        for one in bins:
            axes.vlines(one.predicted, one.observed.low, one.observed.high, color=SERIES[0], lw=1.8)
            axes.plot(
                one.predicted,
                one.observed.value,
                marker="o",
                ms=8,
                color=SERIES[0],
                mec=SURFACE,
                mew=1,
            )
        pairs = ", ".join(
            f"{formatting.percent(one.predicted)}: {formatting.percent(one.observed.value)}"
            for one in bins
        )
        return to_svg(
            figure, name, f"Stated probability of {what} and the share that was so: {pairs}."
        )


# --------------------------------------------------------------------------- parts


def _at(point: tuple[float, float] | None) -> str:
    if point is None:
        return ""
    return f"; the operating point lies at {point[0]:.2f} across and {point[1]:.2f} up"


def make_axes(figure: Figure, *, left: float, right: float, top: float, bottom: float) -> Axes:
    """Axes with margins in pixels, so that text has the room it needs at every width."""
    width, height = figure.get_size_inches() * 72
    box = (left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height)
    return figure.add_axes(box)


def _square(figure: Figure, x: str, y: str) -> Axes:
    axes = make_axes(figure, left=58, right=16, top=16, bottom=58)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel=x, ylabel=y)
    ticks = [0, 0.2, 0.4, 0.6, 0.8, 1]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.grid(visible=True)
    return axes


def _band(axes: Axes, curve: Curve, steps: str = "default") -> None:
    axes.fill_between(curve.grid, curve.low, curve.high, color=SERIES[0], alpha=0.2, lw=0)
    axes.plot(curve.x, curve.y, color=SERIES[0], lw=2.2, drawstyle=steps)


def _mark(
    axes: Axes, point: tuple[float, float], offset: tuple[float, float], ha: Any, va: Any
) -> None:
    axes.plot(*point, marker="D", ms=9, color=SERIES[1], mec=SURFACE, mew=1.2, zorder=5)
    axes.text(point[0] + offset[0], point[1] + offset[1], "operating\npoint", ha=ha, va=va)


def set_ticks(axes: Axes, axis: str, metric: str, most: int, *, gaps: bool = False) -> None:
    """Round ticks; of `gaps` between percentages, in points."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    chosen = axes.xaxis if axis == "x" else axes.yaxis
    chosen.set_major_locator(MaxNLocator(most, steps=[1, 2, 5, 10]))
    low, high = axes.get_xlim() if axis == "x" else axes.get_ylim()
    scale = 100 if metric in formatting.PERCENT else 1
    digits = max(0, int(np.ceil(-np.log10(max((high - low) * scale / most, 1e-9)))))
    unit = " %" if metric in formatting.PERCENT and not gaps else ""

    def written(value: float, _: int) -> str:
        return f"{value * scale:.{digits}f}{unit}".replace("-", "−")

    chosen.set_major_formatter(FuncFormatter(written))


@contextmanager
def drawing(size: tuple[float, float], *, paper: bool = False) -> Iterator[Figure]:
    """An empty figure of `size` (width, height) CSS pixels, in the page's style.

    Letters that matplotlib's own font lacks are the reader's font's business, so it is not asked.
    paper : the style of a file that stands alone (`to_png`).
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    style = {
        key: PAPER.get(value, value) if paper else value
        for key, value in STYLE.items()
        if isinstance(value, str)
    }
    with mpl.rc_context({**STYLE, **style}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"(?s)Glyph .* missing")
        figure = Figure(figsize=(size[0] / 72, size[1] / 72))
        FigureCanvasSVG(figure)
        yield figure


def to_png(figure: Figure) -> bytes:
    """The figure as a PNG of twice as many pixels; it is drawn in the colours of `PAPER`."""
    buffer = io.BytesIO()
    figure.savefig(
        buffer, format="png", dpi=144, facecolor=PAPER[PAGE], metadata={"Software": None}
    )
    return buffer.getvalue()


def to_svg(figure: Figure, name: str, alt: str) -> Markup:
    """The figure as inline SVG: ids of its own, the page's colours and font, `alt` as its title."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    root = ElementTree.fromstring(buffer.getvalue())
    for parent in root.iter():
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    used = set(re.findall(r"#([\w.-]+)", buffer.getvalue()))
    for element in root.iter():
        _clean(element, name, used)
    width, height = figure.get_size_inches() * 72
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "width": f"{width:.0f}",
        "height": f"{height:.0f}",
        "role": "img",
        "aria-labelledby": f"{name}-alt",
    }
    title = ElementTree.Element("title", {"id": f"{name}-alt"})
    title.text = " ".join(alt.split())
    root.insert(0, title)
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _clean(element: ElementTree.Element, name: str, used: set[str]) -> None:
    """Drop namespaces and unused ids, make the others unique on the page, hand out the colours."""
    element.tag = element.tag.rpartition("}")[2]
    element.tail = None
    for key, text in list(element.attrib.items()):
        del element.attrib[key]
        short = key.rpartition("}")[2]
        if short == "id":
            if text in used:
                element.set("id", f"{name}-{text}")
            continue
        if short == "href":
            text = text.replace("#", f"#{name}-", 1)
        elif short == "clip-path":
            text = text.replace("url(#", f"url(#{name}-")
        elif short == "style":
            text = re.sub(r"font-family: [^;]*;?\s*", "", text)
            text = re.sub(r"#0[0-9a-f]{5}", lambda hit: VARIABLES.get(hit[0], hit[0]), text)
        element.set(short, re.sub(r"\s+", " ", text))
    if element.tag != "text" and element.text and not element.text.strip():
        element.text = None
