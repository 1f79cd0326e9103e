"""Folders that hold once more what lies around them, as downloads that were packed twice do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from medgraft.data.scan import Scan

Parts = tuple[str, ...]
COPIED = 0.9  # the share of a folder's files that lie around it, too, which makes it a copy


def without_copies(found: Scan) -> tuple[list[Parts], list[tuple[str, int, str]]]:
    """The images without those of a folder that holds once more what lies around it."""
    images = found.images
    left_out: list[tuple[str, int, str]] = []
    for folder in _suspects(images):
        n = len(folder)
        inside = {path[n:] for path in images if path[:n] == folder}
        around = {path[n - 1 :] for path in images if path[: n - 1] == folder[:-1]} - {
            (folder[-1], *path) for path in inside
        }
        copied = [path for path in inside if path in around and _same(found.root, folder, path)]
        if inside and len(copied) >= COPIED * len(inside):
            what = "/".join(folder)
            more = len(inside) - len(copied)
            why = "a copy of the folder around it" + (
                f", but for {more:,} images that only it has" if more else ""
            )
            left_out.append((what, len(inside), why))
            images = [path for path in images if path[:n] != folder]
    return list(images), left_out


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
