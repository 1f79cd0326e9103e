"""The data audit by itself: from a table to findings and suggestions, without a study.

One pass reads codes, another looks at the pictures; a plain probe judged out of fold says which
labels are suspect. What the checks are stands in the room `profile`.
"""

from __future__ import annotations

import numpy as np

from medgraft.data.split import Development, keep_copies_together, labelled, make_folds
from medgraft.errors import FitError, UnreadableDataError
from medgraft.features.backbones import DEFAULT
from medgraft.features.extract import Extractor, without_unreadable
from medgraft.features.feature_plan import feature_plan_of
from medgraft.features.taps import STAGES
from medgraft.learn.fit import cross_fitted_all
from medgraft.profile.image_stats import read_image_stats
from medgraft.profile.profile import ProfileInputs, examine
from medgraft.results.data import DataAudit
from medgraft.studies.options import StudyOptions
from medgraft.studies.prepare import divided
from medgraft.types import ImageTable, Predictions, Scenario, Skipped

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
    table = labelled(table)
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
    codes = extractor.read(table, spec) if with_codes else None
    oof, why = _out_of_fold(table, extractor, seed) if with_codes else (None, "no codes")
    as_studied = divided(table, StudyOptions(seed=seed))
    stats = read_image_stats(table, spec, extractor)
    evidence = ProfileInputs(codes, stats, oof, why, divided=as_studied)
    return DataAudit(table, examine(table, evidence, seed=seed))


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
