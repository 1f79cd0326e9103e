"""The one door from a Scenario to out-of-fold Predictions and a FittedScenario.

`cross_predict` judges a scenario on images it was not trained on; `fit` trains it on all
development images. Both refuse the test split. Strengths are chosen inside each fold, calibrators
are cross-fitted, and everything is kept in the cache under the recipe that made it.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from medgraft.data.split import make_folds
from medgraft.errors import BundleError, LeakError, ScenarioError
from medgraft.features.codebooks import LEARNED, encoder_from_arrays, quiet_mixtures
from medgraft.features.encoders import BaseEncoder
from medgraft.features.extract import Extractor
from medgraft.features.feature_plan import TRAINED, FeaturePlan, encoder_of, feature_plan_of
from medgraft.learn.bundle_files import read_bundle
from medgraft.learn.cross_validation import (
    CrossFitted,
    arrays_under,
    calibrator_of,
    finished,
    judged,
    key_of,
)
from medgraft.learn.ensemble import FittedEnsemble, checked, read_ensemble
from medgraft.learn.ensemble_cv import COMBINE, cross_combine
from medgraft.learn.estimators import KNNHead
from medgraft.learn.finetune_cv import cross_fit_finetune, fold_networks
from medgraft.learn.frozen import FittedFrozen, encoded
from medgraft.learn.heads import HEADS, Head, head_from_arrays, nested_scores
from medgraft.learn.out_of_fold import OutOfFold
from medgraft.learn.stacking import Stack
from medgraft.learn.trained import FittedTrained
from medgraft.types import (
    FittedScenario,
    Floats,
    Folds,
    ImageTable,
    Ints,
    Predictions,
    Scenario,
    Strings,
)

LEARN_FROM = 800  # images that a codebook and its axes are fitted on at most
LEARN_NUMBERS = 1 << 27  # of their descriptors' numbers that are in memory at most


def cross_fitted(
    scenario: Scenario,
    development: ImageTable,
    folds: Folds,
    extractor: Extractor,
    sample_weight: Floats | None = None,
) -> CrossFitted:
    """Out-of-fold predictions of a scenario and its refit, from the cache where it has them.

    Parameters
    ----------
    development
        n images, all of them readable (`Extractor.codes` says which are not).
    sample_weight
        (n,) weights of the images in training; calibration counts every image once.

    Raises
    ------
    LeakError
        There are test images among them.
    ScenarioError
        The family or the head does not exist.
    FitError
        Nothing can be learned from these images.
    """
    if (development.splits == "test").any():
        raise LeakError(
            f"{int((development.splits == 'test').sum())} test images were given to learn from; "
            "pass table.development"
        )
    if scenario.family not in FAMILIES:
        raise ScenarioError(
            f"no family {scenario.family!r} in {scenario.key}; there are: {', '.join(FAMILIES)}"
        )
    return FAMILIES[scenario.family](scenario, development, folds, extractor, sample_weight)


def cross_fitted_all(
    scenarios: Sequence[Scenario],
    development: ImageTable,
    folds: Folds,
    extractor: Extractor,
    sample_weight: Floats | None = None,
) -> Iterator[CrossFitted]:
    """`cross_fitted` of many scenarios, each yielded when it is done.

    A scenario a core, each with one thread: the products are too small to share between cores, and
    what one thread computes does not depend on how many run beside it. The last scenarios are begun
    first, for plans end with the widest. Networks are trained one after another, with all cores.
    """

    def one(scenario: Scenario) -> CrossFitted:
        return cross_fitted(scenario, development, folds, extractor, sample_weight)

    trained = [scenario for scenario in scenarios if scenario.family in TRAINED]
    joined = [scenario for scenario in scenarios if scenario.members]  # of what is judged by then
    alone = [scenario for scenario in scenarios if scenario not in (*trained, *joined)]
    yield from _side_by_side(one, alone, extractor.workers)
    yield from map(one, trained)
    yield from _side_by_side(one, joined, extractor.workers)


def _side_by_side(
    one: Callable[[Scenario], CrossFitted], scenarios: Sequence[Scenario], workers: int
) -> Iterator[CrossFitted]:
    """One scenario a thread, the last first, each yielded when it is done."""
    with threadpool_limits(1), quiet_mixtures(), _Workers(workers) as threads:
        jobs = [threads.submit(one, scenario) for scenario in reversed(scenarios)]
        for job in as_completed(jobs):
            yield job.result()


class _Workers(ThreadPoolExecutor):
    """A pool that does not begin what is still waiting when somebody presses Ctrl-C."""

    def __exit__(self, *exception: object) -> None:
        self.shutdown(wait=True, cancel_futures=True)


def cross_predict(
    scenario: Scenario, development: ImageTable, folds: Folds, extractor: Extractor
) -> Predictions:
    """The out-of-fold predictions alone; errors as in `cross_fitted`."""
    return cross_fitted(scenario, development, folds, extractor).predictions


def fit(
    scenario: Scenario, development: ImageTable, folds: Folds, extractor: Extractor
) -> FittedScenario:
    """The classifier that is deployed, refitted on all development images; errors as above."""
    return cross_fitted(scenario, development, folds, extractor).fitted


def unseen_models(
    scenario: Scenario, development: ImageTable, folds: Folds, extractor: Extractor
) -> tuple[tuple[FittedScenario, Ints], ...]:
    """For each fold a classifier that has seen none of its images, and the rows of the fold.

    Of a network that is trained this is the one that judged the fold. What is frozen is fitted on
    the images of the other folds, its strength, calibrator and threshold chosen among them.

    Raises
    ------
    ScenarioError
        It is an ensemble with members that are trained.
    FitError
        Without a fold, a class has too few groups to learn from.
    """
    rows = [np.flatnonzero(folds.assignment == k) for k in range(folds.n_folds)]
    if scenario.family in TRAINED:
        return tuple(zip(fold_networks(scenario, development, folds, extractor), rows, strict=True))
    trained = [member.key for member in scenario.members if member.family in TRAINED]
    if trained:
        raise ScenarioError(
            f"{scenario.key} joins {', '.join(trained)}, which would have to be trained again in "
            "every fold; audit its saved model on images that it has not seen"
        )
    found: list[tuple[FittedScenario, Ints]] = []
    for mine in rows:
        others = development.select(np.setdiff1d(np.arange(len(development)), mine))
        inner = make_folds(others, folds.n_folds, folds.seed)
        inner = dataclasses.replace(inner, view=folds.view, metric=folds.metric)
        found.append((cross_fitted(scenario, others, inner, extractor).fitted, mine))
    return tuple(found)


def load(folder: Path, extractor: Extractor) -> FittedScenario:
    """Read a classifier that `FittedScenario.save` wrote.

    Raises
    ------
    BundleError
        It is not there, was changed, or is of a family this version does not know.
    """
    content = read_bundle(folder)
    family = "ensemble" if "n_members" in content else str(content.get("family"))
    if family not in LOADERS:
        raise BundleError(f"{folder} holds a {family!r}; this version reads {', '.join(LOADERS)}")
    return LOADERS[family](folder, extractor)


# --------------------------------------------------------------------------- frozen networks


def _cross_fit_frozen(
    scenario: Scenario,
    development: ImageTable,
    folds: Folds,
    extractor: Extractor,
    sample_weight: Floats | None,
) -> CrossFitted:
    """The families whose network stays as it is: what is read of an image, and a head on it."""
    if scenario.head not in HEADS:
        raise ScenarioError(
            f"no head {scenario.head!r} in {scenario.key}; there are: {', '.join(HEADS)}"
        )
    feature_plan = feature_plan_of(scenario, extractor)
    key = key_of(
        scenario,
        [(spec.recipe, spec.blocks) for spec in feature_plan.specs],
        development,
        folds,
        sample_weight,
    )
    kept = extractor.cache.get("predictions", key)
    if kept is None:
        with threadpool_limits(1):  # what several threads sum depends on how many they are
            kept = _judge_frozen(
                scenario, feature_plan, development, folds, extractor, sample_weight
            )
        extractor.cache.put("predictions", key, kept)
    if scenario.head == "knn" and "head.codes_" not in kept:
        codes, _, _ = feature_plan.codes(development, extractor)
        y, weight, _, _ = _rows(development, folds, sample_weight, len(codes))
        head: Head = KNNHead(int(kept["head.k"])).fit(codes.reshape(len(y), -1), y, weight)
    else:
        head = head_from_arrays(scenario.head, arrays_under(kept, "head"), {})
    fitted = FittedFrozen(
        scenario=scenario,
        classes=development.classes,
        positive=development.positive,
        operating=None,
        feature_plan=feature_plan,
        head=head,
        calibrator=calibrator_of(kept),
        extractor=extractor,
        encoder=_kept_encoder(scenario, kept),
    )
    return finished(fitted, kept, development, folds)


def _judge_frozen(
    scenario: Scenario,
    feature_plan: FeaturePlan,
    development: ImageTable,
    folds: Folds,
    extractor: Extractor,
    sample_weight: Floats | None,
) -> dict[str, NDArray[Any]]:
    """What is kept of a scenario: out-of-fold scores, and the parts of the refit.

    Of kNN on pooled codes, whose arrays are the codes that have their own store, the strength only.
    """
    began = time.perf_counter()
    encoder: dict[str, Any] = {}
    found = encoder_of(scenario)
    readings = [feature_plan, feature_plan.seen(folds.view)] if folds.view else [feature_plan]
    views = len(feature_plan.views) if found is None else 1
    source: NDArray[np.float32] | Callable[[int | None], NDArray[np.float32]]
    if found is None:
        codes = [one.codes(development, extractor)[0] for one in readings]
        source = np.concatenate(codes).reshape(-1, codes[0].shape[2])
    else:
        source, encoder = _encoded_codes(scenario, found, readings, development, folds, extractor)
    y, weight, fold, groups = _rows(development, folds, sample_weight, views, len(readings))
    nested = nested_scores(
        scenario.head,
        source,
        y,
        fold,
        metric=folds.metric,
        sample_weight=weight,
        groups=groups,
    )

    def of(scores: Floats) -> Floats:  # (readings, n, n_classes), the mean over views
        shape = (len(readings), views, len(development), -1)
        return np.asarray(scores.reshape(shape).mean(axis=1))

    found_scores = of(nested.scores)
    out_of_fold = OutOfFold(
        scores=found_scores[0],
        inner=None if nested.inner is None else np.stack([of(one)[0] for one in nested.inner]),
        final=of(nested.final_scores)[0],
        changed=found_scores[1] if folds.view else None,
    )
    arrays, _ = nested.head.to_arrays()
    if isinstance(nested.head, KNNHead) and found is None:
        arrays = {"k": arrays["k"]}
    return {
        **{f"head.{name}": array for name, array in arrays.items()},
        **encoder,
        **judged(out_of_fold, development, folds, began),
    }


def _rows(
    table: ImageTable, folds: Folds, sample_weight: Floats | None, views: int, readings: int = 1
) -> tuple[Ints, Floats | None, Ints, Strings]:
    """Label, weight, fold and group of codes (readings × views × n, d).

    An image's views share its fold, its group and its weight. Those of a second reading are judged
    only: they weigh nothing.
    """
    times = views * readings
    if times == 1:
        return table.labels, sample_weight, folds.assignment, table.groups
    weight = np.ones(len(table)) if sample_weight is None else sample_weight
    return (
        np.tile(table.labels, times),
        np.concatenate(
            [np.tile(weight / views, views), np.zeros((readings - 1) * views * len(table))]
        ),
        np.tile(folds.assignment, times),
        np.tile(table.groups, times),
    )


def _encoded_codes(
    scenario: Scenario,
    found: tuple[str, BaseEncoder],
    readings: Sequence[FeaturePlan],
    development: ImageTable,
    folds: Folds,
    extractor: Extractor,
) -> tuple[NDArray[np.float32] | Callable[[int | None], NDArray[np.float32]], dict[str, Any]]:
    """Codes for `nested_scores`, and the arrays of the encoder that all images fitted.

    readings : of the images as they teach, and in the view that is judged, if any; one below the
    other in the codes.
    An encoder that learns nothing gives the same codes in every fold. One that does is fitted
    without the fold that it will judge, on a seeded draw of the other images: `LEARN_FROM` of them,
    or fewer where these have more than `LEARN_NUMBERS` numbers. All encoders are fitted first, so
    that one pass over the descriptors serves every fold.
    """
    name, encoder = found
    feature_plan = readings[0]
    most = min(LEARN_FROM, max(2, LEARN_NUMBERS // feature_plan.numbers(extractor)))

    def fitted(k: int | None) -> BaseEncoder:
        seen = np.flatnonzero(folds.assignment != (-1 if k is None else k))
        rng = np.random.default_rng([scenario.seed, 0 if k is None else k + 1])
        drawn = np.sort(rng.choice(seen, min(most, len(seen)), replace=False))
        stream = feature_plan.descriptors(development.select(drawn), extractor)
        learned: BaseEncoder = clone(encoder)
        return learned.fit(np.concatenate([bag for _, bag in stream()]))

    unseen = [*range(folds.n_folds), None] if name in LEARNED else [None]
    encoders = [fitted(k) for k in unseen]
    arrays, settings = encoders[-1].to_arrays()
    kept = {f"encoder.{part}": array for part, array in arrays.items()}
    kept["encoding"] = np.array(json.dumps(settings))
    parts = [encoded(encoders, one, development, extractor) for one in readings]
    codes = dict(zip(unseen, map(np.concatenate, zip(*parts, strict=True)), strict=True))
    return (codes.__getitem__ if name in LEARNED else codes[None]), kept


def _kept_encoder(scenario: Scenario, kept: Mapping[str, NDArray[Any]]) -> BaseEncoder | None:
    """The encoder that was kept, fitted."""
    found = encoder_of(scenario)
    if found is None:
        return None
    settings = json.loads(str(kept["encoding"]))
    return encoder_from_arrays(found[0], arrays_under(kept, "encoder"), settings)


# --------------------------------------------------------------------------- ensembles


def _cross_fit_ensemble(
    scenario: Scenario,
    development: ImageTable,
    folds: Folds,
    extractor: Extractor,
    sample_weight: Floats | None,
) -> CrossFitted:
    """Scenarios that were judged already, their probabilities averaged or stacked."""
    if scenario.head not in COMBINE:
        raise ScenarioError(
            f"no way {scenario.head!r} to join the members of {scenario.key}; there are: "
            f"{', '.join(COMBINE)}"
        )
    members = [
        cross_fitted(member, development, folds, extractor, sample_weight)
        for member in scenario.members
    ]
    key = key_of(
        scenario,
        [m.probabilities.fingerprint for m in members],
        development,
        folds,
        sample_weight,
    )
    kept = extractor.cache.get("predictions", key)
    if kept is None:
        began = time.perf_counter()
        prob = [member.probabilities for member in members]
        found, stack = cross_combine(scenario.head, prob, development.labels, folds.assignment)
        kept = judged(found, development, folds, began)
        if stack is not None:
            kept |= {"weights": np.array(stack.weights), "scales": np.array(stack.scales)}
        extractor.cache.put("predictions", key, kept)
    fitted = FittedEnsemble(
        scenario=scenario,
        classes=development.classes,
        positive=development.positive,
        operating=None,
        members=checked(scenario, [member.fitted for member in members]),
        stack=Stack(tuple(kept["weights"].tolist()), tuple(kept["scales"].tolist()))
        if "weights" in kept
        else None,
        calibrator=calibrator_of(kept),
        extractor=extractor,
    )
    return finished(fitted, kept, development, folds)


Family = Callable[[Scenario, ImageTable, Folds, Extractor, Floats | None], CrossFitted]

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "probe": _cross_fit_frozen,
        "multiscale": _cross_fit_frozen,
        "vlad": _cross_fit_frozen,
        "finetune": cross_fit_finetune,
        "hybrid": cross_fit_finetune,
        "ensemble": _cross_fit_ensemble,
    }
)
LOADERS: Mapping[str, Callable[[Path, Extractor], FittedScenario]] = MappingProxyType(
    {
        "probe": FittedFrozen.load,
        "multiscale": FittedFrozen.load,
        "vlad": FittedFrozen.load,
        "finetune": FittedTrained.load,  # one network; those of several folds are an ensemble
        "hybrid": FittedTrained.load,
        "ensemble": lambda folder, extractor: read_ensemble(folder, extractor, load),
    }
)
