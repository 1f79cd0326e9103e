"""The families `finetune` and `hybrid`: part of a network trained again, from the best depth on.

Every fold trains a copy of the layers behind the frozen trunk, or several, which stop by an inner
holdout of whole groups, and judge the images that they have not seen. Deployed is the mean of all
folds' networks, or one that is trained on all development images: on their labels, for the mean
best epoch of the folds, or to answer as those networks do (`distillation.py`). What is calibrated
is as close to what is deployed (`network_mean.py`). A network that was trained is a backbone of its
own with a linear head, so that everything that knows frozen networks knows it too.

Where an image has several findings one network learns them all (`Development.together`): what is
trained for the first is in the cache for the others, and each is judged, calibrated and deployed by
its own output (`one_finding.py`).
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence

import numpy as np

from medgraft.data.split import Development, make_folds
from medgraft.errors import FitError, ScenarioError
from medgraft.evaluate.calibration import Calibrator, fold_calibrators
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
from medgraft.learn.distillation import distilled
from medgraft.learn.ensemble import FittedEnsemble
from medgraft.learn.estimators import LogisticHead
from medgraft.learn.finetune_setup import PROBE_C, FinetuneSetup, Trained, TrainingTask
from medgraft.learn.network_mean import as_mean_of, variance_between
from medgraft.learn.one_finding import OneFinding
from medgraft.learn.out_of_fold import OutOfFold
from medgraft.learn.trained import FittedTrained, finetuned_backbone
from medgraft.results.training import DEPLOYED, DepthSearch, TrainingLog
from medgraft.scenario import BEST
from medgraft.types import Floats, Folds, ImageTable, Ints, Scenario


def cross_fit_finetune(
    scenario: Scenario, development: Development, extractor: Extractor
) -> CrossFitted:
    """Train in every fold, judge out of fold, and deploy what the recipe says."""
    finding, folds = OneFinding.of(development), _folds(development)
    setup = _setup(scenario, development, extractor)
    depth, found = _depth(setup, folds)
    began = time.perf_counter()
    runs = _in_folds(setup, depth, folds)
    histories = {name: run.history for name, run in _named(runs).items()}
    further = []
    if setup.recipe.deploy != "folds":
        every = [run for fold in runs for run in fold]
        if setup.recipe.deploy == "once":
            further = [_once_more(setup, depth, every)]
        else:
            away = [rows for rows, _ in _unseen(runs, folds)]
            further = [distilled(setup, depth, every, away)]
        histories[DEPLOYED] = further[0].history
    # One network that answers alone is judged by one of every fold, not by the mean of several.
    judging = [fold[:1] for fold in runs] if further else runs
    mine = judging if finding is None else finding.runs(judging, folds)
    several = setup.recipe.differ == "scale" and setup.recipe.networks > 1
    labels = development.table.labels
    out = _out_of_fold(mine, development.folds, labels, deployed=len(further), scales=1 + several)
    if setup.recipe.deploy == "distilled":
        out = dataclasses.replace(out, learned=further[0].scores)
    key = key_of(scenario, out.fingerprint, development)
    kept = extractor.cache.get("predictions", key)
    everything = [*(run for fold in runs for run in fold), *further]
    if kept is None:
        kept = pack_out_of_fold(out, development, began)
        kept["seconds"] = np.array(sum(run.seconds for run in everything))
        extractor.cache.put("predictions", key, kept)
    of, calibrator = development.table, calibrator_of(kept)
    deployed = [further] if further else runs
    fitted = _together(setup, _fitted_all(setup, deployed, calibrator, of, finding))
    crossed = unpack_cross_fitted(fitted, kept, development)
    return dataclasses.replace(crossed, training=TrainingLog(depth, histories, found))


def fold_networks(
    scenario: Scenario, development: Development, extractor: Extractor
) -> tuple[FittedTrained | FittedEnsemble, ...]:
    """Of every fold what judged it, with the calibrator of its fold and the study's threshold.

    That is its network, or the mean of its networks, calibrated as the predictions were by which
    the threshold was chosen. They are what `cross_fit_finetune` deploys; where it deploys another,
    they come from the cache.
    """
    crossed = cross_fit_finetune(scenario, development, extractor)
    deployed, said = crossed.fitted, crossed.unchanged
    assert isinstance(deployed, FittedTrained | FittedEnsemble)  # for the type checker
    setup, folds = _setup(scenario, development, extractor), _folds(development)
    each = setup.recipe.networks
    if isinstance(deployed, FittedEnsemble):  # fold by fold
        networks = [one for one in deployed.members if isinstance(one, FittedTrained)]
    else:
        runs, each = [fold[:1] for fold in _in_folds(setup, _depth(setup, folds)[0], folds)], 1
        of, finding = development.table, OneFinding.of(development)
        networks = _fitted_all(setup, runs, deployed.calibrator, of, finding)
    own = fold_calibrators(said.scores, said.y_true, said.fold)
    return tuple(
        dataclasses.replace(
            _together(setup, networks[k * each : (k + 1) * each]),
            calibrator=own.get(k, deployed.calibrator),
            operating=deployed.operating,
        )
        for k in range(folds.n_folds)
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
    inside = folds.assignment == folds.n_folds - 1
    rows, judge = np.flatnonzero(~inside), np.flatnonzero(inside)
    table = development.table.select(judge)
    try:
        inner = make_folds(table, folds.n_folds, folds.seed)  # or fail before hours of training
    except FitError as error:
        raise FitError(
            f"the images that judge, one of {folds.n_folds} folds, are too few to be dealt to "
            f"folds of their own, by which they are calibrated: {error}; train in every fold "
            "instead, without --holdout-only"
        ) from error
    setup = _setup(scenario, development, extractor)
    depth, found = _depth(setup, folds)
    part = Development(table, dataclasses.replace(inner, view=folds.view, metric=folds.metric))
    what = f"Training from {depth}"
    run = setup.trained(TrainingTask(depth, setup.inputs(depth), rows, judge, what), cap=cap)
    out = OutOfFold(run.scores, None, run.scores, run.changed)
    kept = pack_out_of_fold(out, part, time.perf_counter())
    kept["seconds"] = np.array(run.seconds)
    fitted = _fitted(setup, run, calibrator_of(kept), development.table, None)
    crossed = unpack_cross_fitted(fitted, kept, part)
    log = TrainingLog(depth, {"one holdout": run.history}, found)
    return dataclasses.replace(crossed, training=log)


def _setup(scenario: Scenario, development: Development, extractor: Extractor) -> FinetuneSetup:
    """What the trainings of all folds share."""
    weight, view, all = development.sample_weight, development.folds.view, development.together
    if all is None:
        return FinetuneSetup.of(scenario, development.table, extractor, weight, view)
    return FinetuneSetup.of(
        scenario, all.panel.images, extractor, None, view, truth=all.panel.truth
    )


def _folds(development: Development) -> Folds:
    """The folds of all images that networks learn from: those of every finding, or the own."""
    return development.together.folds if development.together else development.folds


def _in_folds(setup: FinetuneSetup, depth: str, folds: Folds) -> tuple[tuple[Trained, ...], ...]:
    """Of every fold its networks, which learn from all other folds and judge it.

    The first network of every fold is trained before any second one.
    """
    found: list[list[Trained]] = [[] for _ in range(folds.n_folds)]
    for number in range(setup.recipe.networks):
        one = setup.numbered(number)
        inputs = one.inputs(depth)
        which = f", network {number + 1} of {setup.recipe.networks}" if number else ""
        for k, runs in enumerate(found):
            inside = folds.assignment == k
            what = f"Training from {depth}, fold {k + 1} of {folds.n_folds}{which}"
            rows, judge = np.flatnonzero(~inside), np.flatnonzero(inside)
            runs.append(one.trained(TrainingTask(depth, inputs, rows, judge, what)))
    return tuple(tuple(runs) for runs in found)


def _named(runs: Sequence[Sequence[Trained]]) -> dict[str, Trained]:
    """The networks of all folds by what they are called."""
    return {
        f"fold {k + 1}" + (f", network {number + 1}" if number else ""): run
        for k, fold in enumerate(runs)
        for number, run in enumerate(fold)
    }


def _out_of_fold(
    runs: Sequence[Sequence[Trained]], folds: Folds, y: Ints, deployed: int, scales: int
) -> OutOfFold:
    """The scores of the images of every fold by its networks, the mean over these.

    Networks that stand between a fold and its image alone do not exist, so that each fold is
    calibrated by the others' scores, which have about one unit: nothing was chosen in the folds.
    The calibrator in use is fitted on scores as the mean of all networks would spread, or of
    `deployed` ones, where that is not 0. scales : at which a fold's networks see things, in turn.
    """

    def gather(parts: Sequence[Floats]) -> Floats:
        scores = np.zeros((len(folds.assignment), parts[0].shape[1]))
        for k, part in enumerate(parts):
            scores[folds.assignment == k] = part
        return scores

    scores = gather([np.mean([run.scores for run in fold], axis=0) for fold in runs])
    changed = [
        np.mean([run.changed for run in fold if run.changed is not None], axis=0)
        for fold in runs
        if fold[0].changed is not None
    ]
    # Chance is what differs between networks that were meant to be alike.
    alike = [_unseen([fold[first::scales] for fold in runs], folds) for first in range(scales)]
    variance = float(np.mean([variance_between(unseen, len(y)) for unseen in alike]))
    judged = len(runs[0])
    final = as_mean_of(scores, y, variance, judged, deployed or len(runs) * judged)
    return OutOfFold(scores, None, final, gather(changed) if changed else None)


def _unseen(runs: Sequence[Sequence[Trained]], folds: Folds) -> list[tuple[Ints, Floats]]:
    """Of every network the rows that it has not learned from, and their scores."""
    return [
        (
            np.concatenate([np.flatnonzero(folds.assignment == k), run.held]),
            np.concatenate([run.scores, run.held_scores]),
        )
        for k, fold in enumerate(runs)
        for run in fold
    ]


def _once_more(setup: FinetuneSetup, depth: str, runs: Sequence[Trained]) -> Trained:
    """The training on all images, for the best epoch of the folds as a share of their schedule."""
    share = float(np.mean([run.best_epoch / run.epochs for run in runs]))
    everything = np.arange(len(setup.development))
    epochs = round(share * setup.recipe.for_images(len(everything)).epochs)
    what = f"Training from {depth} on all images"
    nobody = everything[:0]
    return setup.trained(TrainingTask(depth, setup.inputs(depth), everything, nobody, what, epochs))


def _together(
    setup: FinetuneSetup, networks: Sequence[FittedTrained]
) -> FittedTrained | FittedEnsemble:
    """The mean of the networks' scores; of one, it itself."""
    first = networks[0]
    if len(networks) == 1:
        return first
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


def _fitted_all(
    setup: FinetuneSetup,
    runs: Sequence[Sequence[Trained]],
    calibrator: Calibrator,
    table: ImageTable,
    finding: OneFinding | None,
) -> list[FittedTrained]:
    """The networks of all folds, fold by fold."""
    return [
        _fitted(setup.numbered(number), run, calibrator, table, finding)
        for fold in runs
        for number, run in enumerate(fold)
    ]


def _fitted(
    setup: FinetuneSetup,
    final: Trained,
    calibrator: Calibrator,
    table: ImageTable,
    finding: OneFinding | None,
) -> FittedTrained:
    """The trained network as a backbone of its own, with its head: for the classes of `table`.

    finding : of several that the network learned, whose layers all of them share.
    """
    tuned = finetuned_backbone(setup.backbone, final.state)
    setup.extractor.adopt(tuned)
    spec = dataclasses.replace(setup.spec, backbone=tuned.name, weights=tuned.key)
    state = final.state
    if finding is None:
        coef, intercept = (state[f"head.{part}"].astype(float) for part in ("weight", "bias"))
    else:
        coef, intercept = finding.head(state)
    head = LogisticHead.from_arrays(
        {
            "coef_": coef,
            "intercept_": intercept,
            "classes_": np.arange(len(table.classes)),
            "C": np.array(PROBE_C),
        },
        {},
    )
    return FittedTrained(
        scenario=setup.scenario,
        classes=table.classes,
        positive=table.positive,
        operating=None,
        feature_plan=setup.deployed_plan(spec),
        head=head,
        calibrator=calibrator,
        extractor=setup.extractor,
        rule=table.rule,
    )
