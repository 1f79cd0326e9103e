"""What cross-validation leaves of a scenario, whatever its family: kept, judged, calibrated."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgraft.data.split import Development
from medgraft.evaluate.calibration import Calibrator
from medgraft.evaluate.grades import grading_of
from medgraft.evaluate.threshold import choose_threshold
from medgraft.learn.out_of_fold import OutOfFold, Probabilities, calibrated
from medgraft.results.training import TrainingLog
from medgraft.types import FittedScenario, Floats, Predictions, Scenario, digest

OUT_OF_FOLD_CACHE_VERSION = "12"  # raise it when a change of code changes out-of-fold numbers


@dataclass(frozen=True, eq=False)
class CrossFitted:
    """What cross-validation leaves: out-of-fold predictions, and the refit on all of them.

    predictions : of the images as they were judged, by which scenarios are compared. unchanged : of
    the images as they are, as they will be in use; the same where they were judged so.
    probabilities : out of fold, for ensembles to be fitted on. seconds : what it took when it was
    first computed. training : of a network that was trained.
    """

    predictions: Predictions
    unchanged: Predictions
    probabilities: Probabilities
    fitted: FittedScenario
    seconds: float
    training: TrainingLog | None = None


def key_of(
    scenario: Scenario,
    inputs: object,
    development: Development,
) -> str:
    """What decides a scenario's out-of-fold numbers."""
    weight = development.sample_weight
    return digest(
        OUT_OF_FOLD_CACHE_VERSION,
        scenario.full_key,
        scenario.seed,
        inputs,
        development.table.fingerprint,
        development.folds.fingerprint,
        None if weight is None else weight.tolist(),
        length=32,
    )


def pack_out_of_fold(
    found: OutOfFold, development: Development, began: float
) -> dict[str, NDArray[Any]]:
    """What is kept of a scenario: its scores and probabilities, and the calibrator of the refit."""
    p = calibrated(found, development.table.labels, development.folds.assignment)
    arrays = {
        "scores": found.scores,
        "changed.scores": found.changed,
        "y_prob": p.unchanged,
        "changed.y_prob": p.changed,
        "inner": None if p.inner is None else p.inner.astype(np.float32),
        "final": p.final,
        "slope": np.array(p.calibrator.slope),
        "biases": np.array(p.calibrator.biases),
        "seconds": np.array(time.perf_counter() - began),
    }
    return {name: array for name, array in arrays.items() if array is not None}


def calibrator_of(kept: Mapping[str, NDArray[Any]]) -> Calibrator:
    """The calibrator of the refit that `pack_out_of_fold` packed."""
    return Calibrator(float(kept["slope"]), tuple(kept["biases"].tolist()))


def unpack_cross_fitted(
    fitted: FittedScenario, kept: Mapping[str, NDArray[Any]], development: Development
) -> CrossFitted:
    """The kept out-of-fold predictions, and the refit (a dataclass) with its threshold."""
    table, folds = development.table, development.folds

    def said(scores: Floats, prob: Floats) -> Predictions:
        return Predictions.of(fitted.scenario.key, table, scores, prob, folds.assignment)

    predictions = unchanged = said(kept["scores"], kept["y_prob"])
    if folds.view is not None:
        predictions = said(kept["changed.scores"], kept["changed.y_prob"])
    operating = choose_threshold(unchanged) if table.positive else None
    grading = grading_of(unchanged) if table.ordered else None
    return CrossFitted(
        predictions=predictions,
        unchanged=unchanged,
        probabilities=Probabilities(
            unchanged=kept["y_prob"],
            inner=kept.get("inner"),
            final=kept["final"],
            changed=kept.get("changed.y_prob"),
            calibrator=calibrator_of(kept),
        ),
        fitted=dataclasses.replace(fitted, operating=operating, grading=grading),  # type: ignore[type-var]
        seconds=float(kept["seconds"]),
    )
