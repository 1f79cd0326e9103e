"""Views that judge and never train: operations that neither augmentation nor planted shifts do.

Each has a type, and is not used where a planted shift has the same one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import cv2
import numpy as np

from medgraft.types import Canvas, Pixels
from shift.planted import Type

Operation = Literal["equalised", "sharpened", "posterised", "warped", "speckled"]

SHARPEN, SIGMA = 1.5, 1.5  # of the unsharp mask: its weight, and pixels of its blur
LEVELS = 8  # grey levels that are left
WAVE, LENGTH = 0.02, 0.35  # of the warp: its height and wavelength, as shares of the side
SPECKLE = 0.15  # standard deviation of the factor on each pixel


@dataclass(frozen=True, slots=True)
class Judging:
    """One judging view, an `Edit`; the same for every image."""

    operation: Operation

    @property
    def key(self) -> str:
        return f"judging-{self.operation}"

    @property
    def type(self) -> Type:
        """What it changes."""
        return TYPES[self.operation]

    def __call__(self, canvas: Canvas) -> Canvas:
        return replace(canvas, pixels=OPERATIONS[self.operation](canvas.pixels))


def _equalised(pixels: Pixels) -> Pixels:
    """Every grey level as frequent as the others, channels by the table of their luminance."""
    grey = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    below = np.cumsum(np.bincount(np.asarray(grey).ravel(), minlength=256))
    table = np.rint(255 * (below - below[0]) / max(1, below[-1] - below[0]))
    levels: Pixels = np.clip(table, 0, 255).astype(np.uint8)
    return np.asarray(levels[pixels], np.uint8)


def _sharpened(pixels: Pixels) -> Pixels:
    smooth = cv2.GaussianBlur(pixels, (0, 0), SIGMA)
    return np.asarray(cv2.addWeighted(pixels, 1 + SHARPEN, smooth, -SHARPEN, 0), np.uint8)


def _posterised(pixels: Pixels) -> Pixels:
    step = 256 // LEVELS
    return np.asarray(pixels // step * step + step // 2, np.uint8)


def _warped(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    side = min(height, width)
    down, right = np.mgrid[:height, :width].astype(np.float32)
    wave = 2 * np.pi / (LENGTH * side)
    across = right + np.float32(WAVE * side) * np.sin(np.float32(wave) * down)
    along = down + np.float32(WAVE * side) * np.sin(np.float32(wave) * right)
    moved = cv2.remap(pixels, across, along, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(moved, np.uint8)


def _speckled(pixels: Pixels) -> Pixels:
    factor = 1 + SPECKLE * np.random.default_rng(0).standard_normal(pixels.shape[:2])
    spoilt = pixels * (factor if pixels.ndim == 2 else factor[..., None])
    return np.rint(np.clip(spoilt, 0, 255)).astype(np.uint8)


OPERATIONS = MappingProxyType(
    {
        "equalised": _equalised,
        "sharpened": _sharpened,
        "posterised": _posterised,
        "warped": _warped,
        "speckled": _speckled,
    }
)
TYPES: Mapping[Operation, Type] = MappingProxyType(
    {
        "equalised": "exposure",
        "sharpened": "sharpness",
        "posterised": "levels",
        "warped": "geometry",
        "speckled": "noise",
    }
)
JUDGING = tuple(Judging(operation) for operation in TYPES)
