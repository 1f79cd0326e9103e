"""How the search for near copies grows: hashes and codes at 5,000, 20,000 and 100,000.

Hashes are those of made pictures, smooth as real ones are, so that their bits hang together and
bands collide as they do in practice; one in a hundred is copied with a few bits changed. What
comparing every pair would take is reckoned from 5,000 rows. Codes are compared as in
`profile.duplicates`: a thousand images against all, and the pairs found.
"""

from __future__ import annotations

import itertools
import math
import time

import numpy as np

from harness import save
from medgraft.profile.duplicates import SAMPLED, nearest
from medgraft.profile.hashes import (
    BITS,
    RADIUS,
    SIDE,
    Hashes,
    close_pairs,
    distances,
    evenly_drawn,
    unit,
)
from medgraft.types import Floats, Ints

ROWS = (5_000, 20_000, 100_000)
WAVES = 6  # frequencies along each side of a made picture
CODES = 320  # numbers of a code
COPIED = 100  # one row in so many


def made_hashes(n: int, seed: int = 0) -> tuple[Hashes, Ints]:
    """(n, 32) hashes of smooth random pictures, and (m, 2) which rows are copies of each other."""
    rng = np.random.default_rng(seed)
    across = np.cos(np.pi * np.outer(np.arange(WAVES), np.arange(SIDE + 1) + 0.5) / (SIDE + 1))
    down = np.cos(np.pi * np.outer(np.arange(WAVES), np.arange(SIDE) + 0.5) / SIDE)
    falling = 1 / (1 + np.hypot(*np.meshgrid(np.arange(WAVES), np.arange(WAVES))))
    bits = np.empty((n, BITS), np.uint8)
    for first in range(0, n, 5_000):
        size = min(5_000, n - first)
        waves = rng.normal(size=(size, WAVES, WAVES)) * falling
        pictures = np.einsum("nij,ir,jc->nrc", waves, down, across, optimize=True)
        bits[first : first + size] = (np.diff(pictures, axis=2) > 0).reshape(size, BITS)
    n_copies = n // COPIED
    rows = rng.permutation(n)[: 2 * n_copies].reshape(n_copies, 2)
    bits[rows[:, 1]] = bits[rows[:, 0]]
    for row in rows[:, 1]:
        bits[row, rng.choice(BITS, rng.integers(0, RADIUS + 1), replace=False)] ^= 1
    return np.packbits(bits, axis=1), np.sort(rows, axis=1)


def made_codes(n: int, copies: Ints, seed: int = 1) -> Floats:
    """(n, CODES) noise, copies nearly equal."""
    rng = np.random.default_rng(seed)
    codes = rng.normal(size=(n, CODES)).astype(np.float32)
    codes[copies[:, 1]] = codes[copies[:, 0]] + 0.1 * rng.normal(size=(len(copies), CODES))
    return codes


def measure(n: int) -> dict[str, float]:
    hashes, copies = made_hashes(n)
    began = time.perf_counter()
    pairs, _ = close_pairs(hashes)
    searched = time.perf_counter() - began
    found = {(a, b) for a, b in pairs.tolist()}
    missed = sum((a, b) not in found for a, b in copies.tolist())
    codes = made_codes(n, copies)
    began = time.perf_counter()
    codes = unit(codes)
    usual = np.median(nearest(codes, evenly_drawn(n, SAMPLED, 0), np.arange(n).astype(str)))
    near = 1 - np.einsum("ij,ij->i", codes[pairs[:, 0]], codes[pairs[:, 1]]) <= usual / 2
    confirmed = time.perf_counter() - began
    return {
        "rows": n, "planted": len(copies), "missed": missed, "pairs": len(pairs),
        "confirmed": int(near.sum()), "seconds_hashes": searched, "seconds_codes": confirmed,
    }  # fmt: skip


def every_pair(n: int) -> float:
    """Seconds to compare each of n rows with each other, the same arithmetic row by row."""
    hashes, _ = made_hashes(n)
    began = time.perf_counter()
    for row in range(n - 1):
        distances(hashes[row + 1 :], np.broadcast_to(hashes[row], (n - 1 - row, BITS // 8)))
    return time.perf_counter() - began


def main() -> None:
    rows = [measure(n) for n in ROWS]
    brute = every_pair(ROWS[0])
    for row in rows:
        quadratic = brute * (row["rows"] / ROWS[0]) ** 2
        print(
            f"{row['rows']:>9,.0f} hashes: {row['seconds_hashes']:7.2f} s "
            f"(every pair: {quadratic:8.1f} s), codes {row['seconds_codes']:6.2f} s; "
            f"{row['pairs']:,} pairs, {row['missed']:.0f} of {row['planted']:,} planted missed, "
            f"{row['confirmed']:,} confirmed"
        )
    growth = {
        what: [
            math.log(more[what] / less[what]) / math.log(more["rows"] / less["rows"])
            for less, more in itertools.pairwise(rows)
        ]
        for what in ("seconds_hashes", "seconds_codes")
    }
    for what, powers in growth.items():
        steps = ", then ".join(f"{power:.2f}" for power in powers)
        print(f"{what} grow with the rows to the power {steps} (2 would be every pair)")
    save("duplicates", {"rows": rows, "seconds_every_pair_5000": brute, "power": growth})


if __name__ == "__main__":
    main()
