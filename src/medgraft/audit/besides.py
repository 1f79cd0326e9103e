"""What an audit tries besides the exchange of regions; none of it can fail a model."""

from __future__ import annotations

from collections.abc import Sequence

from medgraft.audit.alone import look_at_files, look_at_places
from medgraft.audit.changes import look_at_changes
from medgraft.audit.heatmaps import read_maps
from medgraft.audit.regions import Layout
from medgraft.audit.saliency import look_at_saliency
from medgraft.audit.strategies import Strategy, find_strategies, say_strategies
from medgraft.audit.swap import Part
from medgraft.types import Finding


def look_besides(
    parts: Sequence[Part], layout: Layout, points: float, seed: int = 0
) -> tuple[tuple[Finding, ...], tuple[Strategy, ...]]:
    """Marks and changes, places and files alone, heatmaps; and the minority strategies to show.

    points : the share of labels that matters. Passes: 850 for changes, 300 at most for places; for
    heatmaps `heatmaps.IMAGES`, and three times `saliency.SHUFFLED` forward and backward.
    """
    found = [*look_at_changes(parts, points, seed), *look_at_places(parts, layout, seed)]
    found += look_at_files(parts, seed)
    mapped = read_maps(parts, seed)
    found += look_at_saliency(mapped, seed)
    strategies: tuple[Strategy, ...] = ()
    if mapped:
        strategies, looked = find_strategies(mapped, layout, seed)
        found += say_strategies(strategies, looked)
    return tuple(found), strategies
