"""The page's server in a thread, and a browser of few lines that asks it."""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from PIL import Image

from http_answer import HttpAnswer
from medgraft.app.door import Guard, Key
from medgraft.app.home import Home
from medgraft.app.server import App
from medgraft.cli.page import read
from medgraft.serve.listening import LOOPBACK, Server, bind

PROGRAM = (sys.executable, "-m", "medgraft.cli")


@dataclass(frozen=True)
class Answered(HttpAnswer):
    @property
    def error(self) -> str:
        return str(self.json["error"]["text"])


@dataclass(frozen=True)
class Opened:
    """A server; asked as its own page asks, unless headers say otherwise."""

    key: Key
    home: Home
    app: App

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str | None
    ) -> Answered:
        own: dict[str, str | None] = {
            "Host": f"127.0.0.1:{self.key.port}",
            "Cookie": f"{self.key.name}={self.key.cookie}",
            "Origin": f"http://127.0.0.1:{self.key.port}",
        }
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in {**own, **given}.items() if value is not None}
        connection = http.client.HTTPConnection("127.0.0.1", self.key.port, timeout=60)
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answered(answer.status, found, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str | None) -> Answered:
        return self.ask("GET", path, **headers)

    def post(self, path: str, content: object = None, **headers: str | None) -> Answered:
        return self.ask("POST", path, json.dumps(content or {}).encode(), **headers)

    def read(self, data: Path | str, flags: Mapping[str, object] | None = None, **more: Any) -> Any:
        """Have data read, and wait for it."""
        asked = self.post("/api/readings", {"data": str(data), "flags": flags or {}, **more})
        assert asked.status == 200, asked.body
        id = asked.json["id"]
        return self.until(
            lambda: self.get(f"/api/readings/{id}").json, lambda one: one["state"] != "reading"
        )

    def until(
        self, look: Callable[[], Any], done: Callable[[Any], bool], seconds: float = 60
    ) -> Any:
        end = time.monotonic() + seconds
        while not done(found := look()):
            assert time.monotonic() < end, found
            time.sleep(0.02)
        return found


@contextmanager
def opened(folder: Path, program: Sequence[str] = PROGRAM) -> Iterator[Opened]:
    """A server of a home, in a thread; ended at the end."""
    home = Home(folder)
    home.make()
    begun = threading.Event()
    with bind((LOOPBACK, 0)) as listening:
        key = Key(listening.getsockname()[1])
        app = App(home, read, tuple(program), lambda: setattr(server, "should_exit", True))
        config = uvicorn.Config(
            Guard(app.application(), key), loop="asyncio", http="h11", lifespan="on",
            log_config=None, timeout_graceful_shutdown=1,
        )  # fmt: skip
        server = Server(config, begun.set)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        assert begun.wait(30)
        try:
            yield Opened(key, home, app)
        finally:
            server.should_exit = True
            thread.join(30)
            for process in app.studies.jobs._mine.values():
                process.kill()
                process.wait()
            assert not thread.is_alive()


def images(root: Path, *names: str) -> Path:
    """A small picture of noise at each path; those of a folder `b` are brighter."""
    for index, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        low = 120 if "b" in path.parts else 0
        pixels = np.random.default_rng(index).integers(low, low + 100, (40, 40, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return root


def cells(root: Path, n: int = 12) -> Path:
    """Two classes in two folders."""
    return images(root, *(f"{label}/{label}{k}.png" for label in "ab" for k in range(n)))
