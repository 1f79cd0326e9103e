"""Which of the pictures in a folder are masks of others: by folder, by name, or by their values."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

import numpy as np

from medgraft.data.names import image_of_mask, is_mask_folder, says_nothing, stem_of
from medgraft.data.pool.pool import DecodePool
from medgraft.errors import DecodeError
from medgraft.types import Pixels, Source

T = TypeVar("T")
Parts = tuple[str, ...]
SAMPLE = 4  # pictures of each of two folders that are looked at
ALIKE = 0.8  # the share of names that two folders must have in common to be looked at
NAMES = 500  # of files in which what masks add to the name of an image is looked for
MOST = 64  # images of one name among which a mask's is looked for


@dataclass(frozen=True)
class MaskFiles:
    """The pictures of a folder told apart.

    images : what is no mask. masks_of : by image, its masks. unused : masks of no image, or of
    several that could be meant. by : how they were known, in a word each.
    """

    images: list[Parts]
    masks_of: dict[Parts, tuple[Parts, ...]]
    unused: list[Parts]
    by: tuple[str, ...] = ()


def find_masks(root: Path, files: Sequence[Parts]) -> MaskFiles:
    """Tell masks from images: `(height, width)` pictures that mark something in another.

    A file is a mask if it lies in a folder named `masks`, in one named like masks or whose pictures
    have two values and the names of those in the folder beside it, or if its name is another's with
    `_mask`, `_segmentation` or the like, or with anything else where its pictures have two values.
    """
    with _Looker(root) as looker:
        return _find(files, looker)


def _find(files: Sequence[Parts], looker: _Looker) -> MaskFiles:
    by: list[str] = []
    roots = _mask_folders(files, looker)
    if not roots and (drawn := _drawn_folders(files, looker)):
        roots = drawn
        by.append("pictures of two values named like those beside them")
    elif roots:
        by.append("folders " + ", ".join(sorted({path[-1] for path in roots})))
    masks = {path: below for path in files if (below := _below(path, roots))} if roots else {}
    images = [path for path in files if path not in masks]
    named = _named_masks(images) or _drawn_twins(images, looker)
    stems = {} if named else _drawn_affixed(images, looker)
    named |= set(stems)
    if named:
        by.append(f"names such as {min(named)[-1]}")
    images = [path for path in images if path not in named]
    matched = _matched(images, {**masks, **dict.fromkeys(named, ())}, stems)
    used = {mask for found in matched.values() for mask in found}
    unused = [path for path in (*masks, *named) if path not in used]
    return MaskFiles(images, matched, unused, tuple(by))


def _below(path: Parts, roots: set[Parts]) -> Parts:
    """The outermost folder of masks that a file lies in, () where none."""
    return next((path[:i] for i in range(1, len(path)) if path[:i] in roots), ())


def _mask_folders(files: Sequence[Parts], looker: _Looker) -> set[Parts]:
    """Folders named `masks`; folders named like masks beside one that is not, with its names or
    with pictures of two values.
    """
    if not any(map(is_mask_folder, {name for path in files for name in path[:-1]})):
        return set()
    stems: dict[Parts, set[str]] = defaultdict(set)
    children: dict[Parts, set[Parts]] = defaultdict(set)
    for path in files:
        for i in range(1, len(path)):
            stems[path[:i]].add(stem_of(path[-1]))
            children[path[: i - 1]].add(path[:i])
    found = {path for path in stems if path[-1].casefold() == "masks"}
    for path in [path for path in stems if is_mask_folder(path[-1]) and path not in found]:
        beside = [other for other in children[path[:-1]] if not is_mask_folder(other[-1])]
        other_stems = set().union(*(stems[other] for other in beside)) if beside else set()
        own = stems[path]
        hits = sum(stem in other_stems or any(s in other_stems for s in image_of_mask(stem))
                   for stem in own)  # fmt: skip
        if hits >= len(own) / 2 or (beside and _drawn_below(path, files, looker)):
            found.add(path)
    return found


def _drawn_below(folder: Parts, files: Iterable[Parts], looker: _Looker) -> bool:
    """Whether a sample of the pictures below a folder has two values each."""
    return looker.drawn([path for path in files if path[: len(folder)] == folder])


def _named_masks(images: Sequence[Parts]) -> set[Parts]:
    """Files whose name is another's with a word for masks; and their like, if most have one."""
    said = ((path, image_of_mask(stem_of(path[-1]))) for path in images)
    candidates = {path: stems for path, stems in said if stems}
    if not candidates:
        return set()
    folders: dict[Parts, set[str]] = defaultdict(set)
    everywhere: set[str] = set()
    for path in images:
        stem = stem_of(path[-1])
        folders[path[:-1]].add(stem)
        everywhere.add(stem)
    paired = {
        path
        for path, stems in candidates.items()
        if any(s in folders[path[:-1]] for s in stems) or any(s in everywhere for s in stems)
    }
    return set(candidates) if len(paired) > len(candidates) / 2 else set()


def _matched(
    images: Sequence[Parts], masks: dict[Parts, Parts], stems: dict[Parts, str]
) -> dict[Parts, tuple[Parts, ...]]:
    """By image, its masks; `masks` holds each with the folder of masks that it lies in, `stems` the
    image's stem where the mask's own does not say it.
    """
    if not masks:
        return {}
    named: dict[str, list[Parts]] = defaultdict(list)
    only: dict[Parts, Parts | None] = {}  # the image below a folder, None where there are several
    for path in images:
        named[stem_of(path[-1])].append(path)
        for i in range(1, len(path)):
            only[path[:i]] = None if path[:i] in only else path
    claims: dict[Parts, list[Parts]] = defaultdict(list)
    for mask in masks:
        stem = stems.get(mask, stem_of(mask[-1]))
        options = named.get(stem, [])
        for other in image_of_mask(stem):
            options = options or named.get(other, [])
        image = _nearest(mask, masks[mask], options) if options else only.get(masks[mask][:-1])
        if image is not None:
            claims[image].append(mask)
    found = {}
    for image, claimed in claims.items():
        inner = {
            tuple(name for name in mask[len(masks[mask]) : -1] if not is_mask_folder(name))
            for mask in claimed
        }
        if len(inner) == 1:  # several from different sub-folders: no telling which is meant
            found[image] = tuple(sorted(claimed))
    return found


def _nearest(mask: Parts, folder: Parts, images: Sequence[Parts]) -> Parts | None:
    """The image whose folders are most like the mask's; None where two are alike, or none there."""
    if not images or len(images) > MOST:
        wanted = tuple(p for p in (*folder[:-1], *mask[len(folder) : -1]) if not says_nothing(p))
        exact = [i for i in images if tuple(p for p in i[:-1] if not says_nothing(p)) == wanted]
        return exact[0] if len(exact) == 1 else None
    around = [name for name in mask[:-1] if name != (folder[-1] if folder else "")]
    scores = [_common(around, image[:-1]) for image in images]
    best = max(scores)
    return images[scores.index(best)] if scores.count(best) == 1 else None


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    """The length of the longest common subsequence of two short paths."""
    row = [0] * (len(b) + 1)
    for one in a:
        before = 0
        for j, other in enumerate(b, 1):
            row[j], before = (before + 1 if one == other else max(row[j], row[j - 1])), row[j]
    return row[-1]


# --------------------------------------------------------------------------- by their values


def _drawn_folders(files: Sequence[Parts], looker: _Looker) -> set[Parts]:
    """Folders whose pictures have two values, and the names of pictures in the folder beside."""
    stems: dict[Parts, dict[str, Parts]] = defaultdict(dict)
    children: dict[Parts, set[Parts]] = defaultdict(set)
    for path in files:
        for i in range(1, len(path)):
            stems[path[:i]]["/".join((*path[i:-1], stem_of(path[-1])))] = path
            children[path[: i - 1]].add(path[:i])
    found: set[Parts] = set()
    for beside in children.values():
        drawn = [one for one in _twins(beside, stems) if looker.drawn(sorted(stems[one].values()))]
        for one in drawn:
            for other in sorted(beside - set(drawn)):
                common = sorted(set(stems[one]) & set(stems[other]))
                pairs = [(stems[one][stem], stems[other][stem]) for stem in common]
                if len(common) >= max(2, ALIKE * len(stems[one])) and looker.mark(pairs):
                    found.add(one)
    return found


def _twins(beside: set[Parts], stems: Mapping[Parts, Mapping[str, Parts]]) -> list[Parts]:
    """The folders most of whose names stand in another folder beside them, too."""
    times = Counter(stem for one in beside for stem in stems[one])
    return [
        one
        for one in sorted(beside)
        if sum(times[stem] > 1 for stem in stems[one]) >= max(2, ALIKE * len(stems[one]))
    ]


def _drawn_twins(images: Sequence[Parts], looker: _Looker) -> set[Parts]:
    """Of files that differ in their suffix only, those of the suffix whose pictures are masks."""
    if len({(path[:-1], stem_of(path[-1])) for path in images}) == len(images):
        return set()
    twins: dict[tuple[Parts, str], list[Parts]] = defaultdict(list)
    for path in images:
        twins[path[:-1], stem_of(path[-1])].append(path)
    pairs: dict[tuple[str, str], list[tuple[Parts, Parts]]] = defaultdict(list)
    for paths in twins.values():
        if len(paths) == 2:
            a, b = paths
            pairs[Path(a[-1]).suffix, Path(b[-1]).suffix].append((a, b))
    found: set[Parts] = set()
    for both in pairs.values():
        for ordered in (both, [(b, a) for a, b in both]):
            if len(both) > 1 and looker.mark(ordered):
                found |= {mask for mask, _ in ordered}
    return found


class _Looker:
    """Looks at a few pictures of many, each once."""

    def __init__(self, root: Path) -> None:
        self.root, self.pool = root, DecodePool(1)
        self.seen: dict[Parts, tuple[tuple[int, int], bool] | None] = {}

    def __enter__(self) -> Self:
        self.pool.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self.pool.__exit__(*exception)

    def drawn(self, paths: Sequence[Parts]) -> bool:
        """Whether a sample of pictures have two values each."""
        return all((found := self._look(path)) is not None and found[1] for path in _sample(paths))

    def mark(self, pairs: Sequence[tuple[Parts, Parts]]) -> bool:
        """Whether a sample of (mask?, image?) are just that: of one size, two values and many."""
        for pair in _sample(pairs):
            mask, image = map(self._look, pair)
            if mask is None or image is None or mask[0] != image[0] or not mask[1] or image[1]:
                return False
        return True

    def _look(self, path: Parts) -> tuple[tuple[int, int], bool] | None:
        """The size of a picture and whether it has two values; None where it cannot be read."""
        if path not in self.seen:
            try:
                decoded = self.pool.decode(Source(str(self.root.joinpath(*path))))
                self.seen[path] = decoded.source_size, _two_values(decoded.pixels)
            except DecodeError:
                self.seen[path] = None
        return self.seen[path]


def _drawn_affixed(images: Sequence[Parts], looker: _Looker) -> dict[Parts, str]:
    """Files named like one beside them with the same letters before or after its name (`x_roi`,
    `maskx`), whose pictures have two values; with the stem of that other.
    """
    folders: dict[Parts, set[str]] = defaultdict(set)
    for path in images:
        folders[path[:-1]].add(stem_of(path[-1]))
    sample = sorted(images)[:: max(1, len(images) // NAMES)]
    affixes: Counter[tuple[str, str]] = Counter()
    for path in sample:
        stem = stem_of(path[-1])
        cut = [(stem[:at], stem[at:]) for at in range(1, len(stem))]
        affixes.update(("", b) for a, b in cut if a in folders[path[:-1]])
        affixes.update((a, "") for a, b in cut if b in folders[path[:-1]])
    found: dict[Parts, str] = {}
    paths = {(path[:-1], stem_of(path[-1])): path for path in images} if affixes else {}
    for (head, tail), n in affixes.most_common(SAMPLE):
        if n < 2 or not re.search("[A-Za-z]", head + tail):  # 1 and 10 are two images
            continue
        pairs = {
            path: other
            for (folder, stem), path in paths.items()
            if stem.startswith(head) and stem.endswith(tail) and len(stem) > len(head + tail)
            and (other := paths.get((folder, stem[len(head) : len(stem) - len(tail)])))
        }  # fmt: skip
        if looker.mark(list(pairs.items())):
            found |= {path: stem_of(other[-1]) for path, other in pairs.items()}
    return found


def _sample(items: Sequence[T]) -> list[T]:
    rows = np.linspace(0, len(items) - 1, min(SAMPLE, len(items))).astype(int)
    return [items[row] for row in sorted(set(rows.tolist()))]


def _two_values(pixels: Pixels) -> bool:
    """Whether nearly all pixels have one of two values; a JPEG's may stray a little."""
    grey = pixels if pixels.ndim == 2 else pixels.max(axis=2)
    low, high = int(grey.min()), int(grey.max())
    near = (grey <= low + 16) | (grey >= high - 16)
    return (
        high - low < 3 or bool(near.mean() > 0.98 and high - low > 48) or len(np.unique(grey)) < 3
    )
