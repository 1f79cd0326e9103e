"""Which scenario to use, and why, in words; the rule itself stands in `simplest.py`.

Nothing here may see the test split.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from medgraft.evaluate.compare import upper_loss
from medgraft.evaluate.metrics import METRICS
from medgraft.evaluate.selection import (
    Resampled,
    best,
    compare_with_best,
    corrected_by,
    judged_out_of_bag,
)
from medgraft.studies.simplest import Rule, allowed_loss
from medgraft.types import Comparison, Estimate, ImageTable


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The choice: `recommended` and `best` are keys; `margin` is the loss that was allowed.

    comparisons : best against every other, in the order of the scenarios.
    corrected : the recommended scenario's figure after correction for having been chosen.
    close : keys of all that are close enough to the best, itself included, simplest first.
    barred : of those, what may not be recommended.
    cost : what choosing so loses against always taking the best, judged out of bag.
    """

    recommended: str
    best: str
    margin: float
    comparisons: tuple[Comparison, ...]
    corrected: Estimate
    close: tuple[str, ...] = ()
    barred: frozenset[str] = frozenset()
    cost: float = 0.0

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
    losses = {c.b: upper_loss(c, metric) for c in comparisons}
    rule = Rule.of(drawn, np.array([losses.get(key, 0.0) for key in keys]))
    stopped = np.array([key in barred for key in keys])
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


def explain_choice(
    choice: Recommendation,
    estimates: dict[str, Estimate],
    table: ImageTable,
    metric: str,
    by_tap: Sequence[tuple[str, float]],
) -> str:
    """Why this scenario, in a few plain sentences.

    by_tap : (tap, its best value), from shallow to deep, of the recommended backbone.
    """
    development = table.development
    counts = np.bincount(development.labels, minlength=len(table.classes))
    smallest = int(counts.argmin())
    n_groups = len(np.unique(development.groups))
    chosen, best = estimates[choice.recommended], estimates[choice.best]
    name = METRIC_WORDS.get(metric, metric)
    groups = f" from {n_groups:,} groups" if n_groups < len(development) else ""
    text = [
        f"Among {len(estimates)} scenarios judged out of fold on {len(development):,} images"
        f"{groups} (fewest: {counts[smallest]:,} of class {table.classes[smallest]}), "
    ]
    fit_for = " and does not fail the audit of its evidence" if choice.barred else ""
    if choice.recommended == choice.best:
        text[0] += (
            f"{choice.recommended} has the best {name}, {_figure(chosen)}, and no simpler one can "
            f"be expected to lose less than the {choice.margin:.4f} that is allowed{fit_for}."
        )
    else:
        text[0] += (
            f"{choice.recommended} is the simplest that {_promise(choice, metric)}{fit_for}: its "
            f"{name} is {_figure(chosen)} against {_figure(best)} of {choice.best}, "
            f"{_lost(choice, metric)}."
        )
    if len(by_tap) > 1:
        worth = [METRICS[metric].sign * value for _, value in by_tap]
        peak = int(np.argmax(worth))
        where = "the deepest tap" if peak == len(by_tap) - 1 else f"the tap {by_tap[peak][0]}"
        text.append(
            f"By depth, {name} goes from {by_tap[0][1]:.3f} at {by_tap[0][0]} to "
            f"{by_tap[-1][1]:.3f} at {by_tap[-1][0]}, with its peak of {by_tap[peak][1]:.3f} at "
            f"{where}."
        )
    low, high = choice.corrected.low, choice.corrected.high
    text.append(
        f"Corrected for having been chosen, the figure is {choice.corrected.value:.3f} "
        f"(95 % interval {low:.3f} to {high:.3f})."
    )
    return " ".join(text)


METRIC_WORDS = {
    "auroc": "AUROC",
    "auprc": "average precision",
    "mcc": "Matthews correlation",
    "macro_f1": "macro F1",
    "balanced_accuracy": "balanced accuracy",
    "log_loss": "log loss",
    "ece": "calibration error",
    "brier": "Brier score",
}


def _is_sure(choice: Recommendation, metric: str) -> bool:
    return choice.loss(choice.recommended, metric) <= choice.margin


def _promise(choice: Recommendation, metric: str) -> str:
    if _is_sure(choice, metric):
        return "is surely close to the best"
    return f"can be expected to lose no more than the {choice.margin:.4f} that is allowed"


def _lost(choice: Recommendation, metric: str) -> str:
    """What is lost for simplicity, and how sure that is."""
    loss = choice.loss(choice.recommended, metric)
    if _is_sure(choice, metric):
        return (
            f"a loss of at most {max(loss, 0):.4f} (upper end of the paired 95 % interval) where "
            f"{choice.margin:.4f} was allowed"
        )
    cost = f"lost {choice.cost:.4f} on average" if choice.cost > 0 else "lost nothing on average"
    return (
        "which is partly luck: rehearsed on images that had no part in the choice, choosing so "
        f"instead of the best {cost}. To be sure these images are too few: the loss may be up to "
        f"{loss:.4f} (upper end of the paired 95 % interval)"
    )


def _figure(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"
