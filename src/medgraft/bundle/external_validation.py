"""A saved classifier is judged on data from elsewhere."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from medgraft.bundle.class_shares import MOST_PROBABLE, TRAINING, ClassShares, class_shares_of
from medgraft.bundle.model import bundle_folder, in_classes_of
from medgraft.bundle.prediction_sets import figures_of_sets
from medgraft.bundle.seen_before import learned_from, recognise, shares_behind
from medgraft.bundle.unlike import UnlikeJudge
from medgraft.bundle.wished_operating import at_wish
from medgraft.data.pixel_findings import compare_with_rule
from medgraft.errors import DataError, UnreadableDataError
from medgraft.evaluate.conformal import check_alpha
from medgraft.evaluate.curves import draw_curves
from medgraft.evaluate.estimates import evaluate, evaluate_by_group
from medgraft.evaluate.grades import grade_figures
from medgraft.evaluate.metrics import give_labels
from medgraft.evaluate.prior import adjust
from medgraft.evaluate.subgroups import subgroup_columns, subgroups_of
from medgraft.features.extract import Extractor, without
from medgraft.files import json_value, write_json
from medgraft.learn.fit import load
from medgraft.profile.unlike import check_rate
from medgraft.report.result_json import calibration_json
from medgraft.results.figures import Evaluation, GradeFigures, SetFigures, Subgroups, UnlikeFigures
from medgraft.scenario import DEFAULT_METRIC
from medgraft.types import Finding, ImageTable, Operating, Predictions, SeenBefore, Skipped


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of an evaluation besides its figures.

    alpha : the share of each class that prediction sets may miss; unlike_rate : of patients called
    unlike by mistake; None for the usual ones. sensitivity, specificity : labels are given at the
    threshold that promises one of them. subgroups : columns by whose values images are judged too.
    """

    alpha: float | None = None
    unlike_rate: float | None = None
    sensitivity: float | None = None
    specificity: float | None = None
    subgroups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.alpha is not None:
            check_alpha(self.alpha)
        if self.unlike_rate is not None:
            check_rate(self.unlike_rate)


NOTHING = Asked()


@dataclass(frozen=True, eq=False)
class ExternalValidation:
    """External validation: every metric by image and, where groups repeat, by patient.

    All of it is about images that the classifier did not learn from, as far as can be told. seen :
    how many it did learn from. with_seen : the metrics by image with those counted in; None where
    there are none. sets : how its prediction sets do, unlike : how many images are unlike those
    learned from, where it keeps what says so. subgroups : of the columns asked for. metric : what
    its study chose by. learned : images of each class that it learned from; empty where its study's
    predictions are not beside it. adjusted : the same at other class shares, where asked for.
    findings : what of the images its rule for stored values does not fit. grades : how far mistakes
    go, where classes are grades.
    """

    predictions: Predictions
    by_image: Evaluation
    by_patient: Evaluation | None
    skipped: tuple[Skipped, ...]
    seen: SeenBefore
    with_seen: Evaluation | None = None
    sets: SetFigures | None = None
    unlike: UnlikeFigures | None = None
    subgroups: tuple[Subgroups, ...] = ()
    metric: str = DEFAULT_METRIC
    learned: Mapping[str, int] = field(default_factory=dict)
    adjusted: Adjusted | None = None
    findings: tuple[Finding, ...] = ()
    grades: GradeFigures | None = None

    def json(self) -> dict[str, Any]:
        """The same as plain JSON."""
        asked = {} if self.adjusted is None else {"adjusted": self.adjusted.json()}
        return {
            "scenario": self.predictions.scenario,
            "by_image": _evaluation_json(self.by_image),
            "by_patient": self.by_patient and _evaluation_json(self.by_patient),
            "skipped": json_value(self.skipped),
            "learned_from": dict(self.learned),
            "names_learned_from": self.seen.same_name or 0,
            "seen": json_value(self.seen),
            "with_seen": self.with_seen and _evaluation_json(self.with_seen),
            "findings": json_value(self.findings),
            "sets": json_value(self.sets),
            "unlike": json_value(self.unlike),
            "subgroups": json_value(self.subgroups),
            **({"grades": json_value(self.grades)} if self.grades else {}),
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
        "operating": json_value(evaluation.operating),
        "confusion": evaluation.confusion.tolist(),
        "metrics": json_value(evaluation.estimates),
        "calibration": calibration_json(evaluation.calibration),
    }


def evaluate_model(
    path: str | os.PathLike[str],
    table: ImageTable,
    extractor: Extractor,
    class_shares: str = TRAINING,
    asked: Asked = NOTHING,
) -> ExternalValidation:
    """Judge a saved classifier on the labelled images of a table that it did not learn from.

    class_shares : `training` leaves its answers as they are; with `estimate` (from the images,
    without their labels) or shares such as `0.3,0.7` they are also judged adjusted, beside them.

    Raises
    ------
    DataError
        The table holds a class the classifier does not know; none of its images can be read, or
        all that can are images it learned from; or the shares make no sense (see
        `class_shares_of`).
    BundleError
        There is no such classifier, or it keeps nothing to answer what is asked by.
    """
    folder = bundle_folder(Path(path))
    fitted = at_wish(folder, load(folder, extractor), asked.sensitivity, asked.specificity)
    strange = UnlikeJudge.of(folder, fitted, extractor, asked.unlike_rate)
    findings = compare_with_rule(table, fitted.rule)
    for one in findings:
        extractor.progress.say(one.text)
    table, learned = in_classes_of(fitted, table), learned_from(folder, fitted)
    columns = subgroup_columns(table, asked.subgroups, learned.metric)
    if strange is not None:
        strange.prepare(table)
    predictions, skipped = fitted.predict(table)
    if not len(predictions):
        raise UnreadableDataError(
            f"none of {len(table)} images can be read; the first: "
            f"{skipped[0].source}: {skipped[0].reason}"
        )
    rows = without(table, skipped)
    met, seen = recognise(folder, learned, rows, extractor)
    if met.all():
        raise DataError(
            f"the model learned from all {len(met)} images that can be read ({seen.same_file} are "
            f"the same files, {seen.same_picture} the same pictures stored anew), so they say "
            "nothing of how it does on others; give images it has not seen"
        )
    everything, predictions = predictions, predictions.select(~met)
    adjusted = None
    if class_shares != TRAINING:
        prob, groups = predictions.y_prob, predictions.groups
        behind = shares_behind(folder, learned)
        shares = class_shares_of(class_shares, fitted.classes, behind, prob, groups)
        adjusted = _adjusted(predictions, fitted.operating, shares)
    return ExternalValidation(
        predictions=predictions,
        by_image=evaluate(predictions, fitted.operating, by=learned.metric),
        by_patient=evaluate_by_group(predictions, fitted.operating, by=learned.metric),
        skipped=(*table.skipped, *skipped),
        seen=seen,
        with_seen=evaluate(everything, fitted.operating, by=learned.metric) if met.any() else None,
        sets=figures_of_sets(folder, fitted, predictions, asked.alpha),
        unlike=strange.figures(rows.select(~met)) if strange else None,
        subgroups=subgroups_of(
            predictions,
            {name: of[np.isin(table.ids, predictions.ids)] for name, of in columns.items()},
            learned.metric,
            fitted.operating,
        ),
        metric=learned.metric,
        grades=None if fitted.grading is None else grade_figures(predictions, fitted.grading),
        learned=learned.by_class,
        adjusted=adjusted,
        findings=findings,
    )


def write_external(
    out: Path, found: ExternalValidation, *, model: str, data: str, command: str = ""
) -> tuple[Path, Path]:
    """Write `evaluation.html` and `evaluation.json` into `out`; give the two paths.

    Raises
    ------
    StorageError
        The folder cannot be written.
    """
    from medgraft.report.pages.evaluation import EvaluationInput, write_evaluation

    page, answer = out / "evaluation.html", out / "evaluation.json"
    write_evaluation(
        page,
        EvaluationInput(
            model=model,
            data=data,
            metric=found.metric,
            scenario=found.predictions.scenario,
            curves=draw_curves(found.predictions),
            evaluation=found.by_image,
            by_patient=found.by_patient,
            skipped=found.skipped,
            seen=found.seen,
            with_seen=found.with_seen,
            sets=found.sets,
            unlike=found.unlike,
            subgroups=found.subgroups,
            learned=found.learned,
            grades=found.grades,
            adjusted=None if found.adjusted is None else found.adjusted.by_image,
            shares={} if found.adjusted is None else found.adjusted.shares.by_class,
            findings=found.findings,
            command=command,
            version=importlib.metadata.version("medgraft"),
        ),
    )
    version = importlib.metadata.version("medgraft")
    facts = {"model": model, "data": data, "command": command, "version": version}
    write_json(answer, {**facts, "metric": found.metric, **found.json()})
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
