"""What a Python user does with a saved classifier: judge it elsewhere, adapt it, give it away.

A classifier is named by the folder of a finished study, its folder `model`, or a .medgraft file.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from medgraft.bundle.adapt import adapt_model
from medgraft.bundle.class_shares import TRAINING
from medgraft.bundle.external_validation import Asked, ExternalValidation, write_external
from medgraft.bundle.external_validation import evaluate_model as judge_model
from medgraft.bundle.publish import bundle_model as write_bundle
from medgraft.data.groups.grouping import apply_grouping
from medgraft.data.linked import linked_by
from medgraft.data.unlabelled import unlabelled
from medgraft.export.export_model import export_model as write_export
from medgraft.export.int8 import LIMIT
from medgraft.features.extract import Extractor
from medgraft.results.adaptation import Adaptation
from medgraft.results.export import Export
from medgraft.types import ImageTable


def evaluate_model(
    model: str | os.PathLike[str],
    table: ImageTable,
    *,
    out: str | os.PathLike[str] | None = None,
    class_shares: str = TRAINING,
    alpha: float | None = None,
    unlike_rate: float | None = None,
    sensitivity: float | None = None,
    specificity: float | None = None,
    subgroups: Sequence[str] = (),
    extractor: Extractor | None = None,
) -> ExternalValidation:
    """Judge a saved classifier on labelled images of another place (external validation).

    Every image is judged, whatever its split, but for those that the classifier learned from;
    nothing is chosen or refitted.

    Parameters
    ----------
    model
        The folder of a finished study, its folder `model`, or a .medgraft file.
    table
        What `load` gives.
    out
        A folder for `evaluation.html` and `evaluation.json`; nothing is written where it is None.
    class_shares
        `estimate`, or shares such as `0.3,0.7`: the answers are also judged at these shares, as
        `adjusted` of what is returned.
    alpha, unlike_rate
        The share of each class that prediction sets may miss, and of patients called unlike by
        mistake; as usual by default.
    sensitivity, specificity
        Labels are given at the threshold that promises one of them.
    subgroups
        Columns by whose values images are judged too.

    Returns
    -------
    ExternalValidation
        `by_image` and, where patients have several images, `by_patient` are `Evaluation`s;
        `predictions` the `Predictions` they were made of; `skipped` what could not be read.

    Raises
    ------
    DataError, BundleError, StorageError
        As `bundle.external_validation.evaluate_model` and `write_external`.

    Examples
    --------
    >>> found = evaluate_model("run", load("elsewhere"))  # doctest: +SKIP
    >>> found.by_image.estimates["auroc"].value  # doctest: +SKIP
    0.787
    """
    asked = Asked(alpha, unlike_rate, sensitivity, specificity, tuple(subgroups))
    found = judge_model(model, table, extractor or Extractor(), class_shares, asked)
    if out is not None:
        write_external(
            Path(out), found, model=os.fspath(model), data=f"{len(table)} images (from Python)"
        )
    return found


def adapt(
    model: str | os.PathLike[str],
    images: ImageTable | Sequence[str | os.PathLike[str]],
    *,
    out: str | os.PathLike[str] | None = None,
    threshold: str = "auto",
    class_shares: str = "training",
    group: str | None = None,
    extractor: Extractor | None = None,
) -> Adaptation:
    """What unlabelled images of another place say of a saved classifier there.

    Parameters
    ----------
    model
        The folder of a finished study, or its folder `model`. It stays as it is.
    images
        An `ImageTable`, whose labels are not looked at, or files, folders and patterns.
    out
        A folder for a copy of the classifier with its threshold set anew; none by default.
    threshold
        `auto`: `steady`, as it is, where images look as before; where they do not, `quantile` if
        class shares are given, else `halfway`. `quantile`: as many called positive as out of fold,
        or as was said; `halfway`: half of the way to there, in log odds; `half`: the most probable
        class.
    class_shares
        How common the classes are there: shares that you know, such as `0.3,0.7`, or `estimate`,
        from the images. The probabilities are set to them, too.
    group
        A column of the table or `regex:PATTERN` on the names, that tells patients apart where
        paths are given; guessed from the names by default.

    Raises
    ------
    OtherSortError, DataError, BundleError, StorageError
        As `bundle.adapt.adapt_model`.

    Examples
    --------
    >>> adapt("runs/a", ["new/"]).verdict  # doctest: +SKIP
    'other look'
    """
    table = images if isinstance(images, ImageTable) else _grouped(unlabelled(images), group)
    return adapt_model(
        Path(model),
        table,
        extractor or Extractor(),
        out=None if out is None else Path(out),
        threshold=threshold,
        class_shares=class_shares,
    )


def bundle_model(
    model: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] = "model.medgraft",
    layout: str = "file",
    extractor: Extractor | None = None,
) -> Path:
    """Pack a saved classifier into one file to give away, with a model card.

    Parameters
    ----------
    model
        The folder of a finished study, or its folder `model`.
    out
        A file that ends in .medgraft; of `layout` `hub` a folder that is empty or not there.
    layout
        `file`, which every command and `load_model` take; `hub`, a folder as model hubs show it,
        the card as README.md beside that file.

    Returns
    -------
    pathlib.Path
        What was written.

    Raises
    ------
    BundleError, StorageError
        As `bundle.publish.bundle_model`.

    Examples
    --------
    >>> bundle_model("runs/a", out="a.medgraft")  # doctest: +SKIP
    PosixPath('a.medgraft')
    """
    return write_bundle(Path(model), Path(out), extractor or Extractor(), layout)


def export_model(
    model: str | os.PathLike[str],
    *,
    format: str = "onnx",
    out: str | os.PathLike[str] = "medgraft-export",
    parity: Sequence[str | os.PathLike[str]] = (),
    runtime: bool = False,
    int8: ImageTable | None = None,
    int8_limit: float = LIMIT,
    extractor: Extractor | None = None,
) -> Export:
    """Write a saved classifier as one graph for other programs, unless it answers otherwise there.

    Parameters
    ----------
    model
        The folder of a finished study, its folder `model`, or a .medgraft file.
    format
        `onnx`, `openvino` or `torchscript`.
    out
        A folder that is empty or not there.
    parity
        Files, folders or patterns of images on which the graph is held to the classifier; by
        default the data of its study, where that still lies there.
    runtime
        Also write predict.py, which answers from files without torch or medgraft.
    int8
        Labelled images by which networks are brought to 8 bits and judged; none by default.
    int8_limit
        Of the AUROC that may be lost by that.

    Raises
    ------
    ExportError, BundleError, DataError, MissingExtraError, StorageError
        As `export.export_model.export_model`; nothing is written.

    Examples
    --------
    >>> export_model("runs/a", parity=["images/"], out="graph").parity.changed  # doctest: +SKIP
    0
    """
    return write_export(
        Path(model),
        Path(out),
        format,
        extractor or Extractor(),
        parity=[os.fspath(path) for path in parity],
        runtime=runtime,
        int8=int8,
        int8_limit=int8_limit,
    )


def _grouped(table: ImageTable, group: str | None) -> ImageTable:
    """The table with its patients, as the names of its files tell them."""
    none = np.full(len(table), "")
    groups, grouping, _ = apply_grouping(table.ids, none, {}, none, group)
    together = linked_by(groups.tolist(), table.groups.tolist())  # frames of a file, too
    return replace(table, groups=together.astype(np.str_), grouping=grouping)
