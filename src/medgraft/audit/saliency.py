"""May a reader trust the model's heatmaps: do they know the patient, and what was learned?

They are held against the masks of other patients, and against those of the same network with its
weights shuffled. A map that passes is not the truth yet, and one that fails is no fault of the
model's decisions: none of this can fail a model.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medgraft.audit.heatmaps import Mapped, seen_by
from medgraft.audit.sample import sampled
from medgraft.errors import DataError
from medgraft.evaluate.intervals import Sampling
from medgraft.explain.agreement import agreement
from medgraft.explain.cam import has_cam
from medgraft.explain.chance_baseline import ChanceComparison
from medgraft.explain.randomised import ALL, HEAD, Sensitivity, randomisation
from medgraft.features.taps import Tap
from medgraft.types import Estimate, Finding, FittedNetwork

MASKED = 60  # images held against masks
SHUFFLED = 24  # images whose maps are made again at each step of the shuffle
STAYS = 0.5  # of what maps have in common beyond chance: who keeps more hardly changes
NOT_MEASURED = "heatmaps_not_measured"


def look_at_saliency(mapped: Sequence[Mapped], seed: int = 0) -> list[Finding]:
    """What the heatmaps know of the masks, where there are any, and of what was learned.

    Masks take no pass; the shuffle takes three times `SHUFFLED`, forward and backward: as it is,
    with the head shuffled, with everything shuffled.
    """
    if not mapped:
        text = (
            "Heatmaps were not tested, nor searched for a minority that is decided in another way: "
            "this model has none that is read inside the network (kNN, RBF, VLAD and the like have "
            "not), and covering each image piece by piece would take too long."
        )
        return [Finding(NOT_MEASURED, "info", text)]
    masks = [_about_masks(mapped, seed)] if all(m.part.masks is not None for m in mapped) else []
    return [*masks, *_about_weights(mapped, seed)]


def _about_masks(mapped: Sequence[Mapped], seed: int) -> Finding:
    """Energy inside each image's own masks, beside that inside other patients'."""
    maps = np.concatenate([one.maps for one in mapped])
    masks = np.concatenate([one.part.masks for one in mapped if one.part.masks is not None])
    groups = np.concatenate([one.part.table.groups for one in mapped])
    rows = np.sort(np.random.default_rng(seed).permutation(len(maps))[:MASKED])
    try:
        measured = agreement(maps[rows], masks[rows], groups[rows], Sampling(seed=seed))
    except DataError as error:
        return Finding(NOT_MEASURED, "info", f"Heatmaps were not held against masks: {error}.")
    others, area = (one for one in measured if one.name == "energy inside")
    return Finding("heatmaps_and_masks", "info", _inside(others, area), _energy(others, area))


def _inside(others: ChanceComparison, area: ChanceComparison) -> str:
    """What the energy inside says, in words; the interval decides."""
    more = others.difference
    text = (
        f"The heatmaps put {_percent(others.value)} of their energy inside the masks, which cover "
        f"{100 * area.chance.value:.0f} % of the image, and {_percent(others.chance)} inside the "
        f"masks of other patients ({more.n} images): "
    )
    if more.low > 0:
        return text + (
            f"{_points(more)} more, so they know something of where the evidence of this very "
            "patient lies. Whether it decides says the exchange of regions."
        )
    return text + (
        f"a difference of {_points(more)}. So they know no more of this patient's masks than of "
        "other patients': do not take where they glow for a finding in this patient."
    )


def _energy(others: ChanceComparison, area: ChanceComparison) -> dict[str, float | int | str]:
    return {
        "energy_inside": others.value.value,
        "energy_inside_others": others.chance.value,
        "area": area.chance.value,
        "difference": others.difference.value,
        "low": others.difference.low,
        "high": others.difference.high,
        "n": others.difference.n,
    }


# --------------------------------------------------------------------------- shuffled weights


def _about_weights(mapped: Sequence[Mapped], seed: int) -> list[Finding]:
    """What is left of the maps when weights are shuffled, of the model with the most images."""
    most = max(mapped, key=lambda one: len(one.maps)).part
    networks = most.fitted.networks  # of those of several folds, the first stands for all
    if not has_cam(most.fitted) or not _has_places(networks[0]):
        text = (
            "Whether the heatmaps depend on what was learned was not tested: this model joins "
            "several networks, inputs or layers without places, of which no single map is read."
        )
        return [Finding(NOT_MEASURED, "info", text)]
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
        return [Finding(NOT_MEASURED, "info", f"Weights were not shuffled: {error}.")]
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


def _shuffled(chance: Estimate, steps: Sequence[Sensitivity]) -> Finding:
    """What the last step says, at which nothing that was learned is left."""
    head = next(step.correlation for step in steps if step.down_to == HEAD)
    last = steps[-1].correlation
    text = (
        "With everything shuffled that the network and its head learned, heatmaps agree with those "
        f"before by a rank correlation of {_figures(last)} (1 is the same; {last.n} images), and "
        f"those of two different images agree by {_figures(chance)}. "
    )
    text += {
        True: "They hardly change: they show the image and not what was learned. Do not read them.",
        False: "No more is left of them than chance: what they show was learned.",
        None: "Part of them is left: that part shows the image and not what was learned.",
    }[stays(chance, last)]
    numbers: dict[str, float | int | str] = {
        "correlation": last.value,
        "low": last.low,
        "high": last.high,
        "n": last.n,
        "chance": chance.value,
        "head_shuffled": head.value,
    }
    return Finding("heatmaps_and_weights", "info", text, numbers)


def _figures(one: Estimate) -> str:
    return f"{one.value:.2f} ({one.low:.2f} to {one.high:.2f})"


def _percent(one: Estimate) -> str:
    return f"{100 * one.value:.0f} % ({100 * one.low:.0f} to {100 * one.high:.0f})"


def _points(one: Estimate) -> str:
    return f"{100 * one.value:.1f} points ({100 * one.low:.1f} to {100 * one.high:.1f})"
