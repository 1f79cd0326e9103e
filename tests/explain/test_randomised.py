"""The cascade changes what it says and nothing else; a map that ignores weights is found out."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from test_methods import probe_of

from medgraft.errors import DataError
from medgraft.evaluate.intervals import Sampling
from medgraft.explain.randomised import HEAD, cascade, randomisation, rank_correlations
from medgraft.features.taps import read_taps
from medgraft.types import Canvas

FEW = Sampling(resamples=200)
NAME = "tf_efficientnet_lite0"


def test_rank_correlations_equal_scipys() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3, 4, 5)).astype(np.float32).round(1)  # with ties
    expected = [spearmanr(x.ravel(), y.ravel())[0] for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(rank_correlations(a, b), expected)
    flat = np.zeros_like(a)
    assert np.isnan(rank_correlations(a, flat)).all()
    np.testing.assert_allclose(rank_correlations(a, -a), -1)


def test_the_cascade_goes_from_the_head_to_the_input() -> None:
    """What lies before the block named is as it was, bit for bit, and what lies behind is not."""
    fitted = probe_of(NAME, "conv_head", 64, "")
    backbone = fitted.extractor.backbone(NAME)
    before = {key: value.clone() for key, value in backbone.network.state_dict().items()}
    images = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 3, 64, 64))).float()
    taps = [tap for tap in backbone.taps if tap.block or tap.name == "conv_head"]
    with torch.no_grad():
        own = read_taps(backbone.network, taps, images)
        steps = []
        for name, other in cascade(fitted):
            steps.append(name)
            assert np.sort(other.head.coef_).tolist() == np.sort(fitted.head.coef_).tolist()  # type: ignore[union-attr]
            seen = read_taps(other.extractor.backbone(NAME).network, taps, images)
            same = [tap.name for tap in taps if torch.equal(seen[tap.name], own[tap.name])]
            names = [tap.name for tap in taps]
            kept = {HEAD: names, "input": []}.get(
                name, names[: names.index(name) + 1 if name in names else 0]
            )
            assert same == kept
            assert all(torch.isfinite(map).all() for map in seen.values())
    assert steps == [HEAD, "blocks.4", "blocks.2", "blocks.1", "blocks.0", "input"]
    after = backbone.network.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())


def test_a_map_that_does_not_know_the_class_survives_the_head_and_grad_cam_does_not(
    canvases: list[Canvas],
) -> None:
    fitted = probe_of(NAME, "conv_head", 128, "")
    large = np.ones((2, 2, 1), np.uint8)
    colour = [
        dataclasses.replace(canvas, pixels=np.kron(canvas.pixels, large))
        for canvas in canvases
        if canvas.pixels.ndim == 3
    ]
    groups = np.array([canvas.id for canvas in colour])
    _, blind = randomisation(fitted, colour, groups, "eigencam", FEW)
    assert blind[0].down_to == HEAD
    assert blind[0].correlation.value == pytest.approx(1)
    assert blind[-1].correlation.value < 0.9
    chance, seeing = randomisation(fitted, colour, groups, "hirescam", FEW)
    assert seeing[0].correlation.high < 0.9
    assert -1 <= chance.low <= chance.value <= chance.high <= 1
    assert seeing[0].correlation.n + seeing[0].left_out == len(colour)


def test_one_image_has_no_chance_level(canvases: list[Canvas]) -> None:
    with pytest.raises(DataError, match="needs the maps of two images or more"):
        randomisation(probe_of(NAME, "conv_head", 64, ""), canvases[:1], np.array(["a"]))
