from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from medgraft.errors import BackboneError
from medgraft.features.backbones import Backbone, load_backbone
from medgraft.features.subnetwork import _between, freeze_points, last_map, tail_of
from medgraft.features.taps import read_taps
from medgraft.scenario import INPUT


@pytest.fixture(scope="module", params=["tf_efficientnet_lite0", "resnet10t"])
def backbone(request: pytest.FixtureRequest) -> Backbone:
    """A network of blocks one behind the other, and one with paths side by side."""
    weights = "" if request.param == "tf_efficientnet_lite0" else "random"
    return load_backbone(request.param, weights)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 64, 64))).float()


def test_trunk_and_tail_are_the_network(backbone: Backbone, images: torch.Tensor) -> None:
    """Cut anywhere, the last map is that of the whole, bit for bit."""
    end = last_map(backbone)
    points = freeze_points(backbone)
    assert points[0] == INPUT
    with torch.no_grad():
        names = [backbone.tap(name) for name in points[1:]]
        maps = read_taps(backbone.network, [*names, end], images)
        whole = maps[end.name]
        for point in points:
            tail = tail_of(backbone, point).eval()
            entering = images if point == INPUT else maps[point]
            assert torch.equal(tail(entering), whole), point


def test_a_tail_is_a_trainable_copy_under_the_networks_names(backbone: Backbone) -> None:
    point = freeze_points(backbone)[-1]
    tail = tail_of(backbone, point)
    known = backbone.network.state_dict()
    state = {name.removeprefix("layers."): v for name, v in tail.state_dict().items()}
    assert state
    for name, value in state.items():
        assert torch.equal(value, known[name])
        assert value.data_ptr() != known[name].data_ptr()
    assert all(p.requires_grad for p in tail.parameters())
    assert not any(p.requires_grad for p in backbone.network.parameters())
    assert sum(p.numel() for p in tail.parameters()) < sum(
        p.numel() for p in tail_of(backbone, INPUT).parameters()
    )


def test_freeze_points_of_lite0_are_its_stages() -> None:
    assert freeze_points(load_backbone()) == (INPUT, *(f"blocks.{i}" for i in range(7)))


def test_batch_norm_of_a_tail_learns_only_in_training(images: torch.Tensor) -> None:
    tail: Any = tail_of(load_backbone(), "blocks.5")
    maps = torch.rand(4, 192, 2, 2)
    before = {k: v.clone() for k, v in tail.state_dict().items() if "running" in k}
    assert before
    tail.eval()(maps)
    assert all(torch.equal(tail.state_dict()[k], v) for k, v in before.items())
    tail.train()(maps)
    assert not any(torch.equal(tail.state_dict()[k], v) for k, v in before.items())


def test_a_network_of_tokens_is_cut_at_quarters_and_not_at_one_token() -> None:
    vit = load_backbone("vit_tiny_patch16_224", "random")
    assert freeze_points(vit) == (INPUT, "blocks.2", "blocks.5", "blocks.8")
    with pytest.raises(BackboneError, match=r"one token of many; train it from blocks\.5"):
        tail_of(vit, "blocks.5.cls")
    with pytest.raises(BackboneError, match=r"has no tap 'blocks\.77'"):
        tail_of(vit, "blocks.77")


class Passing(nn.Module):
    """A layer that reads the image past the one before it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.second(self.first(x) + x)
        return out


class Wilful(nn.Module):
    """Its way depends on the numbers, which no trace can follow."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


def test_what_cannot_be_cut_is_refused_with_a_remedy() -> None:
    with pytest.raises(BackboneError, match="later layers read earlier ones past it; choose the"):
        _between(Passing(), "first", "second", "passing")
    with pytest.raises(BackboneError, match="wilful cannot be traced"):
        _between(Wilful(), "", "", "wilful")
