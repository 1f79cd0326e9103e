"""The layer atlas as pictures: what each block of the backbone singles out in one image.

One colour for all panels and one scale, so that colours compare between them: on the page of a
study (`section`) and as a picture file (`write_atlas`, what `medgraft explain --layers` writes).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medgraft.data.preprocess import enlarge
from medgraft.files import written_file
from medgraft.report.charts import images
from medgraft.report.text import formatting
from medgraft.results.layers import Atlas, BlockView, ChannelView, LayerExample
from medgraft.results.study import ReportInput
from medgraft.types import Floats, Pixels

COLOUR = np.array([255.0, 176.0, 0.0])  # amber: told from grey by every kind of eye, and in print
DIMMED = 0.5  # of the image's brightness under the colour
MOST = 3.0  # times a channel's own root mean square: full colour
COVER = 0.95
PANEL, IMAGE, GAP, HEADING = 1.2, 1.9, 0.12, 0.5  # inches
DPI = 130
SEEN = {
    1: "edges",
    2: "fine texture",
    3: "coarse texture",
    4: "small parts",
    5: "larger parts",
}
NOTHING = "No channel stands out here."
EXPLAINED = """The channels that stand out
most in each block. Amber: where
a channel answers more than it
does to an empty picture. One
colour scale for all panels.
A channel that stands out need
not count in the score."""


def glow(pixels: Pixels, level: Floats) -> Pixels:
    """The image in dimmed grey, under one colour that covers it the more the higher the level.

    pixels : (height, width[, 3]) uint8. level : (height, width), 0..1; what lies outside is
    clipped. Gives (height, width, 3) uint8.
    """
    grey = (pixels if pixels.ndim == 2 else pixels @ images.LUMINANCE)[..., None]
    cover = COVER * np.clip(level, 0, 1)[..., None]
    mixed = DIMMED * grey * (1 - cover) + COLOUR * cover  # (height, width, 3)
    return np.asarray(np.rint(mixed), np.uint8)


def panel(atlas: Atlas, channel: ChannelView) -> Pixels:
    """One channel's map over the image, (height, width, 3) uint8."""
    return glow(atlas.pixels, enlarge(channel.map, atlas.pixels.shape[:2]) / MOST)


def legend(steps: int = 9) -> str:
    """The colours from none to most over mid-grey, as a CSS gradient."""
    ramp = glow(np.full((1, steps), 128, np.uint8), np.linspace(0, 1, steps)[None])[0]
    stops = ", ".join(f"rgb({red} {green} {blue})" for red, green, blue in ramp.tolist())
    return f"linear-gradient(to right, {stops})"


def title(view: BlockView) -> str:
    """`Block 3`, or `Blocks 1 to 5` where one tap stands for several."""
    first, last = view.blocks[0], view.blocks[-1]
    return f"Block {first}" if first == last else f"Blocks {first} to {last}"


def seen(view: BlockView) -> str:
    """What such a block tends to answer to; '' where one tap stands for several."""
    return SEEN[view.blocks[0]] if len(view.blocks) == 1 else ""


def small_print(view: BlockView) -> str:
    """Where the view was read, and how fine it is."""
    rows, columns = view.grid
    return (
        f"{view.tap}: {rows} × {columns} places of {formatting.plural(view.stride, 'pixel')}, "
        f"{formatting.plural(view.n_channels, 'channel')}"
    )


def place(view: BlockView, channel: ChannelView) -> str:
    """Where a channel is strongest, in words.

    >>> view = BlockView((5,), "deep", 32, (7, 7), 1280, ())
    >>> place(view, ChannelView(3, 2.0, np.zeros((7, 7), np.float32), (6, 3)))
    'bottom'
    >>> place(view, ChannelView(3, 2.0, np.zeros((7, 7), np.float32), (3, 0)))
    'left'
    """
    down = ("top", "", "bottom")[3 * channel.peak[0] // view.grid[0]]
    across = ("left", "", "right")[3 * channel.peak[1] // view.grid[1]]
    return f"{down} {across}".strip() or "centre"


# --------------------------------------------------------------------------- on the page


def section(content: ReportInput, side: int = 144) -> dict[str, object]:
    """What the template shows: one atlas a class, and for which classes there is none."""
    shown = [example.truth for example in content.examples]
    classes = content.result.table.classes
    scenario = {one.key: one for one in content.result.scenarios}[content.result.recommended]
    return {
        "atlases": [_example(example, side) for example in content.examples],
        "atlas_backbone": scenario.backbone,
        "atlas_legend": legend(),
        "atlases_left": _left(classes, shown),
        "nothing": NOTHING,
    }


def _left(classes: Sequence[str], shown: Sequence[str]) -> str:
    """Which classes have no atlas, in a sentence, or ''."""
    left = len(classes) - len(shown)
    if not left or not shown:
        return ""
    verb = "class is" if left == 1 else "classes are"
    return f"Shown: {formatting.join(shown)}; {formatting.count(left)} further {verb} left out."


def _example(example: LayerExample, side: int) -> dict[str, object]:
    atlas = example.atlas
    return {
        "truth": example.truth,
        "id": atlas.id,
        "probability": example.probability,
        "image": images.data_uri(atlas.pixels, 224),
        "views": [
            {
                "title": title(view),
                "seen": seen(view),
                "small_print": small_print(view),
                "panels": [
                    {
                        "uri": images.data_uri(panel(atlas, channel), side),
                        "channel": channel.channel,
                        "place": place(view, channel),
                    }
                    for channel in view.channels
                ],
            }
            for view in atlas.views
        ],
    }


# --------------------------------------------------------------------------- as a file


def write_atlas(path: Path, atlas: Atlas, caption: str) -> None:
    """Write a PNG: the image with `caption` under it, and beside it a row of channels a block.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = max(1, *(len(view.channels) for view in atlas.views))
    row_height = HEADING + PANEL + 0.22
    width = GAP + IMAGE + 3 * GAP + columns * (PANEL + GAP)
    height = max(len(atlas.views) * row_height, HEADING + IMAGE + 1.6) + GAP
    figure = Figure(figsize=(max(width, 6.5), height), dpi=DPI)

    def place_image(pixels: Pixels, left: float, top: float, side: float, below: str) -> None:
        across, up = figure.get_size_inches()
        axes = figure.add_axes(
            (left / across, 1 - (top + side) / up, side / across, side / up), anchor="N"
        )
        axes.imshow(pixels, cmap="gray", vmin=0, vmax=255)
        axes.set(xticks=[], yticks=[])
        axes.set_xlabel(below, fontsize=6.5, labelpad=2)

    def write(text: str, left: float, top: float, size: float, colour: str = "0") -> None:
        across, up = figure.get_size_inches()
        figure.text(left / across, 1 - top / up, text, fontsize=size, va="top", color=colour)

    place_image(atlas.pixels, GAP, HEADING, IMAGE, "")
    write(caption, GAP, HEADING + IMAGE + 0.08, 9)
    write(EXPLAINED, GAP, HEADING + IMAGE + 0.35, 7, "0.35")
    start = GAP + IMAGE + 3 * GAP
    for row, view in enumerate(atlas.views):
        top = row * row_height
        write(": ".join(filter(None, (title(view), seen(view)))), start, top + 0.13, 9)
        write(small_print(view), start, top + 0.31, 6.5, "0.35")
        for column, channel in enumerate(view.channels):
            below = f"channel {channel.channel}, {place(view, channel)}"
            left = start + column * (PANEL + GAP)
            place_image(panel(atlas, channel), left, top + HEADING, PANEL, below)
        if not view.channels:
            write(NOTHING, start, top + HEADING, 8, "0.35")
    FigureCanvasAgg(figure)
    with written_file(path) as temporary:
        figure.savefig(temporary, format="png")
