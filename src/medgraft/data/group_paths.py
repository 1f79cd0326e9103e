r"""Keys that a pattern finds in paths, and paths taken apart into folders and words.

A pattern is searched in the file name (`person12_virus_3.jpeg`), then in the folders around it
from the nearest outwards, but for the class's and the split's; the first part that matches gives
the key. A pattern that holds a slash is searched in the whole path instead, from the data's root.
What stands in the pattern's capture groups is the key, or else the whole match.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

import numpy as np

from medgraft.data.group_keys import FEW, MANY, MIN_FIT, known
from medgraft.data.group_words import SPOKEN, VIEW_FOLDERS, runs
from medgraft.data.listing import SPLIT_NAMES
from medgraft.errors import DataError
from medgraft.types import Strings

Parts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Habit:
    """How the files of some well-known medical sets are named, where the general rule errs.

    `short` are tempting shorter keys: equal where two images are of one patient, but perhaps also
    where counting started anew, which is why they are tested and not grouped by.
    """

    name: str
    pattern: str
    short: tuple[tuple[str, str], ...] = ()
    mere_numbers: bool = False


HABITS = (
    Habit(  # Kermany et al., Cell 172, 2018; bacteria and virus count persons separately
        "paediatric chest X-rays",
        r"person\d+_(?:bacteria|virus)|(?:NORMAL2-)?IM-\d+",
        short=(("personN", r"person\d+"), ("IM-N", r"IM-\d+")),
    ),
    Habit("NIH chest X-rays", r"^000\d{5}(?=_\d{3}\.)"),
    Habit("BreakHis slides", r"^SOB_[BM]_[A-Z]+-(\d+-\w+)-\d+-\d+\."),
    Habit("TCGA barcodes", r"TCGA[-_][0-9A-Z]{2}[-_][0-9A-Z]{4}"),  # the first part is a hospital
    Habit("ADNI subjects", r"(?<!\d)\d{3}_S_\d{4}(?!\d)"),  # so it is here
    Habit(
        "patient numbers",
        r"(?i)(?<![a-z])(?:patient|pat|pt|subject|subj|sub|case|person)[-_ ]?\d+",
        mere_numbers=True,
    ),
)


def keys_by(pattern: str, ids: Strings, folders: Sequence[Parts]) -> Strings:
    """(n,) the key of each image, '' where the pattern does not match.

    Raises
    ------
    DataError
        The pattern is no regular expression.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise DataError(
            f"'{pattern}' is not a regular expression ({error}); correct --group regex:PATTERN"
        ) from error
    whole = "/" in pattern
    keys = []
    for id_, names in zip(ids.tolist(), folders, strict=True):
        places = (id_,) if whole else (id_.rsplit("/", 1)[-1], *reversed(names))
        matches = (compiled.search(place) for place in places)
        match = next((found for found in matches if found), None)
        keys.append("" if match is None else _text(match))
    return known(np.array(keys, dtype=np.str_))


def _text(match: re.Match[str]) -> str:
    return "_".join(text for text in match.groups() if text) or match[0]


def folders_of(ids: Strings, class_names: Strings) -> list[Parts]:
    """The folders around each image that are named neither like its class nor like a split."""
    return [
        tuple(
            part
            for part in PurePosixPath(id_).parts[:-1]
            if part != name and part.lower() not in SPLIT_NAMES
        )
        for id_, name in zip(ids.tolist(), class_names.tolist(), strict=True)
    ]


def short_keys(ids: Strings) -> dict[str, Strings]:
    """The shorter keys of the habit that the file names follow, as name → (n,), '' where none.

    An empty dict where no habit fits, or the one that does has no shorter keys.
    """
    folders = folders_of(ids, np.full(len(ids), ""))
    for habit in HABITS:
        if habit.short and (keys_by(habit.pattern, ids, folders) != "").mean() >= MIN_FIT:
            return {name: keys_by(pattern, ids, folders) for name, pattern in habit.short}
    return {}


@dataclass(frozen=True)
class Paths:
    """The images' paths taken apart; every list has one entry an image."""

    ids: Strings
    folders: Sequence[Parts]
    class_names: Strings

    @cached_property
    def parts(self) -> list[Parts]:
        return [tuple(id_.split("/")) for id_ in self.ids.tolist()]

    @cached_property
    def depth(self) -> int:
        """How many folders nearly all images lie below; -1 where depths differ."""
        depth, n = Counter(len(parts) - 1 for parts in self.parts).most_common(1)[0]
        return depth if n >= MIN_FIT * len(self.parts) else -1

    @cached_property
    def stems(self) -> list[str]:
        return [re.sub(r"\.\w+$", "", parts[-1]) for parts in self.parts]

    @cached_property
    def class_words(self) -> list[frozenset[str]]:
        """The words by which all paths of the image's class tell it, as `hem` in `12_1_hem`."""
        by_class: dict[str, Counter[str]] = {}
        size = Counter(self.class_names.tolist())
        for name, id_ in zip(self.class_names.tolist(), self.ids.tolist(), strict=True):
            by_class.setdefault(name, Counter()).update(set(runs(id_)))
        words = {
            name: frozenset(runs(name)).union(
                word for word, n in found.items()
                if word.isalpha() and size[name] >= FEW and n >= MIN_FIT * size[name]
                and word not in self.constant
            )
            for name, found in by_class.items()
        }  # fmt: skip
        return [words[name] for name in self.class_names.tolist()]

    @cached_property
    def classless(self) -> list[Parts]:
        """The parts without the words that tell classes, and without marks."""
        words = frozenset().union(*set(self.class_words))
        return [
            tuple(
                "_".join(run for run in runs(part) if run not in words or run.isdigit())
                for part in parts
            )
            for parts in self.parts
        ]

    @cached_property
    def constant(self) -> frozenset[str]:
        """The words that stand in nearly every path."""
        found = Counter(word for id_ in self.ids.tolist() for word in set(runs(id_)))
        return frozenset(
            w for w, n in found.items() if w.isalpha() and n >= MIN_FIT * len(self.ids)
        )

    def level(self, index: int) -> list[str]:
        """The folder at a level, '' where the image lies higher up."""
        return [parts[index] if index < len(parts) - 1 else "" for parts in self.parts]

    def free(self, index: int) -> bool:
        """Whether the folders of a level name neither class nor split."""
        names = zip(self.level(index), self.folders, strict=True)
        return sum(name in free for name, free in names) >= MIN_FIT * len(self.ids)

    @cached_property
    def views(self) -> frozenset[int]:
        """The levels whose folders hold other images of the same patients: `left`, `visit2`."""
        return frozenset(
            index
            for index in range(self.depth)
            if self.free(index) and _are_views(set(self.level(index)) - {""})
        )


def _are_views(names: set[str]) -> bool:
    return 2 <= len(names) <= MANY and all(
        re.search(r"\d{3}", name) is None
        and SPOKEN.issuperset(run for run in runs(name) if run.isalpha())
        and not VIEW_FOLDERS.isdisjoint([name.lower(), *(run for run in runs(name) if run[1:])])
        for name in names
    )
