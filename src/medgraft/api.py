"""What a Python user calls first: `load` a table, `study` it; or only `encode` images.

Where data name several findings an image, `load_panel` reads them, and `study` studies each.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, overload

from medgraft.data.ingest import LoadOptions, load_any
from medgraft.data.ingest import load as load_table
from medgraft.data.listing import shown
from medgraft.data.unlabelled import unlabelled
from medgraft.errors import DataError
from medgraft.features.backbones import DEFAULT
from medgraft.features.extract import Extractor
from medgraft.features.feature_plan import FeaturePlan, feature_plan_of
from medgraft.features.taps import STAGES
from medgraft.files import written_file
from medgraft.panel import Panel, Uncertain
from medgraft.run_folders import study_panel_to_folder, study_to_folder
from medgraft.scenario import Head, Pooled, Preprocessing, Scenario, steps_of
from medgraft.studies.options import StudyOptions
from medgraft.studies.panel import PanelStudy, ScenarioChoice, run_panel
from medgraft.studies.run import Study, run_study
from medgraft.types import ImageTable, Join, ResizeRule

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
    ordered: bool = False,
    order: Sequence[str] = (),
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
    ordered, order
        Whether the classes are grades, in the order that their names count up (`grade 1`, `mild`);
        or the names in their order, the lowest grade first.
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
        ordered=ordered,
        order=tuple(order),
        leave_out=tuple(leave_out),
        rename=tuple((rename or {}).items()),
        drop_classes_below=drop_classes_below,
        page=page,
        pixel_range=pixel_range,
        window=window,
        ids=None if ids is None else Path(ids),
    )
    return load_table(os.fspath(data), options)


def load_panel(
    data: str | os.PathLike[str],
    options: LoadOptions | None = None,
    *,
    uncertain: Uncertain = "unknown",
) -> Panel:
    """Read data that name several findings an image into a `Panel`.

    Parameters
    ----------
    options
        How it is read, such as `LoadOptions(images=("images",), group="PatientID")`.
    uncertain
        What findings are taken as that were looked for and not decided: `unknown`, `negative` or
        `positive`.

    Raises
    ------
    DataError
        As `load`; or an image has one question only, which `load` reads.
    """
    found = load_any(os.fspath(data), options, uncertain=uncertain)
    if not isinstance(found, Panel):
        raise DataError(
            f"{shown(os.fspath(data))} holds one question an image ({', '.join(found.classes)}), "
            "not several findings; read it with medgraft.load"
        )
    return found


@overload
def study(
    table: ImageTable,
    options: StudyOptions | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    extractor: Extractor | None = None,
) -> Study: ...


@overload
def study(
    table: Panel,
    options: StudyOptions | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    extractor: Extractor | None = None,
    scenario: ScenarioChoice = "auto",
) -> PanelStudy: ...


def study(
    table: ImageTable | Panel,
    options: StudyOptions | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    extractor: Extractor | None = None,
    scenario: ScenarioChoice = "auto",
) -> Study | PanelStudy:
    """Compare scenarios on a table, recommend one, and look at the test split once.

    Parameters
    ----------
    table
        Of one question an image; or a `Panel`, each of whose findings is then studied, on the same
        folds, and all of them together.
    options
        What is compared; every default is the one to use when in doubt.
    out
        A folder for the report, result.json, predictions.parquet and model/; nothing is written
        where it is None.
    extractor
        Reads and caches codes; the user's cache and all cores by default.
    scenario
        Of a panel: `one` for all findings, each its `own`, or one where the two cannot be told
        apart (`auto`).

    Raises
    ------
    MedgraftError
        The data, the options or the folder do not allow a study.
    """
    options, extractor = options or StudyOptions(), extractor or Extractor()
    if isinstance(table, Panel):
        if out is None:
            return run_panel(table, options, extractor, scenario=scenario)
        return study_panel_to_folder(table, options, extractor, Path(out), scenario=scenario)
    if out is None:
        options.refuse_unused()
        return run_study(table, options, extractor)
    return study_to_folder(table, options, extractor, Path(out))


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

    table = images if isinstance(images, ImageTable) else unlabelled(images)
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
