"""What each place adds to the score of a class, of a classifier that reads encoded descriptors.

No gradient is asked for: descriptors are left out, or where the code is a sum, taken alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medgraft.features.encoders import BaseEncoder, PoolEncoder, SpatialPyramid
from medgraft.learn.estimators import Head, OrdinalHead
from medgraft.types import Floats

NUMBERS = 1 << 24  # of descriptors in memory at once: 64 MB of float32

Bag = NDArray[np.float16]
"""(positions, channels)"""


@dataclass(frozen=True, eq=False, slots=True)
class DescriptorScores:
    """Scores of one image's descriptors by an encoder and a head, with some of them missing."""

    encoder: BaseEncoder
    head: Head

    @property
    def is_sum(self) -> bool:
        """Whether the score is a sum over positions: average pooling under a linear head."""
        if not isinstance(self.encoder, (PoolEncoder, SpatialPyramid)):
            return False
        averages: bool = self.encoder.pooling == "avg"
        linear = hasattr(self.head, "coef_") or isinstance(self.head, OrdinalHead)
        return averages and linear

    def by_place(self, bag: Bag, row: int) -> Floats:
        """What each position adds to the score of a class, (positions,)."""
        return self._alone(bag, row) if self.is_sum else self._left_out(bag, row)

    def _left_out(self, bag: Bag, row: int) -> Floats:
        """The score of a class minus the score without each position, (positions,)."""
        whole = self._score(bag[None], row)
        kept = ~np.eye(len(bag), dtype=bool)  # (left out, positions)
        step = max(1, NUMBERS // bag.size)
        without = [
            self._score(np.stack([bag[keep] for keep in kept[start : start + step]]), row)
            for start in range(0, len(kept), step)
        ]
        found: Floats = whole - np.concatenate(without)
        return found

    def _alone(self, bag: Bag, row: int) -> Floats:
        """The score of each position with all others zero, minus that of nothing: (positions,)."""
        nothing = np.zeros_like(bag)
        empty = self._score(nothing[None], row)
        step = max(1, NUMBERS // bag.size)
        found = []
        for start in range(0, len(bag), step):
            rows = range(start, min(start + step, len(bag)))
            bags = np.zeros((len(rows), *bag.shape), bag.dtype)
            bags[np.arange(len(rows)), rows] = bag[start : start + step]
            found.append(self._score(bags, row))
        return np.concatenate(found) - empty

    def _score(self, bags: NDArray[np.float16], row: int) -> Floats:
        """Scores (n,) of one class from descriptors (n, positions, channels)."""
        codes = self.encoder.transform(bags)
        if isinstance(self.head, OrdinalHead):  # what its latent value, a sum, says of the grade
            return np.asarray(self.head.latent(codes) * self.head.directions[row])
        return np.asarray(self.head.decision_function(codes)[:, row], np.float64)
