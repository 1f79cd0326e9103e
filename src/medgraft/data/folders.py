"""Images in folders: `class/image` or `split/class/image`, with masks in folders named `masks`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from medgraft.data.listing import SPLIT_NAMES, Listing, Row, file_problem, shown
from medgraft.errors import DataError
from medgraft.types import Finding, Skipped, Source, Split

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff"}
IMAGE_SUFFIXES |= {".bmp", ".webp", ".gif", ".pgm", ".ppm"}
# Pictures that are not read are named, so that a folder half of DICOM does not shrink unnoticed.
UNREAD_SUFFIXES = {".dcm", ".dicom", ".heic", ".avif", ".jp2", ".nii", ".mha", ".svs"}
IGNORED_NAMES = {"__macosx", "thumbs.db"}

Parts = tuple[str, ...]


def read_folder(root: Path) -> Listing:
    """List `class/…/image` or `split/class/…/image`; masks lie in a folder named `masks`.

    Raises
    ------
    DataError
        The folder cannot be read, holds no image in a class folder, or mixes splits and classes.
    """
    images: list[Parts] = []
    masks: list[Parts] = []
    skipped: list[Skipped] = []
    for parts, problem in entries_below(root):
        if problem and not parts:
            raise DataError(f"{root}: {problem}; check the path and its permissions")
        if problem:
            skipped.append(Skipped(shown("/".join(parts)), problem))
        elif any(part.lower() == "masks" for part in parts[:-1]):
            masks.append(parts)
        else:
            images.append(parts)
    depth = _depth_of_class(root, images)
    mask_of = _match_masks(images, masks)
    rows = []
    for parts in images:
        if len(parts) < depth + 2:
            skipped.append(Skipped("/".join(parts), "lies in no class folder, so has no label"))
            continue
        mask = str(root.joinpath(*mask_of[parts])) if parts in mask_of else ""
        split: Split = SPLIT_NAMES[parts[0].lower()] if depth else ""
        source = Source(str(root.joinpath(*parts)))
        rows.append(Row("/".join(parts), source, parts[depth], split, mask))
    if not rows:
        raise DataError(_nothing_found(root, images, skipped))
    unused = len(masks) - len(mask_of)
    findings = [_unused_masks(unused, len(masks))] if unused else []
    return Listing(root, sorted(rows, key=lambda row: row.id), skipped, findings)


def entries_below(
    folder: Path, parts: Parts = (), above: frozenset[str] = frozenset()
) -> Iterator[tuple[Parts, str]]:
    """Every image below `folder`, sorted, as (path parts, what is wrong with it or '')."""
    real = os.path.realpath(folder)
    if real in above:
        yield parts, "this link leads back to a folder above it"
        return
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        yield parts, f"the folder cannot be read ({error.strerror})"
        return
    for entry in found:
        name, path = entry.name, folder / entry.name
        here = (*parts, name)
        suffix = path.suffix.lower()
        if name.startswith(".") or name.lower() in IGNORED_NAMES:
            continue
        if _is_folder(entry):
            yield from entries_below(path, here, above | {real})
        elif suffix in IMAGE_SUFFIXES or (not suffix and entry.is_symlink()):
            yield here, file_problem(path)
        elif suffix in UNREAD_SUFFIXES:
            yield here, f"{suffix} files are not read; convert them to PNG"


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # no permission to look; `file_problem` says so
        return False


def _depth_of_class(root: Path, images: list[Parts]) -> int:
    """0 where class folders lie at the top, 1 where split folders do."""
    tops = sorted({parts[0] for parts in images if len(parts) > 1})
    splits = [name for name in tops if name.lower() in SPLIT_NAMES]
    classes = [name for name in tops if name not in splits]
    if splits and classes:
        raise DataError(
            f"{root} mixes split folders ({', '.join(splits)}) with others "
            f"({', '.join(classes[:5])}); use either class/image or split/class/image"
        )
    depth = 1 if splits else 0
    for parts in images:
        if len(parts) > 2 and parts[1].lower() in SPLIT_NAMES:
            remedy = f"; perhaps you mean {root / tops[0]}" if len(tops) == 1 else ""
            raise DataError(
                f"the folder '{'/'.join(parts[:2])}' is named like a split, but splits lie at the "
                f"top: use split/class/image{remedy}"
            )
    return depth


def _nothing_found(root: Path, images: list[Parts], skipped: list[Skipped]) -> str:
    if images:
        return (
            f"{root} has images but no class folders, so no labels; put each class into a folder "
            "of its own (class/image), or give a CSV with the columns path,label"
        )
    why = f"; {len(skipped)} skipped, the first: {skipped[0].reason}" if skipped else ""
    kinds = " ".join(sorted(IMAGE_SUFFIXES))
    return f"no image in {root} (read are {kinds}){why}; expected class/image or split/class/image"


def _match_masks(images: list[Parts], masks: list[Parts]) -> dict[Parts, Parts]:
    """Give each mask its image: same path, else same stem, below the folder that holds `masks`.

    By stem only where one mask and one image have it: a guess between two is no match.
    """
    by_path: dict[tuple[Parts, Parts], Parts] = {}
    for mask in masks:
        at = next(i for i, part in enumerate(mask) if part.lower() == "masks")
        by_path[mask[:at], _without_suffix(mask[at + 1 :])] = mask
    matched = _claims(images, by_path, whole_path=True)
    taken = set(matched.values())
    left = [(scope, path[-1:], m) for (scope, path), m in by_path.items() if m not in taken]
    alike = Counter((scope, stem) for scope, stem, _ in left)
    by_stem = {(scope, stem): m for scope, stem, m in left if alike[scope, stem] == 1}
    claims = _claims([i for i in images if i not in matched], by_stem, whole_path=False)
    times = Counter(claims.values())
    return matched | {image: mask for image, mask in claims.items() if times[mask] == 1}


def _claims(
    images: list[Parts], masks: dict[tuple[Parts, Parts], Parts], whole_path: bool
) -> dict[Parts, Parts]:
    """The nearest mask of each image, by (folder that holds `masks`, path or stem in it)."""
    found = {}
    for image in images:
        for depth in reversed(range(len(image))):
            path = _without_suffix(image[depth:])
            key = image[:depth], path if whole_path else path[-1:]
            if key in masks:
                found[image] = masks[key]
                break
    return found


def _without_suffix(path: Parts) -> Parts:
    return (*path[:-1], Path(path[-1]).stem)


def _unused_masks(unused: int, total: int) -> Finding:
    return Finding(
        "masks",
        "info",
        f"{unused} of {total} files in folders named masks belong to no image, or to several.",
        {"unused": unused, "masks": total},
        remedy="Name each mask like its image, with the same folders below masks/.",
    )
