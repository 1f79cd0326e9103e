"""What the layers of a network single out in one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medgraft.types import Geometry, Pixels


@dataclass(frozen=True, eq=False, slots=True)
class ChannelView:
    """One channel's answer to one image.

    map : (rows, columns) float32, how much more the channel answers here than to an empty picture,
    in units of its own root mean square over the image. strength : see `standing_out`. peak : row
    and column on the grid where the map is largest.
    """

    channel: int
    strength: float
    map: NDArray[np.float32]
    peak: tuple[int, int]


@dataclass(frozen=True, eq=False, slots=True)
class BlockView:
    """The channels of one tap that stand out in an image, strongest first; none where none does.

    blocks : the blocks this tap stands for. stride : pixels of the canvas from one position to the
    next. grid : (rows, columns) of the tap's map.
    """

    blocks: tuple[int, ...]
    tap: str
    stride: int
    grid: tuple[int, int]
    n_channels: int
    channels: tuple[ChannelView, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Atlas:
    """One image, `pixels (height, width[, 3]) uint8` with its geometry, through all blocks."""

    id: str
    pixels: Pixels
    geometry: Geometry
    views: tuple[BlockView, ...]


@dataclass(frozen=True, eq=False, slots=True)
class LayerExample:
    """An image of one class through the layers; `probability` of that class, out of fold."""

    truth: str
    probability: float
    atlas: Atlas
