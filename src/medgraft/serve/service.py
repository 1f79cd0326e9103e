"""What happens to a request's files: decoded in workers, gathered, judged off the event loop."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

from medgraft.bundle.predict import Prediction
from medgraft.data.dicom.identity import upload_id
from medgraft.data.pool.pool import DecodePool
from medgraft.errors import DecodeError, MedgraftError
from medgraft.serve.about import Cases
from medgraft.serve.batcher import MicroBatcher
from medgraft.serve.limits import Limits, RequestError, busy, empty, undecodable
from medgraft.serve.metrics import Metrics
from medgraft.serve.model import Explained, ServedModel
from medgraft.serve.pictures import PICTURE, picture
from medgraft.serve.uploads import Held, read_files
from medgraft.serve.words import why_no_depth
from medgraft.types import Canvas
from medgraft.version import __version__

if TYPE_CHECKING:
    from starlette.requests import Request

BATCH = 4  # images a thread that computes: more makes each wait and no two faster

T = TypeVar("T")


class ClientGoneError(Exception):
    """Nobody waits for the answer any more."""


@dataclass(frozen=True, slots=True)
class Looked:
    """How a map is asked for, as of `medgraft explain`; '' for what it does by default."""

    method: str = "auto"
    taps: tuple[str, ...] = ()
    target: str = ""


class Service:
    """A model with its workers, queue and counters; lives in one event loop.

    Threads of their own decode (each waits for a worker process that can be killed), infer and
    explain. With torch as engine one thread does the latter two, for they share a network.

    Parameters
    ----------
    names : whether who asks may know how the study names its images.
    """

    def __init__(self, model: ServedModel, limits: Limits, *, names: bool = True) -> None:
        self.model, self.limits, self.metrics = model, limits, Metrics()
        self.names = names
        self._cases: asyncio.Task[Cases] | None = None
        self.held = Held(limits.held_bytes)
        self.images = self.explanations = 0  # under way
        self.batcher: MicroBatcher[Sequence[Canvas], Prediction] | None = None
        key = model.fitted.scenario.key
        self.metrics.describe(model.sha256, key, __version__)
        self.metrics.gauge("images_under_way", "Images that wait", lambda: self.images)
        self.metrics.gauge("upload_bytes", "Uploads in memory", lambda: self.held.bytes)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Start threads and workers, answer one image to see that all of it works; end them."""
        n = self.model.workers
        infer = ThreadPoolExecutor(1, "medgraft-infer")
        explain = (
            infer if self.model.engine == "torch" else ThreadPoolExecutor(1, "medgraft-explain")
        )
        self._decoders, self._explainer = ThreadPoolExecutor(n, "medgraft-upload"), explain
        self.batcher = MicroBatcher(self._infer, infer, BATCH * n, self._noted)
        with DecodePool(n, safe=True) as self._pool:
            try:
                tried = await asyncio.gather(*(self._predicted(_grey()) for _ in range(n)))
                for one in tried:
                    if isinstance(one, RequestError):
                        raise one
                yield self
            finally:
                for threads in (self._decoders, infer, explain):
                    threads.shutdown(wait=False, cancel_futures=True)

    # ----------------------------------------------------------------------- requests

    async def predict(self, request: Request) -> dict[str, Any]:
        """Answer the files of a request, each with what is said of it or why nothing is.

        Raises
        ------
        RequestError
            The request breaks a limit, or not one of its files can be read: then why the first.
        ClientGoneError
            The client went.
        """
        with self.held.counted() as share:
            files = await read_files(request, self.limits, share)
            with self._counted(len(files)):
                found = await self._while_wanted(request, self._all_predicted(files))
        refused = [one for one in found if isinstance(one, RequestError)]
        if len(refused) == len(found):
            raise refused[0]
        for one in refused:
            self.metrics.refusals.labels(one.code).inc()
        self.metrics.images.inc(len(found) - len(refused))
        images = [{"index": k, **answer_json(one)} for k, one in enumerate(found)]
        return {"model": self.model.described(), "images": images}

    async def explain(self, request: Request, asked: Looked) -> tuple[Canvas, Explained]:
        """The maps of the one file of a request; errors as of `predict` and of the model."""
        with self.held.counted() as share:
            data = await self._one_file(request, share)
            with self._explaining():
                return await self._while_wanted(request, self._explained(data, asked))

    async def picture(self, request: Request) -> bytes:
        """The one file of a request as a JPEG, whole and upright; errors as of `predict`."""
        with self.held.counted() as share:
            data = await self._one_file(request, share)
            with self._counted(1):
                return await self._while_wanted(request, self._pictured(data))

    def about(self) -> dict[str, Any]:
        """What is known of the model, and what a request may hold."""
        limits = self.limits
        return {
            "model": self.model.described(),
            **self.model.about.to_json(),
            "alpha": self.model.alpha,
            "knows_unlike": self.model.unlike is not None,
            "no_depth": why_no_depth(self.model.fitted),
            "limits": {
                "files": limits.files,
                "file_bytes": limits.file_bytes,
                "request_bytes": limits.request_bytes,
            },
        }

    async def cases(self) -> Cases:
        """Images of the study to look at, found when first asked; none where nobody may know."""
        study = self.model.about.study
        if study is None or not self.names:
            return Cases()
        if self._cases is None:
            self._cases = asyncio.create_task(asyncio.to_thread(Cases.of, study, self.model.fitted))
        try:
            return await asyncio.shield(self._cases)
        except MedgraftError as error:
            raise RequestError(
                500, "no_cases", f"the study's predictions cannot be read ({error})",
                "they stand in the folder of the study", "run the study again",
            ) from error  # fmt: skip

    async def case_picture(self, request: Request, name: str) -> bytes:
        """One of the cases as a JPEG, from the file that the study read; errors as of `predict`."""
        file = (await self.cases()).files.get(name)
        most = self.limits.file_bytes
        with self.held.counted() as share, self._counted(1):
            data = None if file is None else await asyncio.to_thread(file.content, most)
            if data is None:
                raise RequestError(
                    404, "no_picture", "the image is not where the study read it, or was changed",
                    "pictures are made of the file that the study read",
                    "put it back, or send it to /v1/picture",
                )  # fmt: skip
            share.add(len(data))
            return await self._while_wanted(request, self._pictured(data))

    async def _one_file(self, request: Request, share: Held.Share) -> bytes:
        files = await read_files(request, self.limits, share)
        if len(files) > 1:
            raise RequestError(
                413, "too_many_files", f"{len(files)} files", "one is looked at in a request",
                "send each in a request of its own",
            )  # fmt: skip
        return files[0]

    @property
    def ready(self) -> bool:
        """Whether the model answers: no batch has been in it for longer than a request may take."""
        if self.batcher is None:
            return False
        since = self.batcher.busy_since
        return since is None or time.monotonic() - since < self.limits.seconds

    @contextmanager
    def _counted(self, n: int) -> Iterator[None]:
        if self.images + n > self.limits.images:
            raise busy(
                f"{self.images} images are under way, and this request has {n}",
                f"at most {self.limits.images} are",
            )
        self.images += n
        try:
            yield
        finally:
            self.images -= n

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        if self.explanations == self.limits.explanations:
            rule = f"at most {self.limits.explanations} are"
            raise busy(f"{self.explanations} explanations are under way", rule)
        self.explanations += 1
        try:
            yield
        finally:
            self.explanations -= 1

    async def _while_wanted(self, request: Request, work: Coroutine[Any, Any, T]) -> T:
        """Wait for work, but for no longer than it may take, nor when the client has gone."""
        mine, gone, over = asyncio.current_task(), False, False
        assert mine is not None

        def left(watching: asyncio.Task[None]) -> None:
            nonlocal gone
            if not (over or watching.cancelled()):
                gone = mine.cancel()

        leaving = asyncio.create_task(_left(request))
        leaving.add_done_callback(left)
        try:
            async with asyncio.timeout(self.limits.seconds):
                return await work
        except TimeoutError as error:
            raise RequestError(
                503, "out_of_time", f"no answer after {self.limits.seconds:g} s",
                "a request must be answered in that time", "ask again with fewer files, or later",
                {"Retry-After": "1"},
            ) from error  # fmt: skip
        except asyncio.CancelledError as error:
            if gone and mine.uncancel() == 0:
                raise ClientGoneError from error
            raise
        finally:
            over = True
            leaving.cancel()

    # ----------------------------------------------------------------------- work

    async def _all_predicted(self, files: Sequence[bytes]) -> list[Prediction | RequestError]:
        if len(files) == 1:  # a task of its own would be half a dozen hops through the event loop
            return [await self._predicted(files[0])]
        return await asyncio.gather(*map(self._predicted, files))

    async def _predicted(self, data: bytes) -> Prediction | RequestError:
        if not data:
            return empty()
        assert self.batcher is not None
        try:
            canvases = await self._decoded(data)
        except DecodeError as error:
            return undecodable(error)
        return await self.batcher.answer(canvases)

    async def _pictured(self, data: bytes) -> bytes:
        if not data:
            raise empty()
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._decoders, self._picture, data
            )
        except DecodeError as error:
            raise undecodable(error) from error

    def _picture(self, data: bytes) -> bytes:
        return picture(self._pool.canvas(data, PICTURE, self.model.fitted.rule))

    async def _explained(self, data: bytes, asked: Looked) -> tuple[Canvas, Explained]:
        if not data:
            raise empty()
        try:
            canvas = (await self._decoded(data))[0]
        except DecodeError as error:
            raise undecodable(error) from error
        loop = asyncio.get_running_loop()
        words = (canvas, asked.method, asked.taps, asked.target)
        found = await loop.run_in_executor(self._explainer, self.model.explain, *words)
        return canvas, found

    async def _decoded(self, data: bytes) -> list[Canvas]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._decoders, self._decode, data)

    def _decode(self, data: bytes) -> list[Canvas]:
        """The canvases that the model wants; in a thread, which waits for a worker process."""
        rule = self.model.fitted.rule
        with self.metrics.decode.time():
            found = [self._pool.canvas(data, recipe, rule) for recipe in self.model.recipes]
        if self.names and (id := upload_id(data)):
            found[0] = dataclasses.replace(found[0], id=id)
        return found

    def _infer(self, images: Sequence[Sequence[Canvas]]) -> list[Prediction]:
        with self.metrics.inference.time():
            return self.model.predictions(images)

    def _noted(self, waits: Sequence[float]) -> None:
        self.metrics.batch_size.observe(len(waits))
        for seconds in waits:
            self.metrics.queue_wait.observe(seconds)


async def _left(request: Request) -> None:
    """Return when the client has gone; its body has arrived."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def answer_json(found: Prediction | RequestError) -> dict[str, Any]:
    """What one file is answered with: as `medgraft predict --json`, but for its name."""
    row = found if isinstance(found, Prediction) else Prediction("", None)
    mean, spread = (row.answer and row.answer.grade) or (None, None)
    return {
        "id": row.source or None,
        "label": row.answer and row.answer.label,
        "probabilities": row.answer and row.answer.probabilities,
        "mean_grade": mean,
        "grade_sd": spread,
        "set": list(row.classes) or None,
        "unlike": row.unlike,
        "remark": row.remark,
        "error": found.content() if isinstance(found, RequestError) else None,
    }


def _grey() -> bytes:
    """A small grey picture as PNG, to see at the start that an image gets its answer."""
    from PIL import Image

    content = io.BytesIO()
    Image.new("L", (64, 64), 128).save(content, "PNG")
    return content.getvalue()
