"""The regions of a canvas that an audit exchanges between images, and which may not decide.

A region is *declared* where somebody said that it is no evidence: what lies outside the masks, or
what the preset of a modality names. It is *suspect* where it seldom is (the border, a corner), and
*map* where it only serves to draw where the evidence lies. What is left when everything declared is
taken away is the *evidence*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from medgraft.errors import ScenarioError
from medgraft.results.evidence import CORNERS, EVIDENCE, INSIDE, MOVED, OUTSIDE, RING, Mask, Role
from medgraft.types import Box, Floats

Kind = TypeVar("Kind", bound=np.generic)

FEATHER = 0.01  # of the side: how far a pasted region fades in
NEAR = 0.03  # of the side: so much around a mask counts to neither side of its edge


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a modality's border and corners lie, and which of them are declared no evidence.

    ring, corner : width of the border and side of a corner, as shares of the canvas's side.
    grid : cells a side of the map, 0 for none.
    """

    ring: float = 0.06
    corner: float = 0.18
    declared: tuple[str, ...] = ()
    grid: int = 3


LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "": Layout(),
        "xray": Layout(declared=(RING, *CORNERS)),
        # The ScopeGuide's inset lies bottom left and takes a third of the side.
        "endoscopy": Layout(corner=0.36, declared=(CORNERS[2],)),
        "microscopy": Layout(),  # tissue fills the frame
        "natural": Layout(),  # a corner may be sky
    }
)


@dataclass(frozen=True, eq=False)
class Region:
    """A part of every canvas.

    base : (side, side) bool, where it lies. masks : `outside`, `inside` or '' : what images' masks
    take away from it. move : rows and columns by which another image's pixels are moved before they
    are put there.
    """

    name: str
    role: Role
    base: Mask
    masks: Literal["outside", "inside", ""] = ""
    move: tuple[int, int] = (0, 0)

    def within(self, union: Mask | None) -> Mask:
        """Where it lies in images whose masks together cover `union` (side, side)."""
        if union is None or not self.masks:
            return self.base
        if self.masks == "inside":
            return self.base & grown(union)
        free = ~grown(union)
        return self.base & free & shifted(free, self.move)


def layout_of(modality: str) -> Layout:
    """The layout of a modality.

    Raises
    ------
    ScenarioError
        There is none of that name.
    """
    if modality not in LAYOUTS:
        raise ScenarioError(
            f"no modality {modality!r}; there are: {', '.join(filter(None, LAYOUTS))}"
        )
    return LAYOUTS[modality]


def regions_of(
    side: int, layout: Layout, masks: bool = False, content: Box | None = None
) -> tuple[Region, ...]:
    """The regions of a canvas of `side` pixels.

    masks : the images have masks of the evidence. Then everything outside of them is declared, the
    border and the corners too, as far as they lie outside. content : where all images lie, if bars
    pad them; border and corners are theirs, and the bars around them.
    """
    whole = np.ones((side, side), dtype=bool)
    box = content or Box(0, 0, side, side)
    shorter = min(box.height, box.width)
    rim, edge = max(2, round(layout.ring * shorter)), max(4, round(layout.corner * shorter))
    ring = whole.copy()
    ring[
        box.top + rim : box.top + box.height - rim, box.left + rim : box.left + box.width - rim
    ] = False
    named = {RING: ring}
    for name, (rows, columns) in zip(CORNERS, _corners(side, edge, box), strict=True):
        named[name] = np.zeros_like(whole)
        named[name][rows, columns] = True
    outside: Literal["outside", ""] = "outside" if masks else ""
    found = [
        Region(name, "declared" if masks or name in layout.declared else "suspect", base, outside)
        for name, base in named.items()
    ]
    corners = [region for region in found if region.name in CORNERS]
    for region, opposite in zip(corners, reversed(CORNERS), strict=True):
        move = tuple(int(np.argmax(named[opposite].any(axis=axis))) for axis in (1, 0))
        here = tuple(int(np.argmax(region.base.any(axis=axis))) for axis in (1, 0))
        found.append(
            replace(
                region,
                name=f"{region.name}{MOVED}",
                base=named[opposite],
                move=(move[0] - here[0], move[1] - here[1]),
            )
        )
    if masks:
        found.append(Region(OUTSIDE, "declared", whole, "outside"))
        found.append(Region(INSIDE, "evidence", whole, "inside"))
    elif layout.declared:
        declared = np.any([named[name] for name in layout.declared], axis=0)
        found.append(Region(EVIDENCE, "evidence", ~declared))
    return (*found, *_grid(side, layout.grid))


def _corners(side: int, edge: int, box: Box) -> tuple[tuple[slice, slice], ...]:
    """Rows and columns of the four corners, in the order of `CORNERS`."""
    top, bottom = slice(0, box.top + edge), slice(box.top + box.height - edge, side)
    left, right = slice(0, box.left + edge), slice(box.left + box.width - edge, side)
    return ((top, left), (top, right), (bottom, left), (bottom, right))


def _grid(side: int, cells: int) -> list[Region]:
    """The cells of the map, row by row."""
    lines = np.linspace(0, side, cells + 1).round().astype(int)
    found = []
    for i in range(cells):
        for j in range(cells):
            base = np.zeros((side, side), dtype=bool)
            base[lines[i] : lines[i + 1], lines[j] : lines[j + 1]] = True
            found.append(Region(f"row {i + 1}, column {j + 1}", "map", base))
    return found


def grown(mask: Mask) -> Mask:
    """The mask and what lies near it."""
    reach = max(1, round(NEAR * len(mask)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return cv2.dilate(mask.astype(np.uint8), kernel).astype(bool)


def shifted(array: NDArray[Kind], move: tuple[int, int]) -> NDArray[Kind]:
    """An array (side, side, …) moved by rows and columns; what leaves enters opposite."""
    return np.roll(array, move, axis=(0, 1)) if any(move) else array


def alphas(mask: Mask) -> tuple[Floats, Floats]:
    """How much of another image is put at each pixel, (side, side) float32 each: of all of a
    region, and of its seam alone.

    The first rises from 0 at the region's edge to 1 at `FEATHER` of the side inside it, but not
    where the region ends with the canvas. The second does the same, and falls to 0 again as far
    further in: what it does to a score is what the seam does.
    """
    feather = max(2.0, FEATHER * len(mask))
    depth = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5) if not mask.all() else None
    if depth is None:
        return np.ones(mask.shape, np.float32), np.zeros(mask.shape, np.float32)
    whole = np.clip(depth / feather, 0, 1).astype(np.float32)
    inner = np.clip(depth / feather - 1, 0, 1).astype(np.float32)
    return whole, whole - inner


def has_inside(mask: Mask) -> bool:
    """Whether a region has pixels that its seam does not cover."""
    whole, seam = alphas(mask)
    return bool(((whole - seam) >= 0.5).any())


def outside(mask: Mask) -> Mask:
    """(side, side) what lies around a region, as wide as its seam; nothing where it has no edge."""
    width = 2 * round(max(2.0, FEATHER * len(mask)))
    near = cv2.dilate(mask.astype(np.uint8), np.ones((2 * width + 1, 2 * width + 1), np.uint8))
    return np.asarray((near > 0) & ~mask)
