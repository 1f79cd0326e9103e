"""Second sources: the same task on images that were made otherwise than those learned from.

Official test splits are left out before anything else: their images are in no table given here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

import medgraft
from medgraft.data.split import holdout, keep_copies_together, labelled, with_test_split
from medgraft.types import Canvas, Edit, ImageTable, Strings
from real_audits import mirrored
from shift.planted import PLANTED

SHARED = Path(__file__).parents[3] / "shared" / "data"
SETS = ("chest_xray", "hyperkvasir5", "scenes_ot8", "skin7", "lc25000_lung_unique")
PROCESSED = ("chest_xray_aspect256", "chest_xray_originals")  # chest_xray's images made otherwise
SECOND = 0.4  # of the groups of a set, where a second source is made of its own images


@dataclass(frozen=True, eq=False)
class Pair:
    """A first source to learn, choose and calibrate on, and a second that is only looked at.

    No group is in both. second : its images as the second source made them, once `edit` is done to
    their canvases (None: nothing is to be done). twin : the same images in the same order as the
    first source made them; no edit.
    """

    name: str
    first: ImageTable
    second: ImageTable
    twin: ImageTable
    edit: Edit | None = None


@dataclass(frozen=True, slots=True)
class InsetMirrored:
    """An `Edit`: the bottom left square, where the inset is, becomes the bottom right's mirror."""

    @property
    def key(self) -> str:
        return "inset-mirrored"

    def __call__(self, canvas: Canvas) -> Canvas:
        return replace(canvas, pixels=mirrored(canvas.pixels))


def development(name: str, most: int = 0) -> ImageTable:
    """The development images of a set in `SHARED`, copies in one group; of `most`, about so many.

    Where no test split is official, the one that a study would set aside is left out as well.
    """
    whole = with_test_split(keep_copies_together(labelled(medgraft.load(SHARED / name))))
    return thinned(whole.development, most)


def thinned(table: ImageTable, most: int) -> ImageTable:
    """About so many images, whole groups of every class in their shares; 0 takes all."""
    if not most or len(table) <= most:
        return table
    return table.select(holdout(table.groups, table.labels, most / len(table)))


def pairs(name: str, most: int = 0) -> Iterator[Pair]:
    """Every second source that a set has, from about `most` of its images (0 takes all)."""
    if name == "chest_xray":
        yield from (processed(other, most) for other in PROCESSED)
    yield from from_itself(name, most)


def from_itself(name: str, most: int = 0) -> Iterator[Pair]:
    """Second sources made of groups that the first is without: the inset taken out, and planted."""
    table = development(name, most)
    if name == "hyperkvasir5":
        yield _edited(table, "inset", InsetMirrored())
    for planted in PLANTED:
        yield _edited(table, planted.operation, planted)


def all_chest_pairs(most: int = 0) -> Iterator[Pair]:
    """Every second source of chest_xray with one first, which is without the groups of all.

    Shifts are planted into the first source's own copies of `chest_xray_aspect256`.
    """
    found = [processed(name) for name in PROCESSED]
    taken = np.concatenate([pair.second.groups for pair in found])
    first = thinned(found[0].first.select(~np.isin(found[0].first.groups, taken)), most)
    for pair in found:
        yield replace(pair, first=first)
    twin = found[0].twin
    for planted in PLANTED:
        yield Pair(planted.operation, first, twin, twin, planted)


def _edited(table: ImageTable, name: str, edit: Edit) -> Pair:
    """Some groups of a set are the second source; the same ones whatever is done to them."""
    second = holdout(table.groups, table.labels, SECOND)
    held = table.select(second)
    return Pair(name, table.select(~second), held, held, edit)


def processed(name: str, most: int = 0) -> Pair:
    """chest_xray, but for the groups that `chest_xray_aspect256` or `_originals` show otherwise.

    Of these the images are left out whose file is in chest_xray's official test split, or whose
    patient is.
    """
    whole = keep_copies_together(labelled(medgraft.load(SHARED / "chest_xray")))
    other = labelled(medgraft.load(SHARED / name))
    known = whole.development
    tested = set(whole.test.groups.tolist())
    row_of = {file: i for i, file in enumerate(_files(known).tolist())}
    rows = [
        (i, row_of[file])
        for i, file in enumerate(_files(other).tolist())
        if file in row_of and known.groups[row_of[file]] not in tested
    ]
    theirs, ours = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    twin = known.select(ours)
    if other.classes != twin.classes:
        raise ValueError(f"classes of {name} are {other.classes}, not {twin.classes}")
    second = replace(other.select(theirs), groups=twin.groups, splits=twin.splits)
    if not np.array_equal(second.labels, twin.labels):
        raise ValueError(f"labels of {name} differ from those of chest_xray")
    first = known.select(~np.isin(known.groups, twin.groups))
    return Pair(name, thinned(first, most), second, twin)


def _files(table: ImageTable) -> Strings:
    """Names of the images' files, without folders."""
    return np.array([PurePosixPath(id).name for id in table.ids.tolist()], dtype=np.str_)
