"""The command that serves a saved classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from medgraft.cli.option_parsing import check_places
from medgraft.cli.options import (
    ALPHA_USED,
    CACHE,
    ENGINE,
    MODEL,
    SENSITIVITY,
    SPECIFICITY,
    UNLIKE_RATE,
    WORKERS,
)
from medgraft.cli.program import app

if TYPE_CHECKING:
    from medgraft.serve.model import ServedModel


@app.command()
def serve(
    model: MODEL,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="The address to listen at.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65535, help="0 for any that is free.")
    ] = 8000,
    api_key: Annotated[
        str,
        typer.Option(
            "--api-key",
            envvar="MEDGRAFT_API_KEY",
            metavar="KEY",
            help="What each request must bring, as `Authorization: Bearer KEY`. On the command "
            "line other users of this machine can read it; the variable they cannot.",
            show_envvar=True,
        ),
    ] = "",
    allow_without_key: Annotated[
        bool,
        typer.Option(
            "--allow-without-key",
            help="Listen where other machines reach it although no key is set.",
        ),
    ] = False,
    file_mb: Annotated[
        int, typer.Option("--max-file-mb", min=1, metavar="MB", help="Of one file.")
    ] = 64,
    request_mb: Annotated[
        int, typer.Option("--max-request-mb", metavar="MB", min=1, help="Of a request.")
    ] = 256,
    files: Annotated[
        int, typer.Option("--max-files", metavar="N", min=1, help="In a request.")
    ] = 64,
    images: Annotated[
        int,
        typer.Option("--max-images", metavar="N", min=1, help="That wait or are worked on."),
    ] = 256,
    seconds: Annotated[
        float,
        typer.Option("--max-seconds", metavar="SECONDS", min=1, help="To an answer."),
    ] = 30.0,
    alpha: ALPHA_USED = None,
    unlike_rate: UNLIKE_RATE = None,
    sensitivity: SENSITIVITY = None,
    specificity: SPECIFICITY = None,
    engine: ENGINE = "openvino",
    workers: WORKERS = None,
    cache: CACHE = None,
) -> None:
    """Answer over HTTP as predict and explain do, with a page to try it on this machine.

    The same answers as of `medgraft predict`. Files are decoded in processes of their own that are
    killed where they hang, grow or crash, and are never written. Ends on SIGTERM or Ctrl-C, when
    the requests under way are answered.
    """
    from medgraft.errors import DataError, optional

    for module in ("fastapi", "uvicorn", "prometheus_client", "python_multipart"):
        optional(module, "serve")
    from medgraft.serve.limits import MIB, Limits
    from medgraft.serve.model import ModelOptions
    from medgraft.serve.run import Door
    from medgraft.serve.run import serve as run

    def started(address: str, served: ServedModel) -> None:
        typer.echo(
            f"{served.fitted.scenario.key} at {address} (model sha256 {served.sha256[:12]}…)"
        )
        typer.echo("For research use only. Ctrl-C ends it.")

    if images < files and images != Limits().images:
        raise DataError(
            f"--max-images {images} is below --max-files {files}: a request of so many files could "
            "never be answered; lower --max-files too"
        )
    check_places(cache)
    run(
        model,
        Door(host, port, api_key, allow_without_key),
        Limits(
            file_bytes=file_mb * MIB,
            request_bytes=request_mb * MIB,
            held_bytes=2 * request_mb * MIB,
            files=files,
            images=max(images, files),
            seconds=seconds,
        ),
        ModelOptions(sensitivity, specificity, alpha, unlike_rate, engine, workers, cache),
        started,
    )
