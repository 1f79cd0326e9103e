"""Image files that nobody labelled, named by paths, folders and patterns."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medgraft.data.dicom.identity import public_names
from medgraft.data.folders.mask_files import find_masks
from medgraft.data.listing import shown
from medgraft.data.pixel_rule import with_rule
from medgraft.data.pixels.stored_header import hash_and_header
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
    skipped, hashes, headers = [], {}, {}
    for file, problem in find_images(_as_text(paths)).items():
        try:
            if problem:
                raise OSError(problem)
            hashes[file], header = hash_and_header(file)
            if header is not None:
                headers[hashes[file]] = header
        except OSError as error:
            skipped.append(Skipped(shown(file), error.strerror or str(error)))
    n, ids = len(hashes), np.array(public_names(list(hashes)), dtype=np.str_)
    table = ImageTable(
        ids=ids,
        sources=tuple(Source(file) for file in hashes),
        content_hashes=np.array(list(hashes.values()), dtype=np.str_),
        labels=np.full(n, -1),
        groups=ids,
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
