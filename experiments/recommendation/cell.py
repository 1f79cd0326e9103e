"""One cell of the grid: a draw of a data set, judged as a study does, then held to the test."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medgraft.data.pool.pool import shorter_side
from medgraft.data.split import Development, make_folds
from medgraft.evaluate.compare import compare, of_all, paired_cases
from medgraft.evaluate.metrics import Threshold
from medgraft.features.extract import Extractor
from medgraft.learn.cross_validation import CrossFitted
from medgraft.learn.fit import cross_fitted_all
from medgraft.profile.similarity import measure_similarity
from medgraft.results.recommendation import Similarity
from medgraft.studies.options import StudyOptions
from medgraft.studies.plan import PlannedScenario, plan
from medgraft.studies.prepare import prepare
from medgraft.studies.readings import inputs_of
from medgraft.studies.session import Session
from medgraft.types import Floats, ImageTable, Ints, Predictions
from recommendation.fields import FIELDS, METRIC, Field
from recommendation.policies import choices
from recommendation.results import VERSION
from recommendation.sets import drawn, halves

ALSO = "balanced_accuracy"  # by which what was chosen is judged too
HALF_WIDTH = 1.96  # standard errors, of a 95 % interval


def measure(
    table: ImageTable, field: str, n: int | str, draw: int, extractor: Extractor
) -> dict[str, Any]:
    """The line of a cell. table : of the whole data set, with its test split."""
    began, clock = time.perf_counter(), time.process_time()
    development, planned, similarity = _prepared(table, FIELDS[field], n, draw, extractor)
    scenarios = [entry.scenario for entry in planned]
    found = {
        one.predictions.scenario: one for one in cross_fitted_all(scenarios, development, extractor)
    }
    judged = {scenario.key: found[scenario.key] for scenario in scenarios}
    chosen, resampled = choices(scenarios, judged, development, extractor)
    # From here on every policy has chosen, and the test is looked at.
    tested = judge_on_test(judged, table.test, draw)
    distance = similarity.distance
    return {
        "version": VERSION, "field": field, "n": n, "draw": draw, "metric": METRIC,
        "images": len(development.table),
        "groups": len(np.unique(development.table.groups)),
        "folds": development.folds.n_folds,
        "test_images": len(table.test), "test_groups": len(np.unique(table.test.groups)),
        "similarity": None if distance is None else round(distance.value, 4),
        "chosen": chosen,
        "scenarios": {
            key: [round(float(value), 5), *tested[key]]
            for key, value in zip(judged, resampled.values, strict=True)
        },
        "seconds": round(time.perf_counter() - began),
        "cpu_seconds": round(time.process_time() - clock),
    }  # fmt: skip


def _prepared(
    table: ImageTable, field: Field, n: int | str, draw: int, extractor: Extractor
) -> tuple[Development, list[PlannedScenario], Similarity]:
    """Images dealt to folds, and scenarios, simplest first, as a study of the draw makes them.

    Where networks are trained, `prepare` says whether images are judged in changed views.
    """
    learned = drawn(table, n, draw)
    first, *others = (
        dataclasses.replace(options, seed=draw, metric=METRIC) for options in field.options
    )
    if field.trained:
        rows = np.isin(table.ids, learned.ids) | (table.splits == "test")
        found = prepare(table.select(rows), first, Session(extractor, None))
        development, planned, shorter = found.development, list(found.planned), found.shorter
        similarity = found.similarity
    else:
        folds = dataclasses.replace(make_folds(learned, first.n_folds, draw), metric=METRIC)
        development, shorter = Development(learned, folds), shorter_side(learned)
        planned = _plan(first, learned, shorter, extractor)
        similarity = measure_similarity(learned, extractor)
    for options in others:
        planned += _plan(options, learned, shorter, extractor)
    return development, sorted(planned, key=lambda entry: entry.simplicity), similarity


def _plan(
    options: StudyOptions, table: ImageTable, shorter: int, extractor: Extractor
) -> list[PlannedScenario]:
    return list(plan(options, extractor, len(table), len(table.classes), shorter))


def judge_on_test(
    judged: Mapping[str, CrossFitted], test: ImageTable, draw: int
) -> dict[str, list[float]]:
    """What each scenario is worth on the two halves of the test, by key.

    Five figures: `METRIC` on the first and on the second half, the standard error of its regret
    (see `errors`), `ALSO` on both halves.
    """
    predictions = [one.fitted.predict(test)[0] for one in judged.values()]
    thresholds = {key: one.fitted.operating for key, one in judged.items()}
    half = halves(test, draw)
    weights = np.stack([half == 0, half == 1], axis=1).astype(np.float64)
    cases = paired_cases(predictions, thresholds)
    worth, also = (of_all(cases, metric)(weights) for metric in (METRIC, ALSO))
    rows = np.column_stack([worth, errors(predictions, thresholds, half, worth), also])
    return {key: np.round(row, 5).tolist() for key, row in zip(judged, rows, strict=True)}


def errors(
    predictions: Sequence[Predictions],
    thresholds: Mapping[str, Threshold],
    half: Ints,
    worth: Floats,
) -> Floats:
    """The standard error (n_scenarios,) of each scenario's regret, by the groups of the test.

    The regret is the mean over both halves of the loss against the scenario that is best on the
    other half; the halves share no group.
    """
    variance = np.zeros(len(predictions))
    for k in (0, 1):
        best = int(worth[:, 1 - k].argmax())
        part = [one.select(half == k) for one in predictions]
        others = [one for i, one in enumerate(part) if i != best]
        found = compare(part[best], others, METRIC, thresholds, purpose="report")
        widths = {one.b: one.high - one.low for one in found}
        error = [widths.get(one.scenario, 0.0) / 2 / HALF_WIDTH for one in part]
        variance += np.square(error) / 4
    return np.sqrt(variance)


def codes(table: ImageTable, field: str, extractor: Extractor) -> None:
    """Have the cache hold what a field's scenarios read of all images of a data set."""
    for options in FIELDS[field].options:
        planned = _plan(options, table, shorter_side(table), extractor)
        extractor.prepare(table, *inputs_of(planned, extractor))
