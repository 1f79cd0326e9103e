"""The bytes of an image file to 8-bit pixels, format by format.

JPEG goes through libjpeg-turbo (`simplejpeg`), which can decode at a fraction of the size and
counts every corruption as an error; PNG, TIFF, BMP, WebP, GIF and the JPEGs that it refuses
(CMYK, rare subsamplings) go through Pillow; binary PGM and PPM are read here, because Pillow
reads them pixel by pixel in Python. Errors of the codecs come out as they are:
`decode.py` is the door that makes one `DecodeError` of them all.

Sizes are read from headers and refused before anything is decoded. Pillow's own bomb check is
global state and warns instead of failing, so its plug-ins are called directly, each by the magic
number of its format; what could run other programs (EPS) is not among them.
"""

from __future__ import annotations

import io
import re
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from medgraft.data.headers import (
    MAX_PIXELS,
    MAX_PIXELS_PILLOW,
    NETPBM,
    SAVE_AGAIN,
    check_size,
    refuse_bomb,
)
from medgraft.data.orientation import TURNED, turn
from medgraft.errors import DecodeError
from medgraft.types import Pixels

MAX_SCANS = 100  # progressive JPEGs have about 10; each further one costs a walk over all blocks
MAX_SEGMENTS = 10_000

KINDS = "JPEG, PNG, TIFF, BMP, WebP, GIF, PGM or PPM"
PNG = b"\x89PNG\r\n\x1a\n"
PLAIN_BYTES = 32 << 20
PLAIN_PIXELS = 16_000_000
PLAIN_SCANNED = 100_000_000  # pixels times scans


@dataclass(frozen=True, eq=False, slots=True)
class Decoded:
    """One decoded image.

    pixels : (height, width) grey or (height, width, 3) RGB, turned upright; perhaps a reduced
        scale of the stored image.
    source_size : (height, width) in pixels as stored, before turning.
    orientation : EXIF 1 to 8, already applied to `pixels`.
    """

    pixels: Pixels
    source_size: tuple[int, int]
    orientation: int = 1


class NotPlain(Exception):  # noqa: N818 (nothing is wrong with the file)
    """It is no JPEG or PNG of the usual kind and size, and only such a one was to be decoded."""


def decode_bytes(
    data: bytes, frame: int | None, at_least: tuple[int, int] | None, only_plain: bool = False
) -> Decoded:
    """Decode one image by the magic number it begins with, whatever its name was.

    Raises
    ------
    NotPlain
        `only_plain`, and what it would cost in time and memory is not known to be little.
    """
    if not data:
        raise DecodeError("the file is empty (0 bytes); restore it, or leave it out")
    if data[:2] == b"\xff\xd8":
        if frame:
            raise DecodeError(f"a JPEG has no frame {frame}; leave the frame out")
        return _decode_jpeg(data, at_least, only_plain)
    if only_plain and not _is_plain_png(data):
        raise NotPlain
    if netpbm := NETPBM.match(data):
        return _decode_netpbm(netpbm, data)
    for magic, reader in _READERS:
        if magic.match(data):
            return _decode_pillow(reader, data, frame)
    raise DecodeError(
        f"it is not an image that is read, whatever its name says ({KINDS}); convert it"
    )


# --------------------------------------------------------------------------- JPEG


class _JpegHeader(NamedTuple):
    height: int
    width: int
    bits: int
    components: int
    process: int  # second byte of the start-of-frame marker: 0xC0 baseline, 0xC2 progressive, …
    orientation: int


_MARKER = re.compile(rb"\xff([^\x00\xff])", re.DOTALL)  # passes fill bytes in linear time
_NOT_FRAMES = (0xC4, 0xC8, 0xCC)  # Huffman tables, reserved, arithmetic conditioning
_LOSSLESS = 0xC3
_HUFFMAN = (0xC0, 0xC1, 0xC2)
_DCT = (*_HUFFMAN, 0xC9, 0xCA)  # sequential and progressive, Huffman and arithmetic


def _decode_jpeg(data: bytes, at_least: tuple[int, int] | None, only_plain: bool) -> Decoded:
    header = _jpeg_header(data)
    check_size(header.height, header.width, MAX_PIXELS)
    if header.bits != 8 or header.process not in (*_DCT, _LOSSLESS):
        raise DecodeError(
            f"a JPEG of {header.bits} bits (process {header.process:#x}) is not read; "
            "save it as a 16-bit PNG"
        )
    scans = data.count(b"\xff\xda")
    if only_plain and not _is_plain_jpeg(header, scans):
        raise NotPlain
    if scans > MAX_SCANS:
        raise DecodeError(f"a JPEG of {scans} scans, more than {MAX_SCANS}; {SAVE_AGAIN}")
    height, width = at_least if at_least and header.process != _LOSSLESS else (0, 0)
    if header.orientation in TURNED:
        height, width = width, height
    pixels = None
    if header.components in (1, 3):
        pixels = _decode_turbo(data, header.components == 1, height, width)
    if pixels is None:
        pixels = _pixels(_opened(JpegImageFile, data, None))
    size = (header.height, header.width)
    return Decoded(turn(pixels, header.orientation), size, header.orientation)


def _is_plain_jpeg(header: _JpegHeader, scans: int) -> bool:
    pixels = header.height * header.width
    usual = header.process in _HUFFMAN and header.components in (1, 3)
    return usual and pixels <= PLAIN_PIXELS and pixels * scans <= PLAIN_SCANNED


def refuse_jpeg_bomb(head: bytes) -> None:
    """Refuse a JPEG of too many pixels by its first bytes, where those hold its size.

    Raises
    ------
    DecodeError
        It has too many.
    """
    try:
        header = _jpeg_header(head)
    except (DecodeError, struct.error):
        return
    check_size(header.height, header.width, MAX_PIXELS)


def _decode_turbo(data: bytes, grey: bool, height: int, width: int) -> Pixels | None:
    """Decode strictly with libjpeg-turbo; None where it has no name for the chroma subsampling."""
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(
            data, "GRAY" if grey else "RGB", min_height=height, min_width=width
        )
    except ValueError as error:
        if "subsampling" in str(error):
            return None
        raise
    return pixels[..., 0] if grey else pixels


def _jpeg_header(data: bytes) -> _JpegHeader:
    """Walk the segments up to the first scan: size and process of the frame, orientation."""
    frame, orientation, at = None, 1, 2
    for _ in range(MAX_SEGMENTS):
        found = _MARKER.search(data, at)
        if found is None:
            break
        marker, at = found[1][0], found.end()
        if marker in (0xD9, 0xDA):  # end of image, start of scan
            break
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # these carry no length
            continue
        (length,) = struct.unpack_from(">H", data, at)
        if 0xC0 <= marker <= 0xCF and marker not in _NOT_FRAMES and frame is None:
            bits, height, width, components = struct.unpack_from(">BHHB", data, at + 2)
            frame = (height, width, bits, components, marker)
        elif marker == 0xE1 and data.startswith(b"Exif\0\0", at + 2):
            orientation = exif_orientation(data[at + 8 : at + length])
        at += length
    if frame is None:
        raise DecodeError(f"the JPEG ends before its picture begins; {SAVE_AGAIN}")
    return _JpegHeader(*frame, orientation)


def exif_orientation(block: bytes) -> int:
    """Read tag 0x0112 of the first directory of an EXIF block (TIFF 6.0, section 2).

    Returns 1 to 8; 1 also where the tag is absent, or the block broken: the picture is not.
    """
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(order + "HH", block, entry)
            if tag == 0x0112:
                form = {3: "H", 4: "I"}.get(kind, "H")
                (value,) = struct.unpack_from(order + form, block, entry + 8)
                return value if 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1


# --------------------------------------------------------------------------- PGM, PPM


def _decode_netpbm(header: re.Match[bytes], data: bytes) -> Decoded:
    """Read binary PGM (P5) and PPM (P6), of one byte a sample or, above 255, two."""
    channels = 3 if header[1] == b"6" else 1
    width, height, largest = (int(header[group]) for group in (2, 3, 4))
    check_size(height, width, MAX_PIXELS)
    kind = np.dtype(np.uint8 if largest < 256 else ">u2")
    samples = np.frombuffer(data, kind, height * width * channels, header.end())
    shape = (height, width) if channels == 1 else (height, width, channels)
    return Decoded(to_8_bit(samples.reshape(shape)), (height, width))


# --------------------------------------------------------------------------- Pillow


_READERS: tuple[tuple[re.Pattern[bytes], Callable[..., ImageFile.ImageFile]], ...] = (
    (re.compile(PNG), PngImageFile),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), TiffImageFile),
    (re.compile(rb"BM"), BmpImageFile),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), WebPImageFile),
    (re.compile(rb"GIF8"), GifImageFile),
)

_UNWARNED = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


def _decode_pillow(
    reader: Callable[..., ImageFile.ImageFile], data: bytes, frame: int | None
) -> Decoded:
    image = _opened(reader, data, frame)
    if isinstance(image, TiffImageFile):  # which Pillow turns by itself while it loads
        tags = image.tag_v2
        orientation = tags.get(0x0112, 1)
        orientation = orientation if orientation in range(1, 9) else 1
        return Decoded(_pixels(image), (tags[257], tags[256]), orientation)
    size = (image.height, image.width)
    pixels = _pixels(image)
    exif = image.info.get("exif", b"")  # in a PNG it may come after the picture
    orientation = exif_orientation(exif.removeprefix(b"Exif\0\0"))
    return Decoded(turn(pixels, orientation), size, orientation)


def _is_plain_png(data: bytes) -> bool:
    if not data.startswith(PNG):
        return False
    width, height = struct.unpack(">II", data[16:24].ljust(8, b"\0"))
    return bool(width * height <= PLAIN_PIXELS)


def _opened(
    reader: Callable[..., ImageFile.ImageFile], data: bytes, frame: int | None
) -> ImageFile.ImageFile:
    """Read the header, go to the frame, check the size; no pixel is decoded yet."""
    # Pillow warns of odd metadata, and `warnings.catch_warnings` is not safe across threads; an
    # entry in the filters that concerns Pillow's own modules alone is.
    if _UNWARNED not in warnings.filters:
        warnings.filterwarnings("ignore", module=r"PIL\.")
    refuse_bomb(io.BytesIO(data), frame)
    image = reader(io.BytesIO(data), "")
    check_size(image.height, image.width, MAX_PIXELS_PILLOW)
    # Its run lengths hold at most 255 pixels in 2 bytes; Pillow would fill the rest in Python.
    if isinstance(image, BmpImageFile) and image.height * image.width > 128 * len(data):
        raise DecodeError(f"the BMP ends long before its picture does; {SAVE_AGAIN}")
    if frame:
        try:
            image.seek(frame)
        except EOFError as error:
            raise DecodeError(f"it has no frame {frame}; frames count from 0") from error
        check_size(image.height, image.width, MAX_PIXELS_PILLOW)
    return image


def _pixels(image: ImageFile.ImageFile) -> Pixels:
    """Decode whatever Pillow calls the image's mode to grey or RGB."""
    image.load()
    if image.mode.startswith("I") or image.mode == "F":
        return to_8_bit(np.asarray(image))
    if image.mode in ("CMYK", "YCbCr", "RGBX", "HSV"):
        return np.asarray(image.convert("RGB"))
    if "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        return _on_black(image)
    if image.mode == "P":
        return _grey_if_grey(np.asarray(image.convert("RGB")))
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))
    if image.mode == "RGB":
        return np.asarray(image)
    raise DecodeError(f"colours stored as {image.mode} are not read; save it as RGB or grey")


def _on_black(image: ImageFile.ImageFile) -> Pixels:
    """Composite on black (Pillow's `a`: colour times alpha), or drop an alpha that says nothing."""
    grey = image.mode in ("1", "L", "LA", "La")
    mode = "LA" if grey else "RGBA"
    straight = image if image.mode == mode else image.convert(mode)
    low, high = straight.getchannel("A").getextrema()
    flat = straight if low == high else straight.convert("La" if grey else "RGBa")
    pixels: Pixels = np.asarray(flat)[..., :-1]
    if grey:
        return np.ascontiguousarray(pixels[..., 0])
    whole = np.ascontiguousarray(pixels)
    return _grey_if_grey(whole) if image.mode in ("P", "PA") else whole


def _grey_if_grey(pixels: Pixels) -> Pixels:
    """One channel of (height, width, 3) where all three are equal everywhere."""
    return pixels[..., 0].copy() if (pixels == pixels[..., :1]).all() else pixels


def to_8_bit(values: NDArray[Any]) -> Pixels:
    """Bring numbers of any kind to 0..255, by the rules that `decode` states.

    Examples
    --------
    >>> to_8_bit(np.array([[0, 4095]], np.uint16)).tolist()
    [[0, 255]]
    >>> to_8_bit(np.array([[-1.0, 0.0, 1.0]])).tolist()
    [[0, 128, 255]]
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == bool:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind in "ui" and values.min() >= 0 and (largest := int(values.max())) < 1 << 16:
        bits = next(bits for bits in (8, 10, 12, 14, 16) if largest < 1 << bits)
        return (values >> (bits - 8)).astype(np.uint8)
    if values.dtype.kind not in "uif":
        raise DecodeError(f"numbers of type {values.dtype} are not pixels; store unsigned integers")
    real: NDArray[Any] = values.astype(np.float64 if values.dtype.itemsize > 4 else np.float32)
    finite = np.isfinite(real)
    if not finite.any():
        raise DecodeError(f"it holds no finite number; {SAVE_AGAIN}")
    low, high = real.min(where=finite, initial=np.inf), real.max(where=finite, initial=-np.inf)
    if low == high:
        return np.zeros(values.shape, np.uint8)
    real[~finite] = low
    largest_part = max(abs(low), abs(high))  # division first: the range itself could overflow
    real /= largest_part
    real -= low / largest_part
    real *= 255 / (high / largest_part - low / largest_part)
    pixels: Pixels = np.rint(real, out=real).astype(np.uint8)
    return pixels
