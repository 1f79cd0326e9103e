"""May a reader trust the model's heatmaps: do they know the patient, and what was learned?

They are held against the masks of other patients, and against those of the same network with its
weights shuffled. A map that passes is not the truth yet, and one that fails is no fault of the
model's decisions: none of this can fail a model.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medgraft.audit.heatmaps import PartHeatmaps, seen_by
from medgraft.audit.sample import sampled
from medgraft.errors import DataError
from medgraft.evaluate.intervals import Sampling
from medgraft.explain.agreement import agreement
from medgraft.explain.cam import has_cam
from medgraft.explain.chance_baseline import ChanceComparison
from medgraft.explain.randomised import ALL, HEAD, Sensitivity, randomisation
from medgraft.features.taps import Tap
from medgraft.types import AuditFinding, AuditReason, Estimate, FittedNetwork

MASKED = 60  # images held against masks
SHUFFLED = 24  # images whose maps are made again at each step of the shuffle
STAYS = 0.5  # of what maps have in common beyond chance: who keeps more hardly changes


def look_at_saliency(heatmaps: Sequence[PartHeatmaps], seed: int = 0) -> list[AuditFinding]:
    """What the heatmaps know of the masks, where there are any, and of what was learned.

    Masks take no pass; the shuffle takes three times `SHUFFLED`, forward and backward: as it is,
    with the head shuffled, with everything shuffled.
    """
    if not heatmaps:
        return [AuditFinding("heatmaps_not_measured", "info", "no maps")]
    masked = all(one.part.masks is not None for one in heatmaps)
    masks = [_about_masks(heatmaps, seed)] if masked else []
    return [*masks, *_about_weights(heatmaps, seed)]


def _about_masks(heatmaps: Sequence[PartHeatmaps], seed: int) -> AuditFinding:
    """Energy inside each image's own masks, beside that inside other patients'."""
    maps = np.concatenate([one.maps for one in heatmaps])
    masks = np.concatenate([one.part.masks for one in heatmaps if one.part.masks is not None])
    groups = np.concatenate([one.part.table.groups for one in heatmaps])
    rows = np.sort(np.random.default_rng(seed).permutation(len(maps))[:MASKED])
    try:
        measured = agreement(maps[rows], masks[rows], groups[rows], Sampling(seed=seed))
    except DataError as error:
        return AuditFinding("heatmaps_not_measured", "info", "masks failed", error=str(error))
    others, area = (one for one in measured if one.name == "energy inside")
    return _inside(others, area)


def _inside(others: ChanceComparison, area: ChanceComparison) -> AuditFinding:
    """Whether surely more energy lies in a patient's own masks than in other patients'."""
    more = others.difference
    reason: AuditReason = "own patient" if more.low > 0 else "any patient"
    estimates = {"inside": others.value, "inside_others": others.chance, "more": more}
    numbers = {
        "energy_inside": others.value.value,
        "energy_inside_others": others.chance.value,
        "area": area.chance.value,
        "difference": more.value,
        "low": more.low,
        "high": more.high,
        "n": more.n,
    }
    return AuditFinding("heatmaps_and_masks", "info", reason, numbers, estimates=estimates)


# --------------------------------------------------------------------------- shuffled weights


def _about_weights(heatmaps: Sequence[PartHeatmaps], seed: int) -> list[AuditFinding]:
    """What is left of the maps when weights are shuffled, of the model with the most images."""
    most = max(heatmaps, key=lambda one: len(one.maps)).part
    networks = most.fitted.networks  # of those of several folds, the first stands for all
    if not has_cam(most.fitted) or not _has_places(networks[0]):
        return [AuditFinding("heatmaps_not_measured", "info", "several networks")]
    (few,) = sampled([most], SHUFFLED, seed)
    try:
        chance, steps = randomisation(
            networks[0],
            seen_by(few),
            few.table.groups,
            "hirescam",
            Sampling(seed=seed),
            (HEAD, ALL),
        )
    except DataError as error:
        return [AuditFinding("heatmaps_not_measured", "info", "shuffle failed", error=str(error))]
    return [_shuffled(chance, steps)]


def _has_places(network: FittedNetwork) -> bool:
    """Whether the head's tap has any."""
    tap: Tap = network.backbone.tap(network.spec.taps[-1])
    return bool(tap.stride) and tap.side > 1


def stays(chance: Estimate, shuffled: Estimate) -> bool | None:
    """Whether maps stay as they were when weights are shuffled; None if they change in part.

    With c the correlation of two images' maps and r that of a map with itself under shuffled
    weights, they stay if the interval of r lies above ``c + STAYS (1 - c)``, so that surely more
    than half is left of what a map has in common with itself and not with others; they change if
    the interval of r reaches down to that of c.
    """
    if shuffled.low > chance.value + STAYS * (1 - chance.value):
        return True
    return False if shuffled.low <= chance.high else None


def _shuffled(chance: Estimate, steps: Sequence[Sensitivity]) -> AuditFinding:
    """What the last step says, at which nothing that was learned is left."""
    head = next(step.correlation for step in steps if step.down_to == HEAD)
    last = steps[-1].correlation
    reasons: dict[bool | None, AuditReason] = {True: "stay", False: "change", None: "partly"}
    numbers: dict[str, float | int | str] = {
        "correlation": last.value,
        "low": last.low,
        "high": last.high,
        "n": last.n,
        "chance": chance.value,
        "head_shuffled": head.value,
    }
    return AuditFinding(
        "heatmaps_and_weights",
        "info",
        reasons[stays(chance, last)],
        numbers,
        estimates={"shuffled": last, "two_images": chance},
    )
