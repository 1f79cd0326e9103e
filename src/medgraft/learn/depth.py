"""From which layer on to train: freeze points compared by successive halving.

Every depth is trained on the same images, a few epochs on some of them; the better half goes on
with more images and epochs (Jamieson and Talwalkar, 2016; each rung begins anew, so that every rate
falls to zero in it). They are judged on an inner holdout of whole groups, and the outer fold in
whose training part the search takes place is seen by none of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.special import softmax

from medgraft.errors import FitError
from medgraft.evaluate.compare import estimate_all
from medgraft.evaluate.intervals import DEFAULT
from medgraft.evaluate.macro import macro_mean
from medgraft.evaluate.metrics import METRICS, judge
from medgraft.evaluate.shared_bags import (
    compare_chosen_mean,
    compare_means_with_best,
    in_shared_bags,
    mean_over_findings,
    some_of,
)
from medgraft.evaluate.winners_curse import (
    best,
    compare_chosen,
    compare_with_best,
    resample_in_and_out,
)
from medgraft.features.subnetwork import freeze_points
from medgraft.learn.finetune_setup import HOLDOUT, FinetuneSetup, Trained, TrainingTask
from medgraft.panel import UNKNOWN
from medgraft.results.figures import Comparison
from medgraft.results.training import DepthSearch, DepthTrial
from medgraft.scenario import INPUT
from medgraft.types import Estimate, Folds, Ints, Predictions

MORE = 3  # times the epochs of a rung at most, where there are fewer images than it asks for
Said = tuple[Predictions, ...]
"""What a depth said of the inner holdout: of one question, or of each finding."""

LARGE = 3  # times the canvas's bytes: a map that takes more is not worth keeping


def rungs_of(rungs: str) -> tuple[tuple[int, int], ...]:
    """(training images at most, epochs) of each rung.

    >>> rungs_of("1200x2+2400x3")
    ((1200, 2), (2400, 3))
    """
    pairs = (rung.split("x") for rung in rungs.split("+"))
    return tuple((int(images), int(epochs)) for images, epochs in pairs)


def searched(setup: FinetuneSetup) -> tuple[str, ...]:
    """The depths that are compared: the image, and freeze points whose maps are not large."""
    size = setup.spec.size

    def bytes_of(depth: str) -> int:
        tap = setup.backbone.tap_at(depth, size)
        return 2 * tap.channels * tap.side**2

    return tuple(
        depth
        for depth in freeze_points(setup.backbone)
        if depth == INPUT or bytes_of(depth) <= LARGE * 3 * size**2
    )


def search_depth(
    setup: FinetuneSetup,
    folds: Folds,
    depths: Sequence[str],
    metric: str,
) -> DepthSearch:
    """Compare freeze points on the images outside the last fold.

    The inner holdout is judged in the view that `setup` judges in.

    Raises
    ------
    FitError
        There is nothing to learn from.
    """
    rungs = rungs_of(setup.recipe.rungs)
    rows = np.flatnonzero(folds.assignment != folds.n_folds - 1)
    held = setup.held_out(rows, HOLDOUT, setup.scenario.seed)
    learned, judges = rows[~held], rows[held]
    most = max(images for images, _ in rungs)
    setup, index = setup.select(np.concatenate([_subset(setup, learned, most), judges]))
    judges = index[-len(judges) :]
    learned = index[: -len(judges)]
    setup.prepare(depths)
    running = list(depths)
    trials: list[DepthTrial] = []
    last: list[Said] = []
    for rung, (images, epochs) in enumerate(rungs):
        some = _subset(setup, learned, images)
        found: list[Said] = []
        seconds = []
        epochs = min(MORE * epochs, max(epochs, round(images * epochs / len(some))))
        recipe = replace(setup.recipe, epochs=epochs, steps=0, patience=0, tta=1)
        short = replace(setup, recipe=recipe)
        for depth in running:
            what = f"Depth search, {rung + 1} of {len(rungs)}: training from {depth}"
            task = TrainingTask(depth, setup.inputs(depth), some, judges, what, epochs)
            run = short.trained(task)
            found.append(_said(setup, depth, judges, run))
            seconds.append(run.seconds)
        estimates = _estimates(found, metric)
        trials += [
            DepthTrial(depth, rung, len(some), epochs, took, estimate)
            for depth, took, estimate in zip(running, seconds, estimates, strict=True)
        ]
        sign = -METRICS[metric].sign
        order = np.argsort([sign * estimate.value for estimate in estimates], kind="stable")
        last = [found[i] for i in order]
        running = [running[i] for i in order[: max(1, -(-len(order) // 2))]]
    head = _linear_head(short, depths[-1], some, judges)
    chosen = last[0][0].scenario
    comparisons, gain = _compared(head, last, metric)
    return DepthSearch(metric, chosen, tuple(trials), comparisons, len(judges), gain)


def _estimates(found: Sequence[Said], metric: str) -> list[Estimate]:
    """The metric of each depth, the mean over findings where there are several."""
    if len(found[0]) == 1:
        return list(estimate_all([one for (one,) in found], metric))
    return [macro_mean([judge(one) for one in said], metric) for said in found]


def _compared(
    head: Said, last: Sequence[Said], metric: str
) -> tuple[tuple[Comparison, ...], Comparison]:
    """The best depth of a rung against the others, and what it gains over a linear head."""
    if len(head) == 1:
        drawn = resample_in_and_out([one for (one,) in last], metric)
        gain = compare_chosen(
            resample_in_and_out([one for (one,) in [head, *last]], metric),
            lambda values: (1 + best(values[1:], metric), np.zeros(values.shape[1], np.int64)),
        )
        return compare_with_best(drawn), gain
    groups = np.concatenate([one.groups for one in head])
    everything = [
        in_shared_bags(list(said), metric, groups, DEFAULT)
        for said in zip(head, *last, strict=True)
    ]
    mean, names = mean_over_findings(everything), [said[0].scenario for said in [head, *last]]
    return (
        compare_means_with_best(some_of(mean, range(1, len(names))), names[1:]),
        compare_chosen_mean(mean, names),
    )


def _linear_head(setup: FinetuneSetup, deepest: str, rows: Ints, judges: Ints) -> Said:
    """What a linear head on the frozen network says, which the depths are compared with."""
    frozen = replace(setup, recipe=replace(setup.recipe, probe=True))
    inputs = frozen.inputs(deepest)
    task = TrainingTask(deepest, inputs, rows, judges, "The frozen network", epochs=0)
    return _said(frozen, "a linear head", judges, frozen.trained(task))


def _subset(setup: FinetuneSetup, rows: Ints, n: int) -> Ints:
    """About n of the rows, whole groups, classes in equal shares."""
    if n >= len(rows):
        return rows
    taken = setup.held_out(rows, n / len(rows), setup.scenario.seed + 1)
    return rows[taken]


def _said(setup: FinetuneSetup, depth: str, rows: Ints, run: Trained) -> Said:
    """What a depth said of the inner holdout, in the view that is judged in."""
    scores = run.scores if run.changed is None else run.changed
    table = setup.development.select(rows)
    # Of no fold: it has no threshold of its own.
    if setup.truth is None:
        return (Predictions.of(depth, table, scores, softmax(scores, axis=1)),)
    found = []
    for f, marks in zip(scores.T, setup.truth[rows].T, strict=True):
        known = marks != UNKNOWN
        if len(np.unique(marks[known])) < 2:  # nothing to be judged by
            continue
        both = np.stack([-f[known] / 2, f[known] / 2], axis=1)
        mine = replace(
            table.select(known),
            labels=marks[known].astype(np.int64),
            classes=("without", "with"),
            positive="with",
        )
        found.append(Predictions.of(depth, mine, both, softmax(both, axis=1)))
    if not found:
        raise FitError(
            f"of no finding the {len(rows)} images held out for the depth search show both sides; "
            "name the depth, such as --depths blocks.5"
        )
    return tuple(found)
