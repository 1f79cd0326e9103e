"""The policies that choose by what is known of the images learned from; none sees the test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from medgraft.data.split import Development
from medgraft.evaluate.metrics import METRICS
from medgraft.evaluate.winners_curse import Resampled, best, resample_in_and_out
from medgraft.features.extract import Extractor
from medgraft.features.feature_plan import feature_plan_of
from medgraft.learn.cross_validation import CrossFitted
from medgraft.scenario import Pooled, Scenario
from medgraft.studies.recommend import recommend
from recommendation.fields import constants
from recommendation.logme import logme

OURS, ARGMAX, ONE_ERROR = "medgraft", "best out of fold", "one standard error"
LOGME = "LogME"


def choices(
    scenarios: Sequence[Scenario],
    judged: Mapping[str, CrossFitted],
    development: Development,
    extractor: Extractor,
) -> tuple[dict[str, str], Resampled]:
    """The key that each policy chooses, and the resamples it was chosen by.

    scenarios : simplest first. judged : by key, in their order.
    """
    oof = [judged[scenario.key].predictions for scenario in scenarios]
    drawn = resample_in_and_out(oof, development.folds.metric)
    top = int(best(drawn.values[:, None], drawn.metric)[0])
    found = {
        OURS: recommend(drawn).recommended,
        ARGMAX: scenarios[top].key,
        ONE_ERROR: scenarios[within_one_error(drawn, top)].key,
        LOGME: by_evidence(scenarios, development, extractor),
    }
    return found | constants(list(scenarios)), drawn


def within_one_error(drawn: Resampled, top: int) -> int:
    """The simplest scenario within one standard error of the best figure (Breiman et al. 1984).

    The error is that of the best's own figure, by resampled groups.
    """
    error = float(np.nanstd(drawn.in_bag[top]))
    worth = METRICS[drawn.metric].sign * drawn.values
    return int((np.nan_to_num(worth, nan=-np.inf) >= worth[top] - error).argmax())


def by_evidence(
    scenarios: Sequence[Scenario], development: Development, extractor: Extractor
) -> str:
    """Of the linear SVMs on pooled codes that whose codes have the highest LogME."""
    table, found = development.table, {}
    for scenario in scenarios:
        frozen = not scenario.trained and not scenario.members
        if frozen and isinstance(scenario.code, Pooled) and scenario.head == "svm":
            codes = feature_plan_of(scenario, extractor).codes(table, extractor)[0][0]
            found[scenario.key] = logme(codes, table.labels)
    return max(found, key=lambda key: found[key])
