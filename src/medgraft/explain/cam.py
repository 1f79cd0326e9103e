"""Where in the image a class's score comes from: the CAM family at any tap, for network + head.

The head is part of the graph (`FittedScenario.torch_graph`), so that the score explained is the
score the study judged. One forward and one backward pass serve all taps and all methods of a batch
(Score-CAM needs a forward pass a channel on top). The pass keeps no gradient before the shallowest
tap asked for, and none of any weight. Of several networks whose scores are averaged it is the mean
of their maps. The formulas stand in `methods.py`; which explanation is the
honest one for a scenario, in `attribute.py`.
"""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from medgraft.data.preprocess import enlarge
from medgraft.errors import ScenarioError
from medgraft.explain.methods import FORMULAS, METHODS, SCORE_CAM, WITHOUT_GRADIENT, score_cam_map
from medgraft.features.backbones import Backbone
from medgraft.features.engine import float32, to_rgb, torch_device
from medgraft.features.taps import DENSE, DENSE_SIDE, Tap, to_grid
from medgraft.types import Attribution, Canvas, FittedNetwork, FittedScenario, Maps

if TYPE_CHECKING:
    import torch
    from torch import nn

BATCH = 8  # more is not faster on a CPU, whose caches a batch's maps leave
BATCH_GPU = 32

Targets = str | Sequence[str] | None


def grad_cam(
    fitted: FittedScenario,
    canvases: Sequence[Canvas],
    taps: Sequence[str] | None = None,
    target: Targets = None,
    device: str | None = None,
) -> list[dict[str, Attribution]]:
    """Grad-CAM maps of each canvas at each tap (Selvaraju et al. 2017).

    With A (channels, rows, columns) the tap's output and s the target class's score,
    ``a_k = mean over positions of ds / dA_k`` and the map is ``max(0, sum over k of a_k A_k)``,
    enlarged bilinearly to the canvas. Its unit is the score's; it is not scaled to 0..1.
    Parameters and errors as of `cam_maps`.

    Returns
    -------
    list of dict
        For each canvas tap → Attribution, the map (height, width) float32.
    """
    found = cam_maps(fitted, canvases, ["gradcam"], taps, target, device)
    return [methods["gradcam"] for methods in found]


def cam_maps(
    fitted: FittedScenario,
    canvases: Sequence[Canvas],
    methods: Sequence[str] = ("gradcam",),
    taps: Sequence[str] | None = None,
    target: Targets = None,
    device: str | None = None,
) -> list[dict[str, dict[str, Attribution]]]:
    """Maps of each canvas by each method at each tap, all of them from one pass a batch.

    Parameters
    ----------
    canvases
        Made for `fitted.spec`.
    methods
        Of `methods.METHODS`.
    taps
        The head's own taps by default.
    target
        The class explained, one for all or one for each canvas; by default the one predicted.
    device
        Where torch computes; the best there is by default.

    Returns
    -------
    list of dict
        For each canvas method → tap → Attribution, the map (height, width) float32: the formula's,
        what speaks against the class left out, enlarged bilinearly to the canvas and not scaled.

    Raises
    ------
    ScenarioError
        The classifier has no gradient (kNN), a tap lies behind the head's or has no extent, or
        there is no such method or class.
    """
    unknown = [name for name in methods if name not in METHODS]
    if unknown or not methods:
        raise ScenarioError(
            f"no CAM method {', '.join(unknown) or 'given'}; there are: {', '.join(METHODS)}"
        )
    found: list[dict[str, dict[str, Attribution]]] = []
    for canvas, signed in _signed(fitted, canvases, methods, taps, target, device):
        shape = canvas.pixels.shape[:2]
        found.append(
            {
                method: {
                    tap: Attribution(
                        enlarge(np.maximum(map, 0), shape),
                        canvas.geometry,
                        fitted.classes[signed.row],
                        tap,
                        method,
                    )
                    for tap, map in maps.items()
                }
                for method, maps in signed.maps.items()
            }
        )
    return found


def signed_maps(
    fitted: FittedScenario, canvases: Sequence[Canvas], method: str, tap: str, target: Targets
) -> tuple[Maps, list[str]]:
    """Maps (n, rows, columns) on the tap's grid, negative where the class is spoken against.

    And the class explained of each canvas. Parameters and errors as of `cam_maps`.
    """
    found = list(_signed(fitted, canvases, [method], [tap], target))
    maps = np.stack([signed.maps[method][tap] for _, signed in found])
    return maps, [fitted.classes[signed.row] for _, signed in found]


def has_cam(fitted: FittedScenario) -> bool:
    """Whether a gradient leads from the classifier's scores to one canvas."""
    return bool(fitted.networks) and fitted.networks[0].differentiable


def block_taps(fitted: FittedScenario) -> dict[int, str]:
    """The taps that stand for blocks 1 to 5 and can be explained, block → tap.

    Raises
    ------
    ScenarioError
        The classifier is no network, and no mean of some.
    """
    network = _networks(fitted)[0]
    backbone: Backbone = network.backbone
    deepest = network.spec.taps[-1]
    usable = usable_taps(backbone, deepest)
    found = {tap.block: tap.name for tap in usable if tap.block is not None}
    if deepest not in found.values() and backbone.tap(deepest).stride:
        found[max(found, default=0) + 1] = deepest
    return found


def usable_taps(backbone: Backbone, heads_tap: str) -> list[Tap]:
    """The taps with extent that a score read at `heads_tap` depends on, shallow to deep.

    Of a class token's own block, and of a norm behind it, which mixes nothing, the patches are left
    out: the token has been through the block already.
    """
    names = [tap.name for tap in backbone.taps]
    head = backbone.tap(heads_tap)
    before = [tap for tap in backbone.taps[: names.index(heads_tap) + 1] if tap.stride]
    if head.layout != "CLS":
        return before
    return [tap for tap in before if tap.cost.multiply_adds < head.cost.multiply_adds]


# --------------------------------------------------------------------------- the pass


@dataclass(frozen=True, eq=False, slots=True)
class _Signed:
    """Of one canvas: the class explained, and method → tap → map (rows, columns)."""

    row: int
    maps: dict[str, dict[str, Maps]]


def _signed(
    fitted: FittedScenario,
    canvases: Sequence[Canvas],
    methods: Sequence[str],
    taps: Sequence[str] | None,
    target: Targets,
    device: str | None = None,
) -> Iterator[tuple[Canvas, _Signed]]:
    """The maps of each canvas, the mean over networks; errors come before the first."""
    networks = _networks(fitted)
    if len(networks) == 1:
        yield from _signed_of_one(networks[0], canvases, methods, taps, target, device)
        return
    if target is None:
        target = [fitted.classes[row] for row in fitted.scores(canvases).argmax(axis=1)]
    each = [_signed_of_one(one, canvases, methods, taps, target, device) for one in networks]
    for together in zip(*each, strict=True):
        (canvas, first), maps = together[0], [signed.maps for _, signed in together]
        mean = {
            method: {tap: _mean([one[method][tap] for one in maps]) for tap in found}
            for method, found in first.maps.items()
        }
        yield canvas, _Signed(first.row, mean)


def _mean(maps: Sequence[Maps]) -> Maps:
    """Of maps (rows, columns), on the finest grid; a mean over places, a score, counts alike."""
    finest = max(map(np.shape, maps))
    scaled = [
        one if one.shape == finest else enlarge(one * (one.size / math.prod(finest)), finest)
        for one in maps
    ]
    return np.asarray(np.mean(scaled, axis=0))


def _networks(fitted: FittedScenario) -> tuple[FittedNetwork, ...]:
    """The networks of a classifier whose score is their mean."""
    if fitted.networks:
        return fitted.networks
    if fitted.members:
        raise ScenarioError(
            f"{fitted.scenario.key} joins several classifiers, so no layer holds its score; ask "
            "for the sum of its members' maps (--method auto), or for occlusion"
        )
    raise ScenarioError(
        f"{fitted.scenario.key} is no network that can be looked into; ask for occlusion, which "
        "any classifier has"
    )


def _signed_of_one(
    fitted: FittedNetwork,
    canvases: Sequence[Canvas],
    methods: Sequence[str],
    taps: Sequence[str] | None,
    target: Targets,
    device: str | None,
) -> Iterator[tuple[Canvas, _Signed]]:
    """The maps of each canvas by one network."""
    seen = fitted.terms[0].spec if fitted.terms else fitted.spec  # the canvas, or made smaller
    backbone: Backbone = fitted.backbone.at(seen.size)
    with _as_it_was(backbone.network):
        whole = fitted.torch_graph()
        if whole is None:
            raise ScenarioError(
                f"{fitted.scenario.key} has no gradient from its scores to one canvas, so no CAM "
                "exists for it; choose a probe of one size and edit whose head is linear (svm, "
                "logistic, lda), or ask for occlusion, which any classifier has"
            )
        chosen = [
            _usable(backbone, name, fitted.spec.taps[-1]) for name in taps or fitted.spec.taps
        ]
        names = [target] * len(canvases) if isinstance(target, str) or target is None else target
        graph = _Graph.on(device or torch_device(), whole, backbone.network)
        size = BATCH if graph.device == "cpu" else BATCH_GPU
        for start in range(0, len(canvases), size):
            batch = canvases[start : start + size]
            wanted = names[start : start + size]
            with float32():
                passed = _pass(graph, chosen, batch, (fitted.classes, wanted, methods))
                maps = {method: _by(method, passed, graph, backbone) for method in methods}
            for i, canvas in enumerate(batch):
                own = {m: {tap: map[i] for tap, map in found.items()} for m, found in maps.items()}
                yield canvas, _Signed(passed.rows[i], own)


@dataclass(frozen=True, eq=False, slots=True)
class _Graph:
    """Network and head where they compute; `network` is the part that has the taps."""

    scores: nn.Module
    network: nn.Module
    device: str

    @classmethod
    def on(cls, device: str, scores: nn.Module, network: nn.Module) -> _Graph:
        """As they are on a CPU, elsewhere a copy: for others the network stays where it is."""
        if device == "cpu":
            return cls(scores, network, device)
        copies: dict[int, Any] = {}
        scores = copy.deepcopy(scores, copies).to(device)
        return cls(scores, copies[id(network)], device)


@dataclass(frozen=True, eq=False, slots=True)
class _Passed:
    """What one forward and one backward pass of a batch leave, by tap as grids.

    images : (batch, 3, height, width) in 0..255. rows : (batch,) the class explained.
    """

    images: torch.Tensor
    rows: list[int]
    features: dict[str, torch.Tensor]
    gradients: dict[str, torch.Tensor]


def _pass(
    graph: _Graph,
    taps: Sequence[Tap],
    batch: Sequence[Canvas],
    asked: tuple[tuple[str, ...], Sequence[str | None], Sequence[str]],
) -> _Passed:
    """One forward pass of a batch, and where a method needs it one backward pass."""
    import torch

    classes, names, methods = asked
    images = _images(batch).to(graph.device)
    backward = any(method not in WITHOUT_GRADIENT for method in methods)
    with torch.set_grad_enabled(backward), _captured(graph.network, taps, backward) as outputs:
        scores = graph.scores(images)
    here = scores.detach().cpu()
    rows = [_class_index(classes, name, row) for name, row in zip(names, here, strict=True)]
    modules = list(dict.fromkeys(tap.module for tap in taps))
    slopes: dict[str, torch.Tensor] = {}
    if backward:
        picked = scores[torch.arange(len(batch)), torch.tensor(rows)].sum()
        found = torch.autograd.grad(picked, [outputs[module] for module in modules])
        slopes = dict(zip(modules, found, strict=True))
    return _Passed(
        images,
        rows,
        {tap.name: to_grid(outputs[tap.module].detach(), tap) for tap in taps},
        {tap.name: to_grid(slopes[tap.module], tap) for tap in taps if slopes},
    )


def _by(method: str, passed: _Passed, graph: _Graph, backbone: Backbone) -> dict[str, Maps]:
    """The maps (batch, rows, columns) of one method at each tap."""
    import torch

    found = {}
    with torch.no_grad():
        mean = torch.tensor(backbone.card.mean, device=graph.device).view(1, 3, 1, 1) * 255
        for tap, features in passed.features.items():
            if method == SCORE_CAM:
                placed = spread(features, tap)
                maps = score_cam_map(graph.scores, passed.images, placed, passed.rows, mean)
            else:
                # Eigen-CAM takes a gradient like the others, and looks at the features alone.
                maps = spread(FORMULAS[method](features, passed.gradients.get(tap, features)), tap)
            found[tap] = maps.cpu().numpy().astype(np.float32)
    return found


def spread(maps: torch.Tensor, tap: str) -> torch.Tensor:
    """Maps (…, rows, columns) where the image has what they say; their sum stays.

    One position of VGG's dense layers has read 7 x 7 of the layer before, so that their maps have 6
    positions less on a side and would lie too far out: each is divided among what it has read. Maps
    of other taps stay as they are.
    """
    if tap not in DENSE:
        return maps
    from torch.nn.functional import avg_pool2d, pad

    around = DENSE_SIDE - 1
    flat = maps.reshape(-1, 1, *maps.shape[-2:])
    grown = avg_pool2d(pad(flat, (around,) * 4), DENSE_SIDE, stride=1)
    return grown.reshape(*maps.shape[:-2], *grown.shape[-2:])


@contextmanager
def _captured(
    network: nn.Module, taps: Sequence[Tap], backward: bool
) -> Iterator[dict[str, torch.Tensor]]:
    """Keep the outputs of the taps' modules during a forward pass; no hook stays behind.

    What runs before the first tap has nothing to differentiate, so torch keeps nothing of it. What
    goes on is a copy, for a next layer may work in place.
    """
    modules = dict(network.named_modules())
    outputs: dict[str, torch.Tensor] = {}
    owner = threading.get_ident()  # threads share a network, and a hook sees the passes of all

    def keep(path: str, output: torch.Tensor) -> torch.Tensor | None:
        if threading.get_ident() != owner:
            return None
        outputs[path] = output if output.requires_grad else output.requires_grad_(backward)
        return output.clone()

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


@contextmanager
def _as_it_was(network: nn.Module) -> Iterator[None]:
    """Give a borrowed network back in the mode, and with the gradients, that it came with."""
    training = {module: module.training for module in network.modules()}
    wanted = {parameter: parameter.requires_grad for parameter in network.parameters()}
    try:
        yield
    finally:
        for module, was in training.items():
            module.training = was
        for parameter, was in wanted.items():
            parameter.requires_grad_(was)


def _usable(backbone: Backbone, name: str, heads_tap: str) -> Tap:
    """The tap of that name, if a map of it exists."""
    tap = backbone.tap(name)
    usable = [other.name for other in usable_taps(backbone, heads_tap)]
    if not tap.stride:
        raise ScenarioError(
            f"tap {name} has no extent, so no map of it exists; choose another tap"
            f"{': ' + ', '.join(usable) if usable else ''}, or ask for occlusion"
        )
    if name not in usable:
        raise ScenarioError(
            f"tap {name} lies behind {heads_tap}, where the head reads, so the score does not "
            f"depend on it; ask for occlusion, or choose among: {', '.join(usable)}"
        )
    return tap


def _class_index(classes: tuple[str, ...], name: str | None, scores: Any) -> int:
    if name is None:
        return int(scores.argmax())
    if name not in classes:
        raise ScenarioError(f"no class {name!r}; there are: {', '.join(classes)}")
    return classes.index(name)


def _images(batch: Sequence[Canvas]) -> torch.Tensor:
    """(batch, 3, height, width) float in 0..255, channels last in memory."""
    import torch

    pixels = np.empty((len(batch), *batch[0].pixels.shape[:2], 3), np.uint8)
    for row, canvas in enumerate(batch):
        to_rgb(canvas.pixels, pixels[row])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
