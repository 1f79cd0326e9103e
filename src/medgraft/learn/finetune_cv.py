"""The families `finetune` and `hybrid`: part of a network trained again, from the best depth on.

Every fold trains a copy of the layers behind the frozen trunk, stops by an inner holdout of whole
groups, and judges the images it has not seen. Deployed is the mean of the folds' networks, or one
that is trained once more on all development images, for the mean best epoch of the folds. A network
that was trained is a backbone of its own with a linear head, so that everything that knows frozen
networks knows it too.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence

import numpy as np

from medgraft.data.split import Development, make_folds
from medgraft.errors import ScenarioError
from medgraft.evaluate.calibration import Calibrator
from medgraft.features.extract import Extractor
from medgraft.features.subnetwork import freeze_points
from medgraft.learn.cross_validation import (
    CrossFitted,
    calibrator_of,
    key_of,
    pack_out_of_fold,
    unpack_cross_fitted,
)
from medgraft.learn.depth import search_depth, searched
from medgraft.learn.ensemble import FittedEnsemble
from medgraft.learn.estimators import LogisticHead
from medgraft.learn.finetune_setup import PROBE_C, FinetuneSetup, Trained, TrainingTask
from medgraft.learn.inputs import Inputs
from medgraft.learn.out_of_fold import OutOfFold
from medgraft.learn.trained import FittedTrained, finetuned_backbone
from medgraft.results.training import DEPLOYED, DepthSearch, TrainingLog
from medgraft.scenario import BEST
from medgraft.types import Floats, Folds, Scenario


def cross_fit_finetune(
    scenario: Scenario, development: Development, extractor: Extractor
) -> CrossFitted:
    """Train in every fold, judge out of fold, and deploy what the recipe says."""
    folds = development.folds
    setup = _setup(scenario, development, extractor)
    depth, found = _depth(setup, folds)
    began = time.perf_counter()
    inputs = setup.inputs(depth)
    runs = [_in_fold(setup, depth, inputs, folds, k) for k in range(folds.n_folds)]
    histories = {f"fold {k + 1}": run.history for k, run in enumerate(runs)}
    further = []
    if setup.recipe.deploy == "once":
        further = [_once_more(setup, depth, inputs, runs)]
        histories[DEPLOYED] = further[0].history
    out = _out_of_fold(runs, folds)
    key = key_of(scenario, out.fingerprint, development)
    kept = extractor.cache.get("predictions", key)
    if kept is None:
        kept = pack_out_of_fold(out, development, began)
        kept["seconds"] = np.array(sum(run.seconds for run in [*runs, *further]))
        extractor.cache.put("predictions", key, kept)
    networks = [_fitted(setup, run, calibrator_of(kept)) for run in further or runs]
    fitted = networks[0] if len(networks) == 1 else _together(setup, networks)
    crossed = unpack_cross_fitted(fitted, kept, development)
    return dataclasses.replace(crossed, training=TrainingLog(depth, histories, found))


def fold_networks(
    scenario: Scenario, development: Development, extractor: Extractor
) -> tuple[FittedTrained, ...]:
    """Of every fold the network that judged it, with the study's calibrator and threshold.

    The trainings are those of `cross_fit_finetune`, from the cache.
    """
    deployed = cross_fit_finetune(scenario, development, extractor).fitted
    if isinstance(deployed, FittedEnsemble):
        networks = [one for one in deployed.members if isinstance(one, FittedTrained)]
        return tuple(dataclasses.replace(one, operating=deployed.operating) for one in networks)
    assert isinstance(deployed, FittedTrained)  # for the type checker
    folds = development.folds
    setup = _setup(scenario, development, extractor)
    depth, _ = _depth(setup, folds)
    inputs = setup.inputs(depth)
    runs = [_in_fold(setup, depth, inputs, folds, k) for k in range(folds.n_folds)]
    return tuple(
        dataclasses.replace(_fitted(setup, run, deployed.calibrator), operating=deployed.operating)
        for run in runs
    )


def held_out(
    scenario: Scenario,
    development: Development,
    extractor: Extractor,
    cap: float = math.inf,
) -> CrossFitted:
    """Train once, outside the last fold, which judges; for recipes too slow for every fold.

    As in a fold, images outside of it are held out to stop by. cap : seconds of training; it ends
    with the epoch that passes them, and a later call with a larger cap goes on from there. The
    predictions are of the last fold, their calibration and threshold by folds within it, and the
    network that is deployed is this one, which learned nothing from it.

    Raises
    ------
    ScenarioError, BackboneError, FitError
        As `cross_fit_finetune`.
    """
    folds = development.folds
    setup = _setup(scenario, development, extractor)
    depth, found = _depth(setup, folds)
    inside = folds.assignment == folds.n_folds - 1
    rows, judge = np.flatnonzero(~inside), np.flatnonzero(inside)
    what = f"Training from {depth}"
    run = setup.trained(TrainingTask(depth, setup.inputs(depth), rows, judge, what), cap=cap)
    table = development.table.select(judge)
    inner = make_folds(table, folds.n_folds, folds.seed)
    part = Development(table, dataclasses.replace(inner, view=folds.view, metric=folds.metric))
    out = OutOfFold(run.scores, None, run.scores, run.changed)
    kept = pack_out_of_fold(out, part, time.perf_counter())
    kept["seconds"] = np.array(run.seconds)
    crossed = unpack_cross_fitted(_fitted(setup, run, calibrator_of(kept)), kept, part)
    log = TrainingLog(depth, {"one holdout": run.history}, found)
    return dataclasses.replace(crossed, training=log)


def _setup(scenario: Scenario, development: Development, extractor: Extractor) -> FinetuneSetup:
    """What the trainings of all folds share."""
    weight, view = development.sample_weight, development.folds.view
    return FinetuneSetup.of(scenario, development.table, extractor, weight, view)


def _in_fold(setup: FinetuneSetup, depth: str, inputs: Inputs, folds: Folds, k: int) -> Trained:
    """The training that learns from all folds but one and judges that one."""
    inside = folds.assignment == k
    what = f"Training from {depth}, fold {k + 1} of {folds.n_folds}"
    rows, judge = np.flatnonzero(~inside), np.flatnonzero(inside)
    return setup.trained(TrainingTask(depth, inputs, rows, judge, what))


def _out_of_fold(runs: Sequence[Trained], folds: Folds) -> OutOfFold:
    """The scores of the images of every fold by its network.

    Networks that stand between a fold and its image alone do not exist, so that each fold is
    calibrated by the others' scores, which have about one unit: nothing was chosen in the folds.
    """

    def gather(parts: Sequence[Floats]) -> Floats:
        scores = np.zeros((len(folds.assignment), parts[0].shape[1]))
        for k, part in enumerate(parts):
            scores[folds.assignment == k] = part
        return scores

    scores = gather([run.scores for run in runs])
    changed = [run.changed for run in runs if run.changed is not None]
    return OutOfFold(scores, None, scores, gather(changed) if changed else None)


def _once_more(
    setup: FinetuneSetup, depth: str, inputs: Inputs, runs: Sequence[Trained]
) -> Trained:
    """The training on all images, for the best epoch of the folds as a share of their schedule."""
    share = float(np.mean([run.best_epoch / run.epochs for run in runs]))
    everything = np.arange(len(setup.development))
    epochs = round(share * setup.recipe.for_images(len(everything)).epochs)
    what = f"Training from {depth} on all images"
    nobody = everything[:0]
    return setup.trained(TrainingTask(depth, inputs, everything, nobody, what, epochs))


def _together(setup: FinetuneSetup, networks: Sequence[FittedTrained]) -> FittedEnsemble:
    """The mean of the networks' scores."""
    first = networks[0]
    return FittedEnsemble(
        scenario=setup.scenario,
        classes=first.classes,
        positive=first.positive,
        operating=None,
        members=tuple(networks),
        stack=None,
        calibrator=first.calibrator,
        extractor=setup.extractor,
    )


def _depth(setup: FinetuneSetup, folds: Folds) -> tuple[str, DepthSearch | None]:
    """From where the scenario is trained, and the search where that had to be found."""
    tap, depths = setup.scenario.tap, freeze_points(setup.backbone)
    if tap == BEST:
        found = search_depth(setup, folds, searched(setup), folds.metric)
        return found.chosen, found
    if tap not in depths:
        raise ScenarioError(
            f"{setup.scenario.key}: {setup.backbone.name} cannot be trained from {tap!r}; choose "
            f"{BEST}, which finds out, or one of {', '.join(depths)}"
        )
    return tap, None


def _fitted(setup: FinetuneSetup, final: Trained, calibrator: Calibrator) -> FittedTrained:
    """The trained network as a backbone of its own, with its head."""
    tuned = finetuned_backbone(setup.backbone, final.state)
    setup.extractor.adopt(tuned)
    spec = dataclasses.replace(setup.feature_plan.canvas, backbone=tuned.name, weights=tuned.key)
    head = LogisticHead.from_arrays(
        {
            "coef_": final.state["head.weight"].astype(np.float64),
            "intercept_": final.state["head.bias"].astype(np.float64),
            "classes_": np.arange(len(setup.development.classes)),
            "C": np.array(PROBE_C),
        },
        {},
    )
    return FittedTrained(
        scenario=setup.scenario,
        classes=setup.development.classes,
        positive=setup.development.positive,
        operating=None,
        feature_plan=setup.deployed_plan(spec),
        head=head,
        calibrator=calibrator,
        extractor=setup.extractor,
        rule=setup.development.rule,
    )
