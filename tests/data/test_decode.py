"""Decoding: pixels against independent truth, one typed error for all that is wrong, the pool."""

from __future__ import annotations

import io
import os
import re
import struct
import threading
import time
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from medgraft.data.ingest import load
from medgraft.data.pixels import decode as module
from medgraft.data.pixels.decode import Decoded, decode
from medgraft.data.pixels.headers import MAX_PIXELS
from medgraft.data.pixels.orientation import exif_orientation, turn
from medgraft.data.pixels.values import to_8_bit
from medgraft.data.pool import pool as decode_pool
from medgraft.data.pool.pool import DecodePool, shorter_side
from medgraft.data.preprocess import CanvasRecipe, Clahe, make_canvas
from medgraft.errors import DecodeError
from medgraft.types import Canvas, ImageTable, Skipped, Source

Array = np.ndarray


def smooth(*shape: int) -> Array:
    """A picture that JPEG keeps: two slanted waves, other ones in each channel."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    planes = [
        128 + 60 * np.sin((rows + k * columns) / 17) + 40 * np.cos(columns / (9 + k))
        for k in range(3)
    ]
    return (
        np.stack(planes, axis=2).astype(np.uint8) if len(shape) == 3 else planes[0].astype(np.uint8)
    )


def encoded(pixels: Array | Image.Image, kind: str, **options: object) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def outcome(data: bytes) -> Decoded | DecodeError:
    try:
        return decode(data, (16, 16))
    except DecodeError as error:
        return error


def exif_of(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


GOOD = {
    "jpeg": encoded(smooth(60, 80, 3), "JPEG", quality=95),
    "grey jpeg": encoded(smooth(60, 80), "JPEG", quality=95),
    "progressive jpeg": encoded(smooth(60, 80, 3), "JPEG", quality=95, progressive=True),
    "cmyk jpeg": encoded(Image.fromarray(smooth(60, 80, 3)).convert("CMYK"), "JPEG", quality=95),
    "png": encoded(smooth(60, 80, 3), "PNG"),
    "grey png": encoded(smooth(60, 80), "PNG"),
    "palette png": encoded(Image.fromarray(smooth(60, 80, 3)).quantize(64), "PNG"),
    "16-bit png": encoded(smooth(60, 80).astype(np.uint16) * 257, "PNG"),
    "tiff": encoded(smooth(60, 80, 3), "TIFF"),
    "packed tiff": encoded(smooth(60, 80, 3), "TIFF", compression="tiff_lzw"),
    "bmp": encoded(smooth(60, 80, 3), "BMP"),
    "webp": encoded(smooth(60, 80, 3), "WEBP", lossless=True),
    "ppm": encoded(smooth(60, 80, 3), "PPM"),
    "grey pgm": b"P5 # made\n# by hand\n80 60\n255\n" + smooth(60, 80).tobytes(),
    "gif": encoded(Image.fromarray(smooth(60, 80, 3)).quantize(64), "GIF"),
}


# ------------------------------------------------------------------------ pixels


@pytest.mark.parametrize("kind", GOOD)
def test_every_kind_gives_the_picture(kind: str) -> None:
    decoded = decode(GOOD[kind])
    truth = smooth(60, 80) if kind.startswith(("grey", "16-bit")) else smooth(60, 80, 3)
    assert decoded.pixels.shape == truth.shape
    assert decoded.pixels.dtype == np.uint8
    assert decoded.pixels.flags.c_contiguous
    assert (decoded.source_size, decoded.orientation) == ((60, 80), 1)
    error = np.abs(decoded.pixels.astype(int) - truth).mean()
    lossless = kind in (
        "png",
        "grey png",
        "grey pgm",
        "ppm",
        "tiff",
        "packed tiff",
        "bmp",
        "webp",
        "16-bit png",
    )
    assert error == 0 if lossless else error < 8


def test_a_grey_jpeg_is_opencvs() -> None:
    expected = cv2.imdecode(np.frombuffer(GOOD["grey jpeg"], np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.abs(decode(GOOD["grey jpeg"]).pixels.astype(int) - expected).max() <= 2


def test_cmyk_is_not_inverted() -> None:
    plain = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # magenta and yellow ink: red
    red, green, blue = decode(encoded(plain, "JPEG", quality=95)).pixels[8, 8]
    assert red > 245
    assert max(green, blue) < 10


def test_chroma_subsampling_that_turbojpeg_has_no_name_for() -> None:
    """One mid-grey MCU by hand: 4 x 2 luma blocks 00 1010, then one of each chroma 00 00."""
    height, width, scan = 16, 32, bytes.fromhex("28a28a28a28a00")
    data = encoded(np.full((height, width, 3), 128, np.uint8), "JPEG", subsampling="4:2:0")
    frame, start = data.index(b"\xff\xc0"), data.index(b"\xff\xda")
    made = bytearray(data[: start + 14] + scan + b"\xff\xd9")
    made[frame + 11] = 0x42
    with pytest.raises(ValueError, match="subsampling"):
        simplejpeg.decode_jpeg(bytes(made))
    pixels = decode(bytes(made)).pixels
    assert pixels.shape == (height, width, 3)
    assert set(np.unique(pixels)) == {128}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_the_picture(kind: str, orientation: int) -> None:
    stored = smooth(24, 40, 3)
    options = {"quality": 95} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    data = encoded(stored, kind, exif=exif_of(orientation), **options)
    tagged = Image.fromarray(stored)
    tagged.getexif()[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(tagged)).astype(int)
    decoded = decode(data)
    assert (decoded.source_size, decoded.orientation) == ((24, 40), orientation)
    assert decoded.pixels.shape == upright.shape
    assert np.abs(decoded.pixels - upright).mean() < 5


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_a_tiff_that_only_xmp_turns_is_known_to_be_turned(orientation: int) -> None:
    stored = smooth(24, 40, 3)
    xmp = f'<x:xmpmeta><rdf tiff:Orientation="{orientation}"/></x:xmpmeta>'.encode()
    decoded = decode(encoded(stored, "TIFF", tiffinfo={700: xmp}))
    assert (decoded.source_size, decoded.orientation) == ((24, 40), orientation)
    np.testing.assert_array_equal(decoded.pixels, turn(stored, orientation))


def test_exif_turns_a_compressed_16_bit_tiff() -> None:
    stored = np.arange(15, dtype=np.uint16).reshape(3, 5) * 4000
    data = encoded(stored, "TIFF", compression="tiff_deflate", exif=exif_of(6))
    decoded = decode(data)
    assert decoded.source_size == (3, 5)
    np.testing.assert_array_equal(decoded.pixels, np.rot90(stored >> 8, -1))


@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_is_read_in_both_byte_orders(order: str) -> None:
    start = b"II*\0" if order == "<" else b"MM\0*"
    other = struct.pack(order + "HHII", 0x0100, 4, 1, 99)
    block = start + struct.pack(order + "IH", 8, 2) + other
    block += struct.pack(order + "HHIHH", 0x0112, 3, 1, 5, 0)
    assert exif_orientation(block) == 5
    assert [exif_orientation(block[:cut]) for cut in (0, 3, 9, 20)] == [1, 1, 1, 1]
    assert exif_orientation(block[:-4] + struct.pack(order + "HH", 77, 0)) == 1


@pytest.mark.parametrize(
    ("at_least", "side"),
    [(None, 800), ((100, 100), 100), ((101, 1), 200), ((1, 400), 400), ((9000, 9000), 800)],
)
def test_a_jpeg_is_decoded_no_smaller_than_asked(
    at_least: tuple[int, int] | None, side: int
) -> None:
    decoded = decode(encoded(smooth(800, 800), "JPEG"), at_least)
    assert decoded.pixels.shape == (side, side)
    assert decoded.source_size == (800, 800)


def test_what_suffices_is_counted_on_the_upright_image() -> None:
    data = encoded(smooth(400, 800), "JPEG", exif=exif_of(6))  # upright: 800 high, 400 wide
    assert decode(data, (300, 50)).pixels.shape == (300, 150)  # 3/8
    assert decode(data, (50, 300)).pixels.shape == (600, 300)  # 6/8


def test_a_canvas_of_a_scaled_decoding_is_nearly_that_of_the_full_one() -> None:
    slow_waves = cv2.resize(smooth(225, 175, 3), (700, 900), interpolation=cv2.INTER_CUBIC)
    data = encoded(slow_waves, "JPEG", quality=95)
    recipe = CanvasRecipe(224)
    scaled = make_canvas("a", decode(data, recipe.shape), recipe).pixels.astype(int)
    full = make_canvas("a", decode(data), recipe).pixels
    assert np.abs(scaled - full).mean() < 1


@pytest.mark.parametrize(
    ("largest", "shift"),
    [(255, 0), (256, 2), (1023, 2), (1024, 4), (4095, 4), (16383, 6), (65535, 8)],
)
def test_16_bits_by_the_smallest_depth_that_holds_them(largest: int, shift: int) -> None:
    values = np.array([[0, largest // 2, largest]], np.uint16)
    expected = [0, (largest // 2) >> shift, largest >> shift]
    assert to_8_bit(values).tolist() == [expected]
    assert decode(encoded(values, "PNG")).pixels.tolist() == [expected]
    assert decode(encoded(values, "TIFF")).pixels.tolist() == [expected]


def test_big_endian_16_bit_tiff() -> None:
    big = Image.frombytes("I;16B", (2, 1), struct.pack(">HH", 1000, 65535))
    assert decode(encoded(big, "TIFF")).pixels.tolist() == [[1000 >> 8, 255]]


def test_a_12_bit_pgm() -> None:
    data = b"P5\n3 1\n4095\n" + np.array([0, 2000, 4095], ">u2").tobytes()
    assert decode(data).pixels.tolist() == [[0, 125, 255]]
    with pytest.raises(DecodeError, match="damaged"):
        decode(data[:-1])


def test_floats_run_from_their_smallest_to_their_largest() -> None:
    values = np.array([[-2.0, 0.0], [2.0, np.nan]], np.float32)
    assert decode(encoded(values, "TIFF")).pixels.tolist() == [[0, 128], [255, 0]]
    assert to_8_bit(np.full((2, 2), 3.5)).tolist() == [[0, 0], [0, 0]]
    assert to_8_bit(np.array([[-1.7e308, 0, 1.7e308]])).tolist() == [[0, 128, 255]]
    assert to_8_bit(np.array([[-100, 100]], np.int32)).tolist() == [[0, 255]]
    with pytest.raises(DecodeError, match="no finite number"):
        to_8_bit(np.full((2, 2), np.inf))
    with pytest.raises(DecodeError, match="complex64"):
        to_8_bit(np.zeros((2, 2), np.complex64))


def test_alpha_is_composited_on_black_unless_it_says_nothing() -> None:
    pixels = np.full((1, 3, 4), 200, np.uint8)
    pixels[0, :, 3] = 0, 255, 128
    expected = [[[0] * 3, [200] * 3, [100] * 3]]  # 200 * 128 / 255 = 100.4
    assert decode(encoded(pixels, "PNG")).pixels.tolist() == expected
    pixels[..., 3] = 0  # everywhere the same: an artefact
    assert decode(encoded(pixels, "PNG")).pixels.tolist() == [[[200] * 3] * 3]
    grey = Image.fromarray(pixels[..., 0]).convert("LA")
    grey.putpixel((1, 0), (200, 0))
    assert decode(encoded(grey, "PNG")).pixels.tolist() == [[200, 0, 200]]


def test_palettes_bits_and_transparent_colours() -> None:
    ramp = np.arange(0, 250, 50, dtype=np.uint8)[None]
    grey_palette = Image.fromarray(ramp).convert("P")
    assert decode(encoded(grey_palette, "PNG")).pixels.tolist() == ramp.tolist()
    assert decode(encoded(Image.fromarray(ramp > 99), "PNG")).pixels.tolist() == [
        [0, 0, 255, 255, 255]
    ]
    see_through = encoded(Image.fromarray(ramp), "PNG", transparency=100)
    assert decode(see_through).pixels.tolist() == [[0, 50, 0, 150, 200]]


def test_lab_is_refused_by_name() -> None:
    with pytest.raises(DecodeError, match="LAB"):
        decode(encoded(Image.new("LAB", (4, 4)), "TIFF"))


# ------------------------------------------------------------------------ frames and arrays


def test_frames_of_a_tiff(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    pages = [Image.fromarray(np.full((4, 5 + k), 10 * k, np.uint8)) for k in range(3)]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    assert decode(Source(str(path))).pixels.shape == (4, 5)
    third = decode(Source(str(path), frame=2))
    assert third.source_size == (4, 7)
    assert third.pixels.max() == 20
    with pytest.raises(DecodeError, match="no frame 3"):
        decode(Source(str(path), frame=3))
    jpeg = tmp_path / "one.jpg"
    jpeg.write_bytes(GOOD["jpeg"])
    assert decode(Source(str(jpeg), frame=0)).pixels.shape == (60, 80, 3)
    with pytest.raises(DecodeError, match="no frame 1"):
        decode(Source(str(jpeg), frame=1))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_frames_of_an_array(tmp_path: Path, save: object) -> None:
    path = tmp_path / "set.npz"
    colour, wide = (
        np.stack([smooth(6, 7, 3), 255 - smooth(6, 7, 3)]),
        np.array([[[0, 4095]]], np.uint16),
    )
    save(path, train_images=colour, wide=wide, single=colour[..., :1], labels=np.arange(2))
    for frame in (1, 0):
        decoded = decode(Source(str(path), frame, "train_images"))
        np.testing.assert_array_equal(decoded.pixels, colour[frame])
        assert decoded.source_size == (6, 7)
    assert decode(Source(str(path), 0, "wide")).pixels.tolist() == [[0, 255]]
    assert decode(Source(str(path), 0, "single")).pixels.shape == (6, 7)
    for source, words in [
        (Source(str(path), 2, "train_images"), "no frame 2; it has 2"),
        (Source(str(path), -1, "train_images"), "no frame -1"),
        (Source(str(path), 0, "test_images"), "no array 'test_images'"),
        (Source(str(path), 0, "labels"), "shape ()"),
        (Source(str(tmp_path / "no.npz"), 0, "x"), "missing"),
    ]:
        with pytest.raises(DecodeError, match=re.escape(words)):
            decode(source)
    time.sleep(0.01)
    np.savez(path, train_images=255 - colour)  # written anew: read anew
    np.testing.assert_array_equal(
        decode(Source(str(path), 0, "train_images")).pixels, 255 - colour[0]
    )


def test_pickled_arrays_are_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "evil.npz"
    np.savez(path, images=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DecodeError):
        decode(Source(str(path), 0, "images"))


# ------------------------------------------------------------------------ what is wrong


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds nothing."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    data = b"IDAT" + zlib.compress(b"")
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", len(data) - 4) + data + bytes(4)


def jpeg_header(width: int, height: int) -> bytes:
    data = bytearray(GOOD["grey jpeg"])
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def bmp_header(width: int, height: int) -> bytes:
    """A run-length coded BMP that claims a size and ends at once."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, 0, 2835, 2835, 2, 0)
    body = header + bytes(4) + b"\xff\xff\xff\0" + b"\0\1"
    return b"BM" + struct.pack("<IHHI", 14 + len(body), 0, 0, 62) + body


BAD = {
    "empty": (b"", "empty"),
    "text": (b"<html>not an image</html>", "not an image that is read"),
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image that is read"),
    "nulls": (bytes(5000), "not an image that is read"),
    "jpeg magic alone": (b"\xff\xd8", "ends before"),
    "jpeg of fill bytes": (b"\xff\xd8" + b"\xff" * 100_000, "ends before"),
    "jpeg of empty segments": (b"\xff\xd8" + b"\xff\xe0\0\2" * 100_000, "ends before"),
    "png magic alone": (b"\x89PNG\r\n\x1a\n", "damaged"),
    "half a jpeg": (GOOD["jpeg"][: len(GOOD["jpeg"]) // 2], "damaged"),
    "half a png": (GOOD["png"][: len(GOOD["png"]) // 2], "damaged"),
    "half a tiff": (GOOD["tiff"][: len(GOOD["tiff"]) // 2], "damaged"),
    "half a webp": (GOOD["webp"][: len(GOOD["webp"]) // 2], "damaged"),
    "half a bmp": (GOOD["bmp"][: len(GOOD["bmp"]) // 2], "damaged"),
    "png bomb": (
        png_header(60_000, 60_000),
        "60000 x 60000 pixels are more than the 50 megapixels",
    ),
    "jpeg bomb": (jpeg_header(65_000, 65_000), "65000 x 65000 pixels are more"),
    "bmp bomb": (bmp_header(40_000, 1_000), "BMP ends long before"),
    "jpeg of no height": (jpeg_header(80, 0), "80 x 0 pixels"),
    "jpeg of many scans": (GOOD["jpeg"] + b"\xff\xda" * 101, "scans"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_bytes_give_one_clear_line(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data, words = BAD[name]
    path = tmp_path / "secret-name.jpg"
    path.write_bytes(data)
    for source in (data, Source(str(path))):
        start = time.perf_counter()
        with pytest.raises(DecodeError, match=re.escape(words)) as caught:
            decode(source, (224, 224))
        assert time.perf_counter() - start < 2
        assert "\n" not in str(caught.value)
        assert "secret-name" not in str(caught.value)
        assert len(str(caught.value)) < 260
    printed = capfd.readouterr()
    assert printed.out + printed.err == ""


def test_bad_paths_give_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    huge = tmp_path / "huge.png"
    huge.touch()
    os.truncate(huge, module.MAX_BYTES + 1)
    for name, words in [
        ("absent.png", "missing"),
        ("link", "link to nothing"),
        ("", "folder"),
        ("pipe", "not a regular file"),
        ("huge.png", "400,000,001 bytes"),
        ("a\0b", "damaged"),
    ]:
        with pytest.raises(DecodeError, match=re.escape(words)) as caught:
            decode(Source(f"{tmp_path}/{name}"))
        assert str(tmp_path) not in str(caught.value)


def test_a_file_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(GOOD["png"])

    def refuse(self: Path, *_: object, **__: object) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # root may read everything
    with pytest.raises(DecodeError, match="permissions"):
        decode(Source(str(tmp_path / "a.png")))


def test_a_bomb_allocates_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = lambda *_, **__: pytest.fail("it was decoded")  # noqa: E731
    monkeypatch.setattr(simplejpeg, "decode_jpeg", decoded)
    side = int(MAX_PIXELS**0.5)
    with pytest.raises(DecodeError, match="megapixels"):
        decode(jpeg_header(side + 1, side))


def test_pillow_warns_nobody_and_keeps_its_settings() -> None:
    """Odd metadata makes Pillow warn; pytest turns a warning that escapes into an error."""
    before = Image.MAX_IMAGE_PIXELS
    tiff = bytearray(GOOD["tiff"])
    directory = struct.unpack_from("<I", tiff, 4)[0]
    count = struct.unpack_from("<H", tiff, directory)[0]
    last = directory + 2 + 12 * (count - 1)
    struct.pack_into("<HHII", tiff, last, 65000, 2, 5000, len(tiff) - 1)  # longer than the file
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Image.Image()  # the filters of this block are in force
        with pytest.raises(UserWarning):
            Image.open(io.BytesIO(bytes(tiff))).load()
        assert "Warning" not in str(outcome(bytes(tiff)))
    assert before == Image.MAX_IMAGE_PIXELS


@settings(max_examples=300, deadline=2000, suppress_health_check=[HealthCheck.too_slow])
@given(
    kind=st.sampled_from(sorted(GOOD)),
    cut=st.floats(0, 1),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), max_size=6),
)
def test_mutated_files_give_pixels_or_a_typed_error(
    kind: str, cut: float, flips: list[tuple[float, int]]
) -> None:
    data = bytearray(GOOD[kind])
    for where, change in flips:
        data[int(where * len(data))] ^= change
    if cut < 0.5:
        del data[int(2 * cut * len(data)) :]
    result = outcome(bytes(data))
    if isinstance(result, Decoded):
        assert result.pixels.dtype == np.uint8
        assert result.pixels.ndim == 2 or result.pixels.shape[2] == 3
    else:
        assert "\n" not in str(result)


@pytest.mark.parametrize("kind", ["jpeg", "grey jpeg", "progressive jpeg", "png", "grey png"])
def test_a_truncated_file_never_passes_for_a_whole_one(kind: str) -> None:
    for share in np.linspace(0.05, 0.97, 24):
        with pytest.raises(DecodeError):
            decode(GOOD[kind][: int(share * len(GOOD[kind]))])


# ------------------------------------------------------------------------ the pool


def test_the_pool_keeps_the_order_and_names_what_fails() -> None:
    sources = [
        b"bad" if k % 7 == 3 else encoded(np.full((9, 9), k, np.uint8), "PNG") for k in range(100)
    ]
    ids = np.array([f"image {k}" for k in range(100)])
    with DecodePool(3) as pool:
        results = list(pool.canvases(ids, sources, CanvasRecipe(4)))
    for k, result in enumerate(results):
        if k % 7 == 3:
            assert isinstance(result, Skipped)
            assert (result.source, result.reason[:15]) == (f"image {k}", "it is not an im")
        else:
            assert isinstance(result, Canvas)
            assert type(result.id) is str
            assert (result.id, int(result.pixels[0, 0])) == (f"image {k}", k)
    assert len(results) == 100


def test_the_pool_gives_what_one_image_at_a_time_gives() -> None:
    recipe = CanvasRecipe((20, 30), "pad", (Clahe(),))
    with DecodePool(2) as pool:
        together = list(pool.canvases(GOOD, GOOD.values(), recipe))
    for canvas, (name, data) in zip(together, GOOD.items(), strict=True):
        alone = make_canvas(name, decode(data, recipe.shape), recipe)
        np.testing.assert_array_equal(canvas.pixels, alone.pixels)
        assert (canvas.id, canvas.geometry) == (alone.id, alone.geometry)
        assert canvas.pixels.flags.writeable


def test_the_look_ahead_is_bounded() -> None:
    drawn = 0

    def sources() -> object:
        nonlocal drawn
        for _ in range(10_000):
            drawn += 1
            yield GOOD["grey png"]

    with DecodePool(2) as pool:
        stream = pool.canvases(map(str, range(10_000)), sources(), CanvasRecipe(8))
        for _ in range(200):
            next(stream)
        assert drawn <= 200 + pool.workers * pool.AHEAD * pool.CHUNK + pool.CHUNK
        stream.close()


def test_leaving_early_stops_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def slow(source: object, *_: object, **__: object) -> Decoded:
        calls.append(source)
        time.sleep(0.02)
        return Decoded(np.zeros((4, 4), np.uint8), (4, 4))

    monkeypatch.setattr(decode_pool, "decode", slow)

    def interrupted() -> None:
        with DecodePool(2) as pool:
            for _ in pool.canvases(map(str, range(500)), [b""] * 500, CanvasRecipe(4)):
                raise KeyboardInterrupt

    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.perf_counter() - start < 1.5  # all 500 would take 5 s
    assert len(calls) < 60


def test_a_stream_that_is_closed_leaves_the_pool_free(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def slow(source: object, *_: object, **__: object) -> Decoded:
        calls.append(source)
        time.sleep(0.02)
        return Decoded(np.zeros((4, 4), np.uint8), (4, 4))

    monkeypatch.setattr(decode_pool, "decode", slow)
    with DecodePool(2) as pool:
        stream = pool.canvases(map(str, range(500)), [b""] * 500, CanvasRecipe(4))
        next(stream)
        stream.close()
        before = len(calls)
        time.sleep(0.3)
        assert len(calls) <= before + pool.workers


def test_too_little_memory_is_a_named_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    def starved(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(module, "read_bytes", starved)
    with DecodePool(1) as pool:
        [skipped] = pool.canvases(["a"], [GOOD["png"]], CanvasRecipe(4))
    assert isinstance(skipped, Skipped)
    assert "memory" in skipped.reason


def test_an_edit_that_is_broken_is_not_hidden() -> None:
    class Broken:
        key = "broken"

        def __call__(self, canvas: Canvas) -> Canvas:
            raise ZeroDivisionError

    with DecodePool(1) as pool, pytest.raises(ZeroDivisionError):
        list(pool.canvases(["a"], [GOOD["png"]], CanvasRecipe(4, edits=(Broken(),))))


def test_as_many_ids_as_sources() -> None:
    with DecodePool(1) as pool, pytest.raises(ValueError, match="zip"):
        list(pool.canvases(["a", "b"], [GOOD["png"]], CanvasRecipe(4)))


def test_opencvs_threads_come_back_and_no_thread_stays() -> None:
    before, running = cv2.getNumThreads(), threading.active_count()
    with DecodePool(2) as pool:
        assert cv2.getNumThreads() == 1
        list(pool.canvases(["a"], [GOOD["png"]], CanvasRecipe(4)))
    assert cv2.getNumThreads() == before
    assert threading.active_count() == running


# ------------------------------------------------------------------------ how large images are


def table_of(sizes: list[tuple[int, int]], folder: Path, kind: str = "png") -> ImageTable:
    """One constant image of each (height, width)."""
    for index, (height, width) in enumerate(sizes):
        path = folder / "ab"[index % 2] / f"{index:03}.{kind}"
        path.parent.mkdir(exist_ok=True)
        Image.new("L", (width, height), 90).save(path)
    return load(folder)


def test_the_shorter_side_that_nearly_all_images_hold(tmp_path: Path) -> None:
    """Of 41 images 2 (5 %) may be smaller: the third smallest of the shorter sides counts."""
    sides = [10, 20, *range(30, 69)]
    sizes = [(side, 90) if side % 2 else (90, side) for side in sides]
    assert shorter_side(table_of(sizes, tmp_path)) == 30


def test_the_stored_size_counts_however_a_jpeg_is_decoded(tmp_path: Path) -> None:
    assert shorter_side(table_of([(300, 500), (500, 300)], tmp_path, "jpg")) == 300


def test_a_sample_is_spread_over_the_table(tmp_path: Path) -> None:
    table = table_of([(20, 20)] * 5 + [(40, 40)] * 5, tmp_path)
    assert shorter_side(table.select(np.argsort([s.path[-7:] for s in table.sources])), 2) == 20
    assert shorter_side(table.select(np.flatnonzero(table.ids > "b")), 1) in (20, 40)


def test_images_that_cannot_be_read_do_not_count(tmp_path: Path) -> None:
    table = table_of([(30, 40), (30, 50), (9, 9)], tmp_path)
    Path(table.sources[1].path).write_bytes(b"no image")
    Path(table.sources[2].path).write_bytes(b"")
    assert shorter_side(table) in (9, 30)
    for source in table.sources:
        Path(source.path).write_bytes(b"")
    assert shorter_side(table) == 0
    assert shorter_side(table.select(np.array([], dtype=int))) == 0
