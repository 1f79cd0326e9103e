"""The options that say how a model that is not medgraft's is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medgraft.cli.reading_options import with_options

if TYPE_CHECKING:
    from medgraft.foreign.command import ModelCommand
    from medgraft.foreign.options import ForeignOptions

Foreign = Mapping[str, Any]
NOT_FOREIGN: Foreign = MappingProxyType({})
RUN_OR_DATA = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="The folder of a finished study, its folder `model`, or a .medgraft file; left out "
        "where --model names another model. Then DATA: a folder of images in class folders, a "
        "table that lists images, or a MedMNIST .npz.",
        show_default=False,
    ),
]


def _option(kind: Any, default: Any, flag: str, metavar: str | None, text: str) -> tuple[Any, Any]:
    return (
        Annotated[kind, typer.Option(flag, metavar=metavar, help=text)],
        default,
    )


OPTIONS: Mapping[str, tuple[Any, Any]] = {
    "named_model": _option(
        str, "", "--model", "FILE.onnx|FILE.pth|module:function|URL",
        "The model: an ONNX file; a checkpoint with --network; a Python function that takes "
        "(n, side, side, 3) uint8 RGB and gives (n, number of classes), or a torch.nn.Module; "
        "http://127.0.0.1:PORT/PATH that takes a form of PNG files and answers JSON.",
    ),
    "command": _option(
        str, "", "--model-command", "'PROGRAM ARGUMENTS'",
        "The model is a command instead: it reads paths of PNG files from its standard input, or "
        "as arguments where it holds {files}, and prints a line of JSON for each.",
    ),
    "network": _option(
        str, "", "--network", "NAME",
        "The network that a checkpoint's weights are of: timm's name, torchvision/NAME, or "
        "module:function that builds it.",
    ),
    "input_size": _option(
        int, 0, "--input-size", "PIXELS",
        "Side of the images it is given; read from an ONNX file that fixes it, of a network of "
        "timm's from there.",
    ),
    "normalize": _option(
        str, "", "--normalize", "imagenet|0..1|-1..1|0..255|MEAN/STD",
        "How 8 bits become what its network reads; numbers are of values in 0..1, such as "
        "0.5,0.5,0.5/0.25,0.25,0.25.",
    ),
    "channels": _option(str, "", "--channels", "rgb|bgr|grey", "The order of its channels."),
    "resize": _option(
        str, "squash", "--resize", "squash|crop|pad",
        "How an image becomes a square: squeezed, its centred square, or fitted in whole.",
    ),
    "crop_pct": _option(
        float, 1.0, "--crop-pct", "SHARE",
        "Keep the middle of the resized image: 0.875 is resizing to 256 and cropping 224.",
    ),
    "class_order": _option(
        str, "", "--classes", "NAME,NAME",
        "Its classes in the order of its outputs, as DATA names them; by default the data's order.",
    ),
    "positive": _option(
        str, "", "--positive", "CLASS",
        "Of two classes, the one that --threshold is about; as DATA tells by default.",
    ),
    "outputs": _option(
        str, "", "--outputs", "logits|probabilities",
        "What its numbers are; their values tell, where they can.",
    ),
    "output_name": _option(
        str, "", "--output-name", "NAME", "Which output is read, of a model with several."
    ),
    "threshold": _option(
        float, 0.5, "--threshold", "SHARE",
        "Of two classes: probability of the positive one from which its label is given.",
    ),
    "timeout": _option(
        float, 300.0, "--model-timeout", "SECONDS",
        "That a command or a server may take for one call, of 1,024 or 16 images at most.",
    ),
}  # fmt: skip


def asks_a_foreign_model(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command these options; it takes their values as `foreign`."""
    return with_options(command, OPTIONS, "foreign")


def model_and_data(
    first: str, second: str, asked: Foreign
) -> tuple[str | ModelCommand, str, ForeignOptions]:
    """The model, the data, and how the model is asked, from the words of a command line.

    Raises
    ------
    typer.BadParameter
        There are two models, or no data.
    ForeignModelError
        A value is none of those that there are.
    """
    from medgraft.foreign.command import ModelCommand
    from medgraft.foreign.options import ForeignOptions, classes_of

    values = dict(asked)
    named, command = values.pop("named_model"), values.pop("command")
    options = ForeignOptions(classes=classes_of(values.pop("class_order")), **values)
    if named and command:
        raise typer.BadParameter(
            f"--model {named} and --model-command {command!r} both name a model; give one"
        )
    model = ModelCommand(command) if command else named
    if not first or not (model or second):
        raise typer.BadParameter(
            "a model and data are needed: medgraft audit RUN DATA, or "
            "medgraft audit DATA --model FILE.onnx"
        )
    if model and second:
        raise typer.BadParameter(
            f"{first} and --model {named or command} both name a model; leave one out"
        )
    return (model, first, options) if model else (first, second, options)
