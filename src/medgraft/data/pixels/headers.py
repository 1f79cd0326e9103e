"""What a file says of itself before its pixels: enough to refuse a bomb without reading the rest.

A few bytes may claim gigabytes. Most decoders allocate what the header claims, some of it before
anybody can ask for the size (WebP's animation decoder, Pillow's reader of TIFF directories), so the
size is read here first, from the first megabyte or, of a TIFF, from where its directories lie.
"""

from __future__ import annotations

import mmap
import re
import struct
from contextlib import suppress
from itertools import islice

from medgraft.data.pixels import tiff
from medgraft.data.pixels.netpbm import Netpbm
from medgraft.errors import DecodeError, TooManyPixelsError

HEAD_BYTES = 1 << 20
MAX_PIXELS = 100_000_000  # of a JPEG; with this, no image takes more than about 1 GB to decode
MAX_PIXELS_PILLOW = MAX_PIXELS // 2  # which takes 4 bytes a pixel, and is copied from
SPARE_BYTES = 64 << 20  # that tags of a TIFF may claim beyond the size of their file
BLOCK = 64  # pixels that a JPEG codes together
# How many times smaller than its pixels a TIFF may be: by LZW, deflate (two names), PackBits.
MOST_PACKED = {5: 4000, 8: 1100, 32946: 1100, 32773: 70}

SAVE_AGAIN = "save it again as PNG or JPEG, or leave it out"
COPY_AGAIN = "copy it again from where it came from, or leave it out"

_WEBP = re.compile(rb"RIFF....WEBP", re.DOTALL)
_TIFF = re.compile(rb"II[*+]\0|MM\0[*+]")


def check_size(height: int, width: int, most: int) -> None:
    """Refuse what has no pixel, and what has too many.

    Raises
    ------
    DecodeError
        It has none.
    TooManyPixelsError
        It has more than `most`.
    """
    if height < 1 or width < 1:
        raise DecodeError(f"its header says {width} x {height} pixels; {SAVE_AGAIN}")
    if height * width > most:
        raise TooManyPixelsError(
            f"{width} x {height} pixels are more than the {most // 10**6} megapixels that are"
            " decoded; store a smaller image"
        )


def refuse_bomb(head: bytes) -> None:
    """Refuse a PNG, GIF, BMP, WebP, PBM, PGM or PPM by its first bytes.

    A header that cannot be made out is left to the decoder, who says what is wrong.

    Raises
    ------
    DecodeError
        It claims more pixels than are read.
    """
    if netpbm := Netpbm.of(head):
        check_size(netpbm.height, netpbm.width, MAX_PIXELS)
    with suppress(struct.error):
        if size := _size(head):
            # Colours of 16 bits take 8 bytes a pixel, and are decoded by OpenCV as well.
            deep = head[:4] == b"\x89PNG" and head[24:25] == b"\x10" and head[25:26] != b"\0"
            check_size(*size, MAX_PIXELS_PILLOW // 2 if deep else MAX_PIXELS_PILLOW)


def refuse_short_jpeg(height: int, width: int, size: int) -> None:
    """Refuse a Huffman-coded JPEG of fewer bytes than its blocks need, one bit each at least.

    A progressive one would take 2 bytes for each value of its blocks before that shows.

    Raises
    ------
    DecodeError
        It has fewer.
    """
    if height * width > BLOCK * 8 * size:
        raise DecodeError(f"the JPEG ends long before its picture does; {SAVE_AGAIN}")


def png_bytes(data: bytes) -> int | None:
    """Bytes of a PNG's rows when they are unpacked; None where its header is cut."""
    if len(data) < 26:
        return None
    width, height, bits, colour = struct.unpack_from(">IIBB", data, 16)
    channels = {2: 3, 4: 2, 6: 4}.get(colour, 1)
    return int(height * (1 + -(-width * channels * bits // 8)))


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


def begins_tiff(head: bytes) -> bool:
    """Whether a file that begins so is a TIFF, whose headers may lie anywhere."""
    return _TIFF.match(head) is not None


def refuse_tiff_bomb(data: bytes | mmap.mmap, frame: int | None = None) -> None:
    """Refuse a page of a TIFF by its directory, and those before it.

    Raises
    ------
    DecodeError
        It claims more pixels or bytes than are read, or than the file can hold.
    """
    frame = max(frame or 0, 0)
    for number, page in enumerate(islice(tiff.pages(data), frame + 1)):
        if page.claimed > len(data) + SPARE_BYTES:  # Pillow copies what each of them claims
            raise DecodeError(
                f"its tags claim {page.claimed:,} bytes, and the file has {len(data):,}; "
                f"{SAVE_AGAIN}"
            )
        if number == frame and page.height and page.width:
            check_size(page.height, page.width, MAX_PIXELS_PILLOW)
            for height, width in page.tiles:
                check_size(height, width, MAX_PIXELS_PILLOW)
            unpacked = page.height * page.width * page.channels * page.bits // 8
            if page.packing in MOST_PACKED and unpacked > MOST_PACKED[page.packing] * len(data):
                raise DecodeError(f"the TIFF ends long before its picture does; {SAVE_AGAIN}")
