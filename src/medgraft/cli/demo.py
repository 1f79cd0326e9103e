"""`medgraft demo`: a study of images that are made for it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from medgraft import terminal
from medgraft.cli.option_parsing import check_places, command_line, extractor_of, load_table
from medgraft.cli.options import CACHE, ENGINE, QUIET, SAFE, WORKERS
from medgraft.cli.program import app


@app.command()
def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="The folder that is written.")
    ] = Path("medgraft-demo"),
    open_report: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the report in a browser.")
    ] = True,
    patients: Annotated[
        int, typer.Option(metavar="N", help="How many patients are made.", min=20)
    ] = 160,
    seed: Annotated[int, typer.Option(metavar="N", help="Same seed, same images.", min=0)] = 0,
    engine: ENGINE = "openvino",
    workers: WORKERS = None,
    cache: CACHE = None,
    safe: SAFE = False,
    quiet: QUIET = False,
) -> None:
    """See what medgraft does, without data: draw radiograph-like images and study them.

    Takes a minute and opens the report. As in real folders, one image is wrongly labelled and one
    is a copy filed under another patient (images/truth.json names both); the report finds the copy.
    """
    import shutil

    from medgraft.data.phantom import write_phantoms
    from medgraft.features.backbones import DEFAULT
    from medgraft.files import explained
    from medgraft.run_folders import study_to_folder
    from medgraft.studies.options import StudyOptions
    from medgraft.studies.run_lock import locked
    from medgraft.studies.store import RunError

    check_places(cache, folder=out)
    images, run = out / "images", out / "run"
    progress = terminal.progress(quiet)
    with explained(out):
        if out.exists() and any(out.iterdir()) and not (images / "truth.json").is_file():
            raise RunError(f"{out} is not empty and holds no demo; choose another --out")
        if run.exists():
            with locked(run):  # or another demo, which writes there, would lose its folder
                pass
        for folder in (images, run):
            if folder.exists():
                shutil.rmtree(folder)
        progress.say(f"Making radiograph-like images of {patients} patients in {images}")
        write_phantoms(images, n_patients=patients, seed=seed)
    table = load_table(str(images), progress)
    terminal.say_table(table, progress)
    extractor = extractor_of(engine, workers, cache, progress)
    options = StudyOptions(seed=seed, backbones=(DEFAULT,))  # in seconds, whatever is installed
    finished = study_to_folder(table, options, extractor, run, command=command_line(table))
    if not quiet:
        terminal.show_study(finished, run, extractor)
    if open_report and sys.stdout.isatty():
        import webbrowser

        webbrowser.open((run / "report.html").resolve().as_uri())
