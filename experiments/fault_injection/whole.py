"""Is every file whole? What a kill may leave are only names that begin with a dot."""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np


def visible(folder: Path) -> Iterator[Path]:
    """The files below a folder that are not hidden, nor in a hidden folder of it."""
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name[0] != "."]
        for name in files:
            if name[0] != ".":
                yield Path(root) / name


def hidden(folder: Path) -> list[Path]:
    """What has a temporary name below a folder: files and folders."""
    return sorted(path for path in folder.rglob(".*") if path.name not in (".", ".."))


def half_written(folder: Path) -> list[str]:
    """The visible files that cannot be read whole, each with the reason."""
    found = []
    for path in visible(folder):
        try:
            READERS.get(path.suffix, _text)(path)
        except Exception as error:  # noqa: BLE001 (whatever a reader says of it)
            found.append(f"{path.relative_to(folder)}: {type(error).__name__}: {error}"[:300])
    return found


def _text(path: Path) -> None:
    if not path.read_text(encoding="utf-8").strip():
        raise ValueError("empty")


def _json(path: Path) -> None:
    json.loads(path.read_text(encoding="utf-8"))


def _events(path: Path) -> None:
    """Every line that was ended is one event; the last one may be cut short."""
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            json.loads(line)


def _html(path: Path) -> None:
    if not re.search(r"</html>\s*$", path.read_text(encoding="utf-8")[-200:]):
        raise ValueError("has no end")


def _safetensors(path: Path) -> None:
    from safetensors.numpy import load_file

    load_file(path)


def _parquet(path: Path) -> None:
    import pyarrow.parquet as pq

    pq.read_table(path)


def _npz(path: Path) -> None:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        for name in stored.files:
            stored[name]


def _npy(path: Path) -> None:
    np.load(path, allow_pickle=False)


def _picture(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as picture:
        picture.load()


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        if archive.testzip() is not None:
            raise ValueError("a part is garbled")


def _graph(path: Path) -> None:
    import openvino as ov

    ov.Core().read_model(path)


def _bin(path: Path) -> None:
    """Weights of a graph; alone they are no graph, and nobody reads them."""


READERS: dict[str, Callable[[Path], None]] = {
    ".json": _json, ".jsonl": _events, ".html": _html, ".safetensors": _safetensors,
    ".parquet": _parquet, ".npz": _npz, ".npy": _npy, ".png": _picture, ".medgraft": _zip,
    ".pt": _zip, ".xml": _graph, ".bin": _bin,
}  # fmt: skip
