"""What the first bytes of a file say of its values and pages, before anything is decoded."""

from __future__ import annotations

import mmap
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from medgraft.data.listing import content_hash, file_hash
from medgraft.data.pixels import tiff
from medgraft.data.pixels.netpbm import Netpbm

PLAIN_KIND = "uint8"
IN_MEMORY = 16 << 20  # bytes of a file that is read in one go; of larger ones what is looked at
LISTED = 64  # pages whose sizes are looked at


@dataclass(frozen=True, slots=True)
class StoredHeader:
    """What one file stores that is more than one picture of eight bits.

    kind : the type of its values, such as uint16. pages : how many it has. odd : whether the first
    is a smaller copy of another, or not of their size.
    """

    kind: str = PLAIN_KIND
    pages: int = 1
    odd: bool = False


Look = TypeVar("Look")


def hash_and_look(path: str | Path, look: Callable[[bytes | mmap.mmap], Look]) -> tuple[str, Look]:
    """The hash of a file's bytes, and what a function says of them.

    Raises
    ------
    OSError
        It cannot be read.
    """
    with Path(path).open("rb", buffering=0) as file:
        if os.fstat(file.fileno()).st_size <= IN_MEMORY:
            content = file.read()
            return content_hash(content), look(content)
        name = file_hash(file)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            return name, look(mapped)


def sniff(data: bytes | mmap.mmap) -> StoredHeader | None:
    """What the bytes of a file store, None where that is one picture of eight bits, or nothing.

    Examples
    --------
    >>> sniff(b"P5 2 1 4095 " + bytes(4)).kind
    'uint16'
    >>> sniff(b"P5 2 1 255 " + bytes(2)) is None
    True
    """
    start = data[:4]
    if start == b"\x89PNG":
        return StoredHeader("uint16") if data[24:25] == b"\x10" else None
    if start in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _sniff_tiff(data)
    if start == b"GIF8":
        frames = gif_frames(data)
        return StoredHeader(PLAIN_KIND, frames) if frames > 1 else None
    if start[:1] == b"P" and (netpbm := Netpbm.of(data[:4096])):
        return StoredHeader("uint16") if netpbm.deep else None
    return None


def gif_frames(data: bytes | mmap.mmap) -> int:
    """How many pictures a GIF has, as far as its blocks can be followed."""
    count, at = 0, 13 + _colours(data[10:11])
    while at < len(data):
        kind = data[at : at + 1]
        if kind == b"\x2c":  # a picture: its place and size, its colours, the first code
            count += 1
            at += 11 + _colours(data[at + 9 : at + 10])
        elif kind == b"\x21":  # an extension, and what it is called
            at += 2
        else:
            break
        while at < len(data) and data[at]:
            at += 1 + data[at]
        at += 1
    return count


def _colours(packed: bytes) -> int:
    """The bytes of the table of colours that follows, by the flags before it."""
    return 3 << ((packed[0] & 7) + 1) if packed and packed[0] & 0x80 else 0


def _sniff_tiff(data: bytes | mmap.mmap) -> StoredHeader | None:
    first = next(tiff.pages(data), None)
    if first is None:
        return None
    kind = first.dtype if first.deep else PLAIN_KIND
    sizes = [(page.height, page.width) for page in islice(tiff.pages(data), LISTED)]
    if len(sizes) == 1:
        return StoredHeader(kind) if first.deep else None
    count = len(sizes) if len(sizes) < LISTED else sum(1 for _ in tiff.pages(data))
    return StoredHeader(kind, count, first.reduced or sizes[0] != max(sizes))


def sniff_array(path: str, member: str) -> StoredHeader | None:
    """The same of an array in an `.npz`, which is of one type; None where it cannot be read."""
    kind = _array_kind(path, member, Path(path).stat().st_mtime_ns)
    return None if kind in ("", PLAIN_KIND, "bool") else StoredHeader(kind)


@lru_cache(maxsize=16)
def _array_kind(path: str, member: str, changed: int) -> str:
    reader: dict[tuple[int, int], Any] = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{member}.npy") as file:
            _, _, dtype = reader[np.lib.format.read_magic(file)](file)
    except Exception:  # noqa: BLE001 (what is wrong with it is said when it is read)
        return ""
    return str(dtype.newbyteorder("="))
