"""What scikit-learn hands to an estimator of images, checked: X, y, groups and sample_weight."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.multiclass import check_classification_targets

from medgraft.data.file_hashes import look
from medgraft.data.listing import content_hash
from medgraft.data.pixel_rule import with_rule
from medgraft.data.pixels.stored_header import StoredHeader, hash_and_look
from medgraft.errors import DataError, FitError
from medgraft.panel import ABSENT, PRESENT, UNKNOWN, Marks
from medgraft.types import Floats, ImageTable, Pixels, Source, Strings

UINT8 = "medgraft reads 0..255 uint8; convert with (255 * X).round().astype('uint8') from 0..1"

Images = Iterable[str | os.PathLike[str]] | Iterable[Pixels] | Pixels
"""Paths of image files; an array (n, height, width[, 3]) uint8; or such images of many sizes."""


@dataclass(frozen=True, eq=False)
class GivenImages:
    """n images as they were given: files, or pixels by content hash where they are arrays.

    headers : by that hash, of files that store more than a picture of eight bits.
    """

    sources: tuple[Source, ...]
    hashes: Strings
    pixels: Mapping[str, Pixels]
    headers: Mapping[str, StoredHeader] = field(default_factory=dict)

    def table(self) -> ImageTable:
        """The images without labels, their row numbers as ids; an image's copies are its group."""
        n = len(self.sources)
        return ImageTable(
            ids=np.arange(n).astype(str),
            sources=self.sources,
            content_hashes=self.hashes,
            labels=np.full(n, -1, np.int64),
            groups=self.hashes,
            splits=np.full(n, "train"),
            masks=np.full(n, ""),
            classes=(),
        )


def given_images(X: Images) -> GivenImages:
    """Check what X is, and hash each image's content."""
    if isinstance(X, str | bytes | os.PathLike):
        raise DataError(f"X is the one path {X!r}; give a list of paths, or [{X!r}]")
    if getattr(X, "ndim", 1) not in (1, 3, 4):
        raise DataError(
            f"X has shape {getattr(X, 'shape', ())}, and images are (n, height, width[, 3]); "
            "give such an array, a list of images or a list of paths"
        )
    items: list[Any] = list(X)
    if not items:
        raise DataError("X is empty; give at least one image")
    files = [isinstance(item, str | os.PathLike) for item in items]
    if all(files):
        paths = [os.fspath(item) for item in items]
        found = [_file_hash(row, path) for row, path in enumerate(paths)]
        headers = {name: header for name, header in found if header is not None}
        return GivenImages(tuple(map(Source, paths)), np.array([n for n, _ in found]), {}, headers)
    if any(files):
        raise DataError(
            f"X mixes paths and arrays (X[{files.index(True)}] is a path, X[{files.index(False)}] "
            "is not); give one kind"
        )
    arrays = [_checked(row, item) for row, item in enumerate(items)]
    hashes = [_array_hash(array) for array in arrays]
    sources = tuple(Source(f"X[{row}]") for row in range(len(items)))
    return GivenImages(sources, np.array(hashes), dict(zip(hashes, arrays, strict=True)))


def _checked(row: int, item: Any) -> Pixels:
    """One image (height, width[, 3]) uint8; a channel axis of 1 goes."""
    if not isinstance(item, np.ndarray):
        raise DataError(f"X[{row}] is a {type(item).__name__}; give paths, or numpy arrays")
    array = item[..., 0] if item.ndim == 3 and item.shape[2] == 1 else item
    if array.shape[2:] not in ((), (3,)) or array.ndim < 2 or array.size == 0:
        raise DataError(f"X[{row}] has shape {item.shape}; an image is (height, width[, 3])")
    if array.dtype != np.uint8:
        raise DataError(f"X[{row}] is {array.dtype}; {UINT8}")
    return np.ascontiguousarray(array)


def _file_hash(row: int, path: str) -> tuple[str, StoredHeader | None]:
    """The hash by which a study knows the same file, so that they share their codes; its header."""
    try:
        name, found = hash_and_look(path, look)
    except OSError as error:
        raise DataError(
            f"X[{row}] ({path}) cannot be read: {error.strerror}; restore it or leave it out"
        ) from error
    if found.dicom is not None and found.dicom.frames > 1:
        raise DataError(
            f"X[{row}] is a DICOM file of {found.dicom.frames} frames, and an image is one; give "
            "its frames as arrays, or a folder to medgraft.load"
        )
    return name, found.stored


def _array_hash(array: Pixels) -> str:
    header = f"array {array.shape}\n".encode()
    return content_hash(header + array.tobytes())


def labelled_table(
    images: GivenImages, y: ArrayLike, groups: ArrayLike | None, sample_weight: ArrayLike | None
) -> tuple[NDArray[Any], ImageTable, Floats | None]:
    """Classes (n_classes,), the table of the images that weigh something, their weights (n,)."""
    y = _column("y", y, len(images.sources))
    check_classification_targets(y)
    table, weight = weighed_table(images, groups, sample_weight)
    classes, labels = np.unique(y[table.ids.astype(np.int64)], return_inverse=True)
    if len(classes) < 2:
        raise FitError(
            f"y has one class only ({', '.join(map(str, classes))}) among {len(table)} "
            "images that weigh something; a classifier needs at least two"
        )
    names = tuple(map(str, classes))
    table = dataclasses.replace(
        table,
        labels=labels.astype(np.int64),
        classes=names,
        positive=names[1] if len(names) == 2 else None,  # whom scikit-learn calls positive
    )
    return classes, table, weight


def weighed_table(
    images: GivenImages, groups: ArrayLike | None, sample_weight: ArrayLike | None
) -> tuple[ImageTable, Floats | None]:
    """The table of the images that weigh something, without labels, and their weights (n,)."""
    n = len(images.sources)
    weight = None if sample_weight is None else _column("sample_weight", sample_weight, n)
    kept = np.ones(n, bool)
    if weight is not None:
        weight = weight.astype(np.float64)
        if not (np.isfinite(weight).all() and (weight >= 0).all()):
            raise DataError("sample_weight holds negative or missing values; give weights from 0")
        kept = weight > 0
    table = images.table().select(kept)
    if groups is not None:
        table = dataclasses.replace(
            table, groups=_groups(_column("groups", groups, n)[kept], table)
        )
    return with_rule(table, images.headers), None if weight is None else weight[kept]


def has_several_findings(y: Any) -> bool:
    """Whether y says of several findings an image which are there."""
    return y is not None and np.ndim(y) == 2 and np.shape(y)[1] > 1


def marks_of(y: Any, n: int) -> Marks:
    """What y (n, k) says is known of k findings; what is masked is unknown."""
    values, hidden = np.ma.getdata(y), np.ma.getmaskarray(np.ma.asarray(y))
    if len(values) != n:
        raise DataError(f"y has {len(values)} rows for {n} images in X; it must have one each")
    numbers = values.dtype.kind in "biuf"
    bad = ~hidden & ~np.isin(values, (0, 1)) if numbers else ~hidden
    if bad.any():
        raise DataError(
            f"y holds {values[bad].flat[0]!r} in row {int(np.argwhere(bad)[0][0])}; of several "
            "findings an image it holds 0 and 1, and what is not known is masked: "
            "numpy.ma.masked_array(y, mask=unknown)"
        )
    marks: Marks = np.where(hidden, UNKNOWN, np.where(values == 1, PRESENT, ABSENT)).astype(np.int8)
    return marks


def _column(name: str, values: Any, n: int) -> NDArray[Any]:
    column = np.asarray(values)
    if column.shape != (n,):
        raise DataError(
            f"{name} has shape {column.shape} for {n} images in X; it must have one entry each"
            if values is not None
            else f"{name} is None; a classifier learns from labels, one for each image"
        )
    return column


def _is_missing(value: object) -> bool:
    """None, nan, '' and pandas' NA, which nobody can tell from anything."""
    try:
        return value is None or bool(value == "") or bool(value != value)
    except TypeError:
        return True


def _groups(given: NDArray[Any], table: ImageTable) -> Strings:
    """Groups by name; where one is missing, the image is a group of its own."""
    named = np.array(
        [
            own if _is_missing(value) else str(value)
            for value, own in zip(given.tolist(), table.groups.tolist(), strict=True)
        ]
    )
    if len(np.unique(named)) < 2:
        raise FitError(
            f"all {len(named)} images are in one group ({given[0]}), and cross-validation needs "
            "several; pass what tells patients apart, or groups=None"
        )
    return named
