"""Several findings in one image: a question each, over images that are read once."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from medgraft.errors import DataError
from medgraft.types import ImageTable, Ints, digest

ABSENT, PRESENT, UNKNOWN, UNCERTAIN = 0, 1, -1, -2
"""What is known of one finding in one image; an uncertain one was looked for, and not decided."""

Marks = NDArray[np.int8]
Uncertain = Literal["unknown", "negative", "positive"]
TAKEN_AS: Mapping[str, int] = {"unknown": UNKNOWN, "negative": ABSENT, "positive": PRESENT}


def check_uncertain(word: str) -> None:
    """Refuse a word that does not say what uncertain findings are taken as.

    Raises
    ------
    DataError
        It is none of `Uncertain`.
    """
    if word not in get_args(Uncertain):
        raise DataError(
            f"--uncertain is '{word}'; it says what uncertain findings are taken as: "
            f"{', '.join(get_args(Uncertain))}"
        )


@dataclass(frozen=True, eq=False)
class Panel:
    """n images of which k findings are each there, or not, or not known.

    images : without labels and classes. names : (k,) of the findings. marks : (n, k) what is known
    of each (`PRESENT`, …). uncertain : what uncertain ones are taken as.

    Raises
    ------
    DataError
        `uncertain` is none of the three words.
    """

    images: ImageTable
    names: tuple[str, ...]
    marks: Marks
    uncertain: Uncertain = "unknown"

    def __post_init__(self) -> None:
        check_uncertain(self.uncertain)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def truth(self) -> Marks:
        """(n, k) `PRESENT`, `ABSENT` or `UNKNOWN`, with uncertain findings taken as was chosen."""
        return np.where(self.marks == UNCERTAIN, TAKEN_AS[self.uncertain], self.marks)

    def question(self, name: str) -> ImageTable:
        """The images of which one finding is known, in two classes: with it, and without."""
        there = self.truth[:, self.names.index(name)]
        classes = tuple(sorted((name, f"no {name}")))
        labels = np.where(there == PRESENT, classes.index(name), 1 - classes.index(name))
        table = dataclasses.replace(
            self.images, labels=labels.astype(np.int64), classes=classes, positive=name
        )
        return table.select(there != UNKNOWN)

    def taken_as(self, uncertain: Uncertain) -> Self:
        """The same with another choice for what is uncertain."""
        return dataclasses.replace(self, uncertain=uncertain)

    def select(self, rows: NDArray[np.bool_] | Ints) -> Self:
        """The panel of some images, by mask or by index, in the order given."""
        index = np.flatnonzero(rows) if rows.dtype == bool else rows
        return dataclasses.replace(self, images=self.images.select(index), marks=self.marks[index])

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of everything that can change a number."""
        marks = self.marks.astype(np.int8).tolist()
        return digest(self.images.fingerprint, self.names, marks, self.uncertain)
