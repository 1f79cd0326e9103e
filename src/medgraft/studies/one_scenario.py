"""One scenario for all findings, or each finding its own: told apart on shared resamples.

Every bag holds patients, the same for all findings. In each, the rule of what is recommended
chooses for each finding, and once for their mean; both are judged out of the bag, on patients that
had no part in the choice. Where that does not tell the two apart, one is enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from medgraft.errors import FitError
from medgraft.evaluate.compare import upper_loss
from medgraft.evaluate.intervals import DEFAULT, Sampling
from medgraft.evaluate.metrics import METRICS
from medgraft.evaluate.shared_bags import in_shared_bags, mean_over_findings, some_of
from medgraft.evaluate.winners_curse import (
    Resampled,
    best,
    judged_out_of_bag,
    resample_in_and_out,
)
from medgraft.results.panel import OneScenario
from medgraft.studies.recommend import Recommendation, recommend
from medgraft.studies.simplest import REPEATS, Rule
from medgraft.types import Floats, Folds, Ints, Predictions

SHARED = Sampling(resamples=REPEATS)


@dataclass(frozen=True, eq=False)
class FindingChoice:
    """What the scenarios of one finding did, without their predictions.

    keys : simplest first. alone : what its own study recommends, and why. bounds : (n_scenarios,)
    the upper end of each one's loss against the best. drawn : in and out of the bags that all
    findings share.
    """

    keys: tuple[str, ...]
    alone: Recommendation
    bounds: Floats
    drawn: Resampled

    @property
    def own(self) -> str:
        """The key that its own study recommends."""
        return self.alone.recommended

    def of(self, keys: Sequence[str]) -> FindingChoice:
        """The same of scenarios that all findings have."""
        rows = [self.keys.index(key) for key in keys]
        return FindingChoice(tuple(keys), self.alone, self.bounds[rows], some_of(self.drawn, rows))


def choice_of(oof: Sequence[Predictions], metric: str, folds: Folds) -> FindingChoice:
    """Judge a finding's scenarios in and out of bags of the patients of all `folds`."""
    drawn = resample_in_and_out(oof, metric)
    choice, keys = recommend(drawn), tuple(one.scenario for one in oof)
    losses = {c.b: upper_loss(c, metric) for c in choice.comparisons}
    return FindingChoice(
        keys=keys,
        alone=choice,
        bounds=np.array([losses.get(key, 0.0) for key in keys]),
        drawn=in_shared_bags(oof, metric, folds.groups, SHARED),
    )


def one_or_own(
    choices: Mapping[str, FindingChoice], metric: str, asked: Literal["auto", "one", "own"]
) -> OneScenario:
    """One scenario for all, unless that each has its own is better beyond doubt, or was asked for.

    Raises
    ------
    FitError
        No scenario was tried for all findings, and one was asked for.
    """
    first, *others = choices.values()
    keys = [key for key in first.keys if all(key in other.keys for other in others)]
    if not keys:
        if asked == "one":
            raise FitError("no scenario was tried for all findings; leave --one-scenario out")
        return OneScenario("", np.nan, np.nan, np.nan, "own", asked=asked == "own")
    mine = [one.of(keys) for one in choices.values()]
    mean = mean_over_findings([one.drawn for one in mine])
    rule = Rule.of(mean, _bounds(mean))
    free = np.zeros(len(keys), bool)
    one, ones_ = rule.choose(free), rule.choose_in_bags(free)
    own, owns = [], []
    for finding in mine:
        its = Rule.of(finding.drawn, finding.bounds)
        own.append(its.choose(free))
        owns.append(its.choose_in_bags(free))
    difference, low, high = _own_minus_one(mine, own, owns, one, ones_, metric)
    better = low > 0
    taken: Literal["one", "own"] = (
        "own" if asked == "own" or (asked == "auto" and better) else "one"
    )
    return OneScenario(keys[one], difference, low, high, taken, asked=asked != "auto")


def _bounds(mean: Resampled) -> Floats:
    """(n_scenarios,) the upper end of what each loses against the best, by the bags."""
    sign, top = METRICS[mean.metric].sign, int(best(mean.values[:, None], mean.metric)[0])
    loss = sign * (mean.values[top] - mean.values)
    error = np.nanstd(mean.in_bag[top] - mean.in_bag, axis=1)
    bounds: Floats = loss + float(stats.norm.isf(DEFAULT.tail)) * error
    return bounds


def _own_minus_one(
    mine: Sequence[FindingChoice], own: Sequence[int], owns: Sequence[Ints],
    one: int, ones_: Ints, metric: str,
) -> tuple[float, float, float]:  # fmt: skip
    """What each its own gains over one for all, upwards whichever way the metric counts.

    The mean of what is gained out of the bags, in which both were chosen; its error is that of the
    two chosen on all images, or of those that bags choose where that is larger.
    """
    sign, n = METRICS[metric].sign, np.arange(len(ones_))
    judged = [
        judged_out_of_bag(f.drawn, chosen) - judged_out_of_bag(f.drawn, ones_)
        for f, chosen in zip(mine, owns, strict=True)
    ]
    difference = sign * float(np.nanmean(np.mean(judged, axis=0)))
    fixed = np.mean(
        [f.drawn.in_bag[i] - f.drawn.in_bag[one] for f, i in zip(mine, own, strict=True)], 0
    )
    met = np.mean(
        [
            (f.drawn.in_bag[chosen, n] - f.drawn.values[chosen])
            - (f.drawn.in_bag[ones_, n] - f.drawn.values[ones_])
            for f, chosen in zip(mine, owns, strict=True)
        ],
        axis=0,
    )
    error = max(float(np.nanstd(fixed)), float(np.nanstd(met)))
    half = float(stats.norm.isf(DEFAULT.tail)) * error
    return difference, difference - half, difference + half
