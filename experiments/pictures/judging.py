"""How a classifier is put to the test: in augmented views, and by regions exchanged."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from medgraft.audit.regions import alphas, layout_of, regions_of
from medgraft.audit.swap import exchanged
from medgraft.data.augment import judging_view
from medgraft.evaluate.metrics import auroc
from medgraft.results.evidence import CORNERS
from medgraft.types import Canvas, FittedScenario, ImageTable, Predictions
from pictures.paper import BLUE, GREY, ORANGE, film, new_figure
from pictures.world import World

VIEWED = tuple(f"{kind}_view1.png" for kind in ("normal/patient0001", "lesion/patient0006"))
FIRST = "normal/patient0001_view1.png"  # the recipient that is shown, so no donor
MANY = 100  # recipients, in the bars
CORNER = CORNERS[1]  # top right; some films have an R of their own at the left


def views(world: World) -> Figure:
    """Films as they are and as they are judged, and what that does to two classifiers."""
    view = judging_view()
    figure = new_figure(11, 4.6)
    grid = figure.add_gridspec(2, 4, width_ratios=(1, 1, 0.35, 1.9))
    for column, canvas in enumerate(world.canvases(world.brighter, list(VIEWED))):
        label = VIEWED[column].split("/")[0]
        film(figure.add_subplot(grid[0, column]), canvas.pixels, f"{label}, as it is")
        film(figure.add_subplot(grid[1, column]), view(canvas).pixels, f"{label}, as it is judged")
    axes = figure.add_subplot(grid[:, 3])
    rows = (("the lesion alone\ntells the class", world.films),
            ("exposure tells\nit, too", world.brighter))  # fmt: skip
    for place, ((name, table), (colour, changed)) in enumerate(
        product(rows, ((BLUE, False), (ORANGE, True)))
    ):
        found = _auroc(world.crossed(table, view if changed else None).predictions)
        y = -place - place // 2 * 0.6
        axes.barh(y, found - 0.5, left=0.5, color=colour, height=0.8)
        how = "judged in changed views" if changed else "judged as they are"
        axes.text(0.51, y, how, va="center", color="white")
        axes.text(found + 0.005, y, f"{found:.3f}", va="center")
        if not changed:
            axes.text(0.49, y - 0.5, name, va="center", ha="right")
    axes.set_xlim(0.5, 1.07)
    axes.set_xticks([0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("AUROC out of fold")
    return figure


def regions(world: World) -> Figure:
    """One corner from two donors, given to the same films, and what two classifiers then say."""
    table = world.marked
    fitted = {
        "learned where lesions bear an L": world.crossed(table).fitted,
        "learned without an L": world.crossed(world.films).fitted,
    }
    donors = _donors(table, world)
    healthy = [one for one in table.ids.tolist() if one.startswith("normal/")]
    recipients = world.canvases(table, [one for one in healthy if one not in donors][:MANY])
    side = len(recipients[0].pixels)
    [region] = [one for one in regions_of(side, layout_of("xray")) if one.name == CORNER]
    faded = alphas(region.base)
    figure = new_figure(11, 4.9)
    grid = figure.add_gridspec(2, 4, width_ratios=(1, 1, 1, 1.5))
    film(figure.add_subplot(grid[0, 0]), recipients[0].pixels, "recipient: normal")
    for row, donor in enumerate(world.canvases(table, donors)):
        given = [next(exchanged(one, donor, region.base, faded)) for one in recipients]
        label = donor.id.split("/")[0]
        titles = (f"donor: {label}", "recipient, with that corner")
        for column, (canvas, title) in enumerate(zip((donor, given[0]), titles, strict=True)):
            axes = figure.add_subplot(grid[row, column + 1])
            film(axes, canvas.pixels, title)
            _boxed(axes, region.base)
        axes = figure.add_subplot(grid[row, 3])
        _called(axes, {name: _called_lesion(one, given) for name, one in fitted.items()})
    axes.set_xlabel(f"of {len(recipients)} normal films, called a lesion")
    return figure


def _called(axes: Axes, shares: Mapping[str, float]) -> None:
    for y, (name, share) in enumerate(shares.items()):
        axes.barh(-y, share, color=(ORANGE, BLUE)[y], height=0.5)
        axes.text(share + 0.02, -y, f"{share:.0%}", va="center")
        axes.text(0, -y + 0.4, name, va="center", color=GREY)
    axes.set_xlim(0, 1.12)
    axes.set_ylim(-1.5, 0.7)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])


def _boxed(axes: Axes, base: NDArray[np.bool_]) -> None:
    rows, columns = np.flatnonzero(base.any(axis=1)), np.flatnonzero(base.any(axis=0))
    box = Rectangle(
        (columns[0], rows[0]), len(columns), len(rows), fill=False, edgecolor=ORANGE, linewidth=2
    )
    axes.add_patch(box)


def _donors(table: ImageTable, world: World) -> list[str]:
    """A normal film without the letter and one with a lesion and the letter, of other patients."""
    found = []
    for label, letter in (("normal", False), ("lesion", True)):
        for one in table.ids.tolist():
            patient = one.split("_")[0].split("/")[-1]
            if not one.startswith(f"{label}/") or patient in FIRST:
                continue
            [canvas] = world.canvases(table, [one])
            if bool((canvas.pixels[8:32, 190:218] > 215).mean() > 0.1) == letter:
                found.append(one)
                break
    return found


def _called_lesion(fitted: FittedScenario, canvases: list[Canvas]) -> float:
    assert fitted.operating is not None
    probability = fitted.probabilities(canvases)[:, fitted.classes.index("lesion")]
    return float((probability >= fitted.operating.threshold).mean())


def _auroc(predictions: Predictions) -> float:
    k = predictions.classes.index("lesion")
    return float(auroc(predictions.y_true == k, predictions.scores[:, k]))
