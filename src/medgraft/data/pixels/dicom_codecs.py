"""From a DICOM data set to the stored values of one frame, by its transfer syntax.

Uncompressed pixels and 8-bit JPEG need nothing further; the other syntaxes need the extra `dicom`:
pylibjpeg-openjpeg (JPEG 2000) and imagecodecs (RLE, JPEG of 12 and 16 bits, lossless JPEG,
JPEG-LS). Sizes are compared with the header before anything is decoded.
Numbers in brackets such as PS3.5 8.1 are sections of the DICOM standard.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgraft.data.pixels.formats import decode_bytes
from medgraft.data.pixels.headers import MAX_PIXELS_PILLOW, check_size
from medgraft.data.pixels.orientation import unturn
from medgraft.errors import DecodeError, MissingExtraError, optional

if TYPE_CHECKING:
    from pydicom import Dataset

Stored = NDArray[np.integer[Any]]

EXTRA = "dicom"
SEND_AGAIN = "export it again, uncompressed, or leave it out"
RLE = "1.2.840.10008.1.2.5"
ENCAPSULATED_RAW = "1.2.840.10008.1.2.1.98"
JPEG = {f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70)}
JPEG_LS = {f"1.2.840.10008.1.2.4.{number}" for number in (80, 81)}
JPEG_2000 = {f"1.2.840.10008.1.2.4.{number}" for number in (90, 91, 201, 202, 203)}
NATIVE = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"}
BIG_ENDIAN = "1.2.840.10008.1.2.2"
READ = {*NATIVE, BIG_ENDIAN, ENCAPSULATED_RAW, RLE, *JPEG, *JPEG_LS, *JPEG_2000}

GREY = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How the pixels of a data set are stored (PS3.3 C.7.6.3); `frames` is 1 where not said."""

    rows: int
    columns: int
    samples: int
    allocated: int
    stored: int
    high_bit: int
    signed: bool
    planar: bool
    photometric: str
    frames: int


def pixel_format(ds: Dataset) -> PixelFormat:
    """Read and check what the header says of the pixels; nothing is decoded.

    Raises
    ------
    DecodeError
        A value is absent, garbled, or of a kind that is not read.
    """
    photometric = str(ds.get("PhotometricInterpretation", "")).strip().upper()
    samples = _number(ds, "SamplesPerPixel", 3 if photometric in COLOUR else 1)
    allocated = _number(ds, "BitsAllocated")
    stored = _number(ds, "BitsStored", allocated)
    found = PixelFormat(
        rows=_number(ds, "Rows"),
        columns=_number(ds, "Columns"),
        samples=samples,
        allocated=allocated,
        stored=stored,
        high_bit=_number(ds, "HighBit", stored - 1),
        signed=_number(ds, "PixelRepresentation", 0) == 1,
        planar=_number(ds, "PlanarConfiguration", 0) == 1,
        photometric=photometric or ("RGB" if samples == 3 else "MONOCHROME2"),
        frames=frames_of(ds),
    )
    check_size(found.rows, found.columns, MAX_PIXELS_PILLOW)
    if allocated not in (1, 8, 16):
        raise DecodeError(
            f"its pixels have {allocated} bits (Bits Allocated), and 8 to 16 are read; "
            "it is a map of measured numbers rather than a picture: leave it out"
        )
    if not (1 <= stored <= allocated and stored - 1 <= found.high_bit < allocated):
        raise DecodeError(
            f"its header contradicts itself: {stored} bits stored of {allocated} allocated, the "
            f"highest {found.high_bit}; {SEND_AGAIN}"
        )
    wanted = {**dict.fromkeys(GREY, 1), **dict.fromkeys(COLOUR, 3)}.get(found.photometric)
    if wanted is None:
        raise DecodeError(
            f"the photometric interpretation {found.photometric[:16]!r} is not read (read are "
            f"{', '.join((*GREY, *COLOUR))}); export it as one of these"
        )
    if wanted != samples:
        raise DecodeError(f"{found.photometric} has {wanted} samples a pixel, its header {samples}")
    return found


def frames_of(ds: Dataset) -> int:
    """How many frames it has; 1 where it does not say."""
    return max(1, _number(ds, "NumberOfFrames", 1))


def _number(ds: Dataset, keyword: str, default: int | None = None) -> int:
    """A whole number of the header; what stands there is not repeated, it may be anything."""
    try:
        value = ds.get(keyword)
        if value is None or value == "":
            value = default
        return int(value)
    except (TypeError, ValueError, NotImplementedError) as error:
        said = "lacks" if ds.get_item(keyword) is None else "garbles"
        raise DecodeError(f"its header {said} {keyword}, so its pixels are not known") from error


def stored_values(ds: Dataset, form: PixelFormat, frame: int) -> tuple[Stored, PixelFormat]:
    """The stored values of one frame, (rows, columns) or (rows, columns, 3), and their format.

    Colours come as RGB or as YBR_FULL; the format says which. Signed numbers are signed, unused
    bits gone.

    Raises
    ------
    DecodeError
        The syntax is not read, or needs the extra `dicom`; the pixels end early, or are damaged.
    """
    if not 0 <= frame < form.frames:
        raise DecodeError(f"it has no frame {frame}; it has {form.frames}, counted from 0")
    syntax = _syntax(ds)
    data = ds.PixelData
    if syntax in NATIVE or syntax == BIG_ENDIAN:
        big = syntax == BIG_ENDIAN
        if big and form.allocated == 8 and ds["PixelData"].VR == "OW":
            data = np.frombuffer(data[: len(data) & ~1], "<u2").byteswap().tobytes()
        return _native(data, form, frame, big)
    part = _encapsulated(ds, form, frame)
    if syntax == ENCAPSULATED_RAW:
        return _native(part, form, 0, big=False)
    decode = _codec(syntax)
    try:
        return decode(part, form)
    except MissingExtraError as error:
        raise DecodeError(
            f"{syntax_name(syntax)} needs a decoder that is not installed; run: pip install "
            f"'medgraft[{EXTRA}]'"
        ) from error


def syntax_name(syntax: str) -> str:
    """What the standard calls a transfer syntax, and its number.

    >>> syntax_name("1.2.840.10008.1.2.4.100")
    'MPEG2 Main Profile / Main Level (1.2.840.10008.1.2.4.100)'
    """
    from pydicom.uid import UID

    name = UID(syntax).name
    return syntax if name == syntax else f"{name} ({syntax})"


def _syntax(ds: Dataset) -> str:
    named = str(ds.file_meta.get("TransferSyntaxUID", "")).strip() if ds.file_meta else ""
    if named and named not in READ:
        what = syntax_name(named) if re.fullmatch(r"[\d.]{1,64}", named) else "named by its header"
        raise DecodeError(f"the transfer syntax {what} is not read; {SEND_AGAIN}")
    if named:
        return named
    if ds.PixelData[:4] == b"\xfe\xff\x00\xe0":
        raise DecodeError(
            f"its pixels are compressed, and no transfer syntax says how; {SEND_AGAIN}"
        )
    return "1.2.840.10008.1.2.1" if ds.original_encoding[1] is not False else BIG_ENDIAN


# --------------------------------------------------------------------------- uncompressed


def _native(data: bytes, form: PixelFormat, frame: int, big: bool) -> tuple[Stored, PixelFormat]:
    """Uncompressed pixels (PS3.5 8.1): words, bytes, or bits with the first pixel lowest."""
    pixels = form.rows * form.columns
    halved = form.photometric == "YBR_FULL_422"
    count = pixels * (2 if halved else form.samples)
    first = frame * count * form.allocated
    last = first + count * form.allocated
    if len(data) * 8 < last:
        raise DecodeError(
            f"the file ends before its pixels do: {len(data):,} bytes of at least "
            f"{-(-last // 8):,}; fetch it again, or leave it out"
        )
    if form.allocated == 1:
        bits = np.frombuffer(data, np.uint8, -(-last // 8) - first // 8, first // 8)
        offset = first % 8
        values: Stored = np.unpackbits(bits, bitorder="little")[offset : offset + count]
    else:
        kind = np.dtype(np.uint8 if form.allocated == 8 else (">u2" if big else "<u2"))
        values = np.frombuffer(data, kind, count, first // 8).astype(kind.newbyteorder("="))
    if halved:
        values = _full_colour(values, form)
    elif form.samples == 1:
        values = values.reshape(form.rows, form.columns)
    elif form.planar:
        values = values.reshape(3, form.rows, form.columns).transpose(1, 2, 0)
    else:
        values = values.reshape(form.rows, form.columns, 3)
    return _trimmed(values, form), _named(form, _ycc(form.photometric))


def _trimmed(values: Stored, form: PixelFormat) -> Stored:
    """Without the bits around the stored ones, which may hold anything, overlays for one."""
    if form.allocated == 1:
        return values
    values = values >> (form.high_bit + 1 - form.stored)
    return lowest_bits(values, form.stored, form.signed)


def lowest_bits(values: Stored, bits: int, signed: bool) -> Stored:
    """Read the lowest `bits` bits of unsigned words as numbers, in two's complement if signed.

    >>> lowest_bits(np.array([0x0FFF, 0x1001], np.uint16), 12, True).tolist()
    [-1, 1]
    """
    unused = 8 * values.dtype.itemsize - bits
    if signed:
        kind = np.int8 if values.dtype.itemsize == 1 else np.int16
        shifted: Stored = (values << unused).view(kind)
        return np.asarray(shifted >> unused)
    return values & values.dtype.type((1 << bits) - 1) if unused else values


def _full_colour(values: Stored, form: PixelFormat) -> Stored:
    """Y1 Y2 Cb Cr of two neighbours (PS3.3 C.7.6.3.1.2) as one Y, Cb, Cr a pixel."""
    if form.columns % 2:
        raise DecodeError(f"YBR_FULL_422 has pairs of pixels, its rows {form.columns} pixels")
    pairs = values.reshape(form.rows, form.columns // 2, 4)
    full = np.empty((form.rows, form.columns, 3), values.dtype)
    full[:, 0::2, 0], full[:, 1::2, 0] = pairs[..., 0], pairs[..., 1]
    full[:, 0::2, 1:] = full[:, 1::2, 1:] = pairs[..., 2:]
    return full


def _ycc(photometric: str) -> str:
    """What uncompressed samples of this name are: RCT and ICT exist inside JPEG 2000 alone."""
    return "YBR_FULL" if photometric.startswith("YBR") else photometric


def _named(form: PixelFormat, photometric: str) -> PixelFormat:
    return form if form.photometric == photometric else replace(form, photometric=photometric)


# --------------------------------------------------------------------------- compressed


def _encapsulated(ds: Dataset, form: PixelFormat, frame: int) -> bytes:
    """The compressed bytes of one frame, out of its fragments (PS3.5 A.4)."""
    from pydicom.encaps import get_frame

    offsets = None
    if "ExtendedOffsetTable" in ds and "ExtendedOffsetTableLengths" in ds:
        offsets = (ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths)
    try:
        return get_frame(
            ds.PixelData, frame, number_of_frames=form.frames, extended_offsets=offsets
        )
    except (ValueError, struct.error, EOFError, IndexError) as error:
        raise DecodeError(
            f"its compressed pixels end early or are not in frames; {SEND_AGAIN}"
        ) from error


_Codec = Callable[[bytes, PixelFormat], tuple[Stored, PixelFormat]]


def _codec(syntax: str) -> _Codec:
    if syntax == RLE:
        return _run_lengths
    if syntax in JPEG_2000:
        return _jpeg_2000
    return _jpeg if syntax in JPEG else _jpeg_ls


class _Header(NamedTuple):
    """What a code stream says of itself, before it is decoded."""

    rows: int
    columns: int
    samples: int
    bits: int
    process: int = 0
    raw_colour: bool | None = None  # JPEG: no YCbCr inside; None where only the data set tells


def _agreed(header: _Header, form: PixelFormat) -> None:
    """Refuse a picture of another size than the data set's, however large it would become."""
    inside = (header.rows, header.columns, header.samples)
    if inside != (form.rows, form.columns, form.samples):
        raise DecodeError(
            f"its compressed picture has {inside[1]} x {inside[0]} pixels of {inside[2]} samples, "
            f"its header says {form.columns} x {form.rows} of {form.samples}; {SEND_AGAIN}"
        )
    if header.bits > 16:
        raise DecodeError(f"its compressed picture has {header.bits} bits, and 8 to 16 are read")


def _run_lengths(part: bytes, form: PixelFormat) -> tuple[Stored, PixelFormat]:
    """RLE (PS3.5 G): a segment of packed bits for each byte of each sample, the high bytes first.

    By imagecodecs, since pylibjpeg-rle panics on damaged segments, past every `except Exception`.
    """
    unpack = optional("imagecodecs", EXTRA).packbits_decode
    wide, pixels = form.allocated // 8, form.rows * form.columns
    segments, *offsets = struct.unpack_from("<16I", part)
    if form.allocated == 1 or segments != form.samples * wide:
        raise DecodeError(
            f"it has {segments} RLE segments, its header asks for {form.samples * wide}"
        )
    ends = [*offsets[1:segments], len(part)]
    planes = np.empty((form.samples, wide, pixels), np.uint8)
    for index, (start, end) in enumerate(zip(offsets[:segments], ends, strict=True)):
        plane = np.frombuffer(unpack(part[start:end]), np.uint8)
        if len(plane) < pixels:
            raise DecodeError(f"its RLE pixels end early: {len(plane):,} of {pixels:,}")
        planes[index // wide, index % wide] = plane[:pixels]
    words: Stored = planes[:, 0]
    if wide == 2:
        words = planes[:, 0].astype(np.uint16) << 8 | planes[:, 1]
    values = words.reshape(form.samples, form.rows, form.columns)
    shaped: Stored = values.transpose(1, 2, 0) if form.samples == 3 else values[0]
    return _trimmed(shaped, form), _named(form, _ycc(form.photometric))


def _jpeg(part: bytes, form: PixelFormat) -> tuple[Stored, PixelFormat]:
    """JPEG (ISO 10918-1): 8 bits by what reads other JPEGs, more bits and lossless by imagecodecs.

    What the stream says of its colours goes before the data set: writers convert, and forget.
    """
    header = _jpeg_header(part)
    _agreed(header, form)
    part = part[: part.rindex(b"\xff\xd9") + 2]  # fragments are padded to even length
    raw_colour = header.raw_colour
    if raw_colour is None:
        raw_colour = form.photometric == "RGB"
    lossless = header.process == 0xC3
    if lossless or header.bits != 8:
        codecs = optional("imagecodecs", EXTRA)
        kept = {} if form.samples == 1 else {"colorspace": "RGB", "outcolorspace": "RGB"}
        values = codecs.jpeg8_decode(part, **kept)
        inside = "RGB" if lossless and form.photometric == "RGB" else None
        inside = inside or ("RGB" if raw_colour else "YBR_FULL")
    elif form.samples == 3 and raw_colour and header.raw_colour is None:
        values, inside = _as_stored(part), "RGB"
    else:
        seen = decode_bytes(part, None, None)
        values, inside = unturn(seen.pixels, seen.orientation), "RGB"  # no viewer turns it
    stored = lowest_bits(values, header.bits, form.signed)
    return stored, _named(form, inside) if form.samples == 3 else form


def _as_stored(part: bytes) -> Stored:
    """The three planes of an 8-bit JPEG that no marker names, without any change of colours."""
    from PIL.JpegImagePlugin import JpegImageFile

    image = JpegImageFile(io.BytesIO(part), "")
    image.draft("YCbCr", image.size)
    image.load()
    return np.asarray(image)


def _jpeg_ls(part: bytes, form: PixelFormat) -> tuple[Stored, PixelFormat]:
    """JPEG-LS (ISO 14495-1), lossless or nearly so; it knows no colours and no signs."""
    header = _jpeg_header(part)
    _agreed(header, form)
    values = optional("imagecodecs", EXTRA).jpegls_decode(part)
    return lowest_bits(values, header.bits, form.signed), _named(form, _ycc(form.photometric))


_SEGMENT = re.compile(rb"\xff([^\x00\xff])", re.DOTALL)


def _jpeg_header(part: bytes) -> _Header:
    """Walk a JPEG's or JPEG-LS's segments up to the first scan; its end must be there too."""
    if part[:2] != b"\xff\xd8" or b"\xff\xd9" not in part[-16:]:
        raise DecodeError(f"its compressed picture lacks its beginning or its end; {SEND_AGAIN}")
    at, raw_colour, frame = 2, None, None
    while (found := _SEGMENT.search(part, at)) and found[1][0] not in (0xD9, 0xDA):
        marker, at = found[1][0], found.end()
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            continue
        (length,) = struct.unpack_from(">H", part, at)
        body = part[at + 2 : at + length]
        if marker == 0xE0 and body.startswith(b"JFIF"):
            raw_colour = False
        elif marker == 0xEE and body.startswith(b"Adobe") and len(body) > 11:
            raw_colour = body[11] == 0
        elif (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            bits, rows, columns, samples = struct.unpack_from(">BHHB", body)
            if samples == 3 and bytes(body[6::3][:3]).upper() == b"RGB":
                raw_colour = True
            frame = (rows, columns, samples, bits, marker)
        at += max(2, length)
    if frame is None:
        raise DecodeError(f"its compressed picture ends before it begins; {SEND_AGAIN}")
    return _Header(*frame, raw_colour)


def _jpeg_2000(part: bytes, form: PixelFormat) -> tuple[Stored, PixelFormat]:
    """JPEG 2000 and its high-throughput form (ISO 15444-1, -15); RCT and ICT come out as RGB."""
    start = part.find(b"\xff\x4f\xff\x51", 0, 4096)
    if start < 0 or b"\xff\xd9" not in part[-16:]:
        raise DecodeError(f"its compressed picture lacks its beginning or its end; {SEND_AGAIN}")
    wide, high, left, top = struct.unpack_from(">4I", part, start + 8)
    samples, depth = struct.unpack_from(">HB", part, start + 40)
    header = _Header(high - top, wide - left, samples, (depth & 0x7F) + 1)
    _agreed(header, form)
    values = optional("openjpeg", EXTRA).decode(part[start:], 0)
    stored = lowest_bits(values.view(f"u{values.dtype.itemsize}"), header.bits, form.signed)
    inside = "RGB" if form.photometric in ("YBR_RCT", "YBR_ICT") else _ycc(form.photometric)
    return stored, _named(form, inside) if form.samples == 3 else form
