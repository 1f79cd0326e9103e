"""What heatmaps are said to know, and which of them stand apart; planted, so that the truth is."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from medgraft.audit import heatmap_clusters
from medgraft.audit.heatmap_clusters import (
    cluster_findings,
    cluster_heatmaps,
    minorities,
    neighbours,
    spectral_clusters,
    standing_apart,
)
from medgraft.audit.heatmaps import PartHeatmaps, read_heatmaps
from medgraft.audit.parts import Part
from medgraft.audit.regions import Layout
from medgraft.audit.saliency import look_at_saliency, stays
from medgraft.evaluate.calibration import Calibrator
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.features.feature_plan import FeaturePlan
from medgraft.learn.frozen import FittedFrozen
from medgraft.report.text.audit_findings import sentence
from medgraft.types import (
    PLAIN,
    Canvas,
    Estimate,
    Floats,
    Geometry,
    ImageTable,
    Predictions,
    Scenario,
    Source,
)

SIDE = 64


def part_of(n: int, fitted: object = None, masks: Floats | None = None) -> Part:
    """Noise, each image of a patient of its own, all of them called b."""
    rng = np.random.default_rng(1)
    canvases = tuple(
        Canvas(
            f"i{i}",
            rng.integers(0, 255, (SIDE, SIDE)).astype(np.uint8),
            Geometry.identity(SIDE, SIDE),
        )
        for i in range(n)
    )
    ids = np.array([c.id for c in canvases])
    blank = np.full(n, "")
    table = ImageTable(
        ids, (Source(""),) * n, ids, np.arange(n) % 2, ids, blank, blank, ("a", "b"), "b"
    )
    prob = np.tile([0.2, 0.8], (n, 1))
    known = fitted or SimpleNamespace(classes=("a", "b"), operating=None, networks=())
    said = Predictions.of("x", table, prob, prob)
    return Part(known, table, canvases, masks, said)  # type: ignore[arg-type]


def blob(row: float, column: float, size: float) -> Floats:
    """(7, 7) as a network's own map: a bell around a place."""
    rows, columns = np.mgrid[:7, :7]
    bell: Floats = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * size**2))
    return bell


def maps_of(n: int, minority: int, seed: int, kind: str = "middle") -> Floats:
    """(n, 63, 63): noisy maps of the middle, or of any place; the first ones of a corner."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(n):
        row, column = rng.uniform(0, 6, 2) if kind == "anywhere" else rng.normal(3, 0.7, 2)
        cells = blob(row, column, 1.2)
        if kind == "tail":  # a corner that adds a little to many and much to few
            cells = cells + rng.exponential(0.3) * blob(6, 0, 0.8)
        if i < minority:
            cells = blob(*rng.normal((6, 0), 0.4), 0.8) + 0.1 * rng.uniform() * cells
        noisy = cells + np.maximum(rng.normal(0, 0.05, (7, 7)), 0)
        found.append(np.kron(noisy, np.ones((9, 9))))
    return np.pad(np.array(found, np.float32), ((0, 0), (0, 1), (0, 1)), "edge")


# --------------------------------------------------------------------------- strategies


@pytest.mark.parametrize("seed", range(3))
def test_a_planted_minority_is_found_and_its_corner_named(seed: int) -> None:
    heatmaps = [PartHeatmaps(part_of(80), maps_of(80, 14, seed))]
    found, looked = cluster_heatmaps(heatmaps, Layout(), seed)
    assert looked == {"b": 80}
    (one,) = found
    assert 12 <= one.n <= 14
    assert (one.of, one.label) == (80, "b")
    assert one.region == "bottom left corner"
    assert one.share > 0.2 > 0.05 > one.elsewhere
    planted = {f"i{i}" for i in range(14)}
    assert {seen.canvas.id for seen in one.typical} <= planted
    assert not {seen.canvas.id for seen in one.others} & planted
    (finding,) = cluster_findings(found, looked)
    assert (finding.check, finding.severity) == ("minority_strategy", "info")
    assert finding.numbers["region"] == "bottom left corner"
    assert (finding.numbers["images"], finding.numbers["n"]) == (one.n, 80)
    assert sentence(finding)
    assert set(finding.images) <= planted


@pytest.mark.parametrize("kind", ["middle", "anywhere", "tail"])
def test_nothing_is_found_where_all_are_of_one_kind(kind: str) -> None:
    for seed in range(12):
        heatmaps = [PartHeatmaps(part_of(60), maps_of(60, 0, seed, kind))]
        found, looked = cluster_heatmaps(heatmaps, Layout(), seed)
        assert not found
        assert looked == {"b": 60}


def test_what_is_cut_off_by_chance_does_not_count() -> None:
    """On a line, a gap between two draws cuts off a tail; one normal distribution has such gaps."""
    cut_off = 0
    for seed in range(10):
        points = np.random.default_rng(seed).normal(size=(120, 1))
        with threadpool_limits(1):
            tails = list(minorities(points, seed))
        cut_off += any(links <= heatmap_clusters.LINKS for _, _, links in tails)
        assert not standing_apart(points, seed)
    assert cut_off >= 3


def test_many_images_of_one_patient_are_no_strategy() -> None:
    part = part_of(80)
    part.table.groups[:14] = "one patient"
    found, looked = cluster_heatmaps([PartHeatmaps(part, maps_of(80, 14, 0))], Layout())
    assert not found
    assert looked == {"b": 67}


def test_maps_of_nothing_and_small_classes_are_left_out() -> None:
    maps = maps_of(30, 0, 0)
    maps[:11] = 0
    found, looked = cluster_heatmaps([PartHeatmaps(part_of(30), maps)], Layout())
    assert (found, looked) == ((), {})
    (finding,) = cluster_findings(found, looked)
    assert (finding.check, finding.reason) == ("strategies", "too few")
    assert finding.limit == heatmap_clusters.ENOUGH
    assert sentence(finding)


def test_as_many_clusters_as_the_graph_has_parts() -> None:
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(middle, 0.1, (12, 2)) for middle in (0, 5, 9)])
    labels = spectral_clusters(neighbours(points), 0)
    assert [len(set(labels[i : i + 12])) for i in (0, 12, 24)] == [1, 1, 1]
    assert len(set(labels)) == 3
    one = rng.normal(size=(36, 2))
    assert (neighbours(one).sum(axis=1) >= heatmap_clusters.NEIGHBOURS).all()


# --------------------------------------------------------------------------- masks, weights


def squares(n: int) -> Floats:
    """A square at a place of its own in each image."""
    rng = np.random.default_rng(0)
    masks = np.zeros((n, SIDE, SIDE), bool)
    for mask, (row, column) in zip(masks, rng.integers(0, 40, (n, 2)), strict=True):
        mask[row : row + 20, column : column + 20] = True
    return masks


def test_maps_that_know_their_own_masks_and_maps_that_do_not() -> None:
    masks = squares(40)
    part = part_of(40, masks=masks)
    aware = look_at_saliency([PartHeatmaps(part, masks + np.float32(0.1))])[0]
    assert (aware.check, aware.severity) == ("heatmaps_and_masks", "info")
    assert aware.reason == "own patient"
    everyone = np.tile(masks.mean(axis=0), (40, 1, 1)).astype(np.float32)
    blind = look_at_saliency([PartHeatmaps(part, everyone)])[0]
    assert blind.reason == "any patient"
    assert sentence(aware) != sentence(blind)
    assert blind.numbers["low"] < 0 < blind.numbers["high"]  # type: ignore[operator]


def test_masks_of_one_patient_only_are_told_of() -> None:
    masks = squares(30)
    part = part_of(30, masks=masks)
    part.table.groups[:] = "one"
    finding = look_at_saliency([PartHeatmaps(part, masks.astype(np.float32))])[0]
    assert finding.check == "heatmaps_not_measured"
    assert finding.reason == "masks failed"
    assert "two groups or more" in finding.error
    assert finding.error in sentence(finding)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.61, 0.9, True), (0.59, 0.9, None), (0.31, 0.5, None), (0.29, 0.5, False)],
)
def test_maps_stay_if_surely_more_than_half_is_left(
    low: float, high: float, expected: bool | None
) -> None:
    """Chance is .2 (.1 to .3), so that half of what is left lies at .6."""
    chance = Estimate(0.2, 0.1, 0.3, 24, "")
    assert stays(chance, Estimate((low + high) / 2, low, high, 24, "")) is expected


class Linear:
    """A linear head of two classes."""

    intercept_ = np.zeros(2)
    classes_ = np.arange(2)

    def __init__(self, channels: int) -> None:
        weights = np.random.default_rng(0).normal(size=channels)
        self.coef_ = np.stack([-weights, weights])

    def decision_function(self, codes: Floats) -> Floats:
        scores: Floats = codes @ self.coef_.T
        return scores


def probe(cache: Cache, head: object) -> FittedFrozen:
    extractor = Extractor(cache, engine="torch")
    return FittedFrozen(
        scenario=Scenario.from_key("probe/tf_efficientnet_lite0/blocks.1/svm"),
        classes=("a", "b"),
        positive="b",
        operating=None,
        feature_plan=FeaturePlan.one(
            extractor.spec("tf_efficientnet_lite0", ["blocks.1"], size=SIDE)
        ),
        head=head,  # type: ignore[arg-type]
        calibrator=Calibrator(1.0, (0.0, 0.0)),
        extractor=extractor,
        rule=PLAIN,
    )


def test_what_a_real_network_learned_is_in_its_maps(cache: Cache) -> None:
    heatmaps = read_heatmaps([part_of(30, probe(cache, Linear(24)))])
    (one,) = heatmaps
    assert one.maps.shape == (30, SIDE, SIDE)
    assert (one.maps >= 0).all()
    (finding,) = look_at_saliency(heatmaps)
    assert (finding.check, finding.severity) == ("heatmaps_and_weights", "info")
    assert finding.numbers["n"] == 24
    assert -1 <= float(finding.numbers["correlation"]) < 0.9
    shuffled, chance = (finding.estimates[name] for name in ("shuffled", "two_images"))
    expected = {True: "stay", False: "change", None: "partly"}[stays(chance, shuffled)]
    assert finding.reason == expected
    assert sentence(finding)


def test_a_model_without_a_gradient_says_so(cache: Cache) -> None:
    knn = probe(cache, SimpleNamespace())
    heatmaps = read_heatmaps([part_of(30, knn)])
    assert heatmaps == ()
    (finding,) = look_at_saliency(heatmaps)
    assert (finding.check, finding.severity) == ("heatmaps_not_measured", "info")
    assert finding.reason == "no maps"
    assert sentence(finding)
