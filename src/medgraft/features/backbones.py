"""Pretrained networks with their provenance, and the taps where they can be read.

A `Backbone` knows its taps (name, stride, channels, cost) without holding weights: it is described
on torch's meta device, and the weights are loaded when somebody runs it. Where weights come from
stands in `weights.py`, how they are run fast in `engine.py`.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medgraft.errors import BackboneError
from medgraft.features import weights as sources
from medgraft.files import StorageError, write_json
from medgraft.types import Cost

if TYPE_CHECKING:
    import torch
    from torch import nn

DEFAULT = "tf_efficientnet_lite0"
TAPS_VERSION = 1  # raise it when taps are named or described otherwise


@dataclass(frozen=True, slots=True)
class Card:
    """The provenance of a backbone: what it is, where its weights are from, what it wants to see.

    mean, std : of RGB in 0..1. sha256 : of the weights. size : height and width in pixels.
    """

    name: str
    source: str
    licence: str
    credit: str
    sha256: str
    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Tap:
    """A layer whose output is read.

    module : the submodule's path in the network. layout : NCHW, NHWC, NLC (patch tokens) or CLS
    (the class token, without extent). stride : input pixels a position; 0 without extent.
    cost : of one forward pass from the input up to here.
    block : k where this is the last tap at stride 2^k (Oxford's block for VGG), else None.
    stage : whether it is the end of a stage; a code of all stages side by side is the tap `stages`.
    """

    name: str
    module: str
    layout: str
    channels: int
    stride: int
    cost: Cost
    block: int | None = None
    stage: bool = False


STAGES = "stages"  # stands for all stages of a backbone side by side, wherever a tap is named


@dataclass(frozen=True, eq=False)
class Backbone:
    """A pretrained network: its card, its taps in order of depth, and the network when asked.

    `state` gives the state dict when it is needed; None stands for random weights. Taps and
    network are made when they are first used, and taps are noted in the folder `notes`, so that
    kept codes and graphs are used without loading torch. What is kept of the network is kept
    under `key`: the card's sha256, unless `verified` names weights whose card is only a claim.
    """

    card: Card
    state: Callable[[], sources.StateDict | None] = field(repr=False)
    notes: Path | None = field(default=None, repr=False)
    verified: str = ""

    @property
    def name(self) -> str:
        return self.card.name

    @property
    def key(self) -> str:
        """What names these weights wherever something computed with them is kept."""
        return self.verified or self.card.sha256

    @functools.cached_property
    def taps(self) -> tuple[Tap, ...]:
        """Every tap of the network, from shallow to deep."""
        if self.notes is None:
            return _taps(self.name, self.card.size)
        version = importlib.metadata.version("timm")
        note = self.notes / f"{self.name}-{self.card.size}-timm{version}-{TAPS_VERSION}.json"
        taps = _read_note(note)
        if not taps:
            taps = _taps(self.name, self.card.size)
            with suppress(StorageError):  # only time is lost where it cannot be kept
                write_json(note, [dataclasses.asdict(tap) for tap in taps])
        return taps

    def tap(self, name: str) -> Tap:
        """The tap of that name.

        Raises
        ------
        BackboneError
            There is none; the text lists those there are.
        """
        for tap in self.taps:
            if tap.name == name:
                return tap
        names = ", ".join(tap.name for tap in self.taps)
        raise BackboneError(f"{self.name} has no tap {name!r}; it has: {names}")

    def named(self, name: str) -> tuple[Tap, ...]:
        """The taps a scenario's tap stands for: itself, or every stage (`STAGES`)."""
        return self.stages if name == STAGES else (self.tap(name),)

    @property
    def stages(self) -> tuple[Tap, ...]:
        """The ends of the stages, shallow to deep; of a token network its last four blocks."""
        return tuple(tap for tap in self.taps if tap.stage)

    def block(self, k: int) -> Tap:
        """The tap that stands for block k (1 to 5), the nearest deeper one where k has none.

        A ViT has one stride from end to end; all its blocks are its last tap.
        """
        with_extent = [tap for tap in self.taps if tap.block is not None]
        return next((tap for tap in with_extent if (tap.block or 0) >= k), with_extent[-1])

    @functools.cached_property
    def network(self) -> nn.Module:
        """The network with its weights, in eval mode, nothing requiring a gradient.

        Raises
        ------
        BackboneError
            The weights do not fit the network.
        """
        import torch

        network: nn.Module = _build(self.name)
        state = self.state()
        if state is None:  # random weights, for tests of structure
            torch.manual_seed(0)
            network = _build(self.name, device="cpu")
        else:
            head = tuple(_classifier_names(network))
            state = {name: value for name, value in state.items() if not name.startswith(head)}
            try:
                network.load_state_dict(state, strict=True, assign=True)
            except RuntimeError as error:
                first = str(error).splitlines()
                raise BackboneError(
                    f"the weights do not fit {self.name}: {' '.join(first[:3])[:300]}; "
                    "give weights made for this network"
                ) from error
        return network.eval().requires_grad_(False)


def load_backbone(name: str = DEFAULT, weights: str = "", notes: Path | None = None) -> Backbone:
    """Find a backbone by its timm name.

    Parameters
    ----------
    name
        Any network of timm.
    weights
        '' for weights that came by pip; `hub` to download timm's; a path of a .safetensors or
        state-dict file; `random` for untrained ones (tests of structure).
    notes
        A folder where what is found out about taps is kept, so that torch need not be asked again.

    Raises
    ------
    BackboneError
        timm has no such network, or there are no weights for it.
    """
    packaged = sources.PACKAGED.get(name)
    if packaged is not None and not weights:
        packaged.locate()
        card = Card(
            name,
            packaged.distribution,
            packaged.licence,
            packaged.credit,
            packaged.sha256,
            packaged.size,
            packaged.mean,
            packaged.std,
        )
        return Backbone(card, packaged.load, notes)
    _check_name(name)
    state: Callable[[], sources.StateDict | None]
    if weights == "random":
        source, sha256, state = "random", "random-0", lambda: None
    elif weights == "hub":
        downloaded, sha256 = sources.hub_state(name)
        source, state = "timm hub", lambda: downloaded
    elif weights:
        path = Path(weights)
        loaded = sources.load_file(path)
        source, sha256, state = f"file {path.name}", sources.sha256_of(path), lambda: loaded
    else:
        known = ", ".join(sources.PACKAGED)
        raise BackboneError(
            f"no weights for {name} come by pip (those that do: {known}); "
            "pass --weights FILE, or --weights hub to download timm's"
        )
    config = _build(name).pretrained_cfg
    credit, licence = config.get("origin_url") or "timm", config.get("license") or "unknown"
    size, mean, std = int(config["input_size"][1]), tuple(config["mean"]), tuple(config["std"])
    return Backbone(Card(name, source, licence, credit, sha256, size, mean, std), state, notes)


def restore_backbone(
    card: Card, path: Path, notes: Path | None = None, verified: str = ""
) -> Backbone:
    """The backbone that `save_backbone` wrote, under its own card; nothing is read before use."""
    return Backbone(card, lambda: sources.load_file(path), notes, verified)


def save_backbone(backbone: Backbone, path: Path) -> None:
    """Write the network's weights as safetensors, for a bundle that stands alone."""
    from safetensors.torch import save_file

    state = backbone.network.state_dict()
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)


def _check_name(name: str) -> None:
    """Refuse a name that timm does not know, with its nearest neighbours."""
    import difflib

    known = sources.import_timm().list_models()
    if name not in known:
        close = ", ".join(difflib.get_close_matches(name, known, n=5)) or "see `timm.list_models`"
        raise BackboneError(f"timm has no network {name!r}; close names: {close}")


@contextmanager
def _kept_random_state() -> Iterator[None]:
    """Leave torch's random numbers as they were; building a network draws some."""
    import torch

    before = torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_rng_state(before)


def _build(name: str, device: str = "meta") -> Any:
    """Build timm's network without its classifier; on the meta device it costs no memory."""
    import torch
    from torch import nn

    timm = sources.import_timm()
    with torch.device(device), _kept_random_state():
        network = timm.create_model(name, pretrained=False, num_classes=0)
    if type(network).__name__ == "VGG":
        # timm's `pre_logits` are VGG's fc6 and fc7: 100 million weights behind the last tap.
        network.pre_logits = nn.Identity()
    return network.eval()


def _classifier_names(network: Any) -> list[str]:
    """Prefixes of the parameters that lie behind the last tap and are left out."""
    classifier = network.pretrained_cfg.get("classifier") or "classifier"
    names = [classifier] if isinstance(classifier, str) else list(classifier)
    return [f"{name}." for name in names] + (
        ["pre_logits."] if type(network).__name__ == "VGG" else []
    )


# --------------------------------------------------------------------------- taps


def _tap_modules(network: Any) -> list[tuple[str, str]]:
    """(tap, module) pairs from shallow to deep, by the habits of timm's families."""
    family = type(network).__name__
    if family == "EfficientNet":
        stages = [(f"blocks.{i}", f"blocks.{i}") for i in range(len(network.blocks))]
        return [("stem", "bn1"), *stages, ("conv_head", "bn2")]
    if family == "VGG":
        return list(_vgg_tap_modules(network))
    pairs = [(info["module"], info["module"]) for info in network.feature_info]
    if hasattr(network, "cls_token") and network.cls_token is not None:
        pairs += [(f"{name}.cls", module) for name, module in pairs]
    return pairs


def _vgg_tap_modules(network: Any) -> Iterator[tuple[str, str]]:
    """VGG's convolutions, read behind their ReLU, and pools under Oxford's names."""
    block, conv = 1, 1
    for index, layer in enumerate(network.features):
        kind = type(layer).__name__
        if kind == "ReLU":
            yield f"block{block}_conv{conv}", f"features.{index}"
            conv += 1
        elif kind == "MaxPool2d":
            yield f"block{block}_pool", f"features.{index}"
            block, conv = block + 1, 1


def _read_note(note: Path) -> tuple[Tap, ...]:
    """The taps noted there; none where there is no note, or a garbled one."""
    try:
        rows = json.loads(note.read_text(encoding="utf-8"))
        return tuple(Tap(**{**row, "cost": Cost(**row["cost"])}) for row in rows)
    except (OSError, ValueError, KeyError, TypeError):
        return ()


@functools.cache
def _taps(name: str, size: int) -> tuple[Tap, ...]:
    """Describe every tap by a forward pass on the meta device: shapes and costs, no arithmetic."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    network = _build(name)
    modules = dict(network.named_modules())
    seen: dict[str, tuple[tuple[int, ...], Cost]] = {}
    parameters = 0

    def count(module: Any, _inputs: Any, _output: Any) -> None:
        nonlocal parameters
        parameters += sum(p.numel() for p in module.parameters(recurse=False))

    def read(path: str, output: Any) -> None:
        seen[path] = (tuple(output.shape), Cost(counter.get_total_flops() // 2, parameters))

    pairs = _tap_modules(network)
    for module in modules.values():
        module.register_forward_hook(count)
    for path in {path for _, path in pairs}:
        modules[path].register_forward_hook(
            lambda _module, _inputs, output, path=path: read(path, output)
        )
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.forward_features(torch.zeros(1, 3, size, size, device="meta"))
    taps = [
        _describe(tap, path, *seen[path], network=network, size=size)
        for tap, path in pairs
        if path in seen
    ]
    taps.sort(key=lambda tap: tap.cost.multiply_adds)
    return tuple(_with_stages(_with_blocks(taps, vgg=type(network).__name__ == "VGG")))


def _describe(
    tap: str, path: str, shape: tuple[int, ...], cost: Cost, *, network: Any, size: int
) -> Tap:
    """Name the layout of one output and count its stride."""
    if len(shape) == 3:
        channels = shape[2]
        if tap.endswith(".cls"):
            return Tap(tap, path, "CLS", channels, 0, cost)
        side = int((shape[1] - getattr(network, "num_prefix_tokens", 0)) ** 0.5)
        return Tap(tap, path, "NLC", channels, size // side, cost)
    # Channels exceed the extent behind the stem, and NHWC networks (Swin) say so in their norm.
    layout = "NHWC" if shape[1] == shape[2] and shape[3] != shape[2] else "NCHW"
    channels, side = (shape[3], shape[1]) if layout == "NHWC" else (shape[1], shape[2])
    stride = 2 ** round(math.log2(size / side))  # an odd size leaves 240 / 8 = 30 for 32
    return Tap(tap, path, layout, channels, stride, cost)


def _with_blocks(taps: list[Tap], *, vgg: bool) -> Iterator[Tap]:
    """Mark the tap that stands for each block (DESIGN: last at stride 2^k, or Oxford's block)."""
    last: dict[int, str] = {}
    for tap in taps:
        if vgg and "_conv" in tap.name:
            last[int(tap.name[5])] = tap.name
        elif not vgg and tap.stride > 1:
            last[tap.stride.bit_length() - 1] = tap.name
    block_of = {name: k for k, name in last.items()}
    for tap in taps:
        yield dataclasses.replace(tap, block=block_of.get(tap.name))


def _with_stages(taps: Iterator[Tap]) -> Iterator[Tap]:
    """Mark the ends of stages: Oxford's blocks, EfficientNet's, timm's `feature_info` otherwise.

    Token networks have no stages; their last four blocks are joined instead, as in the linear
    probes of Caron et al. (2021).
    """
    known = list(taps)
    patches = [tap.name for tap in known if tap.layout == "NLC"][-4:]
    oxford = any(tap.name == "block1_conv1" for tap in known)
    for tap in known:
        stage = tap.name not in {"stem", "conv_head"} and tap.stride > 0
        if oxford:
            stage = tap.block is not None
        elif patches:
            stage = tap.name in patches
        yield dataclasses.replace(tap, stage=stage)


# --------------------------------------------------------------------------- reading taps


class _Enough(Exception):  # noqa: N818 (not an error: the deepest tap has been read)
    """Stops a forward pass where nothing behind is wanted."""


def read_taps(network: nn.Module, taps: list[Tap], images: torch.Tensor) -> dict[str, torch.Tensor]:
    """One forward pass up to the deepest of `taps`.

    images : (batch, 3, height, width) float, normalised. Gives tap → (batch, channels, rows,
    columns), with rows = columns = 1 for a tap without extent. The network comes back as it was:
    its hooks are removed whatever happens.
    """
    modules = dict(network.named_modules())
    wanted = {tap.module for tap in taps}
    outputs: dict[str, torch.Tensor] = {}

    def read(path: str, output: torch.Tensor) -> None:
        outputs[path] = output
        if wanted <= outputs.keys():
            raise _Enough

    handles = [
        modules[path].register_forward_hook(
            lambda _module, _inputs, output, path=path: read(path, output)
        )
        for path in wanted
    ]
    try:
        network.forward_features(images)  # type: ignore[operator]
    except _Enough:
        pass
    finally:
        for handle in handles:
            handle.remove()
    prefix = int(getattr(network, "num_prefix_tokens", 0))
    return {tap.name: to_grid(outputs[tap.module], tap, prefix) for tap in taps}


def to_grid(output: torch.Tensor, tap: Tap, prefix: int) -> torch.Tensor:
    """Bring a tap's output to (batch, channels, rows, columns), whatever the network's layout."""
    if tap.layout == "NHWC":
        return output.permute(0, 3, 1, 2)
    if tap.layout == "CLS":
        return output[:, 0, :, None, None]
    if tap.layout == "NLC":
        tokens = output[:, prefix:].transpose(1, 2)  # (batch, channels, positions)
        side = int(tokens.shape[2] ** 0.5)
        return tokens.reshape(tokens.shape[0], tokens.shape[1], side, side)
    return output
