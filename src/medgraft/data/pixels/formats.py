"""The bytes of an image file to what it stores, format by format; `values.py` makes 8 bits of it.

JPEG goes through libjpeg-turbo (`simplejpeg`), which can decode at a fraction of the size and
counts every corruption as an error; PNG, TIFF, BMP, WebP, GIF and the JPEGs that it refuses
(CMYK, rare subsamplings) go through Pillow; what of more than 8 bits it gets wrong through OpenCV
(`tiff.py`); PGM and PPM are read in `netpbm.py`. Errors of the codecs come out as they are:
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
from itertools import islice
from typing import Any, NamedTuple, NoReturn

import cv2
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

from medgraft.data.pixels import tiff
from medgraft.data.pixels.headers import (
    MAX_PIXELS,
    MAX_PIXELS_PILLOW,
    SAVE_AGAIN,
    check_size,
    png_bytes,
    refuse_bomb,
    refuse_short_jpeg,
    refuse_tiff_bomb,
)
from medgraft.data.pixels.jpeg_repair import repaired
from medgraft.data.pixels.netpbm import Netpbm
from medgraft.data.pixels.orientation import TURNED, exif_orientation, noted_orientation, turn
from medgraft.data.pixels.values import Stored
from medgraft.errors import DecodeError, UnknownKindError
from medgraft.types import PLAIN, PixelRule, Pixels

MAX_SCANS = 100  # progressive JPEGs have about 10; each further one costs a walk over all blocks
MAX_SEGMENTS = 10_000

KINDS = "JPEG, PNG, TIFF, BMP, WebP, GIF, PBM, PGM, PPM or DICOM"
PNG = b"\x89PNG\r\n\x1a\n"
PLAIN_BYTES = 32 << 20
PLAIN_PIXELS = 16_000_000
PLAIN_SCANNED = 100_000_000  # pixels times scans
PLAIN_UNPACKED = 64_000_000  # bytes of the pixels of a PNG
PLAIN_BESIDE = 1 << 20  # bytes of a PNG that are no pixels
NO_FRAME = "it has no frame {} (page {}); frames count from 0, --page from 1"


@dataclass(frozen=True, eq=False, slots=True)
class Decoded:
    """One decoded image.

    pixels : (height, width) grey or (height, width, 3) RGB, turned upright; perhaps a reduced
        scale of the stored image.
    source_size : (height, width) in pixels as stored, before turning.
    orientation : EXIF 1 to 8, already applied to `pixels`.
    remark : what the person who owns the image should know of how it was read, or ''.
    """

    pixels: Pixels
    source_size: tuple[int, int]
    orientation: int = 1
    remark: str = ""

    @classmethod
    def of(cls, stored: Stored, rule: PixelRule) -> Decoded:
        """The picture of stored values under a rule."""
        pixels, remark = stored.shown(rule)
        return cls(np.ascontiguousarray(pixels), stored.source_size, stored.orientation, remark)


class NotPlain(Exception):  # noqa: N818 (nothing is wrong with the file)
    """It is no JPEG or PNG of the usual kind and size, and only such a one was to be decoded."""


def decode_bytes(
    data: bytes,
    frame: int | None,
    at_least: tuple[int, int] | None,
    rule: PixelRule = PLAIN,
) -> Decoded:
    """Decode one image by the magic number it begins with, whatever its name was.

    frame : counted from 0; None is the page of the rule, in files that have pages.
    """
    return Decoded.of(read_bytes(data, frame, at_least, rule.page), rule)


def read_bytes(
    data: bytes,
    frame: int | None,
    at_least: tuple[int, int] | None = None,
    page: int | None = None,
    only_plain: bool = False,
) -> Stored:
    """What one image stores, before it is brought to 8 bits.

    page : counted from 1, where no frame is given; of a file that cannot have several it is the
        picture itself.

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
    if netpbm := Netpbm.of(data):
        check_size(netpbm.height, netpbm.width, MAX_PIXELS)
        return Stored(netpbm.values(data), (netpbm.height, netpbm.width))
    for magic, reader in _READERS:
        if magic.match(data):
            if frame is None and page and reader in PAGED:
                frame = page - 1
            return _decode_pillow(reader, data, frame)
    refuse_unknown()


def begins_known(head: bytes) -> bool:
    """Whether a file that begins so is of a kind that may be read."""
    known = head[:2] == b"\xff\xd8" or Netpbm.of(head) or head[128:132] == b"DICM"
    return bool(known) or any(magic.match(head) for magic, _ in _READERS)


def refuse_unknown() -> NoReturn:
    """Say that it is of no kind that is read."""
    raise UnknownKindError(
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


def _decode_jpeg(data: bytes, at_least: tuple[int, int] | None, only_plain: bool) -> Stored:
    header = _jpeg_header(data)
    check_size(header.height, header.width, MAX_PIXELS)
    if header.bits != 8 or header.process not in (*_DCT, _LOSSLESS):
        raise DecodeError(
            f"a JPEG of {header.bits} bits (process {header.process:#x}) is not read; "
            "save it as a 16-bit PNG"
        )
    if header.process in _HUFFMAN:
        refuse_short_jpeg(header.height, header.width, len(data))
    scans = data.count(b"\xff\xda")
    if only_plain and not _is_plain_jpeg(header, scans):
        raise NotPlain
    if scans > MAX_SCANS:
        raise DecodeError(f"a JPEG of {scans} scans, more than {MAX_SCANS}; {SAVE_AGAIN}")
    height, width = at_least if at_least and header.process != _LOSSLESS else (0, 0)
    if header.orientation in TURNED:
        height, width = width, height
    pixels, remark = None, ""
    if header.components in (1, 3):
        pixels, remark = _decode_turbo(data, header.components == 1, height, width)
    if pixels is None:
        pixels = np.asarray(_pixels(_opened(JpegImageFile, data, None)))
    size = (header.height, header.width)
    return Stored(turn(pixels, header.orientation), size, header.orientation, remark=remark)


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
    if head[:2] != b"\xff\xd8":
        return
    try:
        header = _jpeg_header(head)
    except (DecodeError, struct.error):
        return
    check_size(header.height, header.width, MAX_PIXELS)


def _decode_turbo(data: bytes, grey: bool, height: int, width: int) -> tuple[Pixels | None, str]:
    """Decode strictly with libjpeg-turbo, and say what was beside the picture, if anything.

    None where it has no name for the chroma subsampling.
    """

    def strictly(data: bytes) -> Pixels:
        pixels: Pixels = simplejpeg.decode_jpeg(
            data, "GRAY" if grey else "RGB", min_height=height, min_width=width
        )
        return pixels[..., 0] if grey else pixels

    try:
        return strictly(data), ""
    except ValueError as error:
        warning = str(error)
        if "subsampling" in warning:
            return None, ""
        for whole, without in repaired(data, warning):
            try:
                return strictly(whole), f"its JPEG has {without}, which were left out"
            except ValueError:
                continue
        raise


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


# --------------------------------------------------------------------------- Pillow


_READERS: tuple[tuple[re.Pattern[bytes], Callable[..., ImageFile.ImageFile]], ...] = (
    (re.compile(PNG), PngImageFile),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), TiffImageFile),
    (re.compile(rb"BM"), BmpImageFile),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), WebPImageFile),
    (re.compile(rb"GIF8"), GifImageFile),
)

_UNWARNED = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


PAGED = (TiffImageFile, GifImageFile, WebPImageFile)


def _decode_pillow(
    reader: Callable[..., ImageFile.ImageFile], data: bytes, frame: int | None
) -> Stored:
    if reader is TiffImageFile:
        return _decode_tiff(data, frame)
    image = _opened(reader, data, frame)
    size = (image.height, image.width)
    values = _colour_of_16_bits(data, image) if _is_deep_png(data) else _pixels(image)
    orientation = noted_orientation(image.info)  # in a PNG it may come after the picture
    return Stored(turn(values, orientation), size, orientation)


def _is_deep_png(data: bytes) -> bool:
    """Whether it is a PNG of 16 bits that are no plain grey."""
    return data[:4] == b"\x89PNG" and data[24:25] == b"\x10" and data[25:26] != b"\0"


def _colour_of_16_bits(data: bytes, image: ImageFile.ImageFile) -> NDArray[Any]:
    """(height, width[, 3]) of a PNG, of which Pillow keeps the high bytes; but it finds damage."""
    image.load()
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16:
        raise DecodeError(f"its 16-bit colours are not read; {SAVE_AGAIN}")
    if values.ndim == 3:
        values = _without_alpha(values[..., [2, 1, 0, 3][: values.shape[2]]])
    grey = data[25] & 2 == 0 and values.ndim == 3  # OpenCV makes colours of grey with alpha
    return values[..., 0].copy() if grey else values


def _without_alpha(values: NDArray[Any]) -> NDArray[Any]:
    """(height, width, 4) on black, as `_on_black`; what has no alpha stays."""
    if values.shape[2:] == (4,):
        alpha, values = values[..., 3:], values[..., :3]
        if alpha.min() < alpha.max():
            full = np.iinfo(alpha.dtype).max if alpha.dtype.kind in "ui" else 1
            mixed = values * (alpha / full)
            values = (np.rint(mixed) if full > 1 else mixed).astype(values.dtype)
    return np.ascontiguousarray(values)


def _decode_tiff(data: bytes, frame: int | None) -> Stored:
    refuse_tiff_bomb(data, frame)
    page = next(islice(tiff.pages(data), max(frame or 0, 0), None), None)
    if page is None and frame:
        raise DecodeError(NO_FRAME.format(frame, frame + 1))
    if page is not None and page.deep:
        check_size(page.height, page.width, MAX_PIXELS_PILLOW * 8 // page.bytes_a_pixel)
        values = tiff.read_deep(data, page)
        if values is not None:
            turned = turn(_without_alpha(values), page.orientation)
            size = (page.height, page.width)
            return Stored(turned, size, page.orientation, page.white)
    image = _opened(TiffImageFile, data, frame)
    assert isinstance(image, TiffImageFile)
    tags = image.tag_v2
    orientation = image.getexif().get(0x0112, 1)  # the tag, or what XMP says
    orientation = orientation if orientation in range(1, 9) else 1
    values = _pixels(image)  # which Pillow turns by it while it loads
    white = page.white if page is not None and values.dtype != np.uint8 else None
    return Stored(values, (tags[257], tags[256]), orientation, white)


def _is_plain_png(data: bytes) -> bool:
    if not data.startswith(PNG) or len(data) > PLAIN_BYTES:
        return False
    if (unpacked := png_bytes(data)) is None:  # it ends before it begins, as is soon said
        return True
    return unpacked <= PLAIN_UNPACKED and len(data) <= unpacked + PLAIN_BESIDE


def _opened(
    reader: Callable[..., ImageFile.ImageFile], data: bytes, frame: int | None
) -> ImageFile.ImageFile:
    """Read the header, go to the frame, check the size; no pixel is decoded yet."""
    # Pillow warns of odd metadata, and `warnings.catch_warnings` is not safe across threads; an
    # entry in the filters that concerns Pillow's own modules alone is.
    if _UNWARNED not in warnings.filters:
        warnings.filterwarnings("ignore", module=r"PIL\.")
    refuse_bomb(data)
    image = reader(io.BytesIO(data), "")
    check_size(image.height, image.width, MAX_PIXELS_PILLOW)
    # Its run lengths hold at most 255 pixels in 2 bytes; Pillow would fill the rest in Python.
    if isinstance(image, BmpImageFile) and image.height * image.width > 128 * len(data):
        raise DecodeError(f"the BMP ends long before its picture does; {SAVE_AGAIN}")
    if frame:
        try:
            image.seek(frame)
        except EOFError as error:
            raise DecodeError(NO_FRAME.format(frame, frame + 1)) from error
        check_size(image.height, image.width, MAX_PIXELS_PILLOW)
    return image


def _pixels(image: ImageFile.ImageFile) -> NDArray[Any]:
    """Decode whatever Pillow calls the image's mode: grey or RGB of 8 bits, or other numbers."""
    image.load()
    if image.mode.startswith("I") or image.mode == "F":
        return np.asarray(image)
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


def _grey_if_grey(pixels: NDArray[Any]) -> NDArray[Any]:
    """One channel of (height, width, 3) where all three are equal everywhere."""
    return pixels[..., 0].copy() if (pixels == pixels[..., :1]).all() else pixels
