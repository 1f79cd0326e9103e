"""What a saved classifier is used for: predict files, be judged on other data, explain images."""

from __future__ import annotations

import dataclasses
import glob
import importlib.metadata
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from medgraft.data.decode import DecodePool
from medgraft.data.folders import entries_below
from medgraft.data.listing import shown
from medgraft.data.preprocess import CanvasRecipe
from medgraft.errors import BundleError, DataError, ScenarioError
from medgraft.evaluate.estimates import by_group, evaluate
from medgraft.evaluate.metrics import give_labels
from medgraft.evaluate.prior import LEAST, PriorShift, adjust, check_shares, estimate_shares
from medgraft.explain.attribute import attribute
from medgraft.explain.cam import block_taps, cam_maps
from medgraft.explain.methods import METHODS
from medgraft.explain.occlusion import occlusion
from medgraft.features.cache import Cache
from medgraft.features.engine import default_workers
from medgraft.features.extract import Extractor
from medgraft.learn.crossed import Fitted
from medgraft.learn.fit import load
from medgraft.learn.frozen import FittedFrozen
from medgraft.types import (
    Attribution,
    Canvas,
    Evaluation,
    FittedScenario,
    Floats,
    ImageTable,
    Operating,
    Predictions,
    Progress,
    Skipped,
    Source,
    Strings,
)

OCCLUSION, AUTO = "occlusion", "auto"  # ways to explain besides the CAM methods
TRAINING, ESTIMATE = "training", "estimate"  # words that --class-shares takes besides numbers
# A threshold chosen for its balanced accuracy does not depend on shares, and so says nothing of
# which label is the likelier one at others.
MOST_PROBABLE = Operating(0.5, "the most probable class at these class shares")
ASSUMPTION = (
    "only the mix of classes changed, and the images of one class look as they did in training; "
    "another machine, exposure or severity is mistaken for another mix"
)


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
    return load(_bundle_folder(Path(path)), Extractor(kept, engine=engine, workers=workers))


def load_with_history(path: Path, extractor: Extractor) -> tuple[FittedScenario, frozenset[str]]:
    """A saved classifier, and the ids of the images that it learned from.

    The ids are those that its study's predictions hold; none where these are not beside it.

    Raises
    ------
    BundleError
        There is no classifier, or it or its run is damaged.
    """
    folder = _bundle_folder(path)
    fitted = load(folder, extractor)
    return fitted, frozenset(_run_of(folder.absolute().parent, fitted.scenario.key)[2])


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
        `source` (bytes that are not UTF-8 as escapes), `label`, `probabilities` (class → p),
        `error` (None, or why it was not read, label and probabilities then being None).
    """
    found = find_images(paths)
    probabilities, errors = _probabilities(fitted, [file for file in found if not found[file]])
    errors |= {file: problem for file, problem in found.items() if problem}
    rows: list[dict[str, Any]] = []
    for file in found:
        if file in errors:
            rows.append(
                {"source": shown(file), "label": None, "probabilities": None, "error": errors[file]}
            )
            continue
        p = probabilities[file]
        rows.append(
            {
                "source": shown(file),
                "label": _label(fitted, p),
                "probabilities": {
                    name: float(value) for name, value in zip(fitted.classes, p, strict=True)
                },
                "error": None,
            }
        )
    return rows


def find_images(paths: Sequence[str]) -> dict[str, str]:
    """Image files named by paths, folders (searched below) and patterns, each once, in order.

    The values say why a file or folder cannot be read, where that is known ('' elsewhere). A path
    that is not there is kept, so that it is answered with its reason.
    """
    found: dict[str, str] = {}
    for path in paths:
        if os.path.isdir(path):  # noqa: PTH112  of os.path, which is False where it may not look
            for parts, problem in entries_below(Path(path)):
                # A name that is not UTF-8 has no place in a study; here nothing hangs on it.
                file = str(Path(path, *parts))
                found[file] = problem if shown(file) == file else ""
        elif not os.path.exists(path) and glob.has_magic(path):  # noqa: PTH110
            matches = glob.glob(path, recursive=True)  # noqa: PTH207  a pattern has no folder
            found |= dict.fromkeys(sorted(matches), "")
        else:
            found[path] = ""
    if not found:
        raise DataError(
            f"no images in {', '.join(paths)}; give image files, a folder of them or a pattern"
        )
    return found


def _probabilities(
    fitted: FittedScenario, files: Sequence[str]
) -> tuple[dict[str, Floats], dict[str, str]]:
    """Probabilities (n_classes,) by file, and the reason of each file that cannot be read."""
    errors: dict[str, str] = {}
    ids: list[str] = []
    spec = fitted.spec
    sources = [Source(os.fspath(file)) for file in files]
    workers = fitted.extractor.workers if isinstance(fitted, Fitted) else default_workers()
    with DecodePool(workers) as pool:

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
    positive, threshold = None, 0.0
    if fitted.operating is not None and fitted.positive is not None:
        positive, threshold = fitted.classes.index(fitted.positive), fitted.operating.threshold
    return fitted.classes[int(give_labels(p[None], positive, threshold)[0])]


# --------------------------------------------------------------------------- evaluate


@dataclass(frozen=True, eq=False)
class External:
    """External validation: every metric by image and, where groups repeat, by patient.

    learned, seen : images of each class the classifier learned from, and how many of the images
    judged bear the id of one of them; empty and 0 where its study's predictions are not beside it.
    metric : what its study chose by. adjusted : the same at other class shares, where asked for.
    """

    predictions: Predictions
    by_image: Evaluation
    by_patient: Evaluation | None
    skipped: tuple[Skipped, ...]
    metric: str = "auroc"
    learned: Mapping[str, int] = field(default_factory=dict)
    seen: int = 0
    adjusted: Adjusted | None = None

    def json(self) -> dict[str, Any]:
        """The same as plain JSON."""
        asked = {} if self.adjusted is None else {"adjusted": self.adjusted.json()}
        return {
            "scenario": self.predictions.scenario,
            "by_image": _evaluation_json(self.by_image),
            "by_patient": self.by_patient and _evaluation_json(self.by_patient),
            "skipped": [dataclasses.asdict(row) for row in self.skipped],
            "learned_from": dict(self.learned),
            "names_learned_from": self.seen,
            **asked,
        }


@dataclass(frozen=True, eq=False)
class Adjusted:
    """What an evaluation becomes where the classes have other shares than in training.

    changed : images whose label is another.
    """

    shares: ClassShares
    predictions: Predictions
    by_image: Evaluation
    by_patient: Evaluation | None
    changed: int

    def json(self) -> dict[str, Any]:
        """The same as plain JSON."""
        return {
            "class_shares": self.shares.json(),
            "labels_changed": self.changed,
            "by_image": _evaluation_json(self.by_image),
            "by_patient": self.by_patient and _evaluation_json(self.by_patient),
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


def evaluate_model(
    path: Path, table: ImageTable, extractor: Extractor, class_shares: str = TRAINING
) -> External:
    """Judge a saved classifier on every labelled image of a table.

    class_shares : `training` leaves its answers as they are; with `estimate` (from the images,
    without their labels) or shares such as `0.3,0.7` they are also judged adjusted, beside them.

    Raises
    ------
    DataError
        The table holds a class the classifier does not know, or none of its images can be read;
        or the shares make no sense (see `class_shares_of`).
    """
    folder = _bundle_folder(path)
    fitted = load(folder, extractor)
    table = in_classes_of(fitted, table)
    predictions, skipped = fitted.predict(table)
    if not len(predictions):
        raise DataError(
            f"none of {len(table)} images can be read; the first: "
            f"{skipped[0].source}: {skipped[0].reason}"
        )
    repeated = len(np.unique(predictions.groups)) < len(predictions)
    metric, learned, seen = _learned_from(folder.absolute().parent, predictions)
    adjusted = None
    if class_shares != TRAINING:
        prob, groups = predictions.y_prob, predictions.groups
        shares = class_shares_of(class_shares, fitted.classes, learned, prob, groups)
        adjusted = _adjusted(predictions, fitted.operating, shares, repeated)
    return External(
        predictions=predictions,
        by_image=evaluate(predictions, fitted.operating),
        by_patient=evaluate(by_group(predictions), fitted.operating) if repeated else None,
        skipped=(*table.skipped, *skipped),
        metric=metric,
        learned=learned,
        seen=seen,
        adjusted=adjusted,
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


def _adjusted(
    predictions: Predictions, operating: Operating | None, shares: ClassShares, repeated: bool
) -> Adjusted:
    """The same predictions at other class shares, judged by the most probable class."""
    p = predictions
    moved = dataclasses.replace(p, y_prob=adjust(p.y_prob, shares.training, shares.used))
    rule = MOST_PROBABLE if p.positive is not None else None
    positive = None if p.positive is None else p.classes.index(p.positive)
    before = give_labels(p.y_prob, positive, operating.threshold if operating else 0.5)
    return Adjusted(
        shares=shares,
        predictions=moved,
        by_image=evaluate(moved, rule),
        by_patient=evaluate(by_group(moved), rule) if repeated else None,
        changed=int((before != give_labels(moved.y_prob, positive, 0.5)).sum()),
    )


def _learned_from(run: Path, predictions: Predictions) -> tuple[str, dict[str, int], int]:
    """From the run a bundle lies in: its metric, what it learned from, and what is met again.

    ('auroc', {}, 0) where the bundle was taken out of its run.
    """
    metric, learned, known = _run_of(run, predictions.scenario)
    return metric, learned, sum(name in known for name in predictions.ids.tolist())


def _run_of(run: Path, scenario: str) -> tuple[str, dict[str, int], set[str]]:
    """A run's metric, images of each class that a scenario learned from, and their ids."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file, result = run / "predictions.parquet", run / "result.json"
    if not file.is_file() or not result.is_file():
        return "auroc", {}, set()
    try:
        rows = pq.read_table(
            file,
            columns=["id", "truth"],
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
    learned = dict(zip(truths.tolist(), counts.tolist(), strict=True))
    return metric, learned, set(rows["id"].to_pylist())


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


# --------------------------------------------------------------------------- class shares


@dataclass(frozen=True, eq=False)
class ClassShares:
    """Shares of the classes that probabilities were adjusted to, and what they were before.

    training, used : (n_classes,). estimated : how they were found in the images; None where they
    were given.
    """

    classes: tuple[str, ...]
    training: tuple[float, ...]
    used: tuple[float, ...]
    estimated: PriorShift | None

    def json(self) -> dict[str, Any]:
        """The same as plain JSON."""
        found = self.estimated
        return {
            "training": dict(zip(self.classes, self.training, strict=True)),
            "used": dict(zip(self.classes, self.used, strict=True)),
            "estimated": found
            and {
                "shares": {
                    name: dataclasses.asdict(share)
                    for name, share in zip(self.classes, found.shares, strict=True)
                },
                "statistic": found.statistic,
                "p": found.p,
                "method": found.method,
            },
            "rule": MOST_PROBABLE.rule,
            "assumption": ASSUMPTION,
        }


def class_shares_of(
    asked: str, classes: Sequence[str], learned: Mapping[str, int], prob: Floats, groups: Strings
) -> ClassShares:
    """The shares asked for: `estimate`, from the images' probabilities, or such as `0.3,0.7`.

    Parameters
    ----------
    learned : images of each class that the classifier learned from.
    prob : (n_images, n_classes) of the images, calibrated. groups : (n_images,).

    Raises
    ------
    DataError
        The text is no shares; it is not known what the classifier learned from; or there are fewer
        than 20 images.
    """
    counts = np.array([learned.get(name, 0) for name in classes], float)
    if not counts.all():
        missing = ", ".join(name for name in classes if not learned.get(name))
        raise DataError(
            f"how many images of {missing} the model learned from is not known, for it lies apart "
            "from its run (predictions.parquet, result.json); give the run's folder, or leave "
            f"--class-shares at {TRAINING}"
        )
    if len(prob) < LEAST:
        raise DataError(
            f"--class-shares {asked} with {len(prob)} images: class shares are a matter of many "
            f"images; give at least {LEAST}, or leave it at {TRAINING}"
        )
    training = counts / counts.sum()
    found = estimate_shares(prob, training, groups) if asked == ESTIMATE else None
    used = found.values if found else _shares_in(asked, classes)
    return ClassShares(tuple(classes), tuple(training.tolist()), tuple(used.tolist()), found)


def _shares_in(text: str, classes: Sequence[str]) -> Floats:
    """The shares that a text such as `0.3,0.7` gives, one a class."""
    try:
        return check_shares([float(word) for word in text.split(",")], len(classes))
    except (ValueError, DataError) as error:
        reason = f" ({error})" if isinstance(error, DataError) else ""
        raise DataError(
            f"--class-shares {text!r} gives no shares of {', '.join(classes)}{reason}; say "
            f"{TRAINING}, {ESTIMATE}, or a number for each, in this order, such as "
            + ",".join(f"{1 / len(classes):.2g}" for _ in classes)
        ) from error


def adjust_rows(
    model: Path | str, fitted: FittedScenario, rows: Sequence[Mapping[str, Any]], class_shares: str
) -> tuple[list[dict[str, Any]], ClassShares]:
    """What `predict_files` gave, with the answers at other class shares beside them.

    Returns
    -------
    tuple
        The rows, of which each that was read has `adjusted_label` and `adjusted_probabilities`
        (None in the others), and the shares.

    Raises
    ------
    DataError
        As `class_shares_of`.
    """
    run = _bundle_folder(Path(model)).absolute().parent
    read = [row for row in rows if row["probabilities"]]
    ids = np.array([row["source"] for row in read], str)
    _, learned, _ = _run_of(run, fitted.scenario.key)
    before = [[row["probabilities"][name] for name in fitted.classes] for row in read]
    prob = np.array(before, float).reshape(len(read), len(fitted.classes))
    shares = class_shares_of(class_shares, fitted.classes, learned, prob, ids)
    after = iter(adjust(prob, shares.training, shares.used).tolist())
    found = []
    for row in rows:
        p = next(after) if row["probabilities"] else None
        found.append(
            {
                **row,
                "adjusted_label": p and fitted.classes[int(np.argmax(p))],
                "adjusted_probabilities": p and dict(zip(fitted.classes, p, strict=True)),
            }
        )
    return found, shares


# --------------------------------------------------------------------------- explain


def explain_files(
    path: Path,
    images: Sequence[Path],
    out: Path,
    *,
    method: str = "gradcam",
    taps: Sequence[str] = (),
    target: str | None = None,
    cache: Path | None = None,
) -> tuple[list[Path], list[Skipped]]:
    """Write one strip an image: the image with the model's words, and its maps.

    method : one of the CAM methods, a map for each tap; `occlusion`, one map; or `auto`, one map by
    the most exact way that the scenario has.

    Returns
    -------
    tuple
        The files written, in the order of the images, and the images that cannot be read.

    Raises
    ------
    DataError
        None of the images can be read.
    ScenarioError
        There is no such method, or the classifier or a tap has no such map.
    """
    from medgraft.report.strip import write_strip

    if method not in (*METHODS, OCCLUSION, AUTO):
        raise ScenarioError(
            f"no method {method!r}; there are: {', '.join((*METHODS, OCCLUSION, AUTO))}"
        )
    fitted = load_model(path, cache=cache)
    canvases, skipped = _readable(fitted, images)
    probabilities = fitted.probabilities(canvases)
    labels = [_label(fitted, p) for p in probabilities]
    maps = _explained(fitted, canvases, method, taps, [target or label for label in labels])
    written = []
    strips = _strip_names([Path(canvas.id) for canvas in canvases])
    for name, canvas, p, found in zip(strips, canvases, probabilities, maps, strict=True):
        file = out / f"{name}-{'cam' if method in METHODS else method}.png"
        where = f"where {found[0].target} comes from"
        panels = [(one.tap if method in METHODS else where, one.map) for one in found]
        words = _said(fitted, p, found[0].target, Path(canvas.id))
        write_strip(file, canvas.pixels, panels, words, found[0].method)
        written.append(file)
    return written, skipped


def _explained(
    fitted: FittedScenario,
    canvases: Sequence[Canvas],
    method: str,
    taps: Sequence[str],
    targets: Sequence[str],
) -> list[list[Attribution]]:
    """The maps of each canvas: one for each tap, or the one that occlusion and `auto` have."""
    if method not in METHODS:
        if taps:
            raise ScenarioError(
                f"--method {method} looks at no single layer, and --taps names {', '.join(taps)}; "
                f"leave one of them away"
            )
        explain = occlusion if method == OCCLUSION else attribute
        return [[one] for one in explain(fitted, canvases, targets)]
    if not isinstance(fitted, FittedFrozen):
        raise ScenarioError(
            f"{fitted.scenario.key} joins several classifiers, so no layer holds its score; pass "
            f"--method {AUTO} for the sum of its members' maps, or --method {OCCLUSION}"
        )
    names = list(taps) or list(block_taps(fitted).values())
    found = cam_maps(fitted, canvases, [method], names, targets)
    return [[one[method][name] for name in names] for one in found]


def _said(fitted: FittedScenario, p: Floats, target: str, image: Path) -> str:
    """What the model says of an image, in lines, and whether its folder's name says so too.

    A label that is not the most probable class is the threshold's, which is then named.
    """
    label, truth = _label(fitted, p), image.absolute().parent.name
    verdict = "right" if truth == label else f"wrong, it is {truth}"
    lines = [f"called {label}" + (f": {verdict}" if truth in fitted.classes else "")]
    shown_of = dict.fromkeys([label, target])
    lines += [f"{name}: probability {p[fitted.classes.index(name)]:.2f}" for name in shown_of]
    if fitted.operating and label != fitted.classes[int(np.argmax(p))]:
        lines.append(f"({fitted.positive} is called from {fitted.operating.threshold:.2f} on)")
    return "\n".join(lines)


def explain_layers(
    path: Path, images: Sequence[Path], out: Path, *, cache: Path | None = None
) -> tuple[list[Path], list[Skipped]]:
    """Write one atlas an image: what each block of the classifier's backbone singles out in it.

    Returns
    -------
    tuple
        The files written, in the order of the images, and the images that cannot be read.

    Raises
    ------
    DataError
        None of the images can be read.
    """
    from medgraft.explain.layers import layer_atlases
    from medgraft.report.atlas import write_atlas

    extractor = Extractor(Cache(cache))
    fitted = load(_bundle_folder(path), extractor)
    canvases, skipped = _readable(fitted, images)
    atlases = layer_atlases(extractor, fitted.spec, canvases)
    written = []
    for name, atlas, p in zip(
        _strip_names([Path(canvas.id) for canvas in canvases]),
        atlases,
        fitted.probabilities(canvases),
        strict=True,
    ):
        label = _label(fitted, p)
        file = out / f"{name}-layers.png"
        write_atlas(file, atlas, f"{label}: {p[fitted.classes.index(label)]:.3f}")
        written.append(file)
    return written, skipped


def _readable(fitted: FittedScenario, images: Sequence[Path]) -> tuple[list[Canvas], list[Skipped]]:
    """The images as the classifier sees them, and those that cannot be read.

    Raises
    ------
    DataError
        That is all of them.
    """
    recipe = CanvasRecipe(fitted.spec.size, fitted.spec.resize, fitted.spec.edits)
    ids = [os.fspath(image) for image in images]
    with DecodePool(1) as pool:
        rows = list(pool.canvases(ids, [Source(id) for id in ids], recipe))
    skipped = [Skipped(shown(row.source), row.reason) for row in rows if isinstance(row, Skipped)]
    canvases = [row for row in rows if isinstance(row, Canvas)]
    if not canvases:
        raise DataError(
            f"none of {len(rows)} images can be explained; the first: {skipped[0].source}: "
            f"{skipped[0].reason}"
        )
    return canvases, skipped


def _strip_names(images: Sequence[Path]) -> list[str]:
    """A name for each image's strip: its stem, with its folder where stems repeat, then a number.

    >>> _strip_names([Path("a/1.png"), Path("b/1.png"), Path("b/1.jpg"), Path("b/2.png")])
    ['a-1', 'b-1', 'b-1-2', '2']
    """
    stems = Counter(image.stem for image in images)
    names: dict[str, None] = {}
    for image in images:
        name = image.stem
        if stems[image.stem] > 1:
            name = f"{image.absolute().parent.name}-{image.stem}"
        numbered = (f"{name}-{number}" for number in count(2))
        while name in names:
            name = next(numbered)
        names[name] = None
    return list(names)
