"""A saved classifier is loaded, with what its study's folder says of it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from medgraft.errors import BundleError, DataError
from medgraft.evaluate.metrics import give_labels
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.learn.fit import load
from medgraft.scenario import DEFAULT_METRIC
from medgraft.types import FittedScenario, Floats, ImageTable


def load_model(
    path: Path | str,
    *,
    engine: str = "openvino",
    workers: int | None = None,
    cache: Path | str | None = None,
) -> FittedScenario:
    """Load the classifier of a finished study (its folder, or the folder `model` in it).

    Parameters
    ----------
    engine, workers
        What computes codes, and with how many threads; all cores by default.
    cache
        The folder where converted graphs are kept; the user's cache by default.

    Raises
    ------
    BundleError
        There is none, or it was changed since it was saved.
    """
    kept = Cache(None if cache is None else Path(cache))
    return load(bundle_folder(Path(path)), Extractor(kept, engine=engine, workers=workers))


def bundle_folder(path: Path) -> Path:
    """RUN/model for a run, the path itself for a bundle."""
    inside = path / "model"
    return inside if not (path / "bundle.json").is_file() and inside.is_dir() else path


@dataclass(frozen=True, eq=False)
class History:
    """What the folder of a classifier's study says of it; empty where it was taken out of it.

    metric : what the study chose by. learned : images of each class that it learned from. ids :
    theirs. patients : their groups, but for images that are a group of their own.
    """

    metric: str = DEFAULT_METRIC
    learned: Mapping[str, int] = field(default_factory=dict)
    ids: frozenset[str] = frozenset()
    patients: frozenset[str] = frozenset()


def history_of(run: Path, scenario: str) -> History:
    """What a run's folder says of one of its scenarios.

    Raises
    ------
    BundleError
        A file of the run is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    file, result = run / "predictions.parquet", run / "result.json"
    if not file.is_file() or not result.is_file():
        return History()
    try:
        rows = pq.read_table(
            file,
            columns=["id", "group", "truth"],
            filters=[("scenario", "==", scenario), ("split", "!=", "test")],
        )
        metric = str(json.loads(result.read_text(encoding="utf-8"))["metric"])
    except (OSError, ValueError, LookupError, TypeError, pa.ArrowException) as error:
        reason = str(error).partition("\n")[0]
        raise BundleError(
            f"{file.name} or {result.name} in {run} is damaged ({reason}); restore them, or judge "
            "a copy of the folder model alone"
        ) from error
    truths, counts = np.unique(np.array(rows["truth"].to_pylist(), str), return_counts=True)
    ids, groups = rows["id"].to_pylist(), rows["group"].to_pylist()
    return History(
        metric,
        dict(zip(truths.tolist(), counts.tolist(), strict=True)),
        frozenset(ids),
        frozenset(group for id, group in zip(ids, groups, strict=True) if group != id),
    )


def in_classes_of(fitted: FittedScenario, table: ImageTable) -> ImageTable:
    """The labelled images of a table, with labels counted as the classifier counts them.

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
            f"{', '.join(fitted.classes)}); rename the classes or leave them out"
        )
    index = np.array([fitted.classes.index(name) for name in table.classes] or [0])
    known = table.select(table.labels >= 0)
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
