"""Where the threshold lies for unlabelled images of another place, by several rules.

Which serves best was measured on shifted pairs (docs/decisions/0026-threshold-elsewhere.md).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from medgraft.bundle.class_shares import ClassShares
from medgraft.evaluate.groups import by_group
from medgraft.evaluate.intervals import repeats
from medgraft.evaluate.metrics import give_labels
from medgraft.evaluate.prior import adjust
from medgraft.evaluate.unlabelled import halfway, matching_threshold
from medgraft.profile.reference import Reference
from medgraft.results.adaptation import NewThreshold, Verdict
from medgraft.types import FittedScenario, Floats, Operating, Predictions

AUTO, HALFWAY, QUANTILE, HALF, STEADY = (
    "auto",
    "halfway",
    "quantile",
    "half",
    "steady",
)
RULES = {
    AUTO: "by what is known and found",
    HALFWAY: "half of the way to as many positive",
    QUANTILE: "as many positive",
    HALF: "the most probable class",
    STEADY: "as before",
}


def auto_rule(verdict: Verdict, to: ClassShares | None) -> str:
    """The rule that loses least: where images look as before the threshold holds for any mix."""
    if verdict != "other look":
        return STEADY
    return HALFWAY if to is None or to.estimated else QUANTILE


def set_threshold(
    fitted: FittedScenario,
    reference: Reference,
    said: Predictions,
    to: ClassShares | None,
    rule: str,
) -> NewThreshold | None:
    """The threshold by a rule, at the probabilities for the shares `to`; None for many classes."""
    steady = fitted.operating
    if steady is None or fitted.positive is None:
        return None
    column = fitted.classes.index(fitted.positive)
    given = to.used[column] if to is not None and to.estimated is None else None

    def by_rule(before: float, old: Floats, new: Floats) -> float:
        """For one unit, an image or a group; old, new : its probabilities of the positive class."""
        if rule == HALF:
            return 0.5
        steady = before if to is None else _carried(before, column, to)
        if rule == STEADY:
            return steady
        share = float((old >= before).mean()) if given is None else given
        return halfway(steady, matching_threshold(new, share), 0.5 if rule == HALFWAY else 1.0)

    at_shares = said
    if to is not None:
        at_shares = dataclasses.replace(said, y_prob=adjust(said.y_prob, to.training, to.used))
    grouped = None
    if steady.by_group is not None and rule not in (HALF, STEADY) and not repeats(said.groups):
        grouped = steady.by_group if to is None else _carried(steady.by_group, column, to)
    elif steady.by_group is not None:
        learned = np.unique(reference.groups, return_inverse=True)[1].ravel()
        means = np.bincount(learned, reference.prob[:, column]) / np.bincount(learned)
        grouped = by_rule(steady.by_group, means, by_group(at_shares).y_prob[:, column])
    found = by_rule(steady.threshold, reference.prob[:, column], at_shares.y_prob[:, column])
    before = give_labels(said.y_prob, column, steady.threshold)
    after = give_labels(at_shares.y_prob, column, found)
    words = RULES[rule]
    if rule in (HALFWAY, QUANTILE):
        aim = "out of fold" if given is None else "was said"
        words = f"{words} as {aim}, set on {len(said)} unlabelled images"
    return NewThreshold(Operating(found, words, grouped), int((before != after).sum()))


def _carried(threshold: float, column: int, to: ClassShares) -> float:
    """The threshold that gives the same labels once probabilities are those of other shares."""
    both = np.full((1, 2), 1 - threshold)
    both[0, column] = threshold
    return float(adjust(both, to.training, to.used)[0, column])
