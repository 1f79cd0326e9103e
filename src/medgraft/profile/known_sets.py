"""The public data sets that distances from ImageNet were measured on, from the nearest to it on.

They are numbers in `known_sets.json`, which `experiments/similarity.py` writes.
"""

from __future__ import annotations

import functools
import json
from importlib import resources

from medgraft.results.recommendation import KnownSet


@functools.cache
def known_sets() -> tuple[KnownSet, ...]:
    """All of them, the nearest to ImageNet first."""
    path = resources.files("medgraft.profile") / "known_sets.json"
    rows = json.loads(path.read_text(encoding="utf-8"))
    return tuple(sorted((KnownSet(**row) for row in rows), key=lambda one: one.distance))
