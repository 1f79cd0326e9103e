"""A saved classifier is loaded, and what it is to judge is counted in its classes."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path

import numpy as np

from medgraft.bundle.archive import is_archive, unpacked
from medgraft.errors import BundleError, DataError
from medgraft.evaluate.metrics import give_labels
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.learn.fit import load
from medgraft.runs.find import RunFolder, kinds_in
from medgraft.runs.read import read_run
from medgraft.studies.store import read_events
from medgraft.types import FittedScenario, Floats, ImageTable


def load_model(
    path: str | os.PathLike[str],
    *,
    engine: str = "openvino",
    workers: int | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> FittedScenario:
    """Load the classifier of a finished study (its folder, the folder `model` in it, or a bundle).

    Parameters
    ----------
    engine, workers
        What computes codes, and with how many threads; all cores by default.
    cache
        The folder where converted graphs are kept; the user's cache by default.

    Returns
    -------
    FittedScenario
        Its `predict` takes an `ImageTable` or paths, and gives `Predictions` and what could not be
        read.

    Raises
    ------
    BundleError
        There is none, or it was changed since it was saved.

    Examples
    --------
    >>> predictions, skipped = load_model("run").predict(["new/"])  # doctest: +SKIP
    >>> predictions.ids, predictions.y_prob  # (n,) paths, (n, n_classes)  # doctest: +SKIP
    """
    kept = Cache(None if cache is None else Path(cache))
    return load(bundle_folder(Path(path)), Extractor(kept, engine=engine, workers=workers))


def bundle_folder(path: Path) -> Path:
    """RUN/model for a run, the path itself for a model's folder, or what a `.medgraft` file holds.

    Raises
    ------
    BundleError
        A file is no whole bundle, or holds what none may hold; or it is the run of a study that is
        not finished, or of several findings, each of which has a classifier.
    """
    if is_archive(path):
        return unpacked(path) / "model"
    inside, findings = path / "model", path / "findings"
    if not inside.is_dir() and (unfinished := _unfinished(path)):
        raise BundleError(unfinished)
    if findings.is_dir() and not inside.is_dir() and (path / "result.json").is_file():
        one = next(iter(sorted(findings.iterdir())), findings)
        raise BundleError(
            f"{path} is a study of several findings, each with a classifier of its own; pass the "
            f"folder of one, such as {one}"
        )
    return inside if not (path / "bundle.json").is_file() and inside.is_dir() else path


def _unfinished(path: Path) -> str:
    """Why the folder of a study that is under way or was stopped has no model; '' of any other."""
    if not path.is_dir() or "study" not in kinds_in(path):
        return ""
    run = read_run(RunFolder(path, "study"))
    if run.state == "running":
        began = read_events(path)[0]["time"]
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(float(began)))
        return (
            f"{path} has no model yet: its study has been running since {since} ({run.reason}); "
            "wait until it is finished"
        )
    if run.state == "killed":
        return (
            f"{path} has no model: its study ended before it was finished ({run.reason}); type its "
            "command again with --resume, which goes on with what is done"
        )
    return ""


def in_classes_of(fitted: FittedScenario, table: ImageTable) -> ImageTable:
    """The labelled images of a table, their labels and pixels as the classifier knows them.

    Labels are counted as it counts them, and stored values shown by its rule.

    Splits are forgotten: all of it is new to the classifier, and a patient whose images lie in
    several split folders is one patient.

    Raises
    ------
    DataError
        The table has a class that the classifier does not know.
    """
    unknown = [name for name in table.classes if name not in fitted.classes]
    if unknown:
        raise DataError(
            f"the data has class {', '.join(unknown)}, which the model does not know (it knows "
            f"{', '.join(fitted.classes)}); if it is another name for one of these, pass --rename "
            f"'{unknown[0]}={fitted.classes[0]}', and else --leave-out '{unknown[0]}'"
        )
    index = np.array([fitted.classes.index(name) for name in table.classes] or [0])
    known = table.select(table.labels >= 0).shown_by(fitted.rule)
    return dataclasses.replace(
        known,
        labels=index[known.labels],
        classes=fitted.classes,
        positive=fitted.positive,
        splits=np.full(len(known), "", known.splits.dtype),
    )


def label_of(fitted: FittedScenario, p: Floats) -> str:
    """The label of one image: at the operating threshold for two classes, else the likeliest."""
    positive, threshold = None, 0.0
    if fitted.operating is not None and fitted.positive is not None:
        positive, threshold = fitted.classes.index(fitted.positive), fitted.operating.threshold
    return fitted.classes[int(give_labels(p[None], positive, threshold)[0])]
