"""What probabilities promise: calibration, and sets of classes."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import softmax

from medgraft.evaluate.conformal import ALPHA, OwnProbability, sets_at
from medgraft.evaluate.intervals import wilson
from medgraft.types import Floats, Ints
from pictures.paper import BLUE, GREY, ORANGE, new_figure
from pictures.world import World

BINS = 8  # of equal mass: four hundred films bear no more


def calibration(world: World) -> Figure:
    """How often what is said comes true: of an SVM's own scores, and after calibration."""
    found = world.crossed(world.films).unchanged
    k = found.classes.index("lesion")
    truth = found.y_true == k
    figure = new_figure(11, 4.8)
    for place, (name, said, colour) in enumerate(
        (
            (
                "an SVM's score, read as a log odds",
                softmax(found.scores, axis=1)[:, k],
                ORANGE,
            ),
            ("calibrated, by images of other folds", found.y_prob[:, k], BLUE),
        )
    ):
        axes = figure.add_subplot(1, 2, place + 1)
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--")
        if place == 0:
            axes.text(0.72, 0.62, "comes true as said", color=GREY, rotation=45)
        for rows in np.array_split(np.argsort(said, kind="stable"), BINS):
            n, mean = len(rows), float(said[rows].mean())
            share = wilson(int(truth[rows].sum()), n)
            axes.plot([mean, mean], [share.low, share.high], color=colour, linewidth=1.5)
            axes.plot(mean, share.value, "o", color=colour, markersize=7)
        axes.set_title(name, fontsize=11)
        axes.set_xlabel("said: probability of a lesion")
        axes.set_ylabel("came true: share with a lesion" if place == 0 else "")
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(-0.03, 1.03)
        axes.set_aspect("equal")
    return figure


def sets(world: World) -> Figure:
    """Where each class's threshold comes from, and which sets come of it."""
    found = world.crossed(world.films).unchanged
    own = OwnProbability.of(found.y_prob, found.y_true, found.groups)
    thresholds = own.thresholds(ALPHA)
    figure = new_figure(11, 4.4)
    grid = figure.add_gridspec(2, 2, width_ratios=(1.6, 1))
    for k, name in enumerate(found.classes):
        axes = figure.add_subplot(grid[k, 0])
        mine = own.own[found.y_true == k]
        axes.hist(mine, bins=np.linspace(0, 1, 41).tolist(), color=(BLUE, ORANGE)[k])
        axes.axvline(thresholds[k], color=GREY, linewidth=2)
        reached = (mine >= thresholds[k]).mean()
        axes.set_title(
            f"films of {name}: {reached:.0%} have a probability of {name} above "
            f"{thresholds[k]:.2f}", fontsize=11, loc="left",
        )  # fmt: skip
        axes.set_ylabel("films")
    axes.set_xlabel("probability of its own class, out of fold")
    _sets_that_come(figure.add_subplot(grid[:, 1]), found.classes, found.y_prob, thresholds)
    return figure


def _sets_that_come(axes: Axes, classes: tuple[str, ...], prob: Floats, least: Floats) -> None:
    labels: Ints = prob.argmax(axis=1)
    made = sets_at(prob, labels, least)
    names = [" or ".join(np.array(classes)[row]) for row in made]
    kinds = [*classes, " or ".join(classes)]
    for y, kind in enumerate(kinds):
        n = names.count(kind)
        axes.barh(-y, n, color=(BLUE, ORANGE, GREY)[y], height=0.6)
        axes.text(n + 3, -y, f"{n}", va="center")
    axes.set_yticks([0, -1, -2], kinds)
    axes.set_title("the sets that come of it", fontsize=11, loc="left")
    axes.set_xlabel("films")
