"""Images in folders: which reading of the tree is right, and the rows that it gives."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from medgraft.data.layout import Layout, Meaning
from medgraft.data.listing import Listing, Row, shown
from medgraft.data.mask_files import MaskFiles, find_masks
from medgraft.data.names import says_part, stem_of
from medgraft.data.recognise import recognise
from medgraft.data.scan import IMAGE_SUFFIXES, UNREAD_PICTURES, Scan, scan
from medgraft.errors import AmbiguousDataError, DataError
from medgraft.types import Finding, Reading, Skipped, Source

Parts = tuple[str, ...]
COPIED = 0.9  # the share of a folder's files that lie above it, too, which makes it a copy
SHOWN = 6  # classes of a reading that an error lists
NAMED_BY_CLASS = (
    (r".*\d.*_(\d|[A-Za-z]+)", "{*}_{class}"),
    (r".*\d.*-(\d|[A-Za-z]+)", "{*}-{class}"),
    (r"([A-Za-z]+)\..*\d.*", "{class}.{*}"),
    (r"([A-Za-z]+)_.*\d.*", "{class}_{*}"),
    (r"([A-Za-z]+)-.*\d.*", "{class}-{*}"),
    (r"([A-Za-z]+) ?\(?\d+\)?", "{class}{*}"),
)


def read_folder(root: Path, layout: str = "") -> Listing:
    """List the images of a folder, by the layout given or the only one that it can have.

    Parameters
    ----------
    root
        The folder. Its masks, its copy inside itself and what other programs left in it are no
        images.
    layout
        As `data/layout.py` describes it; by default it is recognised.

    Raises
    ------
    AmbiguousDataError
        The folders can be read in several ways that differ; the text shows each with its flag.
    DataError
        The folder cannot be read, holds no image with a class, or the layout fits no file.
    """
    found = scan(root)
    for parts, problem in found.problems:
        if not parts:
            raise DataError(f"{root}: {problem}; check the path and its permissions")
    skipped = [Skipped(shown("/".join(parts)), problem) for parts, problem in found.problems]
    images, left_out = _without_copies(found)
    if layout:
        chosen = Layout.parse(layout)
        masks = _masks_by(chosen, images) if "mask" in chosen.words else find_masks(root, images)
    else:
        masks = find_masks(root, images)
        chosen = _recognised(found, masks.images, skipped)
    rows, outside = _rows(root, chosen, masks)
    skipped += outside
    if not rows:
        path, why = chosen.nearest(masks.images or [("",)])
        raise DataError(
            f"none of the {len(masks.images):,} images in {root} fits --layout '{chosen}'; the "
            f"nearest is {'/'.join(path)}: {why}"
            if masks.images
            else _no_image(root, found, skipped)
        )
    reading = Reading(
        "layout" if layout else "folders",
        str(chosen),
        masks.by,
        tuple(left_out) + _droppings(found),
        dict(sorted(found.others.items())),
    )
    findings = [*_unused(masks), *_unread(found, len(rows)), *_copies(left_out)]
    return Listing(root, sorted(rows, key=lambda row: row.id), skipped, findings, reading=reading)


# --------------------------------------------------------------------------- the reading


def _recognised(found: Scan, images: Sequence[Parts], skipped: Sequence[Skipped]) -> Layout:
    """The only layout that the images can have."""
    if not images:
        raise DataError(_no_image(found.root, found, skipped))
    proposals = recognise(images)
    if len(proposals.layouts) == 1:
        return proposals.layouts[0]
    if len(proposals.layouts) > 1:
        ways = "".join(f"\n  --layout '{one}'  {_counts(one, images)}" for one in proposals.layouts)
        raise AmbiguousDataError(
            f"{found.root} can be read in {len(proposals.layouts)} ways; pass the one that is "
            f"right:{ways}"
        )
    why = proposals.why or "they all lie in one folder"
    raise DataError(
        f"{found.root} does not say which class each image has: {why}{_in_names(images)}; "
        f"{_remedy(found)}"
    )


def _counts(layout: Layout, images: Sequence[Parts]) -> str:
    """The classes of a reading, and how many groups it makes, as an error shows them."""
    said = [meaning for path in images if (meaning := layout.read(path))]
    by_class: dict[str, int] = defaultdict(int)
    for meaning in said:
        by_class[meaning.label] += 1
    shown_ = [f"{name} {n:,}" for name, n in sorted(by_class.items())][:SHOWN]
    more = ["…"] * (len(by_class) > SHOWN)
    groups = {meaning.group for meaning in said if meaning.group}
    text = f"{len(by_class)} classes: {', '.join([*shown_, *more])}"
    return text + (f"; {len(groups):,} groups" if groups else "")


def _in_names(images: Sequence[Parts]) -> str:
    """Where files, not folders, are named by class, the flag that reads them so."""
    stems = [stem_of(path[-1]) for path in images]
    for pattern, written in NAMED_BY_CLASS:
        matches = [re.fullmatch(pattern, stem) for stem in stems]
        classes = Counter(match[1] for match in matches if match)
        if all(map(says_part, classes)):
            continue
        if all(matches) and 1 < len(classes) <= max(2, min(20, len(images) // 5)):
            layout = "/".join(["*"] * (len(images[0]) - 1) + [written])
            counts = ", ".join(f"{name} {n:,}" for name, n in sorted(classes.items())[:SHOWN])
            return f"; the file names may say it: --layout '{layout}' ({counts})"
    return ""


def _remedy(found: Scan) -> str:
    if found.tables:
        paths = [str(found.root.joinpath(*table)) for table in found.tables]
        more = f" (or {', '.join(paths[1:4])})" if len(paths) > 1 else ""
        return f"if a table gives the labels, pass it as DATA: {paths[0]}{more}"
    return (
        "put each class into a folder of its own (class/image), say how the folders are meant "
        "(--layout 'split/class/group/image'), or give a table with the columns path,label"
    )


def _no_image(root: Path, found: Scan, skipped: Sequence[Skipped]) -> str:
    why = f"; {len(skipped)} skipped, the first: {skipped[0].reason}" if skipped else ""
    others = f"; there are {_by_kind(found.others)}" if found.others else ""
    kinds = " ".join(sorted(IMAGE_SUFFIXES))
    return f"no image in {root} (read are {kinds}){others}{why}; expected class/image"


def _rows(root: Path, layout: Layout, masks: MaskFiles) -> tuple[list[Row], list[Skipped]]:
    """A row for each image that the layout reads; the others, with why not."""
    rows, outside = [], []
    for parts in masks.images:
        meaning = layout.read(parts)
        if meaning is None or meaning.is_mask:
            outside.append(Skipped("/".join(parts), _why_outside(layout, parts)))
            continue
        paths = [str(root.joinpath(*mask)) for mask in masks.masks_of.get(parts, ())]
        source = Source(str(root.joinpath(*parts)))
        rows.append(
            Row("/".join(parts), source, meaning.label, meaning.split, "\0".join(paths),
                group=meaning.group)
        )  # fmt: skip
    return rows, outside


def _why_outside(layout: Layout, parts: Parts) -> str:
    least = min(len(one.levels) for one in layout.sentences)
    if len(parts) < least:
        return "lies in no class folder, so has no label"
    return f"does not fit the layout {layout}"


# --------------------------------------------------------------------------- masks by a layout


def _masks_by(layout: Layout, files: Sequence[Parts]) -> MaskFiles:
    """Masks that a layout names, each with the image of its name, class, group and split."""
    said = {path: meaning for path in files if (meaning := layout.read(path))}
    masks = {path: meaning for path, meaning in said.items() if meaning.is_mask}
    named: dict[str, list[tuple[Parts, Meaning]]] = defaultdict(list)
    for path, meaning in said.items():
        if not meaning.is_mask:
            named[meaning.name].append((path, meaning))
    found: dict[Parts, list[Parts]] = defaultdict(list)
    for mask, meaning in masks.items():
        options = [path for path, other in named[meaning.name] if _agree(meaning, other)]
        if len(options) == 1:
            found[options[0]].append(mask)
    used = {mask for of_image in found.values() for mask in of_image}
    return MaskFiles(
        [path for path in files if path not in masks],
        {image: tuple(sorted(of_image)) for image, of_image in found.items()},
        [mask for mask in masks if mask not in used],
        ("the layout",),
    )


def _agree(mask: Meaning, image: Meaning) -> bool:
    pairs = ((mask.split, image.split), (mask.label, image.label), (mask.group, image.group))
    return all(a == b or not a or not b for a, b in pairs)


# --------------------------------------------------------------------------- what is left out


def _without_copies(found: Scan) -> tuple[list[Parts], list[tuple[str, int, str]]]:
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


def _droppings(found: Scan) -> tuple[tuple[str, int, str], ...]:
    ours = {name: n for name, n in found.droppings.items() if name.startswith("medgraft-")}
    return tuple((name, n, "a result of medgraft") for name, n in sorted(ours.items()))


def _by_kind(kinds: dict[str, int]) -> str:
    return ", ".join(
        f"{n:,} {kind or 'without a suffix'}"
        for kind, n in sorted(kinds.items(), key=lambda p: -p[1])
    )


def _unread(found: Scan, n_images: int) -> list[Finding]:
    """Files that a person would call pictures, and that are not read, by their kind."""
    kinds = {kind: n for kind, n in found.others.items() if kind in UNREAD_PICTURES}
    total = sum(kinds.values())
    if not total:
        return []
    return [
        Finding(
            "unread",
            "warn" if total > n_images / 20 else "info",
            f"{total:,} files beside the {n_images:,} images are of kinds that are not read: "
            f"{_by_kind(kinds)}.",
            {kind or "no suffix": n for kind, n in kinds.items()},
            remedy="Convert them to PNG if they are images, or leave them where they are.",
        )
    ]


def _unused(masks: MaskFiles) -> list[Finding]:
    total = len(masks.unused) + sum(map(len, masks.masks_of.values()))
    if not masks.unused:
        return []
    return [
        Finding(
            "masks",
            "info",
            f"{len(masks.unused):,} of {total:,} masks belong to no image, or to several.",
            {"unused": len(masks.unused), "masks": total},
            remedy="Name each mask like its image, with the same folders below masks/.",
        )
    ]


def _copies(left_out: Sequence[tuple[str, int, str]]) -> list[Finding]:
    return [
        Finding(
            "copied_folder",
            "info",
            f"The folder {what} was left out: {n:,} images, {why}.",
            {"n": n},
            remedy="Delete it, or pass it as DATA if it is the one that counts.",
        )
        for what, n, why in left_out
    ]
