"""What `study`, `predict` and `evaluate` do with several findings an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from medgraft import terminal
from medgraft.cli.option_parsing import command_line, load_any, named

if TYPE_CHECKING:
    from medgraft.bundle.external_validation import Asked
    from medgraft.features.extract import Extractor
    from medgraft.panel import Panel
    from medgraft.studies.options import StudyOptions
    from medgraft.types import Progress

UNCERTAIN = Annotated[
    str,
    typer.Option(
        metavar="unknown|negative|positive",
        help="Of several findings an image: what is made of those that are marked as uncertain "
        "(-1, or rows that differ). The report shows what the others would give.",
    ),
]
ONE_SCENARIO = Annotated[
    bool | None,
    typer.Option(
        "--one-scenario/--own-scenarios",
        help="Of several findings an image: one scenario for all, or each its own. Without it: "
        "one, where the two cannot be told apart.",
        show_default=False,
    ),
]


def study_findings(
    panel: Panel,
    options: StudyOptions,
    extractor: Extractor,
    out: Path,
    *,
    one_scenario: bool | None,
    resume: bool,
    quiet: bool,
) -> None:
    """Study each finding of a panel and all together, and show them."""
    from medgraft.run_folders import study_panel_to_folder

    scenario: Literal["auto", "one", "own"] = "auto"
    if one_scenario is not None:
        scenario = "one" if one_scenario else "own"
    found = study_panel_to_folder(
        panel, options, extractor, out, scenario=scenario, resume=resume,
        command=command_line(panel.images),
    )  # fmt: skip
    if not quiet:
        terminal.show_panel(found.result, out)


def predict_findings(
    models: Mapping[str, Path],
    paths: Sequence[str],
    extractor: Extractor,
    out: Path | None,
    *,
    as_json: bool,
    refused: bool,
) -> None:
    """Say which findings of a panel image files show; `refused` where what one question has alone
    was asked for.
    """
    from medgraft.bundle.panel import predict_panel, write_panel_predictions

    if refused:
        folder = next(iter(models.values()))
        raise typer.BadParameter(
            "--class-shares, --alpha, --unlike-rate, --sensitivity and --specificity are about one "
            f"finding; pass its folder as MODEL, such as {folder}"
        )
    rows = predict_panel(models, paths, extractor)
    if out is not None:
        write_panel_predictions(out, rows, list(models))
    if as_json:
        terminal.show_json([row.to_json() for row in rows])
    else:
        terminal.show_panel_predictions(rows, list(models))
    if all(row.error for row in rows):
        raise typer.Exit(4)


def evaluate_findings(
    models: Mapping[str, Path],
    model: Path,
    data: str,
    reading: Mapping[str, Any],
    extractor: Extractor,
    out: Path | None,
    asked: Asked,
    *,
    as_json: bool,
    refused: bool,
) -> None:
    """Judge the findings of a panel on other images; `refused` where class shares were asked for.

    Raises
    ------
    DataError
        The images have one question, and not several findings.
    """
    from medgraft.bundle.panel_validation import evaluate_panel, write_panel_external
    from medgraft.errors import DataError
    from medgraft.panel import Panel

    if refused:
        raise typer.BadParameter(
            "--class-shares is about one finding; pass its folder as MODEL, such as "
            f"{next(iter(models.values()))}"
        )
    read = load_any(data, extractor.progress, reading, uncertain="unknown")
    if not isinstance(read, Panel):
        raise DataError(
            f"{data} has one question ({', '.join(read.classes)}), and {model} several findings; "
            f"pass the folder of one as MODEL, such as {next(iter(models.values()))}"
        )
    found = evaluate_panel(models, read, extractor, asked)
    written: tuple[Path, ...] = ()
    if out is not None:
        written = write_panel_external(
            out, found, models, model=named(model, read.images), data=named(data, read.images),
            command=command_line(read.images),
        )  # fmt: skip
    if as_json:
        terminal.show_json(found.json())
        return
    terminal.show_panel_external(found)
    terminal.show_written(written)


def say_panel(panel: Panel, progress: Progress) -> None:
    """What was read, in a few lines, before the work begins."""
    from medgraft.report.text.reading import panel_tree

    for line in panel_tree(panel):
        progress.say(line)
    for finding in panel.images.findings:
        if finding.severity != "info":
            progress.say(f"{finding.severity}: {finding.text} {finding.remedy}".rstrip())
