"""What a network remembers of the images it was pretrained on: the statistics in its batch norms.

A batch norm keeps the mean and the variance that each channel of its input had over the training
images and their positions (Ioffe and Szegedy 2015). What it is given is read at the convolution
before it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medgraft.errors import BackboneError
from medgraft.features.taps import Tap

if TYPE_CHECKING:
    import torch

BEFORE_NORM = ".before_norm"  # ends the name of a tap: what its last batch norm is given
MOMENTS = "moments"  # stands where a pooling would: mean and mean square over positions


def before_norm(network: Any, tap: Tap) -> tuple[Tap, Any]:
    """The tap of what the last batch norm within `tap` is given, and that norm.

    Raises
    ------
    BackboneError
        No batch norm behind a convolution stands there.
    """
    convolution, found = "", None
    for path, module in network.named_modules():
        kind = type(module).__name__
        if kind.startswith("Conv2d"):
            convolution = path
        inside = path == tap.module or path.startswith(f"{tap.module}.")
        if inside and convolution and kind.startswith("BatchNorm"):
            found = (convolution, module)
    if found is None:
        raise BackboneError(
            f"no batch norm stands within {tap.name} of this network, so that nothing is known of "
            "what it was given in pretraining; name a network with batch norms, as EfficientNet has"
        )
    path, norm = found
    name = f"{tap.name}{BEFORE_NORM}"
    return dataclasses.replace(tap, name=name, module=path, block=None, stage=False), norm


def running_statistics(network: Any, taps: Sequence[Tap]) -> dict[str, NDArray[np.float32]]:
    """By tap (2, channels): mean and variance that its last batch norm was given in pretraining.

    Raises
    ------
    BackboneError
        As `before_norm`.
    """
    found = {}
    for tap in taps:
        _, norm = before_norm(network, tap)
        rows = (norm.running_mean.numpy(), norm.running_var.numpy())
        found[tap.name] = np.stack(rows).astype(np.float32)
    return found


def moments(features: torch.Tensor) -> torch.Tensor:
    """Mean, then mean square, of maps (batch, channels, rows, columns): (batch, 2 channels)."""
    import torch

    return torch.cat([features.mean(dim=(2, 3)), features.square().mean(dim=(2, 3))], dim=1)
