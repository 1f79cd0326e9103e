"""Servers that the tests of a file share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from serving import HASTY, Running, running


@pytest.fixture(scope="module")
def _server() -> Iterator[Running]:
    with running() as found:
        yield found


@pytest.fixture
def server(_server: Running, in_threads: object) -> Iterator[Running]:
    """One with small limits, shared by the tests of a file; its gate opens before threads end."""
    _server.asked.clear()
    yield _server
    _server.gate.set()


@pytest.fixture(scope="module")
def _hasty() -> Iterator[Running]:
    with running(HASTY) as found:
        yield found


@pytest.fixture
def hasty(_hasty: Running) -> Iterator[Running]:
    """One that waits for nothing and nobody for long."""
    yield _hasty
    _hasty.gate.set()


@pytest.fixture
def in_threads() -> Iterator[Callable[[Callable[[], Any], int], list[Any]]]:
    """Starts calls in threads; their results, as they come, in a list; joined at the end."""
    threads: list[threading.Thread] = []

    def start(call: Callable[[], Any], n: int = 1) -> list[Any]:
        found: list[Any] = []
        for _ in range(n):
            threads.append(threading.Thread(target=lambda: found.append(call())))
            threads[-1].start()
        return found

    yield start
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
