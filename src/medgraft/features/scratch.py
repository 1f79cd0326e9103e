"""Arrays that need not fit in memory: large ones lie on the disk, in files without a name.

The system keeps in memory what of them is in use and there is room for, and takes it back when the
memory is wanted. A file without a name is gone with the process, however that ends.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from medgraft.files import cache_folder

LARGE = 1 << 26  # bytes, from which on an array lies on the disk


def scratch(shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """An array to be filled; a large one on the disk of the user's cache, if that has room for it.

    Examples
    --------
    >>> scratch((2, 3)).shape
    (2, 3)
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    reserve = getattr(os, "posix_fallocate", None)  # neither macOS nor Windows has it
    if reserve is not None and size >= max(1, LARGE):
        with suppress(OSError):  # no room, or no right to write: then in memory
            folder = cache_folder()
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as file:
                # All of it at once: a disk that is full later would end the process by a signal.
                reserve(file.fileno(), 0, size)
                return np.frombuffer(mmap.mmap(file.fileno(), size), dtype).reshape(shape)
    return np.empty(shape, dtype)


def stacked(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """The parts one below the other; the part itself where it is alone."""
    if len(parts) == 1:
        return parts[0]
    whole = scratch((sum(map(len, parts)), *parts[0].shape[1:]), parts[0].dtype)
    np.concatenate(parts, out=whole)
    return whole
