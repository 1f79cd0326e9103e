"""A cache for many cells of one data set: what was read once stays in memory.

A cell reads the same codes as the one before, of other rows; to find and open every segment of the
cache anew was half of what a small cell took.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgraft.features.cache import Cache, FeatureStore, _read_segment
from medgraft.features.extract import GRID
from medgraft.types import FeatureSpec, Strings, digest

Segment = tuple[NDArray[np.bytes_], Any, NDArray[np.intp]]  # hashes, rows, order of the hashes


class HeldStore(FeatureStore):
    """Codes of one recipe, those of segments that were read before from memory.

    Segments never change, so that new ones are all there is to look for. What is not pooled
    (descriptors, pixels) is large and stays mapped.
    """

    def __init__(self, folder: Path, recipe: Mapping[str, object]) -> None:
        super().__init__(folder, recipe)
        self._held: dict[tuple[str, str], Segment | None] = {}

    def _found(
        self, hashes: Strings, block: str
    ) -> Iterator[tuple[Path, np.memmap[Any, Any], NDArray[np.intp], NDArray[np.intp]]]:
        wanted = hashes.astype("S")
        for path in sorted(self.folder.glob("segment-*")):
            segment = self._segment(path, block)
            if segment is None:
                continue
            stored, values, order = segment
            place = np.minimum(np.searchsorted(stored, wanted, sorter=order), len(stored) - 1)
            rows = order[place]
            hit = np.flatnonzero(stored[rows] == wanted)
            if len(hit):
                yield path, values, hit, rows[hit]

    def _segment(self, path: Path, block: str) -> Segment | None:
        key = path.name, block
        if key not in self._held:
            found = _read_segment(path, block)
            self._held[key] = None
            if found is not None:
                pooled = "@" in block and not block.endswith(f"@{GRID}")
                values = np.array(found[1]) if pooled else found[1]
                self._held[key] = found[0], values, np.argsort(found[0])
        return self._held[key]


class HeldCache(Cache):
    """Keeps codes in memory; out-of-fold predictions go, unless `predictions` are to be kept.

    No other cell asks for those of a frozen scenario; those of a trained one took minutes, and are
    what a killed run goes on from.
    """

    def __init__(self, folder: Path | None = None, *, predictions: bool = False) -> None:
        super().__init__(folder)
        self._stores: dict[str, HeldStore] = {}
        self._predictions = predictions

    def features(self, spec: FeatureSpec) -> FeatureStore:
        name = digest(spec.recipe)
        if name not in self._stores:
            self._stores[name] = HeldStore(self.folder / "features" / name, spec.recipe)
        return self._stores[name]

    def put(self, kind: str, key: str, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        if self._predictions or kind != "predictions":
            super().put(kind, key, arrays)
