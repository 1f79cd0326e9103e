"""One image and its maps side by side, as a picture file: what `medgraft explain` writes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from medgraft.files import written_file
from medgraft.report.charts.images import overlay
from medgraft.report.text import formatting
from medgraft.types import Floats, Pixels

PANEL = 2.4  # inches a panel
DPI = 120
LINE = 0.17  # inches a line of words
WIDTH = 38  # letters of the note a panel
TITLES = {
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "hirescam": "HiResCAM",
    "eigencam": "Eigen-CAM, which knows no class",
    "layercam": "Layer-CAM",
    "scorecam": "Score-CAM",
}


def write_strip(
    path: Path, pixels: Pixels, maps: Sequence[tuple[str, Floats]], words: str, method: str
) -> None:
    """Write a PNG: the image with `words` under it, then each map laid over it under its name.

    pixels : (height, width[, 3]). maps : names and maps (height, width); each is scaled to its own
    largest value, so colours compare places within a panel and not panels with each other.
    words : a few lines. method : how the maps were made.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    title = TITLES.get(method, formatting.capitalised(method))
    note = textwrap.fill(
        f"{title}. Each map is scaled to its own largest value.", WIDTH * (len(maps) + 1)
    )
    below = len(words.splitlines()) + len(note.splitlines())
    height = PANEL + 0.1 + LINE * below
    figure = Figure(figsize=(PANEL * (len(maps) + 1), height), dpi=DPI, layout="constrained")
    panels = figure.subplots(1, len(maps) + 1, squeeze=False)[0]
    panels[0].imshow(pixels, cmap="gray", vmin=0, vmax=255)
    panels[0].set_xlabel(words, fontsize=9)
    for axes, (name, map) in zip(panels[1:], maps, strict=True):
        top = float(map.max())
        axes.imshow(overlay(pixels, map / top if top > 0 else map))
        axes.set_xlabel(name if top > 0 else f"{name}:\nno evidence for it here", fontsize=9)
    for axes in panels:
        axes.set_xticks([])
        axes.set_yticks([])
        for edge in axes.spines.values():
            edge.set_visible(False)
    figure.supxlabel(note, fontsize=8, color="0.35")
    FigureCanvasAgg(figure)
    with written_file(path) as temporary:
        figure.savefig(temporary, format="png")
