"""Which scenario to use, and why, in words.

The rule: the simplest scenario that is surely not much worse than the best. "Not much" is one
point of the metric, and at most a third of what the best has left to perfection; "surely" is the
upper end of the paired 95 % interval of the loss. Nothing here may see the test split.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from medgraft.evaluate.compare import bias_corrected, compare, upper_loss
from medgraft.evaluate.metrics import LOWER_IS_BETTER
from medgraft.types import Comparison, Estimate, Floats, ImageTable, Ints, Predictions

POINT = 0.01
SHARE = 1 / 3


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The choice: `recommended` and `best` are keys; `margin` is the loss that was allowed.

    comparisons : best against every other, in the order of `predictions`.
    corrected : the recommended scenario's figure after correction for having been chosen.
    close : keys of all that are surely close to the best, itself included, simplest first.
    barred : of those, what may not be recommended.
    """

    recommended: str
    best: str
    margin: float
    comparisons: tuple[Comparison, ...]
    corrected: Estimate
    close: tuple[str, ...] = ()
    barred: frozenset[str] = frozenset()

    def loss(self, key: str, metric: str) -> float:
        """The upper bound of what scenario `key` loses against the best."""
        for comparison in self.comparisons:
            if comparison.b == key:
                return upper_loss(comparison, metric)
        return 0.0


def allowed_loss(best: Floats | float, metric: str) -> Floats:
    """The loss that simplicity may cost: `min(0.01, a third of what is left to perfection)`.

    >>> float(allowed_loss(0.9, "auroc")), round(float(allowed_loss(0.994, "auroc")), 4)
    (0.01, 0.002)
    """
    left = np.asarray(best) if metric in LOWER_IS_BETTER else 1 - np.asarray(best)
    return np.asarray(np.minimum(POINT, SHARE * np.maximum(left, 0)))


def recommend(
    predictions: Sequence[Predictions],
    values: Sequence[float],
    metric: str,
    barred: Collection[str] = (),
) -> Recommendation:
    """Choose among out-of-fold predictions, given simplest first.

    values : (n_scenarios,) the metric of each. barred : keys of what is not chosen while anything
    else is surely close to the best.

    Raises
    ------
    LeakError
        Test images are among them.
    """
    worth = -np.asarray(values) if metric in LOWER_IS_BETTER else np.asarray(values)
    best = int(np.nanargmax(worth))
    margin = float(allowed_loss(values[best], metric))
    others = [p for i, p in enumerate(predictions) if i != best]
    comparisons = compare(predictions[best], others, metric)
    losses = {c.b: upper_loss(c, metric) for c in comparisons}
    close = [i for i, p in enumerate(predictions) if i == best or losses[p.scenario] <= margin]
    stopped = np.array([p.scenario in barred for p in predictions])
    chosen = next((i for i in close if not stopped[i]), close[0])

    # How far the bound of each loss lies above the loss itself, (n_scenarios,).
    bounds = np.array([losses.get(p.scenario, 0.0) for p in predictions])
    slack = bounds - (worth[best] - worth)
    rule = functools.partial(choose_in_resamples, slack=slack, metric=metric, barred=stopped)
    corrected = bias_corrected(predictions, metric, choose=rule)
    corrected = replace(corrected, method=f"{corrected.method}; {REPEATED}")
    return Recommendation(
        recommended=predictions[chosen].scenario,
        best=predictions[best].scenario,
        margin=margin,
        comparisons=comparisons,
        corrected=corrected,
        close=tuple(predictions[i].scenario for i in close),
        barred=frozenset(barred),
    )


REPEATED = "the rule is repeated with the width of each loss's interval as on all images"


def choose_in_resamples(
    resampled: Floats, slack: Floats, metric: str, barred: NDArray[np.bool_] | None = None
) -> Ints:
    """The rule of `recommend` in each resample: the first scenario that surely loses little.

    No resample is resampled again for the bound of a loss: the bound lies `slack` above the loss,
    as it does on all images.

    Parameters
    ----------
    resampled : (n_scenarios, n_resamples) of the metric; nan never wins.
    slack : (n_scenarios,) upper bound of each loss minus the loss.
    barred : (n_scenarios,) what is not chosen while anything else is close.

    Returns
    -------
    (n_resamples,) index of the scenario chosen in each.

    Examples
    --------
    >>> simple_first = np.array([[0.895, 0.895], [0.900, 0.900]])
    >>> choose_in_resamples(simple_first, np.array([0.004, 0.0]), "auroc").tolist()
    [0, 0]
    >>> choose_in_resamples(simple_first, np.array([0.006, 0.0]), "auroc").tolist()
    [1, 1]
    """
    value = -resampled if metric in LOWER_IS_BETTER else resampled
    value = np.where(np.isnan(value), -np.inf, value)
    top = value.max(axis=0)
    margin = allowed_loss(-top if metric in LOWER_IS_BETTER else top, metric)
    close = (value >= top - (margin - slack[:, None])) | (value == top)
    if barred is not None:
        free = close & ~barred[:, None]
        close = np.where(free.any(axis=0), free, close)
    return np.asarray(close.argmax(axis=0), np.int64)


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
            f"{choice.recommended} has the best {name}, {_figure(chosen)}, and no simpler one is "
            f"surely within {choice.margin:.3f} of it{fit_for}."
        )
    else:
        loss = choice.loss(choice.recommended, metric)
        text[0] += (
            f"{choice.recommended} is the simplest that is surely close to the best{fit_for}: its "
            f"{name} is "
            f"{_figure(chosen)} against {_figure(best)} of {choice.best}, a loss of at most "
            f"{max(loss, 0):.4f} (upper end of the paired 95 % interval) where {choice.margin:.4f} "
            "was allowed."
        )
    if len(by_tap) > 1:
        worth = [value if metric not in LOWER_IS_BETTER else -value for _, value in by_tap]
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


def _figure(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"
