"""From the descriptors of a tap to one vector an image.

`pool` is what runs inside the network's graph, so that all poolings of all taps come out of one
forward pass; `encode_stream` does the same outside, over a `DescriptorStream`, for encoders that
must see the descriptors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from medgraft.errors import ScenarioError
from medgraft.types import DescriptorStream, Strings

if TYPE_CHECKING:
    import torch

Pooling = Literal["avg", "max", "gem"]
POOLINGS: tuple[str, ...] = get_args(Pooling)

GEM_POWER = 3.0
GEM_FLOOR = 1e-6


def check_pooling(name: str) -> None:
    """Refuse a pooling that does not exist.

    Raises
    ------
    ScenarioError
        With the list of those that do.
    """
    if name not in POOLINGS:
        raise ScenarioError(f"no pooling {name!r}; there are: {', '.join(POOLINGS)}")


def pool(features: torch.Tensor, pooling: str) -> torch.Tensor:
    """Pool a feature map (batch, channels, rows, columns) to codes (batch, channels).

    `avg` is the mean over positions, `max` the largest value, and `gem` the generalised mean
    ``(mean(max(x, 1e-6) ** 3)) ** (1 / 3)`` of Radenović et al. (2018), between the two.
    """
    check_pooling(pooling)
    if pooling == "max":
        return features.amax(dim=(2, 3))
    if pooling == "gem":
        powered = features.clamp(min=GEM_FLOOR) ** GEM_POWER
        return powered.mean(dim=(2, 3)) ** (1.0 / GEM_POWER)
    return features.mean(dim=(2, 3))


def encode_stream(stream: DescriptorStream, pooling: str) -> tuple[Strings, NDArray[np.float32]]:
    """Pool a stream of descriptors to codes, (n,) ids and (n, channels), a batch at a time.

    Equal to what the graph gives for the same tap and pooling, up to rounding.
    """
    check_pooling(pooling)
    ids: list[Strings] = []
    codes: list[NDArray[np.float32]] = []
    for batch_ids, descriptors in stream():  # (batch, positions, channels)
        ids.append(batch_ids)
        if pooling == "max":
            codes.append(descriptors.max(axis=1))
        elif pooling == "gem":
            powered = np.maximum(descriptors, np.float32(GEM_FLOOR)) ** np.float32(GEM_POWER)
            codes.append(powered.mean(axis=1) ** np.float32(1 / GEM_POWER))
        else:
            codes.append(descriptors.mean(axis=1))
    return np.concatenate(ids), np.concatenate(codes)
