"""Held-out kinds: some images of a data set are unlike the others of their class, and judge.

Every kind holds images of all classes and leaves images of all classes to learn from, groups whole.
Only development images may be given.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from sklearn.cluster import KMeans

import medgraft
from medgraft.data.split import holdout
from medgraft.errors import LeakError
from medgraft.profile.image_stats import read_image_stats
from medgraft.types import Canvas, Floats, ImageTable, Ints, Strings

LITE0 = "tf_efficientnet_lite0"
LEAST = 10  # groups of each class that judge, and that are left to learn from
SHARPEST = 0.1  # of the groups of each class
CLUSTERS = 4
EXPOSURE, BORDER, SHARPNESS, COLOUR = slice(0, 9), slice(9, 11), slice(11, 14), slice(14, 18)
ASPECT = slice(18, 19)


@dataclass(frozen=True, eq=False)
class Kind:
    """One kind held out: rows of the table to learn from, and rows to judge."""

    name: str
    learned: Ints
    judged: Ints


def kinds_of(table: ImageTable, extractor: medgraft.Extractor) -> tuple[Kind, ...]:
    """The kinds that a table's development images have; those with too few groups are left out.

    table : readable, labelled development images.

    Raises
    ------
    LeakError
        There are test images among them.
    """
    if (table.splits == "test").any():
        raise LeakError("kinds are held out of development images; pass table.development")
    surface = read_image_stats(table, extractor.spec(LITE0, ["conv_head"]), extractor).surface
    frame = np.column_stack([surface[:, BORDER], surface[:, ASPECT], _stretch(table, extractor)])
    found = list(_pneumonia(table))
    found += _held_out(table, "sharpest", _sharpest(table, surface[:, SHARPNESS].mean(axis=1)))
    for name, features in (
        ("exposure", surface[:, EXPOSURE]),
        ("frame", frame),
        ("colour", surface[:, COLOUR]),
    ):
        found += _held_out(table, name, _cluster(table, features))
    return tuple(found)


def enough(table: ImageTable, rows: Ints) -> bool:
    """Whether rows hold at least `LEAST` groups of every class."""
    return all(
        len(np.unique(table.groups[rows[table.labels[rows] == k]])) >= LEAST
        for k in range(len(table.classes))
    )


def _held_out(table: ImageTable, name: str, groups: Strings) -> Iterator[Kind]:
    """These groups judge, all others teach."""
    inside = np.isin(table.groups, groups)
    kind = Kind(name, np.flatnonzero(~inside), np.flatnonzero(inside))
    if enough(table, kind.learned) and enough(table, kind.judged):
        yield kind


def _pneumonia(table: ImageTable) -> Iterator[Kind]:
    """Of chest_xray, by the names of its files: one germ is learned, the other judged.

    As large a share of the normal patients judges as of those with pneumonia.
    """
    names = np.char.lower(table.ids)
    virus, bacteria = (np.char.find(names, word) >= 0 for word in ("_virus_", "_bacteria_"))
    normal = np.flatnonzero(~virus & ~bacteria)
    if not (virus.any() and bacteria.any() and len(normal)):
        return
    share = virus.sum() / (virus.sum() + bacteria.sum())
    first = holdout(table.groups[normal], np.zeros(len(normal), np.int64), float(share))
    viral = np.concatenate([np.flatnonzero(virus), normal[first]])
    bacterial = np.concatenate([np.flatnonzero(bacteria), normal[~first]])
    for name, learned, judged in (
        ("virus", bacterial, viral),
        ("bacteria", viral, bacterial),
    ):
        kind = Kind(name, np.sort(learned), np.sort(judged))
        if enough(table, learned) and enough(table, judged):
            yield kind


def _by_group(table: ImageTable, values: Floats) -> tuple[Strings, Ints, Floats]:
    """Groups, the class of each (of its first image), and the mean of values (n, d), (g, d)."""
    names, first, index = np.unique(table.groups, return_index=True, return_inverse=True)
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, index, values)
    return names, table.labels[first], sums / np.bincount(index)[:, None]


def _sharpest(table: ImageTable, sharpness: Floats) -> Strings:
    """The sharpest groups of each class."""
    groups, label, mean = _by_group(table, sharpness[:, None])
    chosen = []
    for k in np.unique(label):
        mine = np.flatnonzero(label == k)
        count = max(LEAST, round(SHARPEST * len(mine)))
        chosen.append(groups[mine[np.argsort(-mean[mine, 0], kind="stable")[:count]]])
    return np.concatenate(chosen)


def _cluster(table: ImageTable, features: Floats) -> Strings:
    """Groups of the most outlying of the clusters that hold every class; none where none does.

    What is usual for a class is taken out first, or clusters would be classes.
    """
    groups, label, mean = _by_group(table, features)
    for k in np.unique(label):
        mean[label == k] -= mean[label == k].mean(axis=0)
    varies = mean.std(axis=0) > 1e-6
    if not varies.any():
        return groups[:0]
    scaled = mean[:, varies] / mean[:, varies].std(axis=0)
    cluster = KMeans(CLUSTERS, n_init=4, random_state=0).fit_predict(scaled)
    best, farthest = groups[:0], 0.0
    for c in range(CLUSTERS):
        inside = cluster == c
        counts = [
            np.bincount(label[side], minlength=len(table.classes)) for side in (inside, ~inside)
        ]
        if min(int(count.min()) for count in counts) < LEAST:
            continue
        distance = float(np.linalg.norm(scaled[inside].mean(axis=0) - scaled[~inside].mean(axis=0)))
        if distance > farthest:
            best, farthest = groups[inside], distance
    return best


def _stretch(table: ImageTable, extractor: medgraft.Extractor) -> Floats:
    """(n,) log ratio of detail across to detail down: what is left of the aspect once squashed."""
    spec = extractor.spec(LITE0, ["conv_head"])
    found = {}
    for canvas in extractor.canvases(table, spec):
        assert isinstance(canvas, Canvas)
        grey = canvas.pixels if canvas.pixels.ndim == 2 else canvas.pixels.mean(axis=2)
        plane = np.asarray(grey, np.float32)
        across, down = (
            float(np.square(cv2.Sobel(plane, cv2.CV_32F, dx, 1 - dx)).mean()) for dx in (1, 0)
        )
        found[canvas.id] = float(np.log((across + 1) / (down + 1)))
    return np.array([found[id] for id in table.ids.tolist()])
