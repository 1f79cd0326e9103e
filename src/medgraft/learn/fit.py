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

from medgraft.data.split import Development, make_folds
from medgraft.errors import BundleError, ScenarioError
from medgraft.features.cache import arrays_under
from medgraft.features.codebooks import LEARNED, encoder_from_arrays, quiet_mixtures
from medgraft.features.encoders import BaseEncoder
from medgraft.features.extract import Extractor
from medgraft.features.feature_plan import FeaturePlan, encoder_of, feature_plan_of
from medgraft.features.scratch import stacked
from medgraft.features.shared import images_key
from medgraft.learn.bundle_files import read_bundle
from medgraft.learn.cross_validation import (
    CrossFitted,
    calibrator_of,
    key_of,
    pack_out_of_fold,
    unpack_cross_fitted,
)
from medgraft.learn.ensemble import FittedEnsemble, checked, read_ensemble
from medgraft.learn.ensemble_cv import COMBINE, cross_combine
from medgraft.learn.estimators import HEADS, Head, KNNHead, head_from_arrays
from medgraft.learn.finetune_cv import cross_fit_finetune, fold_networks
from medgraft.learn.frozen import FittedFrozen, encoded
from medgraft.learn.heads import Memo, nested_scores
from medgraft.learn.out_of_fold import OutOfFold
from medgraft.learn.stacking import Stack
from medgraft.learn.trained import FittedTrained
from medgraft.types import (
    FittedScenario,
    Floats,
    Ints,
    Predictions,
    Scenario,
    Strings,
)

LEARN_FROM = 800  # images that a codebook and its axes are fitted on at most
LEARN_NUMBERS = 1 << 27  # of their descriptors' numbers that are in memory at most


def cross_fitted(scenario: Scenario, development: Development, extractor: Extractor) -> CrossFitted:
    """Out-of-fold predictions of a scenario and its refit, from the cache where it has them.

    Raises
    ------
    ScenarioError
        The head does not exist, or a part makes no sense.
    FitError
        Nothing can be learned from these images.
    """
    return FAMILIES[scenario.family](scenario, development, extractor)


def cross_fitted_all(
    scenarios: Sequence[Scenario], development: Development, extractor: Extractor
) -> Iterator[CrossFitted]:
    """`cross_fitted` of many scenarios, each yielded when it is done.

    A scenario a core, each with one thread: the products are too small to share between cores, and
    what one thread computes does not depend on how many run beside it. The last scenarios are begun
    first, for plans end with the widest. Networks are trained one after another, with all cores.
    Where the extractor has a runner, that has them judged elsewhere.
    """

    def one(scenario: Scenario) -> CrossFitted:
        return cross_fitted(scenario, development, extractor)

    trained = [scenario for scenario in scenarios if scenario.trained]
    joined = [scenario for scenario in scenarios if scenario.members]  # of what is judged by then
    alone = [scenario for scenario in scenarios if scenario not in (*trained, *joined)]
    if extractor.runner is not None:  # what others have judged comes from the cache
        yield from map(one, extractor.runner.judged(extractor, [*alone, *trained], development))
    else:
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
    scenario: Scenario, development: Development, extractor: Extractor
) -> Predictions:
    """The out-of-fold predictions alone; errors as in `cross_fitted`."""
    return cross_fitted(scenario, development, extractor).predictions


def fit(scenario: Scenario, development: Development, extractor: Extractor) -> FittedScenario:
    """The classifier that is deployed, refitted on all development images; errors as above."""
    return cross_fitted(scenario, development, extractor).fitted


def unseen_models(
    scenario: Scenario, development: Development, extractor: Extractor
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
    table, folds = development.table, development.folds
    rows = [np.flatnonzero(folds.assignment == k) for k in range(folds.n_folds)]
    if scenario.trained:
        return tuple(zip(fold_networks(scenario, development, extractor), rows, strict=True))
    trained = [member.key for member in scenario.members if member.trained]
    if trained:
        raise ScenarioError(
            f"{scenario.key} joins {', '.join(trained)}, which would have to be trained again in "
            "every fold; audit its saved model on images that it has not seen"
        )
    found: list[tuple[FittedScenario, Ints]] = []
    for mine in rows:
        others = table.select(np.setdiff1d(np.arange(len(table)), mine))
        inner = make_folds(others, folds.n_folds, folds.seed)
        inner = dataclasses.replace(inner, view=folds.view, metric=folds.metric)
        fitted = cross_fitted(scenario, Development(others, inner), extractor).fitted
        found.append((fitted, mine))
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
    scenario: Scenario, development: Development, extractor: Extractor
) -> CrossFitted:
    """The families whose network stays as it is: what is read of an image, and a head on it."""
    if scenario.head not in HEADS:
        raise ScenarioError(
            f"no head {scenario.head!r} in {scenario.key}; there are: {', '.join(HEADS)}"
        )
    feature_plan = feature_plan_of(scenario, extractor)
    recipes = [(spec.recipe, spec.blocks) for spec in feature_plan.specs]
    key = key_of(scenario, recipes, development)
    kept = extractor.cache.get("predictions", key)
    if kept is None:
        with threadpool_limits(1):  # what several threads sum depends on how many they are
            kept = _judge_frozen(scenario, feature_plan, development, extractor)
        extractor.cache.put("predictions", key, kept)
    if scenario.head == "knn" and "head.codes_" not in kept:
        codes, _, _ = feature_plan.codes(development.table, extractor)
        y, weight, _, _ = _rows(development, len(codes))
        head: Head = KNNHead(int(kept["head.k"])).fit(codes.reshape(len(y), -1), y, weight)
    else:
        head = head_from_arrays(scenario.head, arrays_under(kept, "head"), {})
    fitted = FittedFrozen(
        scenario=scenario,
        classes=development.table.classes,
        positive=development.table.positive,
        operating=None,
        feature_plan=feature_plan,
        head=head,
        calibrator=calibrator_of(kept),
        extractor=extractor,
        rule=development.table.rule,
        encoder=_kept_encoder(scenario, kept),
    )
    return unpack_cross_fitted(fitted, kept, development)


def _judge_frozen(
    scenario: Scenario, feature_plan: FeaturePlan, development: Development, extractor: Extractor
) -> dict[str, NDArray[Any]]:
    """What is kept of a scenario: out-of-fold scores, and the parts of the refit.

    Of kNN on pooled codes, whose arrays are the codes that have their own store, the strength only.
    """
    began = time.perf_counter()
    table, folds = development.table, development.folds
    encoder: dict[str, Any] = {}
    found = encoder_of(scenario)
    readings = [feature_plan, feature_plan.seen(folds.view)] if folds.view else [feature_plan]
    views = len(feature_plan.views) if found is None else 1
    source: NDArray[np.float32] | Callable[[int | None], NDArray[np.float32]]
    if found is None:
        codes = [one.codes(table, extractor)[0] for one in readings]
        source = stacked(codes).reshape(-1, codes[0].shape[2])
    else:
        source, encoder = _encoded_codes(scenario, found, readings, development, extractor)
    y, weight, fold, groups = _rows(development, views, len(readings))
    nested = nested_scores(
        scenario.head,
        source,
        y,
        fold,
        metric=folds.metric,
        sample_weight=weight,
        groups=groups,
        memo=None if callable(source) else _memo(scenario, feature_plan, development, extractor),
    )

    def of(scores: Floats) -> Floats:  # (readings, n, n_classes), the mean over views
        shape = (len(readings), views, len(table), -1)
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
        **pack_out_of_fold(out_of_fold, development, began),
    }


def _memo(
    scenario: Scenario, feature_plan: FeaturePlan, development: Development, extractor: Extractor
) -> Memo | None:
    """What keeps what the codes of these images alone decide; None where nothing is shared."""
    shared = extractor.shared
    if shared is None:
        return None
    view = development.folds.view
    codes = (scenario.pixels, tuple(feature_plan.specs), None if view is None else view.key)
    images = images_key(development.table)
    return lambda name, make: shared.get(images, (codes, name), make)


def _rows(
    development: Development, views: int, readings: int = 1
) -> tuple[Ints, Floats | None, Ints, Strings]:
    """Label, weight, fold and group of codes (readings × views × n, d).

    An image's views share its fold, its group and its weight. Those of a second reading are judged
    only: they weigh nothing.
    """
    table, fold, weight = development.table, development.folds.assignment, development.sample_weight
    times = views * readings
    if times == 1:
        return table.labels, weight, fold, table.groups
    weight = np.ones(len(table)) if weight is None else weight
    return (
        np.tile(table.labels, times),
        np.concatenate(
            [np.tile(weight / views, views), np.zeros((readings - 1) * views * len(table))]
        ),
        np.tile(fold, times),
        np.tile(table.groups, times),
    )


def _encoded_codes(
    scenario: Scenario,
    found: tuple[str, BaseEncoder],
    readings: Sequence[FeaturePlan],
    development: Development,
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
    table, folds = development.table, development.folds
    feature_plan = readings[0]
    most = min(LEARN_FROM, max(2, LEARN_NUMBERS // feature_plan.numbers(extractor)))

    def fitted(k: int | None) -> BaseEncoder:
        seen = np.flatnonzero(folds.assignment != (-1 if k is None else k))
        rng = np.random.default_rng([scenario.seed, 0 if k is None else k + 1])
        drawn = np.sort(rng.choice(seen, min(most, len(seen)), replace=False))
        stream = feature_plan.descriptors(table.select(drawn), extractor)
        learned: BaseEncoder = clone(encoder)
        return learned.fit(np.concatenate([bag for _, bag in stream()]))

    unseen = [*range(folds.n_folds), None] if name in LEARNED else [None]
    encoders = [fitted(k) for k in unseen]
    arrays, settings = encoders[-1].to_arrays()
    kept = {f"encoder.{part}": array for part, array in arrays.items()}
    kept["encoding"] = np.array(json.dumps(settings))
    parts = [encoded(encoders, one, table, extractor) for one in readings]
    codes = {k: stacked(list(one)) for k, one in zip(unseen, zip(*parts, strict=True), strict=True)}
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
    scenario: Scenario, development: Development, extractor: Extractor
) -> CrossFitted:
    """Scenarios that were judged already, their probabilities averaged or stacked."""
    if scenario.head not in COMBINE:
        raise ScenarioError(
            f"no way {scenario.head!r} to join the members of {scenario.key}; there are: "
            f"{', '.join(COMBINE)}"
        )
    members = [cross_fitted(member, development, extractor) for member in scenario.members]
    prob = [member.probabilities for member in members]
    key = key_of(scenario, [one.fingerprint for one in prob], development)
    kept = extractor.cache.get("predictions", key)
    if kept is None:
        began = time.perf_counter()
        y, fold = development.table.labels, development.folds.assignment
        found, stack = cross_combine(scenario.head, prob, y, fold)
        kept = pack_out_of_fold(found, development, began)
        if stack is not None:
            kept |= {"weights": np.array(stack.weights), "scales": np.array(stack.scales)}
        extractor.cache.put("predictions", key, kept)
    fitted = FittedEnsemble(
        scenario=scenario,
        classes=development.table.classes,
        positive=development.table.positive,
        operating=None,
        members=checked(scenario, [member.fitted for member in members]),
        stack=Stack(tuple(kept["weights"].tolist()), tuple(kept["scales"].tolist()))
        if "weights" in kept
        else None,
        calibrator=calibrator_of(kept),
        extractor=extractor,
    )
    return unpack_cross_fitted(fitted, kept, development)


Family = Callable[[Scenario, Development, Extractor], CrossFitted]

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
