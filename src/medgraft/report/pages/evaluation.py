"""The page of an external validation: one saved classifier, judged on data it was not made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from medgraft import files
from medgraft.report.pages.render import render_page
from medgraft.report.sections import grades, performance, subgroups, unsure
from medgraft.report.sections.performance import Judged
from medgraft.report.text import formatting, seen_before
from medgraft.report.text.headline import claim, gloss, operating_sentence
from medgraft.results.curves import Curves
from medgraft.results.figures import Evaluation, GradeFigures, SetFigures, Subgroups, UnlikeFigures
from medgraft.types import Estimate, Finding, SeenBefore, Skipped

SAME_SHARES = 0.05  # the largest difference of a class's share that goes without a word


@dataclass(frozen=True, eq=False)
class EvaluationInput:
    """Everything the page of a saved classifier, judged on other data, shows.

    model, data : the classifier's folder and the data, as they were named. metric : what the page
    leads with. learned : images of each class the classifier learned from; empty where that is
    not known. seen : how many of the images offered it learned from; those are left out, and
    `with_seen` is what it would be with them (None where there are none). sets : how its
    prediction sets do, and unlike : how many images are unlike those learned from, where it keeps
    what says so. subgroups : of the columns asked for. grades : how far mistakes go, where
    classes are grades. adjusted : the figures at other class shares, which `shares` gives by class.
    findings : on the images as they were read.
    """

    model: str
    data: str
    metric: str
    scenario: str
    curves: Curves
    evaluation: Evaluation
    by_patient: Evaluation | None = None
    skipped: tuple[Skipped, ...] = ()
    learned: Mapping[str, int] = field(default_factory=dict)
    seen: SeenBefore = field(default_factory=SeenBefore)
    with_seen: Evaluation | None = None
    sets: SetFigures | None = None
    unlike: UnlikeFigures | None = None
    subgroups: tuple[Subgroups, ...] = ()
    grades: GradeFigures | None = None
    adjusted: Evaluation | None = None
    shares: Mapping[str, float] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    command: str = ""
    version: str = ""


def write_evaluation(path: Path, content: EvaluationInput) -> None:
    """Write the page, whole or not at all.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    files.write_text(path, render_evaluation(content))


def render_evaluation(content: EvaluationInput) -> str:
    """The page of an evaluation as one HTML page that loads nothing."""
    evaluation = content.evaluation
    columns = {"By image": evaluation}
    if content.by_patient is not None:
        columns[performance.PATIENT] = content.by_patient
    if content.with_seen is not None:
        columns[f"With the {formatting.count(content.seen.certain)} learned from"] = (
            content.with_seen
        )
    if content.adjusted is not None:
        columns["At the class shares given"] = content.adjusted
    sentence = (
        "All of this is about "
        f"{formatting.images_of_groups(evaluation.n_images, evaluation.n_groups)}. "
        "Nothing was chosen or refitted on them."
    )
    metric, _ = _leading(content)
    return render_page(
        "evaluation.html.j2",
        {
            "content": content,
            "skipped": content.skipped,
            "headline": headline(content),
            "gloss": gloss(metric, evaluation),
            "operating_sentence": operating_sentence(evaluation),
            "facts": _facts(content),
            "caution": seen_before.of_evaluation(content.seen),
            "doubtful": seen_before.is_doubtful(content.seen),
            "shares_sentence": _shares_sentence(content),
            "given_shares": _given_shares(content),
            **unsure.section(
                {"By image": content.sets} if content.sets else {}, content.unlike, "these images"
            ),
            **subgroups.section(content.subgroups, metric),
            **grades.section(content.grades, evaluation.classes, "of these images"),
            **performance.section(Judged(content.curves, evaluation, sentence, columns)),
        },
    )


def headline(content: EvaluationInput) -> str:
    """How good the classifier is on these images, how sure that is, on how many: one sentence."""
    evaluation = content.evaluation
    metric, estimate = _leading(content)
    new = " that it has not seen" if content.seen.certain else ""
    named = content.seen.same_name if content.seen.same_file is None else 0
    doubt = f", and it may have learned from {formatting.count(named)} of them" if named else ""
    of = Path(content.data).name or content.data
    images = f"{formatting.plural(estimate.n, 'image')} of {of}{new}"
    return formatting.sentence(claim(evaluation, metric, estimate, images) + doubt)


def _leading(content: EvaluationInput) -> tuple[str, Estimate]:
    """The metric that leads: the study's, or the accuracy where that is undefined on these data."""
    estimates = content.evaluation.estimates
    if content.metric in estimates and not formatting.is_missing(estimates[content.metric].value):
        return content.metric, estimates[content.metric]
    return "accuracy", estimates["accuracy"]


def _facts(content: EvaluationInput) -> str:
    evaluation = content.evaluation
    counts = evaluation.confusion.sum(axis=1)
    classes = [
        f"{name} {formatting.count(int(n))}"
        for name, n in zip(evaluation.classes, counts, strict=True)
    ]
    return " · ".join(
        [
            formatting.images_of_groups(evaluation.n_images, evaluation.n_groups),
            *classes,
            f"{formatting.count(len(content.skipped))} skipped",
        ]
    )


def _shares_sentence(content: EvaluationInput) -> str:
    """How the mix of classes differs from what was learned from; '' where it does not, much."""
    evaluation = content.evaluation
    if not content.learned:
        return ""
    now = evaluation.confusion.sum(axis=1) / max(evaluation.n_images, 1)
    then = np.array([content.learned.get(name, 0) for name in evaluation.classes], float)
    then /= max(then.sum(), 1)
    most = int(np.argmax(np.abs(now - then)))
    if evaluation.positive in evaluation.classes:
        most = evaluation.classes.index(str(evaluation.positive))
    if abs(now[most] - then[most]) <= SAME_SHARES:
        return ""
    return (
        f"The classes are mixed differently here: {formatting.percent(now[most])} of these images "
        f"are {evaluation.classes[most]}, against {formatting.percent(then[most])} of those the "
        f"model learned from. {_what_depends(len(evaluation.classes))}"
    )


def _given_shares(content: EvaluationInput) -> str:
    """Which shares the adjusted column reckons with; '' where there is none."""
    if content.adjusted is None:
        return ""
    shares = formatting.join(
        f"{name} {formatting.percent(share)}" for name, share in content.shares.items()
    )
    return (
        "Beside the usual figures stand those at other class shares, which were given or estimated "
        f"without labels: {shares}. There the label is the most probable class."
    )


def _what_depends(n_classes: int) -> str:
    if n_classes == 2:
        return (
            "Figures within a class (sensitivity, specificity, AUROC) do not depend on the mix; "
            "accuracy, PPV, NPV and calibration do."
        )
    return (
        "The share of a class that is found does not depend on the mix; accuracy, calibration and "
        "AUROC, which is of a class against all others, do."
    )
