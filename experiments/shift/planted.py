"""Shifts planted into canvases: what another place, machine or archive may do to an image.

Operations and strengths were fixed before anything was ranked by them, and no view that trains or
judges (`medgraft.data.augment`) does any of them: views move, zoom, change gamma, contrast about
the mean, brightness and colour, shrink and enlarge again, add noise, and cover boxes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import cv2
import numpy as np

from medgraft.types import Canvas, Floats, Pixels

Operation = Literal["curve", "light", "blur", "compression", "frame"]
Type = Literal["exposure", "sharpness", "compression", "frame", "geometry", "levels", "noise"]

GAIN, MIDDLE = 7.0, 0.4  # of the film's curve: its slope, and the grey that stays in the middle
LEFT = 0.45  # of the light, in the corner that is farthest from it
SIGMA = 0.01  # of the Gaussian blur, as a share of the side
QUALITY = 10  # of JPEG
CUT, RIM = 0.22, 0.05  # share of the side that a corner loses, and every edge


@dataclass(frozen=True, slots=True)
class Planted:
    """One planted shift, an `Edit`; the same for every image.

    curve : a film's S-shaped characteristic curve. light : it comes from the upper left and falls
    off. blur : Gaussian. compression : once through a JPEG of low quality. frame : an octagonal
    field of view in black, with a bright label in its lower right corner.
    """

    operation: Operation

    @property
    def key(self) -> str:
        return f"planted-{self.operation}"

    @property
    def type(self) -> Type:
        """What it changes; views that judge may not be of the type that they are compared on."""
        return TYPES[self.operation]

    def __call__(self, canvas: Canvas) -> Canvas:
        return replace(canvas, pixels=OPERATIONS[self.operation](canvas.pixels))


def _curve(pixels: Pixels) -> Pixels:
    def film(x: Floats | float) -> Floats:
        return np.asarray(1 / (1 + np.exp(-GAIN * (np.asarray(x) - MIDDLE))), np.float64)

    low, high = film(0.0), film(1.0)
    table = 255 * (film(np.arange(256) / 255) - low) / (high - low)
    return np.rint(table).astype(np.uint8)[pixels]


def _light(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    down, right = np.linspace(0, 0.5, height)[:, None], np.linspace(0, 0.5, width)
    light = 1 - (1 - LEFT) * (down + right)  # (height, width)
    shaded = pixels * (light if pixels.ndim == 2 else light[..., None])
    return np.rint(shaded).astype(np.uint8)


def _blur(pixels: Pixels) -> Pixels:
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), SIGMA * min(pixels.shape[:2])), np.uint8)


def _compression(pixels: Pixels) -> Pixels:
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    flag = cv2.IMREAD_GRAYSCALE if pixels.ndim == 2 else cv2.IMREAD_COLOR
    decoded = cv2.imdecode(data, flag)
    assert decoded is not None
    return np.asarray(decoded, np.uint8)


def _frame(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    down = np.minimum(np.arange(height), np.arange(height)[::-1])[:, None] / height
    right = np.minimum(np.arange(width), np.arange(width)[::-1]) / width
    outside = (down + right < CUT) | (down < RIM) | (right < RIM)
    framed = pixels.copy()
    framed[outside] = 0
    top, left = round(0.955 * height), round(0.8 * width)
    framed[top : round(0.99 * height), left : round(0.97 * width)] = 230
    return framed


OPERATIONS = MappingProxyType(
    {
        "curve": _curve,
        "light": _light,
        "blur": _blur,
        "compression": _compression,
        "frame": _frame,
    }
)
TYPES: Mapping[Operation, Type] = MappingProxyType(
    {
        "curve": "exposure",
        "light": "exposure",
        "blur": "sharpness",
        "compression": "compression",
        "frame": "frame",
    }
)
PLANTED = tuple(Planted(operation) for operation in TYPES)
