"""The heatmaps of some audited images, which `saliency.py` and `heatmap_clusters.py` look at.

Only maps that are read inside the network are made: about one pass an image. What covers parts of
the image instead takes eighty, and says no more than the exchange of regions does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medgraft.audit.parts import Part
from medgraft.audit.sample import sampled
from medgraft.data.preprocess import derive, enlarge
from medgraft.explain.attribute import attribute, is_read_inside
from medgraft.types import Canvas

IMAGES = 200


@dataclass(frozen=True, eq=False)
class PartHeatmaps:
    """A part, and of each of its images the map (n, side, side) float32 of the class it is called.

    Maps are never negative, and 0 everywhere where nothing speaks for the class.
    """

    part: Part
    maps: NDArray[np.float32]


def read_heatmaps(parts: Sequence[Part], seed: int = 0) -> tuple[PartHeatmaps, ...]:
    """Maps of a seeded draw of `IMAGES`, classes in equal shares, a pass each; none if a model has
    no maps that are read inside its network.
    """
    if not all(is_read_inside(part.fitted) for part in parts):
        return ()
    found = []
    for part in sampled(parts, IMAGES, seed):
        maps = attribute(part.fitted, seen_by(part), called(part))
        grown = [enlarge(one.map, (part.side, part.side)) for one in maps]
        found.append(PartHeatmaps(part, np.stack(grown)))
    return tuple(found)


def called(part: Part) -> list[str]:
    """The class that the classifier calls each image."""
    return [part.fitted.classes[row] for row in part.labels(part.said.y_prob)]


def seen_by(part: Part) -> list[Canvas]:
    """The part's canvases as its classifier takes them."""
    spec = part.fitted.spec
    return [derive(canvas, spec.size, spec.edits) for canvas in part.canvases]
