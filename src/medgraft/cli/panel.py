"""What `study` and `predict` do with several findings an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from medgraft import terminal
from medgraft.cli.option_parsing import command_line

if TYPE_CHECKING:
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


def say_panel(panel: Panel, progress: Progress) -> None:
    """What was read, in a few lines, before the work begins."""
    from medgraft.report.text.reading import panel_tree

    for line in panel_tree(panel):
        progress.say(line)
    for finding in panel.images.findings:
        if finding.severity != "info":
            progress.say(f"{finding.severity}: {finding.text} {finding.remedy}".rstrip())
