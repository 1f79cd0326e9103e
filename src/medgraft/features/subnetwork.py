"""The rest of a network: only the layers between two taps, to train or to run on kept maps.

What lies before the first tap is not computed at all, so that a frozen trunk need not be run again
once its output is kept. The network is traced (`torch.fx`), which holds for whatever timm builds of
layers one after another and side by side.
"""

from __future__ import annotations

import copy
import importlib
from typing import TYPE_CHECKING, Any

from medgraft.errors import BackboneError
from medgraft.features import weights as sources
from medgraft.features.backbones import Backbone
from medgraft.features.taps import DENSE, NORM, Tap, from_grid, to_grid
from medgraft.scenario import INPUT

if TYPE_CHECKING:
    import torch
    from torch import fx, nn


def freeze_points(backbone: Backbone) -> tuple[str, ...]:
    """Where a trunk may end, from the image itself to the deepest tap with weights behind it.

    Ends of stages, since within a stage depth changes little but the time that training takes; and
    where a pool follows, behind it, for its map is smaller and as good. A ViT, all of whose blocks
    are alike, is divided into quarters. Taps that later layers read past (inside of a residual
    block) are left out.

    Raises
    ------
    BackboneError
        The network cannot be traced, so that no part of it can be trained.
    """
    end = last_map(backbone)
    deepest = {tap.cost.parameters: tap for tap in backbone.taps if tap.stride}
    found = [
        deepest[stage.cost.parameters]
        for stage in _quarters(backbone) or backbone.stages
        if stage.cost.parameters < end.cost.parameters
        and stage.cost.multiply_adds < end.cost.multiply_adds
    ]
    graph, path_of = _traced(backbone.network, backbone.name)
    last = _last_node(graph, path_of, end.module)

    settings = set(_settings(graph))

    def cuts(tap: Tap) -> bool:
        needed = _needed(last, {_last_node(graph, path_of, tap.module), *settings})
        return all(node.op != "placeholder" for node in needed)

    return (INPUT, *(tap.name for tap in found if cuts(tap)))


def _quarters(backbone: Backbone) -> list[Tap]:
    """The ends of the quarters of a ViT's blocks; none where a network has stages."""
    blocks = [tap for tap in backbone.taps if tap.layout == "NLC" and tap.name != NORM]
    ends = {-(-len(blocks) * quarter // 4) - 1 for quarter in (1, 2, 3, 4)}
    return [tap for i, tap in enumerate(blocks) if i in ends]


def last_map(backbone: Backbone) -> Tap:
    """The deepest tap with extent: its mean over positions is what the new head reads.

    VGG's dense layers, which see the whole image at 224 px, are left out: a new head takes their
    place.
    """
    return [tap for tap in backbone.taps if tap.stride and tap.name not in DENSE][-1]


def tail_of(backbone: Backbone, start: str) -> nn.Module:
    """A trainable copy of the layers behind `start`, up to the last map.

    Takes what `start` gives, (batch, channels, rows, columns), of tokens what its `Tap.sequence`
    gives, (batch, channels, tokens, 1), or normalised images for `INPUT`; gives the last map as
    (batch, channels, rows, columns). Parameters keep the names they have in the network, and
    require gradients.

    Raises
    ------
    BackboneError
        The network cannot be cut there: it cannot be traced, or something passes by that tap.
    """
    from torch import nn

    network, end = copy.deepcopy(backbone.network).requires_grad_(True), last_map(backbone)
    begin = None if start == INPUT else backbone.tap(start)
    if begin is not None and not begin.stride:
        raise BackboneError(
            f"{backbone.name} cannot be cut at {start}, which is one token of many; train it from "
            f"{start.removesuffix('.cls')}, or whole, from {INPUT}"
        )
    layers = _between(network, begin.module if begin else "", end.module, backbone.name)

    class Tail(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = layers

        def forward(self, maps: torch.Tensor) -> torch.Tensor:
            given = maps if begin is None else from_grid(maps, begin)
            return to_grid(self.layers(given), end)

    return Tail()


def _between(network: Any, start: str, end: str, name: str) -> fx.GraphModule:
    """The part of the traced network behind module `start` ('' for its input) up to `end`."""
    from torch import fx

    graph, path_of = _traced(network, name)
    last = {path: _last_node(graph, path_of, path) for path in (start, end) if path}
    part = fx.Graph()
    entry = part.placeholder("maps")
    begin = last[start] if start else next(iter(graph.nodes))
    known: dict[fx.Node, Any] = {begin: entry, **_settings(graph)}
    for node in _needed(last[end], set(known)):
        if node.op == "placeholder":
            raise BackboneError(
                f"{name} cannot be cut at {start}: later layers read earlier ones past it; choose "
                "the end of another stage"
            )
        known[node] = part.node_copy(node, lambda old: known[old])
    part.output(known[last[end]])
    found = fx.GraphModule(network, part)
    saved = network.state_dict().keys()
    for path, _ in list(found.named_buffers()):  # a Swin's masks, which are no weights
        if path not in saved:
            owner, _, leaf = path.rpartition(".")
            found.get_submodule(owner)._non_persistent_buffers_set.add(leaf)
    return found


def _settings(graph: fx.Graph) -> dict[fx.Node, Any]:
    """What a network takes besides the image (a mask of attention), with its default."""
    _, *others = [node for node in graph.nodes if node.op == "placeholder"]
    return {node: node.args[0] if node.args else None for node in others}


def _traced(network: Any, name: str) -> tuple[fx.Graph, dict[fx.Node, str]]:
    """The network's graph, and the module that each of its nodes lies in."""
    try:
        tracer = _tracer()
        return tracer.trace(network), tracer.node_to_qualname
    except Exception as error:  # whatever a network's code does while it is traced
        raise BackboneError(
            f"{name} cannot be traced, so it cannot be cut into trunk and tail ({error})"
        ) from error


def _tracer() -> Any:
    """Traces down to torch's own layers; what timm says cannot be traced stays whole."""
    sources.import_timm()
    rules: Any = importlib.import_module("timm.models._features_fx")
    from torchvision.models.feature_extraction import NodePathTracer

    return NodePathTracer(
        leaf_modules=list(rules.get_notrace_modules()),
        autowrap_functions=list(rules.get_notrace_functions()),
    )


def _last_node(graph: fx.Graph, path_of: dict[fx.Node, str], module: str) -> fx.Node:
    """The node that gives a module's output: the last one traced inside it.

    Raises
    ------
    BackboneError
        The network's own pass does not go through it.
    """
    inside: list[fx.Node] = [
        node
        for node in graph.nodes
        if path_of.get(node) == module or path_of.get(node, "").startswith(f"{module}.")
    ]
    if not inside:
        raise BackboneError(
            f"the network's own pass does not go through its part {module!r}, so it cannot be cut "
            "there; choose another depth"
        )
    return inside[-1]


def _needed(end: fx.Node, known: set[fx.Node]) -> list[fx.Node]:
    """The nodes that `end` is computed from, in order; what is `known` needs nothing."""
    wanted: set[fx.Node] = set()
    waiting = [end]
    while waiting:
        node = waiting.pop()
        if node not in wanted and node not in known:
            wanted.add(node)
            waiting += node.all_input_nodes
    return [node for node in end.graph.nodes if node in wanted]
