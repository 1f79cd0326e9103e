"""What a saved classifier says: of images, of other places, of what it looks at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from medgraft.terminal.output import figure, new_console, number, plain, show_rows, show_skipped

if TYPE_CHECKING:
    from medgraft.bundle.audit_model import ModelAudit
    from medgraft.bundle.class_shares import ClassShares
    from medgraft.bundle.external_validation import ExternalValidation
    from medgraft.bundle.panel import PanelPrediction
    from medgraft.bundle.panel_validation import PanelValidation
    from medgraft.bundle.predict import Prediction
    from medgraft.results.adaptation import Adaptation
    from medgraft.results.evidence import RegionEffect
    from medgraft.results.figures import Evaluation, SetFigures


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
    show_rows(headings, lines, whole=True)
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


def show_external(found: ExternalValidation) -> None:
    """External validation by image and by patient, and what to hold against its figures."""
    from medgraft.report.text.grades import sentence as grades_in_words
    from medgraft.report.text.seen_before import is_doubtful, of_evaluation
    from medgraft.report.text.subgroups import sentence as subgroups_in_words
    from medgraft.report.text.unlike import sentence as unlike_in_words

    if found.with_seen is not None:  # first, so that the figures that count are seen last
        title = "By image, counting those that the model learned from, which flatter it"
        show_evaluation(found.with_seen, title)
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
        new_console().print(f"\n{unlike_in_words(found.unlike, 'these images')}", markup=False)
    if found.grades is not None:
        new_console().print(f"\n{grades_in_words(found.grades, 'of these images')}", markup=False)
    if found.subgroups:
        new_console().print(f"\n{subgroups_in_words(found.subgroups, found.metric)}", markup=False)
    doubt = "warn: " if is_doubtful(found.seen) else ""
    typer.echo(doubt + of_evaluation(found.seen), err=True)
    show_skipped(found.skipped)


def show_panel_external(found: PanelValidation) -> None:
    """External validation of several findings: a line each, their mean, and what is not judged."""
    from rich.table import Table

    from medgraft.report.text.seen_before import is_doubtful, of_evaluation

    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("finding", overflow="fold", min_width=7)
    for heading in ("with it", "AUROC", "sensitivity", "specificity"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, one in found.findings.items():
        figures, n = one.by_image.estimates, one.by_image.n_images
        with_it = int(one.by_image.confusion[one.by_image.classes.index(name)].sum())
        area = figure(figures["auroc"]) if "auroc" in figures else "not measured"
        said = (
            number(figures[metric].value) if metric in figures else ""
            for metric in ("sensitivity", "specificity")
        )
        table.add_row(plain(name), f"{with_it:,} of {n:,}", area, *said)
    table.add_row("mean", "", figure(found.mean), "", "")
    new_console().print(table)
    for name, why in found.not_judged.items():
        new_console().print(f"not judged: {name}, {why}.", markup=False)
    for name, one in found.findings.items():
        if is_doubtful(one.seen):
            typer.echo(f"warn: {plain(name)}: {of_evaluation(one.seen)}", err=True)
    show_skipped(next(iter(found.findings.values())).skipped)


def show_sets(found: SetFigures, where: str) -> None:
    """What prediction sets promise, and what they keep."""
    from medgraft.report.text.prediction_sets import sentences

    new_console().print("\n" + " ".join(sentences(found, where)), markup=False)


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
            number(estimate.value),
            f"{number(estimate.low)} to {number(estimate.high)}",
            f"{estimate.n:,}",
        )
    new_console().print(table)
    for said in filter(None, (caution(evaluation), sentence(evaluation))):
        new_console().print(said, markup=False)
    if evaluation.operating is not None:
        threshold, rule = evaluation.operating.threshold, evaluation.operating.rule
        typer.echo(f"Labels at a threshold of {threshold:.3f} ({rule}).")


def show_audit(found: ModelAudit) -> None:
    """The verdict, what could have been seen, every region, the findings."""
    from medgraft.audit.findings import UNSEEN
    from medgraft.report.text.audit_findings import VERDICTS, remedy, sentence
    from medgraft.report.text.foreign_model import doubts, how_asked
    from medgraft.report.text.formatting import in_100
    from medgraft.report.text.seen_before import of_audit

    audit, console = found.audit, new_console()
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
    console.print(f"Images as they are: AUROC {figure(ranked)}, n = {ranked.n:,}.\n", markup=False)
    if audit.effects:
        _show_regions(audit.effects)
    for finding in result.findings:
        text = f"{finding.severity}: {sentence(finding)} {remedy(finding)}".rstrip()
        console.print(text, markup=False)
    if found.foreign is not None:
        for text in (*(f"{head}: {said}" for head, said in how_asked(found.foreign)),
                     *doubts(found.foreign)):  # fmt: skip
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
                "yes" if decides else "the other way round" if effect.turns_against else "no",
                style="bold" if decides else "",
            )
    new_console().print(table)
    typer.echo("")


def show_adaptation(found: Adaptation, out: Path | None) -> None:
    """What unlabelled images say of a classifier at their place, in a few lines."""
    from medgraft.data.listing import shown
    from medgraft.report.text.adaptation import lines
    from medgraft.report.text.seen_before import left_out

    for line in lines(found, "" if out is None else shown(str(out))):
        new_console().print(line, markup=False)
    if said := left_out(found.seen):
        typer.echo(said, err=True)
    show_skipped(found.skipped)
