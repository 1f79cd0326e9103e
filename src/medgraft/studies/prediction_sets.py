"""How well the prediction sets of what a study recommends do, out of fold and on the test split."""

from __future__ import annotations

from collections.abc import Mapping

from medgraft.evaluate.conformal import (
    OwnProbability,
    cross_fit_sets,
    describe_sets,
    sets_at,
)
from medgraft.evaluate.metrics import judge
from medgraft.learn.cross_validation import CrossFitted
from medgraft.types import Predictions, SetFigures


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
