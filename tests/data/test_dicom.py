"""DICOM pictures: every transfer syntax and photometric form, against independent truth.

The truth is an array that the test made, pydicom's own decoders and look-up functions, or another
codec (liblj92, OpenJPEG through imagecodecs).
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import data_store
import imagecodecs
import numpy as np
import pydicom.data
import pytest
from PIL import Image
from pydicom import Dataset, Sequence, dcmread
from pydicom.pixels import apply_modality_lut, apply_voi_lut, get_decoder
from pydicom.uid import ExplicitVRLittleEndian

from dicom_files import NATIVE, data_set, dicom, written
from medgraft.data.pixels import dicom_file as module
from medgraft.data.pixels.decode import decode
from medgraft.data.pixels.dicom_codecs import PixelFormat, pixel_format, stored_values
from medgraft.data.pixels.dicom_file import brightness, decode_dicom, is_dicom, read_dataset
from medgraft.errors import DecodeError
from medgraft.types import PixelRule, Source

TWELVE = PixelRule(0, 4095)
FILES = [
    path
    for root in (Path(pydicom.data.__file__).parent, Path(data_store.__file__).parent)
    for path in sorted(root.rglob("*.dcm"))
    if path.name not in ("RG1_J2KR.dcm", "RG1_J2KI.dcm", "RG3_J2KR.dcm")  # seconds each
]
RNG = np.random.default_rng(7)


def syntax(number: str) -> str:
    return f"1.2.840.10008.1.2.{number}"


def smooth(rows: int, columns: int, most: int) -> np.ndarray:
    y, x = np.mgrid[:rows, :columns]
    return np.rint((1 + np.sin(y / 7) * np.cos(x / 9)) / 2 * most).astype(np.uint16)


def stored(data: bytes, frame: int = 0) -> tuple[np.ndarray, PixelFormat]:
    ds = read_dataset(data)
    return stored_values(ds, pixel_format(ds), frame)


def stored_range(data: bytes) -> tuple[float, float, int]:
    """(least, largest, bits) of the values that a data set's range is found from."""
    values = brightness(data)
    assert values is not None
    return float(values.min()), float(values.max()), pixel_format(read_dataset(data)).stored


def decoded_or_why(data: bytes) -> tuple[np.ndarray | None, str]:
    try:
        return decode_dicom(data, None, TWELVE).pixels, ""
    except DecodeError as error:
        return None, str(error)


def by_pydicom(path: Path) -> tuple[np.ndarray, str] | None:
    """The first frame by a decoder that is not ours, or None where pydicom has none here."""
    ds = dcmread(path, force=True)
    if "PixelData" not in ds or ds.get("BitsAllocated") not in (8, 16) or "Rows" not in ds:
        return None
    named = ds.file_meta.get("TransferSyntaxUID", ExplicitVRLittleEndian)
    try:
        raw = named in (syntax("4.90"), syntax("4.91"))
        array, meta = get_decoder(named).as_array(ds, index=0, raw=raw)
    except (RuntimeError, ValueError, NotImplementedError, AttributeError):
        return None
    return array, str(meta["photometric_interpretation"])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_of_pydicom_are_read_as_pydicom_reads_them_or_refused_with_a_reason(path: Path):
    data = path.read_bytes()
    expected = by_pydicom(path)
    picture, why = decoded_or_why(data)
    if picture is None:
        assert why
        assert "\n" not in why
        assert expected is None
        return
    assert picture.dtype == np.uint8
    if expected is not None:
        values, form = stored(data)
        assert values.shape == expected[0].shape
        if form.samples == 1 or form.photometric == "RGB":
            assert np.array_equal(values, expected[0])


def test_the_files_hold_what_is_claimed():
    read = {name for path in FILES if (name := _syntax_if_read(path))}
    claimed = ["", "1", "1.99", "2", "5", "4.50", "4.51", "4.70", "4.80", "4.81", "4.90", "4.91"]
    assert {syntax(number).rstrip(".") for number in claimed} <= read


def _syntax_if_read(path: Path) -> str:
    data = path.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            decode_dicom(data, None, TWELVE)
        except DecodeError:
            return ""
        return str(dcmread(path, force=True).file_meta.get("TransferSyntaxUID", ""))


# --------------------------------------------------------------------------- transfer syntaxes

GREYS = [
    RNG.integers(0, 256, (9, 14)).astype(np.uint8),
    RNG.integers(0, 4096, (9, 14)).astype(np.uint16),
    RNG.integers(0, 65536, (9, 14)).astype(np.uint16),
    RNG.integers(-2048, 2048, (9, 14)).astype(np.int16),
]
COLOURS = RNG.integers(0, 256, (9, 14, 3)).astype(np.uint8)


def bits_of(pixels: np.ndarray) -> int:
    return 12 if pixels.dtype.itemsize == 2 and abs(pixels.astype(int)).max() < 4096 else (
        8 * pixels.dtype.itemsize
    )  # fmt: skip


@pytest.mark.parametrize("name", NATIVE)
@pytest.mark.parametrize("pixels", [*GREYS, COLOURS], ids=lambda a: f"{a.dtype}{a.ndim}")
def test_uncompressed(name: str, pixels: np.ndarray):
    data = written(data_set(pixels, bits_of(pixels)), name)
    assert np.array_equal(stored(data)[0], pixels)


def test_uncompressed_in_a_frame_of_its_own():
    data = written(data_set(GREYS[1], 12), syntax("1.98"), [GREYS[1].tobytes()])
    assert np.array_equal(stored(data)[0], GREYS[1])


def test_big_endian_bytes_in_words_are_swapped():
    ds = data_set(GREYS[0])
    ds.PixelData = GREYS[0].tobytes()
    data = written(ds, syntax("2"))
    ds.PixelData = np.frombuffer(ds.PixelData, "<u2").byteswap().tobytes()
    ds["PixelData"].VR = "OW"
    swapped = data.replace(b"\x7f\xe0\x00\x10OB", b"\x7f\xe0\x00\x10OW")
    swapped = swapped[: -len(ds.PixelData)] + ds.PixelData
    assert swapped != data
    assert np.array_equal(stored(swapped)[0], GREYS[0])


def test_planes_one_after_another():
    ds = data_set(COLOURS, PlanarConfiguration=1)
    ds.PixelData = COLOURS.transpose(2, 0, 1).tobytes()
    assert np.array_equal(stored(written(ds))[0], COLOURS)


def test_bits_around_the_stored_ones_are_no_pixels():
    pixels = RNG.integers(0, 1024, (5, 6)).astype(np.uint16)
    ds = data_set(pixels << 2 | 0xF003, 10, HighBit=11)
    assert np.array_equal(stored(written(ds))[0], pixels)


def test_single_bits_begin_at_the_lowest_and_frames_where_the_last_ended():
    frames = RNG.integers(0, 2, (3, 3, 5)).astype(np.uint8)
    ds = data_set(frames, BitsAllocated=1, BitsStored=1, HighBit=0)
    ds.PixelData = np.packbits(frames.ravel(), bitorder="little").tobytes()
    for index, frame in enumerate(frames):
        assert np.array_equal(stored(written(ds), index)[0], frame)


@pytest.mark.parametrize("pixels", GREYS, ids=lambda a: str(a.dtype))
@pytest.mark.parametrize("number", ["4.80", "4.90", "4.57", "4.70"])
def test_lossless_grey(number: str, pixels: np.ndarray):
    bits = bits_of(pixels)
    raw = pixels.view(f"u{pixels.dtype.itemsize}")
    raw = raw & ((1 << bits) - 1) if pixels.dtype.kind == "i" else raw
    raw = raw.astype(np.uint8 if bits == 8 else np.uint16)
    part = {
        "4.80": lambda: imagecodecs.jpegls_encode(raw),
        "4.90": lambda: imagecodecs.jpeg2k_encode(
            raw, codecformat="j2k", reversible=True, bitspersample=bits
        ),
        "4.57": lambda: imagecodecs.jpeg8_encode(
            raw, lossless=True, predictor=4, bitspersample=bits
        ),
        "4.70": lambda: imagecodecs.ljpeg_encode(raw, bitspersample=bits),
    }[number]()
    values, _ = stored(written(data_set(pixels, bits), syntax(number), [part]))
    if number == "4.80" and pixels.dtype.kind == "i":
        # this encoder writes 16 bits of precision, so the sign bit of 12 lies inside
        values = (values << 4).astype(np.int16) >> 4
    assert np.array_equal(values, pixels)


def test_lossless_colours():
    for number, part in {
        "4.80": imagecodecs.jpegls_encode(COLOURS),
        "4.90": imagecodecs.jpeg2k_encode(COLOURS, codecformat="j2k", reversible=True),
        "4.201": imagecodecs.htj2k_encode(COLOURS, reversible=True),
        "4.57": imagecodecs.jpeg8_encode(
            COLOURS, lossless=True, colorspace="RGB", outcolorspace="RGB"
        ),
    }.items():
        ds = data_set(COLOURS)
        if number in ("4.90", "4.201"):
            ds.PhotometricInterpretation = "YBR_RCT"
        values, form = stored(written(ds, syntax(number), [part]))
        assert form.photometric == "RGB"
        assert np.array_equal(values, COLOURS), number


def test_run_lengths_of_several_frames_and_samples():
    frames = RNG.integers(0, 4, (2, 8, 6)).astype(np.uint16) * 257
    ds = data_set(frames)
    ds.file_meta = None
    plain = dcmread_of(written(ds))
    plain.compress(syntax("5"), encoding_plugin="pydicom")
    for index, frame in enumerate(frames):
        assert np.array_equal(stored(saved(plain), index)[0], frame)
    colours = dcmread_of(dicom(COLOURS))
    colours.compress(syntax("5"), encoding_plugin="pydicom")
    assert np.array_equal(stored(saved(colours))[0], COLOURS)


def test_damaged_run_lengths_are_a_typed_error():
    plain = dcmread_of(dicom(RNG.integers(0, 4, (16, 16)).astype(np.uint16)))
    plain.compress(syntax("5"), encoding_plugin="pydicom")
    data = saved(plain)
    at = data.index(b"\xfe\xff\x00\xe0", data.index(b"\xe0\x7f\x10\x00") + 20)
    for place in range(at + 8, len(data) - 8, 7):
        broken = bytearray(data)
        broken[place] ^= 0xFF
        decoded_or_why(bytes(broken))  # a picture or a reason, and nothing else
    assert "RLE segments" in refusal(data[: at + 8] + b"\x07" + data[at + 9 :])


def dcmread_of(data: bytes) -> Dataset:
    import io

    return dcmread(io.BytesIO(data))


def saved(ds: Dataset) -> bytes:
    import io

    stream = io.BytesIO()
    ds.save_as(stream)
    return stream.getvalue()


def test_twelve_bits_of_lossy_jpeg_are_near_what_was_encoded():
    pixels = smooth(64, 48, 4095)
    part = imagecodecs.jpeg8_encode(pixels, level=98, bitspersample=12)
    values, _ = stored(written(data_set(pixels, 12), syntax("4.51"), [part]))
    assert values.max() > 4000
    assert np.abs(values.astype(int) - pixels).max() < 40


@pytest.mark.parametrize("number", ["4.91", "4.203", "4.81"])
def test_lossy_greys_are_near_what_was_encoded(number: str):
    pixels = smooth(64, 48, 4095)
    part = {
        "4.91": lambda: imagecodecs.jpeg2k_encode(
            pixels, 60, codecformat="j2k", reversible=False, bitspersample=12
        ),
        "4.203": lambda: imagecodecs.htj2k_encode(pixels, 0.0005, reversible=False),
        "4.81": lambda: imagecodecs.jpegls_encode(pixels, 2),
    }[number]()
    values, _ = stored(written(data_set(pixels, 12), syntax(number), [part]))
    assert np.abs(values.astype(int) - pixels).max() < 60


@pytest.mark.parametrize(("marked", "photometric"), [(True, "YBR_FULL_422"), (False, "RGB")])
def test_colours_of_a_jpeg_are_what_its_stream_or_else_the_data_set_says(marked, photometric):
    y = smooth(32, 32, 200).astype(np.uint8)
    colours = np.stack([y, y[::-1], y.T], axis=-1)
    way = {} if marked else {"colorspace": "RGB", "outcolorspace": "RGB"}
    part = imagecodecs.jpeg8_encode(colours, 95, subsampling="444", **way)
    if not marked:  # without the marker that says so, only the data set tells; ids are 1, 2, 3
        part = without_marker(part, 0xEE)
        frame = part.index(b"\xff\xc0")
        part = part.replace(b"R\x11\x00G\x11\x00B\x11\x00", b"\x01\x11\x00\x02\x11\x00\x03\x11\x00")
        scan = part.index(b"\xff\xda")
        assert frame < scan
        part = part[: scan + 5] + b"\x01\x00\x02\x00\x03\x00" + part[scan + 11 :]
    data = written(data_set(colours, PhotometricInterpretation=photometric), syntax("4.50"), [part])
    assert np.abs(decode_dicom(data).pixels.astype(int) - colours).max() < 14


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_jpeg_inside_is_not_turned_by_what_its_camera_noted(orientation: int):
    """No viewer of DICOM does, and rows and columns are the data set's."""
    y = smooth(32, 48, 200).astype(np.uint8)
    colours = np.stack([y, y[::-1], y[:, ::-1]], axis=-1)
    exif, plain, noted = Image.Exif(), io.BytesIO(), io.BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(colours).save(plain, "JPEG", quality=95)
    Image.fromarray(colours).save(noted, "JPEG", quality=95, exif=exif)
    seen = [
        decode_dicom(
            written(
                data_set(colours, PhotometricInterpretation="YBR_FULL_422"),
                syntax("4.50"),
                [part.getvalue()],
            )
        ).pixels
        for part in (plain, noted)
    ]
    assert seen[0].shape == (32, 48, 3)
    np.testing.assert_array_equal(*seen)


def without_marker(part: bytes, marker: int) -> bytes:
    at = part.find(bytes([0xFF, marker]))
    if at < 0:
        return part
    (length,) = struct.unpack_from(">H", part, at + 2)
    return part[:at] + part[at + 2 + length :]


def test_a_frame_of_several_fragments_is_joined_and_counted():
    frames = RNG.integers(0, 256, (3, 16, 16)).astype(np.uint8)
    ds = data_set(frames)
    from pydicom.encaps import encapsulate

    parts = [imagecodecs.jpegls_encode(frame) for frame in frames]
    data = written(ds, syntax("4.80"), parts)
    ds.PixelData = encapsulate(parts, fragments_per_frame=2)
    cut = saved(dcmread_of(written_as_is(ds, syntax("4.80"))))
    for index, frame in enumerate(frames):
        assert np.array_equal(stored(data, index)[0], frame)
        assert np.array_equal(stored(cut, index)[0], frame)
    with pytest.raises(DecodeError, match="no frame 3; it has 3"):
        stored(data, 3)


def written_as_is(ds: Dataset, name: str) -> bytes:
    import io

    from pydicom import dcmwrite

    ds.file_meta.TransferSyntaxUID = name
    stream = io.BytesIO()
    dcmwrite(stream, ds, enforce_file_format=True)
    return stream.getvalue()


# --------------------------------------------------------------------------- what is shown


def test_window_as_the_standard_computes_it():
    values = np.array([[-1000, -60, 0, 40, 100, 240, 3000]], np.int16)
    data = dicom(values, WindowCenter="40", WindowWidth="400", RescaleSlope="1")
    ds = dcmread_of(data)
    # PS3.3 C.11.2.1.2.1 by hand: ((x - 39.5) / 399 + 0.5) * 255
    expected = np.clip(((values - 39.5) / 399 + 0.5) * 255, 0, 255)
    shown = decode_dicom(data).pixels
    assert np.abs(shown - expected).max() <= 0.5 + 1e-3
    by_pydicom = apply_voi_lut(apply_modality_lut(values, ds), ds)
    scale = 255 / 65535  # pydicom fills the 16 bits: y_max - y_min of 2^16 - 1, from -2^15
    assert np.abs(shown - (by_pydicom + 32768) * scale).max() < 1.1


@pytest.mark.parametrize("way", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_of_every_function_are_pydicoms(way: str):
    values = np.arange(0, 4096, dtype=np.uint16).reshape(64, 64)
    data = dicom(
        values, 12, WindowCenter="600", WindowWidth="900", VOILUTFunction=way,
        RescaleSlope="0.5", RescaleIntercept="-100",
    )  # fmt: skip
    ds = dcmread_of(data)
    y = apply_voi_lut(apply_modality_lut(values, ds), ds)
    low, high = (-100, 4095 * 0.5 - 100)
    shown = decode_dicom(data).pixels
    assert np.abs(shown - np.clip((y - low) / (high - low), 0, 1) * 255).max() < 1.01


def test_the_users_window_goes_before_the_files_and_the_files_before_the_range():
    values = np.array([[0, 100, 1000, 4095]], np.uint16)
    windowed = dicom(values, 12, WindowCenter=["500.5", "9"], WindowWidth=["1001", "9"])
    bare = dicom(values, 12)
    rule = PixelRule(0, 4095, window=(2048, 4096))
    assert decode_dicom(windowed).pixels.tolist() == [[0, 26, 255, 255]]
    assert decode_dicom(windowed, None, TWELVE).pixels.tolist() == [[0, 26, 255, 255]]
    assert decode_dicom(windowed, None, rule).pixels.tolist() == [[0, 6, 62, 255]]
    assert decode_dicom(bare, None, TWELVE).pixels.tolist() == [[0, 6, 62, 255]]


def test_without_window_or_range_the_flag_is_named():
    with pytest.raises(DecodeError, match=r"12 bits and no window .* --window CENTER,WIDTH"):
        decode_dicom(dicom(GREYS[1], 12))
    assert np.array_equal(decode_dicom(dicom(GREYS[0])).pixels, GREYS[0])  # eight bits as they are
    assert np.array_equal(decode_dicom(dicom(GREYS[0]), None, TWELVE).pixels, GREYS[0])


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16])
def test_a_large_picture_is_shown_as_its_pixels_are_one_by_one(kind: type):
    """Large ones go through a table of all values, small ones do not."""
    low, high = (0, 256) if kind is np.uint8 else (0, 4096) if kind is np.uint16 else (-2048, 2048)
    values = RNG.integers(low, high, (70, 70)).astype(kind)
    bits = 8 if kind is np.uint8 else 12
    window = {"WindowCenter": "100.5", "WindowWidth": "333", "RescaleSlope": "0.7"}
    for tags in (window, {"PhotometricInterpretation": "MONOCHROME1"}):
        ds = data_set(values, bits, **tags)
        ds.add_new("PixelPaddingValue", "SS" if kind is np.int16 else "US", int(values[3, 3]))
        large = decode_dicom(written(ds), None, TWELVE).pixels
        for row in (3, 40):
            small = data_set(values[row : row + 1], bits, **tags)
            small["PixelPaddingValue"] = ds["PixelPaddingValue"]
            assert np.array_equal(decode_dicom(written(small), None, TWELVE).pixels[0], large[row])


def lut(values: list[int], first: int, bits: int) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [len(values), first, bits]
    item["LUTDescriptor"].VR = "SS" if first < 0 else "US"
    item.LUTData = values
    item["LUTData"].VR = "US"
    item.LUTExplanation = "x"
    return item


def test_modality_table_then_voi_table():
    values = np.array([[0, 1, 2, 3, 9]], np.uint16)
    item = lut([10, 20, 30, 40], 1, 16)
    voi = lut([0, 100, 200, 1023], 19, 10)
    data = dicom(values, 12, ModalityLUTSequence=Sequence([item]), VOILUTSequence=Sequence([voi]))
    # 0, 1 -> 10, 2 -> 20, 3 -> 30, 9 -> 40; then 10 -> 0, 20 -> 100, above: the last
    assert decode_dicom(data).pixels.tolist() == [[0, 0, 25, 255, 255]]


def test_white_is_low_and_is_turned_once_and_last():
    values = np.array([[0, 1000, 4095]], np.uint16)
    tags = {"WindowCenter": "2048", "WindowWidth": "4096"}
    plain = decode_dicom(dicom(values, 12, **tags)).pixels
    for more in (
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"PresentationLUTShape": "INVERSE"},
        {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
    ):
        assert np.array_equal(decode_dicom(dicom(values, 12, **tags, **more)).pixels, 255 - plain)
    bare = dicom(values, 12, PhotometricInterpretation="MONOCHROME1")
    assert decode_dicom(bare, None, TWELVE).pixels.tolist() == [[255, 193, 0]]
    assert stored_range(bare) == (0.0, 4095.0, 12)
    dark = dicom(values[:, :2], 12, PhotometricInterpretation="MONOCHROME1")
    assert stored_range(dark) == (3095.0, 4095.0, 12)  # brighter is larger


def test_padding_is_black_and_counts_nowhere():
    values = np.array([[-2000, -2000, 0, 1000]], np.int16)
    for padding in (-2000, 65536 - 2000):
        ds = data_set(values, PhotometricInterpretation="MONOCHROME1")
        ds.add_new("PixelPaddingValue", "SS" if padding < 0 else "US", padding)
        data = written(ds)
        assert decode_dicom(data, None, PixelRule(-1001, 0)).pixels[0, :2].tolist() == [0, 0]
        assert stored_range(data) == (-1001.0, -1.0, 16)
    ranged = data_set(values)
    ranged.add_new("PixelPaddingValue", "SS", -2000)
    ranged.add_new("PixelPaddingRangeLimit", "SS", -1)
    assert stored_range(written(ranged)) == (0.0, 1000.0, 16)


def test_enhanced_frames_have_their_own_slope_and_window():
    frames = np.stack([np.full((2, 2), 100, np.uint16)] * 2)
    ds = data_set(frames, 12)
    groups = []
    for slope, centre in ((1, 100), (2, 300)):
        rescale, window, group = Dataset(), Dataset(), Dataset()
        rescale.RescaleSlope, rescale.RescaleIntercept = slope, 0
        window.WindowCenter, window.WindowWidth = centre, 201
        group.PixelValueTransformationSequence = Sequence([rescale])
        group.FrameVOILUTSequence = Sequence([window])
        groups.append(group)
    ds.PerFrameFunctionalGroupsSequence = Sequence(groups)
    data = written(ds)
    assert decode_dicom(data, 0).pixels[0, 0] == 128  # (100 - 99.5) / 200 + 0.5
    assert decode_dicom(data, 1).pixels[0, 0] == 1  # (200 - 299.5) / 200 + 0.5


# --------------------------------------------------------------------------- colours


def test_rgb_of_eight_and_of_sixteen_bits():
    assert np.array_equal(decode_dicom(dicom(COLOURS)).pixels, COLOURS)
    deep = COLOURS.astype(np.uint16) << 8 | 77
    assert np.array_equal(decode_dicom(dicom(deep)).pixels, COLOURS)
    twelve = COLOURS.astype(np.uint16) << 4 | 5
    assert np.array_equal(decode_dicom(dicom(twelve, 12)).pixels, COLOURS)


# By the formulas of PS3.3 C.7.6.3.1.2, worked out by hand: grey, red, green, blue, yellow
YCC = [(128, 128, 128), (76, 85, 255), (150, 44, 21), (29, 255, 107), (226, 0, 149)]
RGB = [(128, 128, 128), (254, 0, 0), (0, 255, 1), (0, 0, 254), (255, 255, 0)]


def test_ybr_full():
    data = dicom(np.array([YCC], np.uint8), PhotometricInterpretation="YBR_FULL")
    assert np.abs(decode_dicom(data).pixels[0].astype(int) - RGB).max() <= 1


def test_ybr_full_422_shares_colour_between_two_pixels():
    # two pixels: bright and dark red; four bytes for both
    ds = data_set(np.zeros((1, 2, 3), np.uint8), PhotometricInterpretation="YBR_FULL_422")
    ds.PixelData = bytes([76, 40, 85, 255])
    assert np.abs(
        decode_dicom(written(ds)).pixels[0].astype(int) - [(254, 0, 0), (218, 0, 0)]
    ).max() <= 1  # fmt: skip


@pytest.mark.parametrize("deep", [True, False])
def test_palette(deep: bool):
    index = np.array([[0, 1, 2, 250]], np.uint8)
    ds = data_set(index, PhotometricInterpretation="PALETTE COLOR")
    planes = {"Red": [255, 0, 7], "Green": [0, 255, 8], "Blue": [9, 10, 255]}
    for name, values in planes.items():
        setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [3, 0, 16 if deep else 8])
        table = np.array(values, "<u2" if deep else np.uint8) * (257 if deep else 1)
        packed = table.astype(table.dtype).tobytes()
        setattr(ds, f"{name}PaletteColorLookupTableData", packed + b"\0" * (len(packed) % 2))
    expected = [[255, 0, 9], [0, 255, 10], [7, 8, 255], [7, 8, 255]]
    assert decode_dicom(written(ds)).pixels[0].tolist() == expected


# --------------------------------------------------------------------------- what is refused


def refusal(data: bytes, rule: PixelRule = TWELVE) -> str:
    with pytest.raises(DecodeError) as caught:
        decode_dicom(data, None, rule)
    return str(caught.value)


def test_what_has_no_picture_is_refused_by_its_rule():
    grey = data_set(GREYS[1], 12)
    wide = data_set(np.zeros((2, 2), np.uint32))
    assert "32 bits" in refusal(written(wide))
    assert "no pixels" in refusal(written(data_set(GREYS[1], 12, PixelData=None)))
    empty = Dataset()
    empty.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    empty.SOPInstanceUID = "1.2.3"
    assert "Basic Text SR Storage" in refusal(written(empty))
    secret = data_set(GREYS[1], 12, PixelData=None)
    secret.EncryptedAttributesSequence = Sequence([Dataset()])
    assert "encrypted" in refusal(written(secret))
    assert "encrypted" in refusal(
        b"\x30\x82\x10\x00\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03" + bytes(200)
    )
    index = Dataset()
    index.SOPClassUID, index.SOPInstanceUID = "1.2.840.10008.1.3.10", "1.2.3"
    index.DirectoryRecordSequence = Sequence([])
    assert "DICOMDIR" in refusal(written(index))
    assert "HSV" in refusal(written(data_set(COLOURS, PhotometricInterpretation="HSV")))
    assert "contradicts" in refusal(written(data_set(GREYS[1], 12, HighBit=3)))
    del grey.Rows
    assert refusal(written(grey))


def test_truncated_anywhere_is_one_typed_error():
    pixels = smooth(40, 40, 4095)
    for number, parts in (
        ("1", None),
        ("4.80", [imagecodecs.jpegls_encode(pixels)]),
        ("4.90", [imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", reversible=True)]),
    ):
        ds, name = data_set(pixels, 12), syntax(number)
        data = written(ds, name, parts)
        decode_dicom(data, None, TWELVE)
        for length in (133, 200, 400, len(data) // 2, len(data) - 300):
            assert refusal(data[:length])


def test_a_syntax_that_is_not_read_is_named():
    said = refusal(written(data_set(GREYS[0]), syntax("4.100"), [b"\0\0\1\xb3"]))
    assert "MPEG2 Main Profile" in said
    assert "1.2.840.10008.1.2.4.100" in said


def test_a_missing_decoder_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "openjpeg", None)
    part = imagecodecs.jpeg2k_encode(GREYS[0], codecformat="j2k")
    said = refusal(written(data_set(GREYS[0]), syntax("4.90"), [part]))
    assert "JPEG 2000 Image Compression (Lossless Only)" in said
    assert "pip install 'medgraft[dicom]'" in said


def test_pictures_larger_than_their_header_are_refused_before_they_are_decoded():
    part = imagecodecs.jpegls_encode(np.zeros((2000, 2000), np.uint8))
    said = refusal(written(data_set(GREYS[0]), syntax("4.80"), [part]))
    assert "2000 x 2000 pixels" in said
    huge = data_set(GREYS[0], Rows=65535, Columns=65535)
    assert "megapixels" in refusal(written(huge))


def test_a_deflated_bomb_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MAX_INFLATED", 1 << 20)
    ds = data_set(np.zeros((3000, 3000), np.uint8))
    data = written(ds, syntax("1.99"))
    assert len(data) < 50_000
    assert "deflated data set has more than" in refusal(data)


@pytest.mark.filterwarnings("ignore")
def test_errors_repeat_nothing_of_the_file():
    for path in FILES[:60]:
        data = bytearray(path.read_bytes()[:20000])
        rng = np.random.default_rng(len(data))
        for at in rng.integers(132, len(data), 20):
            data[at] = 0x5A
        _, why = decoded_or_why(bytes(data))
        name = str(dcmread(path, force=True).get("PatientName", ""))
        assert not name or name not in why


# --------------------------------------------------------------------------- what is DICOM


def test_known_by_content_with_or_without_name_and_preamble(tmp_path: Path):
    data = dicom(GREYS[0])
    (tmp_path / "IM0001").write_bytes(data)
    assert np.array_equal(decode(Source(str(tmp_path / "IM0001"))).pixels, GREYS[0])
    assert is_dicom(data[:132])
    bare = data[data.index(b"\x08\x00\x16\x00UI") :]
    assert is_dicom(bare[:132])
    assert np.array_equal(decode(bare).pixels, GREYS[0])
    implicit = written(data_set(GREYS[0]), syntax("").rstrip("."))
    bare = implicit[implicit.index(b"\x08\x00\x16\x00\x1a") :]
    assert np.array_equal(decode(bare).pixels, GREYS[0])


def test_other_files_are_not_dicom(tmp_path: Path):
    others = [
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0",
        b"II*\0\x08\0\0\0",
        b"MM\0*",
        b"GIF89a",
        b"BM",
    ]
    others += [
        b"P5\n2 2\n255\n",
        b"RIFF\0\0\0\0WEBP",
        b"PK\3\4",
        b"\x1f\x8b\x08\0",
        b"path,label\n",
    ]
    others += [zlib.compress(b"x"), bytes(200), b""]
    for head in others:
        assert not is_dicom((head + bytes(200))[:132] if head else head), head
