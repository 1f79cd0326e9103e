"""Routes and their OpenAPI; what happens behind them stands in `service.py`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Route

from medgraft.bundle.explain import AUTO, OCCLUSION
from medgraft.errors import BackboneError, ScenarioError
from medgraft.explain.methods import METHODS, SCORE_CAM
from medgraft.serve.limits import RequestError
from medgraft.serve.model import Explained
from medgraft.serve.page import page_files
from medgraft.serve.pictures import map_json
from medgraft.serve.schema import (
    AboutAnswer,
    CasesAnswer,
    ExplainedAnswer,
    Predicted,
    State,
    files_of,
    refusals,
    with_examples,
)
from medgraft.serve.service import ClientGoneError, Looked, Service, answer_json
from medgraft.types import Canvas
from medgraft.version import __version__

# No source but this server, no frame, no form; pictures come as data or from the dropped file.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
OWN_PAGES = {"Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-store"}
# Score-CAM takes a pass of the network for each channel: minutes an image.
WAYS = (AUTO, *(name for name in METHODS if name != SCORE_CAM), OCCLUSION)
GONE = 499  # in log and counters, as nginx has it; nobody receives it


def make_app(service: Service) -> FastAPI:
    """The application; `service` runs while it does.

    It may be mounted below a path of another application, which must then run the service itself,
    for what is mounted is told of no beginning and no end: `async with service.running()`.
    """

    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    app = FastAPI(
        title="medgraft serve",
        version=__version__,
        summary="Labels, probabilities and evidence of medical images. For research use only.",
        lifespan=running,
        docs_url=None,  # its pages load scripts from elsewhere
        redoc_url=None,
    )
    _errors(app, service)
    _model_routes(app, service)
    _about_routes(app, service)
    _state_routes(app, service)
    _page_routes(app)
    made = app.openapi

    def openapi() -> dict[str, Any]:
        return with_examples(made())

    app.openapi = openapi  # type: ignore[method-assign]
    return app


def routes_of(app: FastAPI) -> list[str]:
    """The paths that are answered."""
    return [path for route in app.routes if (path := getattr(route, "path", ""))]


def _model_routes(app: FastAPI, service: Service) -> None:
    files = {"requestBody": files_of(service.limits.files)}
    one_file = {"requestBody": files_of(1)}
    refused = refusals(401, 408, 413, 415, 421, 422, 429, 500, 503)

    @app.post(
        "/v1/predict",
        response_model=Predicted,
        responses=refused,
        openapi_extra=files,
        tags=["model"],
    )
    async def predict(request: Request) -> Response:
        """Label, probabilities, prediction set and likeness of each file, in order.

        Where some files cannot be read the others are answered, and each of those says why in its
        `error`; where none can, the request is refused with the reason of the first.
        """
        return JSONResponse(await service.predict(request))

    # The same past FastAPI's search for parameters, of which there are none: a tenth of what the
    # event loop does for an image. The route above is what the description tells of.
    app.router.routes.insert(0, Route("/v1/predict", predict, methods=["POST"]))

    @app.post(
        "/v1/explain", response_model=ExplainedAnswer, responses=refused, openapi_extra=one_file,
        tags=["model"],
    )  # fmt: skip
    async def explain(
        request: Request,
        method: Annotated[str, Query(json_schema_extra={"enum": list(WAYS)})] = AUTO,
        taps: Annotated[str, Query(description="layers, with commas; blocks 1 to 5 if none")] = "",
        target: Annotated[str, Query(description="the class; the predicted one if none")] = "",
    ) -> Response:
        """Where in one image a class's score comes from: a map, or one at each layer."""
        if method not in WAYS:
            raise _no_such_map(f"a method {method[:40]!r}", WAYS, "method")
        classes = service.model.fitted.classes
        if target and target not in classes:
            raise _no_such_map(f"a target {target[:40]!r}", classes, "target")
        asked = Looked(method, tuple(dict.fromkeys(filter(None, taps.split(",")))), target)
        try:
            canvas, found = await service.explain(request, asked)
        except (BackboneError, ScenarioError) as error:
            raise RequestError(
                422, "no_such_map", str(error), "the model has the map that is asked for",
                "leave taps away, or ask for method=auto",
            ) from error  # fmt: skip
        maps = await asyncio.to_thread(_maps_json, canvas, found)  # others are answered meanwhile
        return JSONResponse({"model": service.model.described(), **maps})

    jpeg = {200: {"content": {"image/jpeg": {}}}, **refused}

    @app.post(
        "/v1/picture", response_class=Response, responses=jpeg, openapi_extra=one_file,
        tags=["model"],
    )  # fmt: skip
    async def picture(request: Request) -> Response:
        """One image as it is read, whole and upright, for browsers that do not know its kind."""
        return Response(await service.picture(request), media_type="image/jpeg")


def _state_routes(app: FastAPI, service: Service) -> None:
    @app.get("/health", response_model=State, tags=["state"])
    async def health() -> Response:
        """Whether the process answers at all."""
        return JSONResponse({"status": "ok"})

    @app.get("/ready", response_model=State, responses=refusals(503), tags=["state"])
    async def ready() -> Response:
        """Whether the model answers."""
        if service.ready:
            return JSONResponse({"status": "ready"})
        raise RequestError(
            503, "not_ready", "a batch that the model does not come back from",
            f"each is answered within {service.limits.seconds:g} s", "restart the server",
        )  # fmt: skip

    text = {200: {"content": {"text/plain": {}}}, **refusals(401)}

    @app.get("/metrics", response_class=Response, responses=text, tags=["state"])
    async def metrics() -> Response:
        """Counters and histograms for Prometheus."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)


def _about_routes(app: FastAPI, service: Service) -> None:
    @app.get("/v1/model", response_model=AboutAnswer, responses=refusals(401), tags=["model"])
    async def about() -> Response:
        """The model: its classes, whether its evidence was audited, what it promises and takes."""
        return JSONResponse(service.about())

    @app.get("/v1/cases", response_model=CasesAnswer, responses=refusals(401), tags=["model"])
    async def cases() -> Response:
        """Images of the model's study to look at: labels that may be wrong, then the least sure."""
        return JSONResponse({"cases": (await service.cases()).rows})

    jpeg = {
        200: {"content": {"image/jpeg": {}}},
        **refusals(401, 404, 413, 415, 422, 429, 500, 503),
    }

    @app.get("/v1/cases/{name}", response_class=Response, responses=jpeg, tags=["model"])
    async def case_picture(request: Request, name: str) -> Response:
        """One of these images, whole and upright, where the study's file still lies unchanged."""
        content = await service.case_picture(request, name)
        return Response(content, media_type="image/jpeg", headers=OWN_PAGES)


def _page_routes(app: FastAPI) -> None:
    def add(name: str, content: bytes, kind: str) -> None:
        async def page() -> Response:
            return Response(content, media_type=kind, headers=HEADERS)

        app.add_api_route(f"/{name}", page, include_in_schema=False)

    for name, (content, kind) in page_files().items():
        add(name, content, kind)


# --------------------------------------------------------------------------- answers


def _maps_json(canvas: Canvas, found: Explained) -> dict[str, Any]:
    return {
        "image": {"index": 0, **answer_json(found.prediction)},
        "target": found.target,
        "method": found.maps[0].method,
        "maps": [map_json(canvas, one, found.blocks.get(one.tap)) for one in found.maps],
    }


def _no_such_map(value: str, known: Sequence[str], parameter: str) -> RequestError:
    remedy = f"name one of them, or leave {parameter} away"
    return RequestError(422, "no_such_map", value, f"there are: {', '.join(known)}", remedy)


def _errors(app: FastAPI, service: Service) -> None:
    """Every refusal has the one form, those of FastAPI and Starlette too."""

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestError)
        service.metrics.refusals.labels(error.code).inc()
        return _refusal(error)

    async def of_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "bad_request")
        rule, remedy = "routes and methods are those of /openapi.json", "ask as it says"
        headers = dict(error.headers or {})
        return _refusal(
            RequestError(error.status_code, code, str(error.detail), rule, remedy, headers)
        )

    async def of_query(request: Request, error: Exception) -> Response:
        rule, remedy = "a query is as /openapi.json says", "ask as it says"
        value = "a parameter of another kind"
        return _refusal(RequestError(422, "wrong_parameter", value, rule, remedy))

    async def of_nobody(request: Request, error: Exception) -> Response:
        return Response(status_code=GONE)

    async def unexpected(request: Request, error: Exception) -> Response:
        rule, remedy = "none of yours", "see the server's log; report it if it comes again"
        value = "a fault of the server"
        return _refusal(RequestError(500, "internal", value, rule, remedy))

    app.add_exception_handler(RequestError, refused)
    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(RequestValidationError, of_query)
    app.add_exception_handler(ClientDisconnect, of_nobody)
    app.add_exception_handler(ClientGoneError, of_nobody)
    app.add_exception_handler(Exception, unexpected)


def _refusal(error: RequestError) -> Response:
    content = {"error": error.content()}
    return JSONResponse(content, error.status, headers=dict(error.headers))
