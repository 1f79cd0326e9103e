"""Heads of many rows: large arrays lie on the disk, what is in memory is a block, numbers stay."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from medgraft.features import scratch as scratch_arrays
from medgraft.features.scratch import scratch, stacked
from medgraft.learn import discriminant, linear
from medgraft.learn.heads import NestedScores, nested_scores
from medgraft.scenario import HEADS
from traced_memory import peak

WIDTH, FEW, MANY = 512, 800, 1600
SHARE = 0.5  # of one copy of the codes that were added; labels, weights and scores take a third


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every array of codes is large, and a block holds 64 of their rows."""
    monkeypatch.setattr(scratch_arrays, "LARGE", 0)
    monkeypatch.setattr(linear, "BLOCK", 64 * WIDTH)
    monkeypatch.setattr(discriminant, "BLOCK", 64 * WIDTH)
    with threadpool_limits(1):
        yield


def codes(n: int, d: int = WIDTH) -> np.ndarray:  # type: ignore[type-arg]
    rng = np.random.default_rng(0)
    values = scratch((n, d))
    values[:] = rng.normal(size=(n, d)) + 0.2 * (np.arange(n) % 2)[:, None]
    return values


def scored(head: str, X: np.ndarray) -> NestedScores:  # type: ignore[type-arg]
    rows = np.arange(len(X))
    return nested_scores(head, X, rows % 2, rows // 2 % 3)


def arrays(found: NestedScores) -> list[np.ndarray]:  # type: ignore[type-arg]
    kept = found.head.to_arrays()[0].values()
    return [found.scores, found.final_scores, np.asarray(found.inner), *kept]


@pytest.mark.parametrize("head", HEADS)
def test_where_arrays_lie_changes_no_bit_and_blocks_only_rounding(
    head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    X = codes(300, 32)
    with threadpool_limits(1):
        before = arrays(scored(head, X))
        monkeypatch.setattr(scratch_arrays, "LARGE", 0)
        for one, other in zip(before, arrays(scored(head, X)), strict=True):
            np.testing.assert_array_equal(one, other)
        monkeypatch.setattr(linear, "BLOCK", 64 * 32)
        monkeypatch.setattr(discriminant, "BLOCK", 64 * 32)
        for one, other in zip(before, arrays(scored(head, X)), strict=True):
            np.testing.assert_allclose(one, other, rtol=5e-3, atol=5e-3)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.usefixtures("small_blocks")
def test_memory_of_a_head_hardly_grows_with_the_rows(head: str) -> None:
    few, many = codes(FEW), codes(MANY)
    growth = peak(lambda: scored(head, many)) - peak(lambda: scored(head, few))
    assert growth < SHARE * (many.nbytes - few.nbytes)


def test_a_large_array_leaves_no_file_and_a_full_disk_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch_arrays, "LARGE", 1000)
    monkeypatch.setenv("MEDGRAFT_CACHE", str(tmp_path / "cache"))
    in_memory, on_disk = scratch((10, 10)), scratch((100, 10))
    assert (in_memory.base is None, on_disk.base is None) == (True, False)
    on_disk[:] = np.arange(10)
    assert on_disk[99].tolist() == list(range(10))
    assert list((tmp_path / "cache").iterdir()) == []
    joined = stacked([on_disk, on_disk[:1]])
    assert joined.shape == (101, 10)
    assert joined.base is not None
    assert stacked([on_disk]) is on_disk

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    assert scratch((100, 10)).base is None


def test_a_system_that_reserves_no_disk_keeps_arrays_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scratch_arrays, "LARGE", 1)
    monkeypatch.delattr(os, "posix_fallocate")
    assert scratch((3, 4)).shape == (3, 4)
