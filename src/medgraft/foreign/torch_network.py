"""A PyTorch network: a module of the caller's, or weights with their network's name.

Weights are read as tensors alone (safetensors, or `weights_only`); nothing in the file is run.
TorchScript is refused: it is a program, which may read and write files when it is called.
"""

from __future__ import annotations

import copy
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medgraft.errors import BackboneError, ForeignModelError
from medgraft.features.weights import StateDict, import_timm, load_file
from medgraft.foreign.answers import in_channels, read_output, rows_of
from medgraft.foreign.options import (
    NORMALIZE,
    ForeignOptions,
    Normalisation,
    asked_normalisation,
    normalisation_of,
)
from medgraft.foreign.python_callable import imported
from medgraft.results.foreign_model import ForeignKind, OutputKind
from medgraft.types import Floats, Pixels

if TYPE_CHECKING:
    from torch import nn

SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".safetensors", ".th", ".tar")
TORCHVISION = "torchvision/"
COUNTED = ".num_batches_tracked"  # of batch norms, which old checkpoints lack and nothing reads


class TorchNetwork:
    """Gets (n, channels, side, side) floats, normalised, and gives (n, n_classes) numbers.

    A module is copied and set to evaluation, so that the caller's stays as it is. config : what the
    network's library says of it, `mean`, `std` and `input_size`, where that is known.
    """

    kind: ForeignKind = "torch"
    batch = 32
    named = False
    outputs: OutputKind | str = ""

    def __init__(
        self,
        module: nn.Module,
        name: str,
        options: ForeignOptions,
        n_classes: int,
        *,
        network: str = "",
        config: Mapping[str, Any] | None = None,
        channels: int = 3,
    ) -> None:
        self.module = copy.deepcopy(module).cpu().float().eval()
        self.name, self.network, self.n_classes = name, network, n_classes
        config = config or {}
        self.channels = options.channels or ("grey" if channels == 1 else "rgb")
        self._normalise = _normalisation(options, name, config, grey=self.channels == "grey")
        self.normalize = self._normalise.text
        size = config.get("input_size")
        self.side = options.input_size or (int(size[-1]) if size else options.side(
            f"{name} is a network of any size"
        ))  # fmt: skip
        self.output, self._asked = "", options.output_name

    def __call__(self, images: Pixels) -> Floats:
        import torch

        pixels = self._normalise(in_channels(images, self.channels)).transpose(0, 3, 1, 2)
        try:
            with torch.inference_mode():
                raw = self.module(torch.from_numpy(np.ascontiguousarray(pixels)))
        except Exception as error:
            raise ForeignModelError(
                f"{self.name} raised {type(error).__name__} for images {pixels.shape}: "
                f"{str(error)[:200]}; look at --input-size and --channels"
            ) from error
        if isinstance(raw, Mapping | tuple | list):
            named = raw if isinstance(raw, Mapping) else dict(enumerate(raw))
            self.output, raw = read_output(named, self.n_classes, self._asked, self.name)
        return rows_of(raw, len(images), self.name)


def is_torch_module(model: Any) -> bool:
    """Whether it is a `torch.nn.Module`, without loading torch to know."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def from_checkpoint(path: Path, options: ForeignOptions, n_classes: int) -> TorchNetwork:
    """The network that `options.network` names, with the weights of a file.

    Its number of outputs and of input channels are read from the weights.

    Raises
    ------
    ForeignModelError
        The file is no state dict, is another network's, or the network does not exist.
    """
    if not path.is_file():
        raise ForeignModelError(f"no file at {path}; give the path of a checkpoint")
    if not options.network:
        raise ForeignModelError(
            f"{path.name} holds weights and not the network they are of; pass --network, such as "
            f"resnet18 (timm), {TORCHVISION}resnet18, or module:function that builds it"
        )
    _refuse_programs(path)
    try:
        state = load_file(path)
    except BackboneError as error:
        raise ForeignModelError(
            f"{error}. In the script that made it: torch.save(model.state_dict(), 'model.pth')"
        ) from error
    module = build(options.network, n_classes)
    state = own_names(state, module.state_dict())
    found, channels = _sizes(state, module.state_dict(), n_classes)
    if (found, channels) != (n_classes, 3):
        module = build(options.network, found, channels)
    _load(module, state, path.name, options.network)
    config = getattr(module, "pretrained_cfg", None)
    return TorchNetwork(
        module, path.name, options, n_classes, network=options.network, config=config,
        channels=channels,
    )  # fmt: skip


def build(network: str, n_classes: int, channels: int = 3) -> nn.Module:
    """A network by name, without weights; nothing is fetched.

    Raises
    ------
    ForeignModelError
        There is none of that name, or it cannot be built so.
    """
    from torch import nn

    try:
        timm = import_timm()  # first, for it mends what torchvision's import may lack
        if network.startswith(TORCHVISION):
            import torchvision

            name = network.removeprefix(TORCHVISION)
            module = torchvision.models.get_model(name, weights=None, num_classes=n_classes)
        elif ":" in network and "/" not in network:
            module = imported(network)()
        else:
            if network not in timm.list_models():
                raise ValueError("timm has no network of that name")
            module = timm.create_model(
                network, pretrained=False, num_classes=n_classes, in_chans=channels
            )
    except ForeignModelError:
        raise
    except Exception as error:
        raise ForeignModelError(
            f"--network {network} cannot be built with {n_classes} outputs ({error}); give a name "
            f"of timm's, {TORCHVISION}NAME, or module:function that gives the network"
        ) from error
    if not isinstance(module, nn.Module):
        raise ForeignModelError(
            f"--network {network} gave {type(module).__name__}, which is no torch.nn.Module; it "
            "should build the network and take no arguments"
        )
    return module


def own_names(state: StateDict, target: Mapping[str, Any]) -> StateDict:
    """The state dict without the prefix of what the network was wrapped in.

    >>> own_names({"module.fc.bias": 1, "loss.weight": 2}, {"fc.bias": 0})
    {'fc.bias': 1}
    """
    while state and not set(state) & set(target):
        parts: dict[str, StateDict] = {}
        for name, value in state.items():
            head, _, rest = name.partition(".")
            if rest:
                parts.setdefault(head, {})[rest] = value
        if not parts:
            break
        state = max(parts.values(), key=lambda part: (len(set(part) & set(target)), len(part)))
    return state


def _sizes(state: StateDict, target: Mapping[str, Any], n_classes: int) -> tuple[int, int]:
    """Outputs and input channels of the network that the weights are of."""
    found, channels = n_classes, 3
    for name, own in target.items():
        given = state.get(name)
        if given is None or given.shape == own.shape or given.ndim != own.ndim or not own.ndim:
            continue
        if own.shape[0] == n_classes and given.shape[1:] == own.shape[1:]:
            found = int(given.shape[0])
        elif own.ndim == 4 and own.shape[1] == 3 and given.shape[1] == 1:
            channels = 1
    return found, channels


def _load(module: nn.Module, state: StateDict, name: str, network: str) -> None:
    target = module.state_dict()
    lacking = [k for k in target if k not in state and not k.endswith(COUNTED)]
    extra = [k for k in state if k not in target]
    others = [
        f"{k} {tuple(state[k].shape)} instead of {tuple(target[k].shape)}"
        for k in state
        if k in target and state[k].shape != target[k].shape
    ]
    wrong = (("lacking", lacking), ("unknown", extra), ("of another shape", others))
    if any(names for _, names in wrong):
        listed = "; ".join(f"{what}: {_few(names)}" for what, names in wrong if names)
        raise ForeignModelError(
            f"{name} holds no weights of {network} ({listed}); pass --network with the name of the "
            "network that they are of"
        )
    module.load_state_dict(state, strict=False)


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _refuse_programs(path: Path) -> None:
    """TorchScript is code that is run, if not Python's."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        code = any("/code/" in name for name in archive.namelist())
    if code:
        raise ForeignModelError(
            f"{path.name} is TorchScript, a program that may read and write files when it is asked "
            "and is not run here; export it as ONNX, or load it in a function of your own and give "
            "module:function"
        )


def _normalisation(
    options: ForeignOptions, name: str, config: Mapping[str, Any], *, grey: bool
) -> Normalisation:
    """The one asked for, or that of the network's library, which knows none of one channel."""
    if options.normalize or grey or not (config.get("mean") and config.get("std")):
        return asked_normalisation(options, name)
    mean, std = tuple(config["mean"]), tuple(config["std"])
    known = next((word for word, values in NORMALIZE.items() if values == (mean, std)), "")
    text = "/".join(",".join(f"{value:g}" for value in values) for values in (mean, std))
    return normalisation_of(known or text)
