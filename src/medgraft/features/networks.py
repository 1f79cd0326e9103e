"""The hybrid network: VGG's first three blocks, then two of depthwise-separable convolutions.

What a photograph taught the first blocks (edges, textures) serves other images too; what the last
ones hold is mostly ImageNet's objects. So the last two are replaced by blocks of the same depth and
width that cost about a ninth, and these are trained on the images at hand. A classifier's head
is put behind it where it is trained, as with every backbone.

This file imports torch, so it is imported where a network is built and not before.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from medgraft.errors import BackboneError

WIDTHS = (64, 128, 256, 512, 512)  # channels of VGG's blocks (Simonyan & Zisserman 2015, table 1)
DEPTHS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}  # their convolutions: columns D, E
KEPT = 3  # blocks that stay as they are
SEED = 0  # of the weights that are not pretrained


class Separable(nn.Sequential):
    """A depthwise-separable convolution (Chollet 2017): 3 × 3 each channel, 1 × 1 across them.

    As in Xception nothing stands between the two, and batch norm and ReLU follow. Its c_in and
    c_out channels take 9 c_in + c_in c_out weights instead of 9 c_in c_out.
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(c_in, c_in, 3, padding=1, groups=c_in, bias=False)
        self.pointwise = nn.Conv2d(c_in, c_out, 1, bias=False)
        self.norm = nn.BatchNorm2d(c_out)
        self.relu = nn.ReLU(inplace=True)
        # Kaiming (He et al. 2015): the mean square of what comes in is that of what goes out.
        nn.init.kaiming_normal_(self.depthwise.weight, nonlinearity="linear")
        nn.init.kaiming_normal_(self.pointwise.weight, nonlinearity="relu")


class HybridVGG(nn.Module):
    """Images (batch, 3, height, width), normalised, to maps (batch, 512, height/32, width/32).

    The layers stand one behind another in `features`, those of the first three blocks at the places
    that they have in VGG. Xception's residual connections are left out: they are what makes its 36
    convolutions trainable, here at most eight are new, each normalised; and without them the
    network can be read, and cut into a frozen and a trained part, behind any layer.
    """

    def __init__(self, vgg: str) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for block, (width, depth) in enumerate(zip(WIDTHS, DEPTHS[vgg], strict=True), start=1):
            for _ in range(depth):
                if block <= KEPT:
                    layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
                else:
                    layers += [Separable(channels, width)]
                channels = width
            layers += [nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers)

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        maps: torch.Tensor = self.features(images)
        return maps

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.forward_features(images)


def with_first_blocks(
    vgg: str, state: Mapping[str, torch.Tensor], source: str
) -> dict[str, torch.Tensor]:
    """The hybrid's weights: the first three blocks from a VGG's, the others from the fixed seed.

    state : of that VGG, with timm's names; of its `features` only the first blocks are read.
    source : where it comes from, for the error's text.

    Raises
    ------
    BackboneError
        The weights are not those of that VGG.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        found = HybridVGG(vgg).state_dict()
    end = sum(DEPTHS[vgg][:KEPT]) * 2 + KEPT  # a ReLU a convolution, a pool a block
    first = {name for name in found if int(name.split(".")[1]) < end}
    given = {name for name in state if name.startswith("features.") and _place(name) < end}
    trained = any(".depthwise." in name for name in state)  # a hybrid, whose rest would be lost
    if given != first or trained or any(state[n].shape != found[n].shape for n in first):
        raise BackboneError(
            f"{source} holds no {vgg}, of which hybrid_{vgg} takes the first {KEPT} blocks; give "
            f"a state dict of {vgg} with timm's or torchvision's names"
        )
    return {**found, **{name: state[name] for name in first}}


def _place(name: str) -> int:
    """The index of a layer in `features`; beyond all where it has none."""
    index = name.split(".")[1]
    return int(index) if index.isdigit() else 10**6
