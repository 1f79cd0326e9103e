"""What a Python user calls first: `load` a table, `study` it; or only `encode` images."""

from __future__ import annotations

import importlib.metadata
import itertools
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medgraft.audit.evidence import Audit, AuditOptions, audit_evidence
from medgraft.audit.evidence_view import evidence_view
from medgraft.bundle.adapt import adapt_model
from medgraft.bundle.model import bundle_folder, in_classes_of
from medgraft.bundle.predict import find_images
from medgraft.bundle.seen_before import learned_from, recognise
from medgraft.data.dicom.identity import public_names
from medgraft.data.groups.grouping import apply_grouping
from medgraft.data.ingest import LoadOptions
from medgraft.data.ingest import load as load_table
from medgraft.data.listing import shown
from medgraft.data.masks import with_masks
from medgraft.data.pixel_findings import compare_with_rule
from medgraft.data.pixel_rule import with_rule
from medgraft.data.pixels.stored_header import hash_and_header
from medgraft.errors import DataError, MedgraftError
from medgraft.features.backbones import DEFAULT
from medgraft.features.engine import ENGINES
from medgraft.features.extract import Extractor
from medgraft.features.feature_plan import FeaturePlan, feature_plan_of
from medgraft.features.taps import STAGES
from medgraft.files import explained, json_value, write_json, written_file
from medgraft.learn.fit import load as load_bundle
from medgraft.panel import Panel
from medgraft.profile.suggestions import write_suggestions
from medgraft.report.charts.training_curves import history_png
from medgraft.report.pages.audit import AuditInput, write_audit
from medgraft.report.pages.data import write_findings
from medgraft.report.pages.panel import PanelPage, write_panel
from medgraft.report.pages.study import write_for_paper, write_report
from medgraft.report.panel_json import panel_json
from medgraft.report.result_json import audit_json, result_json
from medgraft.report.text.scenario_names import short_names
from medgraft.report.training_json import training_json
from medgraft.results.adaptation import Adaptation
from medgraft.results.data import DataAudit
from medgraft.scenario import Head, Pooled, Preprocessing, Scenario, steps_of
from medgraft.studies.options import StudyOptions
from medgraft.studies.panel import PanelStudy, ScenarioChoice, panel_options, run_panel
from medgraft.studies.prepare import check
from medgraft.studies.report_input import report_input
from medgraft.studies.run import Study, config, run_study, versions
from medgraft.studies.run_lock import is_empty, locked
from medgraft.studies.second_network import with_networks
from medgraft.studies.single_scenario import (
    SingleOptions,
    SingleResult,
    run_single,
    single_config,
)
from medgraft.studies.store import RunError, RunStore, write_predictions
from medgraft.types import (
    ImageTable,
    Join,
    ResizeRule,
    SeenBefore,
    Skipped,
    Source,
)

if TYPE_CHECKING:
    import pandas as pd


def load(
    data: str | os.PathLike[str],
    *,
    layout: str = "",
    images: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    path_column: str | None = None,
    label_column: str | None = None,
    label_columns: Sequence[str] = (),
    split_column: str | None = None,
    class_names: Mapping[str, str] | Mapping[int, str] | None = None,
    binarize: str | None = None,
    encoding: str | None = None,
    sheet: str | None = None,
    group: str | None = None,
    no_groups: bool = False,
    positive: str | None = None,
    leave_out: Sequence[str] = (),
    rename: Mapping[str, str] | None = None,
    drop_classes_below: int = 0,
    page: int | None = None,
    pixel_range: tuple[float, float] | None = None,
    window: tuple[float, float] | None = None,
    ids: str | os.PathLike[str] | None = None,
) -> ImageTable:
    """Read a folder, a table or a MedMNIST file into an `ImageTable`.

    Parameters
    ----------
    data
        A folder of images in class folders, in any layout that can be recognised; a table that
        lists images; or an `.npz`.
    layout
        What each level of the folders is, such as `split/class/group/image`; see
        `medgraft.data.folders.layout`.
    images
        The folder, or folders, below which the images of a table lie.
    path_column, label_column, split_column
        The table's columns, where their names and values do not say it; a `split_column` of 'none'
        takes none.
    label_columns
        The table's columns of 0 and 1 of which each is a class.
    class_names
        What labels stand for, such as `{"0": "normal", "1": "ill"}`.
    binarize
        Two classes: images with this finding (`Mass`) or value (`>=50`), and the others.
    encoding, sheet
        How the table's text is encoded; which sheet of an Excel file it is.
    group
        A column's name or `regex:PATTERN` on the file names; guessed from the names by default.
    no_groups
        Every image is a group of its own, and nothing is guessed.
    positive
        The positive class of a two-class problem.
    leave_out, rename, drop_classes_below
        Classes not to study, new names by old ones, and the least images that a class has.
    page
        Of files with several pages the one that is read, from 1; the first by default.
    pixel_range
        The stored values shown black and white in images of more than 8 bits; by default those that
        the images to learn from use.
    window
        (centre, width) by which all DICOM images are shown; by default the one that each names.
    ids
        A CSV to write, id,path,frame: of DICOM images nothing else tells which file is which.

    Raises
    ------
    AmbiguousDataError
        It can be read in several ways that differ; the text shows each.
    DataError
        There is nothing to learn from; the text says why and what to do.
    """
    folders = [images] if isinstance(images, str | os.PathLike) else images
    options = LoadOptions(
        layout=layout,
        images=tuple(os.fspath(folder) for folder in folders),
        path_column=path_column,
        label_column=label_column,
        label_columns=tuple(label_columns),
        split_column=split_column,
        class_names=tuple((str(label), name) for label, name in (class_names or {}).items()),
        binarize=binarize,
        encoding=encoding,
        sheet=sheet,
        group=group,
        no_groups=no_groups,
        positive=positive,
        leave_out=tuple(leave_out),
        rename=tuple((rename or {}).items()),
        drop_classes_below=drop_classes_below,
        page=page,
        pixel_range=pixel_range,
        window=window,
        ids=None if ids is None else Path(ids),
    )
    return load_table(os.fspath(data), options)


def study(
    table: ImageTable,
    options: StudyOptions | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    extractor: Extractor | None = None,
) -> Study:
    """Compare scenarios on a table, recommend one, and look at the test split once.

    Parameters
    ----------
    options
        What is compared; every default is the one to use when in doubt.
    out
        A folder for the report, result.json, predictions.parquet and model/; nothing is written
        where it is None.
    extractor
        Reads and caches codes; the user's cache and all cores by default.

    Raises
    ------
    MedgraftError
        The data, the options or the folder do not allow a study.
    """
    options, extractor = options or StudyOptions(), extractor or Extractor()
    if out is None:
        return run_study(table, options, extractor)
    return study_to_folder(table, options, extractor, Path(out))


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
    asked = config(table, options, extractor)
    check(table, options, extractor)  # what cannot be studied leaves no folder behind
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


def _leave(
    finished: Study, table: ImageTable, store: RunStore, extractor: Extractor, command: str
) -> None:
    """Write what a finished study of a table leaves in its folder, `result.json` last."""
    given = bool((table.splits == "test").any())
    shown = report_input(finished, extractor, command, test_given=given)
    write_report(store.folder / "report.html", shown)
    write_for_paper(store.folder, shown)
    if finished.training:
        write_json(store.folder / "training.json", training_json(finished.training))
    predictions = [*finished.oof.values(), *finished.test.values()]
    store.save(result_json(finished.result), predictions, finished.fitted, finished.beside)


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
    options = panel_options(options)
    options = with_networks(options, panel.question(panel.names[0]), extractor)
    asked = {
        **config(panel.question(panel.names[0]), options, extractor),
        "data": panel.fingerprint, "findings": panel.names, "uncertain": panel.uncertain,
        "scenario_for": scenario,
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
                options,
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
            store.event("finished", recommended=found.result.scenario.one)
        except BaseException as error:
            store.stopped(error)
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
        They cannot be written.
    """
    page, suggested = out / "data.html", out / "suggestions.csv"
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

    `model/` (served like a study's), `predictions.parquet`, what was asked (`config.json`,
    `run.jsonl`), and of a network that was trained `training.json` and `history.png`.

    Raises
    ------
    RunError, RunLockedError
        `out` holds something already, or another process writes to it.
    MedgraftError
        As `studies.single_scenario.run_single`.
    """
    with locked(out):
        if not is_empty(out):
            raise RunError(f"{out} is not empty; choose another --out")
        began = time.perf_counter()
        found = run_single(table, scenario, options, extractor)
        seconds = round(time.perf_counter() - began, 3)
        crossed = found.crossed
        asked = single_config(table, scenario, options, extractor)
        store = RunStore(out, asked, facts=_facts(table, command))
        if crossed.training is not None:
            log = crossed.training
            write_json(out / "training.json", training_json({scenario.key: log}))
            with written_file(out / "history.png") as temporary:
                temporary.write_bytes(history_png(log.held_out))
        tested = [found.test] if found.test is not None else []
        write_predictions(out / "predictions.parquet", [crossed.predictions, *tested])
        found.beside.write(out / "model", crossed.fitted)
        store.event("finished", recommended=scenario.key, seconds=seconds)
    extractor.cache.prune()
    return found


@dataclass(frozen=True, eq=False)
class ModelAudit:
    """An audit of a saved classifier, and what to hold against it.

    images : that could have been audited. seen : how many the classifier learned from.
    """

    scenario: str
    audit: Audit
    images: int
    seen: SeenBefore
    skipped: tuple[Skipped, ...]

    def json(self) -> dict[str, Any]:
        """The same as plain JSON (docs/result-json.md)."""
        audit = self.audit
        return {
            "scenario": self.scenario,
            **audit_json(audit.result),
            "ranked": json_value(audit.ranked),
            "regions": json_value(audit.effects),
            "without_evidence": audit.left
            and {
                "auroc": audit.left.before,
                "auroc_without": audit.left.without,
                "share": json_value(audit.left.share),
            },
            "options": json_value(audit.options),
            "images": self.images,
            "names_learned_from": self.seen.same_name or 0,
            "seen": json_value(self.seen),
            "skipped": json_value(self.skipped),
        }


def audit_model(
    model: str | os.PathLike[str],
    table: ImageTable,
    options: AuditOptions | None = None,
    *,
    masks: str | os.PathLike[str] | None = None,
    extractor: Extractor | None = None,
) -> ModelAudit:
    """Find out what a saved classifier's decisions rest on: regions exchanged between images.

    Parameters
    ----------
    model
        The folder of a finished study, or its folder `model`.
    table
        Labelled images that the classifier has not learned from. Of a table with a test split only
        the test images are used.
    options
        Which regions there are, and how many images and pairs of donors are drawn.
    masks
        A folder of masks of where the evidence may lie, named like the images. What is outside of
        them is then declared to be no evidence, and images without a mask are left out.

    Raises
    ------
    DataError
        There is no image to audit, a class is unknown to the classifier, or no mask fits.
    ScenarioError
        There is no such modality.
    BundleError
        There is no classifier, or it was changed since it was saved.
    """
    options, extractor = options or AuditOptions(), extractor or Extractor()
    folder = bundle_folder(Path(model))
    fitted = load_bundle(folder, extractor)
    unread = table.skipped
    if (table.splits == "test").any():
        table = table.test
    for one in compare_with_rule(table, fitted.rule):
        extractor.progress.say(one.text)
    table = in_classes_of(fitted, table)
    if masks is not None:
        table = with_masks(table, Path(masks))
        options = replace(options, masks=True)
    missing: tuple[Skipped, ...] = ()
    if options.masks:
        bare = table.masks == ""
        missing = tuple(Skipped(id_, "no mask") for id_ in table.ids[bare].tolist())
        table = table.select(~bare)
    audit = audit_evidence([(fitted, table)], options, progress=extractor.progress)
    return ModelAudit(
        scenario=fitted.scenario.key,
        audit=audit,
        images=len(table),
        seen=recognise(folder, learned_from(folder, fitted), table, extractor)[1],
        skipped=(*unread, *missing, *audit.skipped),
    )


def adapt(
    model: str | os.PathLike[str],
    images: ImageTable | Sequence[str | os.PathLike[str]],
    *,
    out: str | os.PathLike[str] | None = None,
    threshold: str = "auto",
    class_shares: str = "training",
    group: str | None = None,
    extractor: Extractor | None = None,
) -> Adaptation:
    """What unlabelled images of another place say of a saved classifier there.

    Parameters
    ----------
    model
        The folder of a finished study, or its folder `model`. It stays as it is.
    images
        An `ImageTable`, whose labels are not looked at, or files, folders and patterns.
    out
        A folder for a copy of the classifier with its threshold set anew; none by default.
    threshold
        `auto`: `quantile` where class shares are given, else `halfway` where the images look
        different, and `steady`, as it is, where they do not. `quantile`: as many called positive
        as out of fold, or as was said; `halfway`: half of the way to there, in log odds; `half`:
        the most probable class.
    class_shares
        How common the classes are there: shares that you know, such as `0.3,0.7`, or `estimate`,
        from the images. The probabilities are set to them, too.
    group
        A column of the table or `regex:PATTERN` on the names, that tells patients apart where
        paths are given; guessed from the names by default.

    Raises
    ------
    OtherSortError, DataError, BundleError, StorageError
        As `bundle.adapt.adapt_model`.

    Examples
    --------
    >>> adapt("runs/a", ["new/"]).verdict  # doctest: +SKIP
    'other look'
    """
    table = images if isinstance(images, ImageTable) else _grouped(_unlabelled(images), group)
    return adapt_model(
        Path(model),
        table,
        extractor or Extractor(),
        out=None if out is None else Path(out),
        threshold=threshold,
        class_shares=class_shares,
    )


def _grouped(table: ImageTable, group: str | None) -> ImageTable:
    """The table with its patients, as the names of its files tell them."""
    none = np.full(len(table), "")
    groups, grouping, _ = apply_grouping(table.ids, none, {}, none, group)
    return replace(table, groups=groups, grouping=grouping)


def audit_to_folder(
    found: ModelAudit, out: Path, *, model: str, data: str, command: str = ""
) -> tuple[Path, Path]:
    """Write `audit.html` and `audit.json` into `out`; give the two paths.

    model, data : as they were named.

    Raises
    ------
    StorageError
        The folder cannot be written.
    """
    page, answer = out / "audit.html", out / "audit.json"
    version = importlib.metadata.version("medgraft")
    write_audit(
        page,
        AuditInput(
            model=model,
            data=data,
            scenario=found.scenario,
            evidence=evidence_view(found.audit),
            images=found.images,
            seen=found.seen,
            skipped=found.skipped,
            command=command,
            version=version,
        ),
    )
    facts = {"model": model, "data": data, "command": command, "version": version}
    write_json(answer, {**facts, **found.json()})
    return page, answer


def encode(
    images: ImageTable | Sequence[str | os.PathLike[str]],
    *,
    out: str | os.PathLike[str] | None = None,
    backbone: str = DEFAULT,
    tap: str = STAGES,
    pooling: str = "avg",
    sizes: Sequence[int] = (),
    join: Join = "concat",
    preprocess: str = "raw",
    resize: ResizeRule = "squash",
    extractor: Extractor | None = None,
) -> pd.DataFrame:
    """Turn images into vectors and nothing else.

    Parameters
    ----------
    images
        n images: an `ImageTable`, or files, folders and patterns, which need no labels.
    out
        A .parquet to write as well.
    tap
        A layer of the backbone, or `stages`: the ends of all stages side by side.
    sizes, join
        Input sizes in pixels, the backbone's own by default; `concat` puts their codes side by
        side, `mean` averages them.
    preprocess
        `raw`, an edit's key such as `clahe`, or `raw+clahe` for both side by side.

    Returns
    -------
    pandas.DataFrame
        (n - k, d) float32, a row for each image that can be read, its id as index, columns named
        by layer and channel. `attrs["skipped"]` says of the other k why.

    Raises
    ------
    MedgraftError
        A name does not exist, or there are no images.

    Examples
    --------
    >>> vectors = encode(table, tap="conv_head").to_numpy()  # doctest: +SKIP
    """
    import pandas as pd

    table = images if isinstance(images, ImageTable) else _unlabelled(images)
    extractor = extractor or Extractor()
    pixels = Preprocessing(steps_of(preprocess), tuple(sizes), join, resize)
    scenario = Scenario(backbone, tap, Head(""), pixels, Pooled(pooling))
    feature_plan = feature_plan_of(scenario, extractor)
    codes, rows, skipped = feature_plan.codes(table, extractor)
    if not len(rows):
        why = (*table.skipped, *skipped)
        raise DataError(
            f"none of {len(why)} images can be read; the first: {why[0].reason if why else ''}"
        )
    found = pd.DataFrame(codes[0], index=pd.Index(rows.ids, name="id"))
    found.columns = pd.Index(column_names(feature_plan, extractor))
    if out is not None:
        with written_file(Path(out)) as temporary:
            found.to_parquet(temporary)
    found.attrs["skipped"] = (*table.skipped, *skipped)
    return found


def _unlabelled(paths: Sequence[str | os.PathLike[str]]) -> ImageTable:
    """The images that paths, folders and patterns name, without labels; the path is the id."""
    skipped, hashes, headers = [], {}, {}
    for file, problem in find_images([os.fspath(path) for path in paths]).items():
        try:
            if problem:
                raise OSError(problem)
            hashes[file], header = hash_and_header(file)
            if header is not None:
                headers[hashes[file]] = header
        except OSError as error:
            skipped.append(Skipped(shown(file), str(error)))
    n, ids = len(hashes), np.array(public_names(list(hashes)), dtype=np.str_)
    table = ImageTable(
        ids=ids,
        sources=tuple(Source(file) for file in hashes),
        content_hashes=np.array(list(hashes.values()), dtype=np.str_),
        labels=np.full(n, -1),
        groups=ids,
        splits=np.full(n, "", dtype=np.str_),
        masks=np.full(n, "", dtype=np.str_),
        classes=(),
        skipped=tuple(skipped),
    )
    return with_rule(table, headers)


def column_names(feature_plan: FeaturePlan, extractor: Extractor) -> list[str]:
    """Names of a reading's numbers: layer and channel, and what tells its parts apart."""
    parts = feature_plan.views[0][:1] if feature_plan.join == "mean" else feature_plan.views[0]
    names = []
    for spec in parts:
        words = [f"{spec.size}px"] if len({part.size for part in parts}) > 1 else []
        if len({part.edits for part in parts}) > 1:
            words += [edit.key for edit in spec.edits] or ["raw"]
        for tap, pooling in itertools.product(spec.taps, spec.poolings):
            name = ".".join([*words, f"{tap}@{pooling}"])
            channels = extractor.backbone(spec.backbone).tap(tap).channels
            names += [f"{name}:{channel}" for channel in range(channels)]
    return names
