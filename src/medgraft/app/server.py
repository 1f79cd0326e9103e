"""Routes of the page; what happens behind them stands in `readings.py`, `studies.py` and others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route

from medgraft.app.checks import Checks
from medgraft.app.door import REPORT_POLICY
from medgraft.app.folders import listed
from medgraft.app.home import Home, NotFoundError
from medgraft.app.jobs import Jobs
from medgraft.app.readings import Read, Readings
from medgraft.app.studies import Studies
from medgraft.app.tried import Tried
from medgraft.app.uploads import Uploads
from medgraft.errors import DataError, MedgraftError
from medgraft.version import __version__

PAGES = Path(__file__).with_name("page")
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
# Of a run's folder and those below it; what is no page is shown as text or saved, never run.
SHOWN = {
    ".html": "text/html; charset=utf-8", ".json": "text/plain; charset=utf-8",
    ".csv": "text/csv; charset=utf-8", ".md": "text/plain; charset=utf-8",
    ".bib": "text/plain; charset=utf-8",
}  # fmt: skip
LARGEST = 1 << 20  # bytes of a request that is JSON

Handler = Callable[[Request], Awaitable[Response]]


class App:
    """Everything that the page needs, of one home.

    read : reads data as the command line does. program : what stands before a command's words.
    leave : ends the server.
    """

    def __init__(
        self, home: Home, read: Read, program: tuple[str, ...], leave: Callable[[], None]
    ) -> None:
        self.home, self.leave = home, leave
        self.readings = Readings(read)
        jobs = Jobs(home, program)
        self.checks, self.studies = Checks(home, jobs), Studies(home, jobs)
        self.uploads = Uploads(home)
        self.tried = Tried(home)

    def application(self) -> Starlette:
        """The routes; who may ask decides the `Guard` around them."""

        @asynccontextmanager
        async def running(app: Starlette) -> AsyncIterator[None]:
            yield
            self.readings.close()
            await self.tried.close()

        get, post = ["GET"], ["POST"]
        return Starlette(
            routes=[
                Route("/", _page("index.html"), methods=get),
                Route("/page/{name}", self._page_file, methods=get),
                Route("/api/state", self._state, methods=get),
                Route("/api/runs", self._runs, methods=get),
                Route("/api/folders", self._folders, methods=get),
                Route("/api/uploads", self._begin_upload, methods=post),
                Route("/api/uploads/{id}", self._upload, methods=post),
                Route("/api/uploads/{id}/end", self._end_upload, methods=post),
                Route("/api/uploads/{id}/forget", self._forget_upload, methods=post),
                Route("/api/readings", self._read, methods=post),
                Route("/api/readings/{id}", self._reading, methods=get),
                Route("/api/readings/{id}/stop", self._stop_reading, methods=post),
                Route("/api/readings/{id}/check", self._check, methods=post),
                Route("/api/readings/{id}/pictures/{row:int}", self._picture, methods=get),
                Route("/api/studies", self._start, methods=post),
                Route("/api/studies/{id}", self._study, methods=get),
                Route("/api/studies/{id}/stop", self._stop, methods=post),
                Route("/api/studies/{id}/resume", self._resume, methods=post),
                Route("/api/studies/{id}/belongs", self._belongs, methods=get),
                Route("/api/studies/{id}/corrections", self._correct, methods=post),
                Route("/api/studies/{id}/delete", self._delete, methods=post),
                Route("/api/leave", self._leave, methods=post),
                Route("/runs/{id}/files/{path:path}", self._file, methods=get),
                Route("/checks/{id}/data.html", self._check_page, methods=get),
                Route("/compare", self._compare, methods=get),
                Route("/runs/{id}/try", _with_slash, methods=get),
                Mount("/runs/{id}/try", app=self.tried),
            ],
            exception_handlers={
                NotFoundError: _answering(404),
                MedgraftError: _answering(400),
                ClientDisconnect: _answering(499),
            },
            lifespan=running,
        )

    # ----------------------------------------------------------------------- the page

    async def _page_file(self, request: Request) -> Response:
        name = str(request.path_params["name"])
        if name not in {one.name for one in PAGES.iterdir()}:
            raise NotFoundError(f"there is no {name[:80]!r} here")
        return FileResponse(PAGES / name, media_type=KINDS[Path(name).suffix])

    async def _state(self, request: Request) -> Response:
        return JSONResponse({"version": __version__, "home": str(self.home.folder)})

    async def _leave(self, request: Request) -> Response:
        asyncio.get_running_loop().call_later(0.3, self.leave)
        return JSONResponse({})

    # ----------------------------------------------------------------------- choosing data

    async def _runs(self, request: Request) -> Response:
        return JSONResponse({"runs": await asyncio.to_thread(self.studies.all)})

    async def _folders(self, request: Request) -> Response:
        return JSONResponse(await asyncio.to_thread(listed, request.query_params.get("path", "")))

    async def _begin_upload(self, request: Request) -> Response:
        asked = await _object(request)
        name, files, size = _text(asked, "name"), _whole(asked, "files"), _whole(asked, "bytes")
        return JSONResponse({"id": self.uploads.begin(name, files, size)})

    async def _upload(self, request: Request) -> Response:
        body = (chunk async for chunk in request.stream() if chunk)
        files = await self.uploads.take(request.path_params["id"], body)
        return JSONResponse({"files": files})

    async def _end_upload(self, request: Request) -> Response:
        return JSONResponse({"data": self.uploads.end(request.path_params["id"])})

    async def _forget_upload(self, request: Request) -> Response:
        await asyncio.to_thread(self.uploads.forget, request.path_params["id"])
        return JSONResponse({})

    # ----------------------------------------------------------------------- how it is read

    async def _read(self, request: Request) -> Response:
        asked = await _object(request)
        flags = asked.get("flags", {})
        if not isinstance(flags, dict):
            raise DataError("flags are an object of options")
        data, again = _text(asked, "data"), bool(asked.get("again"))
        return JSONResponse(self.readings.open(data, flags, again=again).json())

    async def _reading(self, request: Request) -> Response:
        return JSONResponse(self.readings.get(request.path_params["id"]).json())

    async def _stop_reading(self, request: Request) -> Response:
        self.readings.stop(request.path_params["id"])
        return JSONResponse({})

    async def _check(self, request: Request) -> Response:
        reading = self.readings.get(request.path_params["id"])
        again = bool((await _object(request)).get("again"))
        found = await asyncio.to_thread(self.checks.check, reading, again=again)
        if found["state"] == "done":
            skipped = await asyncio.to_thread(self.checks.skipped, reading)
            await asyncio.to_thread(self.readings.leave_out, reading, skipped)
            found["images"] = reading.found["images"]
        return JSONResponse(found)

    async def _picture(self, request: Request) -> Response:
        id, row = request.path_params["id"], request.path_params["row"]
        content = await asyncio.to_thread(self.readings.picture, id, row)
        if content is None:  # an answer without a picture: a browser calls no fault of ours by it
            return Response(status_code=204)
        return Response(content, media_type="image/webp", headers={"Cache-Control": "private"})

    # ----------------------------------------------------------------------- studies

    async def _start(self, request: Request) -> Response:
        asked = await _object(request)
        reading = self.readings.get(_text(asked, "reading"))
        minutes = _whole(asked, "minutes")
        if not asked.get("beside") and (other := self.studies.under_way(reading)) is not None:
            return JSONResponse({"running": other})
        id = await asyncio.to_thread(self.studies.start, reading, minutes)
        return JSONResponse({"id": id})

    async def _study(self, request: Request) -> Response:
        id = request.path_params["id"]
        return JSONResponse(await asyncio.to_thread(self.studies.told, id))

    async def _stop(self, request: Request) -> Response:
        await asyncio.to_thread(self.studies.stop, request.path_params["id"])
        return JSONResponse({})

    async def _resume(self, request: Request) -> Response:
        await asyncio.to_thread(self.studies.resume, request.path_params["id"])
        return JSONResponse({})

    async def _belongs(self, request: Request) -> Response:
        found = await asyncio.to_thread(self.studies.belongs, request.path_params["id"])
        return JSONResponse({"folders": [str(one) for one in found]})

    async def _correct(self, request: Request) -> Response:
        table = _text(await _object(request), "table")
        await asyncio.to_thread(self.studies.corrected, request.path_params["id"], table)
        return JSONResponse({})

    async def _delete(self, request: Request) -> Response:
        await asyncio.to_thread(self.studies.delete, request.path_params["id"])
        return JSONResponse({})

    # ----------------------------------------------------------------------- what they left

    async def _file(self, request: Request) -> Response:
        run = await asyncio.to_thread(self.home.run, request.path_params["id"])
        return _shown(run, str(request.path_params["path"]))

    async def _check_page(self, request: Request) -> Response:
        id = str(request.path_params["id"])
        if not id.removeprefix("check-").isalnum():
            raise NotFoundError("there is no such check")
        return _shown(self.home.checks / id, "data.html")

    async def _compare(self, request: Request) -> Response:
        from medgraft.report.pages.compare import render_comparison
        from medgraft.runs.compare import compare_runs
        from medgraft.runs.read import open_run

        def compared() -> str:
            a, b = (self.home.run(request.query_params.get(name, "")) for name in "ab")
            return render_comparison(compare_runs(open_run(a), open_run(b)))

        headers = {"Content-Security-Policy": REPORT_POLICY}
        html = await asyncio.to_thread(compared)
        return Response(html, media_type="text/html", headers=headers)


def _page(name: str) -> Handler:
    async def page(request: Request) -> Response:
        return FileResponse(PAGES / name, media_type=KINDS[Path(name).suffix])

    return page


async def _with_slash(request: Request) -> Response:
    return RedirectResponse(f"{request.url.path}/")


def _shown(folder: Path, path: str) -> Response:
    """A file of a folder, for a browser to show; a page alone may run its own script, in a box."""
    file = folder / path
    inside = file.resolve().is_relative_to(folder.resolve())
    kind = SHOWN.get(file.suffix.lower())
    if not inside or kind is None or not file.is_file():
        raise NotFoundError(f"there is no {path[:200]!r} in {folder} to show")
    return FileResponse(file, media_type=kind, headers={"Content-Security-Policy": REPORT_POLICY})


def _answering(status: int) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": {"text": str(error)}}, status)

    return answer


# --------------------------------------------------------------------------- what is asked


async def _object(request: Request) -> dict[str, Any]:
    """The JSON object of a request.

    Raises
    ------
    DataError
        It is none, or too long.
    """
    content = b""
    async for chunk in request.stream():
        content += chunk
        if len(content) > LARGEST:
            raise DataError("the request is too long")
    try:
        found = json.loads(content or b"{}")
    except ValueError as error:
        raise DataError(f"the request is no JSON ({error})") from error
    if not isinstance(found, dict):
        raise DataError("the request is no JSON object")
    return found


def _text(asked: dict[str, Any], name: str) -> str:
    value = asked.get(name)
    if not isinstance(value, str) or not value or "\0" in value:
        raise DataError(f"{name} is missing, or no text")
    return value


def _whole(asked: dict[str, Any], name: str) -> int:
    value = asked.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise DataError(f"{name} is missing, or no whole number")
    return value
