"""Who may come in: the one who has the address with the token, from this page and no other.

The token is in the address that is opened. It is changed for a cookie at once and leaves the
address. What is asked has to bring the cookie, go to this server by its own name, and come from a
page of its own: another page in the same browser, or another user of the machine, gets nothing.
"""

from __future__ import annotations

import hmac
import json
import secrets
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# A report brings its own style and script. It may run them, alone: as a page of nowhere, that can
# load nothing, ask nothing and reach nothing of this server.
REPORT_POLICY = (
    "sandbox allow-scripts allow-popups; default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; img-src data:; font-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'"
)
SAFE = ("GET", "HEAD")
# Sets the cookie and goes on by itself: a redirect would still count as asked for by whoever
# opened the address, and strict cookies would stay behind.
ENTERED = b"""<!doctype html><html lang="en"><head><meta charset="utf-8">
<link rel="icon" href="data:,"><title>medgraft</title>
<meta http-equiv="refresh" content="0; url=/"></head>
<body><p><a href="/">medgraft</a></p></body></html>"""
STRANGER = b"""<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">
<title>medgraft</title></head><body><main>
<h1>This page is someone\xe2\x80\x99s own</h1>
<p>It opens by the whole address that <code>medgraft app</code> printed, with its token. If it was
you who started it, open that address again, or start medgraft once more.</p>
</main></body></html>"""


@dataclass(frozen=True)
class Key:
    """The secrets of one server, and its port, which its cookie is named by."""

    port: int
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    cookie: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    @property
    def name(self) -> str:
        """Of the cookie: all servers of a machine share its cookies."""
        return f"medgraft-{self.port}"

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(f"{name}:{self.port}" for name in ("127.0.0.1", "localhost"))

    @property
    def address(self) -> str:
        """What opens the page."""
        return f"http://127.0.0.1:{self.port}/?token={self.token}"


class Guard:
    """Wraps the application; also sets the headers that hold for all that it answers."""

    def __init__(self, app: ASGIApp, key: Key) -> None:
        self.app, self.key = app, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        host = headers.get("host", "").lower()
        if host not in self.key.hosts:
            await _refuse(send, 421, "this server does not go by that name")
            return
        if scope["path"] == "/" and self._brings_token(scope):
            cookie = f"{self.key.name}={self.key.cookie}; Path=/; HttpOnly; SameSite=Strict"
            await _answer(send, 200, ENTERED, "text/html; charset=utf-8", ("set-cookie", cookie))
            return
        if not self._knows(headers.get("cookie", "")):
            if scope["path"] == "/":
                await _answer(send, 401, STRANGER, "text/html; charset=utf-8")
            else:
                await _refuse(send, 401, "open the address that medgraft app printed, once more")
            return
        if not _from_here(scope["method"], headers, host):
            await _refuse(send, 403, "only this server's own page may ask for that")
            return
        await self.app(scope, receive, _with_headers(send))

    def _brings_token(self, scope: Scope) -> bool:
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        return hmac.compare_digest(given.encode(), self.key.token.encode())

    def _knows(self, cookies: str) -> bool:
        try:
            found = SimpleCookie(cookies).get(self.key.name)
        except CookieError:
            return False
        given = found.value if found is not None else ""
        return hmac.compare_digest(given.encode(), self.key.cookie.encode())


def _from_here(method: str, headers: dict[str, str], host: str) -> bool:
    """Whether a page of this server asks, or the user; every browser says so where it matters."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    return method in SAFE or headers.get("origin", "") == f"http://{host}"


def _with_headers(send: Send) -> Send:
    """Add the headers of every answer where it has none of its own."""
    always = {
        b"content-security-policy": POLICY.encode(),
        b"referrer-policy": b"no-referrer",
        b"x-content-type-options": b"nosniff",
        b"cross-origin-resource-policy": b"same-origin",
        b"cache-control": b"no-store",
    }

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = [name.lower() for name, _ in message.get("headers", ())]
            more = [(name, value) for name, value in always.items() if name not in given]
            message = {**message, "headers": [*message.get("headers", ()), *more]}
        await send(message)

    return sending


async def _refuse(send: Send, status: int, text: str) -> None:
    await _answer(send, status, json.dumps({"error": {"text": text}}).encode(), "application/json")


async def _answer(send: Send, status: int, body: bytes, kind: str, *more: tuple[str, str]) -> None:
    sending = _with_headers(send)
    headers = [("content-type", kind), ("content-length", str(len(body))), *more]
    raw = [(name.encode(), value.encode()) for name, value in headers]
    await sending({"type": "http.response.start", "status": status, "headers": raw})
    await sending({"type": "http.response.body", "body": body})
