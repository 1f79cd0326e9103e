"""What a Python user calls first: `load` a table, `study` it."""

from __future__ import annotations

import os
from pathlib import Path

from medgraft.data.ingest import LoadOptions
from medgraft.data.ingest import load as load_table
from medgraft.errors import MedgraftError
from medgraft.features.engine import ENGINES
from medgraft.features.extract import Extractor
from medgraft.files import explained
from medgraft.report.build import write_report
from medgraft.report.gather import gather
from medgraft.studies.plan import StudyOptions
from medgraft.studies.run import Study, config, run_study
from medgraft.studies.store import RunStore
from medgraft.types import ImageTable


def load(
    data: str | os.PathLike[str],
    *,
    group: str | None = None,
    no_groups: bool = False,
    positive: str | None = None,
) -> ImageTable:
    """Read a folder, CSV or MedMNIST file into an `ImageTable`.

    Parameters
    ----------
    data
        `class/image` or `split/class/image` folders, a CSV (`path,label[,split][,group]`) or .npz.
    group
        A column's name or `regex:PATTERN` on the file names; guessed from the names by default.
    no_groups
        Every image is a group of its own, and nothing is guessed.
    positive
        The positive class of a two-class problem.

    Raises
    ------
    DataError
        There is nothing to learn from; the text says why and what to do.
    """
    return load_table(
        os.fspath(data), LoadOptions(group=group, no_groups=no_groups, positive=positive)
    )


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
    asked = config(table, options, extractor)  # what cannot be studied leaves no folder behind
    with explained(out):
        out.mkdir(parents=True, exist_ok=True)
    store = RunStore(out, asked, resume=resume)
    finished = run_study(table, options, extractor, store)
    write_report(out / "report.html", gather(finished, extractor, command))
    predictions = [*finished.oof.values(), *finished.test.values()]
    store.save(finished.result, predictions, finished.fitted)
    extractor.cache.prune()
    return finished
