"""Figures of sites against what scikit-learn says of each, and the worst site covered by chance."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from medgraft.errors import LeakError
from medgraft.evaluate.by_site import figures_by_site
from medgraft.evaluate.intervals import delong


def drawn(rng: np.random.Generator, n_sites: int, n: int, shift: float = 1.2) -> tuple:
    """(y, p, site) of sites that are equal in truth."""
    y = np.tile(np.arange(n) % 2, n_sites)
    p = 1 / (1 + np.exp(-(rng.normal(0, 1, len(y)) + shift * y)))
    return y, p, np.repeat([f"s{i}" for i in range(n_sites)], n)


def test_figures_are_those_of_each_site_and_the_worst_stands_first(make) -> None:
    y, p, sites = drawn(np.random.default_rng(0), 4, 80)
    fold = np.unique(sites, return_inverse=True)[1]
    found = figures_by_site(make(y, p, fold=fold), sites, "hospital", "auroc")
    values = {one.site: one.estimate.value for one in found.figures}
    for site in np.unique(sites):
        mine = sites == site
        assert values[site] == pytest.approx(roc_auc_score(y[mine], p[mine]))
    assert list(values.values()) == sorted(values.values())
    first = sites == found.figures[0].site
    level = 1 - 0.05 / 4
    low = delong(y[first] == 1, p[first], level).low
    assert found.figures[0].estimate.low == pytest.approx(low)
    assert found.worst.value == found.figures[0].estimate.value
    assert found.worst.low == min(one.estimate.low for one in found.figures)
    assert found.worst.high == min(one.estimate.high for one in found.figures)


def test_a_site_of_one_class_has_no_figure_and_is_never_the_worst(make) -> None:
    y, p, sites = drawn(np.random.default_rng(1), 2, 40)
    y, p, sites = np.append(y, [1] * 9), np.append(p, [0.1] * 9), np.append(sites, ["z"] * 9)
    found = figures_by_site(make(y, p, fold=(sites == "s1") * 1), sites, "hospital", "auroc")
    assert [one.estimate is None for one in found.figures] == [False, False, True]
    assert found.figures[-1].site == "z"
    assert "worst of 2 sites" in found.worst.method


def test_a_site_of_a_handful_of_images_does_not_count(make) -> None:
    y, p, sites = drawn(np.random.default_rng(3), 2, 60)
    y, p = np.append(y, [1, 1, 0, 0]), np.append(p, [0.1, 0.2, 0.8, 0.9])
    sites = np.append(sites, ["z"] * 4)
    found = figures_by_site(make(y, p, fold=(sites == "s1") * 1), sites, "hospital", "auroc")
    last = found.figures[-1]
    assert (last.site, last.few, last.estimate.value) == ("z", True, 0.0)
    assert found.worst.value == found.figures[0].estimate.value > 0.5
    first = sites == found.figures[0].site  # two sites share the level, not three
    low = delong(y[first] == 1, p[first], 0.975).low
    assert found.figures[0].estimate.low == pytest.approx(low)


def test_a_site_without_a_class_does_not_count_where_classes_are_weighed(make) -> None:
    y, site = np.arange(360) % 3, np.repeat(["s0", "s1", "s2"], 120)
    site = np.where((site == "s2") & (y == 2), "s1", site)
    prob = 0.01 + 0.97 * np.eye(3)[np.where(np.arange(360) % 7 < 6, y, (y + 1) % 3)]
    fold = np.unique(site, return_inverse=True)[1]
    few = {}
    for metric in ("balanced_accuracy", "accuracy"):
        found = figures_by_site(make(y, prob, fold=fold), site, "hospital", metric)
        few[metric] = {one.site: one.few for one in found.figures}
    assert few["balanced_accuracy"] == {"s0": False, "s1": False, "s2": True}
    assert not any(few["accuracy"].values())


def test_of_a_loss_the_highest_is_the_worst(make) -> None:
    y, p, sites = drawn(np.random.default_rng(2), 3, 60)
    fold = np.unique(sites, return_inverse=True)[1]
    found = figures_by_site(make(y, p, fold=fold), sites, "hospital", "brier")
    values = [one.estimate.value for one in found.figures]
    assert values == sorted(values, reverse=True)
    assert found.worst.low == max(one.estimate.low for one in found.figures)


def test_the_worst_of_equal_sites_is_covered(make) -> None:
    """All sites are worth .802 (normal scores 1.2 apart); the smallest figure is far below."""
    truth, covered, below = 0.8019, 0, 0
    for seed in range(60):
        y, p, sites = drawn(np.random.default_rng(100 + seed), 8, 40)
        fold = np.unique(sites, return_inverse=True)[1]
        found = figures_by_site(make(y, p, fold=fold), sites, "hospital", "auroc")
        covered += found.worst.low <= truth <= found.worst.high
        below += found.worst.value < truth
    assert covered >= 55
    assert below >= 57


def test_the_test_split_is_refused(make) -> None:
    with pytest.raises(LeakError):
        figures_by_site(make([0, 1], [0.1, 0.9], split="test"), np.array(["a", "b"]), "h", "auroc")
