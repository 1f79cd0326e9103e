"""Items that wait at the same time are answered by one call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(eq=False, slots=True)
class _Waiting(Generic[Item, Answer]):
    item: Item
    answer: asyncio.Future[Answer]
    since: float = field(default_factory=time.perf_counter)


class MicroBatcher(Generic[Item, Answer]):
    """Hands what waits to `work`, at most `most` items at a time, one batch after the other.

    It waits for nobody: while a batch is worked on the next one gathers, so that an item alone is
    answered at once and batches grow with the load. Whoever is cancelled is left out of the next.

    Parameters
    ----------
    work : gives an answer for each item, in order; runs in `thread`, off the event loop.
    noted : told of each batch: how long each item waited, in seconds.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Sequence[Answer]],
        thread: Executor,
        most: int,
        noted: Callable[[Sequence[float]], None] = lambda waits: None,
    ) -> None:
        self._work, self._thread, self._most, self._noted = work, thread, most, noted
        self._queue: asyncio.Queue[_Waiting[Item, Answer]] = asyncio.Queue()
        self.busy_since: float | None = None  # by time.monotonic

    async def answer(self, item: Item) -> Answer:
        """The answer of one item; what `work` raises of its batch."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(_Waiting(item, future))
        return await future

    async def run(self) -> None:
        """Answer until cancelled."""
        while True:
            batch = [await self._queue.get()]
            while len(batch) < self._most and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            if batch := [one for one in batch if not one.answer.done()]:
                await self._answer(batch)

    async def _answer(self, batch: Sequence[_Waiting[Item, Answer]]) -> None:
        began, self.busy_since = time.perf_counter(), time.monotonic()
        self._noted([began - one.since for one in batch])
        items = [one.item for one in batch]
        loop = asyncio.get_running_loop()
        try:
            answers = await loop.run_in_executor(self._thread, self._work, items)
        except Exception as error:  # noqa: BLE001  (it is theirs who wait)
            for one in batch:
                if not one.answer.done():
                    one.answer.set_exception(error)
        else:
            for one, answer in zip(batch, answers, strict=True):
                if not one.answer.done():
                    one.answer.set_result(answer)
        finally:
            self.busy_since = None
