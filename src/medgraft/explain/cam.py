"""Where in the image a class's score comes from: Grad-CAM at any tap, exact for network + head.

The head is part of the graph (`FittedScenario.torch_graph`), so that the score explained is the
score the study judged. One forward and one backward pass serve all taps of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from medgraft.errors import ScenarioError
from medgraft.features.backbones import Backbone
from medgraft.features.engine import to_rgb
from medgraft.features.taps import Tap, to_grid
from medgraft.learn.frozen import FittedFrozen
from medgraft.types import Attribution, Canvas

if TYPE_CHECKING:
    import torch

BATCH = 8


def grad_cam(
    fitted: FittedFrozen,
    canvases: Sequence[Canvas],
    taps: Sequence[str] | None = None,
    target: str | Sequence[str] | None = None,
) -> list[dict[str, Attribution]]:
    """Grad-CAM maps of each canvas at each tap (Selvaraju et al. 2017).

    With A (channels, rows, columns) the tap's output and s the target class's score,
    ``a_k = mean over positions of ds / dA_k`` and the map is ``max(0, sum over k of a_k A_k)``,
    enlarged bilinearly to the canvas. Its unit is the score's; it is not scaled to 0..1.

    Parameters
    ----------
    canvases
        Made for `fitted.spec`.
    taps
        The head's own taps by default.
    target
        The class explained, one for all or one for each canvas; by default the one predicted.

    Returns
    -------
    list of dict
        For each canvas tap → Attribution, the map (height, width) float32.

    Raises
    ------
    ScenarioError
        The classifier has no gradient (kNN), a tap lies behind the head's or has no extent, or
        the target is no class.
    """
    import torch

    graph = fitted.torch_graph()
    if graph is None:
        raise ScenarioError(
            f"{fitted.scenario.key} has no gradient from its scores to one canvas, so no CAM "
            "exists for it; choose a probe of one size and edit whose head is linear (svm, logistic"
            ", lda)"
        )
    backbone = fitted.extractor.backbone(fitted.spec.backbone)
    chosen = [_usable(backbone, name, fitted.spec.taps[-1]) for name in taps or fitted.spec.taps]
    names = [target] * len(canvases) if isinstance(target, str) or target is None else list(target)
    found: list[dict[str, Attribution]] = []
    for start in range(0, len(canvases), BATCH):
        batch = canvases[start : start + BATCH]
        images = _images(batch).requires_grad_(True)
        with torch.enable_grad(), _captured(backbone, chosen) as maps:
            scores = graph(images)
            rows = [
                _class_index(fitted.classes, name, row)
                for name, row in zip(names[start : start + BATCH], scores, strict=True)
            ]
            picked = scores[torch.arange(len(batch)), torch.tensor(rows)].sum()
            outputs = [maps[tap.module] for tap in chosen]
            gradients = torch.autograd.grad(picked, outputs)
        prefix = int(getattr(backbone.network, "num_prefix_tokens", 0))
        cams = {
            tap.name: _weighted(to_grid(output, tap, prefix), to_grid(gradient, tap, prefix))
            for tap, output, gradient in zip(chosen, outputs, gradients, strict=True)
        }
        found += [
            {
                name: Attribution(
                    enlarge(cam[i], canvas.pixels.shape[:2]),
                    canvas.geometry,
                    fitted.classes[rows[i]],
                    name,
                )
                for name, cam in cams.items()
            }
            for i, canvas in enumerate(batch)
        ]
    return found


def enlarge(cam: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A map (rows, columns) brought bilinearly to (height, width)."""
    resized = cv2.resize(cam, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, np.float32)


def block_taps(fitted: FittedFrozen) -> dict[int, str]:
    """The taps that stand for blocks 1 to 5 and can be explained, block → tap."""
    backbone = fitted.extractor.backbone(fitted.spec.backbone)
    deepest = fitted.spec.taps[-1]
    limit = backbone.tap(deepest).cost.multiply_adds
    found = {
        tap.block: tap.name
        for tap in backbone.taps
        if tap.block is not None and tap.cost.multiply_adds <= limit and tap.stride
    }
    if deepest not in found.values() and backbone.tap(deepest).stride:
        found[max(found, default=0) + 1] = deepest
    return found


def _usable(backbone: Backbone, name: str, heads_tap: str) -> Tap:
    """The tap of that name, if a map of it exists."""
    tap = backbone.tap(name)
    if not tap.stride:
        raise ScenarioError(f"tap {name} has no extent, so no map of it exists; choose another tap")
    if tap.cost.multiply_adds > backbone.tap(heads_tap).cost.multiply_adds:
        usable = [
            other.name
            for other in backbone.taps
            if other.cost.multiply_adds <= backbone.tap(heads_tap).cost.multiply_adds
        ]
        raise ScenarioError(
            f"tap {name} lies behind {heads_tap}, where the head reads, so the score does not "
            f"depend on it; choose among: {', '.join(usable)}"
        )
    return tap


def _class_index(classes: tuple[str, ...], name: str | None, scores: torch.Tensor) -> int:
    if name is None:
        return int(scores.argmax())
    if name not in classes:
        raise ScenarioError(f"no class {name!r}; there are: {', '.join(classes)}")
    return classes.index(name)


def _images(batch: Sequence[Canvas]) -> torch.Tensor:
    """(batch, 3, height, width) float in 0..255."""
    import torch

    pixels = np.empty((len(batch), *batch[0].pixels.shape[:2], 3), np.uint8)
    for row, canvas in enumerate(batch):
        to_rgb(canvas.pixels, pixels[row])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float()


@contextmanager
def _captured(backbone: Backbone, taps: Sequence[Tap]) -> Iterator[dict[str, Any]]:
    """Keep the outputs of the taps' modules during a forward pass; no hook stays behind."""
    modules = dict(backbone.network.named_modules())
    outputs: dict[str, Any] = {}

    def keep(path: str, output: torch.Tensor) -> None:
        outputs[path] = output

    handles = [
        modules[path].register_forward_hook(
            lambda _module, _inputs, output, path=path: keep(path, output)
        )
        for path in {tap.module for tap in taps}
    ]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def _weighted(features: torch.Tensor, gradients: torch.Tensor) -> NDArray[np.float32]:
    """Grad-CAM's formula on (batch, channels, rows, columns): maps (batch, rows, columns)."""
    weights = gradients.mean(dim=(2, 3), keepdim=True)
    cams = (weights * features).sum(dim=1).clamp(min=0)
    return cams.detach().numpy().astype(np.float32)
