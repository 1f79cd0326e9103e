"""Backbones at other input sizes than their own: which run, what they cost, what they refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from medgraft.errors import BackboneError
from medgraft.features.backbones import Backbone, load_backbone
from medgraft.features.engine import OpenVINOEngine, Output, TorchEngine
from medgraft.features.taps import read_taps
from medgraft.types import Canvas, Geometry


@pytest.fixture(scope="module")
def lite0(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return load_backbone(notes=tmp_path_factory.mktemp("notes"))


def test_sides_and_costs_at_larger_sizes_by_hand(lite0: Backbone) -> None:
    vgg = load_backbone("vgg16", "random")
    for size in (224, 544, 864):
        first, *_ = vgg.taps_at(size)
        assert (first.side, first.cost.multiply_adds) == (size, size * size * 27 * 64)
        assert vgg.cost("block1_conv1", size) == first.cost
        for tap in lite0.taps_at(size):
            assert tap.side == size // tap.stride
    # All of VGG's layers up to the last convolution scale with the pixels of a multiple of 16.
    own, large = (vgg.cost("block5_conv3", size) for size in (224, 544))
    assert large.multiply_adds * 224**2 == own.multiply_adds * 544**2
    assert large.parameters == own.parameters


def test_a_size_changes_cost_and_side_and_nothing_else(lite0: Backbone) -> None:
    large = lite0.taps_at(544)
    assert [tap.name for tap in large] == [tap.name for tap in lite0.taps]
    for a, b in zip(lite0.taps, large, strict=True):
        assert (a.stride, a.block, a.stage, a.channels) == (b.stride, b.block, b.stage, b.channels)
    assert lite0.taps_at(224) == lite0.taps


def test_sizes_are_noted_apart(tmp_path: Path) -> None:
    backbone = load_backbone("vgg16", "random", tmp_path)
    own, large = backbone.taps, backbone.taps_at(544)
    assert own != large
    _ = load_backbone("vgg16", notes=tmp_path).taps  # without the dense layers
    assert len(list(tmp_path.iterdir())) == 3
    again = load_backbone("vgg16", "random", tmp_path)
    assert (again.taps, again.taps_at(544)) == (own, large)


@torch.no_grad()
def test_sides_are_those_of_the_maps(lite0: Backbone) -> None:
    maps = read_taps(lite0.network, lite0.taps, torch.zeros(1, 3, 200, 200))
    for tap in lite0.taps_at(200):
        assert maps[tap.name].shape[1:] == (tap.channels, tap.side, tap.side)


def test_an_image_below_the_stride_is_refused_with_the_smallest_size(lite0: Backbone) -> None:
    with pytest.raises(BackboneError, match=r"blocks\.5 of .* images of 16 px: it needs 32 or mor"):
        lite0.check_size(16)
    lite0.check_size(16, "blocks.4")  # stride 16
    lite0.check_size(32)
    with pytest.raises(BackboneError, match=r"needs 16 or more"):
        lite0.cost("blocks.4", 15)
    with pytest.raises(BackboneError, match=r"images of 0 px: it needs 2 or more"):
        lite0.check_size(0)
    vgg = load_backbone("vgg19", "random")
    for size in (32, 223):
        vgg.check_size(size, "block5_pool")
        with pytest.raises(BackboneError, match=rf"fc7 of vgg19 .* {size} px: it needs 224 or"):
            vgg.check_size(size, "fc7")
    with pytest.raises(BackboneError, match=r"has no tap 'layer9'; it has: stem"):
        lite0.check_size(224, "layer9")


def test_a_fixed_input_is_refused_early() -> None:
    backbone = load_backbone("cait_xxs24_224", "random")
    backbone.check_size(224)
    with pytest.raises(BackboneError, match=r"takes images of 224 px only, not 544; leave --sizes"):
        backbone.check_size(544)
    with pytest.raises(BackboneError, match="224 px only, not 112"):
        backbone.cost(backbone.taps[-1].name, 112)


def test_engines_agree_at_a_larger_size(lite0: Backbone) -> None:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (34, 34, 3)).astype(np.uint8)
    pixels = np.kron(coarse, np.ones((16, 16, 1), np.uint8))
    canvas = Canvas("large", pixels, Geometry.identity(544, 544))
    outputs = [Output("blocks.2", "avg"), Output("blocks.4", None), Output("blocks.4", "gem")]
    ((_, fast),) = OpenVINOEngine(lite0, outputs, 544, workers=2).run([canvas])
    ((_, reference),) = TorchEngine(lite0, outputs, workers=2).run([canvas])
    assert fast[1].shape == (34 * 34, 112)
    for a, b in zip(fast, reference, strict=True):
        assert np.abs(a - b).max() / np.abs(b).max() < 1e-4
