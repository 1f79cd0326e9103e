"""Any image to pixels, or one `DecodeError` that says what is wrong with it; and that in threads.

`decode` reads a file, a frame or bytes; how each format becomes 8 bits stands in `formats.py`,
how pixels become a canvas in `preprocess.py`. `DecodePool` does all of it in threads, in order.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import stat
import tempfile
import threading
import zipfile
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from medgraft.data.dicom import HEAD, brightness, decode_dicom, is_dicom
from medgraft.data.formats import (
    MAX_PIXELS,
    MAX_PIXELS_PILLOW,
    SAVE_AGAIN,
    Decoded,
    check_size,
    read_bytes,
)
from medgraft.data.preprocess import CanvasRecipe, make_canvas
from medgraft.data.values import Stored
from medgraft.errors import DecodeError
from medgraft.types import PLAIN, Canvas, ImageTable, PixelRule, Skipped, Source

MAX_BYTES = 4 * MAX_PIXELS


def decoders() -> tuple[str, ...]:
    """The packages that decode and resize, with their versions, which decide the pixels."""
    packages = ("opencv-python-headless", "pillow", "simplejpeg")
    return tuple(f"{package} {importlib.metadata.version(package)}" for package in packages)


def decode(
    source: Source | bytes,
    at_least: tuple[int, int] | None = None,
    rule: PixelRule | None = None,
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

    Raises
    ------
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
    rule = rule or (PLAIN if isinstance(source, bytes) else source.rule)
    with _one_kind_of_error():
        if not isinstance(source, bytes) and source.member:
            return Decoded.of(_decode_array(source), rule)
        data, frame = _bytes_of(source)
        if is_dicom(data[:HEAD]):
            return decode_dicom(data, frame, rule)
        return Decoded.of(read_bytes(data, frame, at_least, rule.page), rule)


def stored_values(source: Source) -> Stored:
    """What one image stores, upright, before it is brought to 8 bits; errors as of `decode`.

    Of DICOM that says itself how it is shown there is nothing to know: one value of 8 bits.
    """
    with _one_kind_of_error():
        if source.member:
            return _decode_array(source)
        data, frame = _bytes_of(source)
        if is_dicom(data[:HEAD]):
            values = brightness(data, frame)
            return Stored(np.zeros(1, np.uint8) if values is None else values, (1, 1))
        return read_bytes(data, frame, None, source.rule.page)


def _bytes_of(source: Source | bytes) -> tuple[bytes, int | None]:
    """The bytes of a file, and the frame of it that is meant."""
    if isinstance(source, bytes):
        return source, None
    return _read(Path(source.path)), source.frame


@contextmanager
def _one_kind_of_error() -> Iterator[None]:
    """Whatever goes wrong inside is a `DecodeError`."""
    try:
        yield
    except DecodeError:
        raise
    except MemoryError as error:
        raise DecodeError("there is not enough memory to decode it; use fewer workers") from error
    # What broken bytes raise inside a codec is not to be listed, and all of it means the same.
    except Exception as error:
        words = " ".join(f"{type(error).__name__}: {error}".split())[:120]
        raise DecodeError(f"the image is damaged ({words}); {SAVE_AGAIN}") from error


def _read(path: Path) -> bytes:
    """The bytes of a regular file of sensible size; a pipe would be waited on for ever."""
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
        return path.read_bytes()
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
        with packed:
            shutil.copyfileobj(packed, unpacked, 1 << 20)
        unpacked.flush()
        array: NDArray[Any] = np.load(unpacked.name, mmap_mode="r", allow_pickle=False)
    return array


# --------------------------------------------------------------------------- how large images are


def shorter_side(table: ImageTable, sample: int = 128) -> int:
    """The pixels that nearly all images hold on their shorter side: the 5th percentile.

    Of `sample` images spread evenly over the table; 0 where none of them can be read.
    """
    rows = np.linspace(0, len(table) - 1, min(sample, len(table))).astype(int)
    sides = []
    for row in rows:
        with suppress(DecodeError):  # a bad image is named when it is read for its codes
            sides.append(min(decode(table.sources[row], (1, 1)).source_size))
    return int(np.percentile(sides, 5, method="lower")) if sides else 0


# --------------------------------------------------------------------------- in threads


class DecodePool:
    """Threads that turn sources into canvases, in order, with a bounded look-ahead.

    The codecs and OpenCV release the interpreter lock, so threads suffice. While the pool is open
    OpenCV's own threads are off in this process: they would fight the pool's.

    Examples
    --------
    >>> with DecodePool(workers=2) as pool:
    ...     [skipped] = pool.canvases(["a"], [b""], CanvasRecipe(224))
    >>> skipped.reason
    'the file is empty (0 bytes); restore it, or leave it out'
    """

    CHUNK = 8  # images a task: the cost of handing one over is shared
    AHEAD = 3  # tasks a worker, running or waiting or done

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def __enter__(self) -> Self:
        self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="medgraft-decode")
        self._opencv_threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        return self

    def __exit__(self, *exception: object) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        cv2.setNumThreads(self._opencv_threads)

    def canvases(
        self,
        ids: Iterable[str],
        sources: Iterable[Source | bytes],
        recipe: CanvasRecipe,
        rule: PixelRule | None = None,
    ) -> Iterator[Canvas | Skipped]:
        """Decode, resize and edit each source; an image that fails gives its id and the reason.

        rule : how stored values are shown; by default each source's own.

        Sources are drawn as they are needed: about `workers * AHEAD * CHUNK` images are in memory
        at a time, however many there are. Leaving the iterator early stops the work.
        """
        jobs = zip(ids, sources, strict=True)
        left = threading.Event()

        def work(chunk: list[tuple[str, Source | bytes]]) -> list[Canvas | Skipped]:
            return [
                _canvas(str(id), source, recipe, rule) for id, source in chunk if not left.is_set()
            ]

        pending: deque[Future[list[Canvas | Skipped]]] = deque()
        try:
            while True:
                while len(pending) < self.workers * self.AHEAD:
                    if not (chunk := list(islice(jobs, self.CHUNK))):
                        break
                    pending.append(self._threads.submit(work, chunk))
                if not pending:
                    return
                yield from pending.popleft().result()
        finally:
            left.set()


def _canvas(
    id: str, source: Source | bytes, recipe: CanvasRecipe, rule: PixelRule | None
) -> Canvas | Skipped:
    try:
        return make_canvas(id, decode(source, recipe.shape, rule), recipe)
    except DecodeError as error:
        return Skipped(id, str(error))
    except MemoryError:
        return Skipped(id, "there is not enough memory for its canvas; use fewer workers")
