"""A whole classifier as one torch module: from the pixels of a canvas to calibrated probabilities.

Inside are what makes smaller canvases of the largest, normalisation, every network, pooling or
encoder, head, the mean over networks and members, and the calibrators. What stands before it is to
decode an image and bring it to the canvas.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import nn

from medgraft.data.preprocess import area_weights
from medgraft.errors import ExportError
from medgraft.evaluate.calibration import Calibrator
from medgraft.export.encoder_graphs import constant, encoder_graph, head_graph
from medgraft.features.backbones import Backbone
from medgraft.features.engine import Output, tap_network
from medgraft.features.extract import GRID, pixels
from medgraft.learn.ensemble import FittedEnsemble
from medgraft.learn.frozen import FittedFrozen
from medgraft.learn.network import NetworkWithHead
from medgraft.learn.stacking import LEAST, Stack
from medgraft.types import FeatureSpec, FittedScenario

CAN = (
    "an export can be of probes, several input sizes, encoders (vlad, fisher, bilinear, pyramid), "
    "trained networks and their means, and ensembles of these, with a head svm, logistic, lda, "
    "ordinal or rbf"
)

Blocks = Mapping[tuple[FeatureSpec, str], torch.Tensor]


def classifier_graph(fitted: FittedScenario) -> nn.Module:
    """The module: canvases (n, size, size, 3) uint8 RGB to probabilities (n, n_classes) float32.

    Raises
    ------
    ExportError
        It has no graph: kNN, contrast or views made after decoding, or a classifier that has no
        network; the text says what can be exported.
    """
    if not isinstance(fitted, NetworkWithHead | FittedEnsemble):
        raise ExportError(
            f"{fitted.scenario.key} is not made of networks and heads, and has no graph; {CAN}"
        )
    return _Classifier(fitted).eval().requires_grad_(False)


class _Classifier(nn.Module):
    def __init__(self, fitted: NetworkWithHead | FittedEnsemble) -> None:
        super().__init__()
        self.passes = nn.ModuleList(
            _Pass(recipe, group, backbone, fitted.spec)
            for recipe, (group, backbone) in _recipes(fitted).items()
        )
        self.scores = _scorer(fitted)
        self.probabilities = _Calibrated(fitted.calibrator)

    def forward(self, canvas: torch.Tensor) -> torch.Tensor:
        images = canvas.permute(0, 3, 1, 2).float()
        blocks: dict[tuple[FeatureSpec, str], torch.Tensor] = {}
        for one in self.passes:
            blocks |= one(images)
        found: torch.Tensor = self.probabilities(self.scores(blocks))
        return found


# --------------------------------------------------------------------------- canvas to codes


def _recipes(
    fitted: NetworkWithHead | FittedEnsemble,
) -> dict[FeatureSpec, tuple[list[FeatureSpec], Backbone]]:
    """What differs in taps alone comes out of one forward pass, as in use."""
    found: dict[FeatureSpec, tuple[list[FeatureSpec], Backbone]] = {}
    for member in _networks(fitted):
        for spec in member.inputs:
            recipe = dataclasses.replace(spec, taps=(), poolings=())
            backbone = member.extractor.backbone(spec.backbone)
            group = found.setdefault(recipe, ([], backbone))[0]
            if spec not in group:
                group.append(spec)
    return found


def _networks(fitted: NetworkWithHead | FittedEnsemble) -> Iterator[NetworkWithHead]:
    if isinstance(fitted, NetworkWithHead):
        yield fitted
        return
    for member in fitted.members:
        yield from _networks(member)


class _Pass(nn.Module):
    """One network at one input size: every block that anybody reads of it."""

    def __init__(
        self,
        recipe: FeatureSpec,
        group: Sequence[FeatureSpec],
        backbone: Backbone,
        canvas: FeatureSpec,
    ) -> None:
        super().__init__()
        self.resize = None
        if pixels(recipe) != pixels(canvas):
            if recipe.edits:
                names = ", ".join(edit.key for edit in recipe.edits)
                raise ExportError(
                    f"this model looks at images changed after they were decoded ({names}), which "
                    f"no graph does; {CAN}, of images as they are or all with one and the same "
                    "contrast; or take it along as it is (medgraft bundle)"
                )
            self.resize = _Shrink(canvas.size, recipe.size)
        self.group = list(group)
        self.blocks = list(dict.fromkeys(block for spec in group for block in spec.blocks))
        outputs = [_output(block) for block in self.blocks]
        self.network = tap_network(backbone.at(recipe.size), outputs)

    def forward(self, images: torch.Tensor) -> dict[tuple[FeatureSpec, str], torch.Tensor]:
        seen = images if self.resize is None else self.resize(images)
        values = dict(zip(self.blocks, self.network(seen), strict=True))
        return {(spec, block): values[block] for spec in self.group for block in spec.blocks}


def _output(block: str) -> Output:
    tap, pooling = block.rsplit("@", 1)
    return Output(tap, None if pooling == GRID else pooling)


class _Shrink(nn.Module):
    """What `data.preprocess.derive` makes of a canvas: means over areas, in whole grey levels.

    OpenCV rounds half a level up where it halves a canvas, and to the even level elsewhere.
    """

    def __init__(self, side: int, to: int) -> None:
        super().__init__()
        self.areas = constant(area_weights(side, to))
        self.halves = side == 2 * to

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        means = self.areas @ images @ self.areas.T
        return torch.floor(means + 0.5) if self.halves else torch.round(means)


# --------------------------------------------------------------------------- codes to scores


def _scorer(fitted: NetworkWithHead | FittedEnsemble) -> nn.Module:
    if isinstance(fitted, FittedEnsemble):
        return _Joined(fitted)
    return _Scores(fitted)


class _Scores(nn.Module):
    """Codes or descriptors of one classifier, joined, to scores; the mean over views."""

    def __init__(self, fitted: NetworkWithHead) -> None:
        super().__init__()
        encoder = fitted.encoder if isinstance(fitted, FittedFrozen) else None
        self.encoder = None if encoder is None else encoder_graph(encoder)
        plan = fitted.feature_plan if encoder is None else fitted.feature_plan.grids
        self.views, self.mean = plan.views, plan.join == "mean"
        self.head = head_graph(fitted.head)

    def forward(self, blocks: Blocks) -> torch.Tensor:
        views = [self.head(self._code(blocks, view)) for view in self.views]
        return _mean(views)

    def _code(self, blocks: Blocks, view: Sequence[FeatureSpec]) -> torch.Tensor:
        parts = [[blocks[spec, block] for block in spec.blocks] for spec in view]
        if self.encoder is not None:
            code: torch.Tensor = self.encoder(torch.cat([part[0] for part in parts], dim=1))
            return code
        codes = [torch.cat(part, dim=1) for part in parts]
        if self.mean:
            return _mean(codes)
        return torch.cat(codes, dim=1)


class _Joined(nn.Module):
    """Members' scores averaged, or their probabilities averaged or stacked."""

    def __init__(self, fitted: FittedEnsemble) -> None:
        super().__init__()
        self.members = nn.ModuleList(map(_scorer, fitted.members))
        self.alike, self.stack = fitted.alike, fitted.stack
        self.calibrators = nn.ModuleList(_Calibrated(one.calibrator) for one in fitted.members)

    def forward(self, blocks: Blocks) -> torch.Tensor:
        scores = [member(blocks) for member in self.members]
        if self.alike:
            return _mean(scores)
        prob = [own(one) for own, one in zip(self.calibrators, scores, strict=True)]
        if self.stack is None:
            return torch.log(_mean(prob).clamp(min=LEAST))
        return _stacked(prob, self.stack)


def _stacked(prob: Sequence[torch.Tensor], stack: Stack) -> torch.Tensor:
    logs = [
        weight * torch.log_softmax(torch.log(one.clamp(min=LEAST)) / scale, dim=1)
        for one, weight, scale in zip(prob, stack.weights, stack.scales, strict=True)
    ]
    return _sum(logs)


def _sum(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _mean(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    return _sum(parts) / len(parts) if len(parts) > 1 else parts[0]


class _Calibrated(nn.Module):
    def __init__(self, calibrator: Calibrator) -> None:
        super().__init__()
        self.slope, self.biases = calibrator.slope, constant(np.array(calibrator.biases))

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.slope * scores + self.biases, dim=1)
