"""VGG's dense layers as convolutions, against torchvision's VGG with real dense layers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from medgraft.errors import BackboneError
from medgraft.explain.attribute import _spread
from medgraft.explain.cam import spread
from medgraft.features import backbones
from medgraft.features.backbones import load_backbone, restore_backbone, save_backbone
from medgraft.features.subnetwork import freeze_points, last_map, tail_of
from medgraft.features.taps import read_taps
from medgraft.features.weights import dense_as_convolutions, import_timm

TOLERANCE = 1e-4  # of the largest activation


def torchvision_vgg(name: str) -> Any:
    """torchvision's VGG of that name with seeded random weights, in eval mode."""
    import_timm()  # torchvision may need help to be imported at all
    from torchvision.models import vgg

    torch.manual_seed(1)
    return getattr(vgg, name)(weights=None).eval()


@torch.no_grad()
def dense_outputs(network: Any, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """fc6 and fc7 behind their ReLU, by the network's own dense layers: (batch, 4096) each."""
    flat = network.avgpool(network.features(images)).flatten(1)
    fc6 = network.classifier[:2](flat)
    return {"fc6": fc6, "fc7": network.classifier[2:5](fc6)}


@torch.no_grad()
def difference(backbone: backbones.Backbone, reference: Any, images: torch.Tensor) -> float:
    """The largest difference of fc6 and fc7 at 224 px, as a share of the largest activation."""
    taps = [backbone.tap("fc6"), backbone.tap("fc7")]
    maps = read_taps(backbone.network, taps, images)
    worst = 0.0
    for name, expected in dense_outputs(reference, images).items():
        assert maps[name].shape == (len(images), 4096, 1, 1)
        assert expected.max() > 0
        worst = max(worst, float((maps[name][..., 0, 0] - expected).abs().max() / expected.max()))
    return worst


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Path]]:
    """VGG-11 with few channels, in torchvision, and the file of its weights."""
    timm = import_timm()
    from torchvision.models import vgg

    widths = [4, "M", 6, "M", 8, "M", 8, "M", 10, "M"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(timm.models.vgg.cfgs, "vgg11", widths)
        patch.setattr(backbones, "_taps", backbones._taps.__wrapped__)
        torch.manual_seed(1)
        network: Any = vgg.VGG(vgg.make_layers(widths), num_classes=2)
        network.classifier[0] = nn.Linear(10 * 7 * 7, 4096)
        path = tmp_path_factory.mktemp("narrow") / "vgg.safetensors"
        save_file(network.state_dict(), path)
        yield network.eval(), path


def test_dense_layers_are_equal_at_their_own_size(narrow: tuple[Any, Path]) -> None:
    reference, path = narrow
    backbone = load_backbone("vgg11", str(path))
    assert difference(backbone, reference, torch.randn(2, 3, 224, 224)) < TOLERANCE


@torch.no_grad()
def test_dense_layers_slide_over_a_larger_map(narrow: tuple[Any, Path]) -> None:
    """Position (r, c) is what the dense layers say of the 7 x 7 window there."""
    reference, path = narrow
    backbone = load_backbone("vgg11", str(path))
    images = torch.randn(1, 3, 544, 544)
    taps = [backbone.tap(name) for name in ("block5_pool", "fc6", "fc7")]
    maps = read_taps(backbone.network, taps, images)
    assert maps["fc6"].shape == maps["fc7"].shape == (1, 4096, 11, 11)
    for r, c in ((0, 0), (3, 8), (10, 10)):
        window = maps["block5_pool"][:, :, r : r + 7, c : c + 7].flatten(1)
        expected = reference.classifier[:5](window)
        error = (maps["fc7"][:, :, r, c] - expected).abs().max() / expected.max()
        assert error < TOLERANCE


def test_weights_with_dense_layers_are_trained_up_to_their_last_convolutions(
    narrow: tuple[Any, Path],
) -> None:
    """A new head takes the place of the dense layers, which timm's pass for features leaves out."""
    _, path = narrow
    backbone = load_backbone("vgg11", str(path))
    assert last_map(backbone).name == "block5_pool"
    points = freeze_points(backbone)
    assert points[0] == "input"
    assert not {"fc6", "fc7"} & set(points)
    images = torch.randn(1, 3, 224, 224)
    assert tail_of(backbone, "input")(images).shape == (1, 10, 7, 7)
    with pytest.raises(BackboneError, match="does not go through its part"):
        tail_of(backbone, "fc6")


def test_maps_of_dense_layers_lie_where_those_have_read() -> None:
    grid = torch.zeros(2, 3, 11, 11)
    grid[0, 0, 2, 8] = 49.0
    placed = spread(grid, "fc6")
    assert placed.shape == (2, 3, 17, 17)
    expected = torch.zeros(17, 17)
    expected[2:9, 8:15] = 1.0  # the 7 x 7 positions of block5_pool that (2, 8) reads
    torch.testing.assert_close(placed[0, 0], expected)
    assert float(placed[1:].abs().max()) == 0
    whole = torch.tensor([[[3.0]]])  # at 224 px there is one position, which saw everything
    torch.testing.assert_close(spread(whole, "fc7"), torch.full((1, 7, 7), 3 / 49))
    assert spread(grid, "block5_pool") is grid
    array = grid.numpy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "torch", None)  # which maps of other taps do without
        assert _spread(array, "block5_pool") is array
    np.testing.assert_array_equal(_spread(array, "fc6"), placed.numpy())


def test_kernels_read_in_another_order_are_told_apart(narrow: tuple[Any, Path]) -> None:
    """The guard of the tests above: Keras flattens (7, 7, channels), Oxford (channels, 7, 7)."""
    reference, path = narrow
    backbone = load_backbone("vgg11", str(path))
    fc1: Any = backbone.network.pre_logits.fc1  # type: ignore[union-attr]
    with torch.no_grad():
        fc1.weight.copy_(fc1.weight.reshape(4096, 7, 7, 10).permute(0, 3, 1, 2).clone())
    assert difference(backbone, reference, torch.randn(1, 3, 224, 224)) > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vgg16", "vgg19"])
def test_full_networks_are_equal_within_a_ten_thousandth(
    name: str, tmp_path: Path, record_property: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = torchvision_vgg(name)
    save_file(reference.state_dict(), tmp_path / "vgg.safetensors")
    backbone = load_backbone(name, str(tmp_path / "vgg.safetensors"))
    worst = difference(backbone, reference, torch.randn(2, 3, 224, 224))
    record_property("largest_difference", worst)
    with capsys.disabled():
        print(f"\n{name}: fc6 and fc7 as convolutions differ by {worst:.1e} of the largest")  # noqa: T201
    assert worst < TOLERANCE


@pytest.mark.parametrize("name", ["vgg16", "vgg19", "vgg16_bn", "vgg19_bn"])
def test_maps_are_those_of_the_paper(name: str) -> None:
    backbone = load_backbone(name, "random")
    for size, side in ((224, 1), (544, 11), (864, 21)):
        taps = {tap.name: tap for tap in backbone.taps_at(size)}
        assert [taps[fc].side for fc in ("fc6", "fc7")] == [side, side]
        before, fc6, fc7 = (taps[tap].cost for tap in ("block5_pool", "fc6", "fc7"))
        assert fc6.multiply_adds - before.multiply_adds == side**2 * 7 * 7 * 512 * 4096
        assert fc7.multiply_adds - fc6.multiply_adds == side**2 * 4096 * 4096
    assert backbone.tap("fc6").stride == backbone.tap("fc7").stride == 32
    assert backbone.block(5).name.startswith("block5_conv")
    # Simonyan & Zisserman (2015), table 2: 138 and 144 million, with the 4,097,000 of the classes.
    if name in {"vgg16", "vgg19"}:
        millions = {"vgg16": 138_357_544, "vgg19": 143_667_240}
        assert backbone.tap("fc7").cost.parameters == millions[name] - 4_097_000


def test_weights_of_the_convolutions_alone_say_so(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"hold only the convolutions.*--weights FILE.*block5"):
        load_backbone("vgg16").tap("fc6")
    assert not load_backbone("vgg16").card.dense
    state = {f"features.{i}.weight": torch.zeros(1) for i in range(3)}
    save_file(state, tmp_path / "convolutions.safetensors")
    with pytest.raises(BackboneError, match=r"no tap 'fc7'.*convolutions\.safetensors"):
        load_backbone("vgg19", str(tmp_path / "convolutions.safetensors")).tap("fc7")
    with pytest.raises(BackboneError, match=r"resnet18 has no tap 'fc6'"):
        load_backbone("resnet18", "random").tap("fc6")


def test_offline_vgg16_makes_no_dense_layers() -> None:
    network = load_backbone("vgg16").network
    assert sum(parameter.numel() for parameter in network.parameters()) == 14_714_688


def test_conversion_views_and_leaves_the_rest_alone() -> None:
    weight = torch.arange(2 * 3 * 49.0).reshape(2, 147)
    state = {
        "features.0.weight": torch.ones(1),
        "classifier.0.weight": weight,
        "classifier.3.weight": torch.ones(2, 2),
        "classifier.3.bias": torch.ones(2),
        "classifier.6.weight": torch.ones(5, 2),
    }
    converted = dense_as_convolutions(state)
    assert {name: tuple(tensor.shape) for name, tensor in converted.items()} == {
        "features.0.weight": (1,),
        "pre_logits.fc1.weight": (2, 3, 7, 7),
        "pre_logits.fc2.weight": (2, 2, 1, 1),
        "pre_logits.fc2.bias": (2,),
    }
    assert converted["pre_logits.fc1.weight"].data_ptr() == weight.data_ptr()  # no second copy
    # channel 2, row 1, column 3 of the pool lies at 2 * 49 + 1 * 7 + 3 of the flattened one
    assert converted["pre_logits.fc1.weight"][1, 2, 1, 3] == weight[1, 2 * 49 + 7 + 3]
    assert len(state) == 5
    assert dense_as_convolutions(converted).keys() == converted.keys()


def test_a_bundle_keeps_the_dense_layers(narrow: tuple[Any, Path], tmp_path: Path) -> None:
    backbone = load_backbone("vgg11", str(narrow[1]))
    save_backbone(backbone, tmp_path / "saved.safetensors")
    again = restore_backbone(backbone.card, tmp_path / "saved.safetensors")
    images = torch.randn(1, 3, 224, 224)
    codes = [read_taps(b.network, [b.tap("fc7")], images)["fc7"] for b in (backbone, again)]
    torch.testing.assert_close(codes[0], codes[1], rtol=0, atol=0)


def test_an_image_too_small_is_refused_and_not_enlarged_on_the_way(
    narrow: tuple[Any, Path],
) -> None:
    backbone = load_backbone("vgg11", str(narrow[1]))
    with pytest.raises(BackboneError, match=r"fc6 has no map for images of 192 × 192 px.*224"):
        read_taps(backbone.network, [backbone.tap("fc6")], torch.zeros(1, 3, 192, 192))
    with pytest.raises(BackboneError, match=r"fc6 of vgg11 has no map .* 192 px: it needs 224 or"):
        backbone.check_size(192, "block5_pool", "fc6")
    backbone.check_size(192, "block5_pool")
