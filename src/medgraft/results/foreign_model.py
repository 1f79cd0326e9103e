"""How a model that is not medgraft's was asked, and what its numbers were taken for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from medgraft.types import ResizeRule

ForeignKind = Literal["onnx", "torch", "callable", "command", "url"]
OutputKind = Literal["probabilities", "logits"]


@dataclass(frozen=True, slots=True)
class ForeignModel:
    """What an audit took a model of anybody's for.

    name : as it was given. network : whose weights a checkpoint holds, else ''. side : of the
    square canvases, in pixels. crop_pct : the middle of the resized image that is kept, as a share
    of its side. normalize : how 8 bits become what the network reads, '' where it gets 8 bits.
    channels : rgb, bgr or grey. classes : in the order of its outputs; classes_given : whether
    somebody said so. columns : numbers that it answers for an image. outputs : what they are;
    outputs_given : whether somebody said so, or their values did, on n_looked images. output : the
    name of the one that is read, '' where there is only one. differs : the largest difference of a
    probability between two passes over n_repeated images. split : whether only the test split of
    the data was audited.
    """

    kind: ForeignKind
    name: str
    network: str
    side: int
    resize: ResizeRule
    crop_pct: float
    normalize: str
    channels: str
    classes: tuple[str, ...]
    classes_given: bool
    columns: int
    outputs: OutputKind
    outputs_given: bool
    output: str
    threshold: float | None
    n_looked: int
    differs: float
    n_repeated: int
    split: bool = False
