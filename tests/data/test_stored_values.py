"""What formats store, against tifffile, imagecodecs and Pillow, which read it by other ways."""

from __future__ import annotations

import io
import itertools
import re
import struct
import zlib
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from medgraft.data.pixels import tiff
from medgraft.data.pixels.decode import decode
from medgraft.data.pixels.formats import read_bytes
from medgraft.data.pixels.stored_header import sniff
from medgraft.errors import DecodeError
from medgraft.types import PixelRule

Array = NDArray[Any]
LARGEST = {"uint16": 65535, "int16": 30000, "uint32": 2**31, "int32": 2**30}


def waves(height: int, width: int, dtype: str, channels: int = 1) -> Array:
    """A picture that uses the range of its type, another in each channel."""
    rows, columns = np.mgrid[:height, :width]
    grey = (np.sin(columns / 9) + np.cos(rows / 7) + 2) / 4 * LARGEST.get(dtype, 1)
    planes = np.stack([np.roll(grey, 5 * k, 1) for k in range(channels)], axis=-1)
    return planes.astype(dtype) if channels > 1 else planes[..., 0].astype(dtype)


def written(values: Array, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **options)
    return buffer.getvalue()


# ------------------------------------------------------------------------ TIFF


@pytest.mark.parametrize("dtype", ["uint16", "int16", "uint32", "int32", "float32", "float64"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_deep_tiffs_hold_what_tifffile_wrote(dtype: str, channels: int, planar: str) -> None:
    values = waves(48, 64, dtype, channels)
    kind = {"photometric": "minisblack" if channels == 1 else "rgb"}
    if channels > 1:
        kind["planarconfig"] = planar
    laid = np.moveaxis(values, -1, 0) if channels > 1 and planar == "separate" else values
    for tile, packed, order, big in itertools.product(
        ((16, 32), None), (None, "zlib", "lzw"), "<>", (False, True)
    ):
        how = {"tile": tile} if tile else {"rowsperstrip": 20}
        data = written(
            laid, compression=packed, predictor=bool(packed), byteorder=order, bigtiff=big,
            **kind, **how,
        )  # fmt: skip
        np.testing.assert_array_equal(tifffile.imread(io.BytesIO(data)), laid)
        np.testing.assert_array_equal(read_bytes(data, None).values, values, str((how, packed)))


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_tiffs_of_packed_bits(bits: int) -> None:
    values = waves(48, 64, "uint16") >> (16 - bits)
    data = written(values, photometric="miniswhite", bitspersample=bits)
    stored = read_bytes(data, None)
    np.testing.assert_array_equal(stored.values, values)
    np.testing.assert_array_equal(stored.brightness, (1 << bits) - 1 - values)


@pytest.mark.parametrize(
    ("bits", "packed"),
    [(1, None), (2, None), (4, None), (8, None), (8, "lzw"), (16, None), (16, "lzw")],
)
def test_white_is_zero_is_the_same_picture_at_every_depth(bits: int, packed: str | None) -> None:
    largest = (1 << bits) - 1
    levels = waves(48, 64, "uint16").astype(np.int64) * largest // 65535
    dtype = "uint16" if bits == 16 else "uint8"
    how = {"bitspersample": bits} if bits < 8 else {}
    black = written(levels.astype(dtype), photometric="minisblack", compression=packed, **how)
    white = written(
        (largest - levels).astype(dtype), photometric="miniswhite", compression=packed, **how
    )
    rule = PixelRule(0, 65535)
    expected = np.rint(levels * (255 / largest))
    for data in (black, white):
        assert np.abs(decode(data, rule=rule).pixels - expected).max() <= 0
    if bits < 16:  # and by itself
        np.testing.assert_array_equal(decode(white).pixels, decode(black).pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("channels", [1, 3])
def test_deep_tiffs_are_turned_as_pillow_turns(orientation: int, channels: int) -> None:
    values = waves(24, 40, "uint16", channels)
    kind = "minisblack" if channels == 1 else "rgb"
    data = written(values, photometric=kind, extratags=[(274, 3, 1, orientation, True)])
    eight = Image.fromarray((values >> 8).astype(np.uint8))
    eight.getexif()[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(eight))
    stored = read_bytes(data, None)
    assert (stored.source_size, stored.orientation) == ((24, 40), orientation)
    np.testing.assert_array_equal(stored.values >> 8, upright)


def test_alpha_of_16_bits_is_composited_on_black() -> None:
    values = waves(24, 40, "uint16", 4)
    data = written(values, photometric="rgb", extrasamples=["unassalpha"])
    expected = values[..., :3] * (values[..., 3:] / 65535)
    assert np.abs(read_bytes(data, None).values - expected).max() <= 1
    values[..., 3] = 40000  # the same everywhere: an artefact
    data = written(values, photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(read_bytes(data, None).values, values[..., :3])


def test_damaged_and_strange_deep_tiffs_say_why() -> None:
    data = written(waves(48, 64, "uint16", 3), photometric="rgb", compression="zlib")
    for share in (0.3, 0.6, 0.9):
        with pytest.raises(DecodeError):
            decode(data[: int(share * len(data))])
    half = written(waves(8, 8, "float16"), photometric="minisblack")
    with pytest.raises(DecodeError, match="16-bit float numbers are not read"):
        decode(half)
    garbled = bytearray(written(waves(8, 8, "uint16"), photometric="minisblack"))
    garbled[4:8] = struct.pack("<I", 1 << 31)
    assert list(tiff.pages(bytes(garbled))) == []


def test_a_directory_that_names_itself_ends() -> None:
    data = bytearray(written(waves(8, 8, "uint16"), photometric="minisblack", metadata=None))
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    struct.pack_into("<I", data, start + 2 + 12 * count, start)
    assert len(list(tiff.pages(bytes(data)))) == 1


# ------------------------------------------------------------------------ PNG


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_deep_pngs_hold_what_imagecodecs_wrote(channels: int) -> None:
    values = waves(24, 40, "uint16", channels)
    if channels in (2, 4):
        values[..., -1] = 65535
    data = imagecodecs.png_encode(values)
    np.testing.assert_array_equal(imagecodecs.png_decode(data), values)
    expected = {1: values, 2: values[..., 0], 3: values, 4: values[..., :3]}[channels]
    np.testing.assert_array_equal(read_bytes(data, None).values, expected)
    with pytest.raises(DecodeError):
        decode(data[: len(data) * 2 // 3])


def exif(orientation: int) -> bytes:
    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


def raw_profile(name: str, content: bytes) -> PngInfo:
    """A text chunk as ImageMagick writes it."""
    lines = re.findall(".{1,72}", content.hex())
    info = PngInfo()
    info.add_text(f"Raw profile type {name}", f"\n{name}\n{len(content):8d}\n" + "\n".join(lines))
    return info


def xmp(orientation: int, form: str) -> bytes:
    noted = (
        f'<rdf:Description tiff:Orientation="{orientation}"/>'
        if form == "attribute"
        else f"<tiff:Orientation>{orientation}</tiff:Orientation>"
    )
    return f"<x:xmpmeta>{noted}</x:xmpmeta>".encode()


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("place", ["eXIf", "exif", "APP1", "attribute", "element", "xmp"])
def test_a_png_is_turned_wherever_it_notes_it(orientation: int, place: str) -> None:
    stored = waves(6, 10, "uint16")
    image = Image.fromarray((stored >> 8).astype(np.uint8))
    options: dict[str, Any] = {}
    if place == "eXIf":
        options["exif"] = exif(orientation)
    elif place in ("exif", "APP1"):
        options["pnginfo"] = raw_profile(place, exif(orientation))
    elif place == "xmp":
        options["pnginfo"] = raw_profile("xmp", xmp(orientation, "attribute"))
    else:
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp(orientation, place).decode())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    tagged = image.copy()
    tagged.getexif()[0x0112] = orientation
    decoded = decode(buffer.getvalue())
    assert decoded.orientation == orientation
    np.testing.assert_array_equal(decoded.pixels, np.asarray(ImageOps.exif_transpose(tagged)))


def test_exif_that_says_upright_outdoes_stale_xmp() -> None:
    image, info = Image.fromarray(np.zeros((4, 6), np.uint8)), PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp(6, "attribute").decode())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=info, exif=exif(1))
    assert decode(buffer.getvalue()).orientation == 1


# ------------------------------------------------------------------------ PBM, PGM, PPM


@pytest.mark.parametrize("largest", [1, 15, 100, 255, 4095, 65535])
def test_netpbm_as_text_and_as_bytes(largest: int) -> None:
    grey = waves(6, 7, "uint16").astype(np.int64) * largest // 65535
    colour = np.stack([grey, grey.T[:6, :6].mean(dtype=int) + 0 * grey, largest - grey], axis=2)
    for values, text, binary in ((grey, b"P2", b"P5"), (colour, b"P3", b"P6")):
        header = b"\n# made\n7 6\n%d\n" % largest
        numbers = " ".join(map(str, values.ravel())).encode()
        packed = values.astype(">u2" if largest > 255 else "u1").tobytes()
        expected = values if largest > 255 else np.rint(values * (255 / largest))
        for data in (text + header + numbers + b" # the end\n", binary + header + packed):
            np.testing.assert_array_equal(read_bytes(data, None).values, expected)
        for cut in (text + header + numbers[:-6], binary + header + packed[:-1]):
            with pytest.raises(DecodeError, match="damaged"):
                decode(cut)


def test_bitmaps_are_black_where_they_say_one() -> None:
    image = Image.fromarray(np.array([[0, 255, 255], [255, 0, 0]], np.uint8)).convert("1")
    buffer = io.BytesIO()
    image.save(buffer, "PPM")
    for data in (buffer.getvalue(), b"P1\n3 2\n100\n0 1 1\n", b"P1 3 2 1 0 0 0 1 1"):
        np.testing.assert_array_equal(decode(data).pixels, np.asarray(image.convert("L")))


# ------------------------------------------------------------------------ JPEG


def jpeg(**options: Any) -> bytes:
    rng = np.random.default_rng(0)
    grey = (waves(96, 96, "uint16") >> 8) * 0.8 + rng.integers(0, 40, (96, 96))
    buffer = io.BytesIO()
    Image.fromarray(grey.astype(np.uint8)).save(buffer, "JPEG", quality=90, **options)
    return buffer.getvalue()


def test_a_jpeg_with_bytes_beside_its_picture_is_read_with_a_remark() -> None:
    data = jpeg()
    scan, tables = data.index(b"\xff\xda"), data.index(b"\xff\xc4")
    picture = decode(data).pixels
    for stray, words in [
        (data[:-2] + b"\x17\x17" * 10 + data[-2:], "stray bytes behind its picture"),
        (data[:scan] + b"junk" + data[scan:], "4 stray bytes between its parts"),
        (data[:tables] + bytes(9) + data[tables:], "9 stray bytes between its parts"),
        (data[:2] + b"junk" + data[2:], "4 stray bytes between its parts"),
        (data[:-2], "no end marker"),
        (data[:-1], "no end marker"),
        (data.replace(b"JFIF\0\x01", b"JFIF\0\x03"), "unknown JFIF revision"),
    ]:
        found = decode(stray)
        assert words in found.remark, words
        np.testing.assert_array_equal(found.pixels, picture)
    assert decode(data).remark == decode(data + b"behind the end, which nobody reads").remark == ""


def test_a_jpeg_that_lost_a_part_of_its_picture_stays_damaged() -> None:
    data = jpeg()
    for cut in (12, 40, 400, len(data) // 2):
        for ending in (b"", b"\xff\xd9"):
            with pytest.raises(DecodeError, match="damaged"):
                decode(data[:-cut] + ending)
    progressive = jpeg(progressive=True)
    scans = [found.start() for found in re.finditer(b"\xff\xda", progressive)]
    tables = progressive.rindex(b"\xff\xc4", 0, scans[-1])
    for cut in (progressive[:-2], progressive[:tables]):  # whole scans may be missing
        with pytest.raises(DecodeError):
            decode(cut)


# ------------------------------------------------------------------------ headers


def test_what_headers_say() -> None:
    eight = np.zeros((4, 4), np.uint8)
    for data in (jpeg(), b"", b"P5 4", written(eight), zlib.compress(b"")):
        assert sniff(data) is None
    deep = [written(waves(4, 4, kind), photometric="minisblack") for kind in LARGEST]
    assert [sniff(data).kind for data in deep] == list(LARGEST)  # type: ignore[union-attr]
    assert sniff(imagecodecs.png_encode(waves(4, 4, "uint16"))).kind == "uint16"  # type: ignore[union-attr]
    assert sniff(imagecodecs.png_encode(eight)) is None
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as pages:
        pages.write(eight[:2, :2], subfiletype=1)
        pages.write(eight)
    found = sniff(buffer.getvalue())
    assert found is not None
    assert (found.kind, found.pages, found.odd) == ("uint8", 2, True)
