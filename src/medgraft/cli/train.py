"""`medgraft train`: one scenario alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medgraft import terminal
from medgraft.cli.option_parsing import (
    check_places,
    command_line,
    extractor_of,
    load_table,
    training_settings,
)
from medgraft.cli.options import (
    CACHE,
    DATA,
    ENGINE,
    POSITIVE,
    QUIET,
    RECIPE,
    SAFE,
    SEED,
    TRAINING,
    WORKERS,
)
from medgraft.cli.program import app
from medgraft.cli.reading_options import NOTHING, Reading, reads_data


@app.command()
@reads_data
def train(
    data: DATA,
    scenario: Annotated[
        str,
        typer.Option(
            metavar="KEY",
            help="What to run, as a study's report and result.json write it.",
        ),
    ] = "",
    recipe: RECIPE = "",
    start: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="LAYER",
            help="With --recipe: the layer to train from; all by default. block4_pool trains VGG's "
            "last block on the kept output of the others.",
        ),
    ] = "input",
    training: TRAINING = "",
    weights: Annotated[
        str,
        typer.Option(
            metavar="FILE|hub",
            help="Weights of the backbone that do not come by pip; with --recipe classic of "
            "VGG-19, without them VGG-16 is trained.",
        ),
    ] = "",
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="The folder that is written.")
    ] = Path("medgraft-train"),
    holdout_only: Annotated[
        bool,
        typer.Option(
            "--holdout-only",
            help="Train once, judged by a fifth of the images, patients whole, instead of in every "
            "fold.",
        ),
    ] = False,
    cap: Annotated[
        float,
        typer.Option(
            metavar="MINUTES",
            min=0,
            help="With --holdout-only: end with the epoch that passes so many minutes; the same "
            "command with a larger cap goes on from there.",
        ),
    ] = 0.0,
    validate: Annotated[
        str,
        typer.Option(
            metavar="plain|changed",
            help="What is judged: images as they are, or changed views of them.",
        ),
    ] = "plain",
    test: Annotated[
        bool, typer.Option("--test", help="Look at the test split too, once, at the end.")
    ] = False,
    reading: Reading = NOTHING,
    positive: POSITIVE = None,
    seed: SEED = 0,
    engine: ENGINE = "openvino",
    workers: WORKERS = None,
    cache: CACHE = None,
    safe: SAFE = False,
    quiet: QUIET = False,
) -> None:
    """Run one scenario without a study: judge it on images not learned from, and save it.

    DIR then holds model/, predictions.parquet and, of a network that is trained, history.png and
    training.json. A test split is left alone unless --test is given.
    """
    from medgraft.run_folders import train_to_folder
    from medgraft.scenario import Scenario
    from medgraft.studies.single_scenario import SingleOptions, classic_scenario

    if bool(scenario) == bool(recipe):
        raise typer.BadParameter("give either --scenario KEY or --recipe classic")
    if scenario and (training or start != "input"):
        raise typer.BadParameter(
            "a scenario's key says how it is trained; --from and --training go with --recipe"
        )
    chosen = (
        Scenario.from_key(scenario, seed)
        if scenario
        else classic_scenario(training_settings(recipe, training), weights, start, seed)
    )
    check_places(cache, folder=out)
    options = SingleOptions(holdout_only=holdout_only, cap=cap, validate=validate, test=test)
    progress = terminal.progress(quiet)
    table = load_table(data, progress, reading, positive=positive)
    terminal.say_table(table, progress)
    extractor = extractor_of(engine, workers, cache, progress)
    extractor.weights = {chosen.backbone: weights} if weights else {}
    finished = train_to_folder(table, chosen, options, extractor, out, command=command_line(table))
    if not quiet:
        terminal.show_single(finished, out, extractor)
