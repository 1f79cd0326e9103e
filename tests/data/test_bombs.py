"""Files that claim far more than they are: refused by their header, in little memory.

Each is decoded in a process of its own, whose growth is measured; a good file shows that the
measure sees what a decoder takes.
"""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fuzzing.seeds import PNG, chunk
from medgraft.data.ingest import load
from medgraft.data.pixels import decode as module
from medgraft.data.pixels.decode import decode
from medgraft.errors import DecodeError
from medgraft.types import Source

MEGABYTES = 100
SIDE = 20_000
MEASURED = """
import os, sys
from pathlib import Path
from medgraft.data.pixels.decode import decode
from medgraft.data.pixels.stored_header import hash_and_look, sniff
from medgraft.errors import DecodeError
from medgraft.types import Source

def peak():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) // 1024

for line in sys.stdin:
    if os.fork():
        os.wait()
        print("end", flush=True)
        continue
    path, before = line.rstrip("\\n"), peak()
    try:
        hash_and_look(path, sniff)
        decode(Source(path), (224, 224))
    except DecodeError as error:
        print(error)
    print(peak() - before, flush=True)
    os._exit(0)
"""
Measure = Callable[[Path], tuple[str, int]]


def png(width: int, height: int, bits: int, colour: int, *chunks: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return PNG + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND", b"")


def zeros(megabytes: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(megabytes)), packer.flush()])


def jpeg(side: int, claimed: int, **options: object) -> bytes:
    """Of one size, and of another by its header."""
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((side, side, 3), np.uint8)).save(buffer, "JPEG", **options)
    data = buffer.getvalue()
    at = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    return data[: at + 5] + struct.pack(">HH", claimed, claimed) + data[at + 9 :]


def tiff(side: int, packing: int, *more: tuple[int, int, int], tail: int = 0) -> bytes:
    """One strip of ten bytes; `more` are tags (tag, count, value) of long numbers."""
    tags = [(256, 1, side), (257, 1, side), (258, 1, 8), (259, 1, packing), (262, 1, 1)]
    tags += [(273, 1, 8), (277, 1, 1), (278, 1, side), (279, 1, 10), *more]
    entries = b"".join(struct.pack("<HHII", tag, 4, n, value) for tag, n, value in sorted(tags))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + bytes(tail)


def webp(side: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (9, 9)).save(buffer, "WEBP")
    edge = (side - 1).to_bytes(3, "little")
    body = b"VP8X" + struct.pack("<I", 10) + bytes(4) + 2 * edge + buffer.getvalue()[12:]
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def bmp(side: int) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 54) + info


OVERLAPPING = "tiff of overlapping tags"
TOO_MANY = "megapixels that are decoded"
BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "png": (lambda: png(SIDE, SIDE, 8, 0, chunk(b"IDAT", zeros(382))), TOO_MANY),
    "png of 16-bit colours": (lambda: png(6000, 6000, 16, 2, chunk(b"IDAT", b"")), TOO_MANY),
    "png with words": (lambda: png(1, 1, 8, 0, chunk(b"zTXt", b"a\0\0" + zeros(500))), "too large"),
    "png with many words": (
        lambda: png(1, 1, 8, 0, *[chunk(b"zTXt", b"a\0\0" + zeros(1))] * 900), "text chunks"),
    "png with a profile": (
        lambda: png(1, 1, 8, 0, chunk(b"iCCP", b"a\0\0" + zeros(500))), "too large"),
    "jpeg": (lambda: jpeg(64, SIDE), TOO_MANY),
    "short jpeg": (lambda: jpeg(64, 9_999), "ends long before"),
    "short progressive jpeg": (
        lambda: jpeg(64, 9_999, progressive=True, subsampling=0), "ends long before"),
    "tiff": (lambda: tiff(SIDE, 1), TOO_MANY),
    "short tiff": (lambda: tiff(7_000, 8), "ends long before"),
    "tiff of a huge tile": (
        lambda: tiff(100, 8, (322, 1, 65_520), (323, 1, 65_520), (324, 1, 8), (325, 1, 9)),
        TOO_MANY),
    OVERLAPPING: (
        lambda: tiff(10, 1, *((40_000 + k, 25 << 20, 0) for k in range(200))),
        "its tags claim"),
    "gif": (lambda: b"GIF89a" + struct.pack("<HHBBB", SIDE, SIDE, 0, 0, 0) + b";", TOO_MANY),
    "webp": (lambda: webp(16_384), TOO_MANY),
    "bmp": (lambda: bmp(SIDE), TOO_MANY),
    "ppm": (lambda: b"P6 20000 20000 255\n", TOO_MANY),
    "ppm of words": (lambda: b"P6 " + b"#\n" * 20_000_000 + b"5 5 255\n", "damaged"),
    "no image": (lambda: b"a,b\n" * 9, "it is not an image"),
}  # fmt: skip


# What follows them in the file, which is never read.
LONG = ("jpeg", "tiff", OVERLAPPING, "bmp", "ppm", "no image")
TAIL = 200 << 20


@pytest.fixture(scope="module")
def measured() -> Iterator[Measure]:
    """Gives of a file the reason, '' for a picture, and by how many MB a process of its own grew,
    forked from one that has loaded what decodes.
    """
    words = [sys.executable, "-c", MEASURED]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        asked, answers = process.stdin, process.stdout

        def measure(file: Path) -> tuple[str, int]:
            asked.write(f"{file}\n")
            asked.flush()
            *reason, growth = iter(lambda: answers.readline().strip(), "end")
            return " ".join(reason), int(growth)

        yield measure
        asked.close()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_in_little_memory(name: str, measured: Measure, tmp_path: Path) -> None:
    make, words = BOMBS[name]
    file = tmp_path / "bomb"
    data = make()
    file.write_bytes(data)
    os.truncate(file, len(data) + (TAIL if name in LONG else 0))
    reason, growth = measured(file)
    assert words in reason
    assert growth < MEGABYTES
    if name != OVERLAPPING:  # whose tags claim no more than the file has
        with pytest.raises(DecodeError, match=words):  # the same of an upload
            decode(data, (224, 224))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_file_of_a_gigabyte_is_hashed_and_refused_in_little_memory(
    measured: Measure, tmp_path: Path
) -> None:
    file = tmp_path / "large.bmp"
    file.write_bytes(bmp(SIDE))
    os.truncate(file, 3 * SIDE * SIDE)
    reason, growth = measured(file)
    assert "bytes, more than" in reason
    assert growth < MEGABYTES


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_measure_sees_what_a_picture_takes(measured: Measure, tmp_path: Path) -> None:
    file = tmp_path / "large.png"
    Image.new("RGB", (6000, 6000)).save(file)
    assert measured(file)[1] > MEGABYTES


def test_pages_of_a_tiff_in_a_ring_end(tmp_path: Path) -> None:
    data = bytearray(tiff(4, 1, tail=300))
    struct.pack_into("<I", data, 10 + 9 * 12, 8)  # the next page is the first
    assert decode(bytes(data)).pixels.shape == (4, 4)
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(DecodeError, match="no frame 1"):
        decode(Source(str(tmp_path / "a.tif"), 1))


def test_an_archive_is_not_unpacked_where_it_is_a_bomb_or_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.npz"
    images = np.zeros((6, 50, 50), np.uint8)
    np.savez_compressed(path, train_images=images, train_labels=np.arange(6) % 2)
    source = load(path).sources[0]
    assert decode(source).pixels.shape == (50, 50)
    module._mapped.cache_clear()
    monkeypatch.setattr(module, "LARGE_ARRAY", 10_000)
    monkeypatch.setattr(module, "MOST_PACKED", 20)
    with pytest.raises(DecodeError, match="as no images do"):
        decode(source)
    monkeypatch.setattr(module, "MOST_PACKED", 10_000)
    usage = type("Usage", (), {"free": 5})
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DecodeError, match="TMPDIR"):
        decode(source)
    assert zipfile.ZipFile(path).getinfo("train_images.npy").file_size > 5
