"""What CLAIM 2024 and TRIPOD+AI ask of a paper, item by item: what a study answers, and what not.

The items are put in our own short words, with the numbers of Tejani et al. (2024) and Collins et
al. (2024), whose wording counts. Answers are of this study; what it cannot know its authors add.

Held to sources in November 2026: TRIPOD+AI item by item to its published text (PMC11019967); of
CLAIM 2024 numbers and headings of all 44 items to a list that others took from the article
(PMC11304031), which itself was not at hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from medgraft.report.text import formatting
from medgraft.results.study import ReportInput
from medgraft.scenario import Finetune

Status = Literal["answered", "in part", "to write"]


@dataclass(frozen=True, slots=True)
class Item:
    """One item: its number, what is asked, the answer or '', its place on the page, what to add."""

    number: str
    asked: str
    answer: str
    link: str
    add: str

    @property
    def status(self) -> Status:
        """Whether the authors have something to add."""
        if not self.answer:
            return "to write"
        return "in part" if self.add else "answered"


# (number, what is asked, key of the answer or '', what the authors add or '')
Row = tuple[str, str, str, str]
CLAIM: tuple[Row, ...] = (
    ("1", "Title or abstract names the kind of AI", "", "say so, such as transfer learning"),
    ("2", "Structured abstract", "", "write it; the figures stand in Results"),
    ("3", "Background, intended use and clinical role", "", "write it"),
    ("4", "Aims and hypotheses", "", "write them"),
    ("5", "Prospective or retrospective", "", "say which"),
    ("6", "Goal of the study", "", "such as feasibility or a first model"),
    ("7", "Sources of the data", "source", "institutions, dates, licence or approval"),
    ("8", "Inclusion and exclusion", "skipped", "criteria by which patients came in"),
    ("9", "Preprocessing", "pixels", ""),
    ("10", "Choice of subsets of the data", "", "what was left out before"),
    ("11", "De-identification", "", "how it was done at the source"),
    ("12", "Missing data", "missing", ""),
    ("13", "How images were acquired", "", "devices, settings, protocols"),
    ("14", "Definition of the reference standard", "", "what a label means"),
    ("15", "Why this reference standard", "", "and its known errors"),
    ("16", "Who annotated", "", "how many readers, of what training"),
    ("17", "Annotation of the test set", "", "whether it was labelled otherwise"),
    ("18", "Variability between and within readers", "labels", "agreement, if several read"),
    ("19", "How images were dealt to parts", "split", ""),
    ("20", "Level at which parts are disjoint", "level", "whether groups are patients"),
    ("21", "Intended size of the sample", "size", "how it was planned"),
    ("22", "Description of the model", "model", ""),
    ("23", "Software and its versions", "software", ""),
    ("24", "How parameters were initialised", "weights", ""),
    ("25", "How the model was trained", "training", ""),
    ("26", "How the final model was chosen", "choice", ""),
    ("27", "Ensembles", "ensemble", ""),
    ("28", "Metrics", "metrics", "why these suit the clinical task"),
    ("29", "Uncertainty and tests", "uncertainty", ""),
    ("30", "Robustness", "robust", ""),
    ("31", "Explanations", "evidence", ""),
    ("32", "Evaluation on internal data", "internal", ""),
    ("33", "Test on external data", "", "one, by medgraft evaluate RUN ELSEWHERE"),
    ("34", "Registration of the trial", "", "number, or that there is none"),
    ("35", "Numbers included and excluded", "flow", "those excluded before"),
    ("36", "Who is in each part", "parts", "age, sex, severity in each part"),
    ("37", "Performance with its uncertainty", "results", ""),
    ("38", "Diagnostic accuracy with its precision", "accuracy", ""),
    ("39", "Analysis of failures", "failures", "what a clinician sees in them"),
    ("40", "Limitations", "", "write them; the checks of the data are a start"),
    ("41", "What it means for practice", "", "write it"),
    ("42", "Protocol and further details", "repeat", "where a protocol lies"),
    ("43", "Software, model and data available", "code", "where, or why not"),
    ("44", "Funding and its role", "", "write it"),
)
TRIPOD: tuple[Row, ...] = (
    ("1", "Title names a prediction model, its aim and outcome", "", "write it"),
    ("2", "Abstract by TRIPOD+AI for abstracts", "", "write it"),
    ("3a", "Health context and why a model", "", "write it"),
    ("3b", "Target population and intended users", "", "write it"),
    ("3c", "Known inequalities between groups", "", "write it"),
    ("4", "Aims: development, evaluation or both", "", "both; write it"),
    ("5a", "Sources of the data and how they stand for users", "source", "why these data"),
    ("5b", "Dates of the data", "", "first and last examination"),
    ("6a", "Setting, number and place of centres", "sites", "where, and of what kind"),
    ("6b", "Eligibility", "skipped", "criteria by which patients came in"),
    ("6c", "Treatments received", "", "where they matter"),
    ("7", "Preparation and quality checks of the data", "prepared", "whether alike for all groups"),
    ("8a", "Outcome, how and when it was assessed", "outcome", "what a class means, and why it"),
    ("8b", "Who assessed the outcome", "", "training, and what they saw"),
    ("8c", "Blinding of the assessment", "", "say whether"),
    ("9a", "Choice of predictors", "predictors", ""),
    ("9b", "Definition of predictors", "pixels", "how images were acquired"),
    ("9c", "Who assessed predictors that need judgement", "judgement", ""),
    ("10", "Size of the sample", "size", "how it was planned"),
    ("11", "Missing data", "missing", ""),
    ("12a", "How data were used and divided", "split", ""),
    ("12b", "How predictors entered the model", "model", ""),
    ("12c", "Kind of model, tuning, internal validation", "choice", ""),
    ("12d", "Differences between centres", "sites", ""),
    ("12e", "Measures and plots of performance", "metrics", ""),
    ("12f", "Updating of the model", "calibrated", ""),
    ("12g", "How predictions were computed for evaluation", "internal", ""),
    ("13", "Imbalance of classes", "balance", ""),
    ("14", "Fairness", "fairness", "which groups matter, and why"),
    ("15", "Output of the model, thresholds", "threshold", ""),
    ("16", "Differences of training and evaluation data", "shift", ""),
    ("17", "Ethical approval", "", "committee, consent"),
    ("18a", "Funding", "", "write it"),
    ("18b", "Conflicts of interest", "", "write them"),
    ("18c", "Protocol", "", "where it lies, or that there is none"),
    ("18d", "Registration", "", "number, or that there is none"),
    ("18e", "Data available", "data", "where, or why not"),
    ("18f", "Code available", "code", ""),
    ("19", "Patients and the public involved", "", "how, or that they were not"),
    ("20a", "Flow of participants", "flow", "those excluded before"),
    ("20b", "Characteristics of participants", "parts", "age, sex, severity"),
    ("20c", "Development and evaluation data compared", "shift", ""),
    ("21", "Participants and outcomes in each analysis", "parts", ""),
    ("22", "The full model", "specification", "whether others may have it"),
    ("23a", "Performance with intervals, in key groups too", "results", ""),
    ("23b", "Differences of performance between centres", "sites", ""),
    ("24", "Results of updating", "updated", ""),
    ("25", "Interpretation, fairness included", "", "write it"),
    ("26", "Limitations", "", "write them"),
    ("27a", "Input of poor quality or missing in use", "unlike", ""),
    ("27b", "What users must do and know", "", "write it"),
    ("27c", "Next steps", "", "write them"),
)


def claim(content: ReportInput) -> tuple[Item, ...]:
    """The 44 items of CLAIM 2024 (Tejani et al. 2024)."""
    return _filled(CLAIM, content)


def tripod(content: ReportInput) -> tuple[Item, ...]:
    """The 27 items of TRIPOD+AI with their parts (Collins et al. 2024)."""
    return _filled(TRIPOD, content)


def counted(items: tuple[Item, ...]) -> str:
    """How many items are answered, in part, and still to be written."""
    n = {status: sum(item.status == status for item in items) for status in STATUSES}
    return f"{n['answered']} answered here, {n['in part']} in part, {n['to write']} to be written."


STATUSES: tuple[Status, ...] = ("answered", "in part", "to write")
NOT_DONE = "this study did not do it; say so, or why it does not apply"


def _filled(rows: tuple[Row, ...], content: ReportInput) -> tuple[Item, ...]:
    answers, items = _answers(content), []
    for number, asked, key, add in rows:
        answer, link = answers.get(key, ("", ""))
        items.append(Item(number, asked, answer, link, add if answer or add else NOT_DONE))
    return tuple(items)


# --------------------------------------------------------------------------- what the study answers


def _answers(content: ReportInput) -> Mapping[str, tuple[str, str]]:
    """For each key, the answer in a sentence and the part of the report that shows it."""
    return {
        key: (text, link)
        for found in (_of_data(content), _of_model(content), _of_figures(content))
        for key, (text, link) in found.items()
        if text
    }


def _of_data(content: ReportInput) -> dict[str, tuple[str, str]]:
    result, table = content.result, content.result.table
    grouped = len(np.unique(table.groups)) < len(table)
    n_sites = len(result.by_site.figures) if result.by_site else 0
    how = content.how
    origin = "test as given with the data" if how.test_given else "test set aside at random"
    split = f"{origin if content.test_evaluation else 'no test'}; {how.n_folds} folds of the others"
    split += f" by seed {how.seed}"
    n_left = len(table.skipped)
    left = formatting.plural(n_left, "image was", "images were") if n_left else "no image was"
    return {
        "source": (formatting.images_of_groups(len(table), len(np.unique(table.groups))), "data"),
        "skipped": (f"{left} left out after reading", "data"),
        "flow": (f"{formatting.count(len(table))} studied; {left} left out", "data"),
        "missing": ("no value is filled in: unlabelled and unreadable images are named", "data"),
        "parts": ("images and groups by class and part", "data"),
        "split": (split, "data"),
        "level": (f"groups (--group '{table.grouping.rule}')" if grouped else "images", "data"),
        "labels": ("labels that may be wrong are looked for and listed", "findings"),
        "size": ("a learning curve says what twice the images would bring"
                 if result.learning_curve else "", "why"),
        "sites": (f"figures at each of {formatting.plural(n_sites, 'site')}" if n_sites else "",
                  "sites"),
        "outcome": (f"the classes {formatting.join(table.classes)}", "data"),
        "predictors": ("the image alone", "why"),
        "judgement": ("no person reads: the network reads the image", "why"),
        "balance": (_balance(content), "data"),
        "shift": ("how far the parts differ is among the checks of the data"
                  if len(table.test) else "", "findings"),
        "fairness": (_subgroups(content), "subgroups"),
        "data": (f"fingerprint {(content.how.fingerprint or table.fingerprint)[:16]}", "repeat"),
    }  # fmt: skip


def _of_model(content: ReportInput) -> dict[str, tuple[str, str]]:
    result, recipe = content.result, content.recipe
    trained = recipe.scenario.trained
    several = recipe.networks > 1 or bool(recipe.members)
    versions = formatting.join(f"{name} {one}" for name, one in content.how.versions.items())
    sources = formatting.join(f"{card.id}: {card.source}" for card in content.how.backbones)
    return {
        "pixels": (resized := f"resized to {recipe.size} pixels by {recipe.scenario.pixels.resize}",
                   "why"),
        "prepared": (f"{resized}; copies, leaks and doubtful labels are looked for", "findings"),
        "model": (f"in words and in full; its key is {recipe.scenario.key}", "why"),
        "specification": ("the classifier is saved whole beside the report (model/)", "why"),
        "software": (f"computed with {versions}", "repeat"),
        "weights": (f"pretrained ({sources})", "repeat"),
        "training": ("losses of every epoch and the recipe" if trained
                     else "the network is not trained; heads are fitted", "training" if trained
                     else "why"),
        "choice": (f"{len(content.scenarios)} scenarios compared out of fold by "
                   f"{formatting.name_metric(result.metric)}; the rule and its cost", "why"),
        "ensemble": ("the joined classifiers and their weights" if several else "no ensemble",
                     "why"),
        "calibrated": ("probabilities are calibrated out of fold; no updating after", "exactly"),
        "updated": ("the model was not updated", "exactly"),
        "repeat": ("command, seed, versions, times", "repeat"),
        "code": (f"by medgraft {content.how.versions.get('medgraft', '')}, Apache-2.0", "repeat"),
    }  # fmt: skip


def _of_figures(content: ReportInput) -> dict[str, tuple[str, str]]:
    result, judged = content.result, content.judged
    metric = result.metric
    figure = judged.estimates[metric]
    led = f"{formatting.name_metric(metric)} {formatting.value(metric, figure.value)}"
    found = judged.estimates.get("sensitivity")
    where = "test images" if content.test_evaluation else "images out of fold"
    at = judged.operating
    robust = ["what the surface of the images alone tells"] if result.lower_end else []
    robust += ["changed views"] if content.changed else []
    evidence = ["heatmaps of right and wrong cases"] if content.cases else []
    if result.audit:
        evidence.append(f"regions exchanged between images, verdict {result.audit.verdict}")
    threshold = f"probabilities; threshold {formatting.number(at.threshold)}" if at else (
        "probabilities; the most probable class is the label"
    )  # fmt: skip
    return {
        "metrics": (formatting.join(formatting.name_metric(one) for one in judged.estimates),
                    "exactly"),
        "uncertainty": ("95 % intervals of every figure, tests paired and corrected", "tried"),
        "robust": ("; ".join(robust), "believe"),
        "evidence": ("; ".join(evidence), "looks"),
        "internal": (f"{formatting.count(judged.n_images)} {where}", "exactly"),
        "results": (f"{led} ({formatting.interval(metric, figure)}), and more", "exactly"),
        "accuracy": (f"sensitivity {formatting.interval('sensitivity', found)}, and more"
                     if found else "by class in the table of counts", "exactly"),
        "failures": ("right and wrong cases of each class with their maps" if content.cases else "",
                     "looks"),
        "threshold": (threshold, "exactly"),
        "unlike": ("images unlike those learned from are told apart" if result.unlike else "",
                   "unsure"),
    }  # fmt: skip


def _balance(content: ReportInput) -> str:
    """How classes of unequal size were dealt with in what is recommended."""
    classifier = content.recipe.scenario.classifier
    balance = classifier.recipe.balance if isinstance(classifier, Finetune) else "loss"
    if balance == "sampler":
        return "every class was drawn as often as the others while the network was trained"
    if balance == "none":
        return "classes weigh as they are frequent; none was resampled"
    return "every class weighs the same in what is fitted; none was resampled"


def _subgroups(content: ReportInput) -> str:
    columns = [one.column for one in content.result.subgroups]
    return f"figures by {formatting.join(columns)}, tests corrected" if columns else ""
