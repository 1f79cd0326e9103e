"""The layers of a network that can be read: their names, what they cost, and the reading itself.

Taps are described on torch's meta device, where a forward pass gives shapes and costs and does no
arithmetic. Which networks there are, and with what weights, stands in `backbones.py`.
"""

from __future__ import annotations

import dataclasses
import math
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medgraft.errors import BackboneError
from medgraft.types import Cost

if TYPE_CHECKING:
    import torch
    from torch import nn

STAGES = "stages"  # stands for all stages of a backbone side by side, wherever a tap is named
TOKENS = ".tokens"  # ends the name of a tap's whole sequence, which a part of a network continues
DENSE_SIDE = 7  # positions on a side of the map that one position of VGG's dense layers reads
DENSE = {"fc6": "pre_logits.act1", "fc7": "pre_logits.act2"}  # VGG's dense layers, as convolutions
NORM = "norm"  # behind a transformer's last block; what linear probes of their authors read
# The stem, every halving, the ends of the entry and the middle flow, and the end (Chollet 2017).
XCEPTION = ("act2", "block1", "block2", "block3", "block11", "act4")


@dataclass(frozen=True, slots=True)
class Tap:
    """A layer whose output is read.

    module : the submodule's path in the network. layout : NCHW, NHWC, NLC (patch tokens), CLS
    (the class token, without extent) or SEQ (all tokens, which only `Tap.sequence` gives).
    stride : input pixels a position; 0 without extent. cost : of one forward pass from the input up
    to here. block : k where this is the last tap at stride 2^k (Oxford's block for VGG), else None.
    stage : whether it is the end of a stage; a code of all stages side by side is the tap `stages`.
    side : rows, and columns, of its map. prefix : class and register tokens before the patches.
    """

    name: str
    module: str
    layout: str
    channels: int
    stride: int
    cost: Cost
    block: int | None = None
    stage: bool = False
    side: int = 1
    prefix: int = 0

    @property
    def extent(self) -> tuple[int, int]:
        """Rows and columns of what is read; a sequence of tokens is one column."""
        return (self.side**2 + self.prefix, 1) if self.layout == "SEQ" else (self.side, self.side)

    @property
    def sequence(self) -> Tap:
        """What the layers behind this tap read: the tap, of tokens with those before the patches.

        >>> tap = Tap("blocks.5", "blocks.5", "NLC", 192, 16, Cost(0, 0), side=14, prefix=5)
        >>> tap.sequence.name, tap.sequence.extent
        ('blocks.5.tokens', (201, 1))
        """
        if self.layout != "NLC":
            return self
        return dataclasses.replace(self, name=f"{self.name}{TOKENS}", layout="SEQ", stage=False)


def is_vgg(network: Any) -> bool:
    """Whether this is timm's VGG, whose dense layers can be taps."""
    return type(network).__name__ == "VGG"


# --------------------------------------------------------------------------- describing


def describe(network: Any, size: int) -> tuple[Tap, ...]:
    """Every tap of a network on the meta device, from shallow to deep, for images of `size` px."""
    seen = _pass(network, size)
    taps = [
        _tap(name, path, *seen[path], network=network, size=size)
        for name, path in _tap_modules(network)
        if path in seen
    ]
    taps.sort(key=lambda tap: tap.cost.multiply_adds)
    return tuple(_with_stages(_with_blocks(taps)))


def at_size(network: Any, taps: Sequence[Tap], size: int) -> tuple[Tap, ...]:
    """The taps that have a map at another input size, with their cost and their map's side there.

    An image smaller than a tap's stride has none: what it gave would be padding for the most part.
    """
    seen = _pass(network, size)
    found = []
    for tap in taps:
        if tap.module in seen and size >= tap.stride:
            shape, cost = seen[tap.module]
            side = _side(shape, tap.layout, network)
            if side > 0:
                found.append(dataclasses.replace(tap, cost=cost, side=side))
    return tuple(found)


def _pass(network: Any, size: int) -> dict[str, tuple[tuple[int, ...], Cost]]:
    """Shape and cost of every tap's module in one pass; only those before a layer that fails."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    modules = dict(network.named_modules())
    wanted = {path for _, path in _tap_modules(network)}
    seen: dict[str, tuple[tuple[int, ...], Cost]] = {}
    parameters = sum(p.numel() for p in network.parameters(recurse=False))  # class token, positions

    def count(path: str, module: Any, output: Any) -> None:
        nonlocal parameters
        parameters += sum(p.numel() for p in module.parameters(recurse=False))
        if path in wanted:
            seen[path] = (tuple(output.shape), Cost(counter.get_total_flops() // 2, parameters))

    handles = [
        module.register_forward_hook(
            lambda module, _inputs, output, path=path: count(path, module, output)
        )
        for path, module in modules.items()
    ]
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            _forward(network, torch.zeros(1, 3, max(size, 0), max(size, 0), device="meta"))
    except (RuntimeError, AssertionError, ValueError):
        pass  # a map of this size cannot be made: the caller sees which taps are not there
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _forward(network: Any, images: torch.Tensor) -> None:
    """Run the network up to its last tap; VGG's dense layers lie behind timm's `forward_features`.

    They are valid convolutions of 7 × 7. On a smaller map they are not run: timm would enlarge it.
    """
    features = network.forward_features(images)
    if is_vgg(network) and hasattr(network.pre_logits, "fc1"):
        kernel = network.pre_logits.input_kernel_size
        if min(features.shape[-2:]) >= kernel:
            network.pre_logits(features)


def _tap_modules(network: Any) -> list[tuple[str, str]]:
    """(tap, module) pairs from shallow to deep, by the habits of timm's families."""
    family = type(network).__name__
    if family == "EfficientNet":
        stages = [(f"blocks.{i}", f"blocks.{i}") for i in range(len(network.blocks))]
        return [("stem", "bn1"), *stages, ("conv_head", "bn2")]
    if is_vgg(network) or family == "HybridVGG":
        return list(_vgg_tap_modules(network))
    if family == "Xception":  # timm's taps lie inside of residual blocks; these are their ends
        return [(name, name) for name in XCEPTION]
    modules = [info["module"] for info in network.feature_info]
    if family == "XceptionAligned":
        modules = [module.partition(".stack")[0] for module in modules]
    if hasattr(network, "patch_embed") and "Norm" in type(getattr(network, NORM, None)).__name__:
        modules.append(NORM)
    token = getattr(network, "cls_token", None) is not None
    return [(name, path) for path in modules for name in (path, *[f"{path}.cls"] * token)]


def _vgg_tap_modules(network: Any) -> Iterator[tuple[str, str]]:
    """VGG's layers, read behind their ReLU, and pools, under Oxford's names.

    Of a hybrid the separable convolutions are `block4_sep1` and so on.
    """
    block, conv = 1, 1
    for index, layer in enumerate(network.features):
        kind = type(layer).__name__
        if kind == "ReLU":
            yield f"block{block}_conv{conv}", f"features.{index}"
            conv += 1
        elif kind == "Separable":
            yield f"block{block}_sep{conv}", f"features.{index}"
            conv += 1
        elif kind == "MaxPool2d":
            yield f"block{block}_pool", f"features.{index}"
            block, conv = block + 1, 1
    if is_vgg(network) and hasattr(network.pre_logits, "fc1"):
        yield from DENSE.items()


def _tap(
    name: str, path: str, shape: tuple[int, ...], cost: Cost, *, network: Any, size: int
) -> Tap:
    """Name the layout of one output and count its stride."""
    if len(shape) == 3:
        layout = "CLS" if name.endswith(".cls") else "NLC"
    elif hasattr(network, "output_fmt"):
        layout = str(getattr(network.output_fmt, "value", network.output_fmt))
    else:
        layout = "NHWC" if shape[1] == shape[2] and shape[3] != shape[2] else "NCHW"
    channels = shape[1] if layout == "NCHW" else shape[-1]
    side = _side(shape, layout, network)
    if layout == "CLS":
        stride = 0
    elif layout == "NLC":
        stride = size // side
    elif name in DENSE:
        stride = 32  # a valid convolution steps as its input does, and has fewer positions
    else:
        stride = 2 ** round(math.log2(size / side))  # an odd size leaves 240 / 8 = 30 for 32
    prefix = int(getattr(network, "num_prefix_tokens", 0)) if layout == "NLC" else 0
    return Tap(name, path, layout, channels, stride, cost, side=side, prefix=prefix)


def _side(shape: tuple[int, ...], layout: str, network: Any) -> int:
    """Rows (and columns) of the map in one output."""
    if layout == "CLS":
        return 1
    if layout == "NLC":
        return math.isqrt(shape[1] - getattr(network, "num_prefix_tokens", 0))
    return shape[1] if layout == "NHWC" else shape[2]


def _with_blocks(taps: list[Tap]) -> Iterator[Tap]:
    """Mark the tap that stands for each block (DESIGN: last at stride 2^k, or Oxford's block)."""
    oxford = _has_oxford_names(taps)
    last: dict[int, str] = {}
    for tap in taps:
        if oxford and ("_conv" in tap.name or "_sep" in tap.name):
            last[int(tap.name[5])] = tap.name
        elif not oxford and tap.stride > 1:
            last[tap.stride.bit_length() - 1] = tap.name
    block_of = {name: k for k, name in last.items()}
    for tap in taps:
        yield dataclasses.replace(tap, block=block_of.get(tap.name))


def _has_oxford_names(taps: Sequence[Tap]) -> bool:
    """Whether these are taps of a VGG, or of a hybrid that begins as one."""
    return any(tap.name == "block1_conv1" for tap in taps)


def _with_stages(taps: Iterator[Tap]) -> Iterator[Tap]:
    """Mark the ends of stages: Oxford's blocks, EfficientNet's, timm's `feature_info` otherwise.

    Token networks have no stages; their last four blocks are joined instead, as in the linear
    probes of Caron et al. (2021).
    """
    known = list(taps)
    patches = [tap.name for tap in known if tap.layout == "NLC" and tap.name != NORM][-4:]
    oxford = _has_oxford_names(known)
    for tap in known:
        stage = tap.name not in {"stem", "conv_head", NORM} and tap.stride > 0
        if oxford:
            stage = tap.block is not None
        elif patches:
            stage = tap.name in patches
        yield dataclasses.replace(tap, stage=stage)


# --------------------------------------------------------------------------- reading


class _Enough(Exception):  # noqa: N818 (not an error: the deepest tap has been read)
    """Stops a forward pass where nothing behind is wanted."""


_HOOKED = threading.Lock()  # threads share a network, and a hook sees the passes of all of them


def read_taps(
    network: nn.Module, taps: Sequence[Tap], images: torch.Tensor
) -> dict[str, torch.Tensor]:
    """One forward pass up to the deepest of `taps`.

    images : (batch, 3, height, width) float, normalised. Gives tap → (batch, channels, rows,
    columns), with rows = columns = 1 for a tap without extent. The network comes back as it was:
    its hooks are removed whatever happens.

    Raises
    ------
    BackboneError
        The images are too small for a dense layer of VGG.
    """
    modules = dict(network.named_modules())
    wanted = {tap.module for tap in taps}
    outputs: dict[str, torch.Tensor] = {}

    def read(path: str, output: torch.Tensor) -> None:
        outputs[path] = output
        if wanted <= outputs.keys():
            raise _Enough

    with _HOOKED:
        handles = [
            modules[path].register_forward_hook(
                lambda _module, _inputs, output, path=path: read(path, output)
            )
            for path in wanted
        ]
        try:
            _forward(network, images)
        except _Enough:
            pass
        finally:
            for handle in handles:
                handle.remove()
    for tap in taps:
        if tap.module not in outputs:
            raise BackboneError(
                f"{tap.name} has no map for images of {images.shape[-2]} × {images.shape[-1]} px; "
                "give images of 224 px or more"
            )
    return {tap.name: to_grid(outputs[tap.module], tap) for tap in taps}


def to_grid(output: torch.Tensor, tap: Tap) -> torch.Tensor:
    """Bring a tap's output to (batch, channels, rows, columns), whatever the network's layout."""
    if tap.layout == "NHWC":
        return output.permute(0, 3, 1, 2)
    if tap.layout == "CLS":
        return output[:, 0, :, None, None]
    if tap.layout == "SEQ":
        return output.transpose(1, 2).unsqueeze(3)
    if tap.layout == "NLC":
        tokens = output[:, tap.prefix :].transpose(1, 2)  # (batch, channels, positions)
        side = int(tokens.shape[2] ** 0.5)
        return tokens.reshape(tokens.shape[0], tokens.shape[1], side, side)
    return output


def from_grid(maps: torch.Tensor, tap: Tap) -> torch.Tensor:
    """A tap's output from what `to_grid` made of it; of tokens from those of `Tap.sequence`."""
    if tap.layout == "NHWC":
        return maps.permute(0, 2, 3, 1)
    if tap.layout == "NLC":
        return maps.flatten(2).transpose(1, 2)
    return maps


# --------------------------------------------------------------------------- input sizes


def set_size(network: Any, size: int) -> None:
    """Have a network of tokens take images of `size` px; one of convolutions takes any.

    A ViT's position embeddings are interpolated (bicubic, as timm does). A Swin keeps its windows,
    whose biases are then used as they were learned; timm pads where they do not fill the map, and
    shrinks those larger than the map.

    Raises
    ------
    AssertionError, ValueError
        The patches do not fill such an image.
    """
    resizable = getattr(network, "set_input_size", None)
    if resizable is None or not hasattr(network, "patch_embed"):
        return
    if tuple(network.patch_embed.img_size) == (size, size):
        return
    if any(size % side for side in network.patch_embed.patch_size):
        raise ValueError(f"{size} px hold no whole number of patches")
    windows = {}
    if hasattr(network, "layers"):
        inside = [block.window_size[0] for layer in network.layers for block in layer.blocks]
        windows = {"window_size": (max(inside),) * 2}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of what timm does to interpolate
        resizable(img_size=(size, size), **windows)
