"""The outermost layer: who may ask, how much at once, and what is written down of it.

The log has a time, a method, a route, a status and a duration. No path but those of our own, no
query, no header, no name of a file and no message of an unexpected error, which might repeat one.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import time
import traceback
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from medgraft.serve.limits import RequestError, busy
from medgraft.serve.page import page_files
from medgraft.serve.service import Service

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOG = logging.getLogger("medgraft.serve")
OPEN = {f"/{name}" for name in page_files()} | {"/health", "/ready"}  # without a key
WATCHED = ("/health", "/ready", "/metrics")  # answered however much there is to do
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
DISCARD_SECONDS = 2.0  # that a refused body is read on, so that its sender sees the answer


class Guard:
    """Wraps the application.

    Parameters
    ----------
    key : that each request must bring, as `Authorization: Bearer KEY`; '' for none.
    hosts : names that a request may address; none for all. Where there is no key this keeps a page
        from elsewhere from reading answers under a name of its own for this machine's address.
    routes : paths that the log may name.
    """

    def __init__(
        self,
        app: ASGIApp,
        service: Service,
        key: str,
        hosts: Collection[str],
        routes: Collection[str],
    ) -> None:
        self.app, self.service = app, service
        self.key, self.hosts, self.routes = key.encode(), frozenset(hosts), frozenset(routes)
        self.under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, call = time.perf_counter(), _Call(receive, send, scope)
        self.under_way += 1
        try:
            self._admit(scope)
            await self.app(scope, call.receive, call.send)
        except RequestError as error:
            self.service.metrics.refusals.labels(error.code).inc()
            await respond(error, call.send)
        except Exception as error:  # noqa: BLE001  (uvicorn would log its message)
            call.status = call.status or 500
            self._note(error)
        finally:
            self.under_way -= 1
            self._count(scope, call.status, time.perf_counter() - began)

    def _admit(self, scope: Scope) -> None:
        """Refuse whom nobody knows, and what is too much at once."""
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1").lower()
        name, _, port = host.rpartition(":")
        name = name if port.isdigit() else host
        if self.hosts and name and name not in self.hosts:
            raise RequestError(
                421, "wrong_host", "a name of this server that it does not go by",
                "without a key it answers to its own address alone", "ask it by that, or set a key",
            )  # fmt: skip
        if self.hosts and scope["method"] == "POST" and _from_elsewhere(headers, host):
            raise RequestError(
                403, "wrong_origin", "a request that a page from elsewhere sends",
                "without a key this server works for its own page and for programs", "set a key",
            )  # fmt: skip
        if self.key and scope["path"] not in OPEN and not self._knows(headers):
            raise RequestError(
                401, "unauthorized", "a request without the key", "this server asks for one",
                "send the header Authorization: Bearer KEY", {"WWW-Authenticate": "Bearer"},
            )  # fmt: skip
        if self.under_way > self.service.limits.requests and scope["path"] not in WATCHED:
            raise busy(f"{self.under_way - 1} requests are under way", "no more may be")

    def _knows(self, headers: Mapping[bytes, bytes]) -> bool:
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        # In constant time, so that nobody learns the key letter by letter from how long it takes.
        return hmac.compare_digest(given.strip(), self.key) and scheme.lower() == b"bearer"

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = scope["path"] if scope["path"] in self.routes else "other"
        method = scope["method"] if scope["method"] in METHODS else "OTHER"
        self.service.metrics.requests.labels(route, str(status)).inc()
        self.service.metrics.request.labels(route).observe(seconds)
        LOG.info("%s %s %d %.1f ms", method, route, status, 1000 * seconds)

    def _note(self, error: Exception) -> None:
        """Log where an unexpected error came from, without its message."""
        places = [
            f"{frame.filename}:{frame.lineno}"
            for frame in traceback.extract_tb(error.__traceback__)
        ]
        LOG.error("%s at %s", type(error).__name__, " ".join(places[-4:]))


def _from_elsewhere(headers: Mapping[bytes, bytes], host: str) -> bool:
    """Whether a browser says that another page sent it; programs say nothing."""
    origin = headers.get(b"origin", b"").decode("latin-1").lower()
    return bool(origin) and origin.partition("://")[2] != host


class _Call:
    """Sees what goes in and out of one request."""

    def __init__(self, receive: Receive, send: Send, scope: Scope) -> None:
        self._receive, self._send = receive, send
        self._may_discard = b"expect" not in dict(scope["headers"])
        self._whole = False  # the body has arrived
        self.status = 0

    async def receive(self) -> Message:
        message = await self._receive()
        self._whole = self._whole or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if not self._whole and self.status >= 400:
                await self._discard()
                if not self._whole:
                    message["headers"] = [*message["headers"], (b"connection", b"close")]
        await self._send(message)

    async def _discard(self) -> None:
        """Read a refused body on for a while: who still sends would see a reset, not the answer."""
        if not self._may_discard or self.status == 408:
            return
        try:
            async with asyncio.timeout(DISCARD_SECONDS):
                while not self._whole:
                    await self.receive()
        except TimeoutError:
            pass


async def respond(error: RequestError, send: Send) -> None:
    """Send a refusal in the one form that all have."""
    body = json.dumps({"error": error.content()}).encode()
    headers: list[Any] = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *((name.lower().encode(), value.encode()) for name, value in error.headers.items()),
    ]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
