"""What lies below a folder: pictures, tables, and everything else by its kind.

Nothing is opened but what has no suffix or a DICOM's: its first bytes say what it is.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from medgraft.data.listing import file_problem
from medgraft.data.names import is_dropping, kind_of
from medgraft.data.pixels.dicom_file import HEAD, is_dicom
from medgraft.data.pixels.formats import begins_known

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff"}
IMAGE_SUFFIXES |= {".bmp", ".webp", ".gif", ".pgm", ".ppm"}
NAMED_PICTURES = IMAGE_SUFFIXES | {".dcm", ".dicom"}  # read or refused, whatever they hold
UNSURE_SUFFIXES = {".ima", ".dic", ""}
TABLE_SUFFIXES = {".csv", ".tsv", ".tab", ".psv", ".xlsx", ".xlsm", ".parquet", ".pq"}
# What a person would call a picture and is not read, unlike notes and programs.
UNREAD_PICTURES = {".heic", ".avif", ".jp2", ".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".svs"}
UNREAD_PICTURES |= {".ndpi", ".npy", ".npz", ".mat", ".h5", ".hdf5", ".mp4"}
UNREAD_PICTURES |= {".avi", ".zip", ".tar", ".gz", ".tar.gz", ".rar", ".7z", ""}

Parts = tuple[str, ...]


@dataclass(frozen=True)
class Scan:
    """The files below `root`, sorted, each as its path's parts.

    images : that may be pictures, by their suffix or their first bytes. tables : that may
    list images. problems : pictures or folders that cannot be read, and why. others : files of
    every other kind, counted by suffix. droppings : left by other programs or by us, counted.
    """

    root: Path
    images: list[Parts] = field(default_factory=list)
    tables: list[Parts] = field(default_factory=list)
    problems: list[tuple[Parts, str]] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    droppings: Counter[str] = field(default_factory=Counter)


def scan(root: Path) -> Scan:
    """Look at every name below `root`; links are followed, but not in circles."""
    found = Scan(root)
    for parts, problem in _walk(os.fspath(root), (), frozenset(), found):
        suffix = kind_of(parts[-1]) if parts else ""
        if problem:
            found.problems.append((parts, problem))
        elif (
            suffix in NAMED_PICTURES
            or (not suffix and root.joinpath(*parts).is_symlink())
            or (suffix in UNSURE_SUFFIXES and _begins_as_picture(root.joinpath(*parts)))
        ):
            found.images.append(parts)
        elif suffix in TABLE_SUFFIXES:
            found.tables.append(parts)
        else:
            found.others[suffix] += 1
    return found


def _begins_as_picture(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD)
    except OSError:
        return False
    return is_dicom(head) or begins_known(head)


def entries_below(folder: Path) -> Iterator[tuple[Parts, str]]:
    """Every picture below `folder`, sorted, as (path parts, what is wrong with it or '')."""
    found = scan(folder)
    yield from sorted([*((parts, "") for parts in found.images), *found.problems])


def _walk(
    folder: str, parts: Parts, above: frozenset[str], found: Scan
) -> Iterator[tuple[Parts, str]]:
    real = os.path.realpath(folder)
    if real in above:
        yield parts, "this link leads back to a folder above it"
        return
    try:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        yield parts, f"the folder cannot be read ({error.strerror})"
        return
    for entry in listed:
        here = (*parts, entry.name)
        if is_dropping(entry.name):
            found.droppings[entry.name] += 1
        elif _is_folder(entry):
            yield from _walk(entry.path, here, above | {real}, found)
        elif (kind := kind_of(entry.name)) in IMAGE_SUFFIXES or (not kind and entry.is_symlink()):
            yield here, file_problem(entry.path)
        else:
            yield here, ""


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # no permission to look; `file_problem` says so
        return False
