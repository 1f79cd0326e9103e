"""How all pictures look: one type, one set of colours, films in grey, no frame where none helps."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from medgraft.report.charts.plots import INK, MUTED, PAPER, SERIES
from medgraft.types import Pixels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREEN = (PAPER[colour] for colour in SERIES[:3])
TEXT, GREY = PAPER[INK], PAPER[MUTED]
HEAT = "magma"


def new_figure(width: float, height: float) -> Figure:
    """A figure of so many inches; text is as large as the page's when it is 10 inches wide."""
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


@contextmanager
def style() -> Iterator[None]:
    """The same type and lines in every picture."""
    with mpl.rc_context(
        {"font.size": 11, "axes.spines.top": False, "axes.spines.right": False,
         "text.color": TEXT, "axes.labelcolor": TEXT, "axes.edgecolor": GREY,
         "xtick.color": GREY, "ytick.color": GREY, "svg.hashsalt": "medgraft"}
    ):  # fmt: skip
        yield


def film(axes: Axes, pixels: Pixels, title: str = "") -> None:
    """An image without axes, a title above it."""
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255)
    bare(axes, title)


def over(axes: Axes, pixels: Pixels, heat: NDArray[Any], title: str = "") -> None:
    """A map on its own grid of places over an image that is still to be seen."""
    side = len(pixels)
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, extent=(0, side, side, 0))
    strong = np.clip(heat / max(float(heat.max()), 1e-9), 0, 1)
    axes.imshow(strong, cmap=HEAT, alpha=0.15 + 0.6 * strong, extent=(0, side, side, 0))
    bare(axes, title)


def bare(axes: Axes, title: str = "") -> None:
    """No ticks and no frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    if title:
        axes.set_title(title, fontsize=11)


def write(figure: Figure, path: Path) -> None:
    """As PNG of at most 256 colours, sharp on dense screens and small."""
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=130, metadata={"Software": None})
    with Image.open(drawn) as image:
        image.convert("RGB").quantize(256, kmeans=2).save(path, optimize=True)
