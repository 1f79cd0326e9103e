"""Pictures that occur twice though their files differ: stored anew, or frames of one video.

Files equal byte for byte are left to `leakage.identical_files`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from medgraft.data.linked import linked
from medgraft.data.pool.pool import DecodePool
from medgraft.profile.hashes import RADIUS, close_pairs, evenly_drawn, unit
from medgraft.profile.image_stats import ImageStats, pixel_hash
from medgraft.profile.leakage import counted, examples
from medgraft.results.data import Suggestion
from medgraft.types import FeatureTable, Finding, Floats, ImageTable, Ints, Severity

CLEAR = 0.25  # share of clear neighbours from which a hash says what a picture shows
# Of the median distance of an image's code to the nearest other one. Looked at as pictures: true
# pairs of hyperkvasir5 reach .41 of it; strangers with close hashes start at .87 (scenes_ot8) and
# 1.3 (chest_xray).
NEAR = 0.5
SAMPLED = 1000  # images from which that median is taken
FEWEST = 20  # images outside any pair, to take it from


@dataclass(frozen=True, eq=False)
class Pairs:
    """Rows of a table that show one picture in files of different bytes.

    rows : (m, 2). apart : (m,) bits of the hashes. same : (m,) whether the pixels are equal.
    confirmed : whether codes had a say. refused : pairs of close hashes that codes ruled out.
    """

    rows: Ints
    apart: Ints
    same: NDArray[np.bool_]
    confirmed: bool
    refused: int

    def without(self, images: NDArray[np.bool_]) -> Pairs:
        """Those of which not both are among some images, given as (n,) of the table's rows."""
        kept = ~images[self.rows].all(axis=1)
        return replace(self, rows=self.rows[kept], apart=self.apart[kept], same=self.same[kept])


def find_pairs(
    table: ImageTable, image_stats: ImageStats, codes: FeatureTable | None, seed: int = 0
) -> Pairs:
    """Find the pairs: close hashes, then close codes.

    A pair is one whose difference hashes differ in at most `RADIUS` of 256 bits, and whose codes,
    centred, lie nearer by cosine than `NEAR` times the median distance from an image to its
    nearest neighbour, over images in no such pair. Chest X-rays are all alike, and so are their
    hashes; how near is near is therefore taken from the data. Equal pixels need no codes.
    Flat pictures, whose hashes are noise, are paired by equal pixels alone.

    Parameters
    ----------
    image_stats
        Of the table's rows, in order.
    codes
        Of the same images in any order; None, or too few images to say what near is, leaves the
        hash alone to judge.
    """
    clear = np.flatnonzero(image_stats.clear >= CLEAR)
    rows, apart = close_pairs(image_stats.hashes[clear])
    rows = clear[rows].reshape(-1, 2)
    flat = _equal_pairs(image_stats.pixels, np.flatnonzero(image_stats.clear < CLEAR))
    rows, apart = np.concatenate([rows, flat]), np.r_[apart, np.zeros(len(flat), np.int64)]
    other_bytes = table.content_hashes[rows[:, 0]] != table.content_hashes[rows[:, 1]]
    rows, apart = rows[other_bytes], apart[other_bytes]
    same = _same_pixels(table, rows)
    near = None if codes is None else _near(table, codes, rows, seed)
    kept = same | (near if near is not None else (apart <= RADIUS) & _clear(rows, image_stats))
    return Pairs(rows[kept], apart[kept], same[kept], near is not None, int((~kept).sum()))


def _clear(rows: Ints, image_stats: ImageStats) -> NDArray[np.bool_]:
    return np.asarray((image_stats.clear[rows] >= CLEAR).all(axis=1))


def _equal_pairs(keys: NDArray[np.str_], among: Ints) -> Ints:
    """(m, 2) each of these rows with the first that has the same key."""
    first: dict[str, int] = {}
    found = [(first.setdefault(str(keys[i]), int(i)), int(i)) for i in among]
    return np.array([(a, b) for a, b in found if a != b], np.int64).reshape(-1, 2)


def _same_pixels(table: ImageTable, rows: Ints) -> NDArray[np.bool_]:
    """(m,) whether the images of a pair, decoded at full size, are equal pixel for pixel."""
    hashes: dict[str, str] = {}
    with DecodePool(1) as pool:
        for row in np.unique(rows):
            content = str(table.content_hashes[row])
            if content not in hashes:
                hashes[content] = pixel_hash(pool.decode(table.sources[row]).pixels)
    names = np.array([hashes[str(content)] for content in table.content_hashes[rows].ravel()])
    names = names.reshape(-1, 2)
    return np.asarray(names[:, 0] == names[:, 1]) if len(rows) else np.zeros(0, bool)


def _near(
    table: ImageTable, codes: FeatureTable, rows: Ints, seed: int
) -> NDArray[np.bool_] | None:
    """(m,) whether the codes of a pair are near for this data; None where that cannot be said."""
    row_of = {id: i for i, id in enumerate(codes.ids.tolist())}
    if not all(id in row_of for id in table.ids.tolist()):
        return None
    codes_of = unit(codes.matrix()[[row_of[id] for id in table.ids.tolist()]])  # (n, d)
    alone = np.setdiff1d(np.arange(len(table)), rows)
    alone = alone[np.unique(table.content_hashes[alone], return_index=True)[1]]
    if len(alone) < FEWEST:
        return None
    drawn = alone[evenly_drawn(len(alone), SAMPLED, seed)]
    usual = np.median(nearest(codes_of, drawn, table.content_hashes))
    distance = 1 - np.einsum("ij,ij->i", codes_of[rows[:, 0]], codes_of[rows[:, 1]])
    return np.asarray(distance <= NEAR * usual)


def nearest(codes: Floats, drawn: Ints, contents: NDArray[np.str_]) -> Floats:
    """(len(drawn),) cosine distance from each drawn row to the nearest row of other bytes.

    codes : (n, d) of length one. contents : (n,)
    """
    similarity = codes[drawn] @ codes.T
    similarity[contents[drawn][:, None] == contents] = -1
    return np.asarray(1 - similarity.max(axis=1))


# --------------------------------------------------------------------------- in words


@dataclass(frozen=True, slots=True)
class _Kind:
    """Words for equal pixels, or for near copies; severities of pairs that lie across a border."""

    check: str
    name: str
    explained: str
    splits: Severity
    classes: Severity
    groups: Severity


SAME = _Kind(
    "pixel_identical",
    "equal pixels",
    "the pixels are equal, the files differ",
    splits="severe",
    classes="severe",
    groups="warn",
)
CONFIRMED = _Kind(
    "near_duplicates",
    "near copies",
    f"at most {RADIUS} of 256 bits of the difference hash differ, and the network's codes lie "
    "unusually near each other",
    splits="severe",
    classes="warn",
    groups="warn",
)
HASH_ONLY = _Kind(
    "near_duplicates",
    "near copies",
    f"at most {RADIUS} of 256 bits of the difference hash differ; by the hash only, no codes "
    "confirmed it",
    splits="warn",
    classes="warn",
    groups="warn",
)
HARM = {  # of pairs across each border: what it does, and the remedy
    "splits": (
        "lie across the test border: the model is asked what it has been shown, so test figures "
        "will look better than they are.",
        "Exclude the copies among the images to learn from (medgraft profile --out lists them), or "
        "split anew by video or patient.",
    ),
    "classes": (
        "carry different labels though they show the same.",
        "Look at them, and correct or exclude the wrong ones.",
    ),
    "groups": (
        "lie in different groups to learn from, so that in cross-validation one may judge what the "
        "other taught.",
        "Give them one group (medgraft profile --out lists them).",
    ),
}


def near_duplicates(table: ImageTable, pairs: Pairs) -> tuple[Finding, ...]:
    """Count the pairs, and say which lie across the test border, classes or groups."""
    near = CONFIRMED if pairs.confirmed else HASH_ONLY
    return (
        *_of_kind(table, pairs, pairs.same, SAME),
        *_of_kind(table, pairs, ~pairs.same, near),
    )


def _of_kind(
    table: ImageTable, pairs: Pairs, mine: NDArray[np.bool_], kind: _Kind
) -> Iterator[Finding]:
    rows, apart = pairs.rows[mine], pairs.apart[mine]
    if not len(rows):
        return
    across = _across(table, rows)
    n_images = len(np.unique(rows))
    counts = {f"pairs_across_{what}": int(there.sum()) for what, there in across.items()}
    splits, classes, groups = (n or "none" for n in counts.values())
    dropped = "" if kind is SAME or not pairs.refused else (
        f" {counted(pairs.refused, 'further pair')} with close hashes were ruled out by the codes."
    )  # fmt: skip
    numbers = {"pairs": len(rows), "images": n_images, **counts}
    yield Finding(
        kind.check,
        "info",
        f"{counted(len(rows), 'pair')} of {kind.name} among {counted(n_images, 'image')} "
        f"({kind.explained}). Across the test border: {splits}; under different labels: "
        f"{classes}; in different groups to learn from: {groups}.{dropped}",
        numbers,
        _side_by_side(table, rows, apart),
    )
    for what, (text, remedy) in HARM.items():
        there = across[what]
        if there.any():
            some = rows[there]
            numbers = {"pairs": len(some), "images": len(np.unique(some))}
            if what == "splits":
                test = np.unique(some[table.splits[some] == "test"])
                numbers["test_images"] = len(test)
                text = f"{text} {counted(len(test), 'test image')} affected."
            yield Finding(
                f"{kind.check}_across_{what}",
                getattr(kind, what),
                f"{counted(len(some), 'pair')} of {kind.name} {text}",
                numbers,
                _side_by_side(table, some, apart[there]),
                remedy,
            )


def _across(table: ImageTable, rows: Ints) -> dict[str, NDArray[np.bool_]]:
    """(m,) which pairs lie across the border, under two labels, in two groups to learn from."""
    test = table.splits[rows] == "test"
    labels, groups = table.labels[rows], table.groups[rows]
    return {
        "splits": test[:, 0] != test[:, 1],
        "classes": (labels[:, 0] != labels[:, 1]) & (labels >= 0).all(axis=1),
        "groups": (groups[:, 0] != groups[:, 1]) & ~test.any(axis=1),
    }


def _side_by_side(table: ImageTable, rows: Ints, apart: Ints) -> tuple[str, ...]:
    """Example ids, pair by pair, spread from the most alike to the least."""
    order = np.argsort(apart, kind="stable")
    chosen = order[np.unique(np.linspace(0, len(order) - 1, 6).astype(int))]
    return examples(table.ids[rows[chosen].ravel()])


# --------------------------------------------------------------------------- what to do


def suggest(table: ImageTable, pairs: Pairs) -> Iterator[Suggestion]:
    """What to do about copies: exclude those the test has too, and keep the others together.

    Of the same picture under two labels both go, for nobody can tell which is right. Copies across
    the test border leave the images to learn from, so that the test stays as it was.
    """
    exact = np.concatenate(
        [_equal_pairs(table.content_hashes, np.arange(len(table))), pairs.rows[pairs.same]]
    )
    set_of = linked(len(table), exact)
    for rows in (np.flatnonzero(set_of == one) for one in np.unique(set_of[exact.ravel()])):
        test = rows[table.splits[rows] == "test"]
        if len(np.unique(table.labels[rows][table.labels[rows] >= 0])) > 1:
            why = "the same picture carries another label"
            yield from (_exclude(table, row, why, "identical_files") for row in rows.tolist())
        elif len(test):
            why = f"the same picture is in the test split: {table.ids[test[0]]}"
            yield from (
                _exclude(table, row, why, "identical_files")
                for row in np.setdiff1d(rows, test).tolist()
            )
    near = pairs.rows[~pairs.same]
    for pair in near[_across(table, near)["splits"]]:
        test, own = sorted(pair.tolist(), key=lambda row: table.splits[row] != "test")
        why = f"a near copy is in the test split: {table.ids[test]}"
        yield _exclude(table, own, why, "near_duplicates")
    every = np.concatenate([exact, near])
    yield from _joined(table, every[_across(table, every)["groups"]])


def _exclude(table: ImageTable, row: int, why: str, check: str) -> Suggestion:
    return Suggestion(str(table.ids[row]), "exclude", "", why, check)


def _joined(table: ImageTable, rows: Ints) -> Iterator[Suggestion]:
    """One group for all images of the groups that these pairs link, over as many steps as it takes.

    Moving a copy alone would tear it from its own patient.
    """
    if not len(rows):
        return
    names, group_of = np.unique(table.groups, return_inverse=True)
    links = group_of[rows]  # (m, 2)
    part = linked(len(names), links)
    first = np.unique(part, return_index=True)[1]
    joins = np.isin(part, part[links.ravel()])
    for row in np.flatnonzero(joins[group_of] & (table.splits != "test")):
        target = str(names[first[part[group_of[row]]]])
        if target != table.groups[row]:
            why = "its group shares a copy with this one"
            yield Suggestion(str(table.ids[row]), "group", target, why, "near_duplicates")
