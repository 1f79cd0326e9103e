"""A Python function that answers for images."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from medgraft.errors import ForeignModelError
from medgraft.foreign.answers import in_channels, read_output, rows_of
from medgraft.foreign.options import ForeignOptions
from medgraft.results.foreign_model import ForeignKind, OutputKind
from medgraft.types import Floats, Pixels


class PythonCallable:
    """Gets (n, side, side, 3) uint8 RGB, an array of its own each time, and normalises it itself.

    With `channels="grey"` it gets (n, side, side). It gives (n, number of classes), as an array, a
    tensor or lists, or a mapping of names to such.

    Raises
    ------
    ForeignModelError
        The size of its images was not said, or a normalisation was.
    """

    kind: ForeignKind = "callable"
    named = False
    outputs: OutputKind | str = ""
    batch = 64
    normalize = network = ""

    def __init__(
        self, function: Callable[[Any], Any], name: str, options: ForeignOptions, n_classes: int
    ) -> None:
        self.function, self.name, self.n_classes = function, name, n_classes
        self.side = options.side(f"{name} is a Python function")
        self.channels = options.channels or "rgb"
        self.output, self._asked = "", options.output_name
        if options.normalize:
            raise ForeignModelError(
                f"--normalize {options.normalize} is not for {name}: a Python function gets 8-bit "
                "images and normalises them itself; leave the option out"
            )

    def __call__(self, images: Pixels) -> Floats:
        own = in_channels(images, self.channels)
        try:
            raw = self.function(own[..., 0] if self.channels == "grey" else own)
        except Exception as error:
            raise ForeignModelError(
                f"{self.name} raised {type(error).__name__} for {len(images)} images of shape "
                f"{own.shape[1:]}: {error}"
            ) from error
        if isinstance(raw, Mapping):
            self.output, raw = read_output(raw, self.n_classes, self._asked, self.name)
        return rows_of(raw, len(images), self.name)


def imported(name: str) -> Any:
    """What `module:function` names, the folder one is in being looked through first.

    Raises
    ------
    ForeignModelError
        There is no such module, it cannot be imported, or it has no such function.
    """
    module, _, attribute = name.partition(":")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        found = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise ForeignModelError(
            f"{name} cannot be imported ({type(error).__name__}: {error}); give module:function of "
            "a module that is installed, or lies in the folder you are in"
        ) from error
    finally:
        sys.path.remove(here)
    if not callable(found):
        raise ForeignModelError(
            f"{name} is {type(found).__name__}, which cannot be called; name a function that takes "
            "images (n, side, side, 3) and gives (n, number of classes)"
        )
    return found
