"""JPEGs that every viewer shows, though libjpeg warns of them: told from those that lost something.

A decoder that warns has gone on by guessing. What it warned of may lie beside the picture: bytes
between its parts or behind its last one, no end marker, a revision number. Then the file without it
decodes without a warning, and the picture is whole. Everything else stays damaged.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

SOI, EOI, SOS = b"\xff\xd8", b"\xff\xd9", 0xDA
_EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker 0x([0-9a-f]{2})")
_MARKER = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)
_ENDS = re.compile(rb"\xff\xd9")
MAX_SEGMENTS = 10_000


def repaired(data: bytes, warning: str) -> Iterator[tuple[bytes, str]]:
    """What the file would be without what libjpeg warned of, and that in words.

    Each is to be decoded strictly; a `warning` of damage to the picture gives none. The first that
    decodes is the picture.
    """
    tidy, stray = _without_stray(data)
    notes = [f"{stray} stray bytes between its parts"] if stray else []
    scan = tidy.rfind(b"\xff\xda")
    revised = re.sub(rb"(\xff\xe0..JFIF\0)[^\x01]", b"\\1\x01", tidy[:scan], flags=re.DOTALL)
    if revised != tidy[:scan]:
        tidy = revised + tidy[scan:]
        notes.append("an unknown JFIF revision")
    if notes:
        yield tidy, " and ".join(notes)
    left = _EXTRANEOUS.search(warning)
    if left and left[2] == "d9":
        end = _ENDS.search(tidy, scan)
        count = int(left[1])
        if end and end.start() - count > scan:
            shorter = tidy[: end.start() - count] + EOI
            yield shorter, " and ".join([*notes, f"{count} stray bytes behind its picture"])
    if "Premature end" in warning and _one_scan(tidy) and not _ENDS.search(tidy, scan):
        yield tidy + EOI, " and ".join([*notes, "no end marker"])


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, start, end) of every part up to the first scan's header, which is the last."""
    at = 2
    for _ in range(MAX_SEGMENTS):
        found = _MARKER.search(data, at)
        if found is None:
            return
        marker, at = found[1][0], found.end()
        if marker == 0x01 or 0xD0 <= marker <= 0xD9:
            yield marker, at - 2, at
            continue
        if at + 2 > len(data):
            return
        (length,) = struct.unpack_from(">H", data, at)
        yield marker, at - 2, at + length
        at += length
        if marker == SOS:
            return


def _without_stray(data: bytes) -> tuple[bytes, int]:
    """The file with nothing between the parts of its header, and how many bytes that were."""
    parts, at, stray = [SOI], 2, 0
    for _, start, end in _segments(data):
        stray += start - at - data.count(b"\xff", at, start)  # fill bytes are no stray ones
        parts.append(data[start:end])
        at = end
    return b"".join((*parts, data[at:])), stray


def _one_scan(data: bytes) -> bool:
    """Whether all of a sequential JPEG's picture is in one scan, so that it is there or not."""
    frame = [data[start:end] for marker, start, end in _segments(data) if marker in (0xC0, 0xC1)]
    scans = [data[start:end] for marker, start, end in _segments(data) if marker == SOS]
    whole = len(frame) == len(scans) == 1 and len(frame[0]) > 9 and len(scans[0]) > 4
    return whole and frame[0][9] == scans[0][4] and data.count(b"\xff\xda") == 1
