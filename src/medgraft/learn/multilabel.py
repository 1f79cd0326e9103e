"""One network that learns several findings: a logit each, and log loss over what is known.

The probability of a finding is the logistic function of its logit, whatever else is there. An image
of which a finding is not known neither teaches it nor judges it, and teaches the others.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medgraft.data.panel_split import deal_groups, known_columns
from medgraft.errors import ScenarioError
from medgraft.evaluate.metrics import auroc
from medgraft.learn.estimators import LogisticHead
from medgraft.panel import ABSENT, PRESENT, UNKNOWN, Marks
from medgraft.results.training import Scores
from medgraft.training_recipe import Recipe
from medgraft.types import Floats, Ints, Strings

if TYPE_CHECKING:
    import torch

BOTH = (ABSENT, PRESENT)

Known = Ints | Marks
"""(n, k) what is known of k findings in n images, `PRESENT`, `ABSENT` or `UNKNOWN`."""


def check_for_findings(recipe: Recipe) -> None:
    """Refuse what a recipe asks for that several findings do not have.

    Raises
    ------
    ScenarioError
        Classes to draw as often by a sampler, or a network to learn what others answer.
    """
    for setting, value, instead in (
        ("balance", "sampler", "loss"),
        ("deploy", "distilled", "folds, or once"),
    ):
        if getattr(recipe, setting) == value:
            raise ScenarioError(
                f"{setting} = {value} is for one question, and this network learns several "
                f"findings; choose --training {setting}={instead}, or one finding with --binarize"
            )


def held_out(groups: Strings, truth: Marks, share: float, seed: int) -> NDArray[np.bool_]:
    """Hold out about `share` of the images (n,) of every finding, groups whole.

    truth : (n, k), with each finding and without it in its share (`panel_split.deal_groups`).
    """
    held: NDArray[np.bool_] = (
        deal_groups(groups, known_columns(truth), (share, 1 - share), seed) == 0
    )
    return held


def loss_weights(truth: Known, weight: Floats, rows: Ints, *, balanced: bool) -> Floats:
    """(n, k) float32 weights of each finding of each image in the loss, 0 where it is not known.

    weight : (n,) of the images. balanced : of the `rows` learned from, those with a finding weigh
    as much as those without it; findings keep what they weigh together.
    """
    found = np.where(truth == UNKNOWN, 0.0, weight.astype(np.float64)[:, None])
    if balanced:
        totals = [np.where(truth[rows] == value, found[rows], 0.0).sum(axis=0) for value in BOTH]
        there = np.sum([total > 0 for total in totals], axis=0)
        mean = np.sum(totals, axis=0) / np.maximum(there, 1)
        for value, total in zip(BOTH, totals, strict=True):
            found *= np.where(truth == value, mean / np.maximum(total, 1e-12), 1.0)
    return found.astype(np.float32)


def smoothed(truth: Known, weight: Floats, smoothing: float) -> NDArray[np.float32]:
    """(n, k, 2) targets without and with each finding, which sum to its weight (n, k)."""
    one_hot = np.stack([truth == value for value in BOTH], axis=2).astype(np.float32)
    target = (1 - smoothing) * one_hot + smoothing / 2
    return np.asarray(target * weight[:, :, None], np.float32)


def log_probabilities(logits: torch.Tensor) -> torch.Tensor:
    """(n, k, 2) of being without and with each finding, from logits (n, k)."""
    import torch
    from torch.nn.functional import logsigmoid

    return torch.stack([logsigmoid(-logits), logsigmoid(logits)], dim=2)


def score_findings(logits: Floats, truth: Known) -> Scores:
    """Log loss and accuracy over what is known, and the mean of the findings' AUROC.

    nan where nothing is known, or a logit is no number.
    """
    known = truth != UNKNOWN
    if not known.any() or not np.isfinite(logits).all():
        return math.nan, math.nan, math.nan
    f, there = logits[known], truth[known] == PRESENT
    loss = float(np.logaddexp(0.0, np.where(there, -f, f)).mean())
    areas = [
        auroc(truth[rows, j] == PRESENT, logits[rows, j])
        for j, rows in enumerate(known.T)
        if len(np.unique(truth[rows, j])) == 2
    ]
    area = float(np.mean(areas)) if areas else math.nan
    return loss, area, float(((f > 0) == there).mean())


def begin_as_probes(
    head: Any, codes: NDArray[Any], truth: Known, weight: Floats, strength: float
) -> None:
    """Let each output of a linear head begin as the probe of its finding, in place.

    codes (n, d), truth (n, k), weight (n,) : of what is learned from. An output of whose finding
    only one side is known begins at zero.
    """
    import torch

    for j, marks in enumerate(truth.T):
        known = marks != UNKNOWN
        if len(np.unique(marks[known])) < 2:
            continue
        probe = LogisticHead(strength, class_weight="balanced")
        probe.fit(codes[known], marks[known].astype(np.int64), weight[known])
        coef, intercept = np.asarray(probe.coef_), np.asarray(probe.intercept_)
        with torch.no_grad():
            head.weight[j] = torch.from_numpy(coef[1] - coef[0]).float()
            head.bias[j] = float(intercept[1] - intercept[0])
