"""Which images are unlike anything that a classifier learned from, at a stated false-alarm rate.

An image is held to the images learned from by the distance of its short codes to the fifth nearest
of them (`reference.py`), and called unlike where that is further than it is for all but a share
`rate` of the patients learned from, each held to the others' images: the distance to a neighbour is
an old and still hard to beat sign of what is new (Sun et al., ICML 2022). A patient counts as far
as his farthest image. The last stage's code sees what is shown, that of all stages how it looks,
such as a negative; each distance is divided by what it is for one in ten images learned from, and
the larger counts. It says whether an image is of the sort learned from, not whether its label is
right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medgraft.errors import DataError
from medgraft.evaluate.intervals import number_groups, wilson
from medgraft.profile.reference import Reference
from medgraft.results.figures import UnlikeFigures
from medgraft.types import Floats, Strings

TYPICAL = 0.9  # of the images learned from that are nearer than the unit of distance
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

    scale : (2,) the distances that all but one in ten images learned from have, by the last stage
    and by all. limit : the larger of the two in these units; infinite where fewer patients were
    learned from than say what 1 in `1 / rate` of them is. rate : of false alarms, by patient.
    """

    reference: Reference
    scale: Floats
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
        own = _distances(reference, reference.codes, reference.groups.tolist())
        if not np.isfinite(own).all():  # too few patients for neighbours among the others
            return cls(reference, np.ones(own.shape[1]), math.inf, rate)
        scale = np.maximum(np.quantile(own, TYPICAL, axis=0), 1e-6)
        farthest = np.sort(_farthest((own / scale).max(axis=1), reference.groups))
        rank = math.ceil((len(farthest) + 1) * (1 - rate) - 1e-9)
        limit = float(farthest[rank - 1]) if rank <= len(farthest) else math.inf
        return cls(reference, scale, limit, rate)

    def judge(self, codes: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Whether images of these codes (n, 2 WIDTH) are unlike those learned from, (n,)."""
        far = (_distances(self.reference, codes) / self.scale).max(axis=1, initial=0)
        return np.asarray(far > self.limit)

    def figures(self, unlike: NDArray[np.bool_], groups: Strings) -> UnlikeFigures:
        """How many of some images, and of their patients, are called unlike. Each (n,)."""
        of_patients = _farthest(unlike.astype(float), groups)
        share = wilson(float(of_patients.sum()), len(of_patients))
        return UnlikeFigures(
            rate=self.rate, known=math.isfinite(self.limit), n=len(unlike),
            images=int(unlike.sum()), patients=share,
        )  # fmt: skip


def _distances(
    reference: Reference, codes: NDArray[np.float32], own: Sequence[str] = ()
) -> NDArray[np.float64]:
    """(n, 2) by the last stage and by all, see `Reference.distances`."""
    parts = [reference.distances(codes, own, stages=stages) for stages in (False, True)]
    return np.stack(parts, axis=1).astype(np.float64)


def _farthest(value: Floats, groups: Strings) -> Floats:
    """The largest value of each group, (n_groups,)."""
    index, n_groups = number_groups(groups)
    found = np.full(n_groups, -np.inf)
    np.maximum.at(found, index, value)
    return found
