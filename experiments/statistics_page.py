"""docs/results/statistics.md from the simulated cells: what should be beside what was measured."""

from __future__ import annotations

import fnmatch
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medgraft.evaluate.metrics import BINARY, COMMON
from medgraft.files import written_file
from page import lines
from proof.cell import Cell, Figure
from proof.grades import NAMES as GRADES

HEAD = """# Do the numbers promise what comes true?

Written by `make prove-statistics` ({minutes:.0f} core minutes on 2 cores) from
experiments/results/statistics.json; do not edit. Data were made up whose truth is known, thousands
of times, and medgraft's own code was asked for its figures. Each figure stands beside what it
should be, with the simulation's own standard error (±). What lies outside its bounds is **bold**,
and a sentence below the table says why. All bounds were fixed in the code (experiments/proof/)
before the first run; of the ECE's one was mended after, which took a true error of 1e-16 for more
than 0. {done} of {all} cells are done{older}.
"""


@dataclass(frozen=True, slots=True)
class Table:
    """One table: which figures of a question, by name, and how they are written.

    style : percent, signed, spread (with the quartiles of the runs), or count.
    """

    question: str
    title: str
    columns: Mapping[str, str]
    style: str


@dataclass(frozen=True, slots=True)
class Section:
    """A question in words, and its tables."""

    title: str
    text: str
    tables: tuple[Table, ...]


METRICS = (*COMMON, *BINARY)
SHORT = {
    "balanced_accuracy": "bal. acc.", "macro_f1": "F1", "log_loss": "log loss",
    "sensitivity": "sens.", "specificity": "spec.",
}  # fmt: skip
USED = {
    "log loss deployed": "log loss deployed / attainable",
    "slope deployed": "slope, deployed (quartiles)",
    "balanced accuracy lost": "balanced accuracy lost",
}
SECTIONS = (
    Section(
        "Does an interval of 95 % hold the truth in 95 of 100 data sets?",
        "Calibrated probabilities of images that are independent (1 a patient) or come from "
        "patients of 3, 10 or 30 images on average, which share their class and half of the "
        "noise. From 150 images and 30 patients on, 93 to 97 % is asked for (91 to 98 where "
        "patients repeat), below that 90 %; more than that is allowed where fewer than 10 mistakes "
        "of a kind are expected.",
        (
            Table(
                "intervals",
                "Coverage, in %",
                {f"{m} covers": SHORT.get(m, m) for m in (*METRICS, "slope", "intercept")},
                "percent",
            ),
            Table(
                "intervals",
                "Mean error of the value itself",
                {f"{m} bias": SHORT.get(m, m) for m in METRICS},
                "signed",
            ),
        ),
    ),
    Section(
        "Is what cross-validation promises of a head what its models do?",
        "Made-up codes of 50 features, heads with their strength chosen inside, five folds; the "
        "truth is measured on 3,000 new images in every run. *Out of fold* is held against the "
        "models that judged, *deployed* is the model that is used; log losses are divided by that "
        "of the best recalibration of the same scores; a slope of 1 means probabilities that are "
        "neither too bold nor too shy.",
        (
            Table(
                "heads",
                "Ranking",
                {
                    "AUROC of the judging models": "true AUROC",
                    "AUROC out of fold": "out of fold − true",
                    "AUROC against deployed": "out of fold − deployed",
                },
                "signed",
            ),
            Table("heads", "Coverage, in %", {"AUROC covers": "AUROC's interval"}, "percent"),
            Table(
                "heads",
                "Probabilities and decisions",
                {"log loss out of fold": "log loss out of fold / attainable", **USED},
                "spread",
            ),
        ),
    ),
    Section(
        "Does anything of a fold's own labels reach what is said of it?",
        "The labels of one fold are drawn anew and everything is learned again: the out-of-fold "
        "probabilities of its own images must stay (those of the others, which learned from it, "
        "move).",
        (
            Table(
                "leaks",
                "The largest change of a probability",
                {"moved by its own labels": "in the fold", "others moved": "in the others"},
                "signed",
            ),
        ),
    ),
    Section(
        "Does a stack promise more than it keeps?",
        "Heads with features of their own, stacked, that know nothing of the class or a little. "
        "Held against the stacks that judged, and the deployed one, which learned from a "
        "quarter more images.",
        (
            Table(
                "stacks",
                "Ranking",
                {
                    "AUROC out of fold, itself": "AUROC out of fold",
                    "AUROC of the judging models": "true, judging",
                    "AUROC of the deployed model": "true, deployed",
                    "AUROC out of fold": "out of fold − judging",
                    "AUROC against deployed": "out of fold − deployed",
                },
                "signed",
            ),
            Table("stacks", "Coverage, in %", {"AUROC covers": "AUROC's interval"}, "percent"),
            Table("stacks", "Probabilities and decisions", USED, "spread"),
        ),
    ),
    Section(
        "Does a model that was chosen in changed views fit images as they come?",
        "The views move every image towards one class and add noise; the deployed model is judged "
        "on unchanged new images. The intercept is what its log odds lack on the whole.",
        (
            Table(
                "views",
                "Probabilities and decisions",
                {**USED, "intercept deployed": "intercept"},
                "spread",
            ),
        ),
    ),
    Section(
        "Does a card or a finding warn where there is nothing?",
        "Each check in a world where a warning is false, and in one where it is due (*seen*). "
        "*Should be*: the rate that the check states for itself, where one is stated for all.",
        (
            Table(
                "cards",
                "Warnings, in %",
                {"false alarms": "false alarms", "seen": "seen when due"},
                "percent",
            ),
        ),
    ),
    Section(
        "Does a test cry wolf?",
        "Scenarios of the same true AUROC, .92, whose noise is shared by rho. A p below .05 is "
        "then a false alarm, wanted in 5 of 100 data sets at most. *Sees*: how often .95 is told "
        "from .92.",
        (
            Table(
                "pairs",
                "Two scenarios, in %",
                {
                    "p below .05": "false alarms",
                    "interval covers 0": "interval covers",
                    "sees .95 against .92": "sees",
                },
                "percent",
            ),
            Table("many", "Many, false alarms in %", {"false alarm": "false alarms"}, "percent"),
            Table("many", "Mean difference of equals", {"difference": "difference"}, "signed"),
        ),
    ),
    Section(
        "Is the winner as good as the corrected figure says?",
        "Twenty scenarios, of which a study recommends one by their out-of-fold AUROC.",
        (
            Table(
                "winner",
                "Mean error of the figure",
                {
                    "bias of the winner's own figure": "its own",
                    "bias of the corrected figure": "corrected",
                    "width": "width of the interval",
                    "lost by the choice": "true AUROC lost against the best",
                },
                "signed",
            ),
            Table(
                "winner",
                "In %",
                {
                    "corrected covers": "corrected interval covers",
                    "false alarm": "an equal one called worse",
                },
                "percent",
            ),
        ),
    ),
    Section(
        "What is said where nothing can be computed?",
        "Intervals that are nan, have no width or are [1, 1], of all metrics and of the corrected "
        "figure, and comparisons whose interval or p makes no sense: none is allowed.",
        (
            Table(
                "fallbacks",
                "How many, of each draw",
                {"intervals": "intervals", "comparisons": "comparisons"},
                "count",
            ),
        ),
    ),
    Section(
        "Do prediction sets hold the true class as often as they promise?",
        "Sets that may miss a tenth of each class (docs/sets.md): of each at least 90 % is asked "
        "for, less a point, and at most what one patient more or less makes. *From scores*: an "
        "easy class and a hard one (30 % of patients), whose laws are known, beside one threshold "
        "for all images. The others: the sets of the deployed head on 3,000 new images.",
        (
            Table(
                "sets",
                "Coverage, in %",
                {
                    **{f"class {k}": f"class {k + 1}" for k in range(8)},
                    "worst": "worst class of a data set",
                    "marginal, class 0": "one threshold: class 1",
                    "marginal, class 1": "class 2",
                },
                "percent",
            ),
        ),
    ),
    Section(
        "Do intervals of grades hold the truth in 95 of 100 data sets?",
        "Five grades, the rarest one image in twenty, by a classifier whose noise is 0.6 grades "
        "(good) or 1.6 (poor), half of it shared by a patient's images. Kappa is the quadratic "
        "weighted one, errors are in grades. The bounds are those of the first question. In a "
        "first run every grade had two patients at least, which moves its share away from the "
        "truth's; the draw was mended, and not the bounds.",
        (
            Table(
                "grades", "Coverage, in %", {f"{name} covers": name for name in GRADES}, "percent"
            ),
            Table(
                "grades",
                "Mean error of the value itself",
                {f"{name} bias": name for name in GRADES},
                "signed",
            ),
        ),
    ),
)

NOT_PROVEN = """## What is not proven

- Real images: their codes are no normal clouds, and wards differ in ways that no fold shows.
- Trained networks (only their folds' arithmetic is that of heads), patients whose number of images
  depends on their illness, more than eight classes, and shares of a class below an eighth.
- The audit of the evidence, which has a proof of its own: [audit.md](audit.md).
"""

WHY: tuple[tuple[str, str, str], ...] = (
    (
        "grades *",
        "kappa bias",
        "What chance would agree on is reckoned from the same 30 to 50 patients, so that kappa "
        "comes out a little low; the interval covers.",
    ),
    ("grades *", "off by one covers", "Within the simulation's own error of the bound."),
    (
        "intervals * images 60 | a patient 10",
        "slope covers",
        "Of fewer than 10 groups no slope is stated; the card says so.",
    ),
    (
        "intervals * images 60 | a patient 10",
        "*",
        "Six patients: every interval says of itself that so few may cover less than stated, and "
        "ratios of so few (AUPRC, PPV, NPV) are biased as such.",
    ),
    (
        "intervals * images 150 | a patient 10",
        "slope covers",
        "Fewer than 30 patients: the interval says of itself that it may cover less than stated.",
    ),
    (
        "intervals * images [36]00 | a patient 30",
        "*",
        "Ten and twenty patients: the interval says of itself that it may cover less than stated.",
    ),
    (
        "intervals | classes 2 | AUROC 0.98 * a patient [13]0",
        "slope covers",
        "The slope hangs on the three to five patients whom the model mistakes, and where a sample "
        "has fewer of them its own spread does not show it. With t on n_groups - 1 degrees of "
        "freedom it covered 87 and 84.5 %.",
    ),
    (
        "intervals | classes 8 | AUROC 0.92 | images 150 | a patient 1",
        "*",
        "Within the simulation's own error of the bound.",
    ),
    (
        "intervals | classes 8 *",
        "auprc *",
        "Average precision is biased upwards where a class has few images (37 of each here), and "
        "its interval is centred on the biased value.",
    ),
    (
        "intervals | classes 8 *",
        "* bias",
        "A ratio of few images of each class; the interval covers.",
    ),
    (
        "intervals | classes 2 too sure *",
        "ece covers",
        "The bootstrap adds its own noise to an error that cannot be below 0, so the interval is "
        "too wide; the ECE is shown and is no verdict.",
    ),
    (
        "heads | head logistic * images 60 | a patient 3",
        "slope deployed",
        "In a few runs nothing was learned: the deployed probabilities are nearly constant, the "
        "slope that would mend them has no upper end, and neither has its mean.",
    ),
    (
        "heads | head logistic * images 150 | a patient 10",
        "slope deployed",
        "As above: fifteen patients.",
    ),
    (
        "heads | head lda *",
        "slope deployed",
        "Too moderate: the calibrator is fitted on scores of models of four fifths of the images, "
        "which separate a little worse than the deployed one. The log loss is within 5 % of the "
        "best recalibration all the same.",
    ),
    (
        "heads | head svm | classes 8 | images 300 *",
        "slope deployed",
        "As of LDA, and within the simulation's own error of the bound.",
    ),
    ("heads * classes 8 *", "AUROC covers", "Within the simulation's own error of the bound."),
    ("heads | head knn *", "AUROC covers", "Within the simulation's own error of the bound."),
    (
        "heads | head logistic | classes 8 | *",
        "*",
        "Models of a fold have four fifths of few patients (three to ten images each, eight "
        "classes), and the deployed one has them all: what is promised is a little low.",
    ),
    (
        "stacks * know nothing *",
        "AUROC covers",
        "The interval is of the images, not of what the folds' models would be with others, and "
        "where nothing can be learned the AUROC hangs on these as well (Bengio and Grandvalet "
        "2004). That this is all of it was not shown.",
    ),
    (
        "stacks * know a little *",
        "*",
        "Within the simulation's own error of the bound.",
    ),
    (
        "cards | check class shares *",
        "false alarms",
        "Within the simulation's own error of the bound.",
    ),
    (
        "pairs * a patient 10 *",
        "interval covers 0",
        "Thirty patients: the degrees of freedom of so few make it a little wide.",
    ),
    (
        "winner * know nothing *",
        "corrected covers",
        "Here every image has the same probability: the AUROC is .5 in every run, and the setting "
        "shows nothing.",
    ),
    (
        "winner *",
        "corrected covers",
        "The interval adds the luck of the choice to that of the images: a little wide.",
    ),
    (
        "winner * a patient 10",
        "bias of the corrected figure",
        "Of thirty patients too much is taken off: .033 was too much, .012 is now missing.",
    ),
)
"""Why figures are out of bounds: (pattern of the cell's name, of the figure's, a sentence)."""


def write_page(
    cells: Sequence[Cell],
    found: Mapping[str, Mapping[str, Figure]],
    seconds: float,
    older: int,
    root: Path,
) -> None:
    """Write the page from what was simulated so far.

    older : how many of these were by rules of intervals and tests that are others today.
    """
    words = (
        f", {older} of them\nby rules of intervals that were changed a little since (decision 0049)"
    )
    head = HEAD.format(
        minutes=seconds / 60, done=len(found), all=len(cells), older=words if older else ""
    )
    parts = [head, "## In short\n"]
    done = [cell for cell in cells if cell.name in found]
    parts += _short(done, found)
    for section in SECTIONS:
        own = {table.question for table in section.tables}
        mine = [cell for cell in done if cell.question in own]
        parts += [f"## {section.title}\n", textwrap.fill(section.text, 100) + "\n"]
        for table in section.tables:
            parts += _table(table, [c for c in mine if c.question == table.question], found)
        parts += _reasons(mine, found)
    parts += [NOT_PROVEN]
    with written_file(root / "docs" / "results" / "statistics.md") as path:
        path.write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")


def _short(done: Sequence[Cell], found: Mapping[str, Mapping[str, Figure]]) -> list[str]:
    """A line a question: how many figures, how many within their bounds."""
    rows = []
    for section in SECTIONS:
        own = {table.question for table in section.tables}
        mine = [cell for cell in done if cell.question in own]
        figures = sum(len(cell.bounds) for cell in mine)
        off = sum(len(cell.outside(found[cell.name])) for cell in mine)
        runs = sum(max((f.runs for f in found[cell.name].values()), default=0) for cell in mine)
        rows.append([section.title, f"{len(mine)}", f"{runs:,}", f"{figures - off} of {figures}"])
    return lines(["question", "settings", "data sets", "figures within their bounds"], rows)


def _table(
    table: Table, cells: Sequence[Cell], found: Mapping[str, Mapping[str, Figure]]
) -> list[str]:
    columns = [name for name in table.columns if any(name in found[cell.name] for cell in cells)]
    if not columns:
        return []
    rows = []
    for cell in cells:
        figures = found[cell.name]
        if not any(name in figures for name in columns):
            continue
        out = cell.outside(figures)
        shown = [
            _written(figures[name], table.style, name in out) if name in figures else ""
            for name in columns
        ]
        rows.append([*cell.setting.values(), f"{max(f.runs for f in figures.values()):,}", *shown])
    nominal = [_nominal(name, cells, table.style) for name in columns]
    empty = [""] * len(cells[0].setting)
    head = [*cells[0].setting, "runs", *(table.columns[name] for name in columns)]
    return [f"### {table.title}\n", *lines(head, [[*empty, "should be", *nominal], *rows])]


def _written(one: Figure, style: str, off: bool) -> str:
    if not math.isfinite(one.value):
        return "**undefined**" if off else "—"
    if style == "percent":
        text = f"{100 * one.value:.1f} ± {100 * one.error:.1f}"
    elif style == "signed":
        text = f"{one.value:+.4f} ± {one.error:.4f}"
    elif style == "count":
        text = f"{one.value:g}"
    else:
        text = f"{one.value:.3f} ± {one.error:.3f} ({one.lower:.2f} to {one.upper:.2f})"
    return f"**{text}**" if off else text


def _nominal(name: str, cells: Sequence[Cell], style: str) -> str:
    found = {cell.bounds[name].nominal for cell in cells if name in cell.bounds}
    if len(found) != 1:
        return ""
    value = found.pop()
    return f"{100 * value:g}" if style == "percent" else f"{value:g}"


def _reasons(cells: Sequence[Cell], found: Mapping[str, Mapping[str, Figure]]) -> list[str]:
    """What is out of bounds, figure by figure, the reason first."""
    by_reason: dict[str, dict[str, list[str]]] = {}
    for cell in cells:
        for name in cell.outside(found[cell.name]):
            by_reason.setdefault(reason(cell.name, name), {}).setdefault(name, []).append(cell.name)
    if not by_reason:
        return ["Nothing is out of bounds.\n"] if cells else []
    made = ["Out of bounds:\n"]
    for why, figures in by_reason.items():
        named = ", ".join(f"{name} ({len(where)})" for name, where in figures.items())
        made.append(f"- {why} Figures and in how many settings: {named}.")
    return [*made, ""]


def reason(cell: str, figure: str) -> str:
    """The sentence that says why a figure is out of bounds."""
    for where, what, sentence in WHY:
        if fnmatch.fnmatch(cell, where) and fnmatch.fnmatch(figure, what):
            return sentence
    return "Not explained."
