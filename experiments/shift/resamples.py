"""Resampled patients, which the intervals of several tables are of."""

from __future__ import annotations

from typing import Any

import numpy as np

from medgraft.types import Floats, Strings

RESAMPLES = 400


def resampled(groups: Strings, seed: int, resamples: int = RESAMPLES) -> Floats:
    """Weights (n, 1 + resamples) of images: one each, then as often as their group is drawn."""
    index = np.unique(groups, return_inverse=True)[1]
    count = int(index.max()) + 1
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(count, np.full(count, 1 / count), resamples).T[index]
    return np.column_stack([np.ones(len(groups)), drawn]).astype(np.float32)


def interval(samples: Floats) -> dict[str, Any]:
    """The value on all images, with percentiles over resamples."""
    low, high = np.nanpercentile(samples[1:], [2.5, 97.5])
    return {
        key: round(float(x), 4) for key, x in (("value", samples[0]), ("low", low), ("high", high))
    }
