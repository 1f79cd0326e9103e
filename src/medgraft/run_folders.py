"""What commands leave in a folder: studies with report and model, trainings, checks of data."""

from __future__ import annotations

import dataclasses
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from medgraft.data.dicom.identity import withheld
from medgraft.errors import MedgraftError
from medgraft.features.engine import ENGINES
from medgraft.features.extract import Extractor
from medgraft.files import StorageError, explained, write_json, written_file
from medgraft.panel import Panel
from medgraft.profile.suggestions import write_suggestions
from medgraft.report.charts.training_curves import history_png
from medgraft.report.pages.data import write_findings
from medgraft.report.pages.panel import PanelPage, write_panel
from medgraft.report.pages.study import write_for_paper, write_report
from medgraft.report.panel_json import panel_json
from medgraft.report.result_json import result_json
from medgraft.report.text.scenario_names import short_names
from medgraft.report.training_json import training_json
from medgraft.results.data import DataAudit
from medgraft.runs.find import load_object
from medgraft.scenario import Scenario
from medgraft.studies.defaults import with_defaults
from medgraft.studies.options import StudyOptions
from medgraft.studies.panel import PanelStudy, ScenarioChoice, run_panel
from medgraft.studies.panel_audits import panel_options
from medgraft.studies.prepare import check
from medgraft.studies.report_input import report_input
from medgraft.studies.run import Study, config, run_study, versions
from medgraft.studies.run_lock import is_empty, locked
from medgraft.studies.single_scenario import SingleOptions, SingleResult, run_single, single_config
from medgraft.studies.store import (
    IMAGES,
    RunError,
    RunStore,
    read_events,
    was_killed,
    write_images,
    write_predictions,
)
from medgraft.types import ImageTable

SHOWN = 3  # runs that a sentence names


def study_to_folder(
    table: ImageTable,
    options: StudyOptions,
    extractor: Extractor,
    out: Path,
    *,
    resume: bool = False,
    command: str = "",
) -> Study:
    """`study`, written to `out` with its report; `command` is what was typed."""
    if extractor.engine not in ENGINES:
        raise MedgraftError(f"no engine {extractor.engine!r}; there are: {', '.join(ENGINES)}")
    options.refuse_unused()
    asked = config(table, options, extractor)
    check(table, options, extractor)  # what cannot be studied leaves no folder behind
    if looked := looked_before(out, table.fingerprint):
        extractor.progress.say(
            f"The test split of these images has been looked at in {len(looked)} of the runs "
            f"beside {out} ({', '.join(looked[:SHOWN])}{', …' * (len(looked) > SHOWN)}); a choice "
            "between runs by their test figures flatters what is chosen."
        )
    with locked(out):
        store = RunStore(out, asked, resume=resume, facts=_facts(table, command))
        try:
            finished = run_study(table, options, extractor, store)
            _leave(finished, table, store, extractor, command)
        except BaseException as error:
            store.stopped(error)
            raise
    extractor.cache.prune()
    return finished


def looked_before(out: Path, fingerprint: str) -> list[str]:
    """Names of other runs in the same folder that looked at the test split of the same images."""
    beside = out.absolute().parent.glob("*/config.json")
    return sorted(
        one.parent.name
        for one in beside
        if one.parent != out.absolute()
        and load_object(one).get("data") == fingerprint
        and any(
            row["event"] == "test split looked at" and row.get("images")
            for row in read_events(one.parent)
        )
    )


def _leave(
    finished: Study, table: ImageTable, store: RunStore, extractor: Extractor, command: str
) -> None:
    """Write what a finished study of a table leaves in its folder, `result.json` last.

    That of an earlier session, which Ctrl-C ended with a report, goes first.
    """
    earlier = load_object(store.folder / "result.json")
    if (earlier.get("budget") or {}).get("interrupted"):
        store.withdraw()
    given = bool((table.splits == "test").any())
    shown = report_input(finished, extractor, command, test_given=given)
    write_report(store.folder / "report.html", shown)
    write_for_paper(store.folder, shown)
    if finished.training:
        write_json(store.folder / "training.json", training_json(finished.training))
    _leave_images(table, store.folder)
    predictions = [*finished.oof.values(), *finished.test.values()]
    store.save(result_json(finished.result), predictions, finished.fitted, finished.beside)


def _leave_images(table: ImageTable, folder: Path) -> None:
    """Say where the images lie, for who looks at them later; not of DICOM (identity.py)."""
    if not withheld(table):
        write_images(folder / IMAGES, table)


def study_panel_to_folder(
    panel: Panel,
    options: StudyOptions,
    extractor: Extractor,
    out: Path,
    *,
    scenario: ScenarioChoice = "auto",
    resume: bool = False,
    command: str = "",
) -> PanelStudy:
    """Study several findings (`studies.panel.run_panel`), written to `out` with their reports.

    `out` then holds an overview (report.html, result.json) and in `findings/` a run's folder for
    each finding, with its report and its model.
    """
    options.refuse_unused()
    whole, options = options, panel_options(options)
    options = with_defaults(options, panel.question(panel.names[0]), extractor)
    asked = {
        **config(panel.question(panel.names[0]), options, extractor),
        "data": panel.fingerprint, "findings": panel.names, "uncertain": panel.uncertain,
        "scenario_for": scenario,
        **({"budget": whole.budget, "audit_pairs": whole.audit_pairs} if whole.budget else {}),
    }  # fmt: skip
    with locked(out):
        store = RunStore(out, asked, resume=resume, facts=_facts(panel.images, command))
        stores: dict[str, RunStore] = {}

        def store_of(name: str, table: ImageTable) -> RunStore:
            folder = out / folder_of(panel.names, name)
            with explained(folder):
                folder.parent.mkdir(exist_ok=True)
            stores[name] = RunStore(
                folder, config(table, options, extractor),
                resume=resume and folder.exists(), facts=_facts(table, command),
            )  # fmt: skip
            return stores[name]

        def finish(name: str, finished: Study) -> str:
            _leave(finished, panel.question(name), stores[name], extractor, command)
            return folder_of(panel.names, name)

        try:
            found = run_panel(
                panel,
                dataclasses.replace(options, budget=whole.budget, audit=whole.audit),
                extractor,
                store,
                scenario=scenario,
                store_of=store_of,
                finish=finish,
            )
            keys = dict.fromkeys(one.scenario for one in found.result.findings)
            _, names = short_names([Scenario.from_key(key, options.seed) for key in keys])
            write_panel(out / "report.html", found.result, PanelPage(command, names))
            write_json(out / "result.json", panel_json(found.result))
            store.finished(found.result.scenario.one)
        except BaseException as error:
            for one in (*stores.values(), store):
                if not one.ended:
                    one.stopped(error)
            raise
    extractor.cache.prune()
    return found


def folder_of(names: Sequence[str], name: str) -> str:
    """Where a finding's own run lies, below its panel's: a name that every file system takes."""
    plain = [re.sub(r"[^A-Za-z0-9_.-]+", "_", one).strip("._")[:60] or "finding" for one in names]
    at = names.index(name)
    alike = [one.casefold() for one in plain].count(plain[at].casefold())
    return f"findings/{plain[at]}{f'_{at + 1}' if alike > 1 else ''}"


def _facts(table: ImageTable, command: str) -> dict[str, object]:
    """What a run keeps of how it came about: the data's name, what was typed, the versions."""
    by = table.reading.by  # of DICOM neither the folder nor the table has a name (identity.py)
    name = Path(table.root).name if by in ("", "layout", "folders") else by
    return {"data": name, "command": command, "versions": versions()}


def profile_to_folder(
    audit: DataAudit, out: Path, *, data: str = "", command: str = ""
) -> tuple[Path, ...]:
    """Write `data.html` and `suggestions.csv` to `out`, and say where they lie.

    Raises
    ------
    StorageError
        They cannot be written, or `suggestions.csv` holds others, which somebody may have edited.
    """
    page, suggested = out / "data.html", out / "suggestions.csv"
    with tempfile.TemporaryDirectory() as folder:
        write_suggestions(Path(folder) / suggested.name, audit.checked.suggestions)
        new = (Path(folder) / suggested.name).read_bytes()
    with explained(suggested):
        if suggested.is_file() and suggested.read_bytes() != new:
            raise StorageError(
                f"{suggested} holds other suggestions, which you may have edited; choose another "
                "folder (--out), or remove it"
            )
    write_findings(page, audit, data=data, command=command)
    write_suggestions(suggested, audit.checked.suggestions)
    return page, suggested


def train_to_folder(
    table: ImageTable,
    scenario: Scenario,
    options: SingleOptions,
    extractor: Extractor,
    out: Path,
    *,
    command: str = "",
) -> SingleResult:
    """Judge and refit one scenario without a study, and write what it leaves to `out`.

    `model/` (served like a study's), `predictions.parquet`, `images.parquet`, what was asked
    (`config.json`, `run.jsonl`), and of a network that was trained `training.json` and
    `history.png`.

    Raises
    ------
    RunError, RunLockedError
        `out` holds something already, but for what the same training left when it was killed, or
        another process writes to it.
    MedgraftError
        As `studies.single_scenario.run_single`.
    """
    with locked(out):
        asked = single_config(table, scenario, options, extractor)
        unfinished = was_killed(out, asked)
        if not (unfinished or is_empty(out)):
            raise RunError(f"{out} is not empty; choose another --out")
        began = time.perf_counter()
        found = run_single(table, scenario, options, extractor)
        seconds = round(time.perf_counter() - began, 3)
        crossed = found.crossed
        store = RunStore(out, asked, resume=unfinished, facts=_facts(table, command))
        if crossed.training is not None:
            log = crossed.training
            write_json(out / "training.json", training_json({scenario.key: log}))
            with written_file(out / "history.png") as temporary:
                temporary.write_bytes(history_png(log.held_out))
        tested = [found.test] if found.test is not None else []
        write_predictions(out / "predictions.parquet", [crossed.predictions, *tested])
        _leave_images(table, out)
        found.beside.write(out / "model", crossed.fitted)
        store.event("finished", recommended=scenario.key, seconds=seconds)
    extractor.cache.prune()
    return found
