"""Images packed as arrays in an `.npz`: MedMNIST's names, Keras's, or one pair without splits."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgraft.data.listing import Listing, Row, bar, content_hash
from medgraft.data.names import SPLIT_NAMES
from medgraft.data.tables.labels import class_names
from medgraft.errors import DataError
from medgraft.panel import UNCERTAIN, UNKNOWN
from medgraft.types import Progress, Reading, Source, Split

IMAGES, LABELS = ("images", "image", "x", "data"), ("labels", "label", "y", "targets")
MOST_FRAME = 1 << 30  # bytes of one image
MOST_LABELS = 1 << 28  # bytes of all labels
HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


@dataclass(frozen=True, slots=True)
class _Part:
    """An array of images, the one of their labels, and the split that their names tell."""

    split: Split
    images: str
    labels: str


def read_npz(path: Path, progress: Progress | None = None, *, several: bool = False) -> Listing:
    """List the frames of an `.npz`: `{train,val,test}_images` and `…_labels` (MedMNIST),
    `x_train`, `y_train`, … (Keras), or one pair `images`, `labels` (or `x`, `y`).

    Images are (n, height, width[, 1 or 3]): uint8, uint16, or floats that all lie in 0 to 1 or in
    0 to 255. Labels are (n,) or (n, 1) whole numbers or texts, or (n, k) with a single 1 a row;
    where `several`, (n, k) findings: 0, 1, nan (not known) or -1 (uncertain), named 0, 1, ….
    Frames are hashed while they stream by, since the 224-pixel sets exceed the memory.

    Raises
    ------
    DataError
        Not such a file: damaged, an array is absent, or of another shape, type or range.
    """
    rows: list[Row] = []
    try:
        with zipfile.ZipFile(path) as archive:
            members = [name.removesuffix(".npy") for name in archive.namelist()]
            for part in _parts(members):
                rows += _rows(path, archive, part, progress, several)
        if len({len(row.marks) for row in rows}) > 1:
            raise ValueError("its arrays of labels have different numbers of findings")
    except DataError:
        raise
    # What broken bytes raise inside zipfile and numpy is not to be listed, and means the same.
    except Exception as error:
        raise DataError(
            f"{path.name} cannot be read as a MedMNIST file ({_words(error)}); fetch it again, or "
            "save its arrays with numpy.savez"
        ) from error
    if not rows:
        there = ", ".join(sorted(members)[:20]) or "nothing"
        raise DataError(
            f"{path.name} holds {there}; a MedMNIST file has "
            "train_images and train_labels (and val_…, test_…), one of Keras x_train and y_train"
        )
    marked = tuple(str(at) for at in range(len(rows[0].marks)))
    reading = Reading(f"{path.name} gives {len(marked)} findings of each image") if marked else None
    return Listing(path.parent, rows, [], reading=reading or Reading(), marked=marked)


def _words(error: BaseException) -> str:
    words = str(error) or type(error).__name__
    return words if len(words) <= 300 else f"{words[:299]}…"


def _parts(members: list[str]) -> list[_Part]:
    """The pairs of images and labels, train before val before test."""
    found: dict[Split, _Part] = {}
    by_name = {name.lower(): name for name in members}
    for low, name in by_name.items():
        words = [word for word in re.split(r"[_\W]+", low) if word]
        kinds = [word for word in words if word in IMAGES]
        splits = [SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES]
        if len(kinds) != 1 or len(kinds) + len(splits) != len(words) or len(splits) > 1:
            continue
        split: Split = splits[0] if splits else ""
        labels = [
            by_name[other]
            for other in (re.sub(rf"(?<![a-z]){kinds[0]}(?![a-z])", label, low) for label in LABELS)
            if other in by_name
        ]
        if not split and not labels:
            continue
        if split in found:
            raise ValueError(f"{found[split].images} and {name} are of one split; rename one")
        # an absent array is named as MedMNIST or Keras would
        absent = low.replace("images", "labels") if "images" in low else low.replace("x", "y", 1)
        found[split] = _Part(split, name, labels[0] if labels else absent)
    order: tuple[Split, ...] = ("train", "val", "test", "")
    return [found[split] for split in order if split in found]


def _rows(
    path: Path, archive: zipfile.ZipFile, part: _Part, progress: Progress | None, several: bool
) -> Iterator[Row]:
    member = part.images
    with archive.open(f"{member}.npy") as stream:
        shape, by_column, dtype = HEADERS[np.lib.format.read_magic(stream)](stream)
        _check_images(member, shape, by_column, dtype)
        marks = _marks(archive, part.labels, shape[0]) if several else None
        labels = _labels(archive, part.labels, shape[0]) if marks is None else [""] * shape[0]
        head = f"{shape[1:]} {dtype.str}".encode()
        size = int(np.prod(shape[1:])) * dtype.itemsize
        low, high = np.inf, -np.inf
        with bar(progress, f"Reading {member}", shape[0]) as advance:
            for frame, label in enumerate(labels):
                pixels = stream.read(size)
                if len(pixels) < size:
                    raise EOFError(f"{member} ends within frame {frame}")
                if dtype.kind == "f":
                    values = np.frombuffer(pixels, dtype)  # and nan stays nan below
                    low, high = (
                        np.minimum(low, values.min()),
                        np.maximum(high, values.max()),
                    )  # nan stays
                name = content_hash(head + pixels)
                source = Source(str(path), frame, member)
                yield Row(
                    f"{part.split or member}/{frame}", source, label, part.split, content_hash=name,
                    marks=() if marks is None else marks[frame],
                )  # fmt: skip
                advance(1)
    if dtype.kind == "f" and not (low >= 0 and 0.5 < high <= 255 and np.isfinite(high)):
        raise ValueError(
            f"{member} holds floats from {low:g} to {high:g}, and pictures lie in 0 to 1 or in 0 "
            "to 255; save them before they are normalised, as uint8"
        )


def _check_images(
    member: str, shape: tuple[int, ...], by_column: bool, dtype: np.dtype[Any]
) -> None:
    if len(shape) == 4 and shape[1] in (1, 3) and shape[3] not in (1, 3):
        raise ValueError(
            f"{member} is {shape}, channels before rows; use array.transpose(0, 2, 3, 1)"
        )
    good = dtype == np.uint8 or (dtype.kind, dtype.itemsize) == ("u", 2) or dtype.kind == "f"
    if not good or len(shape) not in (3, 4) or shape[3:] not in ((), (1,), (3,)):
        raise ValueError(f"{member} is {shape} {dtype}, not (n, height, width[, 1 or 3]) uint8")
    if by_column:
        raise ValueError(f"{member} is stored column by column; use numpy.ascontiguousarray")
    if not all(side > 0 for side in shape[1:]):
        raise ValueError(f"{member} is {shape}, and an image has pixels")
    if int(np.prod(shape[1:])) * dtype.itemsize > MOST_FRAME:
        raise ValueError(f"a frame of {member} has more than {MOST_FRAME:,} bytes")


def _labels(archive: zipfile.ZipFile, member: str, n: int) -> list[str]:
    """The label (n,) of each image, as text."""
    with archive.open(f"{member}.npy") as stream:
        shape, _, dtype = HEADERS[np.lib.format.read_magic(stream)](stream)
    if dtype.hasobject:
        raise ValueError(
            f"{member} holds Python objects, which only pickle could read; save "
            f"{member}.astype(str)"
        )
    if shape[:1] != (n,) or len(shape) > 2 or int(np.prod(shape)) * dtype.itemsize > MOST_LABELS:
        raise ValueError(f"{member} is {shape} {dtype}, not one integer for each of the {n} images")
    with archive.open(f"{member}.npy") as stream:
        labels: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    if dtype.kind in "US":
        texts = np.char.decode(labels, "utf-8") if dtype.kind == "S" else labels
        if labels.size != n:
            raise ValueError(f"{member} is {shape} {dtype}, not one text for each of {n} images")
        return class_names([str(text) for text in texts.ravel().tolist()])
    if dtype.kind not in "iubf" or not np.equal(labels, np.floor(labels)).all():
        raise ValueError(f"{member} is {shape} {dtype}, not one integer for each of the {n} images")
    if labels.size == n:
        return [str(int(label)) for label in labels.ravel().tolist()]
    if not (np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all()):
        raise ValueError(
            f"{member} is {shape} {dtype}, not one integer for each of the {n} images, nor a "
            "single 1 in each row; several findings an image are read by `medgraft study` alone"
        )
    return [str(int(label)) for label in labels.argmax(axis=1).tolist()]


def _marks(archive: zipfile.ZipFile, member: str, n: int) -> list[tuple[int, ...]] | None:
    """What is known of k findings in each of n images; None where the array holds no such thing."""
    with archive.open(f"{member}.npy") as stream:
        shape, _, dtype = HEADERS[np.lib.format.read_magic(stream)](stream)
    small = int(np.prod(shape)) * dtype.itemsize <= MOST_LABELS
    if dtype.kind not in "iubf" or shape[:1] != (n,) or len(shape) != 2 or not small:
        return None
    with archive.open(f"{member}.npy") as stream:
        labels: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    known = ~np.isnan(labels) if dtype.kind == "f" else np.ones(shape, bool)
    if shape[1] < 2 or not np.isin(labels[known], (0, 1, -1)).all():
        return None
    marks = np.full(shape, UNKNOWN, np.int8)
    marks[known] = np.where(labels[known] == -1, UNCERTAIN, labels[known])
    return [tuple(row) for row in marks.tolist()]
