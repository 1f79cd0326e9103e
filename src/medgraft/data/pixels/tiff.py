"""What a TIFF says of its pages, and the pixels of those with more than eight bits.

Pillow reads most TIFFs; of numbers of more than eight bits it reads colour as its high bytes, and
big-endian packed ones garbled. OpenCV reads those right, but not planes that are stored one after
another, nor where 0 is white. So the directory is read here (TIFF 6.0, section 2), and what a
decoder is given is written anew: one page, not turned, one plane.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from medgraft.errors import DecodeError

MAX_PAGES = 10_000
MAX_ENTRIES = 4096  # of a directory
MAX_VALUES = 1 << 20  # of all pages: places and lengths of strips
BYTES_OF = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}

SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
STRIPS, ORIENTATION, CHANNELS, STRIP_BYTES, PLANAR = 273, 274, 277, 279, 284
TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES, EXTRA, FORMAT = 322, 323, 324, 325, 338, 339
COPIED = (
    WIDTH,
    HEIGHT,
    BITS,
    COMPRESSION,
    266,
    278,
    317,
    TILE_WIDTH,
    TILE_HEIGHT,
    FORMAT,
)  # as they are
LOOKED_AT = {
    *COPIED, SUBFILE, PHOTOMETRIC, STRIPS, ORIENTATION, CHANNELS, STRIP_BYTES, PLANAR, TILES,
    TILE_BYTES, EXTRA,
}  # fmt: skip
PACKED_BY_OPENCV = (1, 5, 8, 32773, 32946)  # none, LZW, deflate, PackBits, old deflate
CMYK = 5
FORMATS = {1: "uint", 2: "int", 3: "float"}

Tags = Mapping[int, tuple[int, ...]]


class Page(NamedTuple):
    """A page by its tags.

    kind : uint, int or float; '' where it is neither. planar : whether each channel is stored by
    itself. reduced : whether the page says that it is a smaller copy of another. claimed : bytes
    that all of its tags together say they have, each as many as the file at most.
    """

    tags: Tags
    height: int
    width: int
    bits: int
    kind: str
    channels: int
    white_is_zero: bool
    planar: bool
    orientation: int
    reduced: bool
    claimed: int = 0

    @property
    def packing(self) -> int:
        """How its pixels are compressed; 1 not at all."""
        return (self.tags.get(COMPRESSION) or (1,))[0]

    @property
    def tiles(self) -> tuple[tuple[int, int], ...]:
        """(height, width) of its tiles, where it has any."""
        tall, wide = self.tags.get(TILE_HEIGHT), self.tags.get(TILE_WIDTH)
        return ((tall[0], wide[0]),) if tall and wide else ()

    @property
    def deep(self) -> bool:
        """Whether its values are more than 8 bits."""
        return self.bits > 8

    @property
    def white(self) -> int | None:
        """The largest value that can be stored, where 0 is white; else None."""
        return (1 << self.bits) - 1 if self.white_is_zero else None

    @property
    def bytes_a_pixel(self) -> int:
        """In memory, at least as many as of three channels of 16 bits."""
        return max(6, self.channels * np.dtype(self.dtype).itemsize)

    @property
    def dtype(self) -> str:
        """The numpy type that its values need, such as uint16."""
        size = next((size for size in (8, 16, 32, 64) if self.bits <= size), 64)
        return f"{self.kind or 'uint'}{max(size, 16) if self.kind == 'float' else size}"


# --------------------------------------------------------------------------- directories


def pages(data: bytes | mmap.mmap) -> Iterator[Page]:
    """The pages in order, as far as their directories can be read."""
    try:
        order, big = {b"II": "<", b"MM": ">"}[data[:2]], data[2:4] in (b"+\0", b"\0+")
        (start,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    except (KeyError, struct.error):
        return
    seen: set[int] = set()
    left = MAX_VALUES
    while start and start not in seen and len(seen) < MAX_PAGES:
        seen.add(start)
        try:
            tags, claimed, start = _directory(data, start, order, big, left)
        except struct.error:
            return
        left -= sum(len(values) for values in tags.values())
        yield _page(tags, claimed)


def _directory(
    data: bytes | mmap.mmap, start: int, order: str, big: bool, left: int
) -> tuple[Tags, int, int]:
    """The whole numbers of one directory by tag, the bytes that all its tags claim, the next one.

    left : how many numbers there may be; the tags of many pages may share a long list.
    """
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, start)
    head, size = (8, 20) if big else (2, 12)
    if count > MAX_ENTRIES:
        raise struct.error(f"a directory of {count} entries")
    tags: dict[int, tuple[int, ...]] = {}
    claimed = 0
    for at in range(start + head, start + head + size * count, size):
        tag, kind, n = struct.unpack_from(order + ("HHQ" if big else "HHI"), data, at)
        claimed += min(n * BYTES_OF.get(kind, 1), len(data))
        letter = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}.get(kind)
        if letter is None or tag not in LOOKED_AT:
            continue
        left -= n
        if left < 0:
            raise struct.error(f"{n} values of tag {tag} are too many")
        form, inside = f"{order}{n}{letter}", size - (12 if big else 8)
        where = at + size - inside
        if struct.calcsize(form) > inside:
            (where,) = struct.unpack_from(order + ("Q" if big else "I"), data, where)
        tags[tag] = struct.unpack_from(form, data, where)
    (following,) = struct.unpack_from(
        order + ("Q" if big else "I"), data, start + head + size * count
    )
    return tags, claimed, following


def _page(tags: Tags, claimed: int) -> Page:
    def first(tag: int, otherwise: int) -> int:
        return (tags.get(tag) or (otherwise,))[0]

    orientation = first(ORIENTATION, 1)
    return Page(
        tags,
        first(HEIGHT, 0),
        first(WIDTH, 0),
        max(tags.get(BITS) or (1,)),
        FORMATS.get(first(FORMAT, 1), ""),
        first(CHANNELS, 1),
        first(PHOTOMETRIC, 1) == 0,
        first(PLANAR, 1) == 2 and first(CHANNELS, 1) > 1,
        orientation if orientation in range(1, 9) else 1,
        bool(first(SUBFILE, 0) & 1),
        claimed,
    )


# --------------------------------------------------------------------------- pixels


def read_deep(data: bytes, page: Page) -> NDArray[Any] | None:
    """The values of a page of more than 8 bits, not turned; None where Pillow is to read them.

    Returns
    -------
    (height, width) or (height, width, 3 or 4), RGB.

    Raises
    ------
    DecodeError
        The page is damaged, or stores what no decoder here reads right.
    """
    big_endian, photometric = data[:2] == b"MM", (page.tags.get(PHOTOMETRIC) or (1,))[0]
    if photometric == CMYK:
        return None
    if (page.tags.get(COMPRESSION) or (1,))[0] not in PACKED_BY_OPENCV:
        # Of what only Pillow unpacks it swaps the bytes of unsigned 16 bits alone, and loses none.
        if page.channels == 1 and (not big_endian or page.dtype == "uint16"):
            return None
        raise DecodeError(f"its {_words(page)} are packed in a way that is not read; {SAVE}")
    if photometric not in ((0, 1) if page.channels == 1 else (2,)) or page.channels not in (
        1,
        3,
        4,
    ):
        raise DecodeError(f"its {_words(page)} are no colours that are read; {SAVE}")
    if page.kind not in ("uint", "int", "float") or page.dtype == "float16":
        raise DecodeError(f"its {_words(page)} are not read; {SAVE}")
    if page.planar:
        found = [_decoded(_one_plane(data, page, k)) for k in range(page.channels)]
        values = np.stack(found, axis=2)
    else:
        values = _decoded(_one_plane(data, page, None))
        if values.ndim == 3:
            values = values[..., [2, 1, 0, 3][: values.shape[2]]]
    shape = (page.height, page.width) + ((page.channels,) if page.channels > 1 else ())
    if values.shape != shape or values.dtype != page.dtype:
        raise DecodeError(f"its {_words(page)} are not read right; {SAVE}")
    spare = values.dtype.itemsize * 8 - page.bits  # OpenCV shifts 10, 12 and 14 bits up
    return values >> spare if spare else values


SAVE = "save it again as a PNG of 8 or 16 bits"


def _words(page: Page) -> str:
    channels = f" in {page.channels} channels" if page.channels > 1 else ""
    return f"{page.bits}-bit {page.kind or 'unnamed'} numbers{channels}"


def _decoded(data: bytes) -> NDArray[Any]:
    # What it would print of a damaged file is told by the error.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise DecodeError("the image is damaged (its TIFF ends early, or cannot be unpacked)")
    return np.asarray(values)


def _one_plane(data: bytes, page: Page, plane: int | None) -> bytes:
    """The file with a directory of its own for one page, or for one plane of it, and not turned."""
    tags: dict[int, Sequence[int]] = {tag: page.tags[tag] for tag in COPIED if tag in page.tags}
    places = (TILES, TILE_BYTES) if TILES in page.tags else (STRIPS, STRIP_BYTES)
    for tag in places:
        tags[tag] = page.tags.get(tag, ())
    if plane is None:
        for tag in (PHOTOMETRIC, CHANNELS, PLANAR, EXTRA):
            if tag in page.tags:
                tags[tag] = page.tags[tag]
    else:
        tags |= {PHOTOMETRIC: (1,), CHANNELS: (1,)}
        for tag in (BITS, FORMAT):
            if tag in page.tags:
                tags[tag] = page.tags[tag][:1]
        for tag in places:
            each = len(tags[tag]) // page.channels
            tags[tag] = tags[tag][plane * each : (plane + 1) * each]
    tags[PHOTOMETRIC] = (1,) if page.white_is_zero else tags.get(PHOTOMETRIC, (1,))
    return _with_directory(data, tags)


def _with_directory(data: bytes, tags: Mapping[int, Sequence[int]]) -> bytes:
    """The bytes with another directory, of long numbers, and nothing else changed."""
    order = "<" if data[:2] == b"II" else ">"
    start = len(data) + len(data) % 2
    after = start + 2 + 12 * len(tags) + 4
    entries, values = b"", b""
    for tag in sorted(tags):
        numbers = tags[tag]
        entries += struct.pack(order + "HHI", tag, 4, len(numbers))
        packed = struct.pack(f"{order}{len(numbers)}I", *numbers)
        if len(packed) > 4:
            entries += struct.pack(order + "I", after + len(values))
            values += packed
        else:
            entries += packed.ljust(4, b"\0")
    header = data[:2] + struct.pack(order + "HI", 42, start)
    directory = struct.pack(order + "H", len(tags)) + entries + bytes(4) + values
    return b"".join((header, memoryview(data)[8:], bytes(len(data) % 2), directory))
