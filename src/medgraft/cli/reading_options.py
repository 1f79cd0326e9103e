"""The options that say how DATA is read, given to every command that reads data."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import typer

from medgraft.cli.table_options import TABLE_OPTIONS

Reading = Mapping[str, Any]
NOTHING: Reading = MappingProxyType({})
OPTIONS: Mapping[str, tuple[Any, Any]] = {
    "layout": (
        Annotated[
            str,
            typer.Option(
                "--layout",
                metavar="split/class/group/image",
                help="What each level of the folders is: split, class, group (a patient), image, "
                "mask, or * for none of these; parts of names in braces: 'class/{group}_{*}.png'. "
                "Without it the layout is recognised and shown, or you are asked.",
            ),
        ],
        "",
    ),
    "group": (
        Annotated[
            str | None,
            typer.Option(
                "--group",
                metavar="COLUMN|regex:…",
                help="What tells patients apart, who must not be split: a column of the table, or "
                "a pattern in names of files and folders (with a slash: in the whole path).",
            ),
        ],
        None,
    ),
    "no_groups": (
        Annotated[
            bool,
            typer.Option("--no-groups", help="Each image is a patient of its own."),
        ],
        False,
    ),
    "leave_out": (
        Annotated[
            list[str],
            typer.Option(
                "--leave-out",
                metavar="CLASS",
                help="A class that is not studied; may be repeated.",
            ),
        ],
        [],
    ),
    "rename": (
        Annotated[
            list[str],
            typer.Option(
                "--rename",
                metavar="OLD=NEW",
                help="Another name for a class; two of one new name are joined. May be repeated.",
            ),
        ],
        [],
    ),
    "drop_classes_below": (
        Annotated[
            int,
            typer.Option(
                "--drop-classes-below",
                metavar="N",
                min=0,
                help="Leave out classes of fewer images than this.",
            ),
        ],
        0,
    ),
    "ids": (
        Annotated[
            Path | None,
            typer.Option(
                "--ids",
                metavar="FILE",
                help="Write here which image is which file: DICOM files have no names anywhere "
                "else.",
            ),
        ],
        None,
    ),
    **TABLE_OPTIONS,
    "overrides": (
        Annotated[
            Path | None,
            typer.Option(
                "--overrides",
                metavar="FILE",
                help="A table of images to exclude, relabel or group; profile --out writes one to "
                "start from, suggestions.csv.",
            ),
        ],
        None,
    ),
}

# What a model fixes when it learns, so that no command which uses one may say otherwise.
PIXEL_OPTIONS: Mapping[str, tuple[Any, Any]] = {
    "window": (
        Annotated[
            str,
            typer.Option(
                "--window",
                metavar="CENTER,WIDTH",
                help="Show all DICOM images by this window, in their own units (40,400 for soft "
                "tissue in CT); without it each by the one that it names.",
            ),
        ],
        "",
    ),
    "page": (
        Annotated[
            int | None,
            typer.Option(
                "--page",
                min=1,
                metavar="N",
                help="The page read of files with several, from 1; the first by default.",
            ),
        ],
        None,
    ),
    "pixel_range": (
        Annotated[
            str,
            typer.Option(
                "--pixel-range",
                metavar="LOW,HIGH",
                help="The stored values shown black and white, in images of more than 8 bits; by "
                "default those that the images to learn from use.",
            ),
        ],
        "",
    ),
}


# What a model fixes, too: the order of its classes.
GRADE_OPTIONS: Mapping[str, tuple[Any, Any]] = {
    "ordered": (
        Annotated[
            bool,
            typer.Option(
                "--ordered",
                help="The classes are grades, and their names count up: 0, 1, 2; grade I, II; "
                "mild, moderate, severe. Mistakes then weigh by their distance.",
            ),
        ],
        False,
    ),
    "order": (
        Annotated[
            str,
            typer.Option(
                "--order",
                metavar="A,B,C",
                help="The classes are grades in this order, the lowest first.",
            ),
        ],
        "",
    ),
}


def reads_data(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command these options; it takes their values as `reading`, for `load_table`."""
    return with_options(command, {**OPTIONS, **GRADE_OPTIONS, **PIXEL_OPTIONS}, "reading")


def reads_data_for_a_model(command: Callable[..., None]) -> Callable[..., None]:
    """The same for a command that uses a model, which shows all images as it learned them."""
    return with_options(command, OPTIONS, "reading")


def with_options(
    command: Callable[..., None], options: Mapping[str, tuple[Any, Any]], place: str
) -> Callable[..., None]:
    """A command with these options instead of its parameter `place`, which takes their values."""
    signature = inspect.signature(command, eval_str=True)
    parameters = []
    for parameter in signature.parameters.values():
        if parameter.name != place:
            parameters.append(parameter)
            continue
        for name, (annotation, default) in options.items():
            parameters.append(
                inspect.Parameter(name, parameter.kind, annotation=annotation, default=default)
            )

    @functools.wraps(command)
    def extended(**values: Any) -> None:
        given = {name: values.pop(name) for name in options}
        command(**values, **{place: given})

    extended.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    extended.__annotations__ = {}
    del extended.__wrapped__
    return extended
