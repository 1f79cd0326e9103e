"""The nested choice of a head's strength.

`nested_scores` gives the out-of-fold scores of a head whose strength was chosen without the fold
that it judges, and the same head fitted on all rows. The classifiers themselves, and their
names, stand in `estimators.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import StratifiedGroupKFold

from medgraft.errors import FitError
from medgraft.features.scratch import scratch
from medgraft.learn.criteria import Criterion, criterion
from medgraft.learn.estimators import (
    HEADS,
    NEIGHBOURS,
    ClassWeight,
    Head,
    KNNHead,
    RBFHead,
    Solver,
    head_from_arrays,
    nearest,
    similarity,
    unit,
    vote,
)
from medgraft.learn.linear import (
    Models,
    StandardisedCodes,
    check_finite,
    class_weights,
    row_blocks,
    standardise,
)
from medgraft.learn.ordinal import OrdinalModels
from medgraft.scenario import DEFAULT_METRIC
from medgraft.types import Floats, Ints

CodesByFold = Callable[[int | None], NDArray[Any]]
Memo = Callable[[Hashable, Callable[[], Any]], Any]
"""What codes alone decide, by a name for it: made by the function given, or what it made before."""

TIE = 1e-4  # inner scores closer than this are equal: the solver promises no more

# --------------------------------------------------------------------------- nested choice


@dataclass(frozen=True, eq=False)
class NestedScores:
    """Out-of-fold scores of a head whose strength was chosen without the fold it judges.

    The unit of scores depends on the strength, so that those of two folds cannot be compared as
    they are: `inner` calibrates those of a fold, and `final_scores` those of `head`. A strength C
    is that of all rows; where fewer are learned from, it is as much larger (`linear.solve_alike`).

    scores : (n, n_classes) of each row by the model that did not see its fold. inner : (n_folds, n,
    n_classes), for each fold what rows outside of it score, under the strength chosen for it, by
    models that saw neither it nor them; nan in the fold; None where nothing could be chosen.
    final_scores : (n, n_classes) of each row by a model that did not see its fold, under the
    strength of `head`. chosen : the strength (C, shrinkage or k) of each fold's model. final : that
    of `head`, which is fitted on all rows. path : mean inner score of each strength, from the
    strongest penalty to the weakest; empty where there were too few groups to choose by, and all
    strengths are the head's `natural` one.
    """

    scores: Floats
    inner: Floats | None
    final_scores: Floats
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
    inner: Served
    outer: tuple[frozenset[int], ...]

    def rows(self, unseen: frozenset[int]) -> Floats:
        """Weights (n,) of the rows a model sees."""
        return self.weight * ~np.isin(self.cell, list(unseen))

    def judged_by(self, k: int) -> NDArray[np.bool_]:
        """The rows (n,) of fold k."""
        return np.asarray(self.owner[self.cell] == k)


Served = Mapping[frozenset[int], list[tuple[int, int]]]
Judged = tuple[tuple[int, int], Floats]  # a (fold, cell), and its scores under every strength


def nested_scores(
    head: str, X: NDArray[Any] | CodesByFold, y: ArrayLike, fold: Ints, n_folds: int | None = None,
    class_weight: ClassWeight = "balanced", metric: str | Criterion = DEFAULT_METRIC, *,
    sample_weight: Floats | None = None, groups: NDArray[Any] | None = None,
    memo: Memo | None = None,
) -> NestedScores:  # fmt: skip
    """Cross-validate a head, its strength chosen within each training part.

    The inner folds of a fold are the other folds, so groups that are whole in `fold` stay whole,
    and the model that sees neither fold j nor fold k serves the choices for both. The strength with
    the best metric on the inner out-of-fold scores wins (ranks within inner folds, see
    `criteria.py`), the strongest penalty among those within `TIE` of it. The final head's strength
    is the one that is best in the mean over folds.
    With two folds, one of them of fewer than three groups, nothing can be chosen inside a fold:
    every strength is the head's `natural` one, and `path` is empty.

    Where codes are themselves fitted (an encoder, a PCA), X is a function: `X(k)` gives the codes
    (n, d_k) of all rows under what was fitted without fold k, from which fold k's strength is
    chosen and its model fitted, and `X(None)` those fitted on all rows, for the final head. A fold
    is asked for again where its strength is not the final one. One fold's codes are held at a time.
    Grids of strengths depend on d, so that the mean over folds is taken by place in the grid;
    `path` names the places by the final head's. The inner models of a
    fold share its codes, so that the choice (not the judgement) is a little too sure of itself.
    The landmarks of `rbf` are fitted in this way too, within an array.

    Parameters
    ----------
    head : a name in `HEADS`.
    X : (n, d) codes, any float type, memory-mapped or not; or a function of a fold, or None, to
        such codes. y : (n,) labels.
    fold : (n,) in 0 .. n_folds - 1 (as many as occur by default). With two folds the inner
        folds are thirds of the other one, with `groups` (n,) whole (by default each row is one).
    metric : a metric of studies, or a criterion of y (n,), scores (n, n_classes) and the inner fold
        (n,) that judged each, higher the better.
    memo : where X is an array, what keeps what it alone decides; nothing does by default.

    Raises
    ------
    FitError
        Codes that are not finite or not of n rows, a fold without rows, a class within one fold
        only, an unknown head or metric.
    """
    if head not in HEADS:
        raise FitError(f"no head named {head!r}; there are {', '.join(HEADS)}")
    labels = np.asarray(y)
    classes, index = np.unique(labels, return_inverse=True)
    weight = np.ones(len(index)) if sample_weight is None else np.asarray(sample_weight, float)
    judge = metric if callable(metric) else criterion(metric)
    fold = np.asarray(fold)
    n_folds = int(fold.max()) + 1 if n_folds is None else n_folds
    plan = _plan(classes, index, weight, fold, n_folds, groups)
    search = _Search(head, labels, plan, class_weight, judge, memo or _anew)
    if callable(X) or head == "rbf":
        for k in range(n_folds):
            search.step(_codes(X, k, len(labels)), [k], last=False)
        fitted = search.step(_codes(X, None, len(labels)), [], last=True)
        for k in search.others(range(n_folds)):
            search.again(_codes(X, k, len(labels)), k)
    else:
        fitted = search.step(X, list(range(n_folds)), last=True)
    assert fitted is not None  # for the type checker
    return NestedScores(
        scores=search.scores.astype(np.float64),
        inner=np.stack(search.inner).astype(np.float64) if plan.inner else None,
        final_scores=search.final_scores.astype(np.float64),
        chosen=tuple(search.chosen),
        final=search.final,
        path=search.path,
        head=fitted,
    )


class _Search:
    """The nested choice under way: what each fold's turn leaves.

    table : (n_folds, n_strengths) inner scores. places : in the grid, of the strength of each fold
    done, and `place` of the final one. inner : for each fold done (n, n_classes), see
    `NestedScores`. scores, final_scores : (n, n_classes) out of fold.
    """

    def __init__(
        self, head: str, labels: NDArray[Any], plan: _Plan, class_weight: ClassWeight,
        judge: Criterion, memo: Memo,
    ) -> None:  # fmt: skip
        self.head, self.labels, self.plan = head, labels, plan
        self.class_weight, self.judge, self.memo = class_weight, judge, memo
        self.table: list[Floats] = []
        self.places: list[int] = []
        self.chosen: list[float] = []
        self.inner: list[Floats] = []
        self.scores = np.empty((len(plan.y), int(plan.y.max()) + 1), np.float32)
        self.final_scores = np.empty_like(self.scores)
        self.place, self.final, self.path = -1, np.nan, dict[float, float]()

    def grid(self, X: NDArray[Any]) -> tuple[float, ...]:
        """The strengths to choose among for codes X (n, d)."""
        kind, d = HEADS[self.head], X.shape[1]
        return kind.strengths(d) if self.plan.inner else (kind.natural(d),)

    def others(self, folds: Iterable[int]) -> list[int]:
        """Of these folds those whose strength is not the final one."""
        return [k for k in folds if self.places[k] != self.place]

    def step(self, X: NDArray[Any], folds: list[int], *, last: bool) -> Head | None:
        """Choose for these folds, and judge them, by codes X (n, d); at the last, fit the head."""
        grid = self.grid(X)
        whole = last and self.head in ("rbf", "knn")  # whose estimators keep rows of X themselves
        model = None if whole and not folds else self._model(X, folds)
        if model is not None:
            self._choose(model, folds, grid)
        asked = [(k, self.chosen[k]) for k in folds]
        if last:
            mean = np.mean(self.table, axis=0)
            self.place = _best(mean)
            self.final = grid[self.place]
            if self.plan.inner:
                self.path = dict(zip(grid, mean.tolist(), strict=True))
            asked += [(k, self.final) for k in self.others(folds)]
        final = self.final if last else None
        found, arrays = model.outer(asked, final) if model else ([], {})
        for i, (k, scores) in enumerate(zip([k for k, _ in asked], found, strict=True)):
            if i < len(folds):
                self.scores[self.plan.judged_by(k)] = scores
            self.final_scores[self.plan.judged_by(k)] = scores
        if final is None:
            return None
        kind = HEADS[self.head]
        if whole:
            keeper = RBFHead(final) if kind is RBFHead else KNNHead(int(final))
            keeper.class_weight = self.class_weight
            taught = self.plan.weight > 0  # the others are judged only, and not to be kept
            kept = X if taught.all() else X[taught]
            return keeper.fit(kept, self.labels[taught], self.plan.weight[taught])
        arrays |= {"classes_": np.unique(self.labels), kind._strength: np.array(final)}
        return head_from_arrays(self.head, arrays, {"class_weight": self.class_weight})

    def again(self, X: NDArray[Any], k: int) -> None:
        """Judge a fold by its codes X (n, d) once more, under the final strength."""
        found, _ = self._model(X, [k]).outer([(k, self.grid(X)[self.place])], None)
        self.final_scores[self.plan.judged_by(k)] = found[0]

    def _choose(
        self, model: _Linear | _Neighbours, folds: list[int], grid: tuple[float, ...]
    ) -> None:
        """Find the strength of each of these folds."""
        if not self.plan.inner:
            self.table += [np.zeros(1) for _ in folds]
            self.places += [0 for _ in folds]
            self.chosen += [grid[0] for _ in folds]
            return
        for k, inner in zip(folds, self._inner(model, folds, grid), strict=True):
            seen = (self.plan.owner[self.plan.cell] != k) & (self.plan.weight > 0)
            cell = self.plan.cell[seen]
            row = np.array([self.judge(self.plan.y[seen], one[seen], cell) for one in inner])
            self.table.append(row)
            self.places.append(_best(row))
            self.inner.append(inner[self.places[-1]])
        self.chosen += [grid[self.places[k]] for k in folds]

    def _model(self, X: NDArray[Any], folds: list[int]) -> _Linear | _Neighbours:
        """All models over one matrix; for `rbf` over the features of the fold's landmarks."""
        kind, plan = HEADS[self.head], self.plan
        if issubclass(kind, KNNHead):
            return _Neighbours(self._near(X), plan, self.class_weight)
        solver = kind.solver(plan.weight.sum(), self.class_weight)
        if issubclass(kind, RBFHead):
            check_finite(X)
            marks = kind().landmarks(X, plan.y, plan.rows(plan.outer[folds[0]]))
            return _Linear(standardise(marks.features(X), scaled=False), plan, solver)
        return _Linear(self.memo("standardised", lambda: standardise(X)), plan, solver)

    def _near(self, X: NDArray[Any]) -> list[_Near]:
        """The nearest rows of every row in every cell, of those that weigh something."""
        cell = np.where(self.plan.weight > 0, self.plan.cell, -1)
        n_cells = len(self.plan.owner)
        found: list[_Near] = self.memo(
            ("near", cell.tobytes()), lambda: _nearest_by_cell(X, cell, n_cells)
        )
        return found

    def _inner(
        self, model: _Linear | _Neighbours, folds: list[int], grid: tuple[float, ...]
    ) -> Floats:
        """What each row scores for each fold's choice: (folds, strengths, n, n_classes)."""
        plan = self.plan
        inner = np.full((len(folds), len(grid), *self.scores.shape), np.nan, np.float32)
        served = {
            unseen: [(k, c) for k, c in serves if k in folds]
            for unseen, serves in plan.inner.items()
            if any(k in folds for k, _ in serves)
        }
        for (k, c), scores in model.inner(served, grid) if served else ():
            inner[folds.index(k)][:, plan.cell == c] = scores
        return inner


def _anew(name: Hashable, make: Callable[[], Any]) -> Any:
    """A `Memo` that keeps nothing."""
    return make()


def _codes(X: NDArray[Any] | CodesByFold, k: int | None, n: int) -> NDArray[Any]:
    codes = X(k) if callable(X) else X
    if codes.ndim != 2 or len(codes) != n:
        raise FitError(
            f"the codes for fold {k} have shape {codes.shape}, and there are {n} labels; a "
            "function of a fold must give one row of codes for every label, in their order"
        )
    return codes


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

    def __init__(self, codes: StandardisedCodes, plan: _Plan, solver: Solver) -> None:
        self.codes, self.plan, self.solver = codes, plan, solver

    def _solve(self, unseen: list[frozenset[int]], strengths: Floats) -> Models | OrdinalModels:
        rows = np.stack([self.plan.rows(cells) for cells in unseen], axis=1)
        return self.solver(self.codes, self.plan.y, rows, strengths)

    def _scores(
        self, models: Models | OrdinalModels, rows: NDArray[np.bool_], columns: slice
    ) -> Floats:
        """Scores (rows, n_classes, columns) of some rows."""
        at, X = np.flatnonzero(rows), self.codes.X
        blocks = row_blocks(len(at), X.shape[1])
        return np.concatenate([models.scores(X[at[b]], columns) for b in blocks])

    def inner(self, served: Served, grid: tuple[float, ...]) -> Iterator[Judged]:
        """Scores (strengths, rows of the cell, n_classes) for each fold and cell."""
        m = len(grid)
        models = self._solve(list(served), np.tile(grid, (len(served), 1)))
        for s, cells in enumerate(served):
            for k, c in served[cells]:
                held = self._scores(models, self.plan.cell == c, slice(s * m, s * m + m))
                yield (k, c), np.moveaxis(held, 2, 0)

    def outer(
        self, asked: Sequence[tuple[int, float]], final: float | None
    ) -> tuple[list[Floats], dict[str, Any]]:
        """Scores (rows of the fold, n_classes) for each fold and strength; what all rows fitted."""
        unseen = [self.plan.outer[k] for k, _ in asked]
        column = [strength for _, strength in asked]
        if final is not None:
            unseen, column = [*unseen, frozenset[int]()], [*column, final]
        models = self._solve(unseen, np.array([column]).T)
        found: list[Floats] = [
            self._scores(models, self.plan.judged_by(k), slice(j, j + 1))[..., 0]
            for j, (k, _) in enumerate(asked)
        ]
        if final is None:
            return found, {}
        return found, models.arrays(self.codes, len(asked))


_Near = tuple[NDArray[np.float32], NDArray[np.int32]]  # similarities (n, k) and rows (n, k)


def _nearest_by_cell(X: NDArray[Any], cell: Ints, n_cells: int) -> list[_Near]:
    """The nearest of the rows of each cell to every row of X (n, d), the most similar first."""
    check_finite(X)
    codes, k = unit(X), max(NEIGHBOURS)
    found: list[_Near] = []
    for c in range(n_cells):
        rows = np.flatnonzero(cell == c)
        near = scratch((len(codes), min(k, len(rows))))
        which = scratch(near.shape, np.int32)
        for b in row_blocks(len(codes), max(1, len(rows))):
            near[b], at = nearest(similarity(codes[b], codes, rows), k)
            which[b] = rows[at]
        found.append((near, which))
    return found


class _Neighbours:
    """The nearest rows of every row in every cell, from which any model's neighbours follow."""

    def __init__(self, near: list[_Near], plan: _Plan, class_weight: ClassWeight) -> None:
        self.plan, self.class_weight = plan, class_weight
        self.near, self.which = [one for one, _ in near], [which for _, which in near]

    def _scores(self, rows: Ints, unseen: frozenset[int], ks: tuple[float, ...]) -> Floats:
        cells = [c for c in range(len(self.plan.owner)) if c not in unseen]
        weight = class_weights(self.plan.y, self.plan.rows(unseen)[:, None], self.class_weight)
        n_classes = int(self.plan.y.max()) + 1
        found = []
        for b in row_blocks(len(rows), len(cells) * max(NEIGHBOURS) * n_classes):
            near = np.concatenate([self.near[c][rows[b]] for c in cells], axis=1)
            which = np.concatenate([self.which[c][rows[b]] for c in cells], axis=1)
            near, order = nearest(near, max(NEIGHBOURS))
            which = np.take_along_axis(which, order, axis=1)
            found.append(vote(near, which, self.plan.y, weight[:, 0], n_classes, ks))
        return np.concatenate(found, axis=1)

    def inner(self, served: Served, grid: tuple[float, ...]) -> Iterator[Judged]:
        """Scores (strengths, rows of the cell, n_classes) for each fold and cell."""
        for unseen, serves in served.items():
            for k, c in serves:
                yield (k, c), self._scores(np.flatnonzero(self.plan.cell == c), unseen, grid)

    def outer(
        self, asked: Sequence[tuple[int, float]], final: float | None
    ) -> tuple[list[Floats], dict[str, Any]]:
        """Scores (rows of the fold, n_classes) for each fold and k; nothing is fitted on all."""
        found: list[Floats] = []
        for k, neighbours in asked:
            rows = np.flatnonzero(self.plan.judged_by(k))
            found.append(self._scores(rows, self.plan.outer[k], (neighbours,))[0])
        return found, {}
