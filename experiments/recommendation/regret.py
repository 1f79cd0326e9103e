"""What each policy lost on the test against the best in hindsight.

The best in hindsight is chosen on one half of the test's groups, and it and every policy are judged
on the other, both ways, so that hindsight has no luck that the policies have not. A regret can
therefore be negative. All figures are in points of the metric.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from medgraft.types import Floats
from recommendation.fields import BETTER, EVERYTHING, LINEAR
from recommendation.results import Row
from recommendation.sets import SETS

ELSEWHERE = "best constant elsewhere"
THUMB = "rule of thumb"
LARGEST = (0, 100, 250, 500, 10**9)  # images up to which a linear head is taken
NEAREST = (0.0, 0.023, 0.04, 0.056, 1.0)  # distance to ImageNet up to which images are similar
RESAMPLES = 1000


@dataclass(frozen=True, eq=False)
class Cell:
    """A line of the results. keys, worth (n_scenarios, 2), also (n_scenarios, 2), error : as there.

    chosen : by policy, the place of the scenario.
    """

    data: str
    n: int | str
    draw: int
    images: int
    distance: float
    keys: tuple[str, ...]
    worth: Floats
    also: Floats
    error: Floats
    chosen: Mapping[str, int]

    @classmethod
    def of(cls, row: Row) -> Cell:
        keys = tuple(row["scenarios"])
        figures = np.array(list(row["scenarios"].values()), np.float64)
        return cls(
            data=row["data"], n=row["n"], draw=row["draw"], images=row["images"],
            distance=np.inf if row["similarity"] is None else row["similarity"], keys=keys,
            worth=figures[:, 1:3], error=figures[:, 3], also=figures[:, 4:6],
            chosen={policy: keys.index(key) for policy, key in row["chosen"].items()},
        )  # fmt: skip

    @property
    def kin(self) -> str:
        return SETS[self.data].kin

    def regrets(self, also: bool = False) -> Floats:
        """Of every scenario, (n_scenarios,), in points. also : of the second metric."""
        return regrets(self.also if also else self.worth)


def regrets(worth: Floats) -> Floats:
    """In points, from worths (n_scenarios, 2) on the halves of a test.

    >>> regrets(np.array([[0.9, 0.8], [0.8, 0.9]])).tolist()
    [-5.0, -5.0]
    """
    best = worth.argmax(axis=0)  # on each half; it is judged on the other
    lost = (worth[best[1], 0] - worth[:, 0]) + (worth[best[0], 1] - worth[:, 1])
    return np.asarray(np.round(100 * lost / 2, 6))


@dataclass(frozen=True, eq=False)
class Regret:
    """Of one policy in many cells: value, error, second metric's value, each (n_cells,).

    Cells in which the policy has no scenario have nan.
    """

    value: Floats
    error: Floats
    also: Floats

    def of(self, some: Sequence[int]) -> Regret:
        """The same of some cells."""
        rows = list(some)
        return Regret(self.value[rows], self.error[rows], self.also[rows])


def of_policies(cells: Sequence[Cell]) -> dict[str, Regret]:
    """The regret of every policy in these cells, those tuned on other data sets too."""
    places: dict[str, list[int]] = {}
    for policy in dict.fromkeys(policy for cell in cells for policy in cell.chosen):
        places[policy] = [cell.chosen.get(policy, -1) for cell in cells]
    places[ELSEWHERE] = list(_constant_elsewhere(cells))
    places[THUMB] = list(_rule_of_thumb(cells))
    return {
        policy: _regret(cells, taken)
        for policy, taken in places.items()
        if any(place >= 0 for place in taken)
    }


def _regret(cells: Sequence[Cell], places: Sequence[int]) -> Regret:
    def found(values: Floats, place: int) -> float:
        return float(values[place]) if place >= 0 else np.nan

    pairs = list(zip(cells, places, strict=True))
    return Regret(
        np.array([found(cell.regrets(), place) for cell, place in pairs]),
        np.array([100 * found(cell.error, place) for cell, place in pairs]),
        np.array([found(cell.regrets(also=True), place) for cell, place in pairs]),
    )


# --------------------------------------------------------------------------- tuned elsewhere


def _constant_elsewhere(cells: Sequence[Cell]) -> Iterator[int]:
    """The one scenario that loses least on data sets that share no image with the cell's, or -1."""
    best: dict[str, str | None] = {}
    for kin in dict.fromkeys(cell.kin for cell in cells):
        others = [cell for cell in cells if cell.kin != kin]
        keys = set.intersection(*(set(cell.keys) for cell in others)) if others else set()
        lost = {
            key: _over_data(others, [cell.regrets()[cell.keys.index(key)] for cell in others])
            for key in sorted(keys)
        }
        best[kin] = min(lost, key=lambda key: lost[key]) if lost else None
    for cell in cells:
        key = best[cell.kin]
        yield cell.keys.index(key) if key in cell.keys else -1


def _rule_of_thumb(cells: Sequence[Cell]) -> Iterator[int]:
    """What the seed study ended with, its "few" and "similar" tuned on other data sets, or -1.

    Images similar to ImageNet's: the last layer of the best network. Else few images: a linear
    head on the default network's; many: it is trained whole (where the field trains none, the
    linear head as well).
    """
    rules = list(product(LARGEST, NEAREST))
    taken = {rule: [_by_thumb(cell, *rule) for cell in cells] for rule in rules}
    if all(place < 0 for place in taken[rules[0]]):
        yield from (-1 for _ in cells)
        return
    regret = {rule: _regret(cells, places).value for rule, places in taken.items()}
    for i, cell in enumerate(cells):
        others = [j for j, other in enumerate(cells) if other.kin != cell.kin]
        if not others:
            yield -1
            continue
        lost = {r: _over_data([cells[j] for j in others], regret[r][others]) for r in rules}
        yield taken[min(lost, key=lambda rule: lost[rule])][i]


def _by_thumb(cell: Cell, largest: int, nearest: float) -> int:
    if cell.distance <= nearest:
        return cell.chosen.get(BETTER, -1)
    wanted = LINEAR if cell.images <= largest else EVERYTHING
    return cell.chosen.get(wanted, cell.chosen.get(LINEAR, -1))


def _over_data(cells: Sequence[Cell], values: Sequence[float] | Floats) -> float:
    """The mean over data sets of the means over sizes of the means over draws."""
    found: dict[str, dict[int | str, list[float]]] = {}
    for cell, value in zip(cells, values, strict=True):
        found.setdefault(cell.data, {}).setdefault(cell.n, []).append(float(value))
    return float(
        np.mean([np.mean([np.mean(one) for one in sizes.values()]) for sizes in found.values()])
    )


# --------------------------------------------------------------------------- over cells


@dataclass(frozen=True, slots=True)
class Summary:
    """Of a policy's regrets over cells, every size of every data set weighing the same.

    median, high, mean : each (value, low, high), or (value,) where no interval was asked for;
    `high` is the 90th percentile. worst : of any cell. also : mean of the second metric. cells :
    how many.
    """

    median: tuple[float, ...]
    high: tuple[float, ...]
    mean: tuple[float, ...]
    worst: float
    also: float
    cells: int


def summary(cells: Sequence[Cell], regret: Regret, intervals: bool = True) -> Summary:
    """The summary; its intervals are of 95 %, over draws and over the groups of the tests."""
    blocks: dict[tuple[str, str], list[int]] = {}
    for i in np.flatnonzero(np.isfinite(regret.value)).tolist():
        blocks.setdefault((cells[i].data, str(cells[i].n)), []).append(i)
    places = np.concatenate([np.array(own) for own in blocks.values()])
    weight = np.concatenate([np.full(len(own), 1 / len(own)) for own in blocks.values()])
    ends = [_figures(regret.value[places], weight)]
    if intervals:
        ends += np.percentile(_resampled(blocks, regret), [2.5, 97.5], axis=0).tolist()
    median, high, mean = (tuple(map(float, one)) for one in zip(*ends, strict=True))
    also = float(np.average(regret.also[places], weights=weight))
    worst = float(regret.value[places].max())
    return Summary(median, high, mean, worst, also, len(places))


def _resampled(blocks: Mapping[tuple[str, str], Sequence[int]], regret: Regret) -> Floats:
    """Median, 90th percentile and mean of `RESAMPLES` resamples, (n, 3).

    blocks : the cells of each size of each data set. A resample draws cells of each block, and
    moves all regrets of a data set by the same share of their standard errors, since they share
    one test.
    """
    rng = np.random.default_rng(0)
    weight = np.concatenate([np.full(len(own), 1 / len(own)) for own in blocks.values()])
    names = list(dict.fromkeys(name for name, _ in blocks))
    samples = np.empty((RESAMPLES, 3))
    for b in range(RESAMPLES):
        moved = dict(zip(names, rng.standard_normal(len(names)), strict=True))
        drawn = [
            regret.value[mine] + moved[name] * regret.error[mine]
            for (name, _), own in blocks.items()
            for mine in [rng.choice(own, len(own))]
        ]
        samples[b] = _figures(np.concatenate(drawn), weight)
    return samples


def _figures(values: Floats, weight: Floats) -> tuple[float, float, float]:
    """Median, 90th percentile and mean under weights."""
    order = np.argsort(values)
    share = np.cumsum(weight[order]) / weight.sum()
    ends = [np.searchsorted(share, [0.5 + by, 0.9 + by]) for by in (-1e-9, 1e-9)]
    median, high = np.mean([values[order][np.minimum(at, len(order) - 1)] for at in ends], axis=0)
    return float(median), float(high), float(np.average(values, weights=weight))
