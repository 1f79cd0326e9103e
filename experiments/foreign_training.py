"""Networks as somebody else trains them: a ResNet-18 in plain torch, nothing of medgraft."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

Images = NDArray[np.uint8]
WIDTHS = (16, 32, 64, 128)  # a quarter of ResNet-18's, since the images are small
EPOCHS, BATCH, RATE = 8, 32, 2e-3
NORMALIZE = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "0..1": ((0.0,) * 3, (1.0,) * 3),
    "-1..1": ((0.5,) * 3, (0.5,) * 3),
}


class Block(nn.Module):
    """A basic block of He et al. 2016: two convolutions beside a shortcut."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = (
            nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))
            if stride > 1 or before != width
            else nn.Identity()
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return torch.relu(y + self.downsample(x))


class ResNet18(nn.Module):
    """Two blocks at each of four widths, as ResNet-18 has them, and a quarter of its channels."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        blocks, before = [], WIDTHS[0]
        for place, width in enumerate(WIDTHS):
            blocks += [Block(before, width, 1 + (place > 0)), Block(width, width, 1)]
            before = width
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(before, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(self.maxpool(self.bn1(self.conv1(x)).relu()))
        answer: torch.Tensor = self.fc(x.mean((2, 3)))
        return answer


def two_outputs() -> ResNet18:
    """With a logit for each of two classes."""
    return ResNet18(2)


def one_output() -> ResNet18:
    """With one logit, of the second class."""
    return ResNet18(1)


def tensor_of(images: Images, normalize: str) -> torch.Tensor:
    """(n, height, width, 3) uint8 to what the network reads."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in NORMALIZE[normalize])
    return (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - mean) / std


def trained(
    images: Images, labels: NDArray[np.int64], outputs: int, normalize: str, seed: int
) -> ResNet18:
    """A network that learned from (n, height, width, 3) images and labels of 0 and 1."""
    torch.manual_seed(seed)
    network, rng = ResNet18(outputs).train(), np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=0.01)
    steps = EPOCHS * -(-len(labels) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    for _ in range(EPOCHS):
        order = rng.permutation(len(labels))
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            x = tensor_of(images[rows], normalize)
            loss = _loss(network(x), torch.from_numpy(labels[rows]))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    return network.eval()


def _loss(answer: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    if answer.shape[1] == 1:
        return nn.functional.binary_cross_entropy_with_logits(answer[:, 0], labels.float())
    return nn.functional.cross_entropy(answer, labels)


class Answering(nn.Module):
    """A network with the end that its maker gave it: a softmax, a sigmoid, other columns first."""

    def __init__(self, network: nn.Module, *, end: str, swapped: bool) -> None:
        super().__init__()
        self.network, self.end, self.swapped = network, end, swapped

    def forward(self, x: torch.Tensor) -> Any:
        answer = self.network(x)
        if self.end == "softmax":
            answer = answer.softmax(1)
        if self.end == "sigmoid":
            answer = answer.sigmoid()
        return answer.flip(1) if self.swapped else answer
