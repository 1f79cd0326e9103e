"""The answers to exchanged images, kept, so that the same audit costs nothing a second time."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from medgraft.audit.parts import Part
from medgraft.audit.regions import Region
from medgraft.audit.swap import Swaps, Unit, swap
from medgraft.data.listing import content_hash
from medgraft.features.cache import Cache
from medgraft.types import Progress, digest

AUDIT_CACHE_VERSION = "2"  # raise it when a change of code changes what exchanged images look like


def cached_swap(
    parts: Sequence[Part],
    units: Sequence[Unit],
    regions: Sequence[Region],
    progress: Progress,
    cache: Cache | None,
    models: str,
    shorter: str = "",
) -> Swaps:
    """`swap`, from the cache where it has the answers.

    models : what decides the parts' classifiers; where it is '', nothing is kept.
    """
    if cache is None or not models:
        return swap(parts, units, regions, progress, shorter)
    key = digest(
        AUDIT_CACHE_VERSION,
        models,
        [_identity(part) for part in parts],
        [dataclasses.astuple(unit) for unit in units],
        [(r.name, content_hash(r.base.tobytes()), r.masks, r.move) for r in regions],
        length=32,
    )
    kept = cache.get("answers", key)
    if kept is not None:
        return Swaps(tuple(parts), tuple(units), tuple(regions), kept["prob"])
    swaps = swap(parts, units, regions, progress, shorter)
    cache.put("answers", key, {"prob": swaps.prob})
    return swaps


def _identity(part: Part) -> tuple[object, ...]:
    """What decides a part's answers.

    A classifier is known by what it says of the images as they are: two that differ in a recipe, a
    depth, a weight or a version differ there, whatever of it the caller could name.
    """
    spec, masks = part.fitted.spec, part.masks
    return (
        spec.recipe,
        spec.taps,
        content_hash(part.said.scores.tobytes()),
        content_hash(part.said.y_prob.tobytes()),
        part.table.content_hashes.tolist(),
        part.table.labels.tolist(),
        "" if masks is None else content_hash(masks.tobytes()),
    )
