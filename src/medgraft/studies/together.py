"""What one network learns of several findings, and the one view in which they are all judged."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from medgraft.data.split import Together, folds_of
from medgraft.features.extract import Extractor
from medgraft.panel import Panel
from medgraft.scenario import TRAINED
from medgraft.studies.options import StudyOptions
from medgraft.studies.prepare import prepare
from medgraft.studies.session import Session
from medgraft.types import Folds


def learned_together(
    panel: Panel, names: Sequence[str], options: StudyOptions, extractor: Extractor, folds: Folds
) -> tuple[StudyOptions, Together | None]:
    """The findings that are judged, on the images of `folds` that can be read; None for no network.

    A network has one start and one holdout for all findings: where the surface of the images tells
    one of them, all are judged in changed views.

    Raises
    ------
    DataError, FitError, ScenarioError, BackboneError
        As `prepare`.
    """
    if not set(TRAINED) & set(options.families):
        return options, None
    session, read, changed = Session(extractor, None), set[str](), False
    for name in names:
        development = prepare(panel.question(name), options, session, folds).development
        read |= set(development.table.ids.tolist())
        changed |= development.folds.view is not None
    if options.validate == "auto":
        options = dataclasses.replace(options, validate="changed" if changed else "plain")
    kept = panel.select(np.isin(panel.images.ids, list(read)))
    columns = [panel.names.index(name) for name in names]
    kept = dataclasses.replace(kept, names=tuple(names), marks=kept.marks[:, columns])
    return options, Together(kept, folds_of(folds, kept.images))
