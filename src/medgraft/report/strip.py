"""One image and its maps side by side, as a picture file: what `medgraft explain` writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medgraft.files import written_file
from medgraft.report.images import overlay
from medgraft.types import Floats, Pixels

PANEL = 2.4  # inches a panel
DPI = 120


def write_strip(path: Path, pixels: Pixels, maps: Sequence[tuple[str, Floats]], words: str) -> None:
    """Write a PNG: the image with `words` under it, then each map laid over it under its name.

    pixels : (height, width[, 3]). maps : names and maps (height, width); each is scaled to its own
    largest value, so colours compare places within a panel and not panels with each other.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(PANEL * (len(maps) + 1), PANEL + 0.7), dpi=DPI, layout="constrained")
    panels = figure.subplots(1, len(maps) + 1, squeeze=False)[0]
    panels[0].imshow(pixels, cmap="gray", vmin=0, vmax=255)
    panels[0].set_xlabel(words, fontsize=9)
    for axes, (name, map) in zip(panels[1:], maps, strict=True):
        top = float(map.max())
        axes.imshow(overlay(pixels, map / top if top > 0 else map))
        axes.set_xlabel(name if top > 0 else f"{name}: no evidence for it here", fontsize=9)
    for axes in panels:
        axes.set_xticks([])
        axes.set_yticks([])
    figure.supxlabel("Each map is scaled to its own largest value.", fontsize=8, color="0.35")
    FigureCanvasAgg(figure)
    with written_file(path) as temporary:
        figure.savefig(temporary, format="png")
