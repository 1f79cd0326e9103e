"""Marks as they stand on medical images: letters, a ruler, a box, a stroke of a pen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import cv2
import numpy as np

from medgraft.errors import ScenarioError
from medgraft.results.evidence import CORNERS
from medgraft.types import Canvas, Pixels

Kind = Literal["text", "ruler", "box", "pen"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MARGIN = 0.02  # of the side, between a mark in a corner and the edge
LETTERS = ("L", "R", "P", "AP")
FONT = cv2.FONT_HERSHEY_SIMPLEX
BRIGHT = 235  # grey level of letters, rulers and boxes; a pen is dark


@dataclass(frozen=True, slots=True)
class Mark:
    """An edit that draws one mark.

    size : its larger side as a share of the canvas's. place : a corner's name, or where its upper
    left corner lies as shares of rows and columns. seed : of the letters and the stroke.

    Raises
    ------
    ScenarioError
        There is no such kind or corner, or the size is not within 0 to 1.
    """

    kind: Kind
    size: float
    place: str | tuple[float, float]
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS or not 0 < self.size < 1:
            raise ScenarioError(
                f"no mark {self.kind!r} of {self.size} of the side; there are {', '.join(KINDS)}, "
                "of sizes between 0 and 1"
            )
        if isinstance(self.place, str) and self.place not in CORNERS:
            raise ScenarioError(f"no corner {self.place!r}; there are {', '.join(CORNERS)}")

    @property
    def key(self) -> str:
        """Stable and readable."""
        place = self.place.replace(" ", "-") if isinstance(self.place, str) else self.place
        return f"mark-{self.kind}-{self.size:g}-{place}-{self.seed}"

    def __call__(self, canvas: Canvas) -> Canvas:
        """A copy with the mark on it."""
        pixels = canvas.pixels.copy()
        side = min(pixels.shape[:2])
        long = max(2, round(self.size * side))
        rng = np.random.default_rng(self.seed)
        shape, level = _drawn(self.kind, long, rng)
        top, left = self._corner(pixels.shape[:2], shape.shape)
        part = pixels[top : top + shape.shape[0], left : left + shape.shape[1]]
        shown = shape[: part.shape[0], : part.shape[1]].astype(np.float32) / 255
        shown = shown if part.ndim == 2 else shown[..., None]
        part[:] = np.rint((1 - shown) * part + shown * level).astype(np.uint8)
        return replace(canvas, pixels=pixels)

    def _corner(self, canvas: tuple[int, ...], mark: tuple[int, ...]) -> tuple[int, int]:
        """Row and column of the mark's upper left pixel."""
        height, width = canvas
        if not isinstance(self.place, str):
            return round(self.place[0] * height), round(self.place[1] * width)
        margin = round(MARGIN * min(height, width))
        bottom, right = self.place.startswith("bottom"), "right" in self.place
        return (
            height - mark[0] - margin if bottom else margin,
            width - mark[1] - margin if right else margin,
        )


def _drawn(kind: Kind, long: int, rng: np.random.Generator) -> tuple[Pixels, int]:
    """How much a mark covers each pixel (0 to 255), and its grey level."""
    if kind == "box":
        return np.full((long, long), 255, np.uint8), BRIGHT
    if kind == "ruler":
        ruler = np.zeros((long, max(2, long // 3)), np.uint8)
        ruler[:, 0] = 255
        ruler[:: max(2, long // 6)] = 255
        return ruler, BRIGHT
    scale = 8  # drawn large, then shrunk, so that edges are smooth
    large = np.zeros((scale * long, scale * long), np.uint8)
    if kind == "pen":
        points = rng.uniform(0.1, 0.9, (4, 2)) * scale * long
        cv2.polylines(large, [points.astype(np.int32)], False, 255, max(1, scale * long // 8))
        return _shrunk(large, long), 25
    letters = LETTERS[int(rng.integers(len(LETTERS)))]
    thick = max(1, scale * long // 7)
    (width, height), _ = cv2.getTextSize(letters, FONT, 1, 1)
    size = 0.8 * scale * long / max(width, height)
    at = (round(0.1 * scale * long), round(0.9 * scale * long))
    cv2.putText(large, letters, at, FONT, size, 255, thick, cv2.LINE_AA)
    return _shrunk(large, long), BRIGHT


def _shrunk(large: Pixels, side: int) -> Pixels:
    return np.asarray(cv2.resize(large, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
