"""What cross-validation leaves of a scenario, whatever its family: kept, judged, calibrated."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medgraft.evaluate.calibration import Calibrator, choose_threshold, cross_fit, fit_calibrator
from medgraft.learn.ensemble import FittedEnsemble
from medgraft.learn.frozen import FittedFrozen
from medgraft.types import (
    FittedScenario,
    Floats,
    Folds,
    ImageTable,
    Predictions,
    Scenario,
    digest,
)

if TYPE_CHECKING:
    from medgraft.learn.depth import TrainingLog

RECIPE = "7"  # raise it when a change of code changes out-of-fold numbers

Fitted = FittedFrozen | FittedEnsemble


@dataclass(frozen=True, eq=False)
class CrossFitted:
    """What cross-validation leaves: out-of-fold predictions, and the refit on all of them.

    seconds : what it took when it was first computed. training : of a network that was trained.
    """

    predictions: Predictions
    fitted: FittedScenario
    seconds: float
    training: TrainingLog | None = None


def key_of(
    scenario: Scenario,
    inputs: object,
    development: ImageTable,
    folds: Folds,
    sample_weight: Floats | None,
) -> str:
    """What decides a scenario's out-of-fold numbers."""
    return digest(
        RECIPE,
        dataclasses.asdict(scenario),
        inputs,
        development.fingerprint,
        folds.fingerprint,
        None if sample_weight is None else sample_weight.tolist(),
        length=32,
    )


def judged(
    scores: Floats, development: ImageTable, folds: Folds, began: float
) -> dict[str, NDArray[Any]]:
    """Out-of-fold scores and probabilities (n, n_classes), and the calibrator of the refit."""
    calibrator = fit_calibrator(scores, development.labels)
    return {
        "scores": scores,
        "y_prob": cross_fit(scores, development.labels, folds.assignment),
        "slope": np.array(calibrator.slope),
        "biases": np.array(calibrator.biases),
        "seconds": np.array(time.perf_counter() - began),
    }


def calibrator_of(kept: Mapping[str, NDArray[Any]]) -> Calibrator:
    """The calibrator of the refit that `judged` left."""
    return Calibrator(float(kept["slope"]), tuple(kept["biases"].tolist()))


def finished(
    fitted: Fitted, kept: Mapping[str, NDArray[Any]], development: ImageTable, folds: Folds
) -> CrossFitted:
    """The out-of-fold predictions that were kept, and the refit with its threshold."""
    predictions = Predictions.of(
        fitted.scenario.key, development, kept["scores"], kept["y_prob"], folds.assignment
    )
    operating = choose_threshold(predictions) if development.positive else None
    fitted = dataclasses.replace(fitted, operating=operating)
    return CrossFitted(predictions, fitted, float(kept["seconds"]))


def arrays_under(arrays: Mapping[str, NDArray[Any]], name: str) -> dict[str, NDArray[Any]]:
    """The arrays stored under `name.`, without that prefix."""
    prefix = f"{name}."
    return {key.removeprefix(prefix): a for key, a in arrays.items() if key.startswith(prefix)}
