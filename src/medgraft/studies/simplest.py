"""The rule of what is recommended: the simplest scenario that is expected to lose little.

What loss is allowed is the *margin*: one point of the metric, and at most a third of what the best
has left to perfection. A scenario is close enough to the best where either holds:

- non-inferior: the upper end of the paired 95 % interval of its loss is within the margin;
- expected to, where the images are too few to be sure: its gap to the best, less the share of all
  gaps that is noise, is within the margin, and taking the simplest within that gap, rehearsed in
  bags and judged out of them, costs at most half the margin against taking the best.

On many images the first decides. What this keeps, and what other rules did, stands in
docs/decisions/0015. All worths count upwards here, whichever way the metric does, and scenarios
come simplest first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medgraft.evaluate.metrics import METRICS
from medgraft.evaluate.winners_curse import Resampled
from medgraft.types import Floats, Ints

POINT = 0.01
SHARE = 1 / 3
REHEARSED = 1 / 2  # of the margin, that the rule may cost when it is rehearsed
REPEATS = 500  # bags in which the whole rule is repeated
WITHIN = 200  # resamples by which it is then rehearsed

Mask = NDArray[np.bool_]


def allowed_loss(best: Floats | float, metric: str) -> Floats:
    """The loss that simplicity may cost: `min(0.01, a third of what is left to perfection)`.

    >>> float(allowed_loss(0.9, "auroc")), round(float(allowed_loss(0.994, "auroc")), 4)
    (0.01, 0.002)
    """
    left = np.asarray(best) if METRICS[metric].lower_is_better else 1 - np.asarray(best)
    return np.asarray(np.minimum(POINT, SHARE * np.maximum(left, 0)))


@dataclass(frozen=True, eq=False)
class Rule:
    """The rule, with what it knows of chance.

    worth : (n_scenarios,) on all images; -inf where the metric is undefined.
    inside, outside : (n_scenarios, n_resamples) what a bag adds to each worth, and what the images
    left out of it do. slack : (n_scenarios,) upper bound of each loss minus the loss.
    """

    worth: Floats
    inside: Floats
    outside: Floats
    slack: Floats
    metric: str

    @classmethod
    def of(cls, drawn: Resampled, bounds: Floats) -> Rule:
        """From resamples, and the upper bound of each scenario's loss, (n_scenarios,)."""
        sign = METRICS[drawn.metric].sign
        worth = np.where(np.isfinite(drawn.values), sign * drawn.values, -np.inf)
        known = np.where(np.isfinite(worth), worth, 0.0)[:, None]
        inside = np.where(np.isfinite(drawn.in_bag), sign * drawn.in_bag, -np.inf) - known
        outside = sign * drawn.luck
        return cls(worth, inside, outside, bounds - (worth.max() - worth), drawn.metric)

    def close(self, worth: Floats, resamples: int | None = None) -> Mask:
        """Which scenarios are close enough to the best by `worth`, both (n_scenarios,).

        resamples : how many of them rehearse; all by default.
        """
        top = worth.max()
        margin = float(allowed_loss(METRICS[self.metric].sign * top, self.metric))
        inside, outside = self.inside[:, :resamples], self.outside[:, :resamples]
        near = expected_distance(worth, inside, outside, margin)
        gaps = _behind(worth)
        return np.asarray((gaps + self.slack <= margin) | (gaps <= near) | (worth == top))

    def choose(self, barred: Mask) -> int:
        """The simplest scenario that is close enough, on all images.

        barred : (n_scenarios,) what is not chosen while anything else is close.
        """
        return _first(self.close(self.worth), barred)

    def choose_in_bags(self, barred: Mask) -> Ints:
        """What the whole rule chooses in each of the first bags, (n_bags,)."""
        known = np.where(np.isfinite(self.worth), self.worth, 0.0)
        bags = (known[:, None] + self.inside[:, :REPEATS]).T
        return np.array([_first(self.close(bag, WITHIN), barred) for bag in bags], np.int64)


def _first(close: Mask, barred: Mask) -> int:
    free = close & ~barred
    return int((free if free.any() else close).argmax())


def expected_distance(worth: Floats, inside: Floats, outside: Floats, margin: float) -> float:
    """How far behind the best a scenario may lie and still be expected to lose little.

    Of the gaps of scenarios that nothing simpler comes up to, the largest for which (1) ``kept gap
    <= margin``, and (2) taking the first within that gap of the best in the bag costs, out of it,
    on average at most half the margin against taking the best in the bag. `kept` is the share of
    the variance among worths that is not noise, as in the shrinkage of James and Stein (1961). (1)
    discounts that the best is the best by luck, (2) that the simplest within reach is so by luck.

    Parameters
    ----------
    worth : (n_scenarios,). inside, outside : (n_scenarios, n_resamples), as in `Rule`.
    """
    gaps = _behind(worth)
    records = np.unique(np.minimum.accumulate(gaps))
    records = records[np.isfinite(records)]
    likely = records[(1 - _share_of_noise(worth, inside)) * records <= margin]
    known = np.where(np.isfinite(worth), worth, 0.0)[:, None]
    bags, judged = known + inside, known + outside
    behind = _behind(bags)
    best = _at(judged, behind.argmin(axis=0))
    for gap in likely[::-1]:
        if _mean(best - _at(judged, (behind <= gap).argmax(axis=0))) <= REHEARSED * margin:
            return float(gap)
    return 0.0


def _behind(worth: Floats) -> Floats:
    """By how much each lies behind the best, along axis 0; inf where it has no figure.

    A bag, and a very small data set, can lack a class.
    """
    defined = np.isfinite(worth)
    gaps: Floats = np.where(defined, worth.max(axis=0) - np.where(defined, worth, 0.0), np.inf)
    return gaps


def _share_of_noise(worth: Floats, inside: Floats) -> float:
    """Of the variance of worths (n_scenarios,), the share that resampling them makes, 0..1.

    What a resample adds to all scenarios alike is none of their differences.
    """
    defined = np.isfinite(worth)
    added = inside[defined]
    added = added[:, np.isfinite(added).all(axis=0)]
    if len(added) < 2 or not added.shape[1]:
        return 0.0
    noise = (added - added.mean(axis=0)).var(axis=1).sum() / (len(added) - 1)
    spread = worth[defined].var(ddof=1)
    return float(min(1.0, noise / spread)) if spread > 0 else 1.0


def _at(values: Floats, chosen: Ints) -> Floats:
    picked: Floats = values[chosen, np.arange(values.shape[1])]
    return picked


def _mean(values: Floats) -> float:
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if len(defined) else 0.0
