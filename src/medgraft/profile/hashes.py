"""A short hash of what a picture shows, and an index that finds all pairs of hashes close by.

The index is exact: no pair within the radius is missed. It knows nothing of images; what a pair
means is judged in `duplicates.py`.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from medgraft.types import Floats, Ints, Pixels

Hashes = NDArray[np.uint8]

SIDE = 16  # the hash compares SIDE x SIDE neighbours
BITS = SIDE * SIDE
RADIUS = 12  # bits in which two hashes of one picture may differ
CLEAR = 2.0  # grey levels by which neighbours differ if their order is to mean something
CHUNK = 1 << 20  # pairs compared at once


def difference_hash(grey: Pixels) -> tuple[Hashes, float]:
    """Which of two neighbours side by side is brighter, everywhere in a picture made small.

    Bit (r, c) = [g(r, c + 1) > g(r, c)] on the picture g shrunk to 16 rows of 17 by area (Krawetz,
    "Kind of like that", 2013). Exposure and size leave it as it is; a crop or a turn does not.

    Parameters
    ----------
    grey : (height, width) uint8

    Returns
    -------
    hash : (32,) uint8, 256 bits
    clear : 0..1, the share of neighbours that differ by `CLEAR` grey levels or more; where it is
        small the hash is made of noise and says nothing of the picture.
    """
    small = cv2.resize(grey.astype(np.float32), (SIDE + 1, SIDE), interpolation=cv2.INTER_AREA)
    steps = np.diff(small, axis=1)  # (SIDE, SIDE)
    return np.packbits(steps > 0), float((np.abs(steps) >= CLEAR).mean())


def distances(one: Hashes, other: Hashes) -> Ints:
    """(n,) in how many bits the hashes (n, bytes) differ, row by row."""
    return np.asarray(np.bitwise_count(one ^ other).sum(axis=1), np.int64)


def close_pairs(hashes: Hashes, radius: int = RADIUS) -> tuple[Ints, Ints]:
    """All pairs of rows within `radius` bits of each other, each once, and how far they are.

    The bits are dealt to `radius + 1` bands. Two hashes that differ in at most `radius` bits agree
    wholly in one band at least (pigeonhole; Norouzi, Punjani and Fleet, "Fast search in Hamming
    space with multi-index hashing", CVPR 2012), so only rows that share a band are compared. Bits
    are dealt in the order of how evenly they split the rows, so that no band is all sky. Equal
    hashes are compared once. Time grows with the rows times their logarithm, and with the pairs
    that share a band: of a million unrelated pictures about six million.

    Parameters
    ----------
    hashes : (n, bytes) uint8

    Returns
    -------
    pairs : (m, 2) rows, the smaller first, sorted
    apart : (m,) bits
    """
    distinct, which = np.unique(hashes, axis=0, return_inverse=True)
    which = which.reshape(-1)
    codes = _bands(distinct, radius + 1)
    found, seen = [np.zeros((0, 2), np.int64)], [np.zeros(0, np.int64)]
    for b in range(codes.shape[1]):
        order = np.argsort(codes[:, b], kind="stable")
        for first, second in _pairs_of_runs(codes[order, b]):
            rows = np.sort(np.stack([order[first], order[second]], axis=1), axis=1)
            # A pair that shares an earlier band too was found there.
            fresh = (codes[rows[:, 0], :b] != codes[rows[:, 1], :b]).all(axis=1)
            rows = rows[fresh]
            apart = distances(distinct[rows[:, 0]], distinct[rows[:, 1]])
            found.append(rows[apart <= radius])
            seen.append(apart[apart <= radius])
    pairs, apart = _expanded(which, len(distinct), np.concatenate(found), np.concatenate(seen))
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    return pairs[order], apart[order]


def _bands(hashes: Hashes, n_bands: int) -> Ints:
    """(n, n_bands) the bits of each band as one number."""
    bits = np.unpackbits(hashes, axis=1)  # (n, bits)
    order = np.argsort(np.abs(bits.mean(axis=0) - 0.5) if len(bits) else np.zeros(bits.shape[1]))
    codes = np.zeros((len(bits), n_bands), np.int64)
    for b in range(n_bands):
        mine = bits[:, order[b::n_bands]]
        codes[:, b] = mine @ (1 << np.arange(mine.shape[1], dtype=np.int64))
    return codes


def _pairs_of_runs(values: Ints) -> list[tuple[Ints, Ints]]:
    """All pairs of places that hold equal values, where equal values lie side by side.

    In portions of about `CHUNK` pairs: step s pairs every place with the one s further on.
    """
    starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]])
    ends = np.repeat(np.r_[starts[1:], len(values)], np.diff(np.r_[starts, len(values)]))
    place, portions = np.arange(len(values)), []
    parts: list[tuple[Ints, Ints]] = []
    held, step = 0, 1
    place = place[place + step < ends]
    while len(place):
        parts.append((place, place + step))
        held += len(place)
        if held >= CHUNK:
            portions.append(_joined(parts))
            parts, held = [], 0
        step += 1
        place = place[place + step < ends[place]]
    return [*portions, _joined(parts)] if parts else portions


def _joined(parts: list[tuple[Ints, Ints]]) -> tuple[Ints, Ints]:
    return np.concatenate([a for a, _ in parts]), np.concatenate([b for _, b in parts])


def _expanded(which: Ints, n_distinct: int, pairs: Ints, apart: Ints) -> tuple[Ints, Ints]:
    """From pairs of distinct hashes to pairs of rows: every row of one with every row of other."""
    order = np.argsort(which, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(which, minlength=n_distinct))[:-1])
    rows, bits = [np.zeros((0, 2), np.int64)], [np.zeros(0, np.int64)]
    for own in members:
        if len(own) > 1:
            first, second = np.triu_indices(len(own), 1)
            rows.append(np.stack([own[first], own[second]], axis=1))
            bits.append(np.zeros(len(first), np.int64))
    for (a, b), d in zip(pairs.tolist(), apart.tolist(), strict=True):
        one, other = np.meshgrid(members[a], members[b], indexing="ij")
        rows.append(np.stack([one.ravel(), other.ravel()], axis=1))
        bits.append(np.full(one.size, d))
    every = np.sort(np.concatenate(rows), axis=1)
    return every, np.concatenate(bits)


def evenly_drawn(n: int, most: int, seed: int) -> Ints:
    """(min(n, most),) rows drawn without repetition, in order."""
    rng = np.random.default_rng(seed)
    return np.sort(rng.choice(n, min(n, most), replace=False)).astype(np.int64)


def unit(codes: Floats) -> NDArray[np.float32]:
    """(n, d) codes less their mean, each of length one; a code that is the mean stays zero."""
    centred = np.asarray(codes - codes.mean(axis=0), np.float32)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(length, 1e-12), np.float32)
