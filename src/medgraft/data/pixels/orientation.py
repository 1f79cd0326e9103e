"""EXIF's eight orientations: where files note them; arrays shown upright, and put back."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from medgraft.errors import DataError

Array = TypeVar("Array", bound=np.generic)

TURNED = (5, 6, 7, 8)  # those that exchange height and width


def turn(array: NDArray[Array], orientation: int) -> NDArray[Array]:
    """Show a stored `(height, width[, channels])` array upright, by its EXIF orientation 1 to 8."""
    match orientation:
        case 1:
            return array
        case 2:
            turned = array[:, ::-1]
        case 3:
            turned = array[::-1, ::-1]
        case 4:
            turned = array[::-1]
        case 5:
            turned = array.swapaxes(0, 1)
        case 6:
            turned = array.swapaxes(0, 1)[:, ::-1]
        case 7:
            turned = array.swapaxes(0, 1)[::-1, ::-1]
        case 8:
            turned = array.swapaxes(0, 1)[::-1]
        case _:
            raise DataError(f"orientation {orientation} is none of EXIF's 1 to 8")
    return np.ascontiguousarray(turned)


def unturn(array: NDArray[Array], orientation: int) -> NDArray[Array]:
    """Undo `turn`: the two quarter turns undo each other, the other six undo themselves."""
    return turn(array, {6: 8, 8: 6}.get(orientation, orientation))


# --------------------------------------------------------------------------- where files keep it


def exif_orientation(block: bytes) -> int:
    """Read tag 0x0112 of the first directory of an EXIF block (TIFF 6.0, section 2).

    Returns 1 to 8; 1 also where the tag is absent, or the block broken: the picture is not.
    """
    return _in_exif(block) or 1


def _in_exif(block: bytes) -> int:
    """The orientation of an EXIF block; 0 where it has none."""
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return 0
    try:
        (start,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(order + "HH", block, entry)
            if tag == 0x0112:
                form = {3: "H", 4: "I"}.get(kind, "H")
                (value,) = struct.unpack_from(order + form, block, entry + 8)
                return value if 1 <= value <= 8 else 0
    except struct.error:
        return 0
    return 0


EXIF = b"Exif\0\0"
PROFILES = ("exif", "APP1", "app1", "xmp")
_XMP = re.compile(rb"""tiff:Orientation\s*(?:=\s*["']|>)\s*([1-8])\s*["'<]""")


def noted_orientation(info: Mapping[Any, Any]) -> int:
    """The orientation in what Pillow calls an image's `info`, 1 where there is none.

    Looked for in this order: an EXIF block (in a PNG the chunk eXIf), the text chunk `Raw profile
    type exif` (or APP1) that ImageMagick and exiftool write, and XMP.
    """
    profiles = {name: _profile(info.get(f"Raw profile type {name}")) for name in PROFILES}
    for block in (info.get("exif"), *profiles.values()):
        if isinstance(block, bytes) and (found := _in_exif(block.removeprefix(EXIF))):
            return found
    for text in (info.get("XML:com.adobe.xmp"), info.get("xmp"), *profiles.values()):
        packet = text.encode(errors="replace") if isinstance(text, str) else text
        if isinstance(packet, bytes) and (noted := _XMP.search(packet)):
            return int(noted[1])
    return 1


def _profile(text: Any) -> bytes | None:
    """The bytes of a raw profile: a name, a length, and hexadecimal digits in lines."""
    if not isinstance(text, str):
        return None
    words = text.split(maxsplit=2)
    try:
        return bytes.fromhex(words[2]) if len(words) == 3 else None
    except ValueError:
        return None
