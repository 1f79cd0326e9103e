"""What has been computed once: codes by content, and arrays by the recipe that made them.

One store for each recipe of codes; in it immutable segments, each with the content hashes of its
rows and one file a column block, memory-mapped when read. A segment appears whole, by rename, so
a killed run leaves only whole segments, and two runs may write side by side. What a disk has
garbled is as if it were not there: it is computed again.
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgraft.errors import CacheError
from medgraft.features.scratch import scratch
from medgraft.files import cache_folder, is_abandoned, write_json, written_file, written_folder
from medgraft.types import FeatureSpec, Ints, Strings, digest

DEFAULT_LIMIT = 20 * 2**30  # bytes
HASHES = "hashes.npy"
ELSEWHERE = "pass another --cache DIR, or set MEDGRAFT_CACHE"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that can be let go: what it is, its bytes, when it was last used."""

    path: Path
    what: str
    size: int
    used: float


class Cache:
    """A folder of codes and arrays, with a limit of size.

    Parameters
    ----------
    folder
        Where it lies; made when something is first written.
    limit
        Bytes; `prune` lets the least recently used entries go until the rest fits.
    """

    def __init__(self, folder: Path | None = None, limit: int = DEFAULT_LIMIT) -> None:
        self.folder = folder or cache_folder()
        self.limit = limit

    @property
    def graphs(self) -> Path:
        """The folder of converted network graphs."""
        return self.folder / "graphs"

    @property
    def checkpoints(self) -> Path:
        """The folder of what killed trainings go on from."""
        return self.folder / "checkpoints"

    @property
    def notes(self) -> Path:
        """The folder of what is known of networks' taps."""
        return self.folder / "notes"

    def features(self, spec: FeatureSpec) -> FeatureStore:
        """The store of the codes of one recipe."""
        return FeatureStore(self.folder / "features" / digest(spec.recipe), spec.recipe)

    def get(self, kind: str, key: str) -> dict[str, NDArray[Any]] | None:
        """Arrays stored under (`kind`, `key`), or None where there are none that can be read.

        Raises
        ------
        CacheError
            The disk does not let us read them.
        """
        path = self.folder / kind / f"{key}.npz"
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
        except (FileNotFoundError, zipfile.BadZipFile, EOFError, ValueError):
            return None  # not there, cut short or garbled: the next `put` replaces it
        except OSError as error:
            raise CacheError(
                f"cannot read {path} ({error}); run: medgraft cache --clear"
            ) from error
        _touch(path)
        return arrays

    def put(self, kind: str, key: str, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Store arrays under (`kind`, `key`), atomically."""
        with (
            written_file(self.folder / kind / f"{key}.npz", ELSEWHERE) as path,
            path.open("wb") as file,
        ):
            np.savez(file, **arrays)  # type: ignore[arg-type]

    def entries(self) -> list[Entry]:
        """Everything held, least recently used first."""
        found = []
        patterns = ("features/*/segment-*", "*/*.npz", "graphs/*.bin")
        for pattern in (*patterns, "weights/[!.]*", "checkpoints/[!.]*"):
            for path in self.folder.glob(pattern):
                with suppress(FileNotFoundError):  # another process has let it go
                    found.append(_entry(path, self.folder))
        return sorted(found, key=lambda entry: (entry.used, str(entry.path)))

    def prune(self, limit: int | None = None) -> int:
        """Let go of what was unused for longest until `limit` bytes are kept; count bytes freed.

        What killed runs left half-written goes too; with a limit of 0 all that belongs to no entry:
        notes and halves of graphs.
        """
        entries = self.entries()
        excess = sum(entry.size for entry in entries) - (self.limit if limit is None else limit)
        freed = 0
        for entry in entries:
            if freed >= excess:
                break
            remove(entry.path)
            freed += entry.size
        return freed + self._sweep([*self.notes.glob("[!.]*")] if limit == 0 else [])

    def orphans(self) -> list[tuple[Path, int]]:
        """What killed runs left half-written: paths and bytes."""
        found = []
        for pattern in ("*/.*", "features/*/.*", "graphs/[!.]*.xml"):
            for path in self.folder.glob(pattern):
                with suppress(FileNotFoundError):  # another process has ended what it wrote
                    half = path.suffix == ".xml" and not path.with_suffix(".bin").exists()
                    if half or (path.name[0] == "." and is_abandoned(path)):
                        found.append((path, _size(path)))
        return found

    def _sweep(self, more: list[Path]) -> int:
        """Remove what killed runs left, and these; count bytes freed."""
        swept = [*self.orphans(), *((path, _size(path)) for path in more)]
        for path, _ in swept:
            remove(path)
        return sum(size for _, size in swept)


def arrays_under(arrays: Mapping[str, NDArray[Any]], name: str) -> dict[str, NDArray[Any]]:
    """The arrays that were put under `name.`, without that prefix."""
    prefix = f"{name}."
    return {key.removeprefix(prefix): a for key, a in arrays.items() if key.startswith(prefix)}


def _entry(path: Path, root: Path) -> Entry:
    return Entry(path, path.relative_to(root).parts[0], _size(path), path.stat().st_mtime)


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def remove(path: Path) -> None:
    """Remove a file or a folder so that nobody sees half of it: by a rename out of the way first.

    A graph is two files that go together. What is gone already, or another user's, is left at that.
    """
    if path.suffix == ".bin":
        remove(path.with_suffix(".xml"))
    gone = path.with_name(f".{path.name.lstrip('.')}.gone-{os.urandom(4).hex()}")
    with suppress(OSError):
        path.rename(gone)
        if gone.is_dir() and not gone.is_symlink():
            shutil.rmtree(gone, ignore_errors=True)
        else:
            gone.unlink()


def _touch(path: Path) -> None:
    """Mark as used now; in another user's cache that may not be ours to do."""
    with suppress(OSError):
        os.utime(path)


@dataclass(frozen=True, eq=False, slots=True)
class Rows:
    """Rows of a block on disk: `rows[index]` reads (len(index), width) of them as they are stored.

    They are read and not mapped, so that what was read once does not stay in memory.

    parts : the segments' arrays, of which only place and type are used. part, row : (n,) which of
    them a row lies in, and where.
    """

    parts: tuple[np.memmap[Any, Any], ...]
    part: Ints
    row: Ints

    def __len__(self) -> int:
        return len(self.part)

    @property
    def width(self) -> int:
        """Numbers of a row."""
        return int(self.parts[0].shape[1])

    def into(self, out: NDArray[np.float32]) -> None:
        """Copy all rows into an array (n, width), or columns of one, as float32."""
        for number, stored in enumerate(self.parts):
            mine = np.flatnonzero(self.part == number)
            out[mine] = stored[self.row[mine]]

    def __getitem__(self, index: Ints) -> NDArray[np.generic]:
        first = self.parts[self.part[index[0]]]
        values = np.empty((len(index), first.shape[1]), first.dtype)
        for number in np.unique(self.part[index]):
            stored = self.parts[number]
            mine = np.flatnonzero(self.part[index] == number)
            try:
                with Path(str(stored.filename)).open("rb", buffering=0) as file:
                    for place in mine:
                        file.seek(stored.offset + int(self.row[index[place]]) * stored.strides[0])
                        if file.readinto(values[place].data) != values[place].nbytes:
                            raise OSError("it was cut short")
            except OSError as error:
                raise CacheError(
                    f"cannot read {stored.filename} ({error}); another process may have cleared "
                    "the cache: run the command again"
                ) from error
        return values


class FeatureStore:
    """The codes of one recipe: rows by content hash, one column block a tap and pooling."""

    def __init__(self, folder: Path, recipe: Mapping[str, object]) -> None:
        self.folder = folder
        self.recipe = recipe

    def write(self, hashes: Strings, blocks: Mapping[str, NDArray[Any]]) -> None:
        """Add a segment of n rows; every block is (n, channels), kept in the type it has."""
        if not (self.folder / "recipe.json").exists():
            write_json(self.folder / "recipe.json", dict(self.recipe), ELSEWHERE)
        name = f"segment-{digest(hashes.tolist(), sorted(blocks), os.urandom(8).hex())}"
        with written_folder(self.folder / name, ELSEWHERE) as folder:
            np.save(folder / HASHES, hashes.astype("S"))
            for block, values in blocks.items():
                np.save(folder / f"{block}.npy", values)

    def missing(self, hashes: Strings, blocks: tuple[str, ...]) -> NDArray[np.bool_]:
        """Which of the rows lack at least one of the blocks, (n,)."""
        lacking = np.zeros(len(hashes), dtype=bool)
        for block in blocks:
            held = np.zeros(len(hashes), dtype=bool)
            for _, _, wanted, _ in self._found(hashes, block):
                held[wanted] = True
            lacking |= ~held
        return lacking

    def read(self, hashes: Strings, block: str) -> NDArray[np.float32]:
        """The block's rows for those hashes, (n, channels) float32, in their order.

        Raises
        ------
        CacheError
            A row is not there.
        """
        rows = self.rows(hashes, block)
        if not rows.parts:
            raise CacheError(_cleared(0, block, self.folder))
        values = scratch((len(rows), rows.width))
        rows.into(values)
        return values

    def rows(self, hashes: Strings, block: str) -> Rows:
        """The block's rows for those hashes, to be read in any order; nothing is in memory yet.

        Raises
        ------
        CacheError
            A row is not there.
        """
        parts: list[np.memmap[Any, Any]] = []
        part = np.full(len(hashes), -1, np.int64)
        row = np.zeros(len(hashes), np.int64)
        for _, stored, wanted, rows in self._found(hashes, block):
            new = part[wanted] < 0  # the same image may lie in two segments; the first one counts
            part[wanted[new]], row[wanted[new]] = len(parts), rows[new]
            parts.append(stored)
        if (part < 0).any():
            raise CacheError(_cleared(int((part < 0).sum()), block, self.folder))
        return Rows(tuple(parts), part, row)

    def stream(self, hashes: Strings, block: str, batch: int) -> Iterator[NDArray[np.generic]]:
        """The block's rows for those hashes, in their order, `batch` at a time, as they are stored.

        No more than a batch is in memory, however many rows there are.

        Raises
        ------
        CacheError
            A row is not there.
        """
        rows = self.rows(hashes, block)
        for start in range(0, len(hashes), batch):
            yield rows[np.arange(start, min(start + batch, len(hashes)))]

    def _found(
        self, hashes: Strings, block: str
    ) -> Iterator[tuple[Path, np.memmap[Any, Any], NDArray[np.intp], NDArray[np.intp]]]:
        """Each segment with the block: its values, which `hashes` it has, and in which rows."""
        order = np.argsort(hashes, kind="stable")  # once, for there are many segments
        wanted = hashes[order].astype("S")
        for segment in sorted(self.folder.glob("segment-*")):
            held = _read_segment(segment, block)
            if held is None:
                continue
            stored, values = held
            first = np.searchsorted(wanted, stored, "left")
            times = np.searchsorted(wanted, stored, "right") - first  # an image may be asked twice
            rows = np.repeat(np.arange(len(stored)), times)
            if len(rows):
                ends = np.cumsum(times)
                among = np.arange(ends[-1]) - np.repeat(ends - times, times)
                _touch(segment)
                yield segment, values, order[np.repeat(first, times) + among], rows


def _cleared(n: int, block: str, folder: Path) -> str:
    return (
        f"{n} rows of {block} are missing in {folder}; another process may have cleared the cache: "
        "run the command again"
    )


def _read_segment(
    segment: Path, block: str
) -> tuple[NDArray[np.bytes_], np.memmap[Any, Any]] | None:
    """A segment's hashes (rows,) and the block (rows, channels), or None if it has none whole."""
    try:
        values = np.load(segment / f"{block}.npy", mmap_mode="r", allow_pickle=False)
        hashes = np.load(segment / HASHES, allow_pickle=False)
    except (OSError, EOFError, ValueError):  # not there, or cut short by a full disk
        return None
    whole = len(hashes) and values.ndim == 2 and len(values) == len(hashes)
    return (hashes, values) if whole else None


def describe(cache: Cache) -> list[tuple[str, str, int]]:
    """(what, recipe in words, bytes) of each store, largest first, for people to look at."""
    sizes: dict[tuple[str, str], int] = {}
    for entry in cache.entries():
        words = ""
        recipe = entry.path.parent / "recipe.json"
        with suppress(OSError, ValueError, KeyError, TypeError):  # only words for people
            content = json.loads(recipe.read_text(encoding="utf-8"))
            words = f"{content['backbone']} at {content['size']} px, {content['engine']}"
        sizes[entry.what, words] = sizes.get((entry.what, words), 0) + entry.size
    return sorted(((*key, size) for key, size in sizes.items()), key=lambda row: -row[2])
