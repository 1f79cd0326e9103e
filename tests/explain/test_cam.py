from __future__ import annotations

import dataclasses
import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from medgraft.errors import ScenarioError
from medgraft.evaluate.calibration import Calibrator
from medgraft.explain import cam
from medgraft.explain.cam import block_taps, cam_maps, grad_cam
from medgraft.explain.methods import METHODS
from medgraft.features.backbones import Backbone, load_backbone
from medgraft.features.extract import Extractor
from medgraft.features.feature_plan import FeaturePlan
from medgraft.features.taps import Tap
from medgraft.features.weights import import_timm
from medgraft.learn.frozen import FittedFrozen
from medgraft.types import PLAIN, Canvas, Card, Cost, FeatureSpec, Geometry, Scenario


class HandMade(nn.Module):
    """Channel 0 of the tap is red, channel 1 is green; 2 x 2 pixels make one position."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.AvgPool2d(2)
        self.second = nn.Conv2d(3, 2, 1, bias=False)
        with torch.no_grad():
            self.second.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]).view(2, 3, 1, 1))

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(images))


def hand_made(head: object) -> FittedFrozen:
    card = Card("hand", "made", "none", "none", "0", 4, (0.0, 0.0, 0.0), (1 / 255,) * 3)
    backbone = Backbone(card, lambda: None)
    backbone.__dict__["network"] = HandMade().requires_grad_(False)
    backbone.__dict__["taps"] = (
        Tap("first", "first", "NCHW", 3, 2, Cost(1, 0)),
        Tap("second", "second", "NCHW", 2, 2, Cost(2, 0), block=1),
    )
    extractor = Extractor()
    extractor.adopt(backbone)
    return FittedFrozen(
        scenario=Scenario.from_key("probe/hand/second/svm"),
        classes=("green", "red"),
        positive="red",
        operating=None,
        feature_plan=FeaturePlan.one(FeatureSpec("hand", "0", 4, ("second",))),
        head=head,  # type: ignore[arg-type]
        calibrator=Calibrator(1.0, (0.0, 0.0)),
        extractor=extractor,
        rule=PLAIN,
    )


LINEAR = SimpleNamespace(
    coef_=np.array([[-0.5, 1.0], [0.5, -1.0]]), intercept_=np.array([0.25, -0.25])
)


@pytest.fixture
def canvas() -> Canvas:
    """Upper left red 200, lower right green 100, the rest black."""
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[:2, :2, 0] = 200
    pixels[2:, 2:, 1] = 100
    return Canvas("hand", pixels, Geometry.identity(4, 4))


def test_scores_of_the_graph_by_hand(canvas: Canvas) -> None:
    graph = hand_made(LINEAR).torch_graph()
    assert graph is not None
    images = torch.from_numpy(canvas.pixels).permute(2, 0, 1)[None].float()
    # Code: mean over four positions: red 200 / 4 = 50, green 100 / 4 = 25 (std 1/255, unit 0..255).
    expected = [-0.5 * 50 + 25 + 0.25, 0.5 * 50 - 25 - 0.25]
    np.testing.assert_allclose(graph(images)[0].numpy(), expected, rtol=1e-6)


def test_grad_cam_by_hand(canvas: Canvas) -> None:
    ((maps),) = grad_cam(hand_made(LINEAR), [canvas], ["second"], "red")
    # ds/dA = weight / 4 positions; map = max(0, .5/4 * red - 1/4 * green) at each position.
    small = np.array([[0.125 * 200, 0], [0, 0]], np.float32)
    import cv2

    expected = cv2.resize(small, (4, 4), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(maps["second"].map, expected, rtol=1e-6)
    assert (maps["second"].target, maps["second"].tap) == ("red", "second")


def test_the_other_class_has_the_other_place(canvas: Canvas) -> None:
    (maps,) = grad_cam(hand_made(LINEAR), [canvas], ["second"], "green")
    assert np.unravel_index(maps["second"].map.argmax(), (4, 4)) == (3, 3)
    assert maps["second"].map[0, 0] == 0


def test_no_target_means_the_class_with_the_highest_score(canvas: Canvas) -> None:
    (maps,) = grad_cam(hand_made(LINEAR), [canvas])
    assert maps["second"].target == "green"  # scores are .25 and -.25 by the hand above


def test_elsewhere_than_on_the_cpu_a_copy_computes_the_same(canvas: Canvas) -> None:
    """`cpu:0` is a device of another name, whose numbers can be held to those of `cpu`."""
    fitted = hand_made(LINEAR)
    asked = ([canvas] * 3, METHODS, ["first", "second"], "red")
    for a, b in zip(cam_maps(fitted, *asked), cam_maps(fitted, *asked, "cpu:0"), strict=True):
        for method, tap in itertools.product(METHODS, ("first", "second")):
            np.testing.assert_array_equal(a[method][tap].map, b[method][tap].map)


def test_everything_computes_where_the_network_lies(
    canvas: Canvas, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The meta device stands for a GPU: it refuses what lies elsewhere, and has no numbers."""
    places: list[str] = []

    def cpu(tensor: torch.Tensor) -> torch.Tensor:
        places.append(tensor.device.type)
        return torch.ones(tensor.shape)

    monkeypatch.setattr(torch.Tensor, "cpu", cpu)
    methods = [method for method in METHODS if method != "scorecam"]  # it looks at numbers
    monkeypatch.setattr(cam, "torch_device", lambda: "meta")
    fitted = hand_made(LINEAR)
    (found,) = cam_maps(fitted, [canvas], methods, ["first", "second"])
    assert set(places) == {"meta"}
    assert fitted.backbone.network.second.weight.device.type == "cpu"
    for method, tap in itertools.product(methods, ("first", "second")):
        np.testing.assert_array_equal(found[method][tap].map, np.ones((4, 4)))


def test_the_network_comes_back_as_it_was(canvas: Canvas) -> None:
    fitted = hand_made(LINEAR)
    network = fitted.extractor.backbone("hand").network
    grad_cam(fitted, [canvas], ["first", "second"])
    assert not any(module._forward_hooks for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    with pytest.raises(ScenarioError):
        grad_cam(fitted, [canvas], target="blue")
    assert not any(module._forward_hooks for module in network.modules())


def test_errors_say_what_can_be_done(canvas: Canvas) -> None:
    with pytest.raises(ScenarioError, match=r"no gradient.*linear \(svm"):
        grad_cam(hand_made(SimpleNamespace()), [canvas])
    first = FeaturePlan.one(FeatureSpec("hand", "0", 4, ("first",)))
    shallow = dataclasses.replace(hand_made(LINEAR), feature_plan=first)
    shallow_head = SimpleNamespace(coef_=np.zeros((2, 3)), intercept_=np.zeros(2))
    with pytest.raises(ScenarioError, match=r"lies behind first.*choose among: first$"):
        grad_cam(dataclasses.replace(shallow, head=shallow_head), [canvas], ["second"])  # type: ignore[arg-type]
    with pytest.raises(ScenarioError, match=r"no class 'blue'; there are: green, red"):
        grad_cam(hand_made(LINEAR), [canvas], target="blue")


@pytest.fixture(scope="module")
def real() -> FittedFrozen:
    rng = np.random.default_rng(0)
    head = SimpleNamespace(coef_=rng.normal(size=(2, 1280)), intercept_=np.zeros(2))
    fitted = hand_made(head)
    fitted.extractor.adopt(load_backbone())
    return dataclasses.replace(
        fitted,
        scenario=Scenario.from_key("probe/tf_efficientnet_lite0/conv_head/svm"),
        feature_plan=FeaturePlan.one(FeatureSpec("tf_efficientnet_lite0", "x", 64, ("conv_head",))),
    )


def test_maps_equal_those_of_the_grad_cam_library(
    real: FittedFrozen, canvases: list[Canvas]
) -> None:
    """Against pytorch-grad-cam, called on the same graph for the same class."""
    import_timm()  # beside a CPU build of torch, torchvision needs it before the library does
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    network = real.extractor.backbone("tf_efficientnet_lite0").network
    graph = real.torch_graph()
    colour = [canvas for canvas in canvases if canvas.pixels.ndim == 3][:3]
    images = torch.from_numpy(np.stack([c.pixels for c in colour])).permute(0, 3, 1, 2).float()
    images.requires_grad_(True)  # the network's parameters are frozen; the library needs a path
    for tap, module in (("conv_head", network.bn2), ("blocks.2", network.blocks[2])):  # type: ignore[index]
        ours = grad_cam(real, colour, [tap], real.classes[1])
        with GradCAM(model=graph, target_layers=[module]) as library:  # type: ignore[list-item]
            theirs = library(images, [ClassifierOutputTarget(1)] * len(colour))
        for one, expected in zip(ours, theirs, strict=True):
            map = one[tap].map
            unit = (map - map.min()) / (1e-7 + (map - map.min()).max())
            np.testing.assert_allclose(unit, expected, atol=1e-4)


def test_a_batch_equals_its_items_and_all_taps_one_by_one(
    real: FittedFrozen, canvases: list[Canvas]
) -> None:
    taps = list(block_taps(real).values())
    assert taps == ["blocks.0", "blocks.1", "blocks.2", "blocks.4", "conv_head"]
    together = grad_cam(real, canvases, taps)
    for canvas, maps in zip(canvases[:3], together, strict=False):
        for tap in taps:
            (alone,) = grad_cam(real, [canvas], [tap])
            scale = max(1e-9, float(alone[tap].map.max()))
            np.testing.assert_allclose(maps[tap].map / scale, alone[tap].map / scale, atol=1e-4)
