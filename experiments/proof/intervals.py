"""Does an interval of 95 % hold the truth in 95 of 100 data sets, and is a value unbiased?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np

from medgraft.evaluate.estimates import evaluate
from medgraft.evaluate.intervals import Sampling
from medgraft.evaluate.metrics import BINARY, COMMON
from medgraft.types import Operating
from proof.cell import Bound, Cell
from proof.scores import (
    EIGHT,
    THRESHOLD,
    distance,
    eight_classes,
    truth_of_eight,
    truth_of_two,
    two_classes,
)

RESAMPLES = Sampling(resamples=1000)  # half of what is usual, which changes no coverage by a point
SIZES = {1: (60, 150, 300, 600, 1600), 1.05: (60, 150), 3: (60, 150, 300, 600, 1600),
         10: (60, 150, 300, 600, 1600), 30: (300, 600, 1600)}  # fmt: skip
FEW = 10  # wrong labels of the rarer kind, from which a nominal coverage can be kept


def cells() -> Iterator[Cell]:
    """Two classes at three AUROCs, eight at one, and probabilities that are too sure."""
    for size, ns in SIZES.items():
        for n in ns:
            for auroc in (0.76, 0.92, 0.98):
                yield _cell(2, auroc, n, size, 1.0)
    for size, ns in {1: (150, 300, 600, 1600), 3: (300, 1600), 10: (600, 1600)}.items():
        for n in ns:
            yield _cell(8, 0.92, n, size, 1.0)
    for auroc in (0.76, 0.98):
        yield _cell(8, auroc, 300, 1, 1.0)
    for size, n in ((1, 150), (1, 600), (10, 600)):
        yield _cell(2, 0.92, n, size, 1.6)


def _cell(classes: int, auroc: float, n: int, size: float, stretch: float) -> Cell:
    if classes == 2:
        truth = truth_of_two(distance(auroc), stretch)
        runs = 2000 if size == 1 else 1000
    else:
        truth, runs = truth_of_eight(EIGHT[auroc]), 1000 if n <= 600 else 500
    setting = {
        "classes": f"{classes}" + (" too sure" if stretch > 1 else ""),
        "AUROC": f"{auroc:.2f}",
        "images": f"{n}",
        "a patient": f"{size}",
    }
    short: Mapping[tuple[int, float, int, float], int] = {
        (2, 0.92, 150, 1): 400,
        (2, 0.98, 300, 1): 250,
        (2, 0.98, 300, 10): 200,
        (2, 0.92, 300, 3): 200,
        (8, 0.92, 150, 1): 100,
    }
    sample = short.get((classes, auroc, n, size), 0) if stretch == 1 else 0
    run = partial(_run, classes=classes, auroc=auroc, n=n, size=size, stretch=stretch)
    return Cell("intervals", setting, run, runs, _bounds(truth, n, size, classes, stretch), sample)


def _run(
    rng: np.random.Generator, classes: int, auroc: float, n: int, size: float, stretch: float
) -> dict[str, float]:
    if classes == 2:
        d = distance(auroc)
        judged, truth = two_classes(rng, n, size, [d], stretch=stretch)[0], truth_of_two(d, stretch)
        found = evaluate(judged, Operating(THRESHOLD, "fixed"), sampling=RESAMPLES)
    else:
        judged, truth = eight_classes(rng, n, size, EIGHT[auroc]), truth_of_eight(EIGHT[auroc])
        found = evaluate(judged, sampling=RESAMPLES)
    made = {}
    for metric, one in found.estimates.items():
        made[f"{metric} covers"] = float(one.low <= truth[metric] <= one.high)
        made[f"{metric} bias"] = one.value - truth[metric]
    calibration = found.calibration
    if calibration is not None and calibration.slope is not None:
        made["slope covers"] = float(calibration.slope.low <= 1 / stretch <= calibration.slope.high)
    if calibration is not None and calibration.intercept is not None and stretch == 1:
        made["intercept covers"] = float(
            calibration.intercept.low <= 0 <= calibration.intercept.high
        )
    return made


def _bounds(
    truth: Mapping[str, float], n: int, size: float, classes: int, stretch: float
) -> dict[str, Bound]:
    """Coverage 93 to 97 % of independent images, 91 to 98 % of patients' ones, from 150 images and
    30 patients on; 90 % below. A value's bias: .01, below that size .03."""
    large = n >= 150 and n / size >= 30
    low, high = ((0.93, 0.97) if size == 1 else (0.91, 0.98)) if large else (0.90, 1.0)
    why = "" if large else "fewer than 150 images or 30 patients: 90 % is asked for"
    wrong = 1 - truth["accuracy"]
    if "sensitivity" in truth:
        positives = 0.4
        wrong = min(positives * (1 - truth["sensitivity"]), 0.6 * (1 - truth["specificity"]))
    if large and n / size * wrong < FEW:
        high, why = 1.0, f"fewer than {FEW} expected mistakes of a kind: wider is allowed"
    bounds = {"slope covers": Bound(0.95, low, high, why)}
    if classes == 2 and stretch == 1:
        bounds["intercept covers"] = Bound(0.95, low, high, why)
    for metric in (*COMMON, *BINARY):
        if metric not in truth:
            continue
        bounds[f"{metric} covers"] = Bound(0.95, low, high, why)
        if metric != "ece":
            room = 0.01 if large else 0.03
            bounds[f"{metric} bias"] = Bound(0.0, -room, room)
        elif truth["ece"] < 1e-9:
            at_edge = "the true error, 0, is the least there can be: wider is allowed"
            bounds["ece covers"] = Bound(0.95, low, 1.0, at_edge)
    return bounds
