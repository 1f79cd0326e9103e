"""*Try it*: the page of `medgraft serve`, of a run's model, below this page's address.

One model at a time is loaded, when its page is first asked for; the one before it is let go. Until
it is there, its page says so and looks again.
"""

from __future__ import annotations

import asyncio
import html
from contextlib import suppress
from typing import TYPE_CHECKING

from medgraft.app.home import Home
from medgraft.errors import MedgraftError

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import ASGIApp, Receive, Scope, Send

    from medgraft.serve.service import Service

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">{again}
<link rel="icon" href="data:,"><link rel="stylesheet" href="/page/app.css">
<title>{title} · medgraft</title></head>
<body><main><h1>{title}</h1><p class="lead">{text}</p><p><a href="/">All studies</a></p></main>
</body></html>"""
AGAIN = '<meta http-equiv="refresh" content="1">'


class Tried:
    """An application for `/runs/{id}/try`."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._now: _Loaded | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_page = scope["method"] == "GET" and scope["path"].endswith("/try/")
        model = self._model(str(scope["path_params"]["id"]), anew=is_page)
        if is_page and not model.ready.done():
            text = "It is read from the disk, then answers a grey picture to see that all works: "
            text += "seconds, or a minute while a study runs. This page goes on by itself."
            await _say(send, 200, "The model is being loaded", text, AGAIN)
            return
        try:
            app = await asyncio.shield(model.ready)
        except MedgraftError as error:
            if not is_page:
                raise
            model.told = True
            await _say(send, 400, "The model cannot be tried", str(error))
            return
        await app(scope, receive, send)

    async def close(self) -> None:
        """Let the model go."""
        if self._now is not None:
            await self._now.end()

    def _model(self, id: str, *, anew: bool) -> _Loaded:
        """That of a run, begun to be loaded where it is not; `anew` also where that failed, and
        somebody was told.
        """
        now = self._now
        if now is None or now.id != id or (now.told and anew):
            self._now = _Loaded(self.home, id, now)
        assert self._now is not None
        return self._now


class _Loaded:
    """A model on its way; a task of its own holds what it needs until it is ended."""

    def __init__(self, home: Home, id: str, before: _Loaded | None) -> None:
        self.home, self.id, self.told = home, id, False
        self.ready: asyncio.Future[ASGIApp] = asyncio.get_running_loop().create_future()
        self._over = asyncio.Event()
        self._task = asyncio.create_task(self._live(before))

    async def end(self) -> None:
        self._over.set()
        with suppress(Exception):
            await self._task

    async def _live(self, before: _Loaded | None) -> None:
        try:
            if before is not None:
                await before.end()
            run = await asyncio.to_thread(self.home.run, self.id)
            service, app = await asyncio.to_thread(_served, run)
            async with service.running():
                self.ready.set_result(app)
                await self._over.wait()
        except Exception as error:  # noqa: BLE001  (who asks is told)
            if not self.ready.done():
                self.ready.set_exception(error)
                self.ready.exception()  # seen: perhaps nobody asks any more


def _served(run: Path) -> tuple[Service, ASGIApp]:
    """What answers of a run's model, and its application without a key: who may ask is known."""
    from medgraft.serve.app import make_app, routes_of
    from medgraft.serve.guard import Guard
    from medgraft.serve.limits import Limits
    from medgraft.serve.model import ModelOptions, ServedModel
    from medgraft.serve.service import Service

    service = Service(ServedModel.load(run, ModelOptions()), Limits())
    app = make_app(service)
    return service, Guard(app, service, "", (), routes_of(app))


async def _say(send: Send, status: int, title: str, text: str, again: str = "") -> None:
    body = PAGE.format(title=title, text=html.escape(text), again=again).encode()
    headers = [(b"content-type", b"text/html; charset=utf-8")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
