"""Where a data set stands among those measured: how many images, and how far from ImageNet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from medgraft.report.charts.plots import (
    INK,
    MARKERS,
    MUTED,
    NARROW,
    SERIES,
    SURFACE,
    WIDE,
    drawing,
    make_axes,
    to_svg,
)
from medgraft.report.text import formatting
from medgraft.results.recommendation import KnownSet
from medgraft.results.study import DecisionMap

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FAMILIES = ("probe", "multiscale", "finetune", "vlad", "ensemble", "hybrid")  # colours, in order
CLOSE = 0.014  # of distance, within which names would meet
UNSTUDIED = "not studied"


def decision_map(name: str, found: DecisionMap, *, narrow: bool = False) -> Markup:
    """Known sets by their images (logarithmic) and their distance, and this one among them."""
    with drawing((NARROW if narrow else WIDE, 400 if narrow else 360)) as figure:
        axes = make_axes(figure, left=64, right=20, top=64 if narrow else 44, bottom=58)
        axes.set_xscale("log")
        for one in found.known:
            _known(axes, one, found.known, narrow=narrow)
        own = found.distance
        axes.vlines(found.n_images, own.low, own.high, color=INK, lw=2.4)
        axes.plot(found.n_images, own.value, marker="*", ms=19, color=INK, mec=SURFACE, mew=1.2)
        _name(axes, (found.n_images, own.low), "your images", INK, below=True, weight="bold")
        _legend(axes, found.known, narrow=narrow)
        counts = [found.n_images, *(one.n for one in found.known)]
        axes.set_xlim(min(counts) / 2, max(counts) * 2.6)
        ticks = [10**k for k in range(1, 8) if min(counts) / 2 < 10**k < max(counts) * 2.6]
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.minorticks_off()
        axes.set_ylim(0, 1.18 * max([own.high, *(one.high for one in found.known)]))
        axes.grid(visible=True)
        axes.set_xlabel("images to learn from")
        axes.set_ylabel("distance from ImageNet")
        return to_svg(figure, name, _alt(found))


def _known(axes: Axes, one: KnownSet, known: Sequence[KnownSet], *, narrow: bool) -> None:
    """A known set in the colour of the family that is recommended there; hollow without one.

    Its name stands above, or below where another set is close above.
    """
    colour, marker = _look(one.winner)
    axes.vlines(one.n, one.low, one.high, color=colour, lw=1.6)
    fill: dict[str, Any] = {} if one.winner else {"mfc": SURFACE, "mew": 1.8}
    axes.plot(one.n, one.distance, marker=marker, ms=9, color=colour, **fill)
    above = any(
        0 < other.distance - one.distance < CLOSE and 1 / 3 < other.n / one.n < 3 for other in known
    )
    name = one.name.partition("_")[0] if narrow else one.name
    _name(axes, (one.n, one.low if above else one.high), name, MUTED, below=above)


def _name(
    axes: Axes, at: tuple[float, float], text: str, colour: str, *, below: bool, **style: Any
) -> None:
    axes.annotate(
        text, at, (0, -8 if below else 8), textcoords="offset points", ha="center",
        va="top" if below else "bottom", color=colour, size=12, **style,
    )  # fmt: skip


def _look(winner: str) -> tuple[str, str]:
    if winner not in FAMILIES:
        return MUTED, "o"
    i = FAMILIES.index(winner)
    return SERIES[i], MARKERS[i]


def _legend(axes: Axes, known: Sequence[KnownSet], *, narrow: bool) -> None:
    """Which family is which, above the axes."""
    from matplotlib.lines import Line2D

    winners = [one for one in FAMILIES if any(k.winner == one for k in known)]
    entries = []
    for winner in [*winners, *([""] if any(not k.winner for k in known) else [])]:
        colour, marker = _look(winner)
        fill: dict[str, Any] = {} if winner else {"mfc": SURFACE, "mew": 1.8}
        entries.append(
            Line2D([], [], ls="none", marker=marker, color=colour, ms=9, label=winner or UNSTUDIED,
                   **fill)
        )  # fmt: skip
    axes.legend(
        handles=entries, loc="lower left", bbox_to_anchor=(-0.02, 1.0),
        ncols=2 if narrow else len(entries),
        frameon=False, handletextpad=0.1, columnspacing=0.8 if narrow else 1.6,
        fontsize=11 if narrow else 13, borderaxespad=0.2,
    )  # fmt: skip


def _alt(found: DecisionMap) -> str:
    sets = "; ".join(
        f"{one.name} {one.n:,} images, {one.distance:.3f}, {one.winner or UNSTUDIED}"
        for one in found.known
    )
    return (
        f"Images to learn from and distance from ImageNet. Yours: "
        f"{formatting.count(found.n_images)} images, {found.distance.value:.3f}. {sets}."
    )
