"""Are some images of a class decided in another way than the rest? Heatmaps that stand apart.

A shortcut that only a few images allow (a mark, a source of their own) moves no figure of the whole
class. Its heatmaps look different, though, and together they form a cluster (SpRAy, Lapuschkin et
al. 2019, "Unmasking Clever Hans predictors and assessing what machines really learn"). Clustering
always finds something, so that most of this file is about when a cluster counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from medgraft.audit.heatmaps import PartHeatmaps, called
from medgraft.audit.regions import Layout, regions_of
from medgraft.results.evidence import MOVED, Mask
from medgraft.types import AuditFinding, Canvas, Floats, Ints

GRID = 8  # cells a side to which a map is brought
NEIGHBOURS = 7  # of an image in the graph
MOST_CLUSTERS = 6
LEAST = 8  # images: a smaller cluster cannot keep all its neighbours to itself
SHARE = 0.05  # of the class, at least
ENOUGH = 20  # images of a class; with fewer nothing is looked for
NULLS = 99  # draws without clusters, of which none may look as clustered
LINKS = 0.02  # of a cluster's links may lead out of it
SHOWN = 3  # images a strip


@dataclass(frozen=True, eq=False)
class Seen:
    """An image, its map (side, side), and the probability of the class it is called."""

    canvas: Canvas
    map: Floats
    probability: float


@dataclass(frozen=True, eq=False)
class HeatmapCluster:
    """A cluster of heatmaps that stands apart from the others of the class that is called.

    n : images in it, out of `of`. region : where it has most more energy, a pixel, than the others,
    at `place` (side, side). share, elsewhere : of its maps' energy and of the others' that lies
    there. links : share of its links that lead out of it. p : of as clear a cluster by chance.
    typical, others : the images nearest to the mean map.
    """

    label: str
    n: int
    of: int
    region: str
    place: Mask
    share: float
    elsewhere: float
    silhouette: float
    links: float
    p: float
    typical: tuple[Seen, ...]
    others: tuple[Seen, ...]


def cluster_heatmaps(
    heatmaps: Sequence[PartHeatmaps], layout: Layout, seed: int = 0
) -> tuple[tuple[HeatmapCluster, ...], dict[str, int]]:
    """The minority strategies of each class that images are called, and how many were looked at.

    One image a group, for images of one patient are alike. Maps of 0 everywhere are left out, and
    classes that fewer than `ENOUGH` images are called.
    """
    found: list[HeatmapCluster] = []
    looked = {}
    by_class = _by_class(heatmaps, seed)
    for row, (label, seen) in enumerate(sorted(by_class.items())):
        if len(seen) < ENOUGH:
            continue
        looked[label] = len(seen)
        points = coarse(np.stack([one.map for one in seen]))
        for cluster, silhouette, links, p in standing_apart(points, seed + row):
            place = _where(seen, cluster, layout)
            inside = _nearest(points, cluster, seen)
            outside = _nearest(points, ~cluster, seen)
            n, of = int(cluster.sum()), len(seen)
            found.append(
                HeatmapCluster(label, n, of, *place, silhouette, links, p, inside, outside)
            )
    return tuple(found), looked


def _by_class(heatmaps: Sequence[PartHeatmaps], seed: int) -> dict[str, list[Seen]]:
    """By the class called, one image of each group that has a map."""
    found: dict[str, list[Seen]] = {}
    taken = set()
    rng = np.random.default_rng(seed)
    for one in heatmaps:
        labels = called(one.part)
        prob = one.part.said.y_prob
        for i in rng.permutation(len(labels)):
            label, group = labels[i], one.part.table.groups[i]
            if group in taken or not one.maps[i].any():
                continue
            taken.add(group)
            sure = float(prob[i, one.part.fitted.classes.index(label)])
            found.setdefault(label, []).append(Seen(one.part.canvases[i], one.maps[i], sure))
    return found


def coarse(maps: NDArray[np.float32]) -> Floats:
    """Maps (n, side, side) brought to (n, GRID²), each of sum 1."""
    cells = [cv2.resize(map, (GRID, GRID), interpolation=cv2.INTER_AREA).ravel() for map in maps]
    values = np.asarray(cells, np.float64)
    brought: Floats = values / values.sum(axis=1, keepdims=True)
    return brought


# --------------------------------------------------------------------------- which count


def standing_apart(
    points: Floats, seed: int
) -> list[tuple[NDArray[np.bool_], float, float, float]]:
    """Clusters of points (n, d) that count, each with its silhouette, links and p.

    A cluster counts if it holds less than half of the points, `LEAST` and `SHARE` at least; if at
    most `LINKS` of the links of its points lead out of it, which parts it from a mere end of
    something continuous, such as a finding that lies now here and now there; and if its silhouette
    (Rousseeuw 1987) is larger than the largest of each of `NULLS` draws from one normal
    distribution of the same mean and covariance, which are clustered in the same way (SigClust, Liu
    et al. 2008): p = (1 + how often it is not) / (1 + NULLS).
    """
    with threadpool_limits(1):  # threads would wait for each other on matrices this small
        found = [one for one in minorities(points, seed) if one[2] <= LINKS]
        rng = np.random.default_rng(seed)
        draws = (_like(points, rng) for _ in range(NULLS if found else 0))
        largest = np.array([_clearest(draw, seed) for draw in draws])
    counted = []
    for cluster, silhouette, links in found:
        p = float((1 + (largest >= silhouette).sum()) / (1 + NULLS))
        counted += [(cluster, silhouette, links, p)] if p <= 1 / (1 + NULLS) else []
    return counted


def minorities(points: Floats, seed: int) -> Iterator[tuple[NDArray[np.bool_], float, float]]:
    """Clusters that are neither too small nor the most, with silhouette and links."""
    from sklearn.metrics import silhouette_samples

    graph = neighbours(points)
    labels = spectral_clusters(graph, seed)
    if labels.max() == 0:
        return
    silhouettes = silhouette_samples(points, labels)
    least = max(LEAST, SHARE * len(points))
    for label in range(labels.max() + 1):
        cluster = labels == label
        if least <= cluster.sum() < len(points) / 2:
            links = float(graph[cluster][:, ~cluster].sum() / graph[cluster].sum())
            yield cluster, float(silhouettes[cluster].mean()), links


def _clearest(points: Floats, seed: int) -> float:
    """The largest silhouette of a minority, -1 where there is none."""
    return max((silhouette for _, silhouette, _ in minorities(points, seed)), default=-1.0)


def neighbours(points: Floats) -> Floats:
    """(n, n): 1 where one of two points is among the `NEIGHBOURS` nearest of the other."""
    from sklearn.neighbors import kneighbors_graph

    nearest = kneighbors_graph(points, NEIGHBOURS).toarray()
    linked: Floats = np.maximum(nearest, nearest.T)
    return linked


def spectral_clusters(graph: Floats, seed: int) -> Ints:
    """The cluster (n,) of each point of a graph (n, n) (Ng, Jordan and Weiss 2002).

    With W the graph, D the diagonal of its sums and λ the eigenvalues of ``1 - D^-½ W D^-½``, there
    are as many clusters k as make ``λ_(k+1) - λ_k`` largest, `MOST_CLUSTERS` at most (von Luxburg
    2007): one, where nothing but the first λ is small.
    """
    from sklearn.cluster import KMeans

    scale = 1 / np.sqrt(graph.sum(axis=1))
    laplacian = np.eye(len(graph)) - scale[:, None] * graph * scale
    values, vectors = np.linalg.eigh(laplacian)
    k = int(np.diff(values[: MOST_CLUSTERS + 1]).argmax()) + 1
    if k == 1:
        return np.zeros(len(graph), np.int64)
    rows = vectors[:, :k]
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    labels: Ints = KMeans(k, n_init=3, random_state=seed).fit_predict(rows).astype(np.int64)
    return labels


def _like(points: Floats, rng: np.random.Generator) -> Floats:
    """As many draws from one normal distribution with the points' mean and covariance."""
    mean = points.mean(axis=0)
    _, sizes, axes = np.linalg.svd(points - mean, full_matrices=False)
    drawn = rng.normal(size=(len(points), len(sizes))) * sizes / np.sqrt(len(points) - 1)
    alike: Floats = mean + drawn @ axes
    return alike


# --------------------------------------------------------------------------- what is found


def _where(
    seen: Sequence[Seen], cluster: NDArray[np.bool_], layout: Layout
) -> tuple[str, Mask, float, float]:
    """The region in which the cluster has most more energy a pixel, and its share and the others'.

    A pixel, for a cell of the map always holds more than the corner in it.
    """
    maps = np.stack([one.map for one in seen]).astype(np.float64)
    maps /= maps.sum(axis=(1, 2), keepdims=True)
    ours, theirs = maps[cluster].mean(axis=0), maps[~cluster].mean(axis=0)
    regions = [
        region
        for region in regions_of(maps.shape[1], layout)
        if MOVED not in region.name and region.role != "evidence"
    ]
    best = max(regions, key=lambda one: float((ours - theirs)[one.base].mean()))
    return best.name, best.base, float(ours[best.base].sum()), float(theirs[best.base].sum())


def _nearest(points: Floats, rows: NDArray[np.bool_], seen: Sequence[Seen]) -> tuple[Seen, ...]:
    """The images of some rows that are nearest to their mean."""
    away = np.linalg.norm(points - points[rows].mean(axis=0), axis=1)
    order = [i for i in np.argsort(away, kind="stable") if rows[i]]
    return tuple(seen[i] for i in order[:SHOWN])


def cluster_findings(found: Sequence[HeatmapCluster], looked: dict[str, int]) -> list[AuditFinding]:
    """A remark for each strategy, or one that says what was looked for."""
    if found:
        return [_finding(one) for one in found]
    if not looked:
        return [AuditFinding("strategies", "info", "too few", limit=ENOUGH)]
    numbers = {"n": sum(looked.values())}
    return [AuditFinding("strategies", "info", "none apart", numbers, counts=looked, limit=LEAST)]


def _finding(one: HeatmapCluster) -> AuditFinding:
    numbers: dict[str, float | int | str] = {
        "region": one.region,
        "class": one.label,
        "images": one.n,
        "n": one.of,
        "share": one.share,
        "share_of_others": one.elsewhere,
        "silhouette": one.silhouette,
        "links": one.links,
        "p": one.p,
    }
    images = tuple(seen.canvas.id for seen in one.typical)
    return AuditFinding("minority_strategy", "info", numbers=numbers, images=images)
