"""A server in a thread, with a model in numpy that can be made to wait."""

from __future__ import annotations

import dataclasses
import http.client
import io
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field

import numpy as np
from fastapi import FastAPI
from PIL import Image

from http_answer import HttpAnswer
from medgraft.serve.about import About
from medgraft.serve.guard import Guard
from medgraft.serve.limits import Limits
from medgraft.serve.listening import Server
from medgraft.serve.model import ServedModel
from medgraft.serve.run import Door, bound, config
from medgraft.serve.service import Service
from medgraft.types import Canvas, Floats
from numpy_model import ByBrightness

PLACE = (slice(0, 64), slice(0, 64))
SMALL = Limits(
    file_bytes=200_000,
    request_bytes=600_000,
    held_bytes=900_000,
    files=4,
    images=6,
    requests=8,
    explanations=1,
    upload_seconds=20,
    seconds=20,
    header_seconds=20,
)
HASTY = dataclasses.replace(SMALL, upload_seconds=0.4, seconds=0.4, header_seconds=0.4)
BOUNDARY = "a-boundary"
NAME = "DOE^JANE.png"


@dataclass(frozen=True)
class Gated(ByBrightness):
    """Answers only while its gate is open, and counts what it was asked."""

    gate: threading.Event = field(default_factory=threading.Event)
    asked: list[int] = field(default_factory=list)

    def probabilities(self, canvases: Iterable[Canvas]) -> Floats:
        given = list(canvases)
        self.asked.append(len(given))
        self.gate.wait(20)
        return super().probabilities(given)


@dataclass(frozen=True)
class Answered(HttpAnswer):
    @property
    def code(self) -> str:
        """That of the refusal, whose form is checked."""
        error = self.json["error"]
        assert set(error) == {"code", "value", "rule", "remedy"}
        assert all(isinstance(word, str) and word for word in error.values())
        assert str(error["code"]) == error["code"]
        return str(error["code"])


@dataclass(frozen=True)
class Running:
    """A server that answers, and what is behind it."""

    port: int
    service: Service
    gate: threading.Event
    asked: list[int]

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def ask(
        self,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        method: str = "",
        **headers: str,
    ) -> Answered:
        """One request on a connection of its own; a body is a form unless it is said otherwise."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            named.setdefault("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")
        with closing(self.connect()) as connection:
            connection.request(method or ("GET" if body is None else "POST"), path, body, named)
            answer = connection.getresponse()
            return Answered(answer.status, dict(answer.getheaders()), answer.read())

    def opened(self, head: bytes) -> socket.socket:
        """A connection on which so much was sent."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        connection.sendall(head)
        return connection


def until(true: Callable[[], bool]) -> None:
    """Wait for something that is to become true soon."""
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def form(*contents: bytes, field: str = "files", name: str = NAME) -> bytes:
    """A multipart body of such files."""
    parts = [
        b'--%b\r\nContent-Disposition: form-data; name="%b"; filename="%b"\r\n'
        b"Content-Type: image/png\r\n\r\n%b\r\n"
        % (BOUNDARY.encode(), field.encode(), name.encode(), content)
        for content in contents
    ]
    return b"".join(parts) + b"--%b--\r\n" % BOUNDARY.encode()


def png(grey: int = 128, side: int = 64) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.full((side, side), grey, np.uint8)).save(content, "PNG")
    return content.getvalue()


def mounted(guard: Guard, below: str) -> FastAPI:
    """Another application that has the server's below a path, and runs its service."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with guard.service.running():
            yield

    outer = FastAPI(lifespan=lifespan)
    outer.mount(below, guard.app)
    return outer


@contextmanager
def running(
    limits: Limits = SMALL,
    door: Door | None = None,
    about: About | None = None,
    below: str = "",
) -> Iterator[Running]:
    """Serve the gated model until the end of the block; its gate is open.

    below : the path at which it is mounted in another application.
    """
    door = door or Door(port=0)
    model = Gated(PLACE)
    model.gate.set()
    served = ServedModel(model, None, None, "0" * 64, "openvino", 1, about or About())
    begun = threading.Event()
    with bound(door) as listening:
        settings = config(served, door, limits)
        assert isinstance(settings.app, Guard)
        if below:
            settings.app.app = mounted(settings.app, below)
        server = Server(settings, begun.set)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            assert begun.wait(60)
            model.asked.clear()
            port = listening.getsockname()[1]
            yield Running(port, settings.app.service, model.gate, model.asked)
        finally:
            model.gate.set()
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()
