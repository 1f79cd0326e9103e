"""A saved classifier is judged on data from elsewhere."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medgraft.bundle.model import bundle_folder, in_classes_of, run_of
from medgraft.bundle.shares import MOST_PROBABLE, TRAINING, ClassShares, class_shares_of
from medgraft.errors import DataError
from medgraft.evaluate.estimates import evaluate, evaluate_by_group
from medgraft.evaluate.metrics import give_labels
from medgraft.evaluate.prior import adjust
from medgraft.features.extract import Extractor
from medgraft.learn.fit import load
from medgraft.studies.store import calibration_json
from medgraft.types import Evaluation, ImageTable, Operating, Predictions, Skipped


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
        "calibration": calibration_json(evaluation.calibration),
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
    folder = bundle_folder(path)
    fitted = load(folder, extractor)
    table = in_classes_of(fitted, table)
    predictions, skipped = fitted.predict(table)
    if not len(predictions):
        raise DataError(
            f"none of {len(table)} images can be read; the first: "
            f"{skipped[0].source}: {skipped[0].reason}"
        )
    metric, learned, seen = _learned_from(folder.absolute().parent, predictions)
    adjusted = None
    if class_shares != TRAINING:
        prob, groups = predictions.y_prob, predictions.groups
        shares = class_shares_of(class_shares, fitted.classes, learned, prob, groups)
        adjusted = _adjusted(predictions, fitted.operating, shares)
    return External(
        predictions=predictions,
        by_image=evaluate(predictions, fitted.operating),
        by_patient=evaluate_by_group(predictions, fitted.operating),
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
    predictions: Predictions, operating: Operating | None, shares: ClassShares
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
        by_patient=evaluate_by_group(moved, rule),
        changed=int((before != give_labels(moved.y_prob, positive, 0.5)).sum()),
    )


def _learned_from(run: Path, predictions: Predictions) -> tuple[str, dict[str, int], int]:
    """From the run a bundle lies in: its metric, what it learned from, and what is met again.

    ('auroc', {}, 0) where the bundle was taken out of its run.
    """
    metric, learned, known = run_of(run, predictions.scenario)
    return metric, learned, sum(name in known for name in predictions.ids.tolist())
