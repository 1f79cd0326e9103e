"""One tap among several cross-fitted ones, of one question or of several findings an image.

For those who call no study: `TransferClassifier` and the like, without a test split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from medgraft.data.panel_split import panel_folds
from medgraft.data.split import Development, folds_of
from medgraft.errors import FitError
from medgraft.evaluate.compare import estimate_all
from medgraft.evaluate.winners_curse import resample_in_and_out
from medgraft.features.extract import Extractor
from medgraft.learn.cross_validation import CrossFitted
from medgraft.learn.fit import cross_fitted_all
from medgraft.learn.frozen import FittedFrozen
from medgraft.panel import Panel
from medgraft.scenario import DEFAULT_METRIC
from medgraft.studies.one_scenario import choice_of, one_or_own
from medgraft.studies.options import StudyOptions
from medgraft.studies.recommend import recommend
from medgraft.types import Estimate, Floats, Predictions, Scenario


@dataclass(frozen=True, eq=False)
class ChosenTap:
    """What was learned of one question.

    taps : out-of-fold AUROC of each tap compared, simplest first. auroc : of the one chosen,
    corrected for having been chosen by it. oof : its predictions out of fold.
    """

    fitted: FittedFrozen
    taps: Mapping[str, float]
    auroc: Estimate
    oof: Predictions

    @property
    def tap(self) -> str:
        """The tap in use."""
        return self.fitted.scenario.tap

    @property
    def threshold(self) -> float | None:
        """Of the operating point; None for more than two classes."""
        return self.fitted.operating.threshold if self.fitted.operating else None


def choose_tap(found: Sequence[CrossFitted], given: str = "") -> ChosenTap:
    """Recommend one of the cross-fitted taps, simplest first, by AUROC.

    given : the key of the one to take, where that was decided for several findings together.
    """
    oof = [each.predictions for each in found]
    estimates = estimate_all(oof, DEFAULT_METRIC)
    chosen, auroc = 0, estimates[0]
    if given:
        chosen = [one.scenario for one in oof].index(given)
        auroc = estimates[chosen]
    elif len(oof) > 1:
        choice = recommend(resample_in_and_out(oof, DEFAULT_METRIC))
        chosen = [one.scenario for one in oof].index(choice.recommended)
        auroc = choice.corrected
    taps = {
        each.fitted.scenario.tap: estimate.value
        for each, estimate in zip(found, estimates, strict=True)
    }
    return ChosenTap(cast(FittedFrozen, found[chosen].fitted), taps, auroc, oof[chosen])


def choose_taps(
    panel: Panel,
    weight: Floats | None,
    scenarios: Sequence[Scenario],
    options: StudyOptions,
    extractor: Extractor,
) -> tuple[ChosenTap, ...]:
    """The same of each finding of a panel, on one set of folds; one tap for all where that will do.

    weight : (n,) of the images in training.

    Raises
    ------
    FitError
        A finding has too few groups with it, or without it.
    """
    folds, short = panel_folds(panel, options.n_folds, options.seed)
    if short:
        told = "; ".join(f"{s.name}: {s.with_it} with it, {s.without} without" for s in short[:5])
        raise FitError(
            f"{len(short)} of {len(panel.names)} findings have fewer than {short[0].needed} groups "
            f"with them or without them to be learned and judged ({told}); leave these out of y"
        )
    judged: dict[str, list[CrossFitted]] = {}
    for name in panel.names:
        question = panel.question(name)
        at = np.isin(panel.images.ids, question.ids)
        own = None if weight is None else weight[at]
        development = Development(question, folds_of(folds, question), own)
        found = {
            one.predictions.scenario: one
            for one in cross_fitted_all(scenarios, development, extractor)
        }
        judged[name] = [found[scenario.key] for scenario in scenarios]
    given = ""
    if len(scenarios) > 1:
        choices = {
            name: choice_of([one.predictions for one in found], DEFAULT_METRIC, folds)
            for name, found in judged.items()
        }
        decided = one_or_own(choices, DEFAULT_METRIC, "auto")
        given = decided.one if decided.taken == "one" else ""
    return tuple(choose_tap(found, given) for found in judged.values())
