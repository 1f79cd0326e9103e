"""Any image to pixels, or one `DecodeError` that says what is wrong with it.

`decode` reads a file, a frame or bytes, in this process; how each format becomes 8 bits stands in
`formats.py`, how pixels become a canvas in `preprocess.py`. `decode_pool.py` does all of it for
many images, and where a file can do no harm.
"""

from __future__ import annotations

import mmap
import shutil
import stat
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from medgraft.data.pixels.dicom_file import HEAD, brightness, decode_dicom, is_dicom
from medgraft.data.pixels.formats import (
    PLAIN_BYTES,
    PNG,
    Decoded,
    NotPlain,
    begins_known,
    read_bytes,
    refuse_jpeg_bomb,
    refuse_unknown,
)
from medgraft.data.pixels.headers import (
    COPY_AGAIN,
    HEAD_BYTES,
    MAX_PIXELS,
    MAX_PIXELS_PILLOW,
    SAVE_AGAIN,
    begins_tiff,
    check_size,
    refuse_bomb,
    refuse_tiff_bomb,
)
from medgraft.data.pixels.values import Stored
from medgraft.errors import DecodeError
from medgraft.types import PLAIN, PixelRule, Source

DICOM = ("pydicom", "pylibjpeg-openjpeg", "imagecodecs")  # the last two are of an extra
MAX_BYTES = 4 * MAX_PIXELS
LARGE_ARRAY = 1 << 30  # bytes; smaller ones may be as empty as they like
MOST_PACKED = 200  # times that an array of images is larger than its packed form
UNKNOWN_BYTES = 64 << 20  # from which on a file of no known kind is not read to the end


def decoders(*, dicom: bool = True) -> tuple[str, ...]:
    """The packages that decode and resize, with their versions, which decide the pixels.

    dicom : those that only DICOM files are decoded by, too.
    """
    import importlib.metadata  # which takes a worker, who needs none of it, 20 ms

    found = []
    for package in ("opencv-python-headless", "pillow", "simplejpeg", *(DICOM if dicom else ())):
        with suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{package} {importlib.metadata.version(package)}")
    return tuple(found)


def decode(
    source: Source | bytes,
    at_least: tuple[int, int] | None = None,
    rule: PixelRule | None = None,
    *,
    only_plain: bool = False,
) -> Decoded:
    """Decode one image to 8 bits, grey where it is stored as grey, upright by its EXIF.

    Parameters
    ----------
    source : a file, a frame of a multi-page TIFF or GIF, a frame of an array in an `.npz`, or the
        bytes of a file.
    at_least : (height, width) of the upright image that suffice; a JPEG is then decoded at the
        smallest scale that still has both. Other formats ignore it.
    rule : how its stored values are shown; by default the rule of the source, of bytes the plain
        one. With a range, numbers of more than 8 bits run evenly from its low to its high end.
    only_plain : decode it only if it is a JPEG or PNG of the usual kind and size, or a frame of an
        array, which take little time and memory.

    Raises
    ------
    NotPlain
        It is not, and `only_plain` was asked for.
    DecodeError
        One line without the path: missing, empty, damaged, too big, or not a kind that is read.

    Notes
    -----
    *Without a range* (a single image, a mask) numbers of more than 8 bits are brought to 8 by the
    image itself, as `values.to_8_bit` says, which the remark then tells. *White-is-zero* is turned
    around at every depth. *Alpha* that is the same everywhere is an artefact of saving and
    dropped; other alpha is composited on black, the background of most medical images. A *palette*
    of greys gives a grey image. A JPEG that has *bytes beside its picture* is read, with a remark.
    """
    rule = rule or rule_of(source)
    with _one_kind_of_error():
        if not isinstance(source, bytes) and source.member:
            return Decoded.of(_decode_array(source), rule)
        data, frame = _bytes_of(source, rule.page, only_plain)
        if _is_dicom(data, only_plain):
            return decode_dicom(data, frame, rule)
        return Decoded.of(read_bytes(data, frame, at_least, rule.page, only_plain), rule)


def stored_values(
    source: Source | bytes,
    at_least: tuple[int, int] | None = None,
    *,
    only_plain: bool = False,
) -> Stored:
    """What one image stores, upright, before it is brought to 8 bits; all else as of `decode`.

    Of DICOM that says itself how it is shown, that picture: 8 bits, which no range changes; of
    other DICOM the values one below the other, without padding.
    """
    with _one_kind_of_error():
        if not isinstance(source, bytes) and source.member:
            return _decode_array(source)
        page = rule_of(source).page
        data, frame = _bytes_of(source, page, only_plain)
        if _is_dicom(data, only_plain):
            values = brightness(data, frame)
            shown = decode_dicom(data, frame, PLAIN).pixels if values is None else values[:, None]
            return Stored(shown, (shown.shape[0], shown.shape[1]))
        return read_bytes(data, frame, at_least, page, only_plain)


def rule_of(source: Source | bytes) -> PixelRule:
    """The rule that travels with a source; of bytes the plain one."""
    return PLAIN if isinstance(source, bytes) else source.rule


def _bytes_of(
    source: Source | bytes, page: int | None, only_plain: bool
) -> tuple[bytes, int | None]:
    """The bytes of a file, and the frame of it that is meant."""
    if isinstance(source, bytes):
        return source, None
    frame = source.frame if source.frame is not None or page is None else page - 1
    return _read(Path(source.path), frame, only_plain), source.frame


def _is_dicom(data: bytes, only_plain: bool) -> bool:
    """Whether it is a DICOM file, which is not plain whatever is in it."""
    found = is_dicom(data[:HEAD])
    if found and only_plain:
        raise NotPlain
    return found


@contextmanager
def _one_kind_of_error() -> Iterator[None]:
    """Whatever goes wrong inside is a `DecodeError`."""
    try:
        yield
    except (DecodeError, NotPlain):
        raise
    except MemoryError as error:
        raise DecodeError("there is not enough memory to decode it; use fewer workers") from error
    # What broken bytes raise inside a codec is not to be listed, and all of it means the same.
    except Exception as error:
        words = " ".join(f"{type(error).__name__}: {error}".split())[:120]
        if any(word in words.lower() for word in ("premature end", "truncated", "end of file")):
            raise DecodeError(
                f"the image is damaged: the file ends before it does; {COPY_AGAIN}"
            ) from error
        raise DecodeError(f"the image is damaged ({words}); {SAVE_AGAIN}") from error


def _read(path: Path, frame: int | None, only_plain: bool) -> bytes:
    """The bytes of a file whose header claims no more than is read."""
    with _opened(path) as (file, size):
        head = file.read(min(size, HEAD_BYTES))
        if len(head) == size:
            return head
        if only_plain and (size > PLAIN_BYTES or (head[:2] != b"\xff\xd8" and head[:8] != PNG)):
            raise NotPlain
        if size > UNKNOWN_BYTES and not begins_known(head):
            refuse_unknown()
        refuse_jpeg_bomb(head)
        refuse_bomb(head)
        if begins_tiff(head):
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                refuse_tiff_bomb(mapped, frame)
        file.seek(0)
        return file.read()


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """A regular file of sensible size, and its size; a pipe would be waited on for ever."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise DecodeError("it is a folder, not an image; name the files in it")
        if not stat.S_ISREG(status.st_mode):
            raise DecodeError("it is not a regular file; give an image file")
        if status.st_size > MAX_BYTES:
            raise DecodeError(
                f"the file has {status.st_size:,} bytes, more than the {MAX_BYTES:,} that are read;"
                " store a smaller image"
            )
        with path.open("rb", buffering=0) as file:
            yield file, status.st_size
    except FileNotFoundError as error:
        raise DecodeError("the file is missing, or a link to nothing; restore it") from error
    except PermissionError as error:
        raise DecodeError("the file may not be read; change its permissions") from error
    except OSError as error:
        raise DecodeError(f"the file cannot be read ({error.strerror})") from error


# --------------------------------------------------------------------------- arrays in .npz


def _decode_array(source: Source) -> Stored:
    path = Path(source.path)
    try:
        changed = path.stat().st_mtime_ns
    except OSError as error:
        raise DecodeError("the .npz file is missing or cannot be read; restore it") from error
    with _ARRAYS:
        array = _mapped(path, source.member, changed)
    frame = source.frame or 0
    if not 0 <= frame < len(array):
        raise DecodeError(f"{source.member} has no frame {frame}; it has {len(array)}, from 0 on")
    values = np.asarray(array[frame])
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if values.ndim not in (2, 3) or values.shape[2:] not in ((), (3,)):
        raise DecodeError(
            f"a frame of {source.member} has shape {values.shape}; "
            "an image is (height, width) or (height, width, 3)"
        )
    check_size(values.shape[0], values.shape[1], MAX_PIXELS_PILLOW)
    return Stored(values, (values.shape[0], values.shape[1]))


_ARRAYS = threading.Lock()


@lru_cache(maxsize=4)
def _mapped(path: Path, member: str, changed: int) -> NDArray[Any]:
    """Unpack one array of an `.npz` to a nameless temporary file, and map that.

    Frames can then be read in any order, and memory stays flat for sets of many gigabytes.
    `changed` is the file's time stamp, so that a file written anew is read anew.
    """
    with zipfile.ZipFile(path) as archive, tempfile.NamedTemporaryFile(suffix=".npy") as unpacked:
        try:
            packed = archive.open(f"{member}.npy")
        except KeyError as error:
            raise DecodeError(
                f"the .npz has no array {member!r}; it has {archive.namelist()}"
            ) from error
        _check_unpacked(archive.getinfo(f"{member}.npy"), Path(unpacked.name).parent)
        with packed:
            shutil.copyfileobj(packed, unpacked, 1 << 20)
        unpacked.flush()
        array: NDArray[Any] = np.load(unpacked.name, mmap_mode="r", allow_pickle=False)
    return array


def _check_unpacked(member: zipfile.ZipInfo, folder: Path) -> None:
    """Refuse an array that is far larger than images pack to, or than the disk has room for."""
    size, packed = member.file_size, max(member.compress_size, 1)
    if size > LARGE_ARRAY and size > MOST_PACKED * packed:
        raise DecodeError(
            f"{member.filename} unpacks from {packed:,} to {size:,} bytes, as no images do; save "
            "the arrays again with numpy.savez"
        )
    if size > (free := shutil.disk_usage(folder).free):
        raise DecodeError(
            f"{member.filename} unpacks to {size:,} bytes, and {folder} has {free:,} free; set "
            "TMPDIR to a larger disk"
        )
