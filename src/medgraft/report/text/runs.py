"""Runs in words: a line of a list, the facts of one, and what two say beside each other."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from medgraft.errors import ScenarioError
from medgraft.evaluate.metrics import METRICS
from medgraft.report.text import formatting
from medgraft.report.text.scenario_names import short_names
from medgraft.results.runs import Change, NotPaired, PairedFigure, Part, Run, RunComparison
from medgraft.scenario import Scenario
from medgraft.types import Estimate

LEVEL = 0.05  # of p, below which two runs are told apart
KINDS = {
    "study": "study",
    "panel": "several findings",
    "scenario": "one scenario",
    "evaluation": "evaluation",
    "audit": "audit",
    "adapted": "adapted model",
}
PARTS: dict[Part, str] = {"validation": "out of fold", "test": "test"}
FIGURES = (*PARTS.values(), formatting.CORRECTED)
CHANGES = {"data": "Data", "options": "Options", "weights": "Weights", "versions": "Versions"}
NOT_PAIRED: dict[NotPaired, str] = {
    "kind": "only studies and single scenarios keep what was said of each image",
    "unfinished": "one of them is not finished, or its predictions.parquet is gone",
    "classes": "their classes are not the same",
    "positive class": "their positive class is not the same; pass --positive to a new study",
    "no images": "no image judged by one was judged in the same way by the other",
    "one run": "both names are of the same run",
    "few patients": "too few patients of a class are in both",
}


# --------------------------------------------------------------------------- one run


def when(run: Run) -> str:
    """Day and time of its end, or of the last that is known of it, where the reader is."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(run.when)) if run.when else ""


def size(n: int) -> str:
    """Bytes as people say them.

    >>> size(870), size(21_359_136)
    ('0.9 kB', '21 MB')
    """
    for unit, one in (("GB", 1e9), ("MB", 1e6)):
        if n >= one:
            return f"{n / one:.0f} {unit}" if n >= 10 * one else f"{n / one:.1f} {unit}"
    return f"{n / 1e3:.0f} kB" if n >= 10_000 else f"{n / 1e3:.1f} kB"


def scenario(key: str) -> str:
    """A scenario in few words, its network included; the key where this version cannot read it.

    >>> scenario("probe/tf_efficientnet_lite0/stages/svm")
    'stages · svm (tf_efficientnet_lite0)'
    """
    try:
        common, names = short_names([Scenario.from_key(key)])
    except ScenarioError:
        return key
    return f"{names[key]} ({common})" if common and names.get(key) else key


def figure(metric: str, estimate: Estimate | None) -> str:
    """A figure with its interval, '' where there is none.

    >>> figure("auroc", Estimate(0.96, 0.951, 0.974, 624, "DeLong"))
    '0.960 (0.951–0.974)'
    """
    if estimate is None:
        return ""
    text = formatting.value(metric, estimate.value)
    return f"{text} ({formatting.interval(metric, estimate)})"


def data(run: Run) -> str:
    """What was studied: its name where the run kept it, images and classes."""
    facts = [run.data or run.fingerprint[:8]]
    if run.images:
        facts.append(formatting.images_of_groups(run.images, run.patients or run.images))
    return " · ".join(filter(None, facts))


def state(run: Run) -> str:
    """Its state, and why where there is something to say."""
    return f"{run.state}: {run.reason}" if run.reason else run.state


def named_figure(run: Run) -> Estimate | None:
    """Its figure without a test: corrected for the choice, or out of fold (`where`)."""
    return run.corrected or run.validation


def where(run: Run) -> str:
    """What `named_figure` is called."""
    return formatting.CORRECTED if run.corrected else PARTS["validation"]


HEADINGS = (
    "run", "state", "when", "kind", "data", "images", "scenario", "metric", "out of fold",
    formatting.CORRECTED, "test", "audit", "size",
)  # fmt: skip


def line(run: Run, name: str) -> tuple[str, ...]:
    """One run as a line under `HEADINGS`; `name` is what its folder is called."""
    return (
        name,
        run.state,
        when(run)[2:],
        KINDS[run.kind],
        run.data or run.fingerprint[:8],
        formatting.count(run.images) if run.images else "",
        scenario(run.scenario).partition(" (")[0],
        formatting.name_metric(run.metric) if run.scenario else "",
        figure(run.metric, run.validation),
        figure(run.metric, run.corrected),
        figure(run.metric, run.test),
        run.verdict,
        size(run.size),
    )


def lines(runs: Sequence[Run], names: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Headings and a line a run; what is empty or as usual in all of them is left out."""
    rows = [line(run, name) for run, name in zip(runs, names, strict=True)]
    usual = {"state": "finished", "metric": "AUROC"}
    kept = [
        i
        for i, heading in enumerate(HEADINGS)
        if {row[i] for row in rows} - {"", usual.get(heading, "")}
    ]
    metric = "" if "metric" in {HEADINGS[i] for i in kept} else "AUROC "
    headings = [f"{metric}{HEADINGS[i]}" if HEADINGS[i] in FIGURES else HEADINGS[i] for i in kept]
    return headings, [[row[i] for i in kept] for row in rows]


def facts(run: Run) -> list[tuple[str, str]]:
    """What a person asks first of one run: (name, value), without what is not known."""
    splits = ", ".join(f"{name or 'no split'} {n:,}" for name, n in run.splits.items())
    classes = ", ".join(
        f"{name} (positive)" if name == run.positive else name for name in run.classes
    )
    name = formatting.name_metric(run.metric)
    rows = [
        ("kind", KINDS[run.kind]),
        ("state", state(run)),
        ("when", when(run)),
        ("data", data(run)),
        ("splits", splits),
        ("classes", classes),
        ("fingerprint of the data", run.fingerprint),
        ("recommended" if run.kind == "study" else "scenario", scenario(run.scenario)),
        ("key", run.scenario),
        (f"{name} out of fold", figure(run.metric, run.validation)),
        (f"{name} {formatting.CORRECTED}", figure(run.metric, run.corrected)),
        (f"{name} on the test", figure(run.metric, run.test)),
        ("audit" if run.kind != "adapted" else "verdict", run.verdict),
        ("scenarios", f"{len(run.scenarios)}" if len(run.scenarios) > 1 else ""),
        ("seed", str(run.options.get("seed", ""))),
        ("command", run.command),
        ("took", formatting.duration(run.seconds) if run.seconds else ""),
        ("size", size(run.size)),
    ]
    return [(name, value) for name, value in rows if value]


def option(value: object) -> str:
    """A value of an option as one types it, '' where it is not set.

    >>> option(["svm", "knn"]), option(False), option(0.2), option(None)
    ('svm, knn', 'no', '0.2', '')
    """
    if value is None or value == "" or value == []:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(option(one) for one in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


# --------------------------------------------------------------------------- two runs


def headline(found: RunComparison) -> str:
    """What the two runs say beside each other, in one sentence; the test leads where there is one.

    Both runs are called A and B.
    """
    if found.not_paired == "one run":
        return "A and B are the same run"
    if found.not_paired:
        return f"A and B cannot be tested against each other: {NOT_PAIRED[found.not_paired]}"
    one = next((f for f in found.recommended if f.part == "test"), found.recommended[0])
    return verdict(one)


def verdict(one: PairedFigure) -> str:
    """What one paired figure says."""
    where = f"{formatting.count(one.a.n)} {'test images' if one.part == 'test' else 'images'}"
    if one.part == "validation":
        where += " judged out of fold"
    name = formatting.name_metric(one.metric)
    if one.same:
        return (
            f"A and B rank the {where} in the same way"
            if one.metric in ("auroc", "auprc")
            else (f"A and B give the same answers on the {where}")
        )
    if formatting.is_missing(one.comparison.difference):
        return f"{name} is not defined on the {where} that are in both"
    gap, span = one.comparison.difference, formatting.between(one.metric, one.comparison)
    said = (
        f"its {name} minus that of A is {formatting.difference(one.metric, gap)} (95 % interval "
        f"{span}, {formatting.p_value(one.comparison.p)})"
    )
    if one.comparison.p >= LEVEL:
        return f"the {where} in both do not tell B from A: {said}"
    return f"B does {'better' if better(one) else 'worse'} than A on the {where} in both: {said}"


def better(one: PairedFigure) -> bool:
    """Whether B's figure is the better one."""
    lower = METRICS[one.metric].lower_is_better
    return (one.comparison.difference < 0) if lower else one.comparison.difference > 0


def overlap(found: RunComparison) -> list[str]:
    """How the images of the two overlap, in sentences."""
    s = found.shared
    if not (s.images or s.only_a or s.only_b):
        return []
    count = formatting.count
    said = [
        f"{formatting.plural(s.images, 'image')} are in both runs by name: {count(s.validation)} "
        f"judged out of fold in both, {count(s.test)} in the test split of both."
    ]
    if s.only_a or s.only_b:
        said.append(f"{count(s.only_a)} are only in A, {count(s.only_b)} only in B.")
    if s.other_side:
        said.append(
            f"{count(s.other_side)} lie in the test split of one and not of the other; they are in "
            "no test."
        )
    if s.other_label:
        said.append(f"{count(s.other_label)} have another class in B; they are in no test.")
    if s.other_patients:
        said.append(
            f"Of {count(s.other_patients)} the patient is not the same in both; whoever is joined "
            "in either run counts as one patient."
        )
    if found.a.fingerprint == found.b.fingerprint != "":
        return ["Both are of the same images, labels, patients and splits."]
    return said


def cautions(found: RunComparison) -> list[str]:
    """What to know when reading the tests."""
    said = []
    if found.a.changed_views != found.b.changed_views:
        which = "A" if found.a.changed_views else "B"
        said.append(
            f"Out of fold, {which} was judged on changed views of the images and the other on the "
            "images as they are: that difference is not one of the models alone."
        )
    if found.a.metric != found.b.metric:
        names = " and B by ".join(formatting.name_metric(run.metric) for run in (found.a, found.b))
        said.append(f"A was chosen by {names}: both are tested.")
    validation = [one for one in found.recommended if one.part == "validation"]
    if any(one.discounted for one in validation):
        said.append(
            "Both were chosen by the images out of fold; that difference discounts it (in "
            "resamples both runs choose again and are judged on patients left out), so it is not "
            "that of the two figures."
        )
    several = any(len(run.scenarios) > 1 for run in (found.a, found.b))
    if several and any(not (one.discounted or one.same) for one in validation):
        said.append(
            "Out of fold, the difference does not discount that what is compared was chosen by "
            "these images: it may flatter either."
        )
    missing = [
        part
        for part, n in (("validation", found.shared.validation), ("test", found.shared.test))
        if n and not found.not_paired and part not in {one.part for one in found.recommended}
    ]
    where = {"validation": "judged out of fold", "test": "in the test split"}
    said += [
        f"Too few patients of a class are {where[one]} in both to test that." for one in missing
    ]
    return said


def p(one: PairedFigure) -> str:
    """Its p under a heading that says that it is one."""
    if one.same:
        return ""
    return formatting.p_value(one.comparison.p).removeprefix("p ").removeprefix("= ")


def gap(one: PairedFigure) -> str:
    """B minus A with its interval."""
    if one.same:
        return "the same"
    return (
        f"{formatting.difference(one.metric, one.comparison.difference)} "
        f"({formatting.between(one.metric, one.comparison)})"
    )


def told_apart(found: RunComparison) -> list[tuple[str, PairedFigure]]:
    """Scenarios of the same key whose figures are not the same, the surest difference first."""
    rows = [(key, one) for key, one in found.common.items() if not one.same]
    return sorted(rows, key=lambda row: row[1].comparison.p)


def common_sentence(found: RunComparison) -> str:
    """How many scenarios are in both, and how many answer differently; '' where none is."""
    n, other = len(found.common), len(told_apart(found))
    if not n:
        return ""
    apart = sum(one.comparison.p < LEVEL for _, one in told_apart(found))
    where = PARTS[next(iter(found.common.values())).part]
    text = f"{formatting.plural(n, 'scenario is', 'scenarios are')} in both runs"
    if not other:
        return f"{text}, and in both they say the same of every image."
    return (
        f"{text}; {count_of(other)} not the same in both, and {count_of(apart)} told apart "
        f"({where}, paired, p corrected for their number). That one was chosen is not discounted."
    )


def count_of(n: int) -> str:
    """A number with its verb: `1 is`, `3 are`, `none is`."""
    return "none is" if n == 0 else f"{formatting.count(n)} {'is' if n == 1 else 'are'}"


def measured(runs: Sequence[Run]) -> tuple[list[Part], list[str]]:
    """Where runs were judged, and by which metrics, in their order."""
    parts = [part for part in PARTS if any(run.figures.get(part) for run in runs)]
    found = (run.figures.get(part, {}) for run in runs for part in parts)
    return parts, list(dict.fromkeys(metric for figures in found for metric in figures))


def change(one: Change) -> tuple[str, str, str, str]:
    """What changed: sort, name, both values."""
    values = (option(value) or "—" for value in (one.a, one.b))
    return CHANGES[one.what], one.name.replace("_", " "), *values  # type: ignore[return-value]


def short_paths(runs: Sequence[Run], below: Path) -> list[str]:
    """What runs are called: their path from `below`, or whole where they lie elsewhere."""
    names = []
    for run in runs:
        path = Path(run.path)
        try:
            names.append(str(path.resolve().relative_to(below.resolve())))
        except ValueError:
            names.append(str(path))
    return names
