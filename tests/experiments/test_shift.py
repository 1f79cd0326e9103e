"""Planted shifts, views that judge, and held-out kinds: what each leaves alone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from medgraft.types import Canvas, Edit, Geometry, ImageTable, Source
from shift.judging import JUDGING
from shift.kinds import LEAST, _cluster, _sharpest, enough
from shift.planted import PLANTED, Planted
from shift.ranking import _regret, _spearman

SIDE = 96
EDITS = (*PLANTED, *JUDGING)


def canvas(channels: int = 3) -> Canvas:
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, channels), np.uint8)
    pixels = cv2.GaussianBlur(pixels, (0, 0), 2)
    grey = pixels if pixels.ndim == 2 else pixels[..., 0]
    return Canvas("", np.ascontiguousarray(pixels if channels > 1 else grey), geometry())


def geometry() -> Geometry:
    return Geometry.identity(SIDE, SIDE)


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.key)
def test_an_edit_changes_a_copy_and_treats_grey_as_grey(edit: Edit) -> None:
    flat = canvas(1)
    before = flat.pixels.copy()
    changed = edit(flat)
    assert (flat.pixels == before).all()
    assert changed.pixels.shape == before.shape
    assert changed.pixels.dtype == np.uint8
    assert (changed.pixels != before).mean() > 0.05
    three = edit(Canvas("", np.repeat(before[..., None], 3, axis=2), geometry())).pixels
    assert np.ptp(three.astype(int), axis=2).max() == 0
    assert (edit(canvas()).pixels == edit(canvas()).pixels).all()


def test_keys_and_types_are_apart() -> None:
    assert len({edit.key for edit in EDITS}) == len(EDITS)
    curve = Planted("curve")
    assert curve.type == "exposure"
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    toned = curve(Canvas("", ramp, Geometry.identity(16, 16))).pixels.ravel().astype(int)
    assert (np.diff(toned) >= 0).all()
    assert (toned[0], toned[-1]) == (0, 255)


def table(n: int = 120) -> ImageTable:
    ids = np.array([f"i{k}" for k in range(n)])
    return ImageTable(
        ids=ids,
        sources=tuple(Source(id) for id in ids),
        content_hashes=ids,
        labels=np.arange(n) % 2,
        groups=np.array([f"g{k // 4}" for k in range(n)]),  # two images of each class
        splits=np.full(n, "train"),
        masks=np.full(n, ""),
        classes=("a", "b"),
    )


def test_the_sharpest_groups_of_each_class_are_held_out_whole() -> None:
    one = table(800)
    one = one.select(one.labels == (np.arange(800) // 4) % 2)  # groups of one class
    sharpness = np.array([float(g[1:]) for g in one.groups.tolist()])
    held = _sharpest(one, sharpness)
    assert sorted(int(g[1:]) for g in held) == list(range(180, 200))


def test_a_cluster_is_found_whatever_the_class_looks_like() -> None:
    """Every class has its own brightness; forty groups of both are 30 brighter than that."""
    one = table(960)
    one = one.select(one.labels == (np.arange(960) // 4) % 2)
    number = np.array([int(g[1:]) for g in one.groups.tolist()])
    noise = np.random.default_rng(0).normal(0, 1, len(one))
    features = (100 * one.labels + 30 * (number >= 200) + noise)[:, None]
    held = {int(g[1:]) for g in _cluster(one, features).tolist()}
    assert held
    assert held <= set(range(200, 240))


def test_a_kind_needs_groups_of_every_class() -> None:
    one = table(8 * LEAST)
    assert enough(one, np.arange(len(one)))
    assert not enough(one, np.flatnonzero(one.labels == 0))
    assert not enough(one, np.arange(8))


def test_rank_correlation_and_regret_are_those_of_the_columns() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    values, truth = rng.random((30, 4)).round(1), rng.random((30, 4))
    for column, rho in enumerate(_spearman(values, truth)):
        assert rho == pytest.approx(spearmanr(values[:, column], truth[:, column]).statistic)
    lost = _regret(np.array([[0.1, 0.9], [0.2, 0.3]]), np.array([[0.8, 0.7], [0.6, 0.9]]))
    assert lost.tolist() == pytest.approx([0.2, 0.0])
