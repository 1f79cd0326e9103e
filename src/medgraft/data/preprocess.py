"""Pixels to the canvas a network sees, with the geometry that leads masks and maps both ways.

`make_canvas` turns a decoded image into a `Canvas` by a `CanvasRecipe`: crop, resize, pad, then
edits. `to_canvas` takes what was drawn on the stored image to the canvas, `to_source` takes what
was found on the canvas back. CLAHE stands here, augmented views in `augment.py`, files and formats
in `decode.py`.

Interpolation: an axis that shrinks is averaged over pixel areas (no aliasing), an axis that grows
is cubic for pixels and linear for maps (no overshoot); where the size fits already, nothing is
touched.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Any, TypeVar, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from medgraft.data.augment import PRESETS, View
from medgraft.data.pixels.formats import Decoded
from medgraft.data.pixels.orientation import TURNED, turn, unturn
from medgraft.errors import DataError, ScenarioError
from medgraft.types import Box, Canvas, Edit, FeatureSpec, Floats, Geometry, ResizeRule

Array = TypeVar("Array", bound=np.generic)

EDITS = (
    "clahe, clahe<clip>-<tiles> (clahe2-8), <preset>.v<number>[.s<seed>] (xray.v3) "
    f"with preset {', '.join(PRESETS)}"
)
SMALLEST_TILE = 2  # pixels a side; one pixel alone would be equalised to white
LEVELS = 256


@dataclass(frozen=True, slots=True)
class CanvasRecipe:
    """How every image of a stream becomes a canvas.

    size : side of a square canvas, or (height, width), in pixels.
    resize : `squash` brings both axes to size (nothing cut off, no bars); `crop` keeps the largest
        centred part of the canvas's aspect; `pad` fits all of it in, centred on zeros.
    edits : done in order, after the resize.

    Raises
    ------
    ScenarioError
        A side is below 1, or the resize rule does not exist.
    """

    size: int | tuple[int, int]
    resize: ResizeRule = "squash"
    edits: tuple[Edit, ...] = ()

    def __post_init__(self) -> None:
        if min(self.shape) < 1:
            raise ScenarioError(f"canvas size {self.size} is below 1 pixel; give one like 224")
        if self.resize not in get_args(ResizeRule):
            raise ScenarioError(
                f"no resize rule {self.resize!r}; choose {', '.join(get_args(ResizeRule))}"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the canvas in pixels."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size


def recipe_of(spec: FeatureSpec, *, edited: bool = True) -> CanvasRecipe:
    """How the canvases of a feature recipe are made; without `edited`, before its edits."""
    return CanvasRecipe(spec.size, spec.resize, spec.edits if edited else ())


# --------------------------------------------------------------------------- source to canvas


def make_canvas(id: str, decoded: Decoded, recipe: CanvasRecipe) -> Canvas:
    """Crop, resize, pad and edit one decoded image.

    The geometry is that of the stored image even where a JPEG was decoded at a smaller scale;
    a crop then lies on the nearest pixel of the smaller scale.
    """
    geometry = _geometry(decoded.source_size, decoded.orientation, recipe)
    rows, columns = decoded.pixels.shape[:2]
    crop = _scaled(geometry.crop, _turned(geometry), (rows, columns))
    pixels = _resize(_cut(decoded.pixels, crop), geometry.content, cv2.INTER_CUBIC)
    framed = _framed(pixels, geometry.content, geometry.size)
    # Pillow's arrays are read-only, of which torch warns; all others pass through as they are.
    canvas = Canvas(id, np.require(framed, requirements="W"), geometry, decoded.remark)
    for edit in recipe.edits:
        canvas = edit(canvas)
    return canvas


def derive(canvas: Canvas, size: int, edits: tuple[Edit, ...] = ()) -> Canvas:
    """A canvas of another size and with further edits, from one that was made already.

    One decode serves all input sizes and edits of an image that way. Shrinking averages areas.

    Raises
    ------
    ScenarioError
        `size` is larger than the canvas: what is not there cannot be derived.
    """
    height, width = canvas.pixels.shape[:2]
    if size > min(height, width):
        raise ScenarioError(
            f"a canvas of {size} pixels cannot be derived from one of {height} x {width}; "
            "make the base canvas of the largest size"
        )
    if (height, width) != (size, size):
        whole = Box(0, 0, size, size)
        content = _scaled(canvas.geometry.content, canvas.geometry.size, (size, size))
        geometry = replace(canvas.geometry, size=(size, size), content=content)
        pixels = _resize(canvas.pixels, whole, cv2.INTER_CUBIC)
        canvas = replace(canvas, pixels=np.ascontiguousarray(pixels), geometry=geometry)
    for edit in edits:
        canvas = edit(canvas)
    return canvas


def area_weights(side: int, to: int) -> NDArray[np.float64]:
    """How much of each of `side` pixels lies in each of `to` larger ones, (to, side), rows sum 1.

    >>> area_weights(3, 2).round(3).tolist()
    [[0.667, 0.333, 0.0], [0.0, 0.333, 0.667]]
    """
    edges = np.arange(to + 1) * (side / to)
    left, right = np.arange(side), np.arange(side) + 1
    shared = np.minimum(edges[1:, None], right) - np.maximum(edges[:-1, None], left)
    weights: NDArray[np.float64] = np.maximum(shared, 0) * (to / side)
    return weights


def to_canvas(array: NDArray[Array], geometry: Geometry, nearest: bool = True) -> NDArray[Array]:
    """Take what was drawn on the stored image (a mask, say) to the canvas.

    Parameters
    ----------
    array : (source_height, source_width[, channels]) of any dtype, as stored, not turned.
    nearest : keep values as they are (labels, masks); else float values are averaged and
        interpolated.

    Returns
    -------
    (canvas_height, canvas_width[, channels]) of the same dtype, 0 on padding.

    Raises
    ------
    DataError
        The array has not the size of the stored image.
    """
    _must_fit("mask", array.shape, geometry.source, "draw it on the image as stored")
    part = _cut(turn(array, geometry.orientation), geometry.crop)
    content = geometry.content
    resized = _nearest(part, content) if nearest else _resize(part, content, cv2.INTER_LINEAR)
    return _framed(resized, content, geometry.size)


def to_source(map: Floats, geometry: Geometry) -> Floats:
    """Take a heat map on the canvas back to the stored image.

    Parameters
    ----------
    map : (canvas_height, canvas_width) float.

    Returns
    -------
    (source_height, source_width) of the same dtype, as stored (not turned), 0 where the canvas
    showed nothing of the image.

    Raises
    ------
    DataError
        The map has not the size of the canvas.
    """
    _must_fit("map", map.shape, geometry.size, "resize it to the canvas first")
    crop = geometry.crop
    part = _resize(_cut(map, geometry.content), crop, cv2.INTER_LINEAR)
    return unturn(_framed(part, crop, _turned(geometry)), geometry.orientation)


def enlarge(map: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A map (rows, columns) brought bilinearly to (height, width)."""
    resized = cv2.resize(map, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, np.float32)


def _geometry(source: tuple[int, int], orientation: int, recipe: CanvasRecipe) -> Geometry:
    """Where everything goes: the crop in the turned source, the content in the canvas."""
    height, width = source[::-1] if orientation in TURNED else source
    canvas_height, canvas_width = recipe.shape
    crop, content = Box(0, 0, height, width), Box(0, 0, canvas_height, canvas_width)
    if recipe.resize == "crop":
        scale = min(height / canvas_height, width / canvas_width)
        crop = _centred(scale * canvas_height, scale * canvas_width, height, width)
    elif recipe.resize == "pad":
        scale = min(canvas_height / height, canvas_width / width)
        content = _centred(scale * height, scale * width, canvas_height, canvas_width)
    return Geometry(source, orientation, crop, recipe.shape, content)


def _turned(geometry: Geometry) -> tuple[int, int]:
    """(height, width) of the source once turned."""
    return geometry.source[::-1] if geometry.orientation in TURNED else geometry.source


def _centred(height: float, width: float, outer_height: int, outer_width: int) -> Box:
    """A box of about height by width, at least one pixel, in the middle of an outer one."""
    rows = min(max(round(height), 1), outer_height)
    columns = min(max(round(width), 1), outer_width)
    return Box((outer_height - rows) // 2, (outer_width - columns) // 2, rows, columns)


def _scaled(box: Box, full: tuple[int, int], decoded: tuple[int, int]) -> Box:
    """The box of a full-size image, in the same image decoded smaller: whole pixels, not empty."""
    if full == decoded:
        return box
    vertical, horizontal = decoded[0] / full[0], decoded[1] / full[1]
    top = min(round(box.top * vertical), decoded[0] - 1)
    left = min(round(box.left * horizontal), decoded[1] - 1)
    bottom = round((box.top + box.height) * vertical)
    right = round((box.left + box.width) * horizontal)
    return Box(top, left, max(bottom - top, 1), max(right - left, 1))


def _cut(array: NDArray[Array], box: Box) -> NDArray[Array]:
    return array[box.top : box.top + box.height, box.left : box.left + box.width]


def _framed(array: NDArray[Array], box: Box, size: tuple[int, int]) -> NDArray[Array]:
    """The array at `box` of a frame of zeros; itself where it fills the frame."""
    if array.shape[:2] == size:
        return np.ascontiguousarray(array)
    frame = np.zeros((*size, *array.shape[2:]), array.dtype)
    _cut(frame, box)[...] = array
    return frame


def _resize(array: NDArray[Array], box: Box, enlarge: int) -> NDArray[Array]:
    """Resize to the box's size: areas for an axis that shrinks, `enlarge` for one that grows.

    In two steps, because OpenCV's area interpolation is linear, and so aliases, as soon as one
    axis grows.
    """
    rows, columns = array.shape[:2]
    shrunk = (min(rows, box.height), min(columns, box.width))
    result: NDArray[Any] = array
    if shrunk != (rows, columns):
        result = cv2.resize(result, shrunk[::-1], interpolation=cv2.INTER_AREA)
    if shrunk != (box.height, box.width):
        result = cv2.resize(result, (box.width, box.height), interpolation=enlarge)
    return result.reshape(box.height, box.width, *array.shape[2:])


def _nearest(array: NDArray[Array], box: Box) -> NDArray[Array]:
    """Resize by the value at each new pixel's centre, for any dtype."""
    rows, columns = array.shape[:2]
    if (rows, columns) == (box.height, box.width):
        return array
    down = (2 * np.arange(box.height) + 1) * rows // (2 * box.height)
    across = (2 * np.arange(box.width) + 1) * columns // (2 * box.width)
    chosen: NDArray[Array] = array[down[:, None], across]
    return chosen


def _must_fit(name: str, shape: tuple[int, ...], size: tuple[int, int], remedy: str) -> None:
    if shape[:2] != size:
        raise DataError(
            f"a {name} of {' x '.join(map(str, shape))} pixels does not fit {size[0]} x {size[1]}"
            f" (height x width); {remedy}"
        )


# --------------------------------------------------------------------------- edits


@dataclass(frozen=True, slots=True)
class Clahe:
    """Contrast-limited adaptive histogram equalisation, of the lightness alone.

    Each of tiles x tiles regions is equalised with its histogram clipped at `clip` times the mean
    height, and the regions are blended (Zuiderveld, Graphics Gems IV, 1994). Colour goes through
    the L of CIELAB; grey stored as three equal channels is treated as the grey it is. Both numbers
    scale with the image: a larger canvas has larger tiles, with as much contrast allowed.

    Raises
    ------
    ScenarioError
        `clip` is not a positive number, `tiles` is not 1 or more, or a canvas has less than 2
        pixels a tile.
    """

    clip: float = 2.0
    tiles: int = 8

    def __post_init__(self) -> None:
        if not (0 < self.clip < math.inf and self.tiles >= 1):
            raise ScenarioError(
                f"CLAHE with clip {self.clip} and {self.tiles} tiles makes no sense; "
                "clip is a positive number, tiles 1 or more (usual: clahe2-8)"
            )

    @property
    def key(self) -> str:
        return f"clahe{repr(float(self.clip)).removesuffix('.0')}-{self.tiles}"

    def __call__(self, canvas: Canvas) -> Canvas:
        pixels = canvas.pixels
        if min(pixels.shape[:2]) < SMALLEST_TILE * self.tiles:
            raise ScenarioError(
                f"{self.key} on a canvas of {pixels.shape[0]} x {pixels.shape[1]} pixels leaves a "
                f"tile less than {SMALLEST_TILE}; take fewer tiles or a canvas of "
                f"{SMALLEST_TILE * self.tiles} pixels or more a side"
            )
        # OpenCV overflows beyond about 1e7; from 256 times the mean on, nothing is clipped anyway.
        clip = min(self.clip, LEVELS)
        # One equaliser a call: OpenCV's keeps its work space and so is not safe across threads.
        equalise = cv2.createCLAHE(clip, (self.tiles, self.tiles)).apply
        if pixels.ndim == 2:
            edited: Any = equalise(pixels)
        elif (pixels == pixels[..., :1]).all():
            edited = np.repeat(equalise(pixels[..., 0].copy())[..., None], 3, axis=2)
        else:
            lab = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)
            lab[..., 0] = equalise(lab[..., 0].copy())
            edited = cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)
        return replace(canvas, pixels=edited)


def edit_from_key(key: str) -> Edit:
    """Make the edit that a key names; `edit_from_key(edit.key) == edit`.

    Raises
    ------
    ScenarioError
        No edit has this key; the text lists those that exist.

    Examples
    --------
    >>> edit_from_key("clahe").key
    'clahe2-8'
    >>> edit_from_key("xray.v3")
    View(preset='xray', number=3, seed=0)
    """
    if key == "clahe":
        return Clahe()
    if found := re.fullmatch(r"clahe(\d+(?:\.\d+)?(?:e[+-]?\d+)?)-(\d{1,9})", key):
        return Clahe(float(found[1]), int(found[2]))
    if found := re.fullmatch(r"([a-z-]+)\.v(\d{1,19})(?:\.s(\d{1,19}))?", key):
        return View(found[1], int(found[2]), int(found[3] or 0))
    raise ScenarioError(f"no edit {key!r}; there are: {EDITS}")
