"""Commands by which a saved classifier leaves this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medgraft import terminal
from medgraft.cli.option_parsing import extractor_of, load_table
from medgraft.cli.options import AS_JSON, CACHE, ENGINE, MODEL, QUIET, WORKERS
from medgraft.cli.program import app


@app.command()
def bundle(
    model: MODEL,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="FILE", help="Ends in .medgraft; with --layout hub a folder."
        ),
    ] = Path("model.medgraft"),
    layout: Annotated[
        str,
        typer.Option(
            metavar="file|hub",
            help="file: one file, which every command takes as MODEL. hub: a folder as model hubs "
            "show it, the model card as README.md beside that file. Nothing is uploaded.",
        ),
    ] = "file",
    cache: CACHE = None,
) -> None:
    """Pack MODEL into one file to give away, with a model card: data, figures, limits, licences.

    It holds JSON, Markdown and safetensors; reading it executes nothing. No name of a patient, of
    an image or of a folder is in it.
    """
    from medgraft.bundle.publish import bundle_model

    extractor = extractor_of("openvino", None, cache, terminal.progress(True))
    written = bundle_model(model, out, extractor, layout)
    terminal.show_written([written])


@app.command()
def export(
    model: MODEL,
    format: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="onnx|openvino|torchscript",
            help="onnx needs: pip install 'medgraft[onnx]'.",
        ),
    ] = "onnx",
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="DIR", help="A folder that is empty or not there."),
    ] = Path("medgraft-export"),
    parity: Annotated[
        list[str] | None,
        typer.Option(
            "--parity",
            metavar="PATH",
            help="Images, folders or patterns on which the graph is held to MODEL, 500 images at "
            "most (repeatable); by default what its study was given. Labels are not needed.",
        ),
    ] = None,
    runtime: Annotated[
        bool,
        typer.Option(
            "--runtime",
            help="Also write predict.py, which answers from files without torch or medgraft.",
        ),
    ] = False,
    int8: Annotated[
        str | None,
        typer.Option(
            "--int8",
            metavar="DATA",
            help="Let networks compute in 8 bits (--format openvino; pip install "
            "'medgraft[int8]'): some of the patients of these labelled images set the ranges, the "
            "others, best such as MODEL has not learned from, say what it costs.",
        ),
    ] = None,
    int8_limit: Annotated[
        float,
        typer.Option(
            "--int8-limit",
            metavar="POINTS",
            min=0,
            help="Fail where 8 bits cost more of the AUROC.",
        ),
    ] = 0.002,
    as_json: AS_JSON = False,
    engine: ENGINE = "openvino",
    workers: WORKERS = None,
    cache: CACHE = None,
    quiet: QUIET = False,
) -> None:
    """Write MODEL as one graph for other programs, from pixels to calibrated probabilities.

    Fails, and writes nothing, where the graph answers otherwise than MODEL: above 1e-4 in a
    probability from the same canvas, 5e-3 from the file (--runtime), or one label of 500.
    """
    from medgraft.export.export_model import export_model
    from medgraft.files import json_value
    from medgraft.report.text.export import lines

    progress = terminal.progress(quiet or as_json)
    extractor = extractor_of(engine, workers, cache, progress)
    table = load_table(int8, progress, one_class=True) if int8 else None
    found = export_model(
        model,
        out,
        format,
        extractor,
        parity=parity or (),
        runtime=runtime,
        int8=table,
        int8_limit=int8_limit,
    )
    if as_json:
        terminal.show_json(json_value(found) | {"folder": str(found.folder)})
        return
    for line in lines(found):
        typer.echo(line)
    terminal.show_written([found.folder])
