"""The one door from a Scenario to out-of-fold Predictions and a FittedScenario.

`cross_predict` judges a scenario on images it was not trained on; `fit` trains it on all
development images. Both refuse the test split. Strengths are chosen inside each fold, calibrators
are cross-fitted, and everything is kept in the cache under the recipe that made it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from medgraft.data.preprocess import edit_from_key
from medgraft.errors import BundleError, LeakError, ScenarioError
from medgraft.evaluate.calibration import (
    Calibrator,
    choose_threshold,
    cross_fit,
    fit_calibrator,
)
from medgraft.features.extract import Extractor
from medgraft.learn.estimators import KNNHead
from medgraft.learn.heads import HEADS, Head, head_from_arrays, nested_scores
from medgraft.learn.probe import FittedProbe, read_bundle
from medgraft.types import (
    FeatureSpec,
    FittedScenario,
    Floats,
    Folds,
    ImageTable,
    Predictions,
    Scenario,
    digest,
)

RECIPE = "3"  # raise it when a change of code changes out-of-fold numbers


@dataclass(frozen=True, eq=False)
class CrossFitted:
    """What cross-validation leaves: out-of-fold predictions, and the refit on all of them.

    seconds : what it took when it was first computed.
    """

    predictions: Predictions
    fitted: FittedScenario
    seconds: float


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

    A scenario a core, each with one BLAS thread: the products are too small to share between
    cores, and what one thread computes does not depend on how many run beside it. The last
    scenarios are begun first, for plans end with the widest.
    """
    with threadpool_limits(1, "blas"), _Workers(extractor.workers) as workers:
        jobs = [
            workers.submit(cross_fitted, each, development, folds, extractor, sample_weight)
            for each in reversed(scenarios)
        ]
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


def load(folder: Path, extractor: Extractor) -> FittedScenario:
    """Read a classifier that `FittedScenario.save` wrote.

    Raises
    ------
    BundleError
        It is not there, was changed, or is of a family this version does not know.
    """
    family = str(read_bundle(folder).get("family"))
    if family not in LOADERS:
        raise BundleError(f"{folder} holds a {family!r}; this version reads {', '.join(LOADERS)}")
    return LOADERS[family](folder, extractor)


# --------------------------------------------------------------------------- probe


def probe_spec(scenario: Scenario, extractor: Extractor) -> FeatureSpec:
    """The codes a probe reads."""
    return extractor.spec(
        scenario.backbone,
        [tap.name for tap in extractor.backbone(scenario.backbone).named(scenario.tap)],
        [scenario.pooling],
        size=scenario.sizes[0] if scenario.sizes else None,
        resize=scenario.resize,
        edits=[edit_from_key(key) for key in scenario.edits],
    )


def _cross_fit_probe(
    scenario: Scenario,
    development: ImageTable,
    folds: Folds,
    extractor: Extractor,
    sample_weight: Floats | None,
) -> CrossFitted:
    if scenario.head not in HEADS:
        raise ScenarioError(
            f"no head {scenario.head!r} in {scenario.key}; there are: {', '.join(HEADS)}"
        )
    spec = probe_spec(scenario, extractor)
    key = digest(
        RECIPE,
        scenario.key,
        scenario.seed,
        spec.recipe,
        spec.blocks,
        development.fingerprint,
        folds.fingerprint,
        None if sample_weight is None else sample_weight.tolist(),
        length=32,
    )
    kept = extractor.cache.get("predictions", key)
    if kept is None:
        kept, head = _judge_probe(scenario, spec, development, folds, extractor, sample_weight)
        extractor.cache.put("predictions", key, kept)
    elif scenario.head == "knn":
        codes, _ = extractor.codes(development, spec)
        head = KNNHead(int(kept["head.k"])).fit(
            codes.matrix(*spec.blocks), development.labels, sample_weight
        )
    else:
        head = head_from_arrays(scenario.head, _part(kept, "head"), {})
    predictions = Predictions(
        scenario=scenario.key,
        classes=development.classes,
        positive=development.positive,
        ids=development.ids,
        groups=development.groups,
        splits=development.splits,
        fold=folds.assignment,
        y_true=development.labels,
        scores=kept["scores"],
        y_prob=kept["y_prob"],
    )
    fitted = FittedProbe(
        scenario=scenario,
        classes=development.classes,
        positive=development.positive,
        operating=choose_threshold(predictions) if development.positive else None,
        spec=spec,
        head=head,
        calibrator=Calibrator(float(kept["slope"]), tuple(kept["biases"].tolist())),
        extractor=extractor,
    )
    return CrossFitted(predictions, fitted, float(kept["seconds"]))


def _judge_probe(
    scenario: Scenario,
    spec: FeatureSpec,
    development: ImageTable,
    folds: Folds,
    extractor: Extractor,
    sample_weight: Floats | None,
) -> tuple[dict[str, NDArray[Any]], Head]:
    """What is kept, and the refitted head.

    Kept are out-of-fold scores and probabilities (n, n_classes), the head and its calibrator; of
    kNN, whose arrays are the codes that have their own store, the strength only.
    """
    began = time.perf_counter()
    codes, _ = extractor.codes(development, spec)
    y = development.labels
    nested = nested_scores(
        scenario.head,
        codes.matrix(*spec.blocks),
        y,
        folds.assignment,
        sample_weight=sample_weight,
        groups=development.groups,
    )
    calibrator = fit_calibrator(nested.scores, y)
    arrays, _ = nested.head.to_arrays()
    if isinstance(nested.head, KNNHead):
        arrays = {"k": arrays["k"]}
    kept = {
        **{f"head.{name}": array for name, array in arrays.items()},
        "scores": nested.scores,
        "y_prob": cross_fit(nested.scores, y, folds.assignment),
        "slope": np.array(calibrator.slope),
        "biases": np.array(calibrator.biases),
        "seconds": np.array(time.perf_counter() - began),
    }
    return kept, nested.head


def _part(arrays: Mapping[str, NDArray[Any]], name: str) -> dict[str, NDArray[Any]]:
    """The arrays stored under `name.`, without that prefix."""
    prefix = f"{name}."
    return {key.removeprefix(prefix): a for key, a in arrays.items() if key.startswith(prefix)}


Family = Callable[[Scenario, ImageTable, Folds, Extractor, Floats | None], CrossFitted]

FAMILIES: Mapping[str, Family] = MappingProxyType({"probe": _cross_fit_probe})
LOADERS: Mapping[str, Callable[[Path, Extractor], FittedScenario]] = MappingProxyType(
    {"probe": FittedProbe.load}
)
