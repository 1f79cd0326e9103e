"""What a killed run of training goes on from: groups of tensors and their history in one file.

The file is safetensors, written whole or not at all. Which tensors make a run is for `finetune.py`.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medgraft.errors import FitError
from medgraft.features.cache import ELSEWHERE
from medgraft.files import written_file

if TYPE_CHECKING:
    import torch

State = dict[str, "torch.Tensor"]


def write_checkpoint(
    path: Path, identity: str, history: str, groups: Mapping[str, Mapping[str, torch.Tensor]]
) -> None:
    """Put a run's tensors, in named groups, and its history in place of an older checkpoint.

    Raises
    ------
    StorageError
        The disk does not take it; an older checkpoint is then as it was.
    """
    from safetensors.torch import save_file

    tensors = {
        f"{group}/{name}": tensor.detach().cpu().contiguous().clone()
        for group, state in groups.items()
        for name, tensor in state.items()
    }
    words = {"identity": identity, "history": history, "sum": _sum(tensors)}
    with written_file(path, ELSEWHERE) as temporary:
        save_file(tensors, temporary, words)


def read_checkpoint(path: Path, identity: str) -> tuple[str, dict[str, State]] | None:
    """The history and the groups of tensors, on the CPU; None where no whole file is there.

    Raises
    ------
    FitError
        It is the checkpoint of another run.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            words = file.metadata() or {}
            tensors: State = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (FileNotFoundError, SafetensorError):
        return None
    if words.get("sum") != _sum(tensors):  # garbled by the disk: as if it were not there
        return None
    if words["identity"] != identity:
        raise FitError(
            f"{path} is the checkpoint of another run (other images, folds, weights or recipe); "
            "remove it, or train into another folder"
        )
    groups: dict[str, State] = {}
    for name, tensor in tensors.items():
        group, own = name.split("/", 1)
        groups.setdefault(group, {})[own] = tensor
    return words["history"], groups


def _sum(tensors: State) -> str:
    """A checksum of all values, which safetensors has none of."""
    found = 0
    for name in sorted(tensors):
        values: Any = tensors[name].numpy()
        found = zlib.crc32(values, zlib.crc32(name.encode(), found))
    return f"{found:08x}"


def mean_state(states: Sequence[State]) -> State:
    """The mean of networks' weights, summed in double precision; of one, it itself."""
    import torch

    return {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(last.dtype)
        for name, last in states[-1].items()
    }
