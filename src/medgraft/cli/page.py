"""The command that opens the page for those who do not type."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medgraft.cli.program import app as program

if TYPE_CHECKING:
    from medgraft.panel import Panel
    from medgraft.types import ImageTable, Progress


@program.command("app")
def page(
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", help="0 for any that is free.")
    ] = 0,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")
    ] = True,
    home: Annotated[
        Path | None,
        typer.Option(
            "--home",
            metavar="DIR",
            help="Where runs, dropped images and checks are kept; `medgraft` in your own folder, "
            "or $MEDGRAFT_HOME, by default.",
        ),
    ] = None,
    launcher: Annotated[
        bool,
        typer.Option(
            "--install-launcher",
            help="Write a thing to double-click that opens this page, say where it lies, and end.",
        ),
    ] = False,
) -> None:
    """Open a page on this machine: choose images, see how they are read, study them, try the model.

    Only who has the address with its token gets in, and only from this machine; nothing leaves it.
    Studies run in processes of their own: the page may be closed, and they go on. Ctrl-C, or Quit
    on the page, ends the page alone.
    """
    from medgraft.errors import optional

    for module in ("starlette", "uvicorn"):
        optional(module, "serve")
    from medgraft.app.folders import at_home
    from medgraft.app.home import Home, default_home
    from medgraft.app.launcher import install_launcher
    from medgraft.app.run import run, show

    place = Home(at_home(str(home or default_home())).absolute())
    if launcher:
        typer.echo(f"written: {install_launcher(place.folder)}")
        return

    def started(address: str, file: Path) -> None:
        typer.echo(f"medgraft is at {address}")
        typer.echo(f"Runs are kept in {place.folder}. For research use only. Ctrl-C ends it.")
        if browser and not show(file):
            typer.echo("No browser was found; open that address in one.")

    run(place, port, read, (sys.executable, "-m", "medgraft.cli"), started)


def read(data: str, words: Sequence[str], progress: Progress) -> ImageTable | Panel:
    """DATA as `medgraft study DATA` with these words reads it.

    Raises
    ------
    DataError
        As `load_any`; or a word has not the form that its option takes.
    """
    from typer.main import get_command

    from medgraft.cli.option_parsing import load_any
    from medgraft.cli.reading_options import GRADE_OPTIONS, OPTIONS, PIXEL_OPTIONS
    from medgraft.errors import DataError

    group: Any = get_command(program)
    try:
        asked = group.commands["study"].make_context("study", [data, *words]).params
        reading = {name: asked[name] for name in (*OPTIONS, *PIXEL_OPTIONS, *GRADE_OPTIONS)}
        return load_any(
            data, progress, reading, uncertain=asked["uncertain"], positive=asked["positive"]
        )
    except typer.BadParameter as error:
        raise DataError(error.format_message()) from error
