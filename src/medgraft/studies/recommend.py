"""Which scenario to use, and why; the rule itself stands in `simplest.py`.

Nothing here may see the test split.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from medgraft.evaluate.compare import upper_loss
from medgraft.evaluate.metrics import METRICS
from medgraft.evaluate.winners_curse import (
    Resampled,
    best,
    compare_with_best,
    corrected_by,
    judged_out_of_bag,
)
from medgraft.results.figures import Comparison
from medgraft.results.recommendation import AuditResult, Rationale
from medgraft.studies.simplest import Rule, allowed_loss
from medgraft.types import Estimate, ImageTable, Ints


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The choice: `recommended` and `best` are keys; `margin` is the loss that was allowed.

    comparisons : best against every other, in the order of the scenarios.
    corrected : the recommended scenario's figure after correction for having been chosen.
    close : keys of all that are close enough to the best, itself included, simplest first.
    barred : of those, what may not be recommended.
    cost : what choosing so loses against always taking the best, judged out of bag. for_all :
    whether it was decided for several findings together.
    """

    recommended: str
    best: str
    margin: float
    comparisons: tuple[Comparison, ...]
    corrected: Estimate
    close: tuple[str, ...] = ()
    barred: frozenset[str] = frozenset()
    cost: float = 0.0
    for_all: bool = False

    def loss(self, key: str, metric: str) -> float:
        """The upper bound of what scenario `key` loses against the best."""
        for comparison in self.comparisons:
            if comparison.b == key:
                return upper_loss(comparison, metric)
        return 0.0


def recommend(drawn: Resampled, barred: Collection[str] = ()) -> Recommendation:
    """Choose among scenarios, simplest first, by their out-of-fold predictions.

    drawn : from `resample_in_and_out`, which refuses test images. barred : keys of what is not
    chosen while anything else is close enough to the best.
    """
    metric, keys = drawn.metric, [p.scenario for p in drawn.scenarios]
    comparisons = compare_with_best(drawn)
    rule, stopped = _rule(drawn, comparisons), np.array([key in barred for key in keys])
    chosen, repeated = rule.choose(stopped), rule.choose_in_bags(stopped)
    top = int(best(drawn.values[:, None], metric)[0])
    bests = judged_out_of_bag(drawn, best(drawn.in_bag[:, : len(repeated)], metric))
    lost = bests - judged_out_of_bag(drawn, repeated)
    return Recommendation(
        recommended=keys[chosen],
        best=keys[top],
        margin=float(allowed_loss(drawn.values[top], metric)),
        comparisons=comparisons,
        corrected=corrected_by(drawn, chosen, repeated),
        cost=METRICS[metric].sign * float(np.nanmean(lost)),
        close=tuple(keys[i] for i in np.flatnonzero(rule.close(rule.worth))),
        barred=frozenset(barred),
    )


def decided_for_all(choice: Recommendation, key: str, own: Estimate) -> Recommendation:
    """The same with the scenario that was decided for several findings together.

    Its `own` figure is kept as it is: of a choice by the mean over the findings, chance has a share
    in each that is as much smaller as there are more of them.
    """
    return replace(choice, recommended=key, corrected=own, cost=0.0, for_all=True)


def recommended_in_bags(drawn: Resampled, barred: Collection[str] = ()) -> Ints:
    """What would be recommended by each of the first bags alone, (n_bags,) of scenarios.

    Parameters as in `recommend`.
    """
    stopped = np.array([p.scenario in barred for p in drawn.scenarios])
    return _rule(drawn, compare_with_best(drawn)).choose_in_bags(stopped)


def _rule(drawn: Resampled, comparisons: Sequence[Comparison]) -> Rule:
    losses = {c.b: upper_loss(c, drawn.metric) for c in comparisons}
    return Rule.of(drawn, np.array([losses.get(p.scenario, 0.0) for p in drawn.scenarios]))


def explain_choice(
    choice: Recommendation,
    estimates: Mapping[str, Estimate],
    table: ImageTable,
    metric: str,
    by_tap: Sequence[tuple[str, float]] = (),
    audits: Mapping[str, AuditResult] | None = None,
) -> Rationale:
    """Why this scenario: what it was compared with, and what was allowed and lost.

    by_tap : (tap, its best value), from shallow to deep, of the recommended backbone. audits : by
    key, in the order they were made.
    """
    development = table.development
    counts = np.bincount(development.labels, minlength=len(table.classes))
    return Rationale(
        metric=metric,
        n_scenarios=len(estimates),
        n_images=len(development),
        n_groups=len(np.unique(development.groups)),
        smallest_class=table.classes[int(counts.argmin())],
        n_smallest=int(counts.min()),
        recommended=choice.recommended,
        figure=estimates[choice.recommended],
        best=choice.best,
        best_figure=estimates[choice.best],
        margin=choice.margin,
        loss=choice.loss(choice.recommended, metric),
        cost=choice.cost,
        corrected=choice.corrected,
        by_tap=tuple(by_tap),
        audits=audits or {},
        for_all=choice.for_all,
    )
