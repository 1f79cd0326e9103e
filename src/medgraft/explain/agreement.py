"""Do maps lie where people say the evidence is: pointing game, energy and overlap with masks.

Agreement is no proof that a model uses a region (interventions are), but a map that agrees with
masks no better than with those of other images says nothing about this image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from medgraft.errors import DataError
from medgraft.evaluate.intervals import DEFAULT, Sampling
from medgraft.explain.chance_baseline import ChanceComparison, beside_chance
from medgraft.types import Floats, Strings

Masks = NDArray[np.bool_]
SHUFFLES = 20  # draws of another image's mask that make the chance level


def pointing_game(maps: Floats, masks: Masks) -> Floats:
    """Whether the largest value lies in the mask (Zhang et al. 2016): (n,) in 0..1.

    Of several equal largest values it is the share that does. nan for a mask that is empty or a
    map that is 0 everywhere, here and in the others.

    maps : (n, height, width), values below 0 count as 0. masks : (n, height, width).
    """
    flat, inside = _flat(maps, masks)
    top = flat == flat.max(axis=1, keepdims=True)
    return _known((top & inside).sum(axis=1) / top.sum(axis=1), flat, inside)


def energy_inside(maps: Floats, masks: Masks) -> Floats:
    """The share of a map's sum that lies in the mask (Wang et al. 2020, Score-CAM): (n,) in 0..1.

    A constant map has the mask's share of the area. Shapes as of `pointing_game`.
    """
    flat, inside = _flat(maps, masks)
    total = flat.sum(axis=1)
    return _known((flat * inside).sum(axis=1) / np.where(total > 0, total, 1), flat, inside)


def iou_at_area(maps: Floats, masks: Masks) -> Floats:
    """Intersection over union of the mask and the map's largest values, as many pixels: (n,).

    Pixels that tie for the last places count by their share of them. Shapes as of `pointing_game`.
    """
    flat, inside = _flat(maps, masks)
    found = np.empty(len(flat))
    for i, (map, mask) in enumerate(zip(flat, inside, strict=True)):
        area = int(mask.sum())
        last = np.partition(map, -max(area, 1))[-max(area, 1)]
        above, tied = map > last, map == last
        places = area - int(above.sum())
        hit = (above & mask).sum() + (tied & mask).sum() * places / tied.sum()
        found[i] = hit / max(2 * area - hit, 1)
    return _known(found, flat, inside)


MEASURES: Mapping[str, Callable[[Floats, Masks], Floats]] = MappingProxyType(
    {
        "pointing game": pointing_game,
        "energy inside": energy_inside,
        "IoU at the mask's area": iou_at_area,
    }
)


def agreement(
    maps: Floats, masks: Masks, groups: Strings, sampling: Sampling = DEFAULT
) -> tuple[ChanceComparison, ...]:
    """Every measure beside that of the same maps with the masks of other groups' images.

    The masks carry what all images have in common (lungs lie where lungs lie), so that only what a
    map knows of its own image is above this chance level. A further line holds energy against the
    mask's share of the area, which a map without any place would have.

    Parameters
    ----------
    maps : (n, height, width) on one canvas size. masks : (n, height, width), an empty one where
        none is known: that image is left out and counted. groups : (n,).

    Raises
    ------
    DataError
        The shapes differ, no image has both a mask and a map, or all masks are of one group.
    """
    if maps.shape != masks.shape or maps.ndim != 3 or len(groups) != len(maps):
        raise DataError(
            f"maps {maps.shape}, masks {masks.shape} and {len(groups)} groups do not go together; "
            "give (n, height, width) twice, on the same canvas, and a group each"
        )
    partners = _partners(masks, groups, sampling.seed)
    share = masks.mean(axis=(1, 2))
    found = []
    for name, measure in MEASURES.items():
        values = measure(maps, masks)
        others = np.mean([measure(maps, masks[draw]) for draw in partners], axis=0)
        against = "masks of other groups' images"
        found.append(beside_chance(name, values, others, groups, against, sampling=sampling))
        if measure is energy_inside:
            against = "the mask's share of the area"
            found.append(beside_chance(name, values, share, groups, against, sampling=sampling))
    return tuple(found)


def _partners(masks: Masks, groups: Strings, seed: int) -> NDArray[np.int64]:
    """For each draw and image another group's image that has a mask, (SHUFFLES, n)."""
    filled = np.flatnonzero(masks.any(axis=(1, 2)))
    if len(np.unique(groups[filled])) < 2:
        raise DataError(
            f"{len(filled)} of {len(masks)} images have a mask, all of one group or none; chance "
            "is told by the masks of another group's images: give masks of two groups or more"
        )
    rng = np.random.default_rng(seed)
    found = np.empty((SHUFFLES, len(masks)), np.int64)
    for i, group in enumerate(groups.tolist()):
        found[:, i] = rng.choice(filled[groups[filled] != group], SHUFFLES)
    return found


def _flat(maps: Floats, masks: Masks) -> tuple[Floats, Masks]:
    """Both as (n, pixels), the maps without what is below 0."""
    n = len(maps)
    return np.maximum(maps, 0).reshape(n, -1).astype(np.float64), masks.reshape(n, -1)


def _known(values: Floats, flat: Floats, inside: Masks) -> Floats:
    """Nan where there is no mask or nothing in the map."""
    known: Floats = np.where(inside.any(axis=1) & (flat.max(axis=1) > 0), values, np.nan)
    return known
