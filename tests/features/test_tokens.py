"""Networks of tokens (DINO's ViT, with and without registers, Swin) and ConvNeXt, against timm."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from medgraft.errors import BackboneError
from medgraft.explain.cam import usable_taps
from medgraft.features.backbones import Backbone, load_backbone
from medgraft.features.engine import OpenVINOEngine, Output, TorchEngine
from medgraft.features.subnetwork import freeze_points, last_map, tail_of
from medgraft.features.taps import read_taps
from medgraft.features.weights import import_timm
from medgraft.scenario import INPUT
from medgraft.types import Canvas, Geometry
from tiny_networks import TINY

VITS = ("tiny_dino", "tiny_dinov2", "test_vit2")


@pytest.fixture(scope="module", params=TINY)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    return load_backbone(request.param, "random")


def images_of(size: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, size, size))).float()


def timms_own(backbone: Backbone, size: int) -> Any:
    """The network as timm makes it for images of `size` px, with the weights of the backbone.

    Of a ViT the one that interpolates its position embeddings in every pass; of a Swin one built
    for that size with the windows that it always has.
    """
    name = backbone.card.name
    settings: dict[str, Any] = {"dynamic_img_size": True} if name in VITS else {}
    if name == "tiny_swin":
        settings = {"img_size": size}
    network: Any = import_timm().create_model(name, num_classes=0, **settings)
    network.load_state_dict(backbone.network.state_dict(), strict=True)
    return network.eval()


@pytest.mark.parametrize("further", [0, 32], ids=["own size", "larger"])
def test_taps_are_timms_intermediates(backbone: Backbone, further: int) -> None:
    """Patches on their grid, the class token alone, registers nowhere, the norm behind it all."""
    size = backbone.card.size + further
    here, images = backbone.at(size), images_of(size)
    network = timms_own(backbone, size)
    blocks = [tap for tap in here.taps if tap.stride and tap.name != "norm"]
    with torch.no_grad():
        found = read_taps(here.network, here.taps, images)
        theirs = network.forward_intermediates(images, intermediates_only=True)
        assert len(theirs) == len(blocks)
        for tap, expected in zip(blocks, theirs, strict=True):
            torch.testing.assert_close(found[tap.name], expected, rtol=1e-4, atol=1e-5)
            extent = backbone.tap_at(tap.name, size).extent
            assert found[tap.name].shape[1:] == (tap.channels, *extent)
        end = network.forward_features(images)
    prefix = getattr(network, "num_prefix_tokens", 0)
    if backbone.name in VITS:
        last = last_map(backbone).name
        assert last == ("blocks.7" if backbone.name == "test_vit2" else "norm")
        side = size // backbone.taps[0].stride
        patches = end[:, prefix:].transpose(1, 2).unflatten(2, (side, side))
        torch.testing.assert_close(found[last], patches, rtol=1e-4, atol=1e-5)
        if "norm.cls" in found:
            torch.testing.assert_close(found["norm.cls"][..., 0, 0], end[:, 0])
    elif backbone.name == "tiny_swin":
        torch.testing.assert_close(found["norm"], end.permute(0, 3, 1, 2), rtol=1e-4, atol=1e-5)


def test_trunk_and_tail_are_the_network_at_any_size(backbone: Backbone) -> None:
    """Cut anywhere, with all tokens handed on: the last map is that of the whole."""
    for size in (backbone.card.size, backbone.card.size + 32):
        here, images = backbone.at(size), images_of(size)
        points, end = freeze_points(here), last_map(here)
        assert points[0] == INPUT
        assert len(points) >= 3
        with torch.no_grad():
            cuts = [here.tap(point).sequence for point in points[1:]]
            maps = read_taps(here.network, [*cuts, end], images)
            for point, cut in zip(points[1:], cuts, strict=True):
                assert maps[cut.name].shape[2:] == here.tap_at(cut.name, size).extent
                tail = tail_of(here, point).eval()
                assert torch.equal(tail(maps[cut.name]), maps[end.name]), point
            assert torch.equal(tail_of(here, INPUT).eval()(images), maps[end.name])


@pytest.mark.parametrize("name", ["tiny_dinov2", pytest.param("tiny_swin", marks=pytest.mark.slow)])
def test_engines_agree_at_a_larger_size(name: str) -> None:
    backbone = load_backbone(name, "random")
    pixels = np.random.default_rng(0).integers(0, 256, (96, 96, 3)).astype(np.uint8)
    canvas = Canvas("one", pixels, Geometry.identity(96, 96))
    outputs = [Output(tap.name, None) for tap in backbone.taps[-3:]]
    outputs += [Output(backbone.taps[0].sequence.name, None), Output("norm", "avg")]
    ((_, fast),) = OpenVINOEngine(backbone, outputs, 96, workers=1).run([canvas])
    ((_, reference),) = TorchEngine(backbone.at(96), outputs, workers=1).run([canvas])
    for a, b in zip(fast, reference, strict=True):
        assert np.abs(a - b).max() / np.abs(b).max() < 1e-4


def test_sizes_that_patches_do_not_fill_are_refused_with_those_that_work(
    backbone: Backbone,
) -> None:
    if not backbone.of_tokens:
        assert backbone.at(96) is backbone
        return
    patch, size = backbone.taps[0].stride, backbone.card.size
    works = rf"patches of {patch} px.*--sizes {size} or {size + patch}"
    with pytest.raises(BackboneError, match=works):
        backbone.check_size(size + 1)
    backbone.check_size(size + patch)
    assert backbone.at(size) is backbone
    assert backbone.at(size + patch) is backbone.at(size + patch)
    assert backbone.at(size + patch).key == backbone.key


def test_a_token_depends_on_what_lies_before_its_block_only() -> None:
    """By torch: nothing of the last block's patches reaches the class token, in norm or not."""
    backbone = load_backbone("tiny_dinov2", "random")
    for head in ("norm.cls", "blocks.3.cls"):
        usable = [tap.name for tap in usable_taps(backbone, head)]
        assert usable == ["blocks.0", "blocks.1", "blocks.2"]
    outputs: dict[str, Any] = {}
    network: Any = copy.deepcopy(backbone.network).requires_grad_(True)
    for k in (2, 3):
        network.blocks[k].register_forward_hook(
            lambda _m, _i, output, k=k: outputs.__setitem__(str(k), output)
        )
    score = network.forward_features(images_of(64))[:, 0].square().sum()
    before, own = torch.autograd.grad(score, [outputs["2"], outputs["3"]])
    assert before[:, 5:].abs().max() > 0
    assert own[:, 5:].abs().max() == 0


def test_another_network_in_its_place_is_used_at_every_size() -> None:
    backbone = load_backbone("tiny_dino", "random")
    _ = backbone.at(96).network
    other: Any = copy.deepcopy(backbone.network)
    torch.nn.init.zeros_(other.norm.weight)
    with torch.no_grad():
        found = read_taps(
            backbone.with_network(other).at(96).network, [backbone.tap("norm")], images_of(96)
        )
    assert found["norm"].abs().max() == 0
