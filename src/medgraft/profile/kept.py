"""Parts that a study adds to a saved classifier: arrays in a file that its `bundle.json` names."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from medgraft.errors import BundleError
from medgraft.features.weights import sha256_of
from medgraft.files import write_json

Arrays = Mapping[str, NDArray[Any]]
Words = Mapping[str, str]
T = TypeVar("T")


def keep(folder: Path, name: str, arrays: Arrays, words: Words) -> None:
    """Add a file of arrays and words to a bundle, with its sha256 in `bundle.json`."""
    from safetensors.numpy import save

    path, bundle = folder / name, folder / "bundle.json"
    path.write_bytes(_in_order(save(dict(arrays), dict(words))))
    content = json.loads(bundle.read_text(encoding="utf-8"))
    content["sha256"][name] = sha256_of(path)
    write_json(bundle, content)


def _in_order(data: bytes) -> bytes:
    """The same file with the words of its header in order: safetensors leaves that to chance.

    A length (8 bytes, little-endian), so many bytes of JSON, the arrays; places in them are counted
    from where the JSON ends.
    """
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text = text.ljust(-(-len(text) // 8) * 8)  # arrays begin at a multiple of 8
    return len(text).to_bytes(8, "little") + text + data[end:]


def kept(folder: Path, name: str, build: Callable[[Arrays, Words], T]) -> T | None:
    """What `build` makes of what `keep` wrote; None where the bundle has no such file.

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
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return build(arrays, file.metadata() or {})
    except (IndexError, KeyError, OSError, SafetensorError, TypeError, ValueError) as error:
        raise BundleError.garbled(path, error) from error


def check_shapes(arrays: Arrays, **shapes: tuple[str | int, ...]) -> None:
    """Refuse arrays that do not fit each other; a letter is the same length wherever it stands.

    Raises
    ------
    ValueError
        One has another shape, or holds what is no finite number.

    Examples
    --------
    >>> import numpy as np
    >>> check_shapes({"a": np.zeros((3, 2)), "b": np.zeros(4)}, a=("n", 2), b=("n",))
    Traceback (most recent call last):
    ValueError: b is (4,), and n is 3
    """
    lengths: dict[str, int] = {}
    for name, axes in shapes.items():
        shape = arrays[name].shape
        if len(shape) != len(axes):
            raise ValueError(f"{name} is {shape}, and has {len(axes)} axes")
        for axis, length in zip(axes, shape, strict=True):
            expected = axis if isinstance(axis, int) else lengths.setdefault(axis, length)
            if length != expected:
                raise ValueError(f"{name} is {shape}, and {axis} is {expected}")
        if arrays[name].dtype.kind == "f" and not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name} holds what is no finite number")
