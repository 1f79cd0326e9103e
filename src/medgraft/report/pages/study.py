"""The one-file HTML report: what a study found, put in the order a tired reader needs it.

`render` is pure: equal content gives equal bytes. Here stands the order on the page; a part of it
stands in `sections/`, its words in `text/`, its charts and pictures in `charts/`. What flows in is
declared in `results/study.py`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medgraft import files
from medgraft.report.charts import images
from medgraft.report.pages.render import render_page
from medgraft.report.sections import (
    atlas,
    budget,
    cases,
    decision_map,
    evidence,
    for_paper,
    grades,
    learning_curve,
    performance,
    questions,
    scenarios,
    sites,
    subgroups,
    training,
    unsure,
)
from medgraft.report.sections.performance import Judged
from medgraft.report.text import (
    formatting,
    headline,
    lower_end,
    methods,
    recommendation,
    scenario_names,
    verdicts,
)
from medgraft.results.study import ReportInput
from medgraft.types import ImageTable

MOST_SAMPLES = 120
PARTS = {
    "believe": "May it be believed?",
    "looks": "What it looks at",
    "tried": "What we tried",
    "helped": "What helped here",
    "training": "What training added",
    "why": "Why this one",
    "exactly": "How good, exactly",
    "grades": "How far mistakes go",
    "unsure": "When it is not sure",
    "subgroups": "In sub-groups",
    "sites": "At each site",
    "data": "The data",
    "repeat": "How to repeat it",
    "paper": "For a paper",
    "words": "Glossary",
}


def write_report(path: Path, content: ReportInput) -> None:
    """Write the report, whole or not at all.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    files.write_text(path, render(content))


def write_for_paper(folder: Path, content: ReportInput) -> None:
    """Write `methods.md` and `references.bib`, each whole or not at all.

    Raises
    ------
    StorageError
        A file cannot be written.
    """
    files.write_text(folder / "methods.md", methods.methods_page(content))
    files.write_text(folder / "references.bib", methods.references(content))


def render(content: ReportInput) -> str:
    """The report as one HTML page that loads nothing.

    Raises
    ------
    DataError
        The recommended scenario is not among the scenarios of the result.
    """
    _, names = scenario_names.short_names(content.scenarios)
    cards = verdicts.verdicts(content)
    empty = {
        "helped": not (content.result.questions or content.families),
        "training": not content.trainings,
        "sites": content.result.by_site is None,
        "unsure": not content.result.sets,
        "subgroups": not content.result.subgroups,
        "grades": not content.result.grades,
    }
    return render_page(
        "study.html.j2",
        {
            "parts": [(link, title) for link, title in PARTS.items() if not empty.get(link)],
            "result": content.result,
            "how": content.how,
            "headline": headline.headline(content),
            "gloss": headline.gloss(content.result.metric, content.judged),
            "operating_sentence": headline.operating_sentence(content.judged),
            "lower_end": lower_end.sentence(content.result),
            **sites.section(content),
            "facts": _facts(content),
            "verdicts": cards,
            "doubt": verdicts.doubt(content, cards),
            "advice": verdicts.advice(content),
            "findings": verdicts.all_findings(content),
            "skipped": content.result.table.skipped,
            **evidence.section(content.evidence),
            **cases.section(content),
            **scenarios.section(content),
            **budget.section(content.result),
            **atlas.section(content),
            **questions.section(content),
            **training.section(content),
            **learning_curve.section(content),
            **decision_map.section(content),
            "why": recommendation.why(content.result.why, names),
            "recipe": scenario_names.scenario_facts(content.recipe),
            **performance.section(_judged(content)),
            **_grades(content),
            **_unsure(content),
            **subgroups.section(content.result.subgroups, content.result.metric),
            **_data(content),
            **for_paper.section(content),
        },
    )


def _grades(content: ReportInput) -> dict[str, object]:
    result = content.result
    part = "test" if "test" in result.grades else "validation"
    where = "of the test images" if part == "test" else "of the images out of fold"
    ordinal = content.recipe.scenario.head == "ordinal"
    return grades.section(result.grades.get(part), result.table.classes, where, ordinal=ordinal)


def _judged(content: ReportInput) -> Judged:
    """The recommended scenario's predictions: on the test where there is one, else out of fold."""
    where, judged = "the development images, out of fold", content.judged
    columns = {"Out of fold": content.oof_evaluation}
    if content.test_evaluation is not None:
        where = "the test images"
        columns = {"Test": content.test_evaluation, **columns}
    if content.by_patient is not None:
        columns[performance.PATIENT] = content.by_patient
    sentence = (
        f"All of this is about the recommended scenario on {where}: "
        f"{formatting.images_of_groups(judged.n_images, judged.n_groups)}."
    )
    if content.changed:
        sentence += f" {training.CHANGED_SHORT}"
    return Judged(content.curves, judged, sentence, columns, content.result.wishes)


def _unsure(content: ReportInput) -> dict[str, object]:
    """Sets and unlikeness on the test images, or out of fold where there are none."""
    titles = {"test": "Test", "validation": "Out of fold"}
    sets = content.result.sets
    where = "the test images" if "test" in sets else "the development images, out of fold,"
    found = {title: sets[name] for name, title in titles.items() if name in sets}
    return unsure.section(found, content.result.unlike, where)


def _in_groups(table: ImageTable) -> str:
    """So many images, and in how many groups where that is not the same."""
    return formatting.images_of_groups(len(table), len(np.unique(table.groups)))


def _facts(content: ReportInput) -> str:
    table, result = content.result.table, content.result
    return " · ".join(
        (
            _in_groups(table),
            formatting.plural(len(table.classes), "class", "classes"),
            formatting.plural(len(result.scenarios), "scenario") + " compared",
            formatting.duration(result.seconds),
        )
    )


# --------------------------------------------------------------------------- the data


def _data(content: ReportInput) -> dict[str, object]:
    table = content.result.table
    per_class = max(1, min(8, MOST_SAMPLES // max(len(table.classes), 1)))
    samples = [
        (
            name,
            [
                {
                    "id": id_,
                    "short": formatting.shorten(id_, 40),
                    "uri": images.data_uri(pixels, 160),
                }
                for id_, pixels in content.samples[name][:per_class]
            ],
        )
        for name in table.classes
        if content.samples.get(name)
    ]
    return {"data_sentence": _data_sentence(table), "sizes": _sizes(table), "samples": samples}


def _data_sentence(table: ImageTable) -> str:
    counts = np.bincount(table.labels[table.labels >= 0], minlength=len(table.classes))
    most, least = int(np.argmax(counts)), int(np.argmin(counts))
    text = f"{_in_groups(table)}. "
    if counts[most] == counts[least]:
        text += "All classes are of equal size"
    else:
        text += (
            f"The largest class, {table.classes[most]}, holds "
            f"{formatting.percent(counts[most] / max(counts.sum(), 1))} of them"
        )
        if counts[least]:
            text += f", {counts[most] / counts[least]:.1f} times as many as {table.classes[least]}"
    unlabelled = int((table.labels < 0).sum())
    if unlabelled:
        text += f". {formatting.plural(unlabelled, 'image has', 'images have')} no label"
    return text + "."


def _sizes(table: ImageTable) -> dict[str, object]:
    present = [split for split in ("train", "val", "test", "") if (table.splits == split).any()]
    rows = []
    for index, name in [*enumerate(table.classes), (None, "all")]:
        of_class = np.full(len(table), True) if index is None else table.labels == index
        parts = [of_class & (table.splits == split) for split in present] + [of_class]
        cells = [
            {"images": int(part.sum()), "groups": len(np.unique(table.groups[part]))}
            for part in parts
        ]
        rows.append({"name": name, "cells": cells})
    grouped = len(np.unique(table.groups)) < len(table)
    return {"splits": [split or "not said" for split in present], "rows": rows, "grouped": grouped}
