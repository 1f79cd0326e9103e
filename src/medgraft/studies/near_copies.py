"""A test split that a study sets aside must not tear near copies of a picture apart.

Hashes say which images may be copies, and codes confirm it; codes are only asked where a pair is
torn. Where one is, the groups that share a picture are joined and the split is made again.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from medgraft.data.panel_split import divided_panel, panel_folds
from medgraft.data.pool.pool import shorter_side
from medgraft.data.split import keep_near_copies_together, with_test_split
from medgraft.errors import FitError
from medgraft.features.extract import Extractor, without
from medgraft.panel import Panel
from medgraft.profile.duplicates import find_pairs
from medgraft.profile.image_stats import ImageStats, read_image_stats
from medgraft.studies.options import StudyOptions
from medgraft.studies.plan import plain_canvas, plan
from medgraft.types import FeatureSpec, ImageTable, Ints

LEAST_GROUPS = 3  # of each class: two to learn from and one to test


def torn_pairs(
    table: ImageTable, image_stats: ImageStats, canvas: FeatureSpec, seed: int, extractor: Extractor
) -> Ints | None:
    """The rows (m, 2) of all near copies, where some of them lie across the test split; else None.

    image_stats : of the images of `table`, on `canvas`.
    """
    test = table.splits == "test"

    def torn(pairs: Ints) -> bool:
        return bool((test[pairs[:, 0]] != test[pairs[:, 1]]).any())

    pairs = find_pairs(table, image_stats, None, seed).rows
    if not torn(pairs):
        return None
    pairs = find_pairs(table, image_stats, extractor.read(table, canvas), seed).rows
    return pairs if torn(pairs) else None


def without_torn_copies(
    whole: ImageTable,
    table: ImageTable,
    image_stats: ImageStats,
    canvas: FeatureSpec,
    options: StudyOptions,
    extractor: Extractor,
) -> ImageTable:
    """`table`, or where the test split that was set aside tears near copies apart, another split.

    whole : before the split was made, with images that cannot be read.
    """
    pairs = torn_pairs(table, image_stats, canvas, options.seed, extractor)
    if pairs is None:
        return table
    joined = keep_near_copies_together(whole.select(np.isin(whole.ids, table.ids)), pairs)
    of_class = [joined.groups[joined.labels == label] for label in range(len(joined.classes))]
    if any(len(np.unique(groups)) < LEAST_GROUPS for groups in of_class):
        return table  # all of a class would be one group; the profile names the torn pairs
    again = with_test_split(joined, options.test_fraction, options.seed)
    return dataclasses.replace(again, skipped=table.skipped)


def divided_without_torn_copies(whole: Panel, options: StudyOptions, extractor: Extractor) -> Panel:
    """`divided_panel`, whose test split tears no near copies apart where it was set aside.

    Where fewer findings could be judged with their groups joined, the split stays as it is, and the
    report of each finding names the pairs.

    Raises
    ------
    ScenarioError, BackboneError
        As `plan`.
    """
    divided = divided_panel(whole, options.test_fraction, options.seed)
    if (whole.images.splits == "test").any():
        return divided
    images = divided.images
    shorter = shorter_side(images.development)
    canvas = plain_canvas(plan(options, extractor, len(images.development), 2, shorter), extractor)
    table = without(images, extractor.prepare(images, canvas))
    if not len(table):
        return divided  # what is asked of it first says why
    stats = read_image_stats(table, canvas, extractor)
    pairs = torn_pairs(table, stats, canvas, options.seed, extractor)
    if pairs is None:
        return divided
    joined = keep_near_copies_together(table, pairs)
    group_of = dict(zip(whole.images.ids.tolist(), whole.images.groups.tolist(), strict=True))
    group_of |= dict(zip(joined.ids.tolist(), joined.groups.tolist(), strict=True))
    together = dataclasses.replace(
        whole.images,
        groups=np.array([group_of[one] for one in whole.images.ids.tolist()]),
        findings=(*whole.images.findings, joined.findings[-1]),
    )
    again = divided_panel(
        dataclasses.replace(whole, images=together), options.test_fraction, options.seed
    )
    few = _not_judged(again, options) > _not_judged(divided, options)
    return divided if few else again


def _not_judged(panel: Panel, options: StudyOptions) -> int:
    """How many findings have too few groups."""
    try:
        return len(panel_folds(panel, options.n_folds, options.seed)[1])
    except FitError:
        return len(panel.names)
