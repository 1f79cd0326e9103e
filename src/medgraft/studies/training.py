"""What the report of a study shows of its trainings: how much was trained, and what overfitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from medgraft.features.backbones import Backbone
from medgraft.features.extract import Extractor
from medgraft.results.training import (
    AUROC,
    LOSS,
    Epoch,
    Gap,
    TrainedScenario,
    TrainedStages,
    TrainingLog,
    best_epoch,
)
from medgraft.scenario import INPUT
from medgraft.studies.run import Study
from medgraft.types import Scenario


def trainings(study: Study, extractor: Extractor) -> tuple[TrainedScenario, ...]:
    """The scenarios whose network was trained, in the order of the plan."""
    return tuple(
        trained_scenario(entry.scenario, study.training[entry.scenario.key], extractor)
        for entry in study.planned
        if entry.scenario.key in study.training
    )


def trained_scenario(scenario: Scenario, log: TrainingLog, extractor: Extractor) -> TrainedScenario:
    """How a scenario's network was trained, from which layer of those that were tried."""
    backbone = extractor.backbone(scenario.backbone)
    tried = [trial.depth for trial in log.search.trials] if log.search else []
    depths = {depth: trained_stages(depth, backbone) for depth in [log.depth, *tried]}
    runs = log.held_out
    return TrainedScenario(scenario.key, log, depths, gap(runs) if runs else None)


def trained_stages(depth: str, backbone: Backbone) -> TrainedStages:
    """How much of a network is trained that is trained from the layer `depth` on."""
    n = len(backbone.stages)
    if depth == INPUT:
        return TrainedStages(n, n)
    frozen = backbone.tap(depth).cost.parameters
    return TrainedStages(sum(stage.cost.parameters > frozen for stage in backbone.stages), n)


def gap(runs: Mapping[str, Sequence[Epoch]]) -> Gap:
    """The gap between images learned from and held out, of runs that held some out."""
    best = [run[best_epoch(run)] for run in runs.values()]
    last = [[one for one in run if np.isfinite(one.holdout[LOSS])][-1] for run in runs.values()]

    def over(values: Sequence[float]) -> tuple[float, float, float]:
        return float(np.mean(values)), float(np.min(values)), float(np.max(values))

    return Gap(
        loss=over([one.holdout[LOSS] - one.train[LOSS] for one in best]),
        auroc=over([one.train[AUROC] - one.holdout[AUROC] for one in best]),
        last=over([one.holdout[LOSS] - one.train[LOSS] for one in last]),
        learned=float(np.mean([one.train[LOSS] for one in best])),
        held=float(np.mean([one.holdout[LOSS] for one in best])),
    )
