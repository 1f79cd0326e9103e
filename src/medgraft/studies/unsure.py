"""What a study says of where its classifier is not sure: sets, and images unlike all others."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from medgraft.data.groups.keys import known
from medgraft.evaluate.conformal import OwnProbability, cross_fit_sets, describe_sets, sets_at
from medgraft.evaluate.metrics import judge
from medgraft.evaluate.subgroups import subgroups_of
from medgraft.features.extract import Extractor
from medgraft.learn.cross_validation import CrossFitted
from medgraft.profile.reference import Reference
from medgraft.profile.unlike import Unlikeness
from medgraft.results.figures import SetFigures, Subgroups, UnlikeFigures
from medgraft.studies.prepare import Prepared
from medgraft.types import ImageTable, Predictions


def set_figures(
    own: OwnProbability, crossed: CrossFitted, test: Predictions | None, alpha: float
) -> Mapping[str, SetFigures]:
    """Coverage and size, `validation` out of fold and `test`, where there is one.

    Out of fold the sets of a fold are made by the thresholds of the others; on the test by those of
    the deployed classifier.
    """
    classes = crossed.unchanged.classes
    always = tuple(classes[k] for k in own.too_few(alpha))
    found = {
        "validation": describe_sets(
            cross_fit_sets(crossed.unchanged, alpha), crossed.unchanged, alpha, always
        )
    }
    if test is not None and len(test):
        labels = judge(test, crossed.fitted.operating).labels
        sets = sets_at(test.y_prob, labels, own.thresholds(alpha))
        found["test"] = describe_sets(sets, test, alpha, always)
    return found


def unlike_figures(
    reference: Reference, test: ImageTable, extractor: Extractor
) -> UnlikeFigures | None:
    """How many test images, all of which can be read, are unlike those learned from."""
    if not len(test):
        return None
    codes, _ = reference.encode(test, extractor)
    unlikeness = Unlikeness.of(reference)
    return unlikeness.figures(unlikeness.judge(codes), test.groups)


def by_subgroup(
    prepared: Prepared, crossed: CrossFitted, test: Predictions | None
) -> tuple[Subgroups, ...]:
    """What is recommended, by the values of the columns asked for: on the test, or out of fold."""
    options, table = prepared.options, prepared.table
    if not options.subgroups:
        return ()
    judged = crossed.unchanged if test is None or not len(test) else test
    operating = None if judged is crossed.unchanged else crossed.fitted.operating
    row_of = {id: row for row, id in enumerate(table.ids.tolist())}
    rows = np.array([row_of[id] for id in judged.ids.tolist()], np.int64)
    # That they hold sub-groups was checked before; unreadable images may have been some of them.
    columns = {name: known(table.metadata[name])[rows] for name in options.subgroups}
    return subgroups_of(judged, columns, options.metric, operating)
