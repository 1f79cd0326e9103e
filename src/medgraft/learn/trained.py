"""Networks that were trained: what the families `finetune` and `hybrid` leave, one network each.

The training itself stands in `finetune.py`, the folds in `finetune_cv.py`; those of several folds
together are a `FittedEnsemble`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from medgraft.features.backbones import Backbone
from medgraft.learn.checkpoint import State
from medgraft.learn.estimators import LogisticHead
from medgraft.learn.network import NetworkWithHead
from medgraft.types import digest


@dataclass(frozen=True, eq=False)
class FittedTrained(NetworkWithHead):
    """A network that was trained → the mean of its last map → the linear layer trained with it.

    The network is a backbone of its own (decision 0009), named after its weights.
    """

    head: LogisticHead


def finetuned_backbone(backbone: Backbone, state: Mapping[str, NDArray[Any]]) -> Backbone:
    """The whole network with the layers that were trained in their place."""
    name = digest({k: v.tobytes().hex() for k, v in state.items()}, length=12)

    def whole() -> State:
        import torch

        trained = {
            k.removeprefix("layers.layers."): torch.from_numpy(v)
            for k, v in state.items()
            if k.startswith("layers.")
        }
        return {**backbone.network.state_dict(), **trained}

    card = dataclasses.replace(
        backbone.card, source=f"{backbone.card.source}, fine-tuned", sha256=name, tuned=name
    )
    return Backbone(card, whole, backbone.notes)
