"""One cache, several processes at once: each row is whole and right, or not there."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from medgraft.errors import CacheError
from medgraft.features.cache import Cache, FeatureStore
from medgraft.types import FeatureSpec

SPEC = FeatureSpec("net", "0" * 64, 224, ("a",))
BLOCK, WIDTH, ROWS = "a@avg", 400, 64

WRITE = """
import pathlib, sys
import test_two_processes as mine
print("began", flush=True)
for turn in range(int(sys.argv[3])):
    mine.write(pathlib.Path(sys.argv[1]), int(sys.argv[2]) + 16 * turn)
"""


def names(first: int, n: int = ROWS) -> np.ndarray:  # type: ignore[type-arg]
    return np.array([f"h{i:06d}" for i in range(first, first + n)])


def truth(first: int, n: int = ROWS) -> np.ndarray:  # type: ignore[type-arg]
    return np.arange(first, first + n, dtype=np.float32)[:, None] + np.linspace(
        0, 0.5, WIDTH, dtype=np.float32
    )


def write(folder: Path, first: int) -> None:
    """A segment that shares rows with its neighbours; then the cache is made as small as it was."""
    cache = Cache(folder)
    cache.features(SPEC).write(names(first), {BLOCK: truth(first)})
    cache.prune(limit=20 * ROWS * WIDTH * 4)


def started(folder: Path, first: int, turns: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITE, str(folder), str(first), str(turns)]
    here = str(Path(__file__).parent)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=here)
    with process.stdout as output:  # type: ignore[union-attr]
        assert output.readline() == "began\n"
    return process


def whole(store: FeatureStore, first: int) -> int:
    """How many of the rows are there, each as it must be."""
    held = np.flatnonzero(~store.missing(names(first), (BLOCK,)))
    if len(held):
        found = store.read(names(first)[held], BLOCK)
        np.testing.assert_array_equal(found, truth(first)[held])
    return len(held)


def test_several_write_read_and_prune_one_cache(tmp_path: Path) -> None:
    store = Cache(tmp_path).features(SPEC)
    others = [started(tmp_path, first, 60) for first in (0, 8)]
    seen = 0
    while any(one.poll() is None for one in others):
        write(tmp_path, 0)
        with suppress(CacheError):  # pruned between the question and the reading
            seen += whole(store, 0)
    assert [one.returncode for one in others] == [0, 0]
    assert seen
    write(tmp_path, 0)
    assert whole(store, 0) == ROWS
    assert not [path for path in store.folder.iterdir() if path.name[0] == "."]


@pytest.mark.parametrize("turns", [3, 17])
def test_of_a_process_that_is_killed_only_whole_segments_stay(tmp_path: Path, turns: int) -> None:
    store = Cache(tmp_path).features(SPEC)
    process = started(tmp_path, 1, 10**6)
    while len(list(store.folder.glob("segment-*"))) < turns:
        assert process.poll() is None
    process.kill()
    process.wait()
    for segment in store.folder.glob("segment-*"):
        first = int(np.load(segment / "hashes.npy")[0][1:])
        np.testing.assert_array_equal(np.load(segment / f"{BLOCK}.npy"), truth(first))
