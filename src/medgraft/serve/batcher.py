"""Items that wait at the same time are answered by one call."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
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
    Lives in the event loop that `answer` is awaited in, and needs no task there: each hop through
    the loop costs as much as reading a small request.

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
        self._queue: deque[_Waiting[Item, Answer]] = deque()
        self.busy_since: float | None = None  # by time.monotonic

    async def answer(self, item: Item) -> Answer:
        """The answer of one item; what `work` raises of its batch."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._queue.append(_Waiting(item, future))
        if self.busy_since is None:
            self._begin(loop)
        return await future

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hand over what waits, if anything does and anybody still waits for it."""
        batch: list[_Waiting[Item, Answer]] = []
        while self._queue and len(batch) < self._most:
            if not (one := self._queue.popleft()).answer.done():
                batch.append(one)
        if not batch:
            return
        began, self.busy_since = time.perf_counter(), time.monotonic()
        self._noted([began - one.since for one in batch])
        self._thread.submit(self._worked, loop, batch)

    def _worked(
        self, loop: asyncio.AbstractEventLoop, batch: Sequence[_Waiting[Item, Answer]]
    ) -> None:
        """In the thread: work, and let the event loop hear of it, if it still runs."""
        found: Sequence[Answer] | Exception
        try:
            found = self._work([one.item for one in batch])
        except Exception as error:  # noqa: BLE001  (it is theirs who wait)
            found = error
        with suppress(RuntimeError):  # the loop has ended, and all who waited with it
            loop.call_soon_threadsafe(self._answered, loop, batch, found)

    def _answered(
        self,
        loop: asyncio.AbstractEventLoop,
        batch: Sequence[_Waiting[Item, Answer]],
        found: Sequence[Answer] | Exception,
    ) -> None:
        for k, one in enumerate(batch):
            if one.answer.done():
                continue
            if isinstance(found, Exception):
                one.answer.set_exception(found)
            else:
                one.answer.set_result(found[k])
        self.busy_since = None
        self._begin(loop)
