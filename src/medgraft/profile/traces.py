"""What a saved classifier keeps of the images it learned from, to know them when it meets them.

Hashes of their bytes and of what they show, without a name, a path or a patient. A file that was
renamed is known by its bytes, one that was stored anew or resized by its picture, as copies within
a data set are (`duplicates.py`), though without codes. Who holds an image can find out by this
file whether it was learned from; nobody can draw an image from it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self, cast

import numpy as np
from numpy.typing import NDArray

from medgraft.data.preprocess import CanvasRecipe
from medgraft.features.extract import Extractor
from medgraft.profile.duplicates import CLEAR
from medgraft.profile.hashes import Hashes, close_pairs
from medgraft.profile.image_stats import ImageStats, identity_of
from medgraft.profile.kept import Arrays, Words, check_shapes, keep, kept
from medgraft.types import Canvas, FeatureSpec, ImageTable, ResizeRule, Strings

FILE = "seen.safetensors"
KEPT = 8  # bytes of a hash that are kept: of a million images met by a million, one in 10^7 errs


@dataclass(frozen=True, eq=False)
class Traces:
    """Of n images: what their files, their pixels and their pictures are known by.

    contents, pixels : (n, KEPT) uint8, of `ImageTable.content_hashes` and `ImageStats.pixels`.
    hashes : (n, 32) uint8. clear : (n,) whether a hash says what its picture shows.
    size, resize : of the canvases that were looked at.
    """

    contents: Hashes
    pixels: Hashes
    hashes: Hashes
    clear: NDArray[np.bool_]
    size: int
    resize: ResizeRule

    @classmethod
    def of(cls, table: ImageTable, image_stats: ImageStats, spec: FeatureSpec) -> Self:
        """The traces of a table's images.

        image_stats : of them and maybe of others, read on canvases of `spec`.
        """
        place = {id: i for i, id in enumerate(image_stats.ids.tolist())}
        order = np.argsort(table.content_hashes)  # where an image stood may not be told
        rows = np.array([place[id] for id in table.ids[order].tolist()], np.int64)
        return cls(
            _short(table.content_hashes[order]),
            _short(image_stats.pixels[rows]),
            image_stats.hashes[rows],
            image_stats.clear[rows] >= CLEAR,
            spec.size,
            spec.resize,
        )

    def meet(
        self, table: ImageTable, extractor: Extractor
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which of a table's images are these: by their bytes, or by their picture.

        An image that cannot be read has no picture.

        Returns
        -------
        same_file : (m,) whether the bytes are those of one of these images.
        same_picture : (m,) of the other files: the pixels are equal, or both difference hashes say
            something and differ in at most `hashes.RADIUS` bits.
        """
        same_file = _among(_short(table.content_hashes), self.contents)
        same_picture = np.zeros(len(table), bool)
        others = np.flatnonzero(~same_file)
        if len(others):
            same_picture[others] = self._show_the_same(table.select(others), extractor)
        return same_file, same_picture

    def _show_the_same(self, table: ImageTable, extractor: Extractor) -> NDArray[np.bool_]:
        """(m,) which of a table's images show one of these."""
        recipe = CanvasRecipe(self.size, self.resize)
        found = np.zeros(len(table), bool)
        rows, looks = [], []
        with extractor.progress.task("Looking for images learned from", len(table)) as tick:
            for row, canvas in enumerate(extractor.decode(table.ids, table.sources, recipe)):
                if isinstance(canvas, Canvas):
                    rows.append(row)
                    looks.append(identity_of(canvas))
                tick(1)
        if rows:
            hashes, clear, pixels = zip(*looks, strict=True)
            close = _close(np.array(hashes), self.hashes[self.clear])
            close &= np.array(clear) >= CLEAR
            found[rows] = close | _among(_short(np.array(pixels)), self.pixels)
        return found

    def write(self, folder: Path) -> None:
        """Add the traces to a bundle, with their sha256 in its `bundle.json`."""
        arrays = {
            "contents": self.contents,
            "pixels": self.pixels,
            "hashes": self.hashes,
            "clear": self.clear.astype(np.uint8),
        }
        keep(folder, FILE, arrays, {"size": str(self.size), "resize": self.resize})

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """The traces in a bundle; None in one that keeps none.

        Raises
        ------
        BundleError
            They are damaged.
        """
        return kept(folder, FILE, cls._from)

    @classmethod
    def _from(cls, arrays: Arrays, words: Words) -> Self:
        check_shapes(
            arrays, contents=("n", KEPT), pixels=("n", KEPT), hashes=("n", 32), clear=("n",)
        )
        return cls(
            arrays["contents"],
            arrays["pixels"],
            arrays["hashes"],
            arrays["clear"].astype(bool),
            int(words["size"]),
            cast(ResizeRule, words["resize"]),
        )


def _short(names: Strings) -> Hashes:
    """(n, KEPT) uint8, a short hash of each of n texts."""
    parts = [hashlib.blake2b(name.encode(), digest_size=KEPT).digest() for name in names.tolist()]
    return np.frombuffer(b"".join(parts), np.uint8).reshape(len(names), KEPT)


def _among(some: Hashes, others: Hashes) -> NDArray[np.bool_]:
    """(m,) which rows of (m, KEPT) are among those of (n, KEPT)."""
    return np.isin(_whole(some), _whole(others))


def _whole(rows: Hashes) -> NDArray[np.uint64]:
    return np.ascontiguousarray(rows).view(np.uint64).ravel()


def _close(some: Hashes, others: Hashes) -> NDArray[np.bool_]:
    """(m,) which hashes (m, 32) lie within `RADIUS` bits of one of (n, 32)."""
    distinct, which = np.unique(some, axis=0, return_inverse=True)
    known = np.unique(others, axis=0)
    pairs, _ = close_pairs(np.concatenate([known, distinct]))
    across = pairs[(pairs[:, 0] < len(known)) & (pairs[:, 1] >= len(known))]
    found = np.zeros(len(distinct), bool)
    found[across[:, 1] - len(known)] = True
    return found[which.reshape(-1)]
