"""Small good files of every format that is read, made here and the same every time."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from typing import Any, Literal

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian

from dicom_files import data_set, written

HEIGHT, WIDTH = 40, 48
ROOT = "1.2.826.0.1.3680043.8.498"  # of made identifiers
PNG = b"\x89PNG\r\n\x1a\n"
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
         (1, 0, 2, 1))  # fmt: skip

Array = NDArray[np.generic]


def picture(*channels: int) -> NDArray[np.uint8]:
    """Waves and noise, (HEIGHT, WIDTH[, channels])."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    rng = np.random.default_rng(0)
    waves = [
        128 + 80 * np.sin((rows + k * columns) / 9) + rng.normal(0, 8, rows.shape)
        for k in range(channels[0] if channels else 1)
    ]
    stacked = np.asarray(np.clip(np.stack(waves, axis=-1), 0, 255), np.uint8)
    return np.asarray(stacked if channels else stacked[..., 0])


def encoded(pixels: Array | Image.Image, kind: str, **options: object) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def seeds() -> Mapping[str, bytes]:
    """Files by `format/variant`; the format is the suffix of the file too."""
    return {**_jpegs(), **_pngs(), **_tiffs(), **_others(), **_dicoms(), **_tables()}


def _jpegs() -> dict[str, bytes]:
    grey, colour = picture(), picture(3)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    return {
        "jpg/grey": encoded(grey, "JPEG"),
        "jpg/colour": encoded(colour, "JPEG", quality=90),
        "jpg/444": encoded(colour, "JPEG", subsampling=0),
        "jpg/progressive": encoded(colour, "JPEG", progressive=True),
        "jpg/restarts": encoded(colour, "JPEG", restart_marker_blocks=3),
        "jpg/cmyk": encoded(Image.fromarray(colour).convert("CMYK"), "JPEG"),
        "jpg/exif": encoded(colour, "JPEG", exif=exif.tobytes(), comment=b"a comment"),
    }


def chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk of a PNG, with its checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _pngs() -> dict[str, bytes]:
    grey, colour = picture(), picture(3)
    profile = chunk(b"iCCP", b"name\0\0" + zlib.compress(bytes(400)))
    text = chunk(b"zTXt", b"key\0\0" + zlib.compress(b"words " * 50)) + chunk(b"tEXt", b"a\0b")
    plain = encoded(grey, "PNG")
    deep = colour.astype(np.uint16) * 257
    return {
        "png/grey": plain,
        "png/colour": encoded(colour, "PNG"),
        "png/alpha": encoded(picture(4), "PNG"),
        "png/palette": encoded(Image.fromarray(colour).quantize(16), "PNG"),
        "png/bits": encoded(Image.fromarray(grey).convert("1"), "PNG"),
        "png/16": encoded(grey.astype(np.uint16) * 257, "PNG"),
        "png/16colour": _png(16, 2, deep.astype(">u2").tobytes(), WIDTH * 6),
        "png/interlaced": _interlaced(grey),
        "png/words": plain[:33] + profile + text + plain[33:],
    }


def _png(bits: int, colour: int, rows: bytes, stride: int, interlaced: int = 0) -> bytes:
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, colour, 0, 0, interlaced)
    if stride:
        rows = b"".join(b"\0" + rows[at : at + stride] for at in range(0, len(rows), stride))
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return PNG + parts


def _interlaced(grey: NDArray[np.uint8]) -> bytes:
    passes = [grey[top::down, left::across] for top, left, down, across in ADAM7]
    rows = b"".join(b"\0" + row.tobytes() for one in passes for row in one)
    return _png(8, 0, rows, 0, 1)


def _tiffs() -> dict[str, bytes]:
    grey, colour = picture(), picture(3)
    pages = [Image.fromarray(grey), Image.fromarray(colour), Image.fromarray(grey[:20])]
    buffer = io.BytesIO()
    pages[0].save(buffer, "TIFF", save_all=True, append_images=pages[1:])
    packings = ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
    return {
        "tif/plain": encoded(colour, "TIFF"),
        "tif/16": encoded(grey.astype(np.uint16) * 200, "TIFF"),
        "tif/float": encoded(grey.astype(np.float32) / 255, "TIFF"),
        "tif/float_lzw": encoded(grey.astype(np.float32), "TIFF", compression="tiff_lzw"),
        "tif/32": encoded(grey.astype(np.int32) * 70_000, "TIFF"),
        "tif/palette": encoded(Image.fromarray(colour).quantize(16), "TIFF"),
        "tif/fax": encoded(Image.fromarray(grey).convert("1"), "TIFF", compression="group4"),
        "tif/cmyk": encoded(Image.fromarray(colour).convert("CMYK"), "TIFF"),
        "tif/pages": buffer.getvalue(),
        "tif/tiles": _by_hand(grey, tile=16),
        "tif/tiles16": _by_hand(grey.astype(np.uint16) * 200, tile=16),
        "tif/planes": _by_hand(colour, planar=True),
        "tif/big": _by_hand(grey, big=True),
        "tif/motorola": _by_hand(grey.astype(np.uint16) * 9, order=">"),
        **{f"tif/{kind}": encoded(colour, "TIFF", compression=kind) for kind in packings},
    }


def _by_hand(
    pixels: Array,
    *,
    tile: int = 0,
    planar: bool = False,
    big: bool = False,
    order: Literal["<", ">"] = "<",
) -> bytes:
    """A TIFF of forms that Pillow does not write: tiles, planes, wide offsets, both byte orders."""
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    stored = pixels.astype(pixels.dtype.newbyteorder(order))
    if tile:
        padded = np.pad(stored, ((0, -HEIGHT % tile), (0, -WIDTH % tile)))
        blocks = [
            padded[y : y + tile, x : x + tile]
            for y in range(0, HEIGHT, tile)
            for x in range(0, WIDTH, tile)
        ]
    else:
        blocks = [stored[..., k] for k in range(channels)] if planar else [stored]
    start = 16 if big else 8
    data, places = b"", []
    for block in blocks:
        places.append(start + len(data))
        data += block.tobytes()
    sizes = [block.nbytes for block in blocks]
    layout = {322: [tile], 323: [tile], 324: places, 325: sizes}
    if not tile:
        layout = {273: places, 278: [HEIGHT], 279: sizes, 284: [2 if planar else 1]}
    tags = {
        256: [WIDTH], 257: [HEIGHT], 258: [8 * pixels.itemsize] * channels, 259: [1],
        262: [2 if channels == 3 else 1], 277: [channels], **layout,
    }  # fmt: skip
    wide = "Q" if big else "I"
    size = struct.calcsize(wide)
    directory = start + len(data)
    after = directory + (8 if big else 2) + len(tags) * (4 + 2 * size) + size
    entries, values = b"", b""
    for tag, numbers in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(numbers)}I", *numbers)
        if len(packed) > size:
            packed, values = struct.pack(order + wide, after + len(values)), values + packed
        entries += struct.pack(f"{order}HH{wide}", tag, 4, len(numbers)) + packed.ljust(size, b"\0")
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "H", 43 if big else 42)
    head += struct.pack(order + "HHQ", 8, 0, directory) if big else b""
    head += b"" if big else struct.pack(order + "I", directory)
    count = struct.pack(order + ("Q" if big else "H"), len(tags))
    return head + data + count + entries + bytes(size) + values


def _others() -> dict[str, bytes]:
    grey, colour = picture(), picture(3)
    frames = [Image.fromarray(np.roll(colour, 9 * k, axis=1)) for k in range(4)]
    moving = {"save_all": True, "append_images": frames[1:]}
    words = " ".join(map(str, grey[:8].ravel().tolist()))
    return {
        "bmp/colour": encoded(colour, "BMP"),
        "bmp/palette": encoded(Image.fromarray(colour).quantize(16), "BMP"),
        "bmp/bits": encoded(Image.fromarray(grey).convert("1"), "BMP"),
        "bmp/rle": _rle(grey),
        "webp/lossy": encoded(colour, "WEBP"),
        "webp/lossless": encoded(colour, "WEBP", lossless=True),
        "webp/alpha": encoded(picture(4), "WEBP"),
        "webp/moving": encoded(frames[0], "WEBP", **moving),
        "gif/grey": encoded(grey, "GIF"),
        "gif/moving": encoded(frames[0], "GIF", **moving),
        "pgm/grey": encoded(grey, "PPM"),
        "pgm/16": b"P5\n48 40\n4095\n" + (grey.astype(">u2") * 16).tobytes(),
        "pgm/words": f"P2\n# made\n48 8\n255\n{words}\n".encode(),
        "pgm/colour": encoded(colour, "PPM"),
        "pgm/bits": b"P4\n48 40\n" + np.packbits(grey > 99, axis=1).tobytes(),
    }


def _dicoms() -> dict[str, bytes]:
    grey, colour = picture(), picture(3)
    deep = grey.astype(np.uint16) * 16
    jpeg2000 = imagecodecs.jpeg2k_encode(deep, reversible=True, codecformat="J2K")
    jpegls = imagecodecs.jpegls_encode(deep)
    window: dict[str, Any] = {"WindowCenter": "1024", "WindowWidth": "2048"}
    return {
        "dcm/8": _dicom(grey),
        "dcm/12": _dicom(deep, bits=12, **window),
        "dcm/ct": _dicom(deep.astype(np.int16) - 1024, RescaleSlope="1", RescaleIntercept="-1024",
            **window),
                "dcm/white": _dicom(
            deep, bits=12, PhotometricInterpretation="MONOCHROME1", **window
        ),
        "dcm/rgb": _dicom(colour),
        "dcm/frames": _dicom(np.stack([grey, grey.T[:HEIGHT, :HEIGHT].repeat(2, 1)[:, :WIDTH]])),
        "dcm/implicit": _dicom(deep, syntax="1.2.840.10008.1.2", **window),
        "dcm/deflated": _dicom(deep, syntax="1.2.840.10008.1.2.1.99", **window),
        "dcm/jpeg": _dicom(grey, frames=[encoded(grey, "JPEG")], syntax="1.2.840.10008.1.2.4.50"),
        "dcm/jpeg2000": _dicom(
            deep, frames=[bytes(jpeg2000)], syntax="1.2.840.10008.1.2.4.90", **window
        ),
        "dcm/jpegls": _dicom(
            deep, bits=12, frames=[bytes(jpegls)], syntax="1.2.840.10008.1.2.4.80", **window
        ),
    }  # fmt: skip


def _dicom(
    pixels: Array,
    bits: int | None = None,
    syntax: str = ExplicitVRLittleEndian,
    frames: list[bytes] | None = None,
    **tags: Any,
) -> bytes:
    """A secondary capture, the same every time; `frames` are the compressed pixels."""
    uids = {"SOPInstanceUID": f"{ROOT}.1", "StudyInstanceUID": f"{ROOT}.2"}
    return written(data_set(pixels, bits, **uids, **tags), syntax, frames)


def _rle(grey: NDArray[np.uint8]) -> bytes:
    """A run-length BMP of 8 bits: each row in literal and in repeated runs."""
    body = b""
    for row in grey[::-1].tolist():
        for value in row[:16]:
            body += bytes([1, value])
        body += bytes([0, 32]) + bytes(row[16:]) + b"\0\0"
    body += b"\0\1"
    table = b"".join(bytes([k, k, k, 0]) for k in range(256))
    info = struct.pack("<IiiHHIIiiII", 40, WIDTH, HEIGHT, 1, 8, 1, len(body), 0, 0, 256, 0)
    at = 14 + len(info) + len(table)
    return b"BM" + struct.pack("<IHHI", at + len(body), 0, 0, at) + info + table + body


def _tables() -> dict[str, bytes]:
    """Data sets of one file; a CSV lists images that `fuzz.py` puts beside it."""
    images = np.stack([np.roll(picture(), k, axis=1)[:28, :28] for k in range(12)])
    labels = np.arange(12)[:, None] % 2
    arrays = {"train_images": images[:8], "train_labels": labels[:8]}
    arrays |= {"test_images": images[8:], "test_labels": labels[8:]}
    found = {}
    for name, save in (("stored", np.savez), ("packed", np.savez_compressed)):
        buffer = io.BytesIO()
        save(buffer, **arrays)  # type: ignore[arg-type]
        found[f"npz/{name}"] = buffer.getvalue()
    rows = [f"images/{k}.png,{'ab'[k % 2]},p{k // 2},{k * 7}" for k in range(8)]
    listed = "\n".join(["path,label,patient,age", *rows]) + "\n"
    return found | {"csv/plain": listed.encode(), "csv/bom": listed.encode("utf-8-sig")}


def images_of_csv() -> Mapping[str, bytes]:
    """What the CSV's rows name."""
    return {f"images/{k}.png": encoded(np.roll(picture(), k, axis=1), "PNG") for k in range(8)}
