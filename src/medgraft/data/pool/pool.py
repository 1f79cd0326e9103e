"""Sources to canvases, many at a time: plain JPEG and PNG in threads, all else in workers.

What a plain JPEG or PNG may cost is known from its header, and its decoders are those that all the
world has tried to break. Every other file is decoded in worker processes (`decode_processes.py`)
that are killed when it makes them hang, grow or crash, and with `decode_every_file_in_workers` so
are these. Pixels, order and errors are the same either way.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import Self

import cv2
import numpy as np

from medgraft.data.pixels.decode import decode, rule_of, stored_values
from medgraft.data.pixels.formats import Decoded, NotPlain
from medgraft.data.pixels.values import Stored
from medgraft.data.pool.processes import DecodeProcesses
from medgraft.data.pool.worker import Answer, Job
from medgraft.data.preprocess import CanvasRecipe, make_canvas
from medgraft.errors import DecodeError
from medgraft.types import Canvas, ImageTable, PixelRule, Skipped, Source

CLOSED = "decoding was stopped before its turn came; ask again"
NO_MEMORY = "there is not enough memory for its canvas; use fewer workers"

_every_file = False


def decode_every_file_in_workers(yes: bool = True) -> None:
    """Let pools of this process decode JPEG and PNG in killable workers too (`--safe`)."""
    global _every_file
    _every_file = yes


class DecodePool:
    """Threads that turn sources into canvases, in order, with a bounded look-ahead.

    The codecs and OpenCV release the interpreter lock, so threads suffice. While the pool is open
    OpenCV's own threads are off in this process: they would fight the pool's. A worker process is
    started by the first thread that meets a file for it, and ends with the pool; a thread waits
    while its worker decodes.

    Parameters
    ----------
    workers : threads, and at most so many worker processes.
    safe : decode every file in worker processes; by default what
        `decode_every_file_in_workers` says.

    Examples
    --------
    >>> with DecodePool(workers=2) as pool:
    ...     [skipped] = pool.canvases(["a"], [b""], CanvasRecipe(224))
    >>> skipped.reason
    'the file is empty (0 bytes); restore it, or leave it out'
    """

    CHUNK = 8  # images a task: the cost of handing one over is shared
    AHEAD = 3  # tasks a thread, running or waiting or done

    def __init__(self, workers: int, *, safe: bool | None = None) -> None:
        self.workers = workers
        self.safe = _every_file if safe is None else safe

    def __enter__(self) -> Self:
        self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="medgraft-decode")
        self._processes = DecodeProcesses()
        self._opencv_threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        return self

    def __exit__(self, *exception: object) -> None:
        self._processes.close()  # first, because threads wait for them
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
            return self._chunk(chunk, recipe, rule, left)

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

    def decode(self, source: Source, at_least: tuple[int, int] | None = None) -> Decoded:
        """Decode one image as `decode.decode` does, but where its kind is decoded.

        Raises
        ------
        DecodeError
            As `decode.decode`; or it takes too long, too much memory, or crashes its decoder.
        """
        if self._in_threads(source):
            with suppress(NotPlain):
                return decode(source, at_least, only_plain=True)
        return self._answered(Job(source, None, source.rule, at_least, shown=True)).decoded()

    def stored_values(self, source: Source, at_least: tuple[int, int] | None = None) -> Stored:
        """What one image stores, as `decode.stored_values`; errors as of `decode`."""
        if self._in_threads(source):
            with suppress(NotPlain):
                return stored_values(source, at_least, only_plain=True)
        return self._answered(Job(source, None, source.rule, at_least)).stored()

    def canvas(self, source: Source | bytes, recipe: CanvasRecipe, rule: PixelRule) -> Canvas:
        """One canvas as of `canvases`, made while the caller waits; any thread may call.

        Raises
        ------
        DecodeError
            As `decode`; of the kind that the decoder raised.
        """
        if self._in_threads(source):
            with suppress(NotPlain):
                return make_canvas("", decode(source, recipe.shape, rule, only_plain=True), recipe)
        return _edited(self._answered(Job(source, replace(recipe, edits=()), rule)), "", recipe)

    def _answered(self, job: Job) -> Answer:
        """What a process makes of one image; errors as of `decode`."""
        [answer] = list(self._processes.answers([job])) or [Answer("refused", CLOSED)]
        if answer.outcome != "pixels":
            raise answer.refused()
        return answer

    def _chunk(
        self,
        chunk: Sequence[tuple[str, Source | bytes]],
        recipe: CanvasRecipe,
        rule: PixelRule | None,
        left: threading.Event,
    ) -> list[Canvas | Skipped]:
        """Images of one task: those for threads at once, then the others in one go."""
        found: dict[int, Canvas | Skipped] = {}
        elsewhere: list[int] = []
        for k, (id, source) in enumerate(chunk):
            if left.is_set():
                return []
            try:
                if not self._in_threads(source):
                    raise NotPlain
                image = decode(source, recipe.shape, rule, only_plain=True)
                found[k] = make_canvas(str(id), image, recipe)
            except NotPlain:
                elsewhere.append(k)
            except DecodeError as error:
                found[k] = Skipped(str(id), str(error))
            except MemoryError:
                found[k] = Skipped(str(id), NO_MEMORY)
        plain = replace(recipe, edits=())
        jobs = [Job(chunk[k][1], plain, rule or rule_of(chunk[k][1])) for k in elsewhere]
        answers = self._processes.answers(jobs, left)
        for k, answer in zip(elsewhere, answers, strict=False):  # fewer where it was left
            found[k] = _finished(str(chunk[k][0]), answer, recipe)
        return [found[k] for k in sorted(found)]

    def _in_threads(self, source: Source | bytes) -> bool:
        """Whether a thread may try, which refuses what is not plain.

        Frames of arrays are no codec's work, and each worker would unpack the whole array.
        """
        return not self.safe or (isinstance(source, Source) and bool(source.member))


def _finished(id: str, answer: Answer, recipe: CanvasRecipe) -> Canvas | Skipped:
    if answer.outcome != "pixels":
        return Skipped(id, answer.text)
    return _edited(answer, id, recipe)


def _edited(answer: Answer, id: str, recipe: CanvasRecipe) -> Canvas:
    """The canvas of a worker, which leaves edits to its parent."""
    canvas = answer.canvas(id)
    for edit in recipe.edits:
        canvas = edit(canvas)
    return canvas


# --------------------------------------------------------------------------- how large images are


def shorter_side(table: ImageTable, sample: int = 128) -> int:
    """The pixels that nearly all images hold on their shorter side: the 5th percentile.

    Of `sample` images spread evenly over the table; 0 where none of them can be read.
    """
    rows = np.linspace(0, len(table) - 1, min(sample, len(table))).astype(int)
    sources = [table.sources[row] for row in rows]
    with DecodePool(2) as pool:
        # A bad image is named when it is read for its codes.
        read = pool.canvases(map(str, rows), sources, CanvasRecipe(1))
        sides = [min(one.geometry.source) for one in read if isinstance(one, Canvas)]
    return int(np.percentile(sides, 5, method="lower")) if sides else 0
