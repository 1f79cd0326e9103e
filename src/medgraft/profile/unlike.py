"""Which images are unlike anything that a classifier learned from, at a stated false-alarm rate.

An image is held to the images learned from by the distance of its short code to the fifth nearest
of them (`reference.py`), and called unlike where that is further than it is for all but a share
`rate` of the patients learned from, each held to the others' images: the distance to a neighbour is
an old and still hard to beat sign of what is new (Sun et al., ICML 2022). A patient counts as far
as his farthest image. It says whether an image is of the sort learned from, not whether its label
is right: an X-ray of another hospital is mostly not unlike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medgraft.errors import DataError
from medgraft.evaluate.intervals import number_groups, wilson
from medgraft.profile.reference import Reference
from medgraft.types import Floats, Strings, UnlikeFigures

RATE = 0.05  # of the patients like those learned from who have an image that is called unlike


def check_rate(rate: float) -> float:
    """A share of false alarms, refused where it is none."""
    if not 0 < rate < 1:
        raise DataError(
            f"--unlike-rate {rate:g} is no share of patients; give one between 0 and 1, such as "
            f"{RATE:g}: 1 in 20 patients like those learned from then has an image called unlike"
        )
    return rate


@dataclass(frozen=True, eq=False)
class Unlikeness:
    """How far from the images learned from is too far.

    limit : a distance; infinite where fewer patients were learned from than say what 1 in
    `1 / rate` of them is. rate : of false alarms, by patient.
    """

    reference: Reference
    limit: float
    rate: float

    @classmethod
    def of(cls, reference: Reference, rate: float = RATE) -> Unlikeness:
        """Set by the images that are kept, each patient held to the images of the others.

        The limit is the value that a further patient exceeds with a chance of `rate` at most
        (Vovk, Gammerman and Shafer 2005): of K patients' farthest images that of rank
        (K + 1) (1 - rate), rounded up.

        Raises
        ------
        DataError
            `rate` does not lie between 0 and 1.
        """
        check_rate(rate)
        far = reference.distances(reference.codes, reference.groups.tolist())
        farthest = np.sort(_farthest(far, reference.groups))
        rank = math.ceil((len(farthest) + 1) * (1 - rate) - 1e-9)
        limit = float(farthest[rank - 1]) if rank <= len(farthest) else math.inf
        return cls(reference, limit, rate)

    def judge(self, codes: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Whether images of these codes (n, 2 WIDTH) are unlike those learned from, (n,)."""
        return np.asarray(self.reference.distances(codes) > self.limit)

    def figures(self, unlike: NDArray[np.bool_], groups: Strings) -> UnlikeFigures:
        """How many of some images, and of their patients, are called unlike. Each (n,)."""
        of_patients = _farthest(unlike.astype(float), groups)
        share = wilson(float(of_patients.sum()), len(of_patients))
        return UnlikeFigures(
            rate=self.rate, known=math.isfinite(self.limit), n=len(unlike),
            images=int(unlike.sum()), patients=share,
        )  # fmt: skip


def _farthest(value: Floats, groups: Strings) -> Floats:
    """The largest value of each group, (n_groups,)."""
    index, n_groups = number_groups(groups)
    found = np.full(n_groups, -np.inf)
    np.maximum.at(found, index, value)
    return found
