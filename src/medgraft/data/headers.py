"""What a file says of itself before its pixels: enough to refuse a bomb without reading the rest.

A few bytes may claim gigabytes. Most decoders allocate what the header claims, some of it before
anybody can ask for the size (WebP's animation decoder, Pillow's reader of TIFF directories), so the
size is read here first, from the first megabyte or, of a TIFF, from where its directories lie.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from medgraft.errors import DecodeError

HEAD_BYTES = 1 << 20
MAX_PIXELS = 100_000_000  # of a JPEG; with this, no image takes more than about 1 GB to decode
MAX_PIXELS_PILLOW = MAX_PIXELS // 2  # which takes 4 bytes a pixel, and is copied from
MAX_DIRECTORIES = 10_000  # pages of a TIFF
SPARE_BYTES = 64 << 20  # that tags of a TIFF may claim beyond the size of their file

SAVE_AGAIN = "save it again as PNG or JPEG, or leave it out"

NETPBM = re.compile(rb"P([56])" + 3 * rb"(?:\s|#[^\n]*\n)+(\d{1,9})" + rb"\s")
_WEBP = re.compile(rb"RIFF....WEBP", re.DOTALL)
_TIFF = re.compile(rb"II[*+]\0|MM\0[*+]")


def check_size(height: int, width: int, most: int) -> None:
    """Refuse what has no pixel, and what has too many.

    Raises
    ------
    DecodeError
        Either is the case.
    """
    if height < 1 or width < 1:
        raise DecodeError(f"its header says {width} x {height} pixels; {SAVE_AGAIN}")
    if height * width > most:
        raise DecodeError(
            f"{width} x {height} pixels are more than the {most // 10**6} megapixels that are"
            " decoded; store a smaller image"
        )


def refuse_bomb(file: BinaryIO, frame: int | None = None) -> None:
    """Refuse an image by its header; JPEG, whose header may be anywhere, is refused by its decoder.

    A header that cannot be made out is left to the decoder, who says what is wrong.

    file : positioned anywhere, and left anywhere.

    Raises
    ------
    DecodeError
        It claims more pixels, or bytes, than are read.
    """
    file.seek(0)
    head = file.read(64)
    try:
        if _TIFF.match(head):
            _refuse_tiff(file, frame or 0)
        elif size := _size(head):
            check_size(*size, MAX_PIXELS_PILLOW)
    except struct.error:
        return


def _size(head: bytes) -> tuple[int, int] | None:
    """(height, width) by the first bytes of a PNG, GIF, BMP or WebP."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        width, height = struct.unpack_from(">II", head, 16)
    elif head.startswith(b"GIF8"):
        width, height = struct.unpack_from("<HH", head, 6)
    elif head.startswith(b"BM"):
        (length,) = struct.unpack_from("<I", head, 14)
        width, height = struct.unpack_from("<HH" if length == 12 else "<ii", head, 18)
        height = abs(height)  # negative where the first row is the top one
    elif _WEBP.match(head):
        return _webp_size(head)
    else:
        return None
    return height, width


def _webp_size(head: bytes) -> tuple[int, int] | None:
    """By the first chunk (RFC 9649): VP8X holds the canvas, VP8 and VP8L the only frame."""
    chunk = head[12:16]
    if chunk == b"VP8X":
        low = struct.unpack_from("<HBHB", head, 24)
        return 1 + low[2] + (low[3] << 16), 1 + low[0] + (low[1] << 16)
    if chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", head, 21)
        return 1 + (bits >> 14 & 0x3FFF), 1 + (bits & 0x3FFF)
    if chunk == b"VP8 ":
        width, height = struct.unpack_from("<HH", head, 26)
        return height & 0x3FFF, width & 0x3FFF
    return None


# --------------------------------------------------------------------------- TIFF


@dataclass(frozen=True, slots=True)
class _Form:
    """How a kind of TIFF counts: its offsets (H, I, Q of `struct`) and where things lie."""

    order: str
    count: str
    offset: str
    start: int

    @property
    def entry(self) -> struct.Struct:
        """Tag, type, count; the value, or where it lies, follows and is left out."""
        return struct.Struct(f"{self.order}HH{self.offset}{struct.calcsize(self.offset)}x")


_BYTES_OF = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_WIDTH, _HEIGHT, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 322, 323


def _refuse_tiff(file: BinaryIO, frame: int) -> None:
    """Refuse a page by its directory (TIFF 6.0, section 2; BigTIFF alike with wider numbers)."""
    size = file.seek(0, 2)
    for number, (claimed, tags) in enumerate(_directories(file, size)):
        if claimed > size + SPARE_BYTES:
            raise DecodeError(
                f"its tags claim {claimed:,} bytes, and the file has {size:,}; {SAVE_AGAIN}"
            )
        if number == frame:
            if _HEIGHT in tags and _WIDTH in tags:
                check_size(tags[_HEIGHT], tags[_WIDTH], MAX_PIXELS_PILLOW)
            check_size(tags.get(_TILE_HEIGHT, 1), tags.get(_TILE_WIDTH, 1), MAX_PIXELS_PILLOW)
            return


def _directories(file: BinaryIO, size: int) -> Iterator[tuple[int, dict[int, int]]]:
    """Bytes that the tags of each page claim, and its sides; a ring of pages ends."""
    file.seek(0)
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    big = b"+" in head[:4]
    form = _Form(order, "Q", "Q", 8) if big else _Form(order, "H", "I", 4)
    (at,) = struct.unpack_from(order + form.offset, head, form.start)
    seen: set[int] = set()
    while at and at not in seen and len(seen) < MAX_DIRECTORIES:
        seen.add(at)
        (n,) = _read(file, at, order + form.count)
        if n > 0xFFFF:
            raise DecodeError(f"a page of {n:,} tags; {SAVE_AGAIN}")
        entry = form.entry
        block = file.read(n * entry.size)
        claimed, sides = 0, {}
        for k in range(len(block) // entry.size):
            tag, kind, count = entry.unpack_from(block, k * entry.size)
            claimed += min(count * _BYTES_OF.get(kind, 1), size)
            if tag in (_WIDTH, _HEIGHT, _TILE_WIDTH, _TILE_HEIGHT):
                value = (k + 1) * entry.size - struct.calcsize(form.offset)
                number = order + ("H" if kind == 3 else "I")
                (sides[tag],) = struct.unpack_from(number, block, value)
        yield claimed, sides
        (at,) = _read(file, file.tell(), order + form.offset)


def _read(file: BinaryIO, at: int, form: str) -> tuple[int, ...]:
    file.seek(at)
    return struct.unpack(form, file.read(struct.calcsize(form)))
