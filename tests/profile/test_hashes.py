"""Is the hash what it says, and does the index miss no pair that comparing all would find?"""

from __future__ import annotations

import numpy as np
import pytest

from medgraft.profile.hashes import BITS, RADIUS, close_pairs, difference_hash, distances


def every_pair(hashes: np.ndarray, radius: int) -> list[tuple[int, int, int]]:  # type: ignore[type-arg]
    """All pairs by comparing each row with each other, bit by bit."""
    bits = np.unpackbits(hashes, axis=1).astype(int)
    apart = (bits[:, None] != bits[None]).sum(axis=2)
    first, second = np.triu_indices(len(hashes), 1)
    return [
        (int(i), int(j), int(apart[i, j]))
        for i, j in zip(first, second, strict=True)
        if apart[i, j] <= radius
    ]


def flipped(hashes: np.ndarray, n_bits: int, rng: np.random.Generator) -> np.ndarray:  # type: ignore[type-arg]
    """A copy of each hash with exactly so many bits changed."""
    bits = np.unpackbits(hashes, axis=1)
    for row in bits:
        row[rng.choice(len(row), n_bits, replace=False)] ^= 1
    return np.packbits(bits, axis=1)


def test_a_picture_that_grows_brighter_is_all_ones_and_a_flat_one_is_unclear() -> None:
    ramp = np.tile(np.arange(0, 255, 5, dtype=np.uint8), (48, 1))  # 51 columns: 15 levels a step
    code, clear = difference_hash(ramp)
    assert distances(code[None], np.full((1, 32), 255, np.uint8)).tolist() == [0]
    assert clear == 1
    code, clear = difference_hash(ramp[:, ::-1])
    assert code.sum() == 0
    assert clear == 1
    code, clear = difference_hash(np.full((30, 40), 9, np.uint8))
    assert code.sum() == 0
    assert clear == 0


def test_exposure_and_size_leave_the_hash_as_it_is() -> None:
    rng = np.random.default_rng(0)
    coarse = rng.integers(20, 200, (16, 17)).astype(np.uint8)
    code, _ = difference_hash(coarse)
    for other in (np.kron(coarse, np.ones((5, 3), np.uint8)), coarse + 40):
        np.testing.assert_array_equal(difference_hash(other.astype(np.uint8))[0], code)


@pytest.mark.parametrize("skewed", [False, True])
def test_the_index_finds_what_comparing_all_pairs_finds(skewed: bool) -> None:
    """Copies at every distance up to and beyond the radius, at random and in alike pictures."""
    rng = np.random.default_rng(1)
    share = rng.uniform(0.02, 0.98, BITS) if skewed else np.full(BITS, 0.5)
    plain = np.packbits(rng.random((60, BITS)) < share, axis=1)
    hashes = np.concatenate([plain, *(flipped(plain, n, rng) for n in (0, 1, 11, 12, 13, 20))])
    rng.shuffle(hashes)
    rows, apart = close_pairs(hashes)
    found = [(*pair, bits) for pair, bits in zip(rows.tolist(), apart.tolist(), strict=True)]
    assert [tuple(one) for one in found] == every_pair(hashes, RADIUS)
    assert len(found) > 60 * 6


def test_the_worst_pair_is_found_and_the_next_is_not() -> None:
    """Of two rows the bits that differ are dealt first, one to a band: one band is left equal."""
    bits = np.zeros((2, BITS), np.uint8)
    bits[1, :RADIUS] = 1
    assert close_pairs(np.packbits(bits, axis=1))[1].tolist() == [RADIUS]
    bits[1, RADIUS] = 1
    assert close_pairs(np.packbits(bits, axis=1))[1].tolist() == []


def test_few_rows_and_equal_rows() -> None:
    for n in (0, 1):
        rows, apart = close_pairs(np.zeros((n, 32), np.uint8))
        assert (rows.shape, apart.shape) == ((0, 2), (0,))
    rows, apart = close_pairs(np.zeros((4, 32), np.uint8))
    assert rows.tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    assert apart.tolist() == [0] * 6
