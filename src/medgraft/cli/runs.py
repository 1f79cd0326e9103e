"""Commands about the folders that commands left."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medgraft import terminal
from medgraft.cli.options import AS_JSON, CACHE
from medgraft.cli.program import app

runs = typer.Typer(
    no_args_is_help=True,
    help="Find again, show and compare what studies and other commands left in folders.",
)
app.add_typer(runs, name="runs")

FOLDERS = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[DIR…]", help="Where to look, with all below; here by default."),
]
RUN = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.", show_default=False)]


@runs.command("list")
def list_runs(folders: FOLDERS = None, as_json: AS_JSON = False) -> None:
    """List the runs in and below DIR, the newest first: studies, scenarios, evaluations, audits."""
    from medgraft.files import json_value
    from medgraft.runs.find import find_runs
    from medgraft.runs.read import read_run

    found = [read_run(one) for one in find_runs(folders or [Path()])]
    found.sort(key=lambda run: -run.when)
    if as_json:
        terminal.show_json([_short(json_value(run)) for run in found])
    else:
        terminal.show_runs(found)


def _short(run: dict[str, object]) -> dict[str, object]:
    """A run of a list, without what `runs show` is for."""
    left = ("figures", "scenarios", "options", "weights", "versions", "steps", "slowest", "barred")
    return {name: value for name, value in run.items() if name not in left}


@runs.command()
def show(run: RUN, as_json: AS_JSON = False) -> None:
    """Show one run: figures, what was asked of which data, by which versions, where time went."""
    from medgraft.files import json_value
    from medgraft.runs.read import open_run

    found = open_run(run)
    if as_json:
        terminal.show_json(json_value(found))
    else:
        terminal.show_run(found)


@runs.command()
def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="A run's folder.", show_default=False)],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another one's.", show_default=False)],
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Also write it as a page of one file."),
    ] = None,
    as_json: AS_JSON = False,
) -> None:
    """Compare two runs: what changed, and paired tests on the images that both judged."""
    from medgraft.cli.option_parsing import check_places
    from medgraft.files import json_value
    from medgraft.runs.compare import compare_runs
    from medgraft.runs.read import open_run

    if html is not None:
        check_places(file=html)
    found = compare_runs(open_run(a), open_run(b))
    if html is not None:
        from medgraft.report.pages.compare import write_comparison

        write_comparison(html, found)
    if as_json:
        terminal.show_json(json_value(found))
        return
    terminal.show_comparison(found)
    terminal.show_written([html] if html is not None else [])


@runs.command()
def clean(
    folders: FOLDERS = None,
    days: Annotated[
        float,
        typer.Option(metavar="DAYS", min=1, help="Of the cache: what was not used for so long."),
    ] = 60,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; without, it is listed.")] = False,
    cache: CACHE = None,
) -> None:
    """Make room: list, and with --yes remove, what killed runs left and what nothing uses.

    A finished run loses nothing, and a killed one can no longer be resumed. What is not a run's own
    file stays. `medgraft cache` clears the cache whole, or to a size.
    """
    from medgraft.features.cache import Cache
    from medgraft.runs.clean import clean, leftovers
    from medgraft.runs.find import find_runs
    from medgraft.runs.read import read_run

    found = leftovers(map(read_run, find_runs(folders or [Path()])), Cache(cache), days)
    terminal.show_leftovers(found, done=yes)
    if yes:
        typer.echo(f"freed {clean(found) / 2**20:,.1f} MB")


@runs.command()
def log(
    folders: Annotated[
        list[Path], typer.Argument(metavar="RUN…", help="Runs' folders.", show_default=False)
    ],
    mlflow: Annotated[
        str,
        typer.Option(metavar="URI", envvar="MLFLOW_TRACKING_URI", help="The server's address."),
    ],
) -> None:
    """Log finished runs to an MLflow server: options, figures with intervals, a page, the model.

    No image, no name of one and no prediction leaves: the page is one without them.
    """
    from medgraft.runs.mlflow_log import log_run

    for folder in folders:
        typer.echo(f"{folder}: logged as {log_run(folder, mlflow)}")


def check_server(uri: str) -> None:
    """Refuse a server that does not answer before the work for it begins."""
    from medgraft.runs.mlflow_log import TrackingError, check_tracking

    try:
        check_tracking(uri)
    except TrackingError as error:
        raise TrackingError(
            f"{error}; or leave --mlflow out and log the finished run with: medgraft runs log"
        ) from error


def log_finished(run: Path, uri: str) -> None:
    """Log a run that has just been finished; a server that is gone by now takes nothing from it."""
    from medgraft.errors import MedgraftError
    from medgraft.files import without_credentials
    from medgraft.runs.mlflow_log import log_run

    try:
        typer.echo(f"logged to MLflow as {log_run(run, uri)}", err=True)
    except MedgraftError as error:
        terminal.show_warning(
            f"the run in {run} is finished and whole, but was not logged: {error}. Log it with: "
            f"medgraft runs log {run} --mlflow {without_credentials(uri)}"
        )
