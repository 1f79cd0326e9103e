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

from medgraft.data.split import holdout
from medgraft.evaluate.compare import estimate_all
from medgraft.evaluate.metrics import METRICS
from medgraft.evaluate.winners_curse import (
    best,
    compare_chosen,
    compare_with_best,
    resample_in_and_out,
)
from medgraft.features.subnetwork import freeze_points
from medgraft.learn.finetune_setup import HOLDOUT, FinetuneSetup, Trained, TrainingTask
from medgraft.results.training import DepthSearch, DepthTrial
from medgraft.scenario import INPUT
from medgraft.types import Folds, Ints, Predictions

MORE = 3  # times the epochs of a rung at most, where there are fewer images than it asks for
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
    table, rungs = setup.development, rungs_of(setup.recipe.rungs)
    rows = np.flatnonzero(folds.assignment != folds.n_folds - 1)
    held = holdout(table.groups[rows], table.labels[rows], HOLDOUT, setup.scenario.seed)
    learned, judges = rows[~held], rows[held]
    most = max(images for images, _ in rungs)
    setup, index = setup.select(np.concatenate([_subset(setup, learned, most), judges]))
    judges = index[-len(judges) :]
    learned = index[: -len(judges)]
    setup.prepare(depths)
    running = list(depths)
    trials: list[DepthTrial] = []
    last: list[Predictions] = []
    for rung, (images, epochs) in enumerate(rungs):
        some = _subset(setup, learned, images)
        found: list[Predictions] = []
        seconds = []
        epochs = min(MORE * epochs, max(epochs, round(images * epochs / len(some))))
        recipe = replace(setup.recipe, epochs=epochs, steps=0, patience=0, tta=1)
        short = replace(setup, recipe=recipe)
        for depth in running:
            what = f"Depth search, {rung + 1} of {len(rungs)}: training from {depth}"
            task = TrainingTask(depth, setup.inputs(depth), some, judges, what, epochs)
            run = short.trained(task)
            found.append(_predictions(setup, depth, judges, run))
            seconds.append(run.seconds)
        estimates = estimate_all(found, metric)
        trials += [
            DepthTrial(depth, rung, len(some), epochs, took, estimate)
            for depth, took, estimate in zip(running, seconds, estimates, strict=True)
        ]
        sign = -METRICS[metric].sign
        order = np.argsort([sign * estimate.value for estimate in estimates], kind="stable")
        last = [found[i] for i in order]
        running = [running[i] for i in order[: max(1, -(-len(order) // 2))]]
    head = _linear_head(short, depths[-1], some, judges)
    comparisons = compare_with_best(resample_in_and_out(last, metric))
    gain = compare_chosen(
        resample_in_and_out([head, *last], metric),
        lambda values: (1 + best(values[1:], metric), np.zeros(values.shape[1], np.int64)),
    )
    return DepthSearch(metric, last[0].scenario, tuple(trials), comparisons, len(judges), gain)


def _linear_head(setup: FinetuneSetup, deepest: str, rows: Ints, judges: Ints) -> Predictions:
    """What a linear head on the frozen network says, which the depths are compared with."""
    frozen = replace(setup, recipe=replace(setup.recipe, probe=True))
    inputs = frozen.inputs(deepest)
    task = TrainingTask(deepest, inputs, rows, judges, "The frozen network", epochs=0)
    return _predictions(frozen, "a linear head", judges, frozen.trained(task))


def _subset(setup: FinetuneSetup, rows: Ints, n: int) -> Ints:
    """About n of the rows, whole groups, classes in equal shares."""
    if n >= len(rows):
        return rows
    table = setup.development
    taken = holdout(table.groups[rows], table.labels[rows], n / len(rows), setup.scenario.seed + 1)
    return rows[taken]


def _predictions(setup: FinetuneSetup, depth: str, rows: Ints, run: Trained) -> Predictions:
    """What a depth said of the inner holdout, in the view that is judged in."""
    scores = run.scores if run.changed is None else run.changed
    table = setup.development.select(rows)
    # Of no fold: it has no threshold of its own.
    return Predictions.of(depth, table, scores, softmax(scores, axis=1))
