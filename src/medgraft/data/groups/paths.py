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

from medgraft.data.groups.keys import FEW, MANY, MIN_FIT, known
from medgraft.data.groups.words import SPOKEN, VIEW_FOLDERS, runs
from medgraft.data.names import SPLIT_NAMES
from medgraft.errors import DataError
from medgraft.types import Strings

Parts = tuple[str, ...]
SAMPLE = 4000  # names looked at to see how names are made


@dataclass(frozen=True, slots=True)
class Habit:
    """How the files of some well-known medical sets are named, where the general rule errs.

    `short` are tempting shorter keys: equal where two images are of one patient, but perhaps also
    where counting started anew, which is why they are tested and not grouped by. needs : what some
    name must look like, where many sets have names of the pattern.
    """

    name: str
    pattern: str
    needs: str = ""
    short: tuple[tuple[str, str], ...] = ()
    mere_numbers: bool = False


HABITS = (
    Habit(  # Kermany et al., Cell 172, 2018; bacteria and virus count persons separately
        "paediatric chest X-rays",
        r"person\d+_(?:bacteria|virus)|(?:NORMAL2-)?IM-\d+",
        needs=r"person\d+_(?:bacteria|virus)|NORMAL2-IM",  # OsiriX exports every series as IM-0001
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
    search = compiled.search
    if "/" in pattern:
        matches = [search(id_) for id_ in ids.tolist()]
    else:
        matches = [search(id_.rpartition("/")[2]) for id_ in ids.tolist()]
        for row in (row for row, match in enumerate(matches) if match is None and folders[row]):
            further = (search(name) for name in reversed(folders[row]))
            matches[row] = next((match for match in further if match), None)
    return known(np.array([_text(match) if match else "" for match in matches], dtype=np.str_))


def _text(match: re.Match[str]) -> str:
    groups = match.groups()
    if len(groups) == 1:
        return groups[0] or str(match[0])
    return "_".join(text for text in groups if text) or str(match[0])


def folders_of(ids: Strings, class_names: Strings) -> list[Parts]:
    """The folders around each image that are named neither like its class nor like a split."""
    found: dict[tuple[str, str], Parts] = {}
    rows = []
    for id_, name in zip(ids.tolist(), class_names.tolist(), strict=True):
        around = id_.rpartition("/")[0], name
        if around not in found:
            parts = PurePosixPath(around[0]).parts
            found[around] = tuple(
                part for part in parts if part != name and part.lower() not in SPLIT_NAMES
            )
        rows.append(found[around])
    return rows


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
    def sample(self) -> list[int]:
        """Rows enough to see how names are made, the same whatever the order of the rows."""
        order = np.argsort(self.ids, kind="stable")
        return [int(row) for row in order[:: max(1, len(order) // SAMPLE)]]

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
        size: Counter[str] = Counter()
        names = self.class_names.tolist()
        for row in self.sample:
            by_class.setdefault(names[row], Counter()).update(self.words[row])
            size[names[row]] += 1
        words = {
            name: frozenset(runs(name)).union(
                word for word, n in found.items()
                if word.isalpha() and size[name] >= FEW and n >= MIN_FIT * size[name]
                and word not in self.constant
            )
            for name in sorted(set(names)) for found in (by_class.get(name, Counter()),)
        }  # fmt: skip
        return [words[name] for name in names]

    @cached_property
    def words(self) -> dict[int, frozenset[str]]:
        """The runs of letters and digits in the paths of the sample, by row."""
        ids = self.ids.tolist()
        return {row: frozenset(runs(ids[row])) for row in self.sample}

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
        found = Counter(word for words in self.words.values() for word in words)
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
