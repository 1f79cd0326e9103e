"""How a network was trained: epoch by epoch, and from which layer on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medgraft.files import json_value
from medgraft.results.figures import Comparison
from medgraft.types import Estimate

Scores = tuple[float, float, float]
DEPLOYED = "all images"  # the run that is deployed, if one is trained for it; holds nothing out
LOSS, AUROC = 0, 1  # places in `Epoch.train` and `Epoch.holdout`


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch left. Losses are plain log losses of images that nothing augments.

    They come as they are, or all in the one view in which a study judges (`Folds.view`).

    number : from 1; 0 is the network before any training. rate : of the head, in its last step.
    train, holdout : (loss, AUROC, accuracy) of a part of the training images and of the holdout,
    nan where there is none; the gap between them is overfitting. best : whether no epoch before
    had a lower holdout loss; without a holdout, or where the last weights are kept, every epoch of
    training is the best so far.
    stopped : why training ended here, '' where it goes on.
    """

    number: int
    rate: float
    seconds: float
    train: Scores
    holdout: Scores
    best: bool
    stopped: str = ""

    def to_json(self) -> dict[str, Any]:
        """What JSON can hold: None for nan."""
        row: dict[str, Any] = json_value(self)
        return row

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Epoch:
        """What `to_json` gave."""
        train, holdout = (
            tuple(math.nan if value is None else float(value) for value in row[name])
            for name in ("train", "holdout")
        )
        return cls(**{**row, "train": train, "holdout": holdout})


def best_epoch(run: Sequence[Epoch]) -> int:
    """The epoch whose weights were kept: of the lowest holdout loss, or as the recipe says."""
    return max((epoch.number for epoch in run if epoch.best), default=0)


@dataclass(frozen=True, slots=True)
class DepthTrial:
    """One depth in one rung: what it learned from, and the metric on the inner holdout."""

    depth: str
    rung: int
    images: int
    epochs: int
    seconds: float
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class DepthSearch:
    """What the search found.

    trials : of all rungs. comparisons : in the last rung, the chosen depth against each other.
    holdout : how many images judged. gain : the chosen depth against a linear head on the frozen
    network, learned from the images of the last rung. Both know that the depth was chosen there.
    """

    metric: str
    chosen: str
    trials: tuple[DepthTrial, ...]
    comparisons: tuple[Comparison, ...]
    holdout: int
    gain: Comparison | None = None

    @property
    def curve(self) -> tuple[DepthTrial, ...]:
        """Every depth in the first rung, which all of them ran under the same conditions."""
        return tuple(trial for trial in self.trials if trial.rung == 0)


@dataclass(frozen=True, eq=False)
class TrainingLog:
    """How a network was trained: from which depth, epoch by epoch, and how that depth was found.

    histories : by fold, and of the network that is deployed.
    """

    depth: str
    histories: Mapping[str, tuple[Epoch, ...]]
    search: DepthSearch | None

    @property
    def held_out(self) -> dict[str, tuple[Epoch, ...]]:
        """The runs that held images out."""
        return {
            name: run
            for name, run in self.histories.items()
            if any(math.isfinite(epoch.holdout[LOSS]) for epoch in run)
        }


@dataclass(frozen=True, slots=True)
class TrainedStages:
    """So many of a network's stages are trained, the last ones."""

    trained: int
    of: int


@dataclass(frozen=True, slots=True)
class Gap:
    """How much better runs are on images they learned from; (mean, least, most) over the runs.

    loss, auroc : at the kept epoch of each run, positive where images learned from do better.
    last : of the loss, at the last epoch. learned, held : mean log loss at the kept epoch.
    """

    loss: tuple[float, float, float]
    auroc: tuple[float, float, float]
    last: tuple[float, float, float]
    learned: float
    held: float


@dataclass(frozen=True, eq=False, slots=True)
class TrainedScenario:
    """A scenario whose network was trained, and how that went.

    depths : each layer it was or could have been trained from, and what is trained then. gap : of
    the runs that held images out; None where none did.
    """

    key: str
    log: TrainingLog
    depths: Mapping[str, TrainedStages]
    gap: Gap | None = None
