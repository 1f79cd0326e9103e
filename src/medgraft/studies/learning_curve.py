"""What twice the images would bring: the step of a study that refits on fewer and extrapolates.

No other number of a study depends on it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from medgraft.data.split import Development
from medgraft.evaluate.calibration import fit_calibrator
from medgraft.evaluate.learning_curve import curve_of
from medgraft.evaluate.metrics import METRICS, Case, judge
from medgraft.features.extract import Extractor
from medgraft.learn.cross_validation import CrossFitted
from medgraft.learn.learning_curve import Refit, cross_refits, refittable
from medgraft.results.recommendation import LearningCurve
from medgraft.studies.simplest import allowed_loss
from medgraft.types import Estimate, Predictions


def learning_curve(
    recommended: str,
    judged: Mapping[str, CrossFitted],
    estimates: Mapping[str, Estimate],
    development: Development,
    extractor: Extractor,
) -> LearningCurve:
    """The curve of the recommended scenario, or of the best one that can be refitted.

    estimates : of the metric, out of fold, by key.
    """
    metric = development.folds.metric
    sign = METRICS[metric].sign
    own = [key for key, one in judged.items() if refittable(one.fitted.scenario)]
    own = [key for key in own if np.isfinite(estimates[key].value)]
    if metric == "ece":  # which has no influence of an image
        return LearningCurve(recommended, (), None, None, 0.0, "metric")
    if not own:
        return LearningCurve(recommended, (), None, None, 0.0, "nothing to refit")
    key = recommended
    if key not in own:
        key = max(own, key=lambda one: sign * estimates[one].value)
    found = cross_refits(judged[key].fitted, development, extractor)
    margin = float(allowed_loss(estimates[key].value, metric))
    if not found:
        return LearningCurve(key, (), None, None, margin, "few patients")
    cases = [_case(key, one, development) for one in found]
    counts = np.bincount(development.folds.assignment)
    learned = len(development.table) - float((counts**2).sum() / counts.sum())
    return curve_of(key, cases, [one.share for one in found], metric, learned, margin)


def _case(key: str, refit: Refit, development: Development) -> Case:
    """What is judged of one refit, calibrated by its own scores: K + 1 numbers, alike at all."""
    table, scores = development.table, refit.scores.astype(np.float64)
    prob = fit_calibrator(scores, table.labels)(scores)
    return judge(Predictions.of(key, table, scores, prob, development.folds.assignment))
