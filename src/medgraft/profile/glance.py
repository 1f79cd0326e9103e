"""One look at every image: a hash of what it shows, its light and sharpness, its stored size.

What `duplicates.py`, `quality.py` and `metadata.py` judge is measured here, in one decoding.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import cv2
import numpy as np

from medgraft.errors import DataError
from medgraft.features.extract import Extractor
from medgraft.profile.hashes import Hashes, difference_hash
from medgraft.types import Canvas, FeatureSpec, Floats, ImageTable, Pixels, Skipped, Strings, digest

RECIPE = "1"  # raise it when what is measured changes
RING = 16  # a border is this part of a side
DARK, BRIGHT = 4, 251  # grey levels up to and from which a pixel is as good as black or white
MEASURED = ("mean", "spread", "sharpness", "dark", "bright", "border", "height", "width")


@dataclass(frozen=True, eq=False)
class Glances:
    """What was seen of n images.

    ids : (n,). hashes : (n, 32) uint8. clear : (n,) as of `hashes.difference_hash`.
    pixels : (n,) hash of the canvas. mean, spread, border : (n,) grey, 0..255.
    sharpness : (n,) log(1 + variance of the Laplacian). dark, bright : (n,) shares of pixels.
    height, width : (n,) pixels of the stored image.
    """

    ids: Strings
    hashes: Hashes
    clear: Floats
    pixels: Strings
    mean: Floats
    spread: Floats
    sharpness: Floats
    dark: Floats
    bright: Floats
    border: Floats
    height: Floats
    width: Floats


def read_glances(table: ImageTable, spec: FeatureSpec, extractor: Extractor) -> Glances:
    """Look at every image of a table, all of them readable; kept in the cache.

    Raises
    ------
    DataError
        An image cannot be read; leave it out first (`features.extract.readable`).
    """
    key = digest(RECIPE, table.content_hashes.tolist(), spec.size, spec.resize, length=32)
    kept = extractor.cache.get("glances", key)
    if kept is None:
        rows = {}
        with extractor.progress.task("Looking at every image", len(table)) as tick:
            for canvas in extractor.canvases(table, spec):
                if isinstance(canvas, Skipped):
                    raise DataError(
                        f"{canvas.source} cannot be read ({canvas.reason}); leave it out before "
                        "the images are looked at"
                    )
                rows[canvas.id] = glance(canvas)
                tick(1)
        seen = [rows[id] for id in table.ids.tolist()]
        kept = {
            "hashes": np.array([one[0] for one in seen], np.uint8).reshape(len(seen), -1),
            "clear": np.array([one[1] for one in seen]),
            "pixels": np.array([one[2] for one in seen], dtype=np.str_),
            "measured": np.array([one[3] for one in seen]).reshape(len(seen), len(MEASURED)),
        }
        extractor.cache.put("glances", key, kept)
    columns = dict(zip(MEASURED, kept["measured"].T, strict=True))
    return Glances(table.ids, kept["hashes"], kept["clear"], kept["pixels"], **columns)


def glance(canvas: Canvas) -> tuple[Hashes, float, str, list[float]]:
    """Hash, how clear it is, hash of the pixels, and the numbers `MEASURED`."""
    pixels = canvas.pixels
    colour = pixels.ndim == 3
    grey = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if colour else pixels, np.uint8)
    code, clear = difference_hash(grey)
    laplacian = cv2.Laplacian(grey, cv2.CV_32F)
    rows, columns = canvas.geometry.source
    numbers = [
        grey.mean(),
        grey.std(),
        np.log1p(laplacian.var()),
        (grey <= DARK).mean(),
        (grey >= BRIGHT).mean(),
        border_of(grey).mean(),
        rows,
        columns,
    ]
    return code, clear, pixel_hash(pixels), [float(x) for x in numbers]


def border_of(grey: Pixels) -> Pixels:
    """The pixels of a ring along the edge, a sixteenth of the shorter side wide."""
    rim = max(1, min(grey.shape) // RING)
    inner = np.zeros(grey.shape, dtype=bool)
    inner[rim:-rim, rim:-rim] = True
    return grey[~inner]


def pixel_hash(pixels: Pixels) -> str:
    """Equal for images of equal pixels; a grey image equals the same one stored in colour."""
    if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
        pixels = pixels[..., 0]
    content = np.ascontiguousarray(pixels).tobytes()
    return hashlib.blake2b(
        content, digest_size=16, person=str(pixels.shape).encode()[:16]
    ).hexdigest()
