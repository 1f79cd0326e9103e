"""One tree of errors, and the one door for what is optional.

Every error a user can cause is a `MedgraftError`. Its text names the value, the rule it breaks
and the remedy, in one or two lines, because the command line prints that text and nothing else.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Self


class MedgraftError(Exception):
    """Anything medgraft refuses or cannot do, explained."""


class DataError(MedgraftError):
    """The images, labels or groups given cannot be studied."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One way to read data: the flag that chooses it, or the other DATA to pass, and what it gives.

    flags : by option name, such as `layout`. data : a path to pass instead; '' for the same.
    """

    shows: str
    flags: tuple[tuple[str, str], ...] = ()
    data: str = ""

    def __str__(self) -> str:
        flags = [f"--{name.replace('_', '-')} '{value}'" for name, value in self.flags]
        gap = " " if self.shows.startswith("(") else "  "
        return " ".join(filter(None, (self.data, *flags))) + gap + self.shows


class AmbiguousDataError(DataError):
    """What is given can be read in several ways; the text shows each with the flag for it.

    question : the text without them. choices : the ways.
    """

    def __init__(self, question: str, choices: Sequence[Choice]) -> None:
        super().__init__("\n  ".join((question, *map(str, choices))))
        self.question, self.choices = question, tuple(choices)


class UnreadableDataError(DataError):
    """Not one image of what is given can be read."""


class DecodeError(DataError):
    """One image cannot be turned into pixels."""


class TooManyPixelsError(DecodeError):
    """An image has more pixels than are decoded."""


class UnknownKindError(DecodeError):
    """Bytes are an image of no kind that is read."""


class BackboneError(MedgraftError):
    """A network, its weights or one of its taps is not there."""


class CacheError(MedgraftError):
    """The cache cannot be read or written."""


class ScenarioError(MedgraftError):
    """A scenario's name or parts make no sense together."""


class FitError(MedgraftError):
    """Nothing can be learned from what is there (one class, too few groups)."""


class BundleError(MedgraftError):
    """A saved model cannot be read, or is not one."""

    @classmethod
    def garbled(cls, path: Path, error: Exception) -> Self:
        """Of a file whose content is not what this version writes."""
        return cls(
            f"{path} lacks or garbles a part ({error}); it was not written by this version of "
            "medgraft"
        )


class NewerBundleError(BundleError):
    """A saved model is of a later schema, which only a later version of medgraft reads."""


class ExportError(MedgraftError):
    """A model cannot be written as a graph, or the graph does not answer as the model does."""


class ForeignModelError(MedgraftError):
    """A model that is not medgraft's cannot be opened, or does not answer as a classifier does."""


class AmbiguousModelError(ForeignModelError):
    """What such a model wants or says can be read in several ways; the text shows each flag."""


class LeakError(MedgraftError):
    """Something asked for the test split where only development images may choose."""


class MissingExtraError(MedgraftError):
    """An optional dependency is needed and absent."""


def optional(module: str, extra: str) -> ModuleType:
    """Import `module`, which comes with `pip install medgraft[extra]`.

    Raises
    ------
    MissingExtraError
        It is not installed; the text says which extra to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{module} is not installed, and this needs it; run: pip install 'medgraft[{extra}]'"
        ) from error
