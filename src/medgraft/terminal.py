"""What a person sees in the terminal: progress bars, summaries, tables.

Answers go to stdout; progress and remarks to stderr, so that scripts read only answers. Nothing
is decided here, and nothing heavy is imported before something is drawn: `cli/` imports this
file to answer `--help`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from medgraft.bundle.audit_model import ModelAudit
    from medgraft.bundle.class_shares import ClassShares
    from medgraft.bundle.external_validation import ExternalValidation
    from medgraft.bundle.panel import PanelPrediction
    from medgraft.bundle.predict import Prediction
    from medgraft.features.extract import Extractor
    from medgraft.results.adaptation import Adaptation
    from medgraft.results.data import DataAudit
    from medgraft.results.evidence import RegionEffect
    from medgraft.results.panel import PanelResult
    from medgraft.results.runs import Run, RunComparison
    from medgraft.results.training import TrainedScenario
    from medgraft.runs.clean import Leftover
    from medgraft.studies.run import Study
    from medgraft.studies.single_scenario import SingleResult
    from medgraft.types import (
        BudgetUse,
        Estimate,
        Evaluation,
        ImageTable,
        Progress,
        SetFigures,
        Similarity,
        Skipped,
        StudyResult,
    )

SHOWN = 8  # scenarios in the summary of a study
PIPED = 1000  # columns of a table that a program reads


# --------------------------------------------------------------------------- while it works


def progress(quiet: bool) -> Progress:
    """Bars for a person who waits, or nothing where `quiet`."""
    from medgraft.types import Silent

    return Silent() if quiet else RichProgress()


class RichProgress:
    """Bars with the time left, on stderr, so that stdout stays for answers."""

    def __init__(self) -> None:
        self.console = _console(stderr=True)

    @contextmanager
    def task(self, description: str, total: int) -> Iterator[Callable[[int], None]]:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("·"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
        )
        with Progress(*columns, console=self.console) as bars:
            bar = bars.add_task(description, total=total)
            yield lambda steps: bars.advance(bar, steps)

    def say(self, text: str) -> None:
        self.console.print(text, markup=False)

    @contextmanager
    def budget(self) -> Iterator[Callable[[BudgetUse], None]]:
        from rich.live import Live
        from rich.text import Text

        with Live(Text(), console=self.console, refresh_per_second=4) as live:
            yield lambda use: live.update(_budget(use))
        if not self.console.is_terminal:  # where a table that was live leaves its line open
            self.console.print()


def _budget(use: BudgetUse) -> Table:
    """The steps of a budget: what they should take, what they took, what became of them."""
    from rich.table import Table

    from medgraft.report.text import budget
    from medgraft.report.text.formatting import duration

    begun = any(step.outcome != "planned" and step.seconds for step in use.steps)
    columns = ("took", "outcome") if begun else ("together", "why it is there")
    table = Table(
        title=f"Plan for {duration(use.seconds)}", box=None, header_style="bold",
        title_justify="left", padding=(0, 2, 0, 0),
    )  # fmt: skip
    table.add_column("", justify="right")
    table.add_column("step", overflow="fold")
    for name in ("scenarios", "predicted", columns[0]):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column(columns[1], overflow="fold")
    gone = budget.cumulated(use)
    for number, (words, step, why, outcome) in enumerate(budget.rows(use), start=1):
        waits = step.outcome == "planned"
        took = duration(step.seconds) if step.seconds and not waits else ""
        together = gone[number - 1]
        last = (took, outcome) if begun else ("" if together is None else duration(together), why)
        if not begun and outcome:
            last = ("", f"{outcome}: {why}")
        predicted = duration(step.predicted) if step.predicted else ""
        style = "" if waits or step.judged else "dim"
        table.add_row(f"{number}", words, f"{step.scenarios}", predicted, *last, style=style)
    end = "" if begun or gone[-1] is None else duration(gone[-1])
    table.add_row("", "comparison, audit, report", "", duration(use.finish), end, "")
    return table


def show_plan(use: BudgetUse, similarity: Similarity) -> None:
    """What a budget would be spent on."""
    from medgraft.report.text.similarity import sentence

    console = _console()
    console.print(_budget(use))
    if said := sentence(similarity):
        console.print(f"\n{said}", markup=False)
    console.print("\nNothing was run but what it took to predict this.", markup=False)


def say_table(table: ImageTable, progress: Progress) -> None:
    """What was read, in a few lines, before the work begins."""
    from medgraft.report.text.reading import reading_tree

    for line in reading_tree(table):
        progress.say(line)
    if table.positive is not None:
        progress.say(f"Positive class: {table.positive} (--positive CLASS to change)")
    for finding in table.findings:
        if finding.severity != "info":
            progress.say(f"{finding.severity}: {finding.text} {finding.remedy}".rstrip())


def show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """A warning as one plain line: where in the code it arose helps nobody at a terminal."""
    typer.echo(f"medgraft: warning: {' '.join(str(message).split())}", err=True)


# --------------------------------------------------------------------------- the answer


def show_study(study: Study, out: Path, extractor: Extractor) -> None:
    """The comparison, the recommendation, and where the report lies."""
    from medgraft.report.text import (
        budget,
        learning_curve,
        lower_end,
        recommendation,
        similarity,
        sites,
        subgroups,
        unlike,
    )
    from medgraft.report.text.scenario_names import short_names
    from medgraft.studies.training import trainings

    result = study.result
    common, names = short_names([entry.scenario for entry in study.planned])
    console = _console()
    console.print(_comparison(result, common, names))
    console.print(f"→ recommended: {result.recommended}", markup=False, soft_wrap=True)
    console.print(f"\n{recommendation.why(result.why, names)}\n", markup=False)
    if said := lower_end.sentence(result):
        console.print(f"{said}\n", markup=False)
    if said := sites.sentence(result):
        console.print(f"{said}\n", markup=False)
    if said := similarity.sentence(result.similarity):
        console.print(f"{said}\n", markup=False)
    if said := budget.sentence(result.budget, result.metric):
        console.print(f"{said}\n", markup=False)
    if (curve := result.learning_curve) is not None:
        name = names.get(curve.scenario, curve.scenario)
        said = learning_curve.sentence(curve, result.metric, result.recommended, name)
        console.print(f"{said}\n", markup=False)
    show_questions(result)
    show_training(trainings(study, extractor), names, changed=study.folds.view is not None)
    if study.tested is not None:
        show_evaluation(study.tested, "On the test split, looked at once")
    if result.sets:
        tested = "test" in result.sets
        where = "the test images" if tested else "the development images, out of fold,"
        show_sets(result.sets["test" if tested else "validation"], where)
    if result.unlike is not None:
        console.print(f"\n{unlike.sentence(result.unlike, 'the test images')}\n", markup=False)
    if result.subgroups:
        console.print(f"{subgroups.sentence(result.subgroups, result.metric)}\n", markup=False)
    for finding in result.findings:
        if finding.severity != "info":
            console.print(f"{finding.severity}: {finding.text}", markup=False)
    console.print(f"\nreport: {out / 'report.html'}", markup=False, soft_wrap=True)


def _comparison(result: StudyResult, common: str, names: Mapping[str, str]) -> Table:
    """The scenarios out of fold and on the test, best first; of many the first and the chosen."""
    from rich.table import Table

    from medgraft.evaluate.metrics import METRICS
    from medgraft.report.text.formatting import name_metric

    metric, name = result.metric, name_metric(result.metric)
    better = sorted(
        result.scenarios,
        key=lambda row: row.validation[metric].value,
        reverse=not METRICS[metric].lower_is_better,
    )  # reading order only: what is better stands in `recommended`
    keys = [row.key for row in better]
    shown = [i for i, key in enumerate(keys) if i < SHOWN or key == result.recommended]
    title = f"{len(keys)} scenarios{common and f' of {common}'}, best first"
    table = Table(
        title=_plain(title), box=None, header_style="bold", title_justify="left",
        padding=(0, 2, 0, 0),
    )  # fmt: skip
    table.add_column("", no_wrap=True)
    table.add_column("scenario", overflow="fold")
    table.add_column(f"{name} out of fold", justify="right", no_wrap=True)
    table.add_column("on the test", justify="right", no_wrap=True)
    for i in shown:
        row, chosen = better[i], keys[i] == result.recommended
        test = _figure(row.test[metric]) if row.test else "not measured"
        style = "bold" if chosen else ""
        mark = "→" if chosen else ""
        table.add_row(
            mark, _plain(names[keys[i]]), _figure(row.validation[metric]), test, style=style
        )
    if len(shown) < len(better):
        table.add_row("", f"… and {len(better) - len(shown)} more", "", "", style="dim")
    return table


def show_panel(result: PanelResult, out: Path) -> None:
    """Each finding's figures, what serves them, whose company they need, and where reports lie."""
    from rich.table import Table

    from medgraft.report.text import panel
    from medgraft.report.text.formatting import name_metric, sentence

    metric, console = result.metric, _console()
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("finding", overflow="fold")
    for heading in ("images with it", f"{name_metric(metric)} out of fold", "on the test"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", overflow="fold")
    for one in result.findings:
        test = _figure(one.test[metric]) if one.test and one.tested else "not measured"
        share = f"{one.n_with:,} of {one.n_images:,}"
        verdict = panel.verdict(one, result)
        table.add_row(_plain(one.name), share, _figure(one.validation[metric]), test, verdict)
    mean = {part: _figure(found[metric]) for part, found in result.macro.items()}
    table.add_row("mean", "", mean["validation"], mean.get("test", "not measured"), "")
    console.print(table)
    said = [
        *(f"not judged: {panel.short_sentence(one)}." for one in result.short),
        panel.scenario_sentence(result),
        *(f"WARN: {one}" for one in panel.company_sentences(result)),
        panel.seldom_alone(result),
        panel.uncertain_sentence(result),
        sentence(panel.headline(result)),
        f"What one rests on: medgraft audit {out / result.findings[0].folder} DATA --binarize "
        f"'{result.findings[0].name}'",
    ]
    for text in filter(None, said):
        console.print(f"\n{text}", markup=False)
    console.print(f"\nreport: {out / 'report.html'}", markup=False, soft_wrap=True)


def show_single(single: SingleResult, out: Path, extractor: Extractor) -> None:
    """What one scenario does on images not learned from, how it was trained, and where it lies."""
    from medgraft.results.training import DEPLOYED
    from medgraft.studies.training import trained_scenario

    crossed, scenario = single.crossed, single.crossed.fitted.scenario
    log, once = crossed.training, single.options.holdout_only
    title = "On the patients held out" if once else "Out of fold"
    show_evaluation(single.validation, title)
    if log is not None:
        shown = trained_scenario(scenario, log, extractor)
        show_training([shown], {}, changed=single.folds.view is not None)
        for name, run in log.histories.items():
            if name != DEPLOYED:
                typer.echo(
                    f"{name}: {len(run) - 1} epochs in "
                    f"{sum(epoch.seconds for epoch in run) / 60:.1f} minutes; ended because "
                    f"{run[-1].stopped}."
                )
    if once and single.options.cap:
        typer.echo(f"Cap: {single.options.cap:g} minutes of training.")
    if single.tested is not None:
        show_evaluation(single.tested, "On the test split, looked at once")
    show_skipped(single.table.skipped)
    typer.echo(f"written: {out}")


def show_training(
    trainings: Sequence[TrainedScenario], names: Mapping[str, str], *, changed: bool
) -> None:
    """From which layer networks were trained, how sure that is, and how they overfit."""
    from medgraft.report.sections.training import lines

    said = lines(trainings, names, changed=changed)
    for text in said:
        _console().print(text, markup=False)
    if said:
        _console().print()


def show_questions(result: StudyResult) -> None:
    """What the study answers for these images: does this way help, and does that family?"""
    from rich.table import Table

    from medgraft.report.text import second_network
    from medgraft.report.text.formatting import between, difference, name_metric, p_value
    from medgraft.report.text.questions import sentence

    if about := second_network.sentence(result.second):
        _console().print(_plain(about))
        _console().print()
    if not result.questions:
        return
    table = Table(
        title="What helped here (paired, out of fold; p corrected for their number)",
        box=None, header_style="bold", title_justify="left", padding=(0, 2, 0, 0),
    )  # fmt: skip
    table.add_column("question")
    table.add_column("answer", no_wrap=True)
    table.add_column(name_metric(result.metric), justify="right", no_wrap=True)
    table.add_column("p", justify="right", no_wrap=True)
    for one in result.questions:
        gap = difference(result.metric, one.comparison.difference)
        p = p_value(one.comparison.p).removeprefix("p ").removeprefix("= ")
        table.add_row(
            _plain(sentence(one)),
            _plain(one.answer),
            f"{gap}\n({between(result.metric, one.comparison)})",
            p,
            style="" if one.answer == "no difference seen" else "bold",
        )
    console = _console()
    console.print(table)
    console.print()


def show_findings(audit: DataAudit) -> None:
    """What a data audit found, the gravest first, each with what to do; info without pictures."""
    from rich.padding import Padding

    from medgraft.report.pages.data import name_finding
    from medgraft.report.text.reading import reading_tree

    console = _console()
    styles = {"severe": "bold red", "warn": "bold yellow", "info": "bold"}
    for line in reading_tree(audit.table):
        console.print(_plain(line))
    console.print()
    for one in audit.findings:
        title = f"{one.severity}  {name_finding(one.check)}"
        console.print(title, style=styles[one.severity], markup=False)
        said = [one.text]
        if one.severity != "info":
            said += [f"Such as: {', '.join(one.images[:2])}"] if one.images else []
            said += [f"→ {one.remedy}"] if one.remedy else []
        for text in said:
            console.print(Padding(_plain(text), (0, 0, 0, 2)))
        console.print()
    show_skipped(audit.table.skipped[:SHOWN])
    if len(audit.table.skipped) > SHOWN:
        typer.echo(f"skipped {len(audit.table.skipped) - SHOWN} more; --json has all", err=True)


def show_external(found: ExternalValidation) -> None:
    """External validation by image and by patient, and what to hold against its figures."""
    from medgraft.report.text.seen_before import is_doubtful, of_evaluation
    from medgraft.report.text.subgroups import sentence as subgroups_in_words
    from medgraft.report.text.unlike import sentence as unlike_in_words

    show_evaluation(found.by_image, "By image")
    if found.by_patient is not None:
        show_evaluation(found.by_patient, "By patient or group")
    if found.adjusted is not None:
        typer.echo("")
        show_class_shares(found.adjusted.shares)
        typer.echo(f"{found.adjusted.changed:,} images get another label.")
        show_evaluation(found.adjusted.by_image, "By image, at these class shares")
    if found.sets is not None:
        show_sets(found.sets, "these images")
    if found.unlike is not None:
        _console().print(f"\n{unlike_in_words(found.unlike, 'these images')}", markup=False)
    if found.subgroups:
        _console().print(f"\n{subgroups_in_words(found.subgroups, found.metric)}", markup=False)
    if found.with_seen is not None:
        show_evaluation(found.with_seen, "By image, with those that the model learned from")
    doubt = "warn: " if is_doubtful(found.seen) else ""
    typer.echo(doubt + of_evaluation(found.seen), err=True)
    show_skipped(found.skipped)


def show_sets(found: SetFigures, where: str) -> None:
    """What prediction sets promise, and what they keep."""
    from medgraft.report.text.prediction_sets import sentences

    _console().print("\n" + " ".join(sentences(found, where)), markup=False)


def show_evaluation(evaluation: Evaluation, title: str) -> None:
    """Every metric with its interval, whether probabilities come true, and the threshold."""
    from rich.table import Table

    from medgraft.report.text.calibration import figures, sentence
    from medgraft.report.text.formatting import name_metric
    from medgraft.report.text.headline import caution

    table = Table(
        title=f"{title} (n = {evaluation.n_images:,})",
        box=None, header_style="bold", title_justify="left", padding=(0, 2, 0, 0),
    )  # fmt: skip
    table.add_column("metric")
    for heading in ("value", "95 % interval", "n"):
        table.add_column(heading, justify="right")
    for name, estimate in figures(evaluation).items():
        table.add_row(
            name_metric(name),
            _number(estimate.value),
            f"{_number(estimate.low)} to {_number(estimate.high)}",
            f"{estimate.n:,}",
        )
    _console().print(table)
    for said in filter(None, (caution(evaluation), sentence(evaluation))):
        _console().print(said, markup=False)
    if evaluation.operating is not None:
        threshold, rule = evaluation.operating.threshold, evaluation.operating.rule
        typer.echo(f"Labels at a threshold of {threshold:.3f} ({rule}).")


def show_audit(found: ModelAudit) -> None:
    """The verdict, what could have been seen, every region, the findings."""
    from medgraft.audit.evidence import UNSEEN
    from medgraft.report.text.audit_findings import VERDICTS, remedy, sentence
    from medgraft.report.text.formatting import in_100
    from medgraft.report.text.seen_before import of_audit

    audit, console = found.audit, _console()
    result, ranked = audit.result, audit.ranked
    console.print(f"{result.verdict}: {VERDICTS[result.verdict]}.", style="bold", markup=False)
    if audit.effects:
        above = result.smallest_effect > UNSEEN
        console.print(
            "Smallest effect that would have been seen: "
            f"{in_100(result.smallest_effect)} in 100 labels (power 80 %)"
            + (f"; above {100 * UNSEEN:.0f} nothing is decided." if above else "."),
            markup=False,
        )
    console.print(f"Images as they are: AUROC {_figure(ranked)}, n = {ranked.n:,}.\n", markup=False)
    if audit.effects:
        _show_regions(audit.effects)
    for finding in result.findings:
        text = f"{finding.severity}: {sentence(finding)} {remedy(finding)}".rstrip()
        console.print(text, markup=False)
    if doubt := of_audit(found.seen):
        typer.echo(f"warn: {doubt}", err=True)
    reasons: dict[str, list[str]] = {}
    for row in found.skipped:
        reasons.setdefault(row.reason, []).append(row.source)
    for reason, sources in reasons.items():
        typer.echo(f"left out {len(sources):,}: {reason} (the first: {sources[0]})", err=True)


def _show_regions(effects: Sequence[RegionEffect]) -> None:
    """What the content of each region turns, by what was said of it beforehand."""
    from rich.table import Table

    from medgraft.report.text.audit_findings import ROLES
    from medgraft.report.text.formatting import p_value

    table = Table(
        title="Labels in 100 that follow the class of the image that a region was taken from",
        box=None, header_style="bold", title_justify="left", padding=(0, 2, 0, 0),
    )  # fmt: skip
    table.add_column("region")
    for heading in ("labels in 100", "AUROC lost", "p"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("decides")
    for role, words in ROLES.items():
        some = [effect for effect in effects if effect.role == role]
        if some:
            table.add_row(words, style="dim")
        for effect in some:
            low, value, high = (
                f"{100 * x:.1f}"
                for x in (effect.points.low, effect.points.value, effect.points.high)
            )
            decides = effect.decides
            table.add_row(
                f"  {effect.region}",
                f"{value} ({low} to {high})",
                f"{effect.ranking:.3f}",
                p_value(effect.p).removeprefix("p ").removeprefix("= "),
                "yes" if decides else "no",
                style="bold" if decides else "",
            )
    _console().print(table)
    typer.echo("")


def show_predictions(rows: Sequence[Prediction], classes: tuple[str, ...]) -> None:
    """Label and probabilities of each image, or why it has none; the adjusted ones beside them."""
    from medgraft.bundle.predict import columns_beside

    adjusted = any(row.adjusted for row in rows)
    headings = ["image", "label", *classes]
    headings += ["label, adjusted", *(f"{name}, adjusted" for name in classes)] if adjusted else []
    beside = columns_beside(rows)
    headings += beside
    lines: list[list[str]] = []
    for row in rows:
        cells = [] if row.answer else [f"not read: {row.error}"]
        for answer in filter(None, (row.answer, row.adjusted)):
            cells += [answer.label, *(f"{answer.probabilities[name]:.3f}" for name in classes)]
        cells += [said[len(lines)] for said in beside.values()] if row.answer else []
        lines.append([row.source, *cells, *[""] * (len(headings) - 1 - len(cells))])
    show_rows(headings, lines)
    for row in rows:
        if row.remark:
            typer.echo(f"{row.source}: {row.remark}")


def show_panel_predictions(rows: Sequence[PanelPrediction], names: Sequence[str]) -> None:
    """Which findings each image shows, with the probability of each; or why it was not read."""
    lines = []
    for row in rows:
        there = ", ".join(name for name in names if row.there.get(name)) or "none"
        figures = [f"{row.findings[name]:.3f}" for name in names if name in row.findings]
        cells = [f"not read: {row.error}"] if row.error else [there, *figures]
        lines.append([row.source, *cells, *[""] * (1 + len(names) - len(cells))])
    show_rows(["image", "findings", *names], lines)
    for row in rows:
        if row.remark:
            typer.echo(f"{row.source}: {row.remark}")


def show_class_shares(shares: ClassShares) -> None:
    """What the classes' shares were in training, what was reckoned with, and on what grounds."""
    from medgraft.bundle.class_shares import ASSUMPTION

    found = shares.estimated
    lines = []
    for i, name in enumerate(shares.classes):
        between = (
            f"{found.shares[i].low:.3f} to {found.shares[i].high:.3f}" if found else "as given"
        )
        lines.append([name, f"{shares.training[i]:.3f}", f"{shares.used[i]:.3f}", between])
    title = "Class shares that the adjusted answers reckon with"
    show_rows(("class", "in training", "here", "95 % interval"), lines, title)
    if found is not None:
        word = "surely" if found.p < 0.05 else "not surely"
        typer.echo(f"They differ {word} from those of training (p = {found.p:.2g}).")
    typer.echo(f"Assumed is that {ASSUMPTION}.")


def show_adaptation(found: Adaptation, out: Path | None) -> None:
    """What unlabelled images say of a classifier at their place, in a few lines."""
    from medgraft.data.listing import shown
    from medgraft.report.text.adaptation import lines
    from medgraft.report.text.seen_before import left_out

    for line in lines(found, "" if out is None else shown(str(out))):
        _console().print(line, markup=False)
    if said := left_out(found.seen):
        typer.echo(said, err=True)
    show_skipped(found.skipped)


def show_runs(found: Sequence[Run]) -> None:
    """One line a run, and what there is to say of those that are not finished."""
    from medgraft.report.text import runs

    names = runs.short_paths(found, Path())
    if not found:
        typer.echo("no runs here; name the folder that they lie in or below")
        return
    show_rows(*runs.lines(found, names), whole=True)
    for run, name in zip(found, names, strict=True):
        if run.reason:
            typer.echo(f"{name}: {runs.state(run)}", err=True)


def show_run(run: Run) -> None:
    """One run: facts, every figure, what was asked, versions, where time went."""
    from medgraft.report.text import runs
    from medgraft.report.text.formatting import duration

    show_rows(("run", run.path), runs.facts(run))
    _show_figures({"": run})
    for title, rows in (
        ("option", run.options),
        ("weights", run.weights),
        ("version", run.versions),
    ):
        if rows:
            show_rows((title, ""), [(name, runs.option(value)) for name, value in rows.items()])
    for title, seconds in (("step", run.steps), ("slowest scenario", run.slowest)):
        if seconds:
            show_rows((title, "took"), [(name, duration(s)) for name, s in seconds.items()])


def show_leftovers(found: Sequence[Leftover], *, done: bool) -> None:
    """What may go, a line each; of the cache a line for each kind of thing."""
    from medgraft.report.text import runs

    own = [one for one in found if one.why != "unused"]
    rows = [(str(one.path), one.why, one.what, runs.size(one.size)) for one in own]
    unused: dict[str, list[Leftover]] = {}
    for one in found:
        if one.why == "unused":
            unused.setdefault(one.what.partition(",")[0], []).append(one)
    rows += [
        (f"cache: {len(some):,} of {what}", "unused", "", runs.size(sum(one.size for one in some)))
        for what, some in unused.items()
    ]
    if not rows:
        typer.echo("nothing to clean up")
        return
    show_rows(("what", "why", "", "size"), rows)
    if not done:
        typer.echo(
            f"{runs.size(sum(one.size for one in found))} in all; nothing is removed without --yes"
        )


def _show_figures(named: Mapping[str, Run]) -> None:
    """Every metric of what runs recommend, each on its run's own images."""
    from medgraft.report.text import runs
    from medgraft.report.text.formatting import name_metric

    parts, metrics = runs.measured(list(named.values()))
    for part in parts:
        rows = [
            (
                name_metric(metric),
                *(
                    runs.figure(metric, run.figures.get(part, {}).get(metric))
                    for run in named.values()
                ),
            )
            for metric in metrics
        ]
        words = runs.PARTS[part]
        show_rows((words, *(name or "value (95 % interval)" for name in named)), rows)


def show_comparison(found: RunComparison) -> None:
    """Two runs beside each other: what can be told, what changed, every figure."""
    from medgraft.report.text import runs
    from medgraft.report.text.formatting import sentence

    console = _console()
    for letter, run in (("A", found.a), ("B", found.b)):
        console.print(_plain(f"{letter}: {run.path}  {runs.scenario(run.scenario)}"))
    console.print(_plain(f"\n{sentence(runs.headline(found))}\n"), style="bold")
    for said in (*runs.overlap(found), *runs.cautions(found)):
        console.print(_plain(said))
    for one in found.recommended:
        both = " and ".join(runs.figure(one.metric, figure) for figure in (one.a, one.b))
        console.print(_plain(f"- {sentence(runs.verdict(one))} A and B: {both}."))
    if found.not_paired == "one run":
        return
    if found.changes:
        show_rows(("", "what changed", "A", "B"), map(runs.change, found.changes))
    else:
        console.print("Nothing that the two folders tell changed between them.")
    _show_figures({"A": found.a, "B": found.b})
    if said := runs.common_sentence(found):
        console.print(_plain(said))
    apart = [
        (runs.scenario(key), runs.gap(one), runs.p(one))
        for key, one in runs.told_apart(found)[:SHOWN]
    ]
    if apart:
        show_rows(("scenario", "B minus A", "p"), apart)


def show_rows(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    title: str | None = None,
    *,
    whole: bool = False,
) -> None:
    """A table of plain words; what the first column names is shown whole however narrow it is.

    whole : a line a row where no person reads it, so that it can be searched.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title and _plain(title), box=None, header_style="bold")
    rows = list(rows)
    first = max((len(row[0]) for row in rows), default=0)
    for i, heading in enumerate(headings):
        width = len(heading) if i else first
        table.add_column(_plain(heading), overflow="fold", min_width=width)
    for row in rows:
        table.add_row(*map(_plain, row))
    console = _console()
    if whole and not console.is_terminal:
        console = Console(width=PIPED, highlight=False)
    console.print(table)


def show_skipped(rows: Iterable[Skipped]) -> None:
    """Each image that could not be read, with its reason."""
    for row in rows:
        typer.echo(f"skipped {row.source}: {row.reason}", err=True)


def show_written(paths: Iterable[Path]) -> None:
    """Each file that was written, a line each."""
    from medgraft.data.listing import shown

    for path in paths:
        typer.echo(f"written: {shown(str(path))}")


def show_json(answer: object) -> None:
    """An answer for scripts, as they read it."""
    typer.echo(json.dumps(answer, indent=1, ensure_ascii=False))


# --------------------------------------------------------------------------- plain words


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def _plain(text: str) -> Text:
    """What others named, for a table: brackets in it are no markup."""
    from rich.text import Text

    return Text(text)


def _figure(estimate: Estimate) -> str:
    return f"{_number(estimate.value)} ({_number(estimate.low)} to {_number(estimate.high)})"


def _number(value: float) -> str:
    """Three decimals always, so that the points stand under each other."""
    return f"{value:.3f}" if math.isfinite(value) else "undefined"
