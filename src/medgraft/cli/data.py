"""Commands about data: what is wrong with it, how views look, vectors of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medgraft import terminal
from medgraft.cli.option_parsing import (
    check_places,
    command_line,
    extractor_of,
    load_any,
    load_table,
    named,
    numbers_of,
    split_words,
)
from medgraft.cli.options import AS_JSON, CACHE, DATA, ENGINE, POSITIVE, QUIET, SAFE, SEED, WORKERS
from medgraft.cli.panel import UNCERTAIN
from medgraft.cli.program import app
from medgraft.cli.reading_options import NOTHING, Reading, reads_data


@app.command()
@reads_data
def profile(
    data: DATA,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="DIR", help="Also write data.html and suggestions.csv here."
        ),
    ] = None,
    fail_on: Annotated[
        str,
        typer.Option(
            metavar="severe|warn", help="For pipelines: exit with 3 if a finding is that severe."
        ),
    ] = "",
    codes: Annotated[
        bool,
        typer.Option(
            "--codes/--no-codes",
            help="Let the network look, too: it confirms near copies, and shows doubtful labels "
            "and shifts. Without it the check takes seconds.",
        ),
    ] = True,
    reading: Reading = NOTHING,
    positive: POSITIVE = None,
    uncertain: UNCERTAIN = "unknown",
    seed: SEED = 0,
    as_json: AS_JSON = False,
    engine: ENGINE = "openvino",
    workers: WORKERS = None,
    cache: CACHE = None,
    safe: SAFE = False,
    quiet: QUIET = False,
) -> None:
    """Look at DATA before anything is learned: how it is read, copies, leaks, doubtful labels.

    Nothing is changed. What could be done about each image stands in suggestions.csv, which
    study --overrides takes back once you have looked at it. Of several findings an image, what
    concerns a label is checked for each.
    """
    from medgraft.panel import Panel
    from medgraft.run_folders import profile_to_folder
    from medgraft.studies.data import audit_data, audit_panel

    if fail_on not in ("", "severe", "warn"):
        raise typer.BadParameter(f"--fail-on takes severe or warn, not {fail_on!r}")
    check_places(cache, folder=out)
    progress = terminal.progress(quiet or as_json)
    read = load_any(data, progress, reading, uncertain=uncertain, positive=positive, one_class=True)
    extractor = extractor_of(engine, workers, cache, progress)
    if isinstance(read, Panel):
        found = audit_panel(read, extractor, with_codes=codes, seed=seed)
    else:
        found = audit_data(read, extractor, with_codes=codes, seed=seed)
    table = found.table
    written = (
        profile_to_folder(found, out, data=named(data, table), command=command_line(table))
        if out is not None
        else ()
    )
    if as_json:
        terminal.show_json(found.json())
    else:
        terminal.show_findings(found)
        terminal.show_written(written)
    if fail_on and found.at_least(fail_on):
        raise typer.Exit(3)


@app.command()
@reads_data
def views(
    data: DATA,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="The page that is written.")
    ] = Path("medgraft-views.html"),
    presets: Annotated[
        str, typer.Option(metavar="xray,…", help="Which of them, with commas; all by default.")
    ] = "",
    reading: Reading = NOTHING,
    safe: SAFE = False,
    quiet: QUIET = False,
) -> None:
    """Show what each preset of augmented views, and CLAHE, does to your own images.

    Look at it before study --augment: a view that no patient could give teaches nothing.
    """
    from medgraft.data.augment import PRESETS
    from medgraft.files import check_writable
    from medgraft.report.pages.views import views_page

    check_writable(out, remedy="choose another --out")
    table = load_table(data, terminal.progress(quiet), reading)
    views_page(table, split_words(presets) or tuple(PRESETS), 2, 6, 224, out)
    typer.echo(f"written: {out}")


@app.command()
def encode(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH…", help="Images, folders of images, or patterns like 'a*.png'."
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="The .parquet that is written.")
    ] = Path("codes.parquet"),
    backbone: Annotated[
        str,
        typer.Option(metavar="NAME", help="A pretrained network; EfficientNet-lite0 by default."),
    ] = "",
    weights: Annotated[
        str,
        typer.Option(
            metavar="FILE|hub", help="Weights of the backbone: a file, or hub to download timm's."
        ),
    ] = "",
    tap: Annotated[
        str,
        typer.Option(metavar="LAYER|stages", help="A layer, or stages: the end of each, joined."),
    ] = "stages",
    pooling: Annotated[
        str, typer.Option(metavar="avg|max|gem", help="How a layer is pooled.")
    ] = "avg",
    sizes: Annotated[
        str, typer.Option(metavar="224,544", help="Input sizes, their codes side by side.")
    ] = "",
    preprocess: Annotated[
        str, typer.Option(metavar="raw|clahe|raw+clahe", help="Images as they are, or evened.")
    ] = "raw",
    resize: Annotated[
        str, typer.Option(metavar="squash|crop|pad", help="How an image becomes square.")
    ] = "squash",
    engine: ENGINE = "openvino",
    workers: WORKERS = None,
    cache: CACHE = None,
    safe: SAFE = False,
    quiet: QUIET = False,
) -> None:
    """Turn images into vectors for an analysis of your own: one row an image, as parquet.

    An image that cannot be read is named with its reason; the others are not held up.
    """
    from medgraft.api import encode as run_encode
    from medgraft.features.backbones import DEFAULT

    check_places(cache, file=out)
    name = backbone or DEFAULT
    extractor = extractor_of(engine, workers, cache, terminal.progress(quiet))
    extractor.weights = {name: weights} if weights else {}
    found = run_encode(
        paths, out=out, backbone=name, tap=tap, pooling=pooling, sizes=numbers_of(sizes),
        preprocess=preprocess, resize=resize, extractor=extractor,  # type: ignore[arg-type]
    )  # fmt: skip
    terminal.show_skipped(found.attrs["skipped"])
    typer.echo(f"{len(found):,} rows of {found.shape[1]:,} numbers: {out}")
