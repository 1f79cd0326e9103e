"""An address that is had before anything is loaded, and a uvicorn that says when it answers.

It knows no model, so that the page (`app/run.py`) starts by it without loading one.
"""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

import uvicorn

from medgraft.errors import DataError

LOOPBACK = "127.0.0.1"


class Server(uvicorn.Server):
    """Says when it has begun to answer."""

    def __init__(self, config: uvicorn.Config, begun: Callable[[], None]) -> None:
        super().__init__(config)
        self._begun = begun

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        if not self.should_exit:
            self._begun()


def leave_signals_to_uvicorn() -> None:
    """Have SIGINT and SIGTERM end a server once it has drained, and not this process before.

    uvicorn raises the signal that ended it once more when it has drained. A handler it has to be,
    for what is ignored here would be ignored by the processes that are started, too.
    """
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda *_: None)


def bind(
    address: tuple[Any, ...],
    family: int = socket.AF_INET,
    kind: int = socket.SOCK_STREAM,
    protocol: int = 0,
) -> socket.socket:
    """A socket at the address, which nobody can connect to before a server listens.

    Raises
    ------
    DataError
        It cannot be had.
    """
    found = socket.socket(family, kind, protocol)
    try:
        if sys.platform != "win32":
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except (OSError, OverflowError) as error:
        found.close()
        raise DataError(
            f"{address[0]} port {address[1]} cannot be had ({error}); choose another --port, or 0 "
            "for any that is free"
        ) from error
    return found
