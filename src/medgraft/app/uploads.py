"""Dropped files, copied into the home's `data/`: counted, streamed, and never beside it.

The page sends them in batches. A batch is the length of its list as 4 bytes (big end first), the
list as JSON, ``[[path, bytes], …]``, and the files' bytes one after another. So 50,000 files are a
few hundred requests, and none is in memory whole.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from medgraft.app.folders import TABLES
from medgraft.app.home import Home, NotFoundError, free_name
from medgraft.errors import DataError
from medgraft.files import explained

FILES = 100_000  # of one drop
LIST_BYTES = 4 << 20  # of a batch's list
KEPT_FREE = 1 << 30  # bytes that a drop leaves on the disk
DEEP = 32  # folders in folders
INSTEAD = "choose the folder instead (it is then read where it lies, and nothing is copied)"


class Uploads:
    """Drops that are under way."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._open: dict[str, _Drop] = {}

    def begin(self, name: str, files: int, size: int) -> str:
        """Open a drop, and give its id.

        Raises
        ------
        DataError
            It has too many files, or the disk has no room for it.
        """
        if not 0 < files <= FILES:
            raise DataError(f"{files:,} files were dropped, and 1 to {FILES:,} can be; {INSTEAD}")
        free = shutil.disk_usage(self.home.data).free - KEPT_FREE
        if size > free:
            raise DataError(
                f"{size / 1e9:.1f} GB were dropped, and {max(0, free) / 1e9:.1f} GB are free in "
                f"{self.home.data}; free some space, or {INSTEAD}"
            )
        id = secrets.token_hex(8)
        folder = self.home.data / f".{id}"
        with explained(folder):
            folder.mkdir(mode=0o700)
        self._open[id] = _Drop(folder, name, free, files)
        return id

    async def take(self, id: str, body: AsyncIterator[bytes]) -> int:
        """Write the files of a batch; how many the drop has so far.

        Raises
        ------
        NotFoundError
            There is no such drop.
        DataError
            A path leads elsewhere or is there already, there are too many bytes, or the batch ends
            too early. The drop stays open.
        """
        drop = self._drop(id)
        await drop.take(body)
        return drop.files

    def end(self, id: str) -> str:
        """Give the drop its name; where it lies, or the one table that it is.

        Raises
        ------
        NotFoundError
            There is no such drop.
        DataError
            Fewer files lie there than were dropped: what is left of them is not what was meant.
        """
        drop = self._drop(id)
        here = sum(path.is_file() for path in drop.folder.rglob("*"))
        if here != drop.expected:
            raise DataError(
                f"{here:,} of {drop.expected:,} dropped files arrived; drop them once more"
            )
        inside = list(drop.folder.iterdir())
        whole = inside[0] if len(inside) == 1 and inside[0].is_dir() else drop.folder
        name = whole.name if whole is not drop.folder else drop.name
        path = self.home.data / free_name(self.home.data, name)
        with explained(path):
            whole.rename(path)
        self.forget(id)
        only = list(path.iterdir())
        alone = len(only) == 1 and only[0].suffix.lower() in TABLES
        return str(only[0] if alone else path)

    def forget(self, id: str) -> None:
        """Remove what a drop has left; nothing where there is none."""
        if (drop := self._open.pop(id, None)) is not None:
            shutil.rmtree(drop.folder, ignore_errors=True)

    def _drop(self, id: str) -> _Drop:
        if (found := self._open.get(id)) is None:
            raise NotFoundError("that drop is over (the server may have been started anew)")
        return found


class _Drop:
    def __init__(self, folder: Path, name: str, free: int, expected: int) -> None:
        self.folder, self.name, self.left, self.expected = folder, name, free, expected
        self.files = 0

    async def take(self, body: AsyncIterator[bytes]) -> None:
        stream = _Stream(body)
        length = int.from_bytes(await stream.exactly(4), "big")
        if length > LIST_BYTES:
            raise DataError(f"a list of {length:,} bytes; a batch's may have {LIST_BYTES:,}")
        for path, size in _entries(await stream.exactly(length)):
            self.files += 1
            self.left -= size
            if self.files > FILES or self.left < 0:
                raise DataError(f"more files or bytes than fit; {INSTEAD}")
            await self._write(path, size, stream)

    async def _write(self, path: str, size: int, stream: _Stream) -> None:
        target = self.folder.joinpath(*parts_of(path))
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                async for piece in stream.pieces(size):
                    file.write(piece)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise DataError(f"two of the dropped files are called {path!r}; {INSTEAD}") from error
        except OSError as error:
            with explained(target):
                raise error
        except BaseException:
            with suppress(OSError):
                target.unlink()
            raise


def parts_of(path: str) -> list[str]:
    """The names in a path that a browser sent.

    Raises
    ------
    DataError
        It could lead out of the folder that it is to lie in.

    Examples
    --------
    >>> parts_of("cells/a/1.png")
    ['cells', 'a', '1.png']
    """
    parts = path.split("/")
    forbidden = "\\:" if os.name == "nt" else "\\"
    for part in parts:
        odd = any(ord(letter) < 32 or letter in forbidden for letter in part)
        if part in ("", ".", "..") or odd or len(part.encode("utf-8", "replace")) > 255:
            raise DataError(f"{path[:200]!r} is no path of a dropped file; rename it, or {INSTEAD}")
    if len(parts) > DEEP:
        raise DataError(f"{path[:200]!r} lies more than {DEEP} folders deep; {INSTEAD}")
    return parts


def _entries(content: bytes) -> list[tuple[str, int]]:
    try:
        rows: Any = json.loads(content)
        found = [(str(path), int(size)) for path, size in rows]
    except (ValueError, TypeError) as error:
        raise DataError(f"a batch's list is garbled ({error}); drop the files again") from error
    if not isinstance(rows, list) or any(size < 0 for _, size in found):
        raise DataError("a batch's list has to be of paths and bytes; drop the files again")
    return found


class _Stream:
    """A request's body, of which so many bytes are taken at a time."""

    def __init__(self, body: AsyncIterator[bytes]) -> None:
        self._body, self._rest = body, b""

    async def pieces(self, size: int) -> AsyncIterator[bytes]:
        """The next bytes, as they come.

        Raises
        ------
        DataError
            The body ends before.
        """
        while size:
            if not self._rest:
                self._rest = await anext(self._body, b"")
                if not self._rest:
                    raise DataError("a batch ended too early; drop the files again")
            piece, self._rest = self._rest[:size], self._rest[size:]
            size -= len(piece)
            yield piece

    async def exactly(self, size: int) -> bytes:
        return b"".join([piece async for piece in self.pieces(size)])
