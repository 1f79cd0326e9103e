"""Image files that nobody labelled, named by paths, folders and patterns."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medgraft.data.dicom.headers import frame_hash, frames_in
from medgraft.data.dicom.identity import FRAME, public_names
from medgraft.data.file_hashes import look
from medgraft.data.folders.mask_files import find_masks
from medgraft.data.listing import shown
from medgraft.data.pixel_rule import with_rule
from medgraft.data.pixels.stored_header import hash_and_look
from medgraft.data.scan import entries_below
from medgraft.errors import DataError
from medgraft.types import ImageTable, Paths, Skipped, Source

MASK = "a mask of another image by its folder, name or values; name the file to judge it anyway"


def table_of(images: ImageTable | Paths) -> tuple[ImageTable, tuple[Skipped, ...]]:
    """A table as it is; of paths one without labels, and those of them that cannot be read.

    Errors as `unlabelled`.
    """
    if isinstance(images, ImageTable):
        return images, ()
    table = unlabelled(images)
    return table, table.skipped


def unlabelled(paths: Paths) -> ImageTable:
    """The images that paths, folders and patterns name, without labels; the path is the id.

    Raises
    ------
    DataError
        What is given is no path and no list of paths, or names no image.
    """
    skipped, files, hashes, headers = [], dict[str, Source](), list[str](), {}
    for file, problem in find_images(_as_text(paths)).items():
        try:
            if problem:
                raise OSError(problem)
            name, found = hash_and_look(file, look)
        except OSError as error:
            skipped.append(Skipped(shown(file), error.strerror or str(error)))
            continue
        for id, source in _frames(file, found.dicom.frames if found.dicom else 1).items():
            files[id] = source
            hashes.append(name if source.frame is None else frame_hash(name, source.frame))
            if found.stored is not None:
                headers[hashes[-1]] = found.stored
    n, ids = len(files), np.array(public_names(list(files)), dtype=np.str_)
    first = dict[str, str]()  # of a file's images, by which its group is called
    for source, id in zip(files.values(), ids.tolist(), strict=True):
        first.setdefault(source.path, id)
    table = ImageTable(
        ids=ids,
        sources=tuple(files.values()),
        content_hashes=np.array(hashes, dtype=np.str_),
        labels=np.full(n, -1),
        groups=np.array([first[source.path] for source in files.values()], dtype=np.str_),
        splits=np.full(n, "", dtype=np.str_),
        masks=np.full(n, "", dtype=np.str_),
        classes=(),
        skipped=tuple(skipped),
    )
    return with_rule(table, headers)


def _as_text(paths: Any) -> list[str]:
    """One path or several, as text."""
    several = [paths] if isinstance(paths, str | os.PathLike) else paths
    named = list(several) if isinstance(several, Iterable) else [several]
    strange = [one for one in named if not isinstance(one, str | os.PathLike)]
    if strange or not named:
        what = f"of the kind {type(strange[0]).__name__}" if strange else "none"
        raise DataError(
            f"no images: what is given is {what}; give the path of a file, folder or pattern, a "
            "list of such paths, or what medgraft.load gives"
        )
    return [os.fspath(path) for path in named]


def images_named(paths: Sequence[str]) -> dict[str, Source | str]:
    """The images that paths, folders and patterns name, in order: where each is, or why not read.

    Each is called by its path; of a DICOM file of several frames each is one, `path#0` and so on.

    Raises
    ------
    DataError
        As `find_images`.
    """
    found: dict[str, Source | str] = {}
    for file, problem in find_images(paths).items():
        found |= {file: problem} if problem else _frames(file, frames_in(file))
    return found


def readable(found: Mapping[str, Source | str]) -> dict[str, Source]:
    """Of `images_named` those that are there."""
    return {name: one for name, one in found.items() if isinstance(one, Source)}


def unreadable(found: Mapping[str, Source | str]) -> dict[str, str]:
    """Of `images_named` why the others are not."""
    return {name: one for name, one in found.items() if isinstance(one, str)}


def _frames(file: str, n: int) -> dict[str, Source]:
    """By name the n images in a file."""
    if n == 1:
        return {file: Source(file)}
    return {f"{file}{FRAME}{frame}": Source(file, frame) for frame in range(n)}


def find_images(paths: Sequence[str]) -> dict[str, str]:
    """Image files named by paths, folders (searched below) and patterns, each once, in order.

    The values say why a file or folder cannot be read, where that is known ('' elsewhere). A path
    that is not there is kept, so that it is answered with its reason.
    """
    found: dict[str, str] = {}
    for path in paths:
        if os.path.isdir(path):  # noqa: PTH112  of os.path, which is False where it may not look
            entries = list(entries_below(Path(path)))
            images = [parts for parts, problem in entries if parts and not problem]
            masks = set(images) - set(find_masks(Path(path), images).images)
            for parts, problem in entries:
                problem = MASK if parts in masks else problem
                # A name that is not UTF-8 has no place in a study; here nothing hangs on it.
                file = str(Path(path, *parts))
                found[file] = problem if shown(file) == file else ""
        elif not os.path.exists(path) and glob.has_magic(path):  # noqa: PTH110
            matches = glob.glob(path, recursive=True)  # noqa: PTH207  a pattern has no folder
            found |= dict.fromkeys(sorted(matches), "")
        else:
            found[path] = ""
    if not found:
        raise DataError(
            f"no images in {', '.join(paths)}; give image files, a folder of them or a pattern"
        )
    return found
