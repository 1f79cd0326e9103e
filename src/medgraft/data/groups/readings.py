"""Patterns that may name patients in these paths: levels of folders, and parts of file names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from medgraft.data.groups.keys import MIN_FIT, dates
from medgraft.data.groups.paths import Paths
from medgraft.data.groups.words import COPIES, OTHERS, SPOKEN, runs

HEX = re.compile(r"(?=.*\d)(?=.*[a-f])[0-9a-f]{8,}")
SHELF = 4  # letters of a folder that sorts by how names begin, at most
TIME = re.compile(r"\d{6}")  # where it follows a date
SUBJECT = re.compile(r"(?i)(?:p|pt|pat|patient|s|sub|subj|subject|case)\d+")


@dataclass(frozen=True, slots=True)
class Reading:
    """A way to take keys from one part of the path: a folder level, or the file name.

    `part` is a pattern from the part's beginning on, whose group is the key; `level` counts the
    folders from the root, -1 is the file name. `scopes`: levels whose folders belong to the key.
    `kind` 'same' takes equal file names in several folders for one patient's, 'views' does so
    where the folders are named like views.
    """

    part: str
    level: int
    kind: Literal["whole", "prefix", "glued", "copies", "views", "same"]
    scopes: tuple[int, ...] = ()

    def pattern(self, depth: int) -> str:
        """As it is searched: by itself in a file name, else in the whole path."""
        flag, part = ("(?i)", self.part[4:]) if self.part.startswith("(?i)") else ("", self.part)
        if self.level == -1 and not self.scopes:
            return flag + "^" + part.replace("[^/]", ".").replace("[^/", "[^")
        return flag + "^" + above(depth if self.level == -1 else self.level, self.scopes) + part


def above(depth: int, scopes: Sequence[int]) -> str:
    """The folders from the root to a level, those of `scopes` captured."""
    return "".join(("([^/]+)/" if level in scopes else "[^/]+/") for level in range(depth))


def folder_readings(paths: Paths) -> list[Reading]:
    """Each level of folders between root and image, whole and by the first parts of its name."""
    found = []
    for level in range(paths.depth):
        if not paths.free(level) or level in paths.views or _shelves(paths, level):
            continue
        found.append(Reading("([^/]+)/", level, "whole"))
        names = sorted(set(paths.level(level)) - {""})
        found += [Reading(part + "[^/]*/", level, "prefix") for part in _prefixes(names, paths)]
    return found


def _shelves(paths: Paths, level: int) -> bool:
    """Whether the folders only sort what lies below by how its name begins: `p10/p10000032`."""
    below = [parts[level : level + 2] for parts in paths.parts if len(parts) > level + 1]
    sorted_in = [
        inner.startswith(outer) and inner[len(outer) :][:1].isalnum() and len(outer) <= SHELF
        for outer, inner in below
    ]
    return bool(below) and sum(sorted_in) >= MIN_FIT * len(below)


def file_readings(paths: Paths) -> list[Reading]:
    """The first parts of file names, letters glued to their end, copies, one name in two views."""
    found = [
        Reading(f"{part}(?:{border}|\\.\\w+$)", -1, "prefix")
        for part, border in _prefixes(
            [paths.stems[row] for row in paths.sample], paths, lazy=True
        ).items()
    ]
    # not `x` alone, as in 64x48
    found.append(Reading(r"([^/]*\d)(?!x\d)[A-Za-z]+\d*(?:\.\w+)?$", -1, "glued"))
    found += _copies(paths)
    found.append(Reading(r"([^/]+?)(?:\.\w+)?$", -1, "views" if paths.views else "same"))
    return found


def _copies(paths: Paths) -> list[Reading]:
    """Images made of one: `x_flip_rot90.png`, `x - Copy.png`, `x_jpg.rf.0f3c.png`, `x (1).png`."""
    words = sorted(COPIES.intersection(*[frozenset().union(*paths.words.values())]))
    found = []
    if words:
        made = f"(?:[-_ ]+(?:{'|'.join(words)})[-_]?\\d*)"
        found.append(Reading(rf"(?i)([^/]+?){made}*(?: ?\(\d+\))?(?:\.\w+)?$", -1, "copies"))
    if any(".rf." in stem for stem in paths.stems):  # as Roboflow names them
        found.append(Reading(r"([^/]+)_\w+\.rf\.", -1, "copies"))
    there = {(*parts[:-1], stem) for parts, stem in zip(paths.parts, paths.stems, strict=True)}
    beside = [
        (*parts[:-1], re.sub(r" ?\(\d+\)$", "", stem)) in there
        for parts, stem in zip(paths.parts, paths.stems, strict=True)
        if stem.endswith(")")
    ]
    if beside and sum(beside) >= 0.9 * len(beside):  # as after a second download
        found.append(Reading(r"([^/]+?)(?: ?\(\d+\))?(?:\.\w+)?$", -1, "copies"))
    return found


def _prefixes(names: Sequence[str], paths: Paths, lazy: bool = False) -> dict[str, str]:
    """Patterns for the first part of names, the first two …, each with what may follow it.

    Parts that cannot be a patient's (what all names share, the class, a view, a date) may be
    skipped at the beginning; a part of another place is tried where it is surely an identifier.
    """
    used = set("".join(names)) - {"."}
    if sum(re.search(r"\.[A-Za-z]", name) is not None for name in names) >= MIN_FIT * len(names):
        used.add(".")  # `10.left`; but one number has dots inside, `1.2.840.113`
    marks = "".join(mark for mark in ". ()_-" if mark in used)  # the hyphen last, as no range
    if not marks:
        return {}
    inner = f"[^/{marks}]+"
    border = marks if len(marks) == 1 and marks not in ".()" else f"[{marks}]"
    between = border if len(marks) == 1 else border + "+"
    split = [[part for part in re.split(f"[{marks}]+", name) if part] for name in names]
    longest = min(8, int(np.quantile([len(parts) for parts in split], 0.95)))
    found: dict[str, str] = {}
    for start in range(longest):
        ends = range(start + 1, min(longest, start + 5) + 1)
        column = [parts[start] for parts in split if len(parts) > start]
        if start and _nearly_all(TIME, column) and dates([parts[start - 1] for parts in split]):
            continue
        if not _skippable(split, start, paths):
            known_there = len(column) >= MIN_FIT * len(split) and (
                _nearly_all(HEX, column) or _nearly_all(SUBJECT, column)
            )
            ends = range(start + 1, start + 2) if known_there else range(0)
        for end in ends:
            parts = [inner] * (end - start - 1) + [inner + "?" if lazy else inner]
            found[f"{(inner + between) * start}({between.join(parts)})"] = border
    return found


def _nearly_all(pattern: re.Pattern[str], column: list[str]) -> bool:
    return sum(pattern.fullmatch(part) is not None for part in column) >= MIN_FIT * len(column)


def _skippable(split: list[list[str]], start: int, paths: Paths) -> bool:
    """Whether the parts before `start` can in no name be a patient's."""
    words = OTHERS.union(SPOKEN, *set(paths.class_words))

    def says_nothing(part: str) -> bool:
        letters = [run for run in runs(part) if run.isalpha()]
        plain = "".join(letters) == part.lower()
        if plain and paths.constant.issuperset(letters):
            return True
        said = bool(letters) and (plain or len(letters[0]) > 1)  # `s1` may be a patient
        return dates([part]) or (said and words.issuperset(letters))

    return all(map(says_nothing, {part for parts in split for part in parts[:start]}))
