"""The command that holds unlabelled images of another place to a saved classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medgraft import terminal
from medgraft.cli.option_parsing import extractor_of, load_table
from medgraft.cli.options import AS_JSON, CACHE, ENGINE, MODEL, QUIET, SAFE, WORKERS
from medgraft.cli.program import app


@app.command()
def adapt(
    model: MODEL,
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH…",
            help="Images of the new place: files, folders, patterns, or one table with labels, "
            "which are not looked at.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Write a copy of MODEL here, its threshold set for there. MODEL stays as it is.",
        ),
    ] = None,
    threshold: Annotated[
        str,
        typer.Option(
            metavar="auto|halfway|quantile|half|steady",
            help="How the threshold is set. quantile: as many are called positive as out of fold, "
            "or as --class-shares says; halfway: half of the way to there; half: the most probable "
            "class; steady: as it is; auto: steady where images look as before; where they do not, "
            "quantile if shares are said, else halfway.",
        ),
    ] = "auto",
    class_shares: Annotated[
        str,
        typer.Option(
            "--class-shares",
            metavar="training|estimate|0.3,0.7",
            help="How common the classes are there, in their order. Say it if you know it even "
            "roughly: nothing helps the threshold more. estimate: as these images seem to have "
            "them, right only where nothing but the mix changed. The probabilities are set, too.",
        ),
    ] = "training",
    group: Annotated[
        str | None,
        typer.Option(
            metavar="regex:…", help="What in the names of files and folders tells patients apart."
        ),
    ] = None,
    as_json: AS_JSON = False,
    engine: ENGINE = "openvino",
    workers: WORKERS = None,
    cache: CACHE = None,
    safe: SAFE = False,
    quiet: QUIET = False,
) -> None:
    """Judge from unlabelled images of another place whether MODEL's figures may be believed there.

    Do the images look like those learned from, how many labels may be right, how are classes mixed,
    and where would the threshold lie? With --out a model with that threshold is written.
    """
    from medgraft.data.scan import TABLE_SUFFIXES
    from medgraft.errors import DataError
    from medgraft.files import json_value
    from medgraft.saved_models import adapt as adapt_to

    progress = terminal.progress(quiet or as_json)
    tables = [one for one in paths if Path(one).suffix.lower() in {*TABLE_SUFFIXES, ".npz"}]
    if tables and len(paths) > 1:
        raise DataError(
            f"{tables[0]} is a table, and stands beside {len(paths) - 1} other paths; give it alone"
        )
    images = load_table(tables[0], progress, {"group": group}, one_class=True) if tables else paths
    found = adapt_to(
        model,
        images,
        out=out,
        threshold=threshold,
        class_shares=class_shares,
        group=group,
        extractor=extractor_of(engine, workers, cache, progress),
    )
    if as_json:
        terminal.show_json(json_value(found))
    else:
        terminal.show_adaptation(found, out)
