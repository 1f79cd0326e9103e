"""What training reads again and again, kept on disk: canvases, and the maps of a frozen trunk.

Both lie in the cache under the content of their images and the recipe that made them, so that
folds, depths and later runs share them. Their size is known before anything is written.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medgraft.data.preprocess import derive
from medgraft.features.cache import Rows
from medgraft.features.extract import GRID, Extractor, Segment, base_of
from medgraft.types import Canvas, FeatureSpec, ImageTable

CANVAS = "canvas"
FREE = 0.8  # of the free disk that may be taken


def bytes_of_maps(table: ImageTable, specs: Sequence[FeatureSpec], extractor: Extractor) -> int:
    """What is still to be written for one tap's maps of the table, over all views `specs`."""
    numbers = 0
    for spec in specs:
        tap = extractor.backbone(spec.backbone).tap_at(spec.taps[0], spec.size)
        lacking = table.content_hashes[_lacking(table, spec, extractor)]
        numbers += math.prod(tap.extent) * tap.channels * len(np.unique(lacking))
    return numbers * np.dtype(np.float16).itemsize


def fits(size: int, extractor: Extractor) -> bool:
    """Whether so many bytes may be written: half the cache's limit and the disk both hold them."""
    folder = extractor.cache.folder
    while not folder.exists():
        folder = folder.parent
    return size <= min(extractor.cache.limit / 2, FREE * shutil.disk_usage(folder).free)


def cached_canvases(table: ImageTable, spec: FeatureSpec, extractor: Extractor) -> Rows:
    """The canvases of a table's images, all readable: rows (n, size × size × 3) uint8."""
    recipe = dataclasses.replace(spec, backbone="pixels", weights="", mean=(), std=())
    store = extractor.cache.features(recipe)
    unique, first = np.unique(table.content_hashes, return_index=True)
    lacking = store.missing(unique, (CANVAS,))
    if lacking.any():
        needed = table.select(np.sort(first[lacking]))
        hash_of = dict(zip(needed.ids.tolist(), needed.content_hashes.tolist(), strict=True))
        segment = Segment(store, (CANVAS,))
        with extractor.progress.task(
            f"Decoding images for training at {spec.size} px", len(needed)
        ) as advance:
            for canvas in extractor.canvases(needed, base_of(spec)):
                if isinstance(canvas, Canvas):
                    pixels = derive(canvas, spec.size, spec.edits).pixels
                    colour = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
                    segment.add(hash_of[canvas.id], {CANVAS: colour.ravel()})
                advance(1)
        segment.write()
    return store.rows(table.content_hashes, CANVAS)


def cached_maps(table: ImageTable, spec: FeatureSpec, extractor: Extractor) -> Rows:
    """The maps of the one tap of `spec`: rows (n, positions × channels) float16.

    Ask `prepare_maps` for all views at once first, so that an image is decoded once.
    """
    (block,) = dataclasses.replace(spec, poolings=(GRID,)).blocks
    return extractor.cache.features(spec).rows(table.content_hashes, block)


def prepare_maps(table: ImageTable, specs: Sequence[FeatureSpec], extractor: Extractor) -> None:
    """Have the cache hold the maps of all these taps and views, each image decoded once."""
    lacking = np.any([_lacking(table, spec, extractor) for spec in specs], axis=0)
    if lacking.any():
        grids = [dataclasses.replace(spec, poolings=(GRID,)) for spec in specs]
        extractor.prepare(table.select(lacking), *grids)


def _lacking(table: ImageTable, spec: FeatureSpec, extractor: Extractor) -> NDArray[np.bool_]:
    """Which images' maps are not kept yet, (n,)."""
    blocks = dataclasses.replace(spec, poolings=(GRID,)).blocks
    return extractor.cache.features(spec).missing(table.content_hashes, blocks)
