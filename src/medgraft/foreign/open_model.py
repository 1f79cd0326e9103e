"""The one door: whatever names a model of anybody's → a `ForeignClassifier` that can be audited."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from medgraft.errors import DataError, ForeignModelError
from medgraft.foreign.answers import Answerer
from medgraft.foreign.classifier import ForeignClassifier, ask, canvases_for
from medgraft.foreign.command import CommandAnswerer, ModelCommand
from medgraft.foreign.interpret import (
    check_columns,
    check_order,
    kind_of_outputs,
    log_probabilities,
)
from medgraft.foreign.loopback import LoopbackServer
from medgraft.foreign.onnx_file import OnnxFile
from medgraft.foreign.options import ForeignOptions
from medgraft.foreign.python_callable import PythonCallable, imported
from medgraft.foreign.torch_network import SUFFIXES, TorchNetwork, from_checkpoint, is_torch_module
from medgraft.results.foreign_model import ForeignModel
from medgraft.types import Canvas, Floats, ImageTable, Ints

LOOKED = 64  # images, classes in equal shares, whose answers say what the numbers are
REPEATED = 16  # of them that are asked twice
OTHER_BATCH = 3  # images of a call the second time, so that neighbours in a batch are others
ONNX = ".onnx"
FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")

Model = str | os.PathLike[str] | ModelCommand | Callable[[Any], Any]


def is_foreign(model: Model) -> bool:
    """Whether this names a model that is not a folder or a bundle of medgraft's."""
    if callable(model) or isinstance(model, ModelCommand):
        return True
    path, text = Path(model), str(model)
    if path.is_dir() or path.suffix == ".medgraft":
        return False
    file = path.suffix.lower() in (ONNX, *SUFFIXES)
    return file or "://" in text or bool(FUNCTION.fullmatch(text))


def check_file(model: Model) -> None:
    """Refuse a file of a model that is not there, before images are read for it.

    Raises
    ------
    ForeignModelError
        With the path.
    """
    if callable(model) or isinstance(model, ModelCommand) or "://" in str(model):
        return
    path = Path(model)
    if path.suffix.lower() in (ONNX, *SUFFIXES) and not path.is_file():
        raise ForeignModelError(
            f"no file at {path}; give the path of an {ONNX}, or of a checkpoint "
            f"({', '.join(SUFFIXES)})"
        )


def open_model(
    model: Model, table: ImageTable, options: ForeignOptions, workers: int = 1
) -> ForeignClassifier:
    """Wrap a model so that it can be audited, and learn from real images what its numbers are.

    Parameters
    ----------
    model
        What `is_foreign` says is one.
    table
        Images, with labels where there are any. Its classes are the model's where `options` names
        none.

    Raises
    ------
    ForeignModelError
        It cannot be opened, or does not answer as a classifier does.
    AmbiguousModelError
        What it wants or says can be read in several ways.
    DataError
        No image can be read.
    """
    check_file(model)
    classes = options.classes or table.classes
    answerer = _answerer(model, options, classes, workers)
    canvases, labels = _looked_at(table, answerer, options, workers)
    facts = _understood(answerer, canvases, labels, table.classes, options)
    positive = _positive(classes, table, options)
    return ForeignClassifier(answerer, facts, positive, table.rule, workers)


def _understood(
    answerer: Answerer,
    canvases: Sequence[Canvas],
    labels: Ints,
    own: Sequence[str],
    options: ForeignOptions,
) -> ForeignModel:
    """What its numbers are, from its answers to these canvases.

    labels : (n,) index into `own`, the classes of the data; -1 where one is missing.
    """
    classes, name = options.classes or tuple(own), answerer.name
    raw = ask(answerer, canvases)
    check_columns(raw, classes, name, bool(options.classes))
    outputs = options.outputs or answerer.outputs or kind_of_outputs(raw, name)
    logs = log_probabilities(raw, outputs, name)
    if not (options.classes or answerer.named):
        check_order(logs[labels >= 0], labels[labels >= 0], classes, name)
    some = canvases[:: max(1, len(canvases) // REPEATED)][:REPEATED]
    return ForeignModel(
        kind=answerer.kind,
        name=name,
        network=answerer.network,
        side=answerer.side,
        resize=options.resize,
        crop_pct=options.crop_pct,
        normalize=answerer.normalize,
        channels=answerer.channels,
        classes=classes,
        classes_given=bool(options.classes) or answerer.named,
        columns=raw.shape[1],
        outputs=outputs,  # type: ignore[arg-type]
        outputs_given=bool(options.outputs or answerer.outputs),
        output=answerer.output,
        threshold=options.threshold if len(classes) == 2 else None,
        n_looked=len(canvases),
        differs=_differs(answerer, some, outputs),
        n_repeated=len(some),
    )


def _positive(classes: Sequence[str], table: ImageTable, options: ForeignOptions) -> str | None:
    """The class that the threshold is about: as was said, as the data has it, or the second."""
    if options.positive and (len(classes) != 2 or options.positive not in classes):
        raise ForeignModelError(
            f"--positive {options.positive} is none of two classes ({', '.join(classes)}); leave "
            "it out, or name one of two"
        )
    if len(classes) != 2:
        return None
    known = table.positive if table.positive in classes else None
    return options.positive or known or classes[1]


def _answerer(
    model: Model, options: ForeignOptions, classes: Sequence[str], workers: int
) -> Answerer:
    """The way of asking that this model needs."""
    n_classes = len(classes)
    if isinstance(model, ModelCommand):
        return CommandAnswerer(model, options, classes)
    if callable(model):
        return _of_object(model, _called(model), options, n_classes)
    path, text = Path(model), str(model)
    if "://" in text:
        return LoopbackServer(text, options, classes)
    if path.suffix.lower() in SUFFIXES:
        return from_checkpoint(path, options, n_classes)
    if options.network:
        raise ForeignModelError(
            f"--network {options.network} is for a checkpoint ({', '.join(SUFFIXES)}), and {model} "
            "is none; leave it out"
        )
    if path.suffix.lower() == ONNX:
        return OnnxFile(path, options, n_classes, workers)
    return _of_object(imported(text), text, options, n_classes)


def _of_object(found: Any, name: str, options: ForeignOptions, n_classes: int) -> Answerer:
    """Of what lives in Python: a network of torch, or a function."""
    if is_torch_module(found):
        return TorchNetwork(found, name, options, n_classes)
    return PythonCallable(found, name, options, n_classes)


def _called(function: Any) -> str:
    return str(getattr(function, "__qualname__", type(function).__name__))


def _looked_at(
    table: ImageTable, answerer: Answerer, options: ForeignOptions, workers: int
) -> tuple[Sequence[Canvas], Ints]:
    """A few images, classes in equal shares, as canvases; and their labels in the table."""
    kinds = np.unique(table.labels)
    share = max(1, LOOKED // max(1, len(kinds)))
    rows = np.sort(np.concatenate([np.flatnonzero(table.labels == k)[:share] for k in kinds]))
    some = table.select(rows.astype(np.int64))
    how = SimpleNamespace(side=answerer.side, resize=options.resize, crop_pct=options.crop_pct)
    made = list(canvases_for(how, some.ids.tolist(), some.sources, table.rule, workers))
    usable = np.array([isinstance(one, Canvas) for one in made], bool)
    if not usable.any():
        raise DataError("not one image can be read to ask the model about; see medgraft profile")
    return [one for one in made if isinstance(one, Canvas)], some.labels[usable]


def _differs(answerer: Answerer, canvases: Sequence[Canvas], outputs: str) -> float:
    """The largest difference of a probability between two passes, in batches of other sizes."""

    def said(some: Sequence[Canvas], batch: int) -> Floats:
        p: Floats = np.exp(log_probabilities(ask(answerer, some, batch), outputs, answerer.name))
        return p

    batch = min(OTHER_BATCH, answerer.batch)
    return float(np.abs(said(canvases, 0) - said(canvases[::-1], batch)[::-1]).max())
