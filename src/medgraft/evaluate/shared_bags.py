"""The mean of one metric over several findings, in bags of patients that the findings share.

Every bag holds patients, the same for all findings, so that a mean over findings is one number a
bag, and what is compared by that mean is compared bag by bag.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import stats

from medgraft.evaluate.compare import of_all, paired_cases
from medgraft.evaluate.intervals import CHUNK, Sampling, ones
from medgraft.evaluate.winners_curse import Resampled, best, could_be_best, judged_out_of_bag
from medgraft.results.figures import Comparison
from medgraft.types import Predictions, Strings


def in_shared_bags(
    predictions: Sequence[Predictions], metric: str, groups: Strings, sampling: Sampling
) -> Resampled:
    """The metric of one finding's scenarios in and out of bags of the patients of all findings.

    groups : of the images of all findings, in any order. The result holds no predictions.
    """
    weigh = of_all(paired_cases(predictions, None), metric)
    names = np.unique(groups)
    mine = np.searchsorted(names, predictions[0].groups)
    rng = np.random.default_rng(sampling.seed)
    values = weigh(ones(len(mine)))[:, 0]
    inside, outside = [], []
    width = max(8, CHUNK // len(mine))
    for start in range(0, sampling.resamples, width):
        n = min(width, sampling.resamples - start)
        counts = np.stack(
            [
                np.bincount(rng.integers(0, len(names), len(names)), minlength=len(names))
                for _ in range(n)
            ],
            axis=1,
        ).astype(np.float32)[mine]
        inside.append(weigh(counts))
        outside.append(weigh((counts == 0).astype(np.float32)))
    return Resampled(
        (), (), metric, sampling, values,
        np.concatenate(inside, axis=1), np.concatenate(outside, axis=1),
    )  # fmt: skip


def mean_over_findings(drawn: Sequence[Resampled]) -> Resampled:
    """The mean over findings of the same scenarios, in the same bags."""
    return Resampled(
        (), (), drawn[0].metric, drawn[0].sampling,
        np.mean([d.values for d in drawn], axis=0),
        np.mean([d.in_bag for d in drawn], axis=0),
        np.mean([d.out_of_bag for d in drawn], axis=0),
    )  # fmt: skip


def some_of(drawn: Resampled, rows: Sequence[int]) -> Resampled:
    """The same of some scenarios; like all here it holds no predictions."""
    at = list(rows)
    return replace(
        drawn,
        values=drawn.values[at],
        in_bag=drawn.in_bag[at],
        out_of_bag=drawn.out_of_bag[at],
    )


def compare_means(
    mean: Resampled, names: Sequence[str], a: int, b: int, difference: float | None = None
) -> Comparison:
    """Scenario a minus b, its error the spread of their difference over bags.

    names : of all, (n,). difference : where another estimate of it is to be used.
    """
    error = float(np.nanstd(mean.in_bag[a] - mean.in_bag[b]))
    half = float(stats.norm.isf(mean.sampling.tail)) * error
    if difference is None:
        difference = float(mean.values[a] - mean.values[b])
    p = 2 * float(stats.norm.sf(abs(difference) / error)) if error > 0 else 1.0
    return Comparison(names[a], names[b], difference, difference - half, difference + half, p)


def compare_means_with_best(mean: Resampled, names: Sequence[str]) -> tuple[Comparison, ...]:
    """The best mean against every other, in their order, with p that knows the best was chosen."""
    top = int(best(mean.values[:, None], mean.metric)[0])
    p = could_be_best(mean, top)
    return tuple(
        replace(compare_means(mean, names, top, i), p=float(p[i]))
        for i in range(len(names))
        if i != top
    )


def compare_chosen_mean(mean: Resampled, names: Sequence[str]) -> Comparison:
    """The best of all but the first against the first, the choice discounted.

    The mean of what bags choose, judged out of the bag; error and p as those of the pair.
    """
    top = 1 + int(best(mean.values[1:, None], mean.metric)[0])
    chosen = 1 + best(mean.in_bag[1:], mean.metric)
    judged = judged_out_of_bag(mean, chosen) - judged_out_of_bag(mean, np.zeros_like(chosen))
    return compare_means(mean, names, top, 0, float(np.nanmean(judged)))
