"""Data as it was read and checked, and what studies and trainings found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from medgraft.terminal.models import show_evaluation, show_sets
from medgraft.terminal.output import figure, new_console, plain, show_skipped
from medgraft.terminal.progress import budget_table

if TYPE_CHECKING:
    from rich.table import Table

    from medgraft.features.extract import Extractor
    from medgraft.results.data import DataAudit
    from medgraft.results.panel import PanelResult
    from medgraft.results.recommendation import Similarity, StudyResult
    from medgraft.results.training import TrainedScenario
    from medgraft.studies.run import Study
    from medgraft.studies.single_scenario import SingleResult
    from medgraft.types import BudgetUse, ImageTable, Progress

SHOWN = 8  # scenarios in the summary of a study


def say_table(table: ImageTable, progress: Progress) -> None:
    """What was read, in a few lines, before the work begins."""
    from medgraft.report.text.reading import reading_tree

    for line in reading_tree(table):
        progress.say(line)
    if table.positive is not None:
        progress.say(f"Positive class: {table.positive} (--positive CLASS to change)")
    for finding in table.findings:
        if finding.check == "grades" and finding.severity == "info":
            progress.say(f"{finding.text} {finding.remedy}".rstrip())
        elif finding.severity != "info":
            progress.say(f"{finding.severity}: {finding.text} {finding.remedy}".rstrip())


def show_findings(audit: DataAudit) -> None:
    """What a data audit found, the gravest first, each with what to do; info without pictures."""
    from rich.padding import Padding

    from medgraft.report.pages.data import title_of
    from medgraft.report.text.reading import panel_tree, reading_tree

    console = new_console()
    styles = {"severe": "bold red", "warn": "bold yellow", "info": "bold"}
    panel = audit.panel
    for line in reading_tree(audit.table) if panel is None else panel_tree(panel):
        console.print(plain(line))
    console.print()
    for one in audit.findings:
        title = f"{one.severity}  {title_of(one)}"
        console.print(title, style=styles[one.severity], markup=False)
        said = [one.text]
        if one.severity != "info":
            said += [f"Such as: {', '.join(one.images[:2])}"] if one.images else []
            said += [f"→ {one.remedy}"] if one.remedy else []
        for text in said:
            console.print(Padding(plain(text), (0, 0, 0, 2)))
        console.print()
    show_skipped(audit.table.skipped[:SHOWN])
    if len(audit.table.skipped) > SHOWN:
        typer.echo(f"skipped {len(audit.table.skipped) - SHOWN} more; --json has all", err=True)


def show_plan(use: BudgetUse, similarity: Similarity) -> None:
    """What a budget would be spent on."""
    from medgraft.report.text.similarity import sentence

    console = new_console()
    console.print(budget_table(use))
    if said := sentence(similarity):
        console.print(f"\n{said}", markup=False)
    console.print("\nNothing was run but what it took to predict this.", markup=False)


def show_study(study: Study, out: Path, extractor: Extractor) -> None:
    """The comparison, the recommendation, and where the report lies."""
    from medgraft.report.text import (
        budget,
        grades,
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
    console = new_console()
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
        often = "once" if study.looks == 1 else f"{study.looks} times"
        show_evaluation(study.tested, f"On the test split, looked at {often}")
    if result.sets:
        tested = "test" in result.sets
        where = "the test images" if tested else "the development images, out of fold,"
        show_sets(result.sets["test" if tested else "validation"], where)
    if result.unlike is not None:
        console.print(f"\n{unlike.sentence(result.unlike, 'the test images')}\n", markup=False)
    if result.grades:
        part = "test" if "test" in result.grades else "validation"
        where = "of the test images" if part == "test" else "of the images out of fold"
        console.print(f"{grades.sentence(result.grades[part], where)}\n", markup=False)
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
        title=plain(title), box=None, header_style="bold", title_justify="left",
        padding=(0, 2, 0, 0),
    )  # fmt: skip
    table.add_column("", no_wrap=True)
    table.add_column("scenario", overflow="fold")
    table.add_column(f"{name} out of fold", justify="right", no_wrap=True)
    table.add_column("on the test", justify="right", no_wrap=True)
    for i in shown:
        row, chosen = better[i], keys[i] == result.recommended
        test = figure(row.test[metric]) if row.test else "not measured"
        style = "bold" if chosen else ""
        mark = "→" if chosen else ""
        table.add_row(
            mark, plain(names[keys[i]]), figure(row.validation[metric]), test, style=style
        )
    if len(shown) < len(better):
        table.add_row("", f"… and {len(better) - len(shown)} more", "", "", style="dim")
    return table


def show_panel(result: PanelResult, out: Path) -> None:
    """Each finding's figures, what serves them, whose company they need, and where reports lie."""
    from rich.table import Table

    from medgraft.report.text import panel
    from medgraft.report.text.formatting import name_metric, sentence

    metric, console = result.metric, new_console()
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("finding", overflow="fold")
    for heading in ("images with it", f"{name_metric(metric)} out of fold", "on the test"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", overflow="fold")
    for one in result.findings:
        test = figure(one.test[metric]) if one.test and one.tested else "not measured"
        share = f"{one.n_with:,} of {one.n_images:,}"
        verdict = panel.verdict(one, result)
        table.add_row(plain(one.name), share, figure(one.validation[metric]), test, plain(verdict))
    mean = {part: figure(found[metric]) for part, found in result.macro.items()}
    table.add_row("mean", "", mean["validation"], mean.get("test", "not measured"), "")
    console.print(table)
    said = [
        *(f"not judged: {panel.short_sentence(one)}." for one in result.short),
        panel.scenario_sentence(result),
        *(f"WARN: {one}" for one in panel.company_sentences(result)),
        panel.seldom_alone(result),
        panel.uncertain_sentence(result),
        panel.audit_sentence(result),
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
        new_console().print(text, markup=False)
    if said:
        new_console().print()


def show_questions(result: StudyResult) -> None:
    """What the study answers for these images: does this way help, and does that family?"""
    from rich.table import Table

    from medgraft.report.text import second_network
    from medgraft.report.text.formatting import between, difference, name_metric, p_value
    from medgraft.report.text.questions import sentence

    if about := second_network.sentence(result.second):
        new_console().print(plain(about))
        new_console().print()
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
            plain(sentence(one)),
            plain(one.answer),
            f"{gap}\n({between(result.metric, one.comparison)})",
            p,
            style="" if one.answer == "no difference seen" else "bold",
        )
    console = new_console()
    console.print(table)
    console.print()
