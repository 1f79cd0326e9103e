"""The table of limits in docs/serve.md: a test a line, each with its answer in the one form."""

from __future__ import annotations

import dataclasses
import re
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import BOUNDARY, NAME, SMALL, Answered, Running, form, png, running, until

from medgraft.serve.limits import Limits

Threads = Callable[..., list[Any]]
DOCS = Path(__file__).parents[2] / "docs" / "serve.md"


def bomb(side: int = 60_000) -> bytes:
    """The header of a PNG that claims 3.6 gigapixels."""
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", side, side, 8, 0, 0, 0, 0)


def chunks(body: bytes, size: int = 50_000) -> Iterator[bytes]:
    """Sent without saying how long it is."""
    for start in range(0, len(body), size):
        yield body[start : start + size]


HEAD = (
    "POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n"
    f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n--{BOUNDARY}\r\n"
).encode()  # of a body that does not come
CUT = form(png())[:-20]
NO_BOUNDARY = {"Content-Type": "multipart/form-data"}
REFUSED: dict[str, tuple[int, bytes, dict[str, str]]] = {
    "file_too_large": (413, form(bytes(SMALL.file_bytes + 1)), {}),
    "too_many_files": (413, form(*[b"x"] * 5), {}),
    "too_many_pixels": (413, form(bomb()), {}),
    "unknown_kind": (415, form(b"#!/bin/sh\n"), {}),
    "not_multipart": (415, png(), {"Content-Type": "image/png"}),
    "empty_file": (422, form(b""), {}),
    "unreadable_image": (422, form(png()[:-30]), {}),
    "no_files": (422, form(), {}),
    "unknown_field": (422, form(png(), field="image"), {}),
    "broken_multipart": (422, CUT, {}),
}


@pytest.mark.parametrize("code", REFUSED)
def test_what_is_sent(code: str, server: Running) -> None:
    status, body, headers = REFUSED[code]
    found = server.ask("/v1/predict", body, **headers)
    assert (found.status, found.code) == (status, code)
    assert server.ask("/v1/predict", form(png())).status == 200  # and nothing is held up
    assert server.service.held.bytes == server.service.images == 0


@pytest.mark.parametrize("whole", [True, False], ids=["declared", "chunked"])
def test_bytes_of_a_request(whole: bool, server: Running) -> None:
    body = form(*[bytes(190_000)] * 4)
    found = server.ask("/v1/predict", body if whole else chunks(body))
    assert (found.status, found.code) == (413, "request_too_large")


def test_ten_thousand_files() -> None:
    with running(Limits()) as server:
        found = server.ask("/v1/predict", form(*[b""] * 10_000))
        assert (found.status, found.code) == (413, "too_many_files")
        assert server.asked == []
        assert server.service.held.bytes == 0


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"garbage", {}),
        (b"", {}),
        (form(png()), NO_BOUNDARY),
        (form(png()), {"Content-Type": "multipart/form-data; boundary=" + "b" * 71}),
        (form(png()), {"Content-Type": "multipart/form-data; boundary=another"}),
        (form(png()).replace(b"filename", b"x" * 9000), {}),
    ],
    ids=["garbage", "nothing", "no boundary", "long boundary", "another boundary", "long header"],
)
def test_forms_that_are_none(body: bytes, headers: dict[str, str], server: Running) -> None:
    found = server.ask("/v1/predict", body, **headers)
    assert (found.status, found.code) == (422, "broken_multipart")


def test_images_under_way(server: Running, in_threads: Threads) -> None:
    server.gate.clear()
    waiting = in_threads(lambda: server.ask("/v1/predict", form(*[png()] * 3)), 2)
    until(lambda: server.service.images == 6)
    found = server.ask("/v1/predict", form(png()))
    assert (found.status, found.code, found.headers["retry-after"]) == (429, "busy", "1")
    server.gate.set()
    until(lambda: len(waiting) == 2)
    assert [one.status for one in waiting] == [200, 200]
    assert server.ask("/v1/predict", form(png())).status == 200


def test_bytes_in_memory(server: Running, in_threads: Threads) -> None:
    server.gate.clear()
    padded = png() + bytes(190_000)
    in_threads(lambda: server.ask("/v1/predict", form(padded)), 4)
    until(lambda: server.service.held.bytes > 760_000)
    found = server.ask("/v1/predict", form(padded))
    assert (found.status, found.code) == (429, "busy")
    assert "memory" in found.json["error"]["value"]


def test_requests_under_way(server: Running) -> None:
    held = [server.opened(HEAD) for _ in range(SMALL.requests)]
    until(lambda: server.ask("/openapi.json").status == 429)
    for path in ("/health", "/ready", "/metrics"):
        assert server.ask(path).status == 200
    for one in held:
        one.close()
    until(lambda: server.ask("/openapi.json").status == 200)


def test_explanations_under_way(server: Running, in_threads: Threads) -> None:
    server.gate.clear()
    in_threads(lambda: server.ask("/v1/explain", form(png())))
    until(lambda: server.service.explanations == 1)
    found = server.ask("/v1/explain", form(png()))
    assert (found.status, found.code) == (429, "busy")


def test_seconds_to_an_answer(hasty: Running) -> None:
    hasty.gate.clear()
    found = hasty.ask("/v1/predict", form(png(), png()))
    assert (found.status, found.code, found.headers["retry-after"]) == (503, "out_of_time", "1")
    assert hasty.service.held.bytes == hasty.service.images == 0


def test_seconds_to_a_body(hasty: Running) -> None:
    with hasty.opened(HEAD) as slow:
        said = b"".join(iter(lambda: slow.recv(4096), b""))  # until it is closed
    assert said.startswith(b"HTTP/1.1 408")
    assert b"slow_upload" in said


@pytest.mark.parametrize("head", [b"", b"GET /health HTTP/1.1\r\nHost: lo"])
def test_seconds_to_headers(head: bytes, hasty: Running) -> None:
    began = time.monotonic()
    with hasty.opened(head) as slow:
        assert slow.recv(4096) == b""
    assert 0.3 < time.monotonic() - began < 10


def test_a_long_answer_outlives_the_limit_of_headers(in_threads: Threads) -> None:
    """The watch over headers looks at a connection while its request is worked on."""
    patient = dataclasses.replace(SMALL, header_seconds=0.2)
    with running(patient) as server:
        server.gate.clear()
        waiting = in_threads(lambda: server.ask("/v1/predict", form(png())))
        time.sleep(0.6)
        server.gate.set()
        until(lambda: len(waiting) == 1)
        assert waiting[0].status == 200


def test_a_batch_that_never_comes_back_is_not_ready(hasty: Running) -> None:
    until(lambda: hasty.ask("/ready").json == {"status": "ready"})
    hasty.gate.clear()
    assert hasty.ask("/v1/predict", form(png())).status == 503
    until(lambda: hasty.ask("/ready").status == 503)
    assert hasty.ask("/ready").code == "not_ready"
    assert hasty.ask("/health").json == {"status": "ok"}
    hasty.gate.set()
    until(lambda: hasty.ask("/ready").status == 200)


def test_the_refused_sender_sees_the_answer(server: Running) -> None:
    """A body far beyond the socket's buffers, refused from its header."""
    found = server.ask("/v1/predict", form(bytes(20_000_000)))
    assert (found.status, found.code) == (413, "request_too_large")


def test_the_table_names_each_limit_and_code() -> None:
    text = DOCS.read_text(encoding="utf-8")
    codes = {*REFUSED, "request_too_large", "busy", "slow_upload", "out_of_time", "not_ready"}
    codes |= {"unauthorized", "wrong_host", "wrong_origin", "no_such_map", "internal"}
    assert codes <= set(re.findall(r"`(\w+)`", text))
    for name, value in dataclasses.asdict(Limits()).items():
        shown = f"{value >> 20} MiB" if name.endswith("bytes") else f"{value:g}"
        assert re.search(rf"\| {shown}\b", text), name


def test_no_name_comes_back(server: Running) -> None:
    found: Answered = server.ask("/v1/predict", form(png(), b""))
    assert NAME.encode() not in found.body
