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
    "finding_columns": _text(
        "--finding-columns",
        "A,B,C",
        "The table's columns of several findings an image: 0, 1, blank (not known) or -1 "
        "(uncertain); or the one that names all of them.",
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
