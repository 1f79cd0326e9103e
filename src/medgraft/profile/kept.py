"""Parts that a study adds to a saved classifier: arrays in a file that its `bundle.json` names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from medgraft.errors import BundleError
from medgraft.features.weights import sha256_of
from medgraft.files import write_json

Arrays = Mapping[str, NDArray[Any]]


def keep(folder: Path, name: str, arrays: Arrays, words: Mapping[str, str]) -> None:
    """Add a file of arrays and words to a bundle, with its sha256 in `bundle.json`."""
    from safetensors.numpy import save_file

    path, bundle = folder / name, folder / "bundle.json"
    save_file(dict(arrays), path, dict(words))
    content = json.loads(bundle.read_text(encoding="utf-8"))
    content["sha256"][name] = sha256_of(path)
    write_json(bundle, content)


def kept(folder: Path, name: str) -> tuple[Arrays, Mapping[str, str]] | None:
    """What `keep` wrote; None where the bundle has no such file.

    Raises
    ------
    BundleError
        It is damaged.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / name
    if not path.is_file():
        return None
    try:
        with safe_open(path, "numpy") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise BundleError.garbled(path, error) from error
