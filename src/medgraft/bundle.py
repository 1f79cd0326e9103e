"""What a saved classifier is used for: predict files, be judged on other data, explain images."""

from __future__ import annotations

import dataclasses
import glob
import importlib.metadata
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from medgraft.data.decode import DecodePool
from medgraft.data.folders import IMAGE_SUFFIXES
from medgraft.data.preprocess import CanvasRecipe
from medgraft.errors import DataError
from medgraft.evaluate.estimates import by_group, evaluate
from medgraft.explain.cam import block_taps, grad_cam
from medgraft.features.extract import Extractor
from medgraft.learn.fit import load
from medgraft.learn.probe import FittedProbe
from medgraft.types import (
    Canvas,
    Evaluation,
    FittedScenario,
    Floats,
    ImageTable,
    Predictions,
    Progress,
    Skipped,
    Source,
)


def load_model(
    path: Path | str, *, engine: str = "openvino", workers: int | None = None
) -> FittedScenario:
    """Load the classifier of a finished study (its folder, or the folder `model` in it).

    Raises
    ------
    BundleError
        There is none, or it was changed since it was saved.
    """
    return load(_bundle_folder(Path(path)), Extractor(engine=engine, workers=workers))


def _bundle_folder(path: Path) -> Path:
    """RUN/model for a run, the path itself for a bundle."""
    inside = path / "model"
    return inside if not (path / "bundle.json").is_file() and inside.is_dir() else path


# --------------------------------------------------------------------------- predict


def predict_files(
    fitted: FittedScenario, paths: Sequence[str], progress: Progress | None = None
) -> list[dict[str, Any]]:
    """Label and probabilities of image files, folders and patterns, in order.

    Returns
    -------
    list of dict
        `source`, `label`, `probabilities` (class → p), `error` (None, or why it was not read,
        label and probabilities then being None).
    """
    files = find_images(paths)
    probabilities, errors = _probabilities(fitted, files)
    rows: list[dict[str, Any]] = []
    for file in files:
        if file in errors:
            rows.append(
                {"source": file, "label": None, "probabilities": None, "error": errors[file]}
            )
            continue
        p = probabilities[file]
        rows.append(
            {
                "source": file,
                "label": _label(fitted, p),
                "probabilities": {
                    name: float(value) for name, value in zip(fitted.classes, p, strict=True)
                },
                "error": None,
            }
        )
    return rows


def find_images(paths: Sequence[str]) -> list[str]:
    """Image files named by paths, folders (searched below) and patterns, each once, in order.

    A path that is not there is kept, so that it is answered with its reason.
    """
    found: dict[str, None] = {}
    for path in paths:
        if Path(path).is_dir():
            inside = (p for p in Path(path).rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
            found |= dict.fromkeys(sorted(map(str, inside)))
        elif not Path(path).exists() and glob.has_magic(path):
            matches = glob.glob(path, recursive=True)  # noqa: PTH207  a pattern has no folder
            found |= dict.fromkeys(sorted(matches))
        else:
            found[path] = None
    if not found:
        raise DataError(
            f"no images in {', '.join(paths)}; give image files, a folder of them or a pattern"
        )
    return list(found)


def _probabilities(
    fitted: FittedScenario, files: Sequence[str]
) -> tuple[dict[str, Floats], dict[str, str]]:
    """Probabilities (n_classes,) by file, and the reason of each file that cannot be read."""
    errors: dict[str, str] = {}
    ids: list[str] = []
    spec = fitted.spec
    sources = [Source(os.fspath(file)) for file in files]
    with DecodePool(os.cpu_count() or 1) as pool:

        def readable() -> Iterator[Canvas]:
            recipe = CanvasRecipe(spec.size, spec.resize, spec.edits)
            for row in pool.canvases(files, sources, recipe):
                if isinstance(row, Skipped):
                    errors[row.source] = row.reason
                else:
                    ids.append(row.id)
                    yield row

        p = fitted.probabilities(readable())
    return dict(zip(ids, p, strict=True)), errors


def _label(fitted: FittedScenario, p: Floats) -> str:
    """The label of one image: at the operating threshold for two classes, else the likeliest."""
    if fitted.operating is None or fitted.positive is None:
        return fitted.classes[int(np.argmax(p))]
    positive = fitted.classes.index(fitted.positive)
    yes = p[positive] >= fitted.operating.threshold
    return fitted.classes[positive if yes else 1 - positive]


# --------------------------------------------------------------------------- evaluate


@dataclass(frozen=True, eq=False)
class External:
    """External validation: every metric by image and, where groups repeat, by patient.

    learned, seen : images of each class the classifier learned from, and how many of the images
    judged bear the id of one of them; empty and 0 where its study's predictions are not beside it.
    metric : what its study chose by.
    """

    predictions: Predictions
    by_image: Evaluation
    by_patient: Evaluation | None
    skipped: tuple[Skipped, ...]
    metric: str = "auroc"
    learned: Mapping[str, int] = field(default_factory=dict)
    seen: int = 0

    def json(self) -> dict[str, Any]:
        """The same as plain JSON."""
        return {
            "scenario": self.predictions.scenario,
            "by_image": _evaluation_json(self.by_image),
            "by_patient": self.by_patient and _evaluation_json(self.by_patient),
            "skipped": [dataclasses.asdict(row) for row in self.skipped],
            "learned_from": dict(self.learned),
            "names_learned_from": self.seen,
        }


def _evaluation_json(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "n_images": evaluation.n_images,
        "n_groups": evaluation.n_groups,
        "classes": list(evaluation.classes),
        "positive": evaluation.positive,
        "operating": evaluation.operating and dataclasses.asdict(evaluation.operating),
        "confusion": evaluation.confusion.tolist(),
        "metrics": {
            name: {
                # JSON has no NaN; what these data leave undefined is null.
                key: None if value != value else value
                for key, value in dataclasses.asdict(estimate).items()
            }
            for name, estimate in evaluation.estimates.items()
        },
    }


def evaluate_model(path: Path, table: ImageTable, extractor: Extractor) -> External:
    """Judge a saved classifier on every labelled image of a table.

    Raises
    ------
    DataError
        The table holds a class the classifier does not know, or none of its images can be read.
    """
    folder = _bundle_folder(path)
    fitted = load(folder, extractor)
    table = _in_classes_of(fitted, table)
    predictions, skipped = fitted.predict(table)
    if not len(predictions):
        raise DataError(
            f"none of {len(table)} images can be read; the first: "
            f"{skipped[0].source}: {skipped[0].reason}"
        )
    repeated = len(np.unique(predictions.groups)) < len(predictions)
    metric, learned, seen = _learned_from(folder.absolute().parent, predictions)
    return External(
        predictions=predictions,
        by_image=evaluate(predictions, fitted.operating),
        by_patient=evaluate(by_group(predictions), fitted.operating) if repeated else None,
        skipped=(*table.skipped, *skipped),
        metric=metric,
        learned=learned,
        seen=seen,
    )


def write_external(
    out: Path, found: External, *, model: str, data: str, command: str = ""
) -> tuple[Path, Path]:
    """Write `evaluation.html` and `evaluation.json` into `out`; give the two paths.

    Raises
    ------
    StorageError
        The folder cannot be written.
    """
    from medgraft.files import write_json
    from medgraft.report.evaluation import EvaluationInput, write_evaluation

    page, answer = out / "evaluation.html", out / "evaluation.json"
    write_evaluation(
        page,
        EvaluationInput(
            model=model,
            data=data,
            metric=found.metric,
            predictions=found.predictions,
            evaluation=found.by_image,
            by_patient=found.by_patient,
            skipped=found.skipped,
            learned=found.learned,
            seen=found.seen,
            command=command,
            version=importlib.metadata.version("medgraft"),
        ),
    )
    write_json(answer, {"model": model, "data": data, **found.json()})
    return page, answer


def _learned_from(run: Path, predictions: Predictions) -> tuple[str, dict[str, int], int]:
    """From the run a bundle lies in: its metric, what it learned from, and what is met again.

    ('auroc', {}, 0) where the bundle was taken out of its run.
    """
    import pyarrow.parquet as pq

    file, result = run / "predictions.parquet", run / "result.json"
    if not file.is_file() or not result.is_file():
        return "auroc", {}, 0
    rows = pq.read_table(
        file,
        columns=["id", "truth"],
        filters=[("scenario", "==", predictions.scenario), ("split", "!=", "test")],
    )
    truths, counts = np.unique(np.array(rows["truth"].to_pylist(), str), return_counts=True)
    known = set(rows["id"].to_pylist())
    metric = str(json.loads(result.read_text(encoding="utf-8"))["metric"])
    return (
        metric,
        dict(zip(truths.tolist(), counts.tolist(), strict=True)),
        sum(name in known for name in predictions.ids.tolist()),
    )


def _in_classes_of(fitted: FittedScenario, table: ImageTable) -> ImageTable:
    """The labelled images of a table, with labels counted as the classifier counts them."""
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
    )


# --------------------------------------------------------------------------- explain


def explain_files(
    path: Path,
    images: Sequence[Path],
    out: Path,
    *,
    taps: Sequence[str] = (),
    target: str | None = None,
) -> list[Path]:
    """Write one strip an image: the image, and its Grad-CAM at each tap; give the files written.

    Raises
    ------
    DataError
        An image cannot be read.
    ScenarioError
        The classifier or a tap has no such map.
    """
    from medgraft.report.strip import write_strip

    fitted = load(_bundle_folder(path), Extractor())
    if not isinstance(fitted, FittedProbe):
        raise DataError(f"{fitted.scenario.family} cannot be explained yet")
    names = list(taps) or list(block_taps(fitted).values())
    recipe = CanvasRecipe(fitted.spec.size, fitted.spec.resize, fitted.spec.edits)
    ids = [os.fspath(image) for image in images]
    canvases: list[Canvas] = []
    with DecodePool(1) as pool:
        for row in pool.canvases(ids, [Source(id) for id in ids], recipe):
            if isinstance(row, Skipped):
                raise DataError(f"{row.source} cannot be explained: {row.reason}")
            canvases.append(row)
    probabilities = fitted.probabilities(canvases)
    maps = grad_cam(fitted, canvases, names, target or [_label(fitted, p) for p in probabilities])
    written = []
    for image, canvas, p, found in zip(images, canvases, probabilities, maps, strict=True):
        shown = found[names[0]].target
        words = f"{shown}: {p[fitted.classes.index(shown)]:.3f}"
        file = out / f"{image.stem}-cam.png"
        write_strip(file, canvas.pixels, [(name, found[name].map) for name in names], words)
        written.append(file)
    return written
