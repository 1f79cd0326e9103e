"""*Try it*: the page of `medgraft serve`, of a run's model, below this page's address.

One model at a time is loaded, when its page is first asked for; the one before it is let go.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from medgraft.app.home import Home

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from medgraft.serve.service import Service


class Tried:
    """An application for `/runs/{id}/try`."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._loading = asyncio.Lock()
        self._id = ""
        self._app: ASGIApp | None = None
        self._task: asyncio.Task[None] | None = None
        self._over = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = await self._of(str(scope["path_params"]["id"]))
        await app(scope, receive, send)

    async def close(self) -> None:
        """Let the model go."""
        self._over.set()
        if self._task is not None:
            with suppress(Exception):
                await self._task
        self._app, self._task, self._id = None, None, ""

    async def _of(self, id: str) -> ASGIApp:
        async with self._loading:
            if self._id != id or self._app is None:
                run = await asyncio.to_thread(self.home.run, id)
                await self.close()
                self._app = await self._begun(run)
                self._id = id
            return self._app

    async def _begun(self, run: Path) -> ASGIApp:
        """The model of a run, once it answers; a task of its own holds what it needs."""
        ready: asyncio.Future[ASGIApp] = asyncio.get_running_loop().create_future()
        self._over = over = asyncio.Event()

        async def live() -> None:
            try:
                service, app = await asyncio.to_thread(_served, run)
                async with service.running():
                    ready.set_result(app)
                    await over.wait()
            except BaseException as error:
                if not ready.done():
                    ready.set_exception(error)
                raise

        self._task = asyncio.create_task(live())
        try:
            return await ready
        except BaseException:
            await self.close()
            raise


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
