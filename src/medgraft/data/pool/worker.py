"""What a worker process does: decode what it is asked for, within limits, and answer.

`worker_process.py` starts it, as a Python of its own that imports nothing heavy. Jobs come in by
its standard input and answers leave by what was its standard output; both end with the parent,
however that ends, and the worker with them.

A file may do to a worker whatever it can, and none of that may reach the parent: answers are
numbers and bytes of a fixed form, never pickles.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO, Literal, Self, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from medgraft.data.pixels.decode import decode, stored_values
from medgraft.data.pixels.formats import Decoded
from medgraft.data.pixels.values import Stored
from medgraft.data.preprocess import CanvasRecipe, make_canvas
from medgraft.errors import DecodeError, TooManyPixelsError, UnknownKindError
from medgraft.types import PLAIN, Box, Canvas, Geometry, PixelRule, Source

SECONDS = 5  # of processor time an image: a busy machine reads the same images as an idle one
MEGABYTES = 1000  # that a worker may hold
LONGEST_TEXT = 10_000

Outcome = Literal["pixels", "refused", "memory", "ready", "large", "unknown"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
REFUSALS: dict[Outcome, type[DecodeError]] = {
    "large": TooManyPixelsError,
    "unknown": UnknownKindError,
    "refused": DecodeError,
}

# outcome, type of values; height, width, channels (0: grey); geometry; white (-1: none); text
HEADER = struct.Struct("<B8s3I13iqI")
NO_SHAPE, NO_GEOMETRY = (0, 0, 0), (0,) * 13


@dataclass(frozen=True, eq=False, slots=True)
class Job:
    """One image to decode: to a canvas, or without a recipe to the values that it stores.

    rule : how those are shown on the canvas. at_least : as in `decode`, where there is no recipe.
    shown : without a recipe its picture by the rule, whole, and not what it stores.
    """

    source: Source | bytes
    recipe: CanvasRecipe | None = None
    rule: PixelRule = PLAIN
    at_least: tuple[int, int] | None = None
    shown: bool = False

    @property
    def size(self) -> int:
        """Bytes of an image that travel with it."""
        return len(self.source) if isinstance(self.source, bytes) else 0

    def write(self, stream: BinaryIO) -> None:
        """Send it. A recipe's edits stay with the sender, who does them."""
        source = self.source
        words: dict[str, object] = {
            "at_least": self.at_least,
            "shown": self.shown,
            "rule": (self.rule.low, self.rule.high, self.rule.page, self.rule.window),
        }
        if isinstance(source, bytes):
            words["bytes"] = len(source)
        else:
            words["path"] = os.fsencode(source.path).decode("latin-1")
            words |= {"frame": source.frame, "member": source.member}
        if self.recipe is not None:
            words["canvas"] = [self.recipe.shape, self.recipe.resize]
        stream.write(json.dumps(words).encode() + b"\n")
        if isinstance(source, bytes):
            stream.write(source)

    @classmethod
    def read(cls, stream: BinaryIO) -> Self | None:
        """Receive one; None where the sender is gone."""
        line = stream.readline()
        if not line.endswith(b"\n"):
            return None
        words = json.loads(line)
        low, high, page, window = words["rule"]
        rule = PixelRule(low, high, page, tuple(window) if window else None)
        source: Source | bytes
        if "bytes" in words:
            source = stream.read(words["bytes"])
        else:
            path = os.fsdecode(words["path"].encode("latin-1"))
            source = Source(path, words["frame"], words["member"], rule)
        at_least = tuple(words["at_least"]) if words["at_least"] else None
        if "canvas" not in words:
            return cls(source, None, rule, at_least, words["shown"])
        (height, width), resize = words["canvas"]
        return cls(source, CanvasRecipe((height, width), resize), rule)


@dataclass(frozen=True, eq=False, slots=True)
class Answer:
    """Pixels or stored values, and what belongs to them; or why there are none.

    text : the remark, or the reason. white : as of `values.Stored`.
    """

    outcome: Outcome
    text: str = ""
    values: NDArray[Any] | None = None
    geometry: tuple[int, ...] = NO_GEOMETRY
    white: int | None = None

    def write(self, stream: BinaryIO) -> None:
        """Send it."""
        text = self.text.encode(errors="backslashreplace")[:LONGEST_TEXT]
        shape, kind = NO_SHAPE, b""
        if self.values is not None:
            shape, kind = (*self.values.shape, 0)[:3], self.values.dtype.str.encode()
        code, white = OUTCOMES.index(self.outcome), -1 if self.white is None else self.white
        stream.write(HEADER.pack(code, kind, *shape, *self.geometry, white, len(text)) + text)
        if self.values is not None:
            stream.write(np.ascontiguousarray(self.values).reshape(-1).view(np.uint8).data)
        stream.flush()

    def refused(self) -> DecodeError:
        """Why there are no pixels, as the error that the decoder raised."""
        return REFUSALS.get(self.outcome, DecodeError)(self.text)

    def canvas(self, id: str) -> Canvas:
        """The canvas that was asked for."""
        assert self.values is not None
        height, width, orientation, *crop, rows, columns, top, left, tall, wide = self.geometry
        content = Box(top, left, tall, wide)
        geometry = Geometry((height, width), orientation, Box(*crop), (rows, columns), content)
        return Canvas(id, self.values, geometry, self.text)

    def decoded(self) -> Decoded:
        """The whole picture, where that was asked for."""
        assert self.values is not None
        height, width, orientation, *_ = self.geometry
        return Decoded(self.values, (height, width), orientation, self.text)

    def stored(self) -> Stored:
        """The values that were asked for, where it was no canvas."""
        assert self.values is not None
        height, width, orientation, *_ = self.geometry
        return Stored(self.values, (height, width), orientation, self.white, self.text)


def answer(job: Job) -> Answer:
    """Decode, and say what came of it; only `KeyboardInterrupt` and the like come out."""
    try:
        if job.recipe is None and not job.shown:
            found = stored_values(job.source, job.at_least)
            return Answer("pixels", found.remark, found.values, _whole(found), found.white)
        image = decode(job.source, job.recipe.shape if job.recipe else job.at_least, job.rule)
        if job.recipe is None:
            return Answer("pixels", image.remark, image.pixels, _whole(image))
        canvas = make_canvas("", image, job.recipe)
        return Answer("pixels", canvas.remark, canvas.pixels, _numbers(canvas.geometry))
    except DecodeError as error:
        if isinstance(error.__cause__, MemoryError):
            return Answer("memory", str(error))
        kind = next(outcome for outcome, kind in REFUSALS.items() if isinstance(error, kind))
        return Answer(kind, str(error))
    except MemoryError:
        return Answer("memory")


def _whole(image: Stored | Decoded) -> tuple[int, ...]:
    """The geometry of an image that is on no canvas."""
    return (*image.source_size, image.orientation, *NO_GEOMETRY[3:])


def _numbers(geometry: Geometry) -> tuple[int, ...]:
    crop, content = geometry.crop, geometry.content
    return (
        *geometry.source, geometry.orientation,
        crop.top, crop.left, crop.height, crop.width,
        *geometry.size,
        content.top, content.left, content.height, content.width,
    )  # fmt: skip


# --------------------------------------------------------------------------- limits


def limit_memory() -> None:
    """Let the process grow to `MEGABYTES`, where the platform can hold it to that."""
    with suppress(ImportError, OSError, ValueError):  # Windows has no limits, macOS no /proc
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core would hold the picture
        status = Path("/proc/self/status").read_text(encoding="ascii")
        held, resident = (
            int(status.partition(f"{name}:")[2].split()[0]) << 10 for name in ("VmData", "VmRSS")
        )
        most = held + MEGABYTES * 10**6 - resident
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def limit_time() -> None:
    """Let the next image take `SECONDS` of processor time, where the platform can hold it to that.

    The limit is of whole seconds since the process began, so the image has between one less and
    all of them.
    """
    with suppress(ImportError, OSError, ValueError):
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        most = int(used.ru_utime + used.ru_stime) + SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (most, hard))


# --------------------------------------------------------------------------- the process


def main() -> None:
    """Answer jobs until the parent is gone."""
    # What a C library prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    cv2.setNumThreads(1)
    jobs: SimpleQueue[Job] = SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, jobs), daemon=True).start()
    limit_memory()
    with suppress(BrokenPipeError):
        Answer("ready").write(answers)
        while True:
            job = jobs.get()
            limit_time()
            answer(job).write(answers)
    os._exit(0)


def _listen(stream: BinaryIO, jobs: SimpleQueue[Job]) -> None:
    """Take jobs in; where the parent is gone, end at once, whatever is being decoded."""
    while (job := Job.read(stream)) is not None:
        jobs.put(job)
    os._exit(0)
