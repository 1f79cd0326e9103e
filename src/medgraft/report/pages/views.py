"""The page that shows what each augmentation preset, and CLAHE, does to the user's own images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medgraft import files
from medgraft.data.augment import PRESETS, SAME, Draw, Preset, Range, View, draw, preset_for
from medgraft.data.pool.pool import DecodePool
from medgraft.data.preprocess import CanvasRecipe, Clahe
from medgraft.errors import DataError, ScenarioError
from medgraft.report.charts import images
from medgraft.report.pages.render import render_page
from medgraft.report.text import formatting
from medgraft.types import Canvas, ImageTable, Skipped
from medgraft.version import __version__

__all__ = ["LabelledCanvas", "describe", "name_draw", "render_views", "views_page"]

MOST_CLASSES_SHOWN = 10
SIDE = 224  # pixels of a picture in the file; the page shows them at half that or so
SEED = 0
WORKERS = 2  # for a few dozen images
MINUS = "−"
TOGETHER = "\u00a0"  # a space at which no line breaks


@dataclass(frozen=True, eq=False, slots=True)
class LabelledCanvas:
    """One of the user's images as the networks would get it, and its class."""

    label: str
    canvas: Canvas


def views_page(
    table: ImageTable,
    presets: Sequence[str],
    n_images: int,
    n_views: int,
    size: int,
    path: Path,
) -> None:
    """Write one HTML file: examples of each class, and what every preset makes of them.

    Parameters
    ----------
    presets : names of `PRESETS`, in the order of the page.
    n_images : examples a class, drawn with a fixed seed from the development images.
    n_views : views an example and preset, beside the image itself.
    size : side of the canvases in pixels.

    Raises
    ------
    ScenarioError
        There is no such preset, or a number is below 1.
    DataError
        None of the examples can be decoded, or there are no labelled development images.
    StorageError
        The file cannot be written.
    """
    if min(n_images, n_views, size) < 1:
        raise ScenarioError(
            f"{n_images} images a class, {n_views} views and size {size} show nothing; "
            "each is 1 or more"
        )
    examples, skipped = _examples(table, n_images, size)
    files.write_text(path, render_views(examples, presets, n_views, skipped))


def _examples(
    table: ImageTable, n_images: int, size: int
) -> tuple[list[LabelledCanvas], tuple[Skipped, ...]]:
    """A few development images of each class, decoded, and those that could not be."""
    development = table.development
    rng = np.random.default_rng(SEED)
    rows: list[int] = []
    for k in range(min(len(table.classes), MOST_CLASSES_SHOWN)):
        own = np.flatnonzero(development.labels == k)
        rows += rng.choice(own, min(n_images, len(own)), replace=False).tolist()
    if not rows:
        raise DataError(
            "there is no labelled image outside the test split, and the test is not looked at "
            "here; give images of train or val"
        )
    chosen = development.select(np.array(rows, np.int64))
    with DecodePool(WORKERS) as pool:
        read = list(pool.canvases(chosen.ids.tolist(), chosen.sources, CanvasRecipe(size)))
    skipped = tuple(one for one in read if isinstance(one, Skipped))
    examples = [
        LabelledCanvas(table.classes[label], one)
        for label, one in zip(chosen.labels.tolist(), read, strict=True)
        if isinstance(one, Canvas)
    ]
    if not examples:
        raise DataError(f"none of the example images can be read; the first: {skipped[0].reason}")
    return examples, skipped


def render_views(
    examples: Sequence[LabelledCanvas],
    presets: Sequence[str],
    n_views: int,
    skipped: Sequence[Skipped] = (),
) -> str:
    """The page as text; equal content gives equal bytes.

    Raises
    ------
    ScenarioError
        There is no such preset.
    """
    names = [preset_for(name) for name in presets]
    pictures = [images.data_uri(one.canvas.pixels, SIDE) for one in examples]
    clahe = Clahe()
    return render_page(
        "views.html.j2",
        {
            "headline": "What the views show of your images",
            "version": __version__,
            "size": f"{TOGETHER}×{TOGETHER}".join(map(str, examples[0].canvas.geometry.size)),
            "n_views": n_views,
            "presets": [
                {
                    "name": name,
                    "why": PRESETS[name].why,
                    "varies": describe(PRESETS[name]),
                    "rows": [
                        _row(one, uri, [View(name, i) for i in range(1, n_views + 1)])
                        for one, uri in zip(examples, pictures, strict=True)
                    ],
                }
                for name in names
            ],
            "clahe": clahe,
            "pairs": [
                {
                    **_named(one),
                    "raw": uri,
                    "edited": images.data_uri(clahe(one.canvas).pixels, SIDE),
                }
                for one, uri in zip(examples, pictures, strict=True)
            ],
            "skipped": skipped,
        },
    )


def _named(example: LabelledCanvas) -> dict[str, object]:
    """What the page says of an image: its class, and its id as everywhere in the report."""
    id = example.canvas.id
    return {"id": id, "short": formatting.shorten(id, 40), "label": example.label}


def _row(example: LabelledCanvas, uri: str, views: Sequence[View]) -> dict[str, object]:
    canvas = example.canvas
    cells = [
        {
            "key": view.key,
            "uri": images.data_uri(view(canvas).pixels, SIDE),
            "drawn": name_draw(draw(view, canvas.pixels)),
        }
        for view in views
    ]
    return {**_named(example), "uri": uri, "cells": cells}


# --------------------------------------------------------------------------- in plain words


def describe(preset: Preset) -> tuple[str, ...]:
    """What a preset may change and by how much, one sentence each; what it never does, too.

    >>> describe(Preset("", turn=5, zoom=(1.0, 1.2), inside=True))[:2]
    ('Turned by up to 5° either way.', 'Zoomed from 1 to 1.2 times, and never past an edge.')
    """
    lines = [_symmetries(preset)] if preset.symmetries else []
    if preset.turn:
        free = preset.turn >= 180
        lines.append(
            "Turned by any angle." if free else f"Turned by up to {preset.turn:g}° either way."
        )
    if preset.zoom != SAME:
        edge = ", and never past an edge" if preset.inside else ""
        lines.append(f"Zoomed from {_range(preset.zoom)} times{edge}.")
    if preset.aspect != 1:
        lines.append(f"Stretched or squeezed sideways, up to {preset.aspect:g} times.")
    moved = preset.turn or preset.zoom != SAME or preset.shift or preset.aspect != 1
    if not preset.inside and moved:
        lines.append(f"Past its edge the picture is {'black' if preset.black else 'reflected'}.")
    if preset.shift and not preset.inside:
        lines.append(f"Shifted by up to {100 * preset.shift:g} % of the side, down and across.")
    if preset.inside and preset.shift:
        lines.append("Shifted as far as the zoom leaves room.")
    light = [
        f"{name} from {_range(limits)} times"
        for name, limits in (("brightness", preset.brightness), ("contrast", preset.contrast))
        if limits != SAME
    ]
    light += [f"gamma from {_range(preset.gamma)}"] if preset.gamma != SAME else []
    if light:
        lines.append(formatting.sentence(formatting.join(light)))
    colour = []
    if preset.saturation != SAME:
        colour.append(f"saturation from {_range(preset.saturation)} times")
    if preset.tint:
        colour.append(f"red, green and blue each up to {100 * preset.tint:g} % stronger or weaker")
    if colour:
        lines.append(formatting.sentence(f"in colour images {'; '.join(colour)}"))
    if preset.detail:
        least = f"{preset.detail} pixels a side"
        lines.append(f"Fine detail lost: shrunk, to {least} at the least, and enlarged again.")
    if preset.noise:
        lines.append(f"Noise added, of up to {100 * preset.noise:g} % of white.")
    if preset.boxes:
        boxes = "One box" if preset.boxes == 1 else f"Up to {preset.boxes} boxes"
        side = f"each up to {100 * preset.box:g} % of the side"
        lines.append(f"{boxes} covered with the picture's mean grey or colour, {side}.")
    never = [] if any("mirrored" in name for name in preset.symmetries) else ["mirrored"]
    never += [] if preset.turn or len(preset.symmetries) > 1 else ["turned"]
    return (*lines, f"Never {formatting.join(never, 'or')}.") if never else tuple(lines)


def _symmetries(preset: Preset) -> str:
    n = len(preset.symmetries)
    if n == 1:
        return f"View 1 is the image {preset.symmetries[0]}, pixel for pixel; later views may be."
    return (
        f"Views 1 to {n} are the quarter turns and mirrored forms, each once, pixel for pixel; "
        "from then on all of this varies at once."
    )


def _range(limits: Range) -> str:
    return f"{limits[0]:g} to {limits[1]:g}"


def name_draw(drawn: Draw) -> str:
    """What was done to one image, in a few words: where it lies, its size, light and detail.

    >>> name_draw(Draw("half turn"))
    'half turn'
    >>> name_draw(Draw(turn=-3.2, zoom=1.04, brightness=1.06)).replace(TOGETHER, " ")
    '3° right, zoom 1.04, light +6 %'
    """
    parts = [drawn.symmetry] if drawn.symmetry else []
    if round(drawn.turn):
        parts.append(f"{abs(drawn.turn):.0f}° {'left' if drawn.turn > 0 else 'right'}")
    if drawn.zoom != 1:
        parts.append(f"zoom{TOGETHER}{drawn.zoom:.2f}")
    percent = round(100 * (drawn.brightness - 1))
    if percent:
        parts.append(f"light{TOGETHER}{'+' if percent > 0 else MINUS}{abs(percent)} %")
    if drawn.detail < 1:
        parts.append(f"detail{TOGETHER}{100 * drawn.detail:.0f} %")
    if drawn.boxes:
        parts.append(formatting.plural(len(drawn.boxes), "box", "boxes").replace(" ", TOGETHER))
    return ", ".join(parts) or "as it is"
