"""The options that say how a table is read: name → (annotation, default), for a command to take."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

PANEL = "How DATA is read"


def _text(flag: str, metavar: str, help_: str) -> tuple[Any, Any]:
    option = typer.Option(flag, metavar=metavar, help=help_, rich_help_panel=PANEL)
    return Annotated[str | None, option], None


TABLE_OPTIONS: Mapping[str, tuple[Any, Any]] = {
    "images": (
        Annotated[
            list[Path] | None,
            typer.Option(
                "--images",
                metavar="DIR",
                help="A folder below which the images of a table lie; may be given several times. "
                "Rows name them by path, by name, or by id without suffix.",
                rich_help_panel=PANEL,
            ),
        ],
        None,
    ),
    "path_column": _text(
        "--path-column", "COLUMN", "The table's column that names the images; found by its values."
    ),
    "label_column": _text(
        "--label-column", "COLUMN", "The table's column of classes, where it is not plain."
    ),
    "label_columns": _text(
        "--label-columns", "A,B,C", "The table's columns of 0 and 1 of which each is a class."
    ),
    "split_column": _text(
        "--split-column", "COLUMN", "The table's column of train, val and test, or none."
    ),
    "class_names": _text(
        "--class-names", "0=normal,1=ill", "Names for the labels of a table, folder or .npz."
    ),
    "binarize": _text(
        "--binarize",
        "FINDING|'>=50'",
        "Two classes: images with this finding (of labels such as Mass|Nodule) or value, and the "
        "others.",
    ),
    "encoding": _text("--encoding", "NAME", "Of a text table, where it is not sure: cp1250, …"),
    "sheet": _text("--sheet", "NAME", "The sheet of an Excel file, where several fit."),
}


def load_options_of(asked: Mapping[str, Any]) -> dict[str, Any]:
    """From the values of these options to the fields of `LoadOptions`; others stay as they are.

    Raises
    ------
    typer.BadParameter
        `--class-names` holds a part without `=`.

    Examples
    --------
    >>> load_options_of({"class_names": "0=normal, 1=ill", "label_columns": "A,B", "images": None})
    {'class_names': (('0', 'normal'), ('1', 'ill')), 'label_columns': ('A', 'B'), 'images': ()}
    """
    options = dict(asked)
    if "class_names" in options:
        options["class_names"] = tuple(map(_pair, _words(options["class_names"])))
    if "label_columns" in options:
        options["label_columns"] = _words(options["label_columns"])
    if "images" in options:
        options["images"] = tuple(options["images"] or ())
    return options


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


def _pair(text: str) -> tuple[str, str]:
    label, equals, name = text.partition("=")
    if not (equals and label.strip() and name.strip()):
        raise typer.BadParameter(f"--class-names takes LABEL=NAME with commas, not {text!r}")
    return label.strip(), name.strip()
