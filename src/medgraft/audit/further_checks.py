"""What an audit tries besides the exchange of regions; none of it can fail a model."""

from __future__ import annotations

from collections.abc import Sequence

from medgraft.audit.context_probes import check_context, check_file_changes
from medgraft.audit.heatmap_clusters import HeatmapCluster, cluster_findings, cluster_heatmaps
from medgraft.audit.heatmaps import read_heatmaps
from medgraft.audit.parts import Part
from medgraft.audit.perturbations import check_perturbations
from medgraft.audit.regions import Layout
from medgraft.audit.saliency import look_at_saliency
from medgraft.types import AuditFinding


def further_checks(
    parts: Sequence[Part], layout: Layout, points: float, seed: int = 0
) -> tuple[tuple[AuditFinding, ...], tuple[HeatmapCluster, ...]]:
    """Marks and changes, places and files alone, heatmaps; and the minority strategies to show.

    points : the share of labels that matters. Passes: 850 for changes, 300 at most for places; for
    heatmaps `heatmaps.IMAGES`, and three times `saliency.SHUFFLED` forward and backward.
    """
    found = [*check_perturbations(parts, points, seed), *check_context(parts, layout, seed)]
    found += check_file_changes(parts, seed)
    heatmaps = read_heatmaps(parts, seed)
    found += look_at_saliency(heatmaps, seed)
    strategies: tuple[HeatmapCluster, ...] = ()
    if heatmaps:
        strategies, looked = cluster_heatmaps(heatmaps, layout, seed)
        found += cluster_findings(strategies, looked)
    return tuple(found), strategies
