from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medgraft.errors import CacheError
from medgraft.features.cache import Cache, FeatureStore, describe
from medgraft.files import StorageError, written_file, written_folder
from medgraft.types import FeatureSpec

SPEC = FeatureSpec("net", "0" * 64, 224, ("a", "b"))


def hashes(*names: str) -> np.ndarray:  # type: ignore[type-arg]
    return np.array(names)


def block(*rows: float) -> np.ndarray:  # type: ignore[type-arg]
    return np.array(rows, np.float32)[:, None] * np.ones((1, 3), np.float32)


def test_rows_come_back_by_content_in_any_order_and_twice(tmp_path: Path) -> None:
    store = Cache(tmp_path).features(SPEC)
    store.write(hashes("x", "y"), {"a@avg": block(1, 2)})
    store.write(hashes("z"), {"a@avg": block(3)})
    found = store.read(hashes("z", "x", "z", "y"), "a@avg")
    np.testing.assert_array_equal(found[:, 0], [3, 1, 3, 2])


def test_one_more_tap_adds_only_its_block(tmp_path: Path) -> None:
    store = Cache(tmp_path).features(SPEC)
    store.write(hashes("x", "y"), {"a@avg": block(1, 2)})
    assert store.missing(hashes("x", "y", "z"), ("a@avg",)).tolist() == [False, False, True]
    assert store.missing(hashes("x", "y"), ("a@avg", "b@avg")).tolist() == [True, True]
    store.write(hashes("y", "x"), {"b@avg": block(20, 10)})
    assert not store.missing(hashes("x", "y"), ("a@avg", "b@avg")).any()
    np.testing.assert_array_equal(store.read(hashes("x", "y"), "b@avg")[:, 0], [10, 20])


@pytest.mark.parametrize(
    "change", [{"size": 256}, {"weights": "1" * 64}, {"engine": "torch"}, {"resize": "crop"}]
)
def test_another_recipe_is_another_store(tmp_path: Path, change: dict[str, object]) -> None:
    import dataclasses

    cache = Cache(tmp_path)
    cache.features(SPEC).write(hashes("x"), {"a@avg": block(1)})
    other = cache.features(dataclasses.replace(SPEC, **change))  # type: ignore[arg-type]
    assert other.missing(hashes("x"), ("a@avg",)).all()


def test_a_row_that_is_not_there_is_an_error_not_a_zero(tmp_path: Path) -> None:
    store = Cache(tmp_path).features(SPEC)
    store.write(hashes("x"), {"a@avg": block(1)})
    with pytest.raises(CacheError, match=r"1 rows of a@avg are missing"):
        store.read(hashes("x", "y"), "a@avg")


def test_a_write_that_is_killed_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Cache(tmp_path).features(SPEC)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(StorageError, match=r"No space left on device; free some space"):
        store.write(hashes("x"), {"a@avg": block(1)})
    monkeypatch.undo()
    assert store.missing(hashes("x"), ("a@avg",)).all()
    assert [path.name for path in store.folder.iterdir()] == ["recipe.json"]


def test_least_recently_used_goes_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    store = cache.features(SPEC)
    for age, name in enumerate("pqr"):
        store.write(hashes(name), {"a@avg": np.zeros((1, 1000), np.float32)})
        newest = max(store.folder.glob("segment-*"), key=lambda path: path.stat().st_mtime_ns)
        os.utime(newest, (1000 + age, 1000 + age))
    store.read(hashes("p"), "a@avg")  # p is used again: now q is the oldest
    entry = cache.entries()[0].size
    cache.prune(limit=2 * entry + 100)
    gone = store.missing(hashes("p", "q", "r"), ("a@avg",))
    assert gone.tolist() == [False, True, False]
    assert describe(cache)[0][0] == "features"
    assert cache.prune(0) > 0
    assert cache.entries() == []


def test_arrays_are_kept_without_pickle(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    assert cache.get("predictions", "k") is None
    cache.put("predictions", "k", {"scores": np.eye(2), "seconds": np.array(1.5)})
    found = cache.get("predictions", "k")
    assert found is not None
    np.testing.assert_array_equal(found["scores"], np.eye(2))
    evil = tmp_path / "predictions" / "evil.npz"
    np.savez(evil, a=np.array([object()], dtype=object))
    assert cache.get("predictions", "evil") is None


@pytest.mark.parametrize("kept", [0, 20, 150])
def test_arrays_that_were_cut_short_are_absent(tmp_path: Path, kept: int) -> None:
    cache = Cache(tmp_path)
    cache.put("predictions", "k", {"scores": np.eye(2)})
    path = tmp_path / "predictions" / "k.npz"
    path.write_bytes(path.read_bytes()[:kept])
    assert cache.get("predictions", "k") is None
    cache.put("predictions", "k", {"scores": np.eye(2)})
    assert cache.get("predictions", "k") is not None


def _cut_block(segment: Path) -> None:
    path = segment / "a@avg.npy"
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    "harm",
    [
        _cut_block,
        lambda segment: (segment / "hashes.npy").unlink(),
        lambda segment: (segment / "hashes.npy").write_bytes(b""),
        lambda segment: (segment / "a@avg.npy").write_bytes(b""),
        lambda segment: np.save(segment / "a@avg.npy", block(1, 2)),
    ],
)
def test_a_segment_that_is_not_whole_is_absent(
    tmp_path: Path, harm: Callable[[Path], object]
) -> None:
    store = Cache(tmp_path).features(SPEC)
    store.write(hashes("x"), {"a@avg": block(1)})
    (segment,) = store.folder.glob("segment-*")
    harm(segment)
    assert store.missing(hashes("x"), ("a@avg",)).all()
    store.write(hashes("x"), {"a@avg": block(1)})
    np.testing.assert_array_equal(store.read(hashes("x"), "a@avg"), block(1))


def test_a_cache_of_another_user_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(tmp_path)
    cache.put("predictions", "k", {"scores": np.eye(2)})
    cache.features(SPEC).write(hashes("x"), {"a@avg": block(1)})

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("os.utime", refuse)
    assert cache.get("predictions", "k") is not None
    assert cache.features(SPEC).read(hashes("x"), "a@avg").shape == (1, 3)


def test_a_segment_goes_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads while a segment is removed sees all of it or nothing."""
    cache = Cache(tmp_path)
    cache.features(SPEC).write(hashes("x"), {"a@avg": block(1)})
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)  # killed before it removes
    cache.prune(0)
    assert not list(tmp_path.glob("features/*/segment-*"))


def test_clearing_removes_what_belongs_to_nothing(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    store = cache.features(SPEC)
    store.write(hashes("x"), {"a@avg": block(1)})
    names = [
        "graphs/a.xml",
        "graphs/a.bin",
        "graphs/half.xml",
        "notes/n.json",
        "weights/w",
        "checkpoints/c",
    ]
    old = ["weights/.w.1-ab", "graphs/.writing-x/a.xml", "predictions/.k.npz.1-ab"]
    old.append(f"features/{store.folder.name}/.segment-y/hashes.npy")
    for name in [*names, *old, "maps/m.npz", "weights/.alive.1-ab"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    for name in old:
        os.utime(tmp_path / name, (1000, 1000))
        os.utime((tmp_path / name).parent, (1000, 1000))
    assert "weights/.alive.1-ab" not in [str(e.path.relative_to(tmp_path)) for e in cache.entries()]
    assert cache.prune(10**9) == 5  # what killed runs left, and half a graph
    assert (tmp_path / "notes" / "n.json").exists()
    cache.prune(0)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"weights/.alive.1-ab", f"features/{store.folder.name}/recipe.json"}


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), written_file(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with written_file(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "model"
    for content in ("first", "second"):
        with written_folder(path) as temporary:
            (temporary / "file").write_text(content)
    with pytest.raises(RuntimeError), written_folder(path) as temporary:
        (temporary / "file").write_text("half")
        raise RuntimeError
    assert (path / "file").read_text() == "second"
    assert list(tmp_path.iterdir()) == [path]


def test_something_in_the_way_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StorageError, match=r"cannot write .*choose another folder"),
        written_file(tmp_path / "file" / "inside"),
    ):
        pass


# --------------------------------------------------------------------------- streams


@pytest.fixture
def segments(tmp_path: Path) -> FeatureStore:
    """Nine rows in four segments, "e" in two of them; in half precision, as descriptors are."""
    store = Cache(tmp_path).features(SPEC)
    for names in ("ab", "cdef", "ge", "hi"):
        rows = np.array([[ord(name), ord(name) + 0.5] for name in names], np.float16)
        store.write(hashes(*names), {"a@grid": rows})
    return store


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 9, 100])
@pytest.mark.parametrize("wanted", ["abcdefghi", "ihgfedcba", "eee", "bhbaiifeeea", "g"])
def test_a_stream_is_what_is_read_in_any_order_and_batch(
    wanted: str, batch: int, segments: FeatureStore
) -> None:
    names = hashes(*wanted)
    batches = list(segments.stream(names, "a@grid", batch))
    assert [len(values) for values in batches] == [
        min(batch, len(wanted) - start) for start in range(0, len(wanted), batch)
    ]
    assert {values.dtype for values in batches} == {np.dtype(np.float16)}
    found = np.concatenate(batches).astype(np.float32)
    by_hand = [[ord(name), ord(name) + 0.5] for name in wanted]
    np.testing.assert_array_equal(found, np.array(by_hand, np.float16).astype(np.float32))
    np.testing.assert_array_equal(found, segments.read(names, "a@grid"))


def test_a_stream_of_nothing_is_empty(segments: FeatureStore) -> None:
    assert list(segments.stream(np.array([], dtype=np.str_), "a@grid", 4)) == []


def test_a_stream_lacking_a_row_gives_none_at_all(segments: FeatureStore) -> None:
    stream = segments.stream(hashes("a", "x", "b", "y"), "a@grid", 1)
    with pytest.raises(CacheError, match=r"2 rows of a@grid are missing .* run the command again"):
        next(stream)
    with pytest.raises(CacheError, match=r"1 rows of b@grid"):
        next(segments.stream(hashes("a"), "b@grid", 1))


def test_a_stream_passes_over_a_garbled_segment(segments: FeatureStore) -> None:
    def holds(segment: Path, name: bytes) -> bool:
        return name in np.load(segment / "hashes.npy").tolist()

    for segment in segments.folder.glob("segment-*"):
        if holds(segment, b"g"):  # and the second "e"
            path = segment / "a@grid.npy"
            path.write_bytes(path.read_bytes()[:-1])
    (values,) = segments.stream(hashes("e", "a"), "a@grid", 4)
    np.testing.assert_array_equal(values[:, 0], [ord("e"), ord("a")])
    with pytest.raises(CacheError, match=r"1 rows of a@grid are missing"):
        next(segments.stream(hashes("a", "g"), "a@grid", 1))


def test_a_stream_whose_cache_is_cleared_under_it_says_so(segments: FeatureStore) -> None:
    stream = segments.stream(hashes(*"abcdefghi"), "a@grid", 2)
    next(stream)
    for segment in segments.folder.glob("segment-*"):
        (segment / "a@grid.npy").unlink()
    with pytest.raises(CacheError, match=r"another process may have cleared the cache"):
        list(stream)


def test_of_an_image_in_two_segments_a_stream_takes_the_row_that_is_read(tmp_path: Path) -> None:
    """Two runs side by side may both have written it, one with another rounding."""
    store = Cache(tmp_path).features(SPEC)
    for row in range(6):
        store.write(hashes("x", f"y{row}"), {"a@grid": np.full((2, 3), row, np.float16)})
    (values,) = store.stream(hashes("x"), "a@grid", 1)
    np.testing.assert_array_equal(values, store.read(hashes("x"), "a@grid"))
