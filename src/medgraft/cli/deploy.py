"""Commands by which a saved classifier leaves this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medgraft import terminal
from medgraft.cli.option_parsing import extractor_of
from medgraft.cli.options import CACHE, MODEL
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
    """Write MODEL as one file with a model card: data, figures, limits, licence of the weights.

    It holds JSON, Markdown and safetensors; reading it executes nothing. No name of a patient, of
    an image or of a folder is in it.
    """
    from medgraft.bundle.publish import bundle_model

    extractor = extractor_of("openvino", None, cache, terminal.progress(True))
    written = bundle_model(model, out, extractor, layout)
    terminal.show_written([written])
