"""Items that wait together are answered together, and nobody waits for a batch to fill."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from medgraft.serve.batcher import MicroBatcher


class Squares:
    """Squares numbers while its gate is open; 13 is beyond it."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        self.gate.wait(10)
        if 13 in items:
            raise ValueError("13")
        return [item**2 for item in items]


async def session(squares: Squares, waits: list[int]) -> None:
    with ThreadPoolExecutor(1) as thread:
        batcher = MicroBatcher(squares, thread, 3, lambda some: waits.append(len(some)))
        first = asyncio.create_task(batcher.answer(1))
        while not squares.batches:
            await asyncio.sleep(0)
        assert batcher.busy_since is not None
        others = [asyncio.create_task(batcher.answer(k)) for k in (2, 3, 4, 5, 13)]
        await asyncio.sleep(0)
        others[1].cancel()
        await asyncio.sleep(0)
        squares.gate.set()
        assert await first == 1
        assert [await others[k] for k in (0, 2, 3)] == [4, 16, 25]
        with pytest.raises(ValueError, match="13"):
            await others[4]
        assert await batcher.answer(6) == 36  # a failure ends nothing
        assert batcher.busy_since is None


def test_batches() -> None:
    squares, waits = Squares(), []
    asyncio.run(session(squares, waits))
    assert squares.batches == [[1], [2, 4, 5], [13], [6]]
    assert waits == [1, 3, 1, 1]
