"""Servers on this machine that answer as they should, and all the ways in which they do not."""

from __future__ import annotations

import email
import email.policy
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medgraft.errors import ForeignModelError
from medgraft.foreign import loopback
from medgraft.foreign.loopback import LoopbackServer
from medgraft.foreign.options import ForeignOptions

CLASSES = ("NORMAL", "PNEUMONIA")
Answer = Callable[[BaseHTTPRequestHandler, list[Any]], None]


def some_images() -> Any:
    return np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], str]]:
    """A server whose answers to the images of a form are made by a function; gives its URL."""
    servers = []

    def start(answer: Answer) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
                form = email.message_from_bytes(head + body, policy=email.policy.HTTP)
                parts = [part.get_payload(decode=True) for part in form.iter_parts()]
                answer(self, [np.asarray(Image.open(BytesIO(part))) for part in parts])

            def log_message(self, *words: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/v1/predict"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def send(
    handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, kind: str = "application/json"
) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def asked(url: str, **how: Any) -> LoopbackServer:
    return LoopbackServer(url, ForeignOptions(**{"input_size": 16, "timeout": 5.0} | how), CLASSES)


def test_rows_come_in_the_order_of_the_images(serve: Any) -> None:
    def rows(handler: Any, images: Any) -> None:
        assert handler.path == "/v1/predict"
        answer = [{"scores": image.mean(axis=(0, 1)).tolist()} for image in images]
        send(handler, json.dumps(answer).encode())

    images = some_images()
    np.testing.assert_allclose(asked(serve(rows))(images), images.mean(axis=(1, 2)))


def test_medgrafts_own_server_is_understood(serve: Any) -> None:
    pytest.importorskip("pydantic")
    from medgraft.serve.schema import IMAGE, MODEL  # what it says it answers

    def rows(handler: Any, images: Any) -> None:
        send(handler, json.dumps({"model": MODEL, "images": [IMAGE] * len(images)}).encode())

    server = asked(serve(rows))
    expected = [IMAGE["probabilities"][name] for name in CLASSES]  # type: ignore[index]
    assert server(some_images()).tolist() == [expected] * 3
    assert (server.named, server.outputs) == (True, "probabilities")


@pytest.mark.parametrize(
    ("status", "kind", "body", "text"),
    [
        (200, "text/html", b"<html>login</html>", "answered text/html that is no JSON"),
        (200, "application/json", b'{"answer": 42}', "answered dict for 3 images"),
        (200, "application/json", b"[[0.1, 0.9]]", "answered 1 rows for 3 images"),
        (200, "application/json", b"[[1, null], [1, 2], [1, 2]]", "answered None where numbers"),
        (404, "text/plain", b"no such path", "answered 404 Not Found: no such path"),
        (500, "text/plain", b"", "answered 500"),
        (307, "text/plain", b"", "answered 307"),
    ],
)
def test_what_is_no_answer_says_what_came(
    serve: Any, status: int, kind: str, body: bytes, text: str
) -> None:
    with pytest.raises(ForeignModelError, match=text):
        asked(serve(lambda handler, _: send(handler, body, status, kind)))(some_images())


def test_what_is_slow_or_endless_is_left(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def drips(handler: Any, images: Any) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.05)

    began = time.monotonic()
    for answer in (drips, lambda handler, images: time.sleep(1)):
        with pytest.raises(ForeignModelError, match="does not answer"):
            asked(serve(answer), timeout=0.3)(some_images())
    assert time.monotonic() - began < 2
    monkeypatch.setattr(loopback, "MOST", 1000)
    with pytest.raises(ForeignModelError, match="more than 1,000 bytes"):
        asked(serve(lambda handler, _: send(handler, b"[" * 2000)))(some_images())


def test_nobody_answers() -> None:
    with pytest.raises(ForeignModelError, match=r"does not answer.*refused"):
        asked("http://127.0.0.1:9/")(some_images())


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/predict",
        "http://10.0.0.1:8000",
        "http://127.0.0.1.example.org/",
        "http://[2001:db8::1]/",
        "https://127.0.0.1/",
        "ftp://127.0.0.1/",
        "http://name:password@127.0.0.1/",
        "http:///predict",
    ],
)
def test_images_go_to_this_machine_alone(url: str) -> None:
    with pytest.raises(ForeignModelError, match="this machine alone"):
        asked(url)


def test_a_hosts_file_sends_no_image_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = []

    class Elsewhere:
        def getpeername(self) -> tuple[str, int]:
            return ("192.0.2.1", 80)

        def sendall(self, data: bytes) -> None:
            sent.append(data)

        def close(self) -> None:
            pass

    monkeypatch.setattr(
        "http.client.HTTPConnection.connect", lambda self: setattr(self, "sock", Elsewhere())
    )
    with pytest.raises(ForeignModelError, match="no image was sent"):
        asked("http://localhost:8000/")(some_images())
    assert sent == []


def test_a_url_without_a_path_is_medgraft_serve() -> None:
    assert asked("http://localhost:8000").path == "/v1/predict"
    assert asked("http://[::1]:8000/other?x=1").path == "/other?x=1"
