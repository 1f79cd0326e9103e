"""Pictures that answers carry: an image as it is read, and maps on the image itself."""

from __future__ import annotations

import base64
from typing import Any

import cv2
import numpy as np

from medgraft.data.pixels.orientation import TURNED
from medgraft.data.preprocess import CanvasRecipe, to_source
from medgraft.report.charts.images import data_uri, overlay
from medgraft.types import Attribution, Box, Canvas, Floats, Geometry, Pixels

PICTURE = CanvasRecipe(512, "pad")  # an image to look at, whole and upright
MAP_SIDE = 256  # pixels of the longer side of a map over an image; a page enlarges it
QUALITY = 90


def picture(canvas: Canvas) -> bytes:
    """A JPEG of a canvas that was made by `PICTURE`, without the bars beside the image."""
    box = canvas.geometry.content
    pixels = canvas.pixels[box.top : box.top + box.height, box.left : box.left + box.width]
    return _encoded(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


def map_json(canvas: Canvas, found: Attribution, block: int | None) -> dict[str, Any]:
    """One map: grey on the canvas and on the image, scaled to its largest, and over the canvas."""
    largest = float(found.map.max())
    unit = found.map / largest if largest > 0 else found.map
    return {
        "tap": found.tap,
        "block": block,
        "largest": largest,
        "map": _grey_png(unit),
        "image_map": _grey_png(on_image(unit, canvas.geometry)),
        "overlay": data_uri(overlay(canvas.pixels, unit), max(canvas.pixels.shape[:2])),
    }


def on_image(map: Floats, geometry: Geometry) -> Floats:
    """A map (height, width) of a canvas in the image's own proportions, upright and small.

    0 where the canvas shows nothing of the image.
    """
    turned = geometry.orientation in TURNED
    height, width = geometry.source[::-1] if turned else geometry.source
    scale = MAP_SIDE / max(height, width)
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    crop = geometry.crop
    top, left = (min(round(a * scale), b - 1) for a, b in ((crop.top, rows), (crop.left, columns)))
    tall = min(max(1, round(crop.height * scale)), rows - top)
    wide = min(max(1, round(crop.width * scale)), columns - left)
    place = Box(top, left, tall, wide)
    small = Geometry((rows, columns), 1, place, geometry.size, geometry.content)
    return to_source(map, small)


def _grey_png(unit: Floats) -> str:
    content = _encoded(".png", np.rint(unit * 255).astype(np.uint8), [])
    return f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}"


def _encoded(kind: str, pixels: Pixels, options: list[int]) -> bytes:
    in_order = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    done, content = cv2.imencode(kind, in_order, options)
    assert done
    return content.tobytes()
