"""The backbones that a user added from files of weights, kept beside the cache.

Each is a folder with the weights, as safetensors in timm's names, and a card that says where they
are from. They are kept beside the cache and not in it, since nothing could compute them again.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

from medgraft.errors import BackboneError
from medgraft.features.weights import StateDict, load_file, sha256_of
from medgraft.files import cache_folder, explained, write_json, written_folder
from medgraft.types import Card

FORMAT = 1  # of a card on disk
NAME = r"\w[\w.-]{0,63}"
WEIGHTS, CARD = "weights.safetensors", "card.json"


def added_folder() -> Path:
    """Where added backbones lie: beside the cache, under its name and `-backbones`."""
    cache = cache_folder()
    return cache.with_name(f"{cache.name}-backbones")


def added_names() -> tuple[str, ...]:
    """The names of all added backbones, in the alphabet's order."""
    return tuple(sorted(path.parent.name for path in added_folder().glob(f"[!.]*/{CARD}")))


def is_added(name: str) -> bool:
    """Whether a backbone of that name was added."""
    return re.fullmatch(NAME, name) is not None and (added_folder() / name / CARD).is_file()


def added_card(name: str) -> Card:
    """The provenance of an added backbone.

    Raises
    ------
    BackboneError
        There is none of that name, or its card is garbled.
    """
    if not is_added(name):
        raise BackboneError(
            f"no backbone {name!r} was added; those that were: "
            f"{', '.join(added_names()) or 'none'} (medgraft weights list)"
        )
    path = added_folder() / name / CARD
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']}, and this version reads {FORMAT}")
        fields: dict[str, Any] = content["card"]
        fields |= {word: tuple(fields[word]) for word in ("mean", "std")}
        card = Card(**fields)
        if card.alias != name or not re.fullmatch(r"[0-9a-f]{64}", card.sha256):
            raise ValueError("another backbone's name, or no sha256")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackboneError(
            f"{path} is garbled ({error}); run: medgraft weights remove {name}, and add it again"
        ) from error
    return card


def added_state(card: Card) -> StateDict:
    """The weights of an added backbone, after checking that they are still those that were added.

    Raises
    ------
    BackboneError
        The file is missing or was changed.
    """
    path = added_folder() / card.alias / WEIGHTS
    found = sha256_of(path) if path.is_file() else "no file"
    if found != card.sha256:
        raise BackboneError(
            f"{path} has sha256 {found[:12]}…, and {card.sha256[:12]}… was added as {card.alias}; "
            f"run: medgraft weights remove {card.alias}, and add it again"
        )
    return load_file(path)


def keep(card: Card, state: StateDict) -> Card:
    """Write a backbone's folder, whole or not at all; gives the card with the file's sha256.

    The architecture stands in the file, so that the same numbers in another network have another
    hash: what is computed with them is kept under it.
    """
    from safetensors.torch import save_file

    with written_folder(added_folder() / card.alias) as folder:
        path = folder / WEIGHTS
        tensors = {name: tensor.contiguous().clone() for name, tensor in state.items()}
        save_file(tensors, path, metadata={"architecture": card.name, "size": str(card.size)})
        card = dataclasses.replace(card, sha256=sha256_of(path))
        write_json(folder / CARD, {"format": FORMAT, "card": dataclasses.asdict(card)})
    return card


def remove(name: str) -> Path:
    """Delete an added backbone, also one whose card is garbled; gives the folder it was in.

    Raises
    ------
    BackboneError
        There is none of that name.
    """
    if not is_added(name):
        added_card(name)  # says which there are
    folder = added_folder() / name
    with explained(folder):
        gone = folder.with_name(f".{name}-removed")
        shutil.rmtree(gone, ignore_errors=True)
        folder.rename(gone)
        shutil.rmtree(gone)
    return folder
