"""How a good file breaks: by a number, and the same for the same number."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping

from fuzzing.seeds import PNG

EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000,
            0xFFFFFFFF)  # fmt: skip
HEAD = 160  # bytes in which most headers lie

Change = Callable[[bytearray, random.Random, bytes], bytearray]


def mutated(seeds: Mapping[str, bytes], number: int, seed: int) -> tuple[str, bytes]:
    """The name of a seed and what becomes of it; every seed in its turn."""
    names = sorted(seeds)
    name = names[number % len(names)]
    rng = random.Random(f"{seed} {number}")
    kin = [other for other in names if other.partition("/")[0] == name.partition("/")[0]]
    other = seeds[rng.choice(kin if rng.random() < 0.7 else names)]
    data = seeds[name]
    if data[:4] == b"PK\3\4" and rng.random() < 0.7:
        return name, _in_archive(data, rng)
    if data.startswith(PNG) and rng.random() < 0.3:
        return name, _in_rows(data, rng)
    found = _changed(data, rng, other)
    return name, _with_checksums(found) if rng.random() < 0.8 else found


def _changed(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """One to five changes."""
    broken = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3, 5))):
        broken = rng.choice(CHANGES)(broken, rng, other) if broken else broken
    return bytes(broken)


def _place(data: bytearray, rng: random.Random) -> int:
    """Half of the time within the header."""
    most = len(data) if rng.random() < 0.5 else min(HEAD, len(data))
    return rng.randrange(max(most, 1))


def flip(data: bytearray, rng: random.Random, other: bytes) -> bytearray:
    """Bits of up to eight bytes."""
    for _ in range(rng.randint(1, 8)):
        data[_place(data, rng)] ^= 1 << rng.randrange(8)
    return data


def scribble(data: bytearray, rng: random.Random, other: bytes) -> bytearray:
    """Bytes of any value."""
    for _ in range(rng.randint(1, 4)):
        data[_place(data, rng)] = rng.choice((0, 0xFF, rng.randrange(256)))
    return data


def cut(data: bytearray, rng: random.Random, _: bytes) -> bytearray:
    """The end is missing."""
    return data[: _place(data, rng)]


def drop(data: bytearray, rng: random.Random, _: bytes) -> bytearray:
    """A piece is missing."""
    at = _place(data, rng)
    del data[at : at + rng.choice((1, 2, 4, 16, 64, 300))]
    return data


def repeat(data: bytearray, rng: random.Random, _: bytes) -> bytearray:
    """A piece stands twice, or a thousand times."""
    at, size = _place(data, rng), rng.choice((1, 2, 12, 50, 300))
    data[at:at] = data[at : at + size] * rng.choice((1, 1, 1, 2, 50, 1000))
    return data


def swap(data: bytearray, rng: random.Random, _: bytes) -> bytearray:
    """Two pieces change places."""
    a, b = sorted((_place(data, rng), _place(data, rng)))
    size = min(rng.choice((1, 4, 12, 64)), b - a, len(data) - b)
    data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]
    return data


def lie(data: bytearray, rng: random.Random, _: bytes) -> bytearray:
    """A number of 2 or 4 bytes, in either order, is an extreme one, or a little off."""
    size, order = rng.choice((2, 4)), rng.choice("<>")
    at = min(_place(data, rng), max(len(data) - size, 0))
    form = order + {2: "H", 4: "I"}[size]
    if len(data) < size:
        return data
    (was,) = struct.unpack_from(form, data, at)
    value = rng.choice((*EXTREMES, was + 1, was - 1, was * 2, len(data)))
    struct.pack_into(form, data, at, value % (1 << 8 * size))
    return data


def splice(data: bytearray, rng: random.Random, other: bytes) -> bytearray:
    """The beginning of one file, the end of another."""
    at = _place(data, rng)
    start = at if rng.random() < 0.5 else rng.randrange(len(other))
    return data[:at] + other[start:]


def insert(data: bytearray, rng: random.Random, other: bytes) -> bytearray:
    """Bytes of another file, or of none."""
    at, start = _place(data, rng), rng.randrange(len(other))
    size = rng.choice((1, 4, 30, 400))
    data[at:at] = other[start : start + size] if rng.random() < 0.7 else rng.randbytes(size)
    return data


CHANGES: tuple[Change, ...] = (
    flip, flip, scribble, cut, drop, repeat, swap, lie, lie, lie, splice, insert,
)  # fmt: skip


# --------------------------------------------------------------------------- behind checksums


def _with_checksums(data: bytes) -> bytes:
    """Of a PNG with the checksums that its chunks ask for, so that more than those is tried."""
    if not data.startswith(PNG):
        return data
    fixed, at = bytearray(data), 8
    while at + 12 <= len(fixed):
        (length,) = struct.unpack_from(">I", fixed, at)
        end = at + 8 + length
        if end + 4 > len(fixed):
            break
        struct.pack_into(">I", fixed, end, zlib.crc32(fixed[at + 4 : end]))
        at = end + 4
    return bytes(fixed)


def _in_rows(data: bytes, rng: random.Random) -> bytes:
    """A PNG whose packed bytes are broken before they are packed, or whose packing is of others."""
    at = data.index(b"IDAT")
    (length,) = struct.unpack_from(">I", data, at - 4)
    rows = zlib.decompress(data[at + 4 : at + 4 + length])
    broken = zlib.compress(_changed(rows, rng, rows), rng.randrange(10))
    changed = data[: at - 4] + struct.pack(">I", len(broken)) + b"IDAT" + broken
    return _with_checksums(changed + bytes(4) + data[at + 8 + length :])


def _in_archive(data: bytes, rng: random.Random) -> bytes:
    """An `.npz` of which an array is broken, and the archive is not; or a name is another."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(buffer, "w") as made:
        names = archive.namelist()
        chosen = rng.choice(names)
        for name in names:
            content = archive.read(name)
            if name == chosen:
                broken = _changed(content, rng, archive.read(rng.choice(names)))
                content = content[:6] + broken[6:] if rng.random() < 0.7 else broken
                name = name if rng.random() < 0.9 else rng.choice(names)
            if name not in made.namelist():
                made.writestr(name, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
