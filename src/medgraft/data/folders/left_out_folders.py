"""Folders that are no part of the data: copies of what lies around or beside them, and papers."""

from __future__ import annotations

import filecmp
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path

from medgraft.data.names import is_about_data, split_of
from medgraft.data.scan import Parts, Scan

ABOUT = 0.2  # the share of the images that pictures about them may be
LOOKED_AT = 32  # files of two folders that are compared byte by byte
MOST = 64  # folders beside each other that are compared
COPY = re.compile(
    r"(?i)(?:copy of|kopie von) (.+)|(.+?)[ _-]*(?:\(\d+\)|(?:copy|copie|copia|kopie|backup|bak)"
    r"[ _-]*\(?\d*\)?)"
)  # what file managers and people make of the name of a folder that they copy
COPIED = 0.9  # the share of a folder's files that lie around it, too, which makes it a copy


def without_copies(found: Scan) -> tuple[list[Parts], list[tuple[str, int, str]]]:
    """The images without those of a folder that holds once more what lies around or beside it."""
    images = found.images
    left_out: list[tuple[str, int, str]] = []
    for folder in _suspects(images):
        n = len(folder)
        inside = {path[n:] for path in images if path[:n] == folder}
        around = {path[n - 1 :] for path in images if path[: n - 1] == folder[:-1]} - {
            (folder[-1], *path) for path in inside
        }
        copied = [path for path in inside if path in around and _same(found.root, folder, path)]
        if not inside or len(copied) < COPIED * len(inside) or split_of(folder[-1]):
            continue  # copies across splits are a leak to be found
        if _all_equal(found.root, folder, folder[:-1], copied):
            what = "/".join(folder)
            more = len(inside) - len(copied)
            why = "a copy of the folder around it" + (
                f", but for {more:,} images that only it has" if more else ""
            )
            left_out.append((what, len(inside), why))
            images = [path for path in images if path[:n] != folder]
    return _without_twins(found.root, images, left_out), left_out


def _without_twins(
    root: Path, images: Sequence[Parts], left_out: list[tuple[str, int, str]]
) -> list[Parts]:
    """The same without a folder that is a copy of the one beside it, by its name or by two or more
    folders of the same names in both. Copies across splits are left: they are a leak to be found.
    """
    below: dict[Parts, set[Parts]] = defaultdict(set)
    for path in images:
        for i in range(1, len(path)):
            below[path[:i]].add(path[i:])
    beside: dict[Parts, list[Parts]] = defaultdict(list)
    for folder in sorted(below):
        beside[folder[:-1]].append(folder)
    gone: set[Parts] = set()
    for above, folders in sorted(beside.items()):
        if any(above[:i] in gone for i in range(1, len(above) + 1)) or len(folders) > MOST:
            continue
        pairs = list(permutations(reversed(folders), 2))
        named = [(copy, kept) for copy, kept in pairs if _is_copy_by_name(copy[-1], kept[-1])]
        inner = {one: {path[0] for path in below[one] if len(path) > 1} for one in folders}
        alike = [
            (copy, kept)
            for copy, kept in pairs
            if len(inner[copy] & inner[kept]) > 1 and not (split_of(copy[-1]) or split_of(kept[-1]))
        ]
        for copy, kept in (*named, *alike):
            if gone.isdisjoint((copy, kept)) and _is_twin(root, copy, kept, below):
                why = f"a copy of {kept[-1]} beside it"
                left_out.append(("/".join(copy), len(below[copy]), why))
                gone.add(copy)
    return [path for path in images if gone.isdisjoint(path[:i] for i in range(1, len(path)))]


def _is_copy_by_name(copy: str, kept: str) -> bool:
    marked = COPY.fullmatch(copy)
    return marked is not None and (marked[1] or marked[2]).casefold() == kept.casefold()


def _is_twin(root: Path, copy: Parts, kept: Parts, below: Mapping[Parts, set[Parts]]) -> bool:
    """Whether nearly all files of a folder are those of another, byte by byte."""
    common = list(below[copy] & below[kept])
    return len(common) >= COPIED * len(below[copy]) and _all_equal(root, copy, kept, common)


def _all_equal(root: Path, a: Parts, b: Parts, paths: Sequence[Parts]) -> bool:
    """Whether nearly all of these files are the same in two folders; of many a sample is read."""
    sample = sorted(paths)[:: max(1, len(paths) // LOOKED_AT)]
    same = sum(_equal(root.joinpath(*a, *p), root.joinpath(*b, *p)) for p in sample)
    return same >= COPIED * len(sample)


def _equal(a: Path, b: Path) -> bool:
    try:
        return filecmp.cmp(a, b, shallow=False)
    except OSError:
        return False


def _suspects(images: Sequence[Parts]) -> list[Parts]:
    """Folders some of whose sub-folders are named as folders beside it, the outermost first."""
    children: dict[Parts, set[str]] = defaultdict(set)
    for path in images:
        for i in range(1, len(path)):
            children[path[: i - 1]].add(path[i - 1])
    return sorted(
        folder
        for above, names in children.items()
        for folder in ((*above, name) for name in names)
        if children.get(folder) and len(children[folder] & (names - {folder[-1]})) > 1
    )


def _same(root: Path, folder: Parts, path: Parts) -> bool:
    """Whether a file has the size of the one of its name around the folder."""
    try:
        inner = root.joinpath(*folder, *path).stat().st_size
        return inner == root.joinpath(*folder[:-1], *path).stat().st_size
    except OSError:
        return False


def without_documents(images: list[Parts]) -> tuple[list[Parts], list[tuple[str, int, str]]]:
    """The images without the few in folders such as `docs` beside two or more of others."""
    total = Counter(path[:i] for path in images for i in range(1, len(path)))
    found = []
    for folder in sorted(one for one in total if is_about_data(one[-1])):
        beside = [
            n for one, n in total.items() if one[:-1] == folder[:-1] and not is_about_data(one[-1])
        ]
        few = total[folder] < ABOUT * len(images)
        if few and len(beside) > 1 and 2 * total[folder] < min(beside):  # else a class of papers
            found.append(folder)
    outermost = [one for one in found if not any(one[:i] in found for i in range(1, len(one)))]
    why = "by its name about the data, and no part of it"
    kept = [path for path in images if not any(path[: len(one)] == one for one in outermost)]
    return kept, [("/".join(one), total[one], why) for one in outermost]
