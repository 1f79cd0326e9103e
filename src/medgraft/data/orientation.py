"""EXIF's eight orientations: stored arrays shown upright, and put back as they were stored."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from medgraft.errors import DataError

Array = TypeVar("Array", bound=np.generic)

TURNED = (5, 6, 7, 8)  # those that exchange height and width


def turn(array: NDArray[Array], orientation: int) -> NDArray[Array]:
    """Show a stored `(height, width[, channels])` array upright, by its EXIF orientation 1 to 8."""
    match orientation:
        case 1:
            return array
        case 2:
            turned = array[:, ::-1]
        case 3:
            turned = array[::-1, ::-1]
        case 4:
            turned = array[::-1]
        case 5:
            turned = array.swapaxes(0, 1)
        case 6:
            turned = array.swapaxes(0, 1)[:, ::-1]
        case 7:
            turned = array.swapaxes(0, 1)[::-1, ::-1]
        case 8:
            turned = array.swapaxes(0, 1)[::-1]
        case _:
            raise DataError(f"orientation {orientation} is none of EXIF's 1 to 8")
    return np.ascontiguousarray(turned)


def unturn(array: NDArray[Array], orientation: int) -> NDArray[Array]:
    """Undo `turn`: the two quarter turns undo each other, the other six undo themselves."""
    return turn(array, {6: 8, 8: 6}.get(orientation, orientation))
