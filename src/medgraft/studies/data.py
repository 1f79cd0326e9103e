"""The data audit by itself: from a table to findings and suggestions, without a study.

One pass reads codes, another looks at the pictures; a plain probe judged out of fold says which
labels are suspect. What the checks are stands in the room `profile`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from medgraft.data.split import Development, keep_copies_together, labelled, make_folds
from medgraft.errors import FitError, UnreadableDataError
from medgraft.features.backbones import DEFAULT
from medgraft.features.extract import Extractor, without_unreadable
from medgraft.features.feature_plan import feature_plan_of
from medgraft.features.taps import STAGES
from medgraft.learn.fit import cross_fitted_all
from medgraft.panel import Panel
from medgraft.profile.image_stats import read_image_stats
from medgraft.profile.profile import ProfileInputs, examine
from medgraft.profile.several import by_marks, examine_panel
from medgraft.results.data import DataAudit
from medgraft.studies.options import StudyOptions
from medgraft.studies.prepare import divided
from medgraft.types import FeatureSpec, FeatureTable, ImageTable, Predictions, Scenario, Skipped

# Of ten made sets with one misfiled image each, codes of all stages found eight, of the last layer
# alone two.
PROBE = Scenario.from_key(f"probe/{DEFAULT}/{STAGES}/logistic")
FOLDS = 5


def audit_data(
    table: ImageTable, extractor: Extractor, *, with_codes: bool = True, seed: int = 0
) -> DataAudit:
    """Run every check of the data.

    Parameters
    ----------
    table
        From `data.ingest.load`; images without a label are left out, and named.
    with_codes
        Read codes of the default backbone. Without them, near copies are judged by their hashes
        alone, and neither shifts nor wrong labels are looked for.

    Raises
    ------
    DataError
        No image has a label and can be read.
    """
    table, spec, codes = _readable(labelled(table), extractor, with_codes=with_codes)
    oof, why = _out_of_fold(table, extractor, seed) if with_codes else (None, "no codes")
    stats = read_image_stats(table, spec, extractor)
    as_studied = divided(table, StudyOptions(seed=seed))
    evidence = ProfileInputs(codes, stats, oof, why, divided=as_studied)
    return DataAudit(table, examine(table, evidence, seed=seed))


def audit_panel(
    panel: Panel, extractor: Extractor, *, with_codes: bool = True, seed: int = 0
) -> DataAudit:
    """The same where images have several findings: what concerns a label, of each finding.

    Raises
    ------
    DataError
        No image can be read.
    """
    table, spec, codes = _readable(by_marks(panel), extractor, with_codes=with_codes)
    panel = panel.select(np.isin(panel.images.ids, table.ids))
    images = replace(panel.images, skipped=table.skipped, findings=table.findings)
    panel = replace(panel, images=images)
    table = by_marks(panel)
    oof: dict[str, Predictions] = {}
    for name in panel.names if with_codes else ():
        found, _ = _out_of_fold(panel.question(name), extractor, seed)
        oof |= {name: found} if found is not None else {}
    why = "too few images with it or without it to learn from" if with_codes else "no codes"
    evidence = ProfileInputs(codes, read_image_stats(table, spec, extractor), None, why)
    return DataAudit(table, examine_panel(panel, evidence, oof, seed=seed), panel)


def _readable(
    table: ImageTable, extractor: Extractor, *, with_codes: bool
) -> tuple[ImageTable, FeatureSpec, FeatureTable | None]:
    """The images that can be read, how they are looked at, and their codes."""
    spec = feature_plan_of(PROBE, extractor).canvas
    if with_codes:
        skipped = extractor.prepare(table, spec)
    else:
        canvases = extractor.canvases(table, spec)
        skipped = tuple(one for one in canvases if isinstance(one, Skipped))
    table = without_unreadable(table, skipped)
    if not len(table):
        first = table.skipped[0]
        raise UnreadableDataError(
            f"no image can be checked; the first: {first.source}: {first.reason}"
        )
    return table, spec, extractor.read(table, spec) if with_codes else None


def _out_of_fold(
    table: ImageTable, extractor: Extractor, seed: int
) -> tuple[Predictions | None, str]:
    """Predictions of the development images by a plain probe, or why there are none."""
    development = keep_copies_together(table).development
    if len(np.unique(development.labels)) < 2:
        return None, "two classes are needed to learn from"
    try:
        dealt = Development(development, make_folds(development, FOLDS, seed))
        (found,) = cross_fitted_all([PROBE], dealt, extractor)
    except FitError as error:
        return None, str(error)
    return found.unchanged, ""
