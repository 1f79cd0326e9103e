"""Weights between a frozen network's and a fine-tuned one's: pure arithmetic on their states.

Training moves weights away from where they were good at everything. A point on the way often keeps
what was learned for these images and loses less of what holds elsewhere (WiSE-FT: Wortsman et al.,
"Robust fine-tuning of zero-shot models", CVPR 2022).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgraft.errors import FitError

MEAN, VARIANCE = "running_mean", "running_var"  # of a batch norm

Arrays = Mapping[str, NDArray[Any]]


def blend(frozen: Arrays, tuned: Arrays, share: float) -> dict[str, NDArray[Any]]:
    """The weights `(1 - share) * frozen + share * tuned`: 0 is the frozen network, 1 the tuned one.

    Both networks must be of one shape, the frozen one with a head that was fitted to it (a linear
    probe, `Recipe.probe`); blended with a head of zeros the scores would only shrink. Of a batch
    norm the running statistics are those of the even mixture of what both saw: the mean is
    interpolated, and to the interpolated variance comes the spread between the means,
    `share * (1 - share) * (tuned mean - frozen mean)²`. They remain an estimate: statistics
    recomputed on training images with the blended weights are the sure way. Whole numbers (counts
    of batches) are the tuned network's.

    Parameters
    ----------
    frozen, tuned : arrays of the same names and shapes; neither is changed.
    share : from 0 to 1, of the tuned weights.

    Returns
    -------
    dict
        New arrays of the tuned ones' names, order and types.

    Raises
    ------
    FitError
        The states are of different networks, or the share is no share.

    Examples
    --------
    >>> blend({"w": np.array([0.0, 2.0])}, {"w": np.array([4.0, 2.0])}, 0.25)["w"]
    array([1., 2.])
    """
    if not 0 <= share <= 1:
        raise FitError(f"blend = {share} is no share; 0 is the frozen network, 1 the tuned one")
    _check(frozen, tuned)
    found = {}
    for name, after in tuned.items():
        before = frozen[name]
        if not np.issubdtype(after.dtype, np.floating):
            found[name] = after.copy()
            continue
        mixed = (1 - share) * before.astype(np.float64) + share * after.astype(np.float64)
        if name.endswith(VARIANCE):
            mean = name.removesuffix(VARIANCE) + MEAN
            apart = tuned[mean].astype(np.float64) - frozen[mean].astype(np.float64)
            mixed += share * (1 - share) * apart**2
        found[name] = mixed.astype(after.dtype)
    return found


def _check(frozen: Arrays, tuned: Arrays) -> None:
    """Refuse states that are not of one network."""
    lone = sorted(set(frozen) ^ set(tuned))
    if lone:
        raise FitError(
            f"{len(lone)} arrays are in one of the two networks only (the first: {lone[0]}); blend "
            "a network with the one it was tuned from"
        )
    for name, after in tuned.items():
        if frozen[name].shape != after.shape:
            raise FitError(
                f"{name} has shape {frozen[name].shape} frozen and {after.shape} tuned; blend a "
                "network with the one it was tuned from"
            )
