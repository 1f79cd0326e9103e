"""One server from its start to its end: what it binds to, what it logs, how it drains."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from medgraft.errors import DataError
from medgraft.serve.app import make_app, routes_of
from medgraft.serve.guard import Guard
from medgraft.serve.limits import Limits
from medgraft.serve.listening import Server, bind, leave_signals_to_uvicorn
from medgraft.serve.model import ModelOptions, ServedModel
from medgraft.serve.service import Service

DRAIN_SECONDS = 5.0  # beyond what a request may take, until a server that ends gives up
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, slots=True)
class Door:
    """Where the server is asked, and by whom; port 0 is any that is free; key '' is none."""

    host: str = "127.0.0.1"
    port: int = 8000
    key: str = ""
    allow_without_key: bool = False


def serve(
    model: Path,
    door: Door,
    limits: Limits,
    options: ModelOptions,
    started: Callable[[str, ServedModel], None],
) -> None:
    """Serve a run or a bundle until SIGTERM or SIGINT; requests under way are answered first.

    started : told of the address once images are answered.

    Raises
    ------
    DataError
        The address is taken or no address, or it is reached from other machines and nobody said
        that all may ask.
    BundleError
        As `ServedModel.load`.
    """
    check_key(door.key)
    with bound(door) as listening:
        served = ServedModel.load(model, options)
        address = address_of(listening)
        server = Server(config(served, door, limits), lambda: started(address, served))
        leave_signals_to_uvicorn()
        log_to_stderr()
        server.run(sockets=[listening])


def config(served: ServedModel, door: Door, limits: Limits) -> uvicorn.Config:
    """Of uvicorn: one process, no access log, nothing read from the environment."""
    own = is_loopback(door.host)
    # Who sets a key expects others than the one who may read the study's folder.
    service = Service(served, limits, names=own and not door.key)
    app = make_app(service)
    hosts = () if door.key or not own else (*LOOPBACK_NAMES, door.host)
    return uvicorn.Config(
        Guard(app, service, door.key, hosts, routes_of(app)),
        http=_protocol(limits.header_seconds),
        loop="uvloop" if find_spec("uvloop") else "asyncio",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=int(limits.upload_seconds + limits.seconds + DRAIN_SECONDS),
    )


# --------------------------------------------------------------------------- the door


def check_key(key: str) -> None:
    """Refuse what cannot be sent in a header."""
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        raise DataError(
            "--api-key has letters that no header can hold; use printable ASCII without spaces"
        )


def bound(door: Door) -> socket.socket:
    """A socket at the address, which nobody can connect to before the server listens.

    Raises
    ------
    DataError
        It cannot be had, or is open to other machines without a key.
    """
    if not (door.key or door.allow_without_key or is_loopback(door.host)):
        raise DataError(
            f"--host {door.host} is reached from other machines, and anybody there could send "
            "images and get answers; set --api-key (or MEDGRAFT_API_KEY), or say "
            "--allow-without-key"
        )
    family, kind, protocol, _, address = _resolved(door.host, door.port)[0]
    return bind(address, family, kind, protocol)


def is_loopback(host: str) -> bool:
    """Whether a name leads to nowhere but this machine.

    Examples
    --------
    >>> [is_loopback(host) for host in ("127.0.0.1", "::1", "0.0.0.0", "::", "192.0.2.1")]
    [True, True, False, False, False]
    """
    return all(ip_address(found[4][0]).is_loopback for found in _resolved(host, 0))


def _resolved(host: str, port: int) -> list[Any]:
    try:
        # An empty host means every address of this machine, as 0.0.0.0 does.
        return socket.getaddrinfo(
            host or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, OverflowError) as error:
        raise DataError(
            f"--host {host!r} is no address of this machine ({error}); use 127.0.0.1, or the "
            "address that others reach it by"
        ) from error


def address_of(listening: socket.socket) -> str:
    """The address as a browser takes it."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


# --------------------------------------------------------------------------- slow headers


def _protocol(seconds: float) -> type[asyncio.Protocol]:
    """HTTP/1.1 by h11, where a connection without a request under way ends after so long.

    uvicorn waits for ever for headers that come letter by letter, or never.
    """

    class Impatient(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._await_headers()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._await_headers()

        def _await_headers(self) -> None:
            self.loop.call_later(seconds, self._close_unless_asked, self.cycle)

        def _close_unless_asked(self, before: RequestResponseCycle | None) -> None:
            answered = before is None or before.response_complete
            if answered and self.cycle is before and not self.transport.is_closing():
                self.transport.close()

    return Impatient


# --------------------------------------------------------------------------- the log


def log_to_stderr() -> None:
    """One line a request, and uvicorn's warnings; see `guard.py` for what is not in them."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for name, level in (("medgraft.serve", logging.INFO), ("uvicorn.error", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.handlers = [handler]
        logger.propagate = False
