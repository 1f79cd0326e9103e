"""Two runs on the images that both judged: paired, by patient, corrected for choice and number.

Images are the same where their ids are. Whoever shares a patient in either run counts as one
patient here. What was judged out of fold by one run and lay in the other's test split is in no
test: such figures are of images that one of them may have chosen by.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import sparse, stats

from medgraft.evaluate.compare import compare, estimate_all, holm
from medgraft.evaluate.metrics import Threshold, out_of_fold
from medgraft.evaluate.threshold import cross_fit_thresholds
from medgraft.evaluate.winners_curse import compare_chosen, resample_in_and_out
from medgraft.results.figures import Comparison
from medgraft.results.runs import (
    Change,
    NotPaired,
    PairedFigure,
    Part,
    Run,
    RunComparison,
    SharedImages,
)
from medgraft.runs.find import PREDICTIONS
from medgraft.studies.recommend import recommended_in_bags
from medgraft.studies.store import read_predictions
from medgraft.types import Floats, Ints, Operating, Predictions, Strings

LEAST = 5  # patients of a class in both runs, of fewer no difference is tested
MOST_SCENARIOS = 60  # of both runs together, up to which the choice itself is repeated
Sides = Mapping[Part, Mapping[str, Predictions]]


def compare_runs(a: Run, b: Run) -> RunComparison:
    """Put two runs beside each other, and test what they recommend on the images in both.

    Raises
    ------
    RunError
        The predictions of one are not there, or damaged.
    """
    changes = _changes(a, b)
    if reason := _unfit(a, b):
        return RunComparison(a=a, b=b, not_paired=reason, changes=changes)
    sides = _read(a, a.classes), _read(b, a.classes)
    shared, matched = _match(*sides, (a.scenario, b.scenario))
    if not matched:
        reason = "few patients" if shared.validation or shared.test else "no images"
        return RunComparison(a=a, b=b, not_paired=reason, shared=shared, changes=changes)
    metrics = tuple(dict.fromkeys((a.metric, b.metric)))
    tested = [_recommended(a, b, pair, metric) for pair in matched for metric in metrics]
    return RunComparison(
        a=a,
        b=b,
        not_paired="",
        shared=shared,
        recommended=_corrected(tested),
        common=_common(a, b, matched),
        changes=changes,
    )


def _unfit(a: Run, b: Run) -> NotPaired:
    """Why no test can be made, as far as that is known without predictions."""
    if Path(a.path).resolve() == Path(b.path).resolve() and a.kind == b.kind:
        return "one run"
    for run in (a, b):
        if run.kind not in ("study", "scenario"):
            return "kind"
        if run.state != "finished" or not (Path(run.path) / PREDICTIONS).is_file():
            return "unfinished"
    if set(a.classes) != set(b.classes):
        return "classes"
    return "positive class" if a.positive != b.positive else ""


def _read(run: Run, classes: Sequence[str]) -> Sides:
    """A run's predictions by part and key, their columns in the order of `classes`."""
    validation, test = read_predictions(Path(run.path) / PREDICTIONS, run.positive)
    found: dict[Part, Mapping[str, Predictions]] = {"validation": validation, "test": test}
    return {part: {k: _in_order(p, classes) for k, p in one.items()} for part, one in found.items()}


def _in_order(p: Predictions, classes: Sequence[str]) -> Predictions:
    if p.classes == tuple(classes):
        return p
    order = [p.classes.index(name) for name in classes]
    place = np.argsort(order)
    return replace(
        p,
        classes=tuple(classes),
        y_true=place[p.y_true],
        scores=p.scores[:, order],
        y_prob=p.y_prob[:, order],
    )


# --------------------------------------------------------------------------- the same images


@dataclass(frozen=True, eq=False)
class _Matched:
    """Predictions of both runs on the same images in the same order, by key.

    points : of each run by key, (n,) where p(positive) becomes a label in it, out of fold; none of
    more than two classes.
    """

    part: Part
    a: Mapping[str, Predictions]
    b: Mapping[str, Predictions]
    patients: int
    points: tuple[Mapping[str, Floats], Mapping[str, Floats]]


def _match(a: Sides, b: Sides, keys: tuple[str, str]) -> tuple[SharedImages, list[_Matched]]:
    """How the images overlap, and both runs on those that they share.

    keys : what each recommends, whose images count; other scenarios may lack some of them.
    """
    rows = tuple(
        {part: side[part].get(key) for part in side} for side, key in zip((a, b), keys, strict=True)
    )
    ids = tuple(
        {one for p in side.values() if p is not None for one in p.ids.tolist()} for side in rows
    )
    wrong, counts, matched = 0, {"validation": 0, "test": 0}, []
    strangers = 0
    for part in ("validation", "test"):
        first, second = rows[0][part], rows[1][part]
        if first is None or second is None:
            continue
        _, mine, theirs = np.intersect1d(first.ids, second.ids, return_indices=True)
        agree = first.y_true[mine] == second.y_true[theirs]
        wrong += int((~agree).sum())
        mine, theirs = mine[agree], theirs[agree]
        counts[part] = len(mine)
        if not len(mine):
            continue
        groups, torn = joined_groups(first.groups[mine], second.groups[theirs])
        strangers += torn
        if _enough(first.y_true[mine], groups):
            (left, at), (right, other) = (
                _on(side[part], first.ids[mine], groups) for side in (a, b)
            )
            matched.append(_Matched(part, left, right, len(np.unique(groups)), (at, other)))
    both = len(ids[0] & ids[1])
    shared = SharedImages(
        images=both,
        validation=counts["validation"],
        test=counts["test"],
        only_a=len(ids[0]) - both,
        only_b=len(ids[1]) - both,
        other_side=both - counts["validation"] - counts["test"] - wrong,
        other_label=wrong,
        other_patients=strangers,
    )
    return shared, matched


def _on(
    side: Mapping[str, Predictions], ids: Strings, groups: Strings
) -> tuple[dict[str, Predictions], dict[str, Floats]]:
    """A run's predictions of those images in that order, with the patients of both runs.

    And the thresholds that it has out of fold, chosen on all of its images: those of both runs may
    lie in one of its folds. A scenario that could not read one of them is left out.
    """
    found: dict[str, Predictions] = {}
    points: dict[str, Floats] = {}
    for key, p in side.items():
        if not np.isin(ids, p.ids).all():
            continue
        order = np.argsort(p.ids)
        rows = order[np.searchsorted(p.ids, ids, sorter=order)]
        found[key] = replace(p.select(rows), groups=groups)
        if p.positive is not None and out_of_fold(p):
            points[key] = cross_fit_thresholds(p)[rows]
    return found, points


def joined_groups(a: Strings, b: Strings) -> tuple[Strings, int]:
    """Groups (n,) that join what either of two groupings (n,) joins, and how many images differ.

    An image differs where the images of its group are not the same ones in both.

    >>> joined, n = joined_groups(np.array(["p", "p", "q", "r"]), np.array(["1", "2", "2", "3"]))
    >>> joined.tolist(), n
    (['0', '0', '0', '1'], 3)
    """
    (_, x), (_, y) = np.unique(a, return_inverse=True), np.unique(b, return_inverse=True)
    n, shape = x.max() + 1, (x.max() + 1 + y.max() + 1,) * 2
    graph = sparse.coo_matrix((np.ones(len(x)), (x, n + y)), shape)
    _, component = sparse.csgraph.connected_components(graph, directed=False)
    pairs = {*zip(x.tolist(), y.tolist(), strict=True)}
    met = [np.bincount([pair[i] for pair in pairs]) for i in (0, 1)]  # how many of the other's
    torn = (met[0][x] > 1) | (met[1][y] > 1)
    return component[x].astype(str), int(torn.sum())


def _enough(y: Ints, groups: Strings) -> bool:
    """Whether two classes or more, and all that there are, have patients to be tested by."""
    counts = [len(np.unique(groups[y == k])) for k in np.unique(y)]
    return len(counts) > 1 and min(counts) >= LEAST


# --------------------------------------------------------------------------- figures


def _recommended(a: Run, b: Run, pair: _Matched, metric: str) -> PairedFigure:
    """What both recommend, by one metric on one part of the images."""
    first, second = pair.a[a.scenario], pair.b[b.scenario]
    plain = _paired(first, second, pair, metric, _points(a, b))
    if pair.part == "test" or plain.same:
        return plain
    chosen = _discounted(a, b, pair, metric)
    return plain if chosen is None else replace(plain, comparison=chosen, discounted=True)


def _points(a: Run, b: Run) -> tuple[Mapping[str, Operating | None], ...]:
    return tuple({one.key: one.operating for one in run.scenarios} for run in (a, b))


def _paired(
    a: Predictions,
    b: Predictions,
    pair: _Matched,
    metric: str,
    points: Sequence[Mapping[str, Operating | None]],
) -> PairedFigure:
    """`b` minus `a`, of images that had no part in a choice between these two."""
    named = replace(b, scenario="b"), replace(a, scenario="a")
    at: Sequence[Mapping[str, Threshold]] = points if pair.part == "test" else pair.points
    thresholds = {"a": at[0].get(a.scenario), "b": at[1].get(b.scenario)}
    (comparison,) = compare(named[0], named[1:], metric, thresholds, purpose="report")
    second, first = estimate_all(named, metric, thresholds)
    same = _same(a, b, metric)
    if same:  # else what shows no spread gets an interval as if the images were not the same ones
        comparison = Comparison("b", "a", 0.0, 0.0, 0.0, 1.0)
    return PairedFigure(pair.part, metric, first, second, pair.patients, comparison, same=same)


def _same(a: Predictions, b: Predictions, metric: str) -> bool:
    """Whether every answer is the same; of what only ranks, whether the order is."""
    if metric in ("auroc", "auprc"):
        mine, theirs = (stats.rankdata(p.y_prob, axis=0) for p in (a, b))
        return np.array_equal(mine, theirs) and np.array_equal(a.fold, b.fold)
    return np.array_equal(a.y_prob, b.y_prob)


def _discounted(a: Run, b: Run, pair: _Matched, metric: str) -> Comparison | None:
    """The same where each was the choice of its run by these very images.

    In each resample both runs choose again by their rule, and what they choose is judged on the
    images left out. None where neither run had a choice, chose by another metric, or where so many
    scenarios would take minutes.
    """
    several = [run for run in (a, b) if len(run.scenarios) > 1]
    everything = [*pair.a.values(), *pair.b.values()]
    if not several or any(run.metric != metric for run in several):
        return None
    if len(everything) > MOST_SCENARIOS:
        return None
    names = [
        *(replace(p, scenario=f"a {key}") for key, p in _by_cost(a, pair.a)),
        *(replace(p, scenario=f"b {key}") for key, p in _by_cost(b, pair.b)),
    ]
    points = {
        f"{run} {key}": at
        for run, some in zip("ab", pair.points, strict=True)
        for key, at in some.items()
    }
    drawn = resample_in_and_out(names, metric, points)
    n = len(pair.a)
    mine, theirs = drawn.of(range(n)), drawn.of(range(n, len(names)))
    bags = recommended_in_bags(theirs, [f"b {key}" for key in b.barred]) + n
    others = recommended_in_bags(mine, [f"a {key}" for key in a.barred])
    keys = [p.scenario for p in names]
    now = keys.index(f"b {b.scenario}"), keys.index(f"a {a.scenario}")

    def choose(values: Floats) -> tuple[Ints, Ints]:
        if values.shape[1] == 1:
            return np.array(now[:1]), np.array(now[1:])
        return bags, others

    return compare_chosen(drawn, choose)


def _by_cost(run: Run, side: Mapping[str, Predictions]) -> list[tuple[str, Predictions]]:
    """Simplest first, as `result.json` lists them and the rule expects them."""
    return [(one.key, side[one.key]) for one in run.scenarios if one.key in side]


def _common(a: Run, b: Run, matched: Iterable[_Matched]) -> dict[str, PairedFigure]:
    """Scenarios of the same key in both, out of fold where that can be: what else changed them?"""
    pair = next(iter(matched))
    keys = [one.key for one in a.scenarios if one.key in pair.a and one.key in pair.b]
    points = _points(a, b)
    found = [_paired(pair.a[key], pair.b[key], pair, a.metric, points) for key in keys]
    return dict(zip(keys, _corrected(found), strict=True))


def _corrected(figures: Sequence[PairedFigure]) -> tuple[PairedFigure, ...]:
    """With p corrected for all of them; what is the same in both is no test."""
    tested = [one for one in figures if not one.same]
    corrected = iter(holm([one.comparison.p for one in tested]))
    return tuple(
        one if one.same else replace(one, comparison=replace(one.comparison, p=next(corrected)))
        for one in figures
    )


# --------------------------------------------------------------------------- what changed


def _changes(a: Run, b: Run) -> tuple[Change, ...]:
    """Everything that is not the same; what one of the two folders does not say is not compared."""
    found: list[Change] = []
    for name in ("fingerprint", "images", "patients", "classes", "positive"):
        one, other = getattr(a, name), getattr(b, name)
        if one and other and one != other:
            found.append(Change("data", name, one, other))
    for what in ("options", "weights", "versions"):
        mine, theirs = getattr(a, what), getattr(b, what)
        for name in dict.fromkeys((*mine, *theirs)) if mine and theirs else ():
            if mine.get(name) != theirs.get(name):
                found.append(Change(what, name, mine.get(name), theirs.get(name)))
    return tuple(found)
