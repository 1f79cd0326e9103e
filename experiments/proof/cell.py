"""A cell of the proof: one setting, simulated many times, and what its figures must lie within.

A figure is a mean over runs with the simulation's own standard error. Bounds are written down with
the cell, before anything is run. A run is reproducible by itself: its random numbers come from the
cell's name and the run's number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from medgraft.types import digest

Run = Callable[[np.random.Generator], Mapping[str, float]]
"""One simulated run: named numbers, nan where a number is undefined in this run."""


class Bound(NamedTuple):
    """What a figure should be (`nominal`), and what it must lie within; `why` says a wide bound."""

    nominal: float
    low: float
    high: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean over `runs`, its standard error, and the quartiles of the runs."""

    value: float
    error: float
    runs: int
    lower: float
    upper: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Figure:
        """The figure of runs; those in which it is undefined drop out and are not counted.

        The error of a share is that of Agresti and Coull (1998), which is not 0 where all runs
        agree.
        """
        known = np.array([v for v in values if math.isfinite(v)])
        n = len(known)
        if not n:
            return cls(math.nan, math.nan, 0, math.nan, math.nan)
        if np.isin(known, (0.0, 1.0)).all():
            near = (known.sum() + 2) / (n + 4)
            error = math.sqrt(near * (1 - near) / (n + 4))
        else:
            error = float(known.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan
        lower, upper = np.quantile(known, (0.25, 0.75))
        return cls(float(known.mean()), error, n, float(lower), float(upper))

    def off(self, bound: Bound, slack: float) -> bool:
        """Whether it lies outside by more than `slack` of its standard errors.

        A bound of one point allows nothing: no simulation error excuses an interval of nan.
        """
        room = 0.0 if bound.low == bound.high else slack * self.error
        return not bound.low - room <= self.value <= bound.high + room

    def chance_off(self, bound: Bound, slack: float) -> float:
        """How likely it would be `off` with other random numbers if its truth were nominal."""
        if bound.low == bound.high or not self.error > 0:
            return 0.0
        low, high = ((end - bound.nominal) / self.error for end in (bound.low, bound.high))
        return float(stats.norm.cdf(low - slack) + stats.norm.sf(high + slack))


@dataclass(frozen=True, eq=False)
class Cell:
    """A setting to simulate.

    question : the key of the page's section. setting : what is varied, by its name in the table.
    repeats : runs in full. sample : runs in the short form, 0 where it is not part of that.
    """

    question: str
    setting: Mapping[str, str]
    run: Run
    repeats: int
    bounds: Mapping[str, Bound] = field(default_factory=dict)
    sample: int = 0

    @property
    def name(self) -> str:
        """Its own name among the results."""
        return " | ".join([self.question, *(f"{k} {v}" for k, v in self.setting.items())])

    def simulate(self, repeats: int) -> dict[str, Figure]:
        """Run it so many times."""
        seed = int(digest(self.name, length=12), 16)
        runs = [self.run(np.random.default_rng([seed, r])) for r in range(repeats)]
        names = dict.fromkeys(name for run in runs for name in run)
        return {name: Figure.of([run.get(name, math.nan) for run in runs]) for name in names}

    def outside(self, figures: Mapping[str, Figure], slack: float = 0.0) -> list[str]:
        """The figures that are not within their bounds; one that is missing is not, either."""
        return [
            name
            for name, bound in self.bounds.items()
            if name not in figures or figures[name].off(bound, slack)
        ]


def read_figures(kept: Mapping[str, Any]) -> dict[str, Figure]:
    """The figures of a cell from the results file."""
    return {name: Figure(*values) for name, values in kept.items()}
