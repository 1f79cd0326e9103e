"""Commands about files of weights that become backbones with a name."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medgraft.cli.option_parsing import floats_of
from medgraft.cli.program import app

if TYPE_CHECKING:
    from medgraft.features.add_weights import WeightsFile
    from medgraft.types import Card

weights = typer.Typer(
    no_args_is_help=True,
    help="Keep files of weights as backbones: once added, --backbone NAME works offline.",
)
app.add_typer(weights, name="weights")

NAME = Annotated[
    str, typer.Option("--name", metavar="NAME", help="What --backbone calls it; the file's name.")
]
ARCHITECTURE = Annotated[
    str,
    typer.Option(
        "--architecture", metavar="TIMM", help="timm's name of the network; found where one fits."
    ),
]
LICENCE = Annotated[
    str, typer.Option("--licence", metavar="TEXT", help="Of the weights, as their source says.")
]
PRETRAINING = Annotated[
    str, typer.Option("--pretraining", metavar="TEXT", help="The data that they learned from.")
]
RGB = "0.485,0.456,0.406"


@weights.command()
def add(
    file: Annotated[Path, typer.Argument(metavar="FILE", show_default=False)],
    name: NAME = "",
    architecture: ARCHITECTURE = "",
    licence: LICENCE = "",
    pretraining: PRETRAINING = "",
    mean: Annotated[
        str, typer.Option("--mean", metavar=RGB, help="Of RGB in 0..1; timm's by default.")
    ] = "",
    std: Annotated[str, typer.Option("--std", metavar="0.229,0.224,0.225", help="Likewise.")] = "",
    size: Annotated[
        int, typer.Option("--input-size", metavar="PX", help="What the weights say by default.")
    ] = 0,
) -> None:
    """Keep FILE (.safetensors, .pth, .pt, .bin) as a backbone: --backbone NAME then works offline.

    What is not said is asked for at a terminal. No code in the file is run.
    """
    from medgraft.features.add_weights import WeightsFile, add_weights, check_name

    given = WeightsFile.read(file)
    name = name or _asked("Name", default=file.name.partition(".")[0])
    check_name(name)
    architecture = architecture or _architecture(given)
    licence = licence or _asked("Licence of the weights")
    pretraining = pretraining or _asked("Data that they were pretrained on", default="not stated")
    card = add_weights(
        given,
        name=name,
        architecture=architecture,
        licence=licence,
        pretraining=pretraining,
        mean=floats_of(mean, "--mean"),
        std=floats_of(std, "--std"),
        size=size,
    )
    show_card(card)
    if not (mean and std):
        typer.echo(
            f"mean and std are those of timm's own weights of {architecture}. Others may want "
            "others: see where the file is from, and --mean and --std."
        )


@weights.command("list")
def list_() -> None:
    """Show every added backbone with its card."""
    from medgraft.features.added import added_card, added_folder, added_names

    names = added_names()
    for name in names:
        show_card(added_card(name))
    if not names:
        typer.echo(f"none in {added_folder()}; add one: medgraft weights add FILE")


@weights.command()
def remove(name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)]) -> None:
    """Delete an added backbone. Models that were made with it hold their own copy and stay."""
    from medgraft.features.added import remove as remove_added

    typer.echo(f"removed {remove_added(name)}")


def _architecture(file: WeightsFile) -> str:
    """The one architecture that fits; else it is asked for.

    Raises
    ------
    BackboneError
        None fits, or several, and there is nobody to ask.
    """
    from medgraft.errors import BackboneError

    found = file.architectures()
    if len(found) == 1:
        typer.echo(
            f"architecture {found[0]}: the only usual one with these layers. Numbers of heads and "
            "the like stand in no file: where it is another, remove it and say --architecture."
        )
        return found[0]
    several = f"the layers of {file.path.name} are those of {', '.join(found)}; "
    none = f"the layers of {file.path.name} are those of no usual network of timm; "
    text = several if found else none
    if not sys.stdin.isatty():
        raise BackboneError(f"{text}say which it is: --architecture NAME")
    return _asked(f"{text}which is it", default=found[0] if found else "")


def _asked(question: str, default: str = "") -> str:
    """The answer of a person at a terminal; the default where there is none."""
    if not sys.stdin.isatty():
        return default
    return str(typer.prompt(question, default=default or None)).strip()


def show_card(card: Card) -> None:
    """The card of an added backbone, a line for each thing that it says."""
    rows = (
        ("architecture", card.name),
        ("weights from", card.source),
        ("licence", card.licence),
        ("pretraining data", card.pretraining),
        ("sha256 as kept", card.sha256),
        ("input size", f"{card.size} px"),
        ("mean", ", ".join(f"{value:.6g}" for value in card.mean)),
        ("std", ", ".join(f"{value:.6g}" for value in card.std)),
    )
    typer.echo(card.alias)
    for what, text in rows:
        typer.echo(f"  {what}: {text}")
