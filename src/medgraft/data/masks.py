"""Masks that users draw: found beside their images, read, and brought to an image's canvas."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from medgraft.data.pixels.orientation import unturn
from medgraft.data.pool.pool import DecodePool
from medgraft.data.preprocess import to_canvas
from medgraft.data.scan import IMAGE_SUFFIXES
from medgraft.errors import DataError
from medgraft.types import Geometry, ImageTable, Source

Mask = NDArray[np.bool_]
Key = TypeVar("Key", Path, str)
SAME_SHAPE = 0.02  # by which the aspect of a mask of another size may differ from its image's


def with_masks(table: ImageTable, folder: Path) -> ImageTable:
    """The table with the masks that lie in a folder, instead of any it had.

    A mask has its image's relative path, or else its name alone where no other image has that name;
    endings do not count. Images without one have '' from now on.

    Raises
    ------
    DataError
        The folder is not there, or holds no mask of any image of the table.
    """
    if not folder.is_dir():
        raise DataError(f"no folder of masks at {folder}; --masks takes the folder they lie in")
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    by_path = {file.relative_to(folder).with_suffix("").as_posix(): file for file in files}
    by_name = _unique({file: file.stem for file in files})
    paths = [PurePosixPath(id_).with_suffix("").as_posix() for id_ in table.ids.tolist()]
    named = _unique({path: PurePosixPath(path).name for path in paths})
    found = []
    for path in paths:
        name = PurePosixPath(path).name
        alone = by_name.get(name) if named.get(name) == path else None
        found.append(str(by_path.get(path, alone) or ""))
    if not any(found):
        raise DataError(
            f"none of the {len(files)} masks in {folder} has the path or the name of an image "
            f"(such as {paths[0]}); name each mask like its image"
        )
    return replace(table, masks=np.array(found))


def _unique(names: dict[Key, str]) -> dict[str, Key]:
    """By name, what is the only one of that name."""
    found: dict[str, Key] = {}
    twice = set()
    for key, name in names.items():
        if name in found:
            twice.add(name)
        found[name] = key
    return {name: key for name, key in found.items() if name not in twice}


def read_mask(path: str, geometry: Geometry, pool: DecodePool) -> Mask:
    """The mask of an image on its canvas, (height, width) bool: where it is above half its maximum.

    Several masks, with a NUL between their paths, are joined. A mask of another size than the
    stored image's is enlarged or shrunk to it, if its sides are in the same proportion.

    Raises
    ------
    DataError
        It cannot be read, or is of another shape than its image.
    """
    if "\0" in path:
        first, *others = (read_mask(one, geometry, pool) for one in path.split("\0"))
        for other in others:
            first |= other
        return first
    decoded = pool.decode(Source(path))
    upright = decoded.orientation != 1  # then it was turned just now, and is stored as its image is
    pixels = unturn(decoded.pixels, geometry.orientation) if upright else decoded.pixels
    drawn = pixels.max(axis=2) if pixels.ndim == 3 else pixels
    mask = drawn > drawn.max() / 2
    height, width = geometry.source
    if mask.shape != (height, width):
        rows, columns = mask.shape
        if abs(np.log((columns / rows) / (width / height))) > SAME_SHAPE:
            raise DataError(
                f"the mask has {columns} x {rows} pixels and its image {width} x {height}; draw it "
                "on the image as stored"
            )
        resized = cv2.resize(
            mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST
        )
        mask = resized.astype(bool)
    return to_canvas(mask.astype(np.uint8), geometry).astype(bool)
