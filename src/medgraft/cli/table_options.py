"""The options that say how a table is read: name → (annotation, default), for a command to take."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer


def _text(flag: str, metavar: str, help_: str) -> tuple[Any, Any]:
    option = typer.Option(flag, metavar=metavar, help=help_)
    return Annotated[str | None, option], None


TABLE_OPTIONS: Mapping[str, tuple[Any, Any]] = {
    "images": (
        Annotated[
            list[Path] | None,
            typer.Option(
                "--images",
                metavar="DIR",
                help="Where the images of a table lie, at any depth; may be repeated. Rows name "
                "them by path, by name, or by id without suffix.",
            ),
        ],
        None,
    ),
    "path_column": _text(
        "--path-column",
        "COLUMN",
        "The table's column that names the images; it is found by its values.",
    ),
    "label_column": _text(
        "--label-column", "COLUMN", "The table's column of classes, where it is not found."
    ),
    "label_columns": _text(
        "--label-columns", "A,B,C", "The table's columns of 0 and 1, each of them a class."
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
    "encoding": _text(
        "--encoding", "NAME", "How a text table is written, where it is not sure: cp1250, …"
    ),
    "sheet": _text("--sheet", "NAME", "The sheet of an Excel file, where several fit."),
}
