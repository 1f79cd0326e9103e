"""A state dict in a network's own names, from whatever a training script called its layers.

Wrappers put prefixes before the names, authors theirs in the place of timm's, and what was trained
on top of the network (a classifier, DINO's projection) lies beside it. All that is undone here;
anything else that is too few or too many is an error.
"""

from __future__ import annotations

import importlib
import warnings
from typing import TYPE_CHECKING, Any

from medgraft.errors import BackboneError
from medgraft.features.taps import is_vgg
from medgraft.features.weights import StateDict, dense_as_convolutions

if TYPE_CHECKING:
    import torch

PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "teacher.", "student.", "encoder.")
HEADS = (
    *("head.", "heads.", "head_dist.", "fc.", "classifier.", "pre_logits.", "dino_head."),
    *("ibot_head.", "projector.", "predictor."),
)
UNREAD = ("head.norm.", "fc_norm.")  # layers of timm's networks that lie behind the last tap
FIXED = ("patch_embed.proj.weight", "relative_position_bias_table")  # timm would interpolate them
# VGG's first dense layer, as timm and as torchvision call it: weights that hold it have taps of it.
DENSE_LAYERS = ("pre_logits.fc1.weight", "classifier.0.weight")
SHOWN = 4  # names of each kind in an error


def without_prefix(state: StateDict) -> StateDict:
    """The network's own part of a state dict, without the prefixes of what it was wrapped in.

    A prefix goes where every other name belongs to a head or to another wrapped network.

    >>> list(without_prefix({"teacher.backbone.norm.bias": 0, "student.backbone.norm.bias": 0}))
    ['norm.bias']
    """
    for prefix in PREFIXES:
        inside = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        others = [name for name in state if not name.startswith(prefix)]
        if inside and all(name.startswith((*HEADS, *PREFIXES)) for name in others):
            return without_prefix(inside)
    return state


def fitted(state: StateDict, network: Any, source: str, name: str, usual: Any = None) -> StateDict:
    """The state dict of `network` from one in the names of its authors, float32.

    network : of timm without its classifier, on the meta device, at the input size that it will
    have; position embeddings of another size are interpolated. source, name : of the weights and of
    the network, for the error's text. usual : the network at timm's input size, where it is not
    that one; patches and windows must be its.

    Raises
    ------
    BackboneError
        The weights are another network's; the text lists some of the names.
    """
    state = without_prefix(state)
    target: StateDict = network.state_dict()
    at_home: StateDict = (usual or network).state_dict()
    fixed = {k: v for k, v in at_home.items() if k.endswith(FIXED)}
    changed = [k for k in fixed if k in state and _differ(state, fixed, k)]
    if changed:
        raise BackboneError(_misfit(source, name, [], [], _shapes(state, fixed, changed)))
    if is_vgg(network):
        state = dense_as_convolutions(state)
    state = _in_timms_names(state, network, source, name)
    head = tuple(name for name in HEADS if not any(own.startswith(name) for own in target))
    state = {k: v for k, v in state.items() if k in target or not k.startswith((*head, *UNREAD))}
    if "head.norm.weight" in target:  # of ConvNeXt, whose classifier lies in the same module
        state = {k: v for k, v in state.items() if k in target or not k.startswith("head.")}
    state = {**_left_out(target, state), **state}
    lacking = [k for k in target if k not in state]
    extra = [k for k in state if k not in target]
    others = _shapes(state, target, [k for k in state if k in target and _differ(state, target, k)])
    if lacking or extra or others:
        raise BackboneError(_misfit(source, name, lacking, extra, others))
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}


def _in_timms_names(state: StateDict, network: Any, source: str, name: str) -> StateDict:
    """What timm makes of the checkpoints of the network's authors, where it knows any."""
    module = importlib.import_module(type(network).__module__)
    convert = getattr(module, "checkpoint_filter_fn", None)
    if convert is None:
        return state
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, of what timm does to interpolate
            return dict(convert(state, network))
    except Exception as error:  # of weights that timm's code was not written for
        raise BackboneError(
            f"{source} does not fit {name}: timm's conversion fails ({error}); give weights of "
            "this network, or name theirs with --architecture"
        ) from error


def _left_out(target: StateDict, state: StateDict) -> StateDict:
    """What may be missing: counters of old files, and layers that nothing here reads."""
    import torch

    found: StateDict = {}
    for name, wanted in target.items():
        if name.endswith("num_batches_tracked"):
            found[name] = torch.zeros((), dtype=wanted.dtype)
        elif name.startswith(UNREAD) and name not in state:
            make = torch.ones if name.endswith("weight") else torch.zeros
            found[name] = make(wanted.shape)
    return found


def _differ(state: StateDict, target: StateDict, name: str) -> bool:
    return state[name].shape != target[name].shape


def _shapes(state: StateDict, target: StateDict, names: list[str]) -> list[str]:
    def of(tensor: torch.Tensor) -> str:
        return "×".join(map(str, tensor.shape)) or "one number"

    return [f"{name} is {of(state[name])}, not {of(target[name])}" for name in names]


def _misfit(source: str, name: str, lacking: list[str], extra: list[str], others: list[str]) -> str:
    """The error's text: some of each kind, and how many there are."""
    found = []
    for what, names in (("it lacks", lacking), ("it holds besides", extra), ("", others)):
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            found.append(f"{what} {', '.join(names[:SHOWN])}{more}".strip())
    return (
        f"the weights do not fit {name} ({source}): {'; '.join(found)}; give weights made for this "
        "network, or name theirs with --architecture"
    )
