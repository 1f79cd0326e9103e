"""The program itself: its name, its errors and exit codes.

Nothing heavy is imported before a command runs, so that `--help` answers at once.
"""

from __future__ import annotations

import io
import sys
import warnings
from typing import Annotated, Any

import typer
import typer.core

from medgraft import terminal
from medgraft.cli.help import arrange
from medgraft.errors import MedgraftError, UnreadableDataError
from medgraft.version import __version__


class _Commands(typer.core.TyperGroup):
    """Exit codes: 0 done, 1 a typed error in one line, 2 wrong usage, 3 findings of
    which --fail-on says so, 4 not one image can be read, 130 stopped by Ctrl-C.
    """

    debug = False

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        arrange(self)

    def invoke(self, ctx: Any) -> Any:
        """Run a command; an error a user can cause is one line, unless --debug was given."""
        try:
            return super().invoke(ctx)
        except MedgraftError as error:
            if self.debug:
                raise
            typer.secho(f"medgraft: {error}", fg="red", err=True)
            raise typer.Exit(4 if isinstance(error, UnreadableDataError) else 1) from error
        except KeyboardInterrupt as stop:
            typer.echo("medgraft: stopped; what is done is kept, and --resume goes on", err=True)
            raise typer.Exit(130) from stop


app = typer.Typer(
    name="medgraft",
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    help=(
        "From a folder of labelled medical images to a report, and a model that can be used: which "
        "way of transferring a pretrained network works on them, how good that is on patients not "
        "seen, and what it looks at.\n\n"
        "Start with [bold]medgraft demo[/bold], which needs no data, then [bold]medgraft study "
        "FOLDER[/bold], where FOLDER holds one folder of images for each class. [bold]medgraft "
        "COMMAND --help[/bold] shows examples. Works offline. For research use only."
    ),
)


@app.callback(invoke_without_command=True)
def _common(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show an error with its traceback.")
    ] = False,
) -> None:
    if version:
        typer.echo(f"medgraft {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line; `_Commands` says what the exit codes mean."""
    debug = "--debug" in sys.argv
    if debug:
        sys.argv.remove("--debug")
        _Commands.debug = True
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal cannot write is replaced
            stream.reconfigure(errors="replace")
    with warnings.catch_warnings():
        warnings.showwarning = terminal.show_warning
        app()
