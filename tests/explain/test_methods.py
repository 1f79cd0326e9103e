"""The formulas by hand, against pytorch-grad-cam and captum, and what a pass leaves behind."""

from __future__ import annotations

import dataclasses
import functools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_cam import hand_made
from torch import nn

from medgraft.data.preprocess import enlarge
from medgraft.errors import ScenarioError
from medgraft.explain import methods
from medgraft.explain.cam import cam_maps, grad_cam, signed_maps, usable_taps
from medgraft.features.backbones import load_backbone
from medgraft.features.feature_plan import FeaturePlan
from medgraft.features.weights import import_timm
from medgraft.learn.frozen import FittedFrozen
from medgraft.types import Canvas, FeatureSpec, Scenario

# Two channels on a grid of 1 x 2 positions, and the gradients there.
FEATURES = torch.tensor([[[[1.0, 3.0]], [[2.0, 0.0]]]])
GRADIENTS = torch.tensor([[[[0.5, -0.1]], [[-1.0, 1.0]]]])


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("gradcam", [0.2 * 1 + 0 * 2, 0.2 * 3]),  # mean gradients .2 and 0
        ("hirescam", [0.5 * 1 - 1 * 2, -0.1 * 3]),
        ("layercam", [0.5 * 1, 0.0]),
        # alpha g: .5 / (2 + 4 * .5) = .125 of channel 0, and 1 / (2 + 2 * 1) = .25 of channel 1.
        ("gradcam++", [0.125 * 1 + 0.25 * 2, 0.125 * 3]),
        # Centred, position 0 is (-1, 1) and 1 is (1, -1): one component of length sqrt 2, and
        # position 1, whose |A| is 3 and not sqrt 5, is the positive one.
        ("eigencam", [-(2**0.5), 2**0.5]),
    ],
)
def test_formulas_by_hand(method: str, expected: list[float]) -> None:
    map = methods.FORMULAS[method](FEATURES, GRADIENTS)
    np.testing.assert_allclose(map[0, 0].numpy(), expected, rtol=1e-5)


def test_score_cam_by_hand() -> None:
    """One channel lights the left pixel, one the right, a third is the same everywhere."""
    image = torch.tensor([2.0, 6.0]).view(1, 1, 1, 2).repeat(1, 3, 1, 1)
    features = torch.tensor([[[[0.0, 5.0]], [[4.0, 0.0]], [[1.0, 1.0]]]])

    def score(images: torch.Tensor) -> torch.Tensor:
        left, right = images[:, 0, 0, 0], images[:, 0, 0, 1]
        return torch.stack([left, right / 2], dim=1)

    # Background 1. Masked by channel 0: (1, 6); by 1: (2, 1); by the constant one: (1, 1).
    weights = np.exp([3.0, 0.5, 0.5]) / np.exp([3.0, 0.5, 0.5]).sum()
    expected = [weights @ [0, 4, 1], weights @ [5, 0, 1]]
    map = methods.score_cam_map(score, image, features, [1], torch.ones(1, 3, 1, 1))
    np.testing.assert_allclose(map[0, 0].numpy(), expected, rtol=1e-5)


def test_eigen_cam_is_the_same_from_either_side(rng: np.random.Generator) -> None:
    """More channels than positions, or fewer: both go by the singular value decomposition."""
    for shape in ((2, 30, 3, 4), (2, 3, 5, 4)):
        features = torch.from_numpy(rng.normal(size=shape))
        found = methods.eigen_cam_map(features, features)
        for one, map in zip(features.numpy(), found.numpy(), strict=True):
            x = one.reshape(shape[1], -1).T
            x = x - x.mean(axis=0)
            expected = (x @ np.linalg.svd(x)[2][0]).reshape(shape[2:])
            sign = np.sign((expected * map).sum())
            np.testing.assert_allclose(map, sign * expected, atol=1e-10)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


# --------------------------------------------------------------------------- oracles


backbone_of = functools.cache(load_backbone)


def probe_of(
    name: str, tap: str, size: int, weights: str = "random", loud: float = 300.0
) -> FittedFrozen:
    """A probe of two classes with a drawn linear head, loud enough for the library's epsilons."""
    backbone = backbone_of(name, weights)
    rng = np.random.default_rng(0)
    channels = backbone.tap(tap).channels
    head = SimpleNamespace(coef_=rng.normal(size=(2, channels)) * loud, intercept_=np.zeros(2))
    fitted = hand_made(head)
    fitted.extractor.adopt(backbone)
    return dataclasses.replace(
        fitted,
        scenario=Scenario.from_key(f"probe/{name}/{tap}/svm"),
        feature_plan=FeaturePlan.one(FeatureSpec(name, backbone.key, size, (tap,), engine="torch")),
    )


class Normalised(nn.Module):
    """A graph that takes normalised images, as the library's users have it."""

    def __init__(self, fitted: FittedFrozen) -> None:
        super().__init__()
        self.graph = fitted.torch_graph()
        card = fitted.extractor.backbone(fitted.spec.backbone).card
        self.mean = torch.tensor(card.mean).view(1, 3, 1, 1) * 255
        self.std = torch.tensor(card.std).view(1, 3, 1, 1) * 255

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert self.graph is not None
        scores: torch.Tensor = self.graph(images * self.std + self.mean)
        return scores


def normalised(graph: Normalised, canvases: list[Canvas]) -> torch.Tensor:
    pixels = np.stack([c.pixels if c.pixels.ndim == 3 else np.dstack([c.pixels] * 3)
                       for c in canvases])  # fmt: skip
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    return ((images - graph.mean) / graph.std).requires_grad_(True)


def unit(map: np.ndarray) -> np.ndarray:
    map = np.maximum(map, 0)
    map = map - map.min()
    return map / (1e-7 + map.max())


def oracle(name: str) -> type:
    import_timm()  # beside a CPU build of torch, torchvision needs it before the library does
    import pytorch_grad_cam

    return getattr(pytorch_grad_cam, name)


LIBRARY = {
    "gradcam": "GradCAM",
    "gradcam++": "GradCAMPlusPlus",
    "hirescam": "HiResCAM",
    "layercam": "LayerCAM",
}


@pytest.mark.parametrize(
    ("name", "tap", "asked"),
    [
        ("tf_efficientnet_lite0", "conv_head", "conv_head"),
        ("vgg11", "block5_conv2", "block3_conv2"),
    ],
)
def test_every_method_equals_the_grad_cam_library(
    name: str, tap: str, asked: str, canvases: list[Canvas]
) -> None:
    """At rectified taps, where all of them are the same formula; Eigen-CAM up to its sign."""
    fitted = probe_of(name, tap, 64, "" if name.startswith("tf_") else "random")
    backbone = fitted.extractor.backbone(name)
    graph = Normalised(fitted)
    some = canvases[:1]
    module = dict(backbone.network.named_modules())[backbone.tap(asked).module]
    names = list(methods.FORMULAS)
    ours = cam_maps(fitted, some, names, [asked], fitted.classes[1])
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection

    targets = [ClassifierOutputTarget(1)] * len(some)
    for method in names:
        if method == "eigencam":
            continue
        with oracle(LIBRARY[method])(graph, [module]) as library:
            theirs = library(normalised(graph, some), targets)
        for one, expected in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(unit(one[method][asked].map), expected, atol=1e-4)
    with oracle("EigenCAM")(graph, [module]) as library:
        library(normalised(graph, some), targets)
        theirs = get_2d_projection(library.activations_and_grads.activations[0].numpy())
    maps, _ = signed_maps(fitted, some, "eigencam", asked, None)
    for map, expected in zip(maps, theirs, strict=True):
        expected = expected * np.sign((expected * map).sum())
        np.testing.assert_allclose(map, expected, atol=1e-4 * np.abs(expected).max())


def test_score_cam_equals_the_grad_cam_library(canvases: list[Canvas]) -> None:
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    fitted = probe_of("vgg11", "block2_conv1", 32, loud=10)  # quiet, or one channel takes it all
    graph, tap = Normalised(fitted), "block1_conv1"
    some = [dataclasses.replace(canvases[1], pixels=canvases[1].pixels[:32, :32])]
    backbone = fitted.extractor.backbone("vgg11")
    module = dict(backbone.network.named_modules())[backbone.tap(tap).module]
    with oracle("ScoreCAM")(graph, [module]) as library:
        (expected,) = library(normalised(graph, some), [ClassifierOutputTarget(1)])
    (ours,) = cam_maps(fitted, some, ["scorecam"], [tap], fitted.classes[1])
    np.testing.assert_allclose(unit(ours["scorecam"][tap].map), expected, atol=1e-4)


def test_grad_cam_equals_captum(canvases: list[Canvas]) -> None:
    captum = pytest.importorskip("captum.attr")
    fitted = probe_of("vgg11", "block5_conv2", 64)
    backbone = fitted.extractor.backbone("vgg11")
    graph = Normalised(fitted)
    module = dict(backbone.network.named_modules())[backbone.tap("block4_conv2").module]
    theirs = captum.LayerGradCam(graph, module).attribute(normalised(graph, canvases[:2]), 1)
    ours, _ = signed_maps(fitted, canvases[:2], "gradcam", "block4_conv2", fitted.classes[1])
    expected = theirs[:, 0].detach().numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-4 * np.abs(expected).max())


# --------------------------------------------------------------------------- the pass


def test_all_methods_and_taps_share_one_pass(
    canvases: list[Canvas], monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = probe_of("vgg11", "block3_conv2", 64)
    backbone = fitted.extractor.backbone("vgg11")
    passes = {"forward": 0, "backward": 0}
    forward, grad = type(backbone.network).forward_features, torch.autograd.grad

    def counted(*args: object, **rest: object) -> object:
        passes["forward"] += 1
        return forward(*args, **rest)

    def graded(*args: object, **rest: object) -> object:
        passes["backward"] += 1
        return grad(*args, **rest)

    monkeypatch.setattr(type(backbone.network), "forward_features", counted)
    monkeypatch.setattr(torch.autograd, "grad", graded)
    taps = ["block1_conv1", "block2_conv1", "block3_conv2"]
    names = list(methods.FORMULAS)
    (found,) = cam_maps(fitted, canvases[:1], names, taps)
    assert passes == {"forward": 1, "backward": 1}
    assert list(found) == names
    assert all(list(maps) == taps for maps in found.values())
    for method in names:
        for tap in taps:
            ((alone,),) = [list(cam_maps(fitted, canvases[:1], [method], [tap])[0].values())]
            np.testing.assert_allclose(found[method][tap].map, alone[tap].map, rtol=1e-4, atol=1e-6)
            assert found[method][tap].method == method
    cam_maps(fitted, canvases[:1], ["eigencam"], taps)
    assert passes["backward"] == 1 + 4 * len(taps)  # Eigen-CAM asks for no gradient


def test_hires_cam_at_the_heads_tap_sums_to_the_score(canvases: list[Canvas]) -> None:
    fitted = probe_of("vgg11", "block5_conv2", 64)
    maps, targets = signed_maps(fitted, canvases, "hirescam", "block5_conv2", None)
    graph = Normalised(fitted)
    scores = graph(normalised(graph, canvases)).detach().numpy()
    rows = [fitted.classes.index(target) for target in targets]
    assert rows == scores.argmax(axis=1).tolist()
    np.testing.assert_allclose(maps.sum(axis=(1, 2)), scores.max(axis=1), rtol=1e-3)


def test_modes_gradients_and_hooks_are_as_before(canvases: list[Canvas]) -> None:
    fitted = probe_of("tf_efficientnet_lite0", "conv_head", 64)
    network = fitted.extractor.backbone("tf_efficientnet_lite0").network
    network.blocks[1].train()  # type: ignore[index, union-attr]
    network.conv_stem.requires_grad_(True)  # type: ignore[union-attr]
    modes = [module.training for module in network.modules()]
    wanted = [parameter.requires_grad for parameter in network.parameters()]
    cam_maps(fitted, canvases[:1], list(methods.FORMULAS), ["blocks.1"])
    with pytest.raises(ScenarioError, match="no class"):
        grad_cam(fitted, canvases[:1], target="blue")
    assert [module.training for module in network.modules()] == modes
    assert [parameter.requires_grad for parameter in network.parameters()] == wanted
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())


def test_a_vit_is_explained_on_its_grid_and_not_behind_its_token(canvases: list[Canvas]) -> None:
    backbone = load_backbone("test_vit", "random")
    size, taps = backbone.card.size, [tap.name for tap in backbone.taps]
    last = [name for name in taps if not name.endswith(".cls")][-1]
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3)).astype(np.uint8)
    canvas = dataclasses.replace(canvases[1], pixels=pixels)
    (found,) = cam_maps(probe_of("test_vit", last, size), [canvas], ["hirescam", "eigencam"])
    assert found["hirescam"][last].map.shape == (size, size)
    token = probe_of("test_vit", f"{last}.cls", size)
    usable = [tap.name for tap in usable_taps(backbone, f"{last}.cls")]
    assert last not in usable
    assert usable
    (found,) = cam_maps(token, [canvas], ["hirescam"], usable[-1:])
    assert found["hirescam"][usable[-1]].map.max() > 0
    with pytest.raises(ScenarioError, match="score does not depend on it"):
        cam_maps(token, [canvas], ["gradcam"], [last])
    with pytest.raises(ScenarioError, match=r"has no extent.*or ask for occlusion"):
        cam_maps(token, [canvas])


def test_a_pool_behind_the_heads_tap_is_refused(canvases: list[Canvas]) -> None:
    """It costs nothing, so that only its place in the network tells that it lies behind."""
    with pytest.raises(ScenarioError, match="lies behind block5_conv2"):
        grad_cam(probe_of("vgg11", "block5_conv2", 64), canvases[:1], ["block5_pool"])


@pytest.mark.parametrize("names", [["gradcan"], []])
def test_unknown_methods_are_named(names: list[str], canvases: list[Canvas]) -> None:
    with pytest.raises(ScenarioError, match=r"no CAM method (gradcan|given); there are: gradcam, "):
        cam_maps(probe_of("vgg11", "block5_conv2", 64), canvases[:1], names)


def test_enlarging_keeps_a_constant_map() -> None:
    np.testing.assert_array_equal(enlarge(np.full((3, 2), 7, np.float32), (9, 11)), 7)
