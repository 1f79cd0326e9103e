"""Heads by name, and the nested choice of their strength.

`nested_scores` gives the out-of-fold scores of a head whose strength was chosen without the fold
that it judges, and the same head fitted on all rows. The classifiers themselves stand in
`estimators.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax
from scipy.stats import rankdata
from sklearn.model_selection import StratifiedGroupKFold

from medgraft.errors import FitError
from medgraft.learn.estimators import (
    NEIGHBOURS,
    ClassWeight,
    KNNHead,
    LinearSVMHead,
    LogisticHead,
    nearest,
    unit,
    vote,
)
from medgraft.learn.linear import (
    Codes,
    Loss,
    Models,
    check_finite,
    class_weights,
    row_blocks,
    solve,
    standardise,
)
from medgraft.types import Floats, Ints

Head = LinearSVMHead | LogisticHead | KNNHead
Metric = str | Callable[[Ints, Floats], float]

TIE = 1e-4  # inner scores closer than this are equal: the solver promises no more

HEADS: Mapping[str, type[LinearSVMHead] | type[LogisticHead] | type[KNNHead]] = MappingProxyType(
    {"svm": LinearSVMHead, "logistic": LogisticHead, "knn": KNNHead}
)
"""Heads by name, simplest first: the linear ones keep d + 1 numbers a class, kNN all its codes."""


def head_from_arrays(
    name: str, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]
) -> Head:
    """The fitted head `name` from what its `to_arrays` gave; settings left out are the defaults."""
    head: Head = HEADS[name].from_arrays(arrays, settings)
    return head


# --------------------------------------------------------------------------- nested choice


@dataclass(frozen=True, eq=False)
class NestedScores:
    """Out-of-fold scores of a head whose strength was chosen without the fold it judges.

    scores : (n, n_classes) of each row by the model that did not see its fold. chosen : the
    strength (C, or k) of each fold's model. final : that of `head`, which is fitted on all rows.
    path : mean inner score of each strength, from the strongest penalty to the weakest; empty where
    there were too few groups to choose by, and all strengths are `natural_strength`.
    """

    scores: Floats
    chosen: tuple[float, ...]
    final: float
    path: Mapping[float, float]
    head: Head


@dataclass(frozen=True, eq=False)
class _Plan:
    """Who is left out of what. Cells are the folds, or with two folds thirds of them.

    cell (n,), owner (n_cells,) the fold of a cell. Each model is named by the cells it does not
    see; `inner` says which (fold, cell) it serves: rows of the cell, judged for that fold's choice.
    It is empty where there are too few groups to choose by.
    """

    y: Ints
    weight: Floats
    cell: Ints
    owner: Ints
    inner: Mapping[frozenset[int], list[tuple[int, int]]]
    outer: tuple[frozenset[int], ...]

    def rows(self, unseen: frozenset[int]) -> Floats:
        """Weights (n,) of the rows a model sees."""
        return self.weight * ~np.isin(self.cell, list(unseen))


def nested_scores(
    head: str, X: NDArray[Any], y: ArrayLike, fold: Ints, n_folds: int | None = None,
    class_weight: ClassWeight = "balanced", metric: Metric = "auroc", *,
    sample_weight: Floats | None = None, groups: NDArray[Any] | None = None,
) -> NestedScores:  # fmt: skip
    """Cross-validate a head, its strength chosen within each training part.

    The inner folds of a fold are the other folds, so groups that are whole in `fold` stay whole,
    and the model that sees neither fold j nor fold k serves the choices for both. The strength with
    the best metric on the pooled inner out-of-fold scores wins, the strongest penalty among those
    within `TIE` of it. The final head's strength is the one that is best in the mean over folds.
    With two folds, one of them of fewer than three groups, nothing can be chosen inside a fold:
    every strength is `natural_strength`, and `path` is empty.

    A study compares scenarios by its own metric, but callers leave the strength inside a scenario
    to the AUROC whatever that is, because it needs neither a threshold nor calibrated
    probabilities, which are fitted later, on the scores that come out here.

    Parameters
    ----------
    head : a name in `HEADS`.
    X : (n, d) codes, any float type, memory-mapped or not. y : (n,) labels.
    fold : (n,) in 0 .. n_folds - 1 (as many as occur by default). With two folds the inner
        folds are thirds of the other one, with `groups` (n,) whole (by default each row is one).
    metric : 'auroc' (macro one-against-rest), 'accuracy', 'balanced_accuracy', 'log_loss' of the
        softmax of the scores (its negative), or a function of y (n,) and scores (n, n_classes),
        higher the better.

    Raises
    ------
    FitError
        Codes that are not finite, a fold without rows, a class within one fold only, an unknown
        head or metric.
    """
    if head not in HEADS:
        raise FitError(f"no head named {head!r}; there are {', '.join(HEADS)}")
    classes, index = np.unique(np.asarray(y), return_inverse=True)
    weight = np.ones(len(index)) if sample_weight is None else np.asarray(sample_weight, float)
    judge, fold = _metric(metric), np.asarray(fold)
    n_folds = int(fold.max()) + 1 if n_folds is None else n_folds
    kind = HEADS[head]
    plan = _plan(classes, index, weight, fold, n_folds, groups)
    model: _Linear | _Neighbours = (
        _Neighbours(X, plan, class_weight)
        if issubclass(kind, KNNHead)
        else _Linear(X, plan, class_weight, kind._loss)
    )
    if plan.inner:
        chosen, final, path = _choose(model, kind.strengths(X.shape[1]), judge)
    else:
        final = natural_strength(head, X.shape[1])
        chosen, path = [final] * n_folds, {}
    fitted: Head
    if isinstance(model, _Linear):
        scores, arrays = model.outer(chosen, final)
        arrays |= {"classes_": classes, "C": np.array(final)}
        fitted = head_from_arrays(head, arrays, {"class_weight": class_weight})
    else:
        scores = model.outer(chosen)
        fitted = KNNHead(int(final), class_weight).fit(X, np.asarray(y), sample_weight)
    return NestedScores(scores.astype(np.float64), tuple(chosen), final, path, fitted)


def natural_strength(head: str, d: int) -> float:
    """The strength to take where none can be chosen: 5 neighbours, or C = 1 / d of d features.

    On standardised codes 1 / d is the natural unit of C (see `strengths`). Where there are fewer
    than 5 rows, all of them vote.
    """
    return 5.0 if issubclass(HEADS[head], KNNHead) else 1 / d


def _choose(
    model: _Linear | _Neighbours,
    strengths: tuple[float, ...],
    judge: Callable[[Ints, Floats], float],
) -> tuple[list[float], float, dict[float, float]]:
    """The strength of each fold's model, that of the final one, and the mean inner scores."""
    plan, n_folds = model.plan, len(model.plan.outer)
    shape = (n_folds, len(strengths), len(plan.y), int(plan.y.max()) + 1)
    inner = np.full(shape, np.nan, np.float32)  # what each row scores for each fold's choice
    for (k, c), scores in model.inner(strengths):
        inner[k][:, plan.cell == c] = scores
    table = np.empty(shape[:2])
    for k in range(n_folds):
        seen = (plan.owner[plan.cell] != k) & (plan.weight > 0)
        table[k] = [judge(plan.y[seen], scores[seen]) for scores in inner[k]]
    mean = table.mean(axis=0)
    path = dict(zip(strengths, mean.tolist(), strict=True))
    return [strengths[_best(row)] for row in table], strengths[_best(mean)], path


def _best(scores: Floats) -> int:
    """The first, strongest, of those that are as good as the best."""
    return int(np.flatnonzero(scores >= scores.max() - TIE)[0])


def _plan(
    classes: NDArray[Any], y: Ints, weight: Floats, fold: Ints, n_folds: int,
    groups: NDArray[Any] | None,
) -> _Plan:  # fmt: skip
    if n_folds < 2 or not np.array_equal(np.unique(fold[weight > 0]), np.arange(n_folds)):
        raise FitError(
            f"folds {sorted(set(fold.tolist()))[:10]} are not 0 .. {n_folds - 1}, each with rows; "
            "cross-validation needs at least two folds, none of them empty: use fewer folds"
        )
    for c, name in enumerate(classes):
        homes = np.unique(fold[(y == c) & (weight > 0)])
        if len(classes) < 2 or len(homes) < 2:
            raise FitError(
                f"class {str(name)!r} stands alone or has all its rows in one fold, so that it "
                "cannot be both learned and judged; it needs groups in two folds: add images, "
                "merge the class with another or leave it out"
            )
    cell, owner = fold, np.arange(n_folds)
    groups = np.arange(len(y)) if groups is None else groups
    choosable = n_folds > 2 or min(len(np.unique(groups[fold == k])) for k in range(2)) >= 3
    if n_folds == 2 and choosable:
        cell, owner = _thirds(y, fold, groups)
    outer = tuple(frozenset(np.flatnonzero(owner == k).tolist()) for k in range(n_folds))
    inner: dict[frozenset[int], list[tuple[int, int]]] = {}
    for k in range(n_folds if choosable else 0):
        for c in np.flatnonzero(owner != k).tolist():
            inner.setdefault(outer[k] | {c}, []).append((k, c))
    return _Plan(y, weight, cell, owner, inner, outer)


def _thirds(y: Ints, fold: Ints, groups: NDArray[Any]) -> tuple[Ints, Ints]:
    """Split both of two folds in three, stratified, groups whole: cells (n,) and owners (6,)."""
    cell = np.empty(len(y), np.int64)
    for k in range(2):
        rows = np.flatnonzero(fold == k)
        smallest = np.bincount(y[rows])
        # scikit-learn warns of classes with fewer rows than parts, and needs one with enough
        labels = y[rows] if smallest[smallest > 0].min() >= 3 else np.zeros_like(rows)
        parts = StratifiedGroupKFold(3).split(rows, labels, groups[rows])
        for part, (_, held) in enumerate(parts):
            cell[rows[held]] = 3 * k + part
    return cell, np.repeat([0, 1], 3)


class _Linear:
    """All linear models of a plan over the same codes."""

    def __init__(self, X: NDArray[Any], plan: _Plan, class_weight: ClassWeight, loss: Loss) -> None:
        self.codes: Codes = standardise(X)
        self.plan, self.class_weight, self.loss = plan, class_weight, loss

    def _solve(self, unseen: list[frozenset[int]], C: Floats) -> Models:
        rows = np.stack([self.plan.rows(cells) for cells in unseen], axis=1)
        return solve(
            self.codes, self.plan.y, rows, C, loss=self.loss, class_weight=self.class_weight
        )

    def inner(self, strengths: tuple[float, ...]) -> Iterator[tuple[tuple[int, int], Floats]]:
        """Scores (strengths, rows of the cell, n_classes) for each fold and cell."""
        m, unseen = len(strengths), list(self.plan.inner)
        models = self._solve(unseen, np.tile(strengths, (len(unseen), 1)))
        for s, cells in enumerate(unseen):
            for k, c in self.plan.inner[cells]:
                held = self.codes.X[self.plan.cell == c]
                yield (k, c), np.moveaxis(models.scores(held, slice(s * m, s * m + m)), 2, 0)

    def outer(self, chosen: list[float], final: float) -> tuple[Floats, dict[str, Any]]:
        """Out-of-fold scores (n, n_classes), and what was fitted on all rows."""
        unseen = [*self.plan.outer, frozenset[int]()]
        models = self._solve(unseen, np.array([[*chosen, final]]).T)
        scores = np.empty((len(self.plan.y), int(self.plan.y.max()) + 1), np.float32)
        for k in range(len(chosen)):
            held = self.plan.owner[self.plan.cell] == k
            scores[held] = models.scores(self.codes.X[held], slice(k, k + 1))[..., 0]
        coef, intercept = models.raw(self.codes, len(chosen))
        return scores, {"coef_": coef, "intercept_": intercept}


class _Neighbours:
    """The nearest rows of every row in every cell, from which any model's neighbours follow."""

    def __init__(self, X: NDArray[Any], plan: _Plan, class_weight: ClassWeight) -> None:
        check_finite(X)
        self.plan, self.class_weight = plan, class_weight
        codes, k = unit(X), max(NEIGHBOURS)
        members = [np.flatnonzero((plan.cell == c) & (plan.weight > 0))
                   for c in range(len(plan.owner))]  # fmt: skip
        self.near = [np.empty((len(codes), min(k, len(m))), np.float32) for m in members]
        self.which = [np.empty(near.shape, np.int64) for near in self.near]
        for c, rows in enumerate(members):
            others = codes[rows]
            for b in row_blocks(len(codes), max(1, len(rows))):
                self.near[c][b], which = nearest(codes[b] @ others.T, k)
                self.which[c][b] = rows[which]

    def _scores(self, rows: Ints, unseen: frozenset[int], ks: tuple[float, ...]) -> Floats:
        cells = [c for c in range(len(self.plan.owner)) if c not in unseen]
        near = np.concatenate([self.near[c][rows] for c in cells], axis=1)
        which = np.concatenate([self.which[c][rows] for c in cells], axis=1)
        near, order = nearest(near, max(NEIGHBOURS))
        weight = class_weights(self.plan.y, self.plan.rows(unseen)[:, None], self.class_weight)
        which = np.take_along_axis(which, order, axis=1)
        n_classes = int(self.plan.y.max()) + 1
        return vote(near, which, self.plan.y, weight[:, 0], n_classes, ks)

    def inner(self, strengths: tuple[float, ...]) -> Iterator[tuple[tuple[int, int], Floats]]:
        """Scores (strengths, rows of the cell, n_classes) for each fold and cell."""
        for unseen, served in self.plan.inner.items():
            for k, c in served:
                yield (k, c), self._scores(np.flatnonzero(self.plan.cell == c), unseen, strengths)

    def outer(self, chosen: list[float]) -> Floats:
        """Out-of-fold scores (n, n_classes)."""
        scores = np.empty((len(self.plan.y), int(self.plan.y.max()) + 1), np.float32)
        for k, strength in enumerate(chosen):
            rows = np.flatnonzero(self.plan.owner[self.plan.cell] == k)
            scores[rows] = self._scores(rows, self.plan.outer[k], (strength,))[0]
        return scores


# --------------------------------------------------------------------------- metrics of choice


def _auroc(y: Ints, scores: Floats) -> float:
    """Area under the ROC curve by ranks (Mann and Whitney), mean over the classes present."""
    classes = np.unique(y)
    if len(classes) < 2:
        return 0.5
    columns = [1] if scores.shape[1] == 2 else classes
    areas = []
    for c in columns:
        yes = y == c
        p, ranks = int(yes.sum()), rankdata(scores[:, c])
        areas.append((ranks[yes].sum() - p * (p + 1) / 2) / (p * (len(y) - p)))
    return float(np.mean(areas))


def _accuracy(y: Ints, scores: Floats) -> float:
    return float((scores.argmax(axis=1) == y).mean())


def _balanced_accuracy(y: Ints, scores: Floats) -> float:
    right = scores.argmax(axis=1) == y
    return float(np.mean([right[y == c].mean() for c in np.unique(y)]))


def _log_loss(y: Ints, scores: Floats) -> float:
    return float(log_softmax(scores, axis=1)[np.arange(len(y)), y].mean())


METRICS: Mapping[str, Callable[[Ints, Floats], float]] = {
    "auroc": _auroc,
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "log_loss": _log_loss,
}


def _metric(metric: Metric) -> Callable[[Ints, Floats], float]:
    if callable(metric):
        return metric
    if metric not in METRICS:
        raise FitError(
            f"no metric {metric!r} to choose by; use a function or one of {', '.join(METRICS)}"
        )
    return METRICS[metric]
