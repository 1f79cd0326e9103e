"""A head fitted again on fewer patients, in the folds that judged it: a learning curve's points.

Codes are those that are cached, so that only heads are fitted, all of a curve together. Fewer
images want a stronger penalty, so that each share has its own: of the strength of the head on all
images and its neighbours that which did best out of fold, in the first draw.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from medgraft.data.split import Development
from medgraft.features.extract import Extractor
from medgraft.features.feature_plan import feature_plan_of
from medgraft.learn.criteria import criterion
from medgraft.learn.cross_validation import key_of
from medgraft.learn.estimators import HEADS, ClassWeight, KNNHead, RBFHead
from medgraft.learn.frozen import FittedFrozen
from medgraft.learn.linear import standardise
from medgraft.scenario import DEFAULT_METRIC, Pooled, Scenario
from medgraft.types import FittedScenario, Floats, Ints, Strings, digest

SHARES = (0.25, 0.5, 0.75)  # of the patients that each fold learns from
REPEATS = 3  # draws of each
CURVES_CACHE_VERSION = 1  # raise it when a change of code changes the refits
LEAST = 2  # patients of each class, in every fold, that a draw learns from
STRONGER, WEAKER = 3, 1  # strengths of the grid that are tried beside that of all images

Masks = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Refit:
    """Out-of-fold scores (n, n_classes) of heads that learned from a share of the patients."""

    share: float
    scores: Floats


@dataclass(frozen=True, eq=False)
class _Rows:
    """What all refits have in common. X, seen : (n, d) learned from, and judged. y, fold : (n,)."""

    head: str
    X: NDArray[np.float32]
    seen: NDArray[np.float32]
    y: Ints
    fold: Ints
    class_weight: ClassWeight

    @property
    def n_folds(self) -> int:
        return int(self.fold.max()) + 1

    def judged(self, learned: Sequence[Masks], strengths: Sequence[float]) -> Floats:
        """Scores (len(strengths), n, n_classes) out of fold.

        learned : for each strength and fold the rows (n,) that are learned from, one after another.
        """
        found = np.empty((len(strengths), len(self.y), int(self.y.max()) + 1))
        columns = self._columns(np.array(learned).T, np.repeat(strengths, self.n_folds))
        for column, scores in enumerate(columns):
            point, k = divmod(column, self.n_folds)
            found[point, self.fold == k] = scores
        return found

    def _columns(self, learned: Masks, strengths: Floats) -> Iterator[Floats]:
        """For each column of (n, P) what its head scores the rows of its fold."""
        kind = HEADS[self.head]
        held = [self.fold == k for k in range(self.n_folds)]
        if issubclass(kind, KNNHead | RBFHead):  # which are not solved together
            for j, rows in enumerate(learned.T):
                one = KNNHead(int(strengths[j])) if kind is KNNHead else RBFHead(strengths[j])
                one.class_weight = self.class_weight
                one.fit(self.X[rows], self.y[rows])
                yield one.decision_function(self.seen[held[j % self.n_folds]])
            return
        codes = standardise(self.X)
        solver = kind.solver(float(len(self.y)), self.class_weight)
        models = solver(codes, self.y, learned.astype(np.float64), strengths[:, None])
        seen = ((self.seen - codes.mean) / codes.scale).astype(np.float32)
        for j in range(learned.shape[1]):
            yield models.scores(seen[held[j % self.n_folds]], slice(j, j + 1))[..., 0]


def refits(
    head: str, strength: float, X: NDArray[np.float32], y: Ints, fold: Ints, groups: Strings,
    seed: int = 0, metric: str = DEFAULT_METRIC, *, seen: NDArray[np.float32] | None = None,
    class_weight: ClassWeight = "balanced",
) -> tuple[Refit, ...]:  # fmt: skip
    """Heads fitted on `SHARES` of the patients of every fold's training part, and on all.

    Patients are drawn class by class (a patient's class is that of most images), and a smaller
    share is part of the larger ones of the same draw. Shares at which a class would have fewer than
    `LEAST` patients are left out; nothing is refitted where fewer than two are left.

    Parameters
    ----------
    strength : of the head on all images. X : (n, d) codes. y, fold, groups : (n,). seen : (n, d)
    codes of the same images as they are judged; by default X.
    """
    rows = _Rows(head, X, X if seen is None else seen, y, fold, class_weight)
    ranks = [_ranks(y, groups, fold, np.random.default_rng([seed, r])) for r in range(REPEATS)]

    def learned(share: float, draw: int) -> list[Masks]:
        return [places <= share for places in ranks[draw]]

    def enough(share: float) -> bool:
        return all(
            len(np.unique(groups[some & (y == c)])) >= LEAST
            for draw in range(REPEATS)
            for some in learned(share, draw)
            for c in np.unique(y)
        )

    shares = [share for share in SHARES if enough(share)]
    if len(shares) < 2:
        return ()
    tried = _neighbours(head, strength, X.shape[1])
    first = rows.judged(
        [m for share in shares for _ in tried for m in learned(share, 0)], [*tried] * len(shares)
    )
    judge, found, wanted, strengths = criterion(metric), [], list[Masks](), list[float]()
    for i, share in enumerate(shares):
        mine = first[i * len(tried) : (i + 1) * len(tried)]
        best = int(np.argmax([judge(y, scores, fold) for scores in mine]))
        found.append(Refit(share, mine[best]))
        for draw in range(1, REPEATS):
            wanted += learned(share, draw)
            strengths.append(tried[best])
    shares = [share for share in shares for _ in range(1, REPEATS)]
    last = rows.judged([*wanted, *learned(1.0, 0)], [*strengths, strength])
    found += [Refit(share, scores) for share, scores in zip([*shares, 1.0], last, strict=True)]
    return tuple(sorted(found, key=lambda one: one.share))


def refittable(scenario: Scenario) -> bool:
    """Whether a scenario is a head on codes that are kept: neither trained, encoded nor joined."""
    plain = not (scenario.trained or scenario.members or scenario.pixels.views)
    return plain and isinstance(scenario.code, Pooled)


def cross_refits(
    fitted: FittedScenario, development: Development, extractor: Extractor
) -> tuple[Refit, ...]:
    """`refits` of a scenario that is `refittable`, from the cache where it has them.

    Images are judged as the scenario was: in the view of the folds, where they have one.
    """
    assert isinstance(fitted, FittedFrozen)  # as every scenario that is refittable
    scenario, table, folds = fitted.scenario, development.table, development.folds
    plan = feature_plan_of(scenario, extractor)
    recipes = [(spec.recipe, spec.blocks) for spec in plan.specs]
    key = digest(CURVES_CACHE_VERSION, key_of(scenario, recipes, development), length=32)
    kept = extractor.cache.get("curves", key)
    if kept is None:
        codes = plan.codes(table, extractor)[0][0]
        seen = plan.seen(folds.view).codes(table, extractor)[0][0] if folds.view else None
        strength = float(getattr(fitted.head, fitted.head._strength))
        with threadpool_limits(1):  # what several threads sum depends on how many they are
            found = refits(
                scenario.head, strength, codes, table.labels, folds.assignment, table.groups,
                folds.seed, folds.metric, seen=seen,
            )  # fmt: skip
        scores = np.array([one.scores for one in found], np.float32)
        kept = {"shares": np.array([one.share for one in found]), "scores": scores}
        extractor.cache.put("curves", key, kept)
    return tuple(Refit(*row) for row in zip(kept["shares"].tolist(), kept["scores"], strict=True))


def _neighbours(head: str, strength: float, d: int) -> tuple[float, ...]:
    """The strengths that a share chooses from, the strongest penalty first."""
    kind = HEADS[head]
    if issubclass(kind, KNNHead | RBFHead):
        return (strength,)
    grid = kind.strengths(d)
    at = int(np.argmin(np.abs(np.log(np.array(grid) / strength))))
    return grid[max(0, at - STRONGER) : at + WEAKER + 1]


def _ranks(y: Ints, groups: Strings, fold: Ints, rng: np.random.Generator) -> list[Floats]:
    """For each fold the place (n,) of each row's patient among those of its class, in (0, 1].

    Places are of the patients outside of the fold; its own rows have inf, and are never learned.
    """
    names, first, index = np.unique(groups, return_index=True, return_inverse=True)
    index = index.ravel()
    n_classes = int(y.max()) + 1
    counts = np.zeros((len(names), n_classes))
    np.add.at(counts, (index, y), 1)
    label, home = counts.argmax(axis=1), fold[first]
    order = rng.permutation(len(names))
    found = []
    for k in range(int(fold.max()) + 1):
        place = np.full(len(names), np.inf)
        for c in range(n_classes):
            mine = order[(label[order] == c) & (home[order] != k)]
            place[mine] = (np.arange(len(mine)) + 1) / max(len(mine), 1)
        found.append(place[index])
    return found
