"""A mean over images beside its chance level, with intervals: how every check of maps is reported.

What is measured stands in `agreement.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medgraft.errors import DataError
from medgraft.evaluate.intervals import (
    DEFAULT,
    Sampling,
    Weights,
    bootstrap,
    describe_bootstrap,
    number_groups,
    percentile,
    wilson,
)
from medgraft.types import Estimate, Floats, Strings


@dataclass(frozen=True, slots=True)
class ChanceComparison:
    """A measure of maps: its mean, the mean that chance gives, and the paired difference.

    left_out : images without a value (no mask, an empty one, a map that is 0 everywhere).
    against : what chance is here, in words.
    """

    name: str
    value: Estimate
    chance: Estimate
    difference: Estimate
    left_out: int
    against: str


def beside_chance(
    name: str,
    values: Floats,
    chance: Floats,
    groups: Strings,
    against: str,
    *,
    sampling: Sampling = DEFAULT,
) -> ChanceComparison:
    """Estimates of a measure and of its chance level over the same images.

    Parameters
    ----------
    values, chance : (n,) in 0..1, nan where there is none; an image counts if it has both.
    groups : (n,).

    Raises
    ------
    DataError
        No image has both.
    """
    both = np.isfinite(values) & np.isfinite(chance)
    if not both.any():
        raise DataError(
            f"none of {len(values)} images has a value of {name}: all masks are missing or empty, "
            "or all maps are 0 everywhere; give images with a mask that marks something"
        )
    a, b, own = values[both], chance[both], groups[both]
    return ChanceComparison(
        name=name,
        value=mean_estimate(a, own, sampling),
        chance=mean_estimate(b, own, sampling),
        difference=mean_estimate(a - b, own, sampling, least=-1.0),
        left_out=int((~both).sum()),
        against=against,
    )


def mean_estimate(
    values: Floats, groups: Strings, sampling: Sampling = DEFAULT, least: float = 0.0
) -> Estimate:
    """The mean of values (n,) in `least`..1, with the bootstrap over groups (n,).

    Where resamples do not differ (one group, or equal values), Wilson's interval of as many units
    as there are groups stands in, the range stretched to 0..1: no bounded values spread wider than
    yes and no do.
    """
    value, (_, n_groups) = float(values.mean()), number_groups(groups)

    def mean(weights: Weights) -> Floats:
        means: Floats = (values.astype(np.float64) @ weights / weights.sum(axis=0))[None]
        return means

    (samples,) = bootstrap(mean, groups, sampling)
    low, high = percentile(samples, sampling)
    if high - low > 1e-9:
        return Estimate(value, low, high, len(values), describe_bootstrap(groups, sampling))
    span = 1 - least
    share = min(max((value - least) / span, 0.0), 1.0)
    stand_in = wilson(share * n_groups, n_groups, sampling.level)
    low, high = (least + span * end for end in (stand_in.low, stand_in.high))
    return Estimate(value, low, high, len(values), f"Wilson on {n_groups} groups (no spread)")
