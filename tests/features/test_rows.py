from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from medgraft.errors import CacheError
from medgraft.features.cache import FeatureStore, Rows

WIDTH = 6


def hashes(*numbers: int) -> np.ndarray:
    return np.array([f"h{n:03d}" for n in numbers])


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """Row n holds n, n + 0.25, …; two segments, of which both have row 3."""
    store = FeatureStore(tmp_path / "store", {})
    for first, last in ((0, 4), (3, 9)):
        values = np.arange(first, last)[:, None] + np.arange(WIDTH) / 4
        store.write(hashes(*range(first, last)), {"t@grid": values.astype(np.float16)})
    return store


def test_rows_come_in_any_order_from_any_segment(store: FeatureStore) -> None:
    wanted = [8, 0, 3, 5, 3]
    rows = store.rows(hashes(*wanted), "t@grid")
    assert len(rows) == 5
    for index in ([0], [4, 1], [2, 2, 0], list(range(5))):
        found = rows[np.array(index)]
        assert found.dtype == np.float16
        assert found.shape == (len(index), WIDTH)
        assert found[:, 0].tolist() == [wanted[i] for i in index]
        assert found[0, 3] == wanted[index[0]] + 0.75


def test_bytes_are_kept_as_bytes(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "store", {})
    values = np.random.default_rng(0).integers(0, 256, (5, 12)).astype(np.uint8)
    store.write(hashes(*range(5)), {"canvas": values})
    found = store.rows(hashes(4, 1), "canvas")[np.array([0, 1])]
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, values[[4, 1]])


def test_what_is_read_may_be_changed_and_the_disk_stays(store: FeatureStore) -> None:
    rows = store.rows(hashes(1, 2), "t@grid")
    rows[np.array([0])][:] = 77
    assert rows[np.array([0])][0, 0] == 1


def test_a_row_that_is_not_there_is_an_error(store: FeatureStore) -> None:
    with pytest.raises(CacheError, match="2 rows of t@grid are missing"):
        store.rows(hashes(1, 20, 21), "t@grid")
    with pytest.raises(CacheError, match="1 rows of other are missing"):
        store.rows(hashes(1), "other")


@pytest.mark.parametrize("how", ["gone", "cut"])
def test_a_cache_that_is_cleared_meanwhile_is_an_error(store: FeatureStore, how: str) -> None:
    rows = store.rows(hashes(0, 8), "t@grid")
    for path in store.folder.glob("segment-*/t@grid.npy"):
        if how == "gone":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(CacheError, match="run the command again"):
        rows[np.array([0, 1])]


def test_only_what_is_asked_for_is_in_memory(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "store", {})
    store.write(hashes(*range(200)), {"t@grid": np.zeros((200, 50_000), np.float16)})  # 20 MB
    rows: Rows = store.rows(hashes(*range(200)), "t@grid")
    tracemalloc.start()
    for start in range(0, 200, 10):
        rows[np.arange(start, start + 10)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * 10 * 50_000 * 2
