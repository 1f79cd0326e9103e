"""One look at every image: a hash of what it shows, its light and sharpness, its stored size.

What `duplicates.py`, `quality.py`, `metadata.py` and `shortcut_probe.py` judge is measured here, in
one decoding. The *surface* of an image is how it was made, seen before anyone looks at its subject:
exposure, sharpness, frame, colour, and the size of the file's picture.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from medgraft.data.pixels.decode import decoders
from medgraft.errors import DataError
from medgraft.features.extract import Extractor
from medgraft.profile.hashes import Hashes, difference_hash
from medgraft.types import Canvas, FeatureSpec, Floats, ImageTable, Pixels, Skipped, Strings, digest

STATS_CACHE_VERSION = "2"  # raise it when what is measured changes
RING = 16  # a border is this part of a side
DARK, BRIGHT = 4, 251  # grey levels up to and from which a pixel is as good as black or white
MEASURED = ("mean", "spread", "sharpness", "dark", "bright", "border", "height", "width")
QUANTILES = np.array([1, 10, 25, 50, 75, 90, 99]) / 100
SCALES = (1, 2, 4)  # at which sharpness is measured


@dataclass(frozen=True, eq=False)
class ImageStats:
    """What was seen of n images.

    ids : (n,). hashes : (n, 32) uint8. clear : (n,) as of `hashes.difference_hash`.
    pixels : (n,) hash of the canvas. mean, spread, border : (n,) grey, 0..255.
    sharpness : (n,) log(1 + variance of the Laplacian). dark, bright : (n,) shares of pixels.
    height, width : (n,) pixels of the stored image. surface : (n, 20) as of `surface_of`.
    remarks : (n,) what is to be said of how an image was read, or ''; or none at all.
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
    surface: Floats
    remarks: Strings = field(default_factory=lambda: np.array([], dtype=np.str_))


def read_image_stats(table: ImageTable, spec: FeatureSpec, extractor: Extractor) -> ImageStats:
    """Look at every image of a table, all of them readable; kept in the cache.

    Raises
    ------
    DataError
        An image cannot be read; leave it out first (`features.extract.readable`).
    """
    seen = (spec.decoder, decoders(), spec.size, spec.resize, [edit.key for edit in spec.edits])
    key = digest(STATS_CACHE_VERSION, table.content_hashes.tolist(), seen, length=32)
    kept = extractor.cache.get("glances", key)
    if kept is None:
        rows, remarks = {}, {}
        with extractor.progress.task("Looking at every image", len(table)) as tick:
            for canvas in extractor.canvases(table, spec):
                if isinstance(canvas, Skipped):
                    raise DataError(
                        f"{canvas.source} cannot be read ({canvas.reason}); leave it out before "
                        "the images are looked at"
                    )
                rows[canvas.id], remarks[canvas.id] = image_stats_of(canvas), canvas.remark
                tick(1)
        looks = [rows[id] for id in table.ids.tolist()]
        kept = {
            "hashes": np.array([one[0] for one in looks], np.uint8).reshape(len(looks), -1),
            "clear": np.array([one[1] for one in looks]),
            "pixels": np.array([one[2] for one in looks], dtype=np.str_),
            "measured": np.array([one[3] for one in looks]).reshape(len(looks), len(MEASURED)),
            "surface": np.array([one[4] for one in looks]).reshape(len(looks), -1),
            "remarks": np.array([remarks[id] for id in table.ids.tolist()], dtype=np.str_),
        }
        extractor.cache.put("glances", key, kept)
    columns = dict(zip(MEASURED, kept["measured"].T, strict=True))
    return ImageStats(
        table.ids,
        kept["hashes"],
        kept["clear"],
        kept["pixels"],
        **columns,
        surface=kept["surface"],
        remarks=kept.get("remarks", np.array([], dtype=np.str_)),  # older ones have none
    )


def image_stats_of(canvas: Canvas) -> tuple[Hashes, float, str, list[float], list[float]]:
    """What `identity_of` gives, the numbers `MEASURED`, and the surface."""
    grey = _grey(canvas.pixels)
    surface = surface_of(canvas)
    mean, spread, border, sharpness = (surface[i] for i in (0, 1, 9, 11))
    dark, bright = float((grey <= DARK).mean()), float((grey >= BRIGHT).mean())
    rows, columns = canvas.geometry.source
    numbers = [mean, spread, sharpness, dark, bright, border, float(rows), float(columns)]
    return *identity_of(canvas), numbers, surface


def identity_of(canvas: Canvas) -> tuple[Hashes, float, str]:
    """By what a picture is known again: its hash, how clear that is, and a hash of the pixels."""
    return *difference_hash(_grey(canvas.pixels)), pixel_hash(canvas.pixels)


def surface_of(canvas: Canvas) -> list[float]:
    """Twenty numbers of how an image was made.

    Mean, spread and quantiles of grey (9); mean and spread of the border (2); sharpness at three
    scales, log(1 + variance of the Laplacian) (3); mean and spread of the two colour axes of Lab
    (4); log aspect and log size of the stored image (2). Nothing of it depends on where in the
    picture anything lies, but for the border.
    """
    grey = _grey(canvas.pixels)
    height, width = grey.shape
    found = [*_moments(grey), *_quantiles(grey), *_moments(border_of(grey))]
    for scale in SCALES:
        size = (max(1, width // scale), max(1, height // scale))
        smaller = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        found.append(float(np.log1p(_moments(cv2.Laplacian(smaller, cv2.CV_32F))[1] ** 2)))
    if canvas.pixels.ndim == 3:
        mean, spread = cv2.meanStdDev(cv2.cvtColor(canvas.pixels, cv2.COLOR_RGB2LAB))
        found += [*mean[1:, 0].tolist(), *spread[1:, 0].tolist()]
    else:
        found += [128.0, 128.0, 0.0, 0.0]
    rows, columns = canvas.geometry.source
    return [*found, float(np.log(columns / rows)), float(np.log(columns * rows))]


def _grey(pixels: Pixels) -> Pixels:
    return np.asarray(
        cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if pixels.ndim == 3 else pixels, np.uint8
    )


def _moments(values: NDArray[Any]) -> tuple[float, float]:
    """Mean and standard deviation; OpenCV's are ten times as fast as numpy's."""
    mean, spread = cv2.meanStdDev(values)
    return float(mean[0, 0]), float(spread[0, 0])


def _quantiles(grey: Pixels) -> list[float]:
    """`QUANTILES` of grey levels, as `np.quantile` has them, from their histogram."""
    below = np.cumsum(np.bincount(grey.ravel(), minlength=256))
    place = QUANTILES * (grey.size - 1)
    low, high = (below.searchsorted(at, side="right") for at in (np.floor(place), np.ceil(place)))
    return [float(x) for x in low + (place % 1) * (high - low)]


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
