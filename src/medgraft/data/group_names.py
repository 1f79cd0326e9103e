r"""Names of files and folders that say which images belong together.

A pattern is searched in the file name (`person12_virus_3.jpeg`), then in the folders around it
from the nearest outwards, but for the class's and the split's; the first part that matches gives
the key. A pattern that holds a slash is searched in the whole path instead, from the data's root.
What stands in the pattern's capture groups is the key, or else the whole match.

Every reading that is tried is such a pattern: a folder level, or the first parts of the file name.
It is sure where its keys repeat as patients' do and what is left of the name says which image of
one patient this is (a side, a view, a slice, a visit, a place, a copy, a count). Where the same
numbers are counted anew in every folder of a level, that folder's name becomes part of the key.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePosixPath
from typing import Literal

import numpy as np

from medgraft.data.group_keys import (
    FEW,
    LARGEST,
    LARGEST_KNOWN,
    MANY,
    MIN_FIT,
    Candidate,
    dates,
    digits_in,
    id_like,
    known,
    numbered,
    repeats,
    varying,
)
from medgraft.data.group_words import (
    COPIES,
    OTHERS,
    PATIENTS,
    SPOKEN,
    VIEW_FOLDERS,
    runs,
)
from medgraft.data.listing import SPLIT_NAMES
from medgraft.errors import DataError
from medgraft.types import Strings

Parts = tuple[str, ...]
COLLIDING = 0.3  # so many of the images that share a key elsewhere share the rest of the name too
WHOLE_NAMES = ("copies", "views")  # readings whose keys are names of files, not parts of them
MIN_JOINED = 0.05  # the share of images that a reading joins, to be worth a question
HEX = re.compile(r"(?=.*\d)(?=.*[a-f])[0-9a-f]{8,}")
SUBJECT = re.compile(r"(?i)(?:p|pt|pat|patient|s|sub|subj|subject|case)\d+")


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


def name_candidates(
    ids: Strings, folders: Sequence[Parts], class_names: Strings
) -> list[Candidate]:
    """The readings of folders and file names, the sure and the merely possible.

    Parameters
    ----------
    ids, class_names : (n,)
        Paths with forward slashes; the class's name, '' where unknown.
    folders
        Of each image, the folders around it that name neither class nor split.

    Returns
    -------
    list of Candidate
        A habit alone where one fits.
    """
    paths = Paths(ids, folders, class_names)
    for habit in HABITS:
        if (found := _by_habit(habit, paths)) is not None:
            return [found]
    readings = [*_folder_readings(paths), *_file_readings(paths)]
    candidates: list[Candidate] = []
    for reading in readings:
        found = _judged(reading, paths)
        if found is not None and not any(_same(found, other) for other in candidates):
            candidates.append(found)
    return candidates


def _same(one: Candidate, other: Candidate) -> bool:
    return one.sure == other.sure and bool((one.keys == other.keys).all())


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
        """The words by which all names of the image's class tell it, as `hem` in `12_1_hem`."""
        by_class: dict[str, Counter[str]] = {}
        size = Counter(self.class_names.tolist())
        for name, stem in zip(self.class_names.tolist(), self.stems, strict=True):
            by_class.setdefault(name, Counter()).update(set(runs(stem)))
        words = {
            name: frozenset(runs(name)).union(
                word for word, n in found.items()
                if word.isalpha() and size[name] >= FEW and n >= MIN_FIT * size[name]
            )
            for name, found in by_class.items()
        }  # fmt: skip
        return [words[name] for name in self.class_names.tolist()]

    @cached_property
    def constant(self) -> frozenset[str]:
        """The words that stand in nearly every name."""
        found = Counter(word for stem in self.stems for word in set(runs(stem)))
        return frozenset(w for w, n in found.items() if w.isalpha() and n >= MIN_FIT * len(self.ids))

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
            index for index in range(max(self.depth, 0))
            if self.free(index) and len(set(self.level(index)) - {""}) > 1
            and all(not VIEW_FOLDERS.isdisjoint(runs(n)) for n in set(self.level(index)) - {""})
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reading:
    """A way to take keys from one part of the path: a folder level, or the file name.

    `part` is a pattern from the part's beginning on, whose group is the key; `level` counts the
    folders from the root, -1 is the file name. `scopes`: levels whose folders belong to the key.
    """

    part: str
    level: int
    kind: Literal["whole", "prefix", "glued", "copies", "views"]
    scopes: tuple[int, ...] = ()

    def pattern(self, depth: int) -> str:
        """As it is searched: by itself in a file name, else in the whole path."""
        flag, part = ("(?i)", self.part[4:]) if self.part.startswith("(?i)") else ("", self.part)
        if self.level == -1 and not self.scopes:
            return flag + "^" + part.replace("[^/]", ".").replace("/]", "]")
        return flag + "^" + _above(depth if self.level == -1 else self.level, self.scopes) + part


def _above(depth: int, scopes: Sequence[int]) -> str:
    """The folders from the root to a level, those of `scopes` captured."""
    return "".join(("([^/]+)/" if level in scopes else "[^/]+/") for level in range(depth))


# --------------------------------------------------------------------------- what is tried


def _folder_readings(paths: Paths) -> list[Reading]:
    """Each level of folders between root and image, whole and by the first parts of its name."""
    found = []
    for level in range(max(paths.depth, 0)):
        if not paths.free(level) or level in paths.views or _shelves(paths, level):
            continue
        found.append(Reading("([^/]+)/", level, "whole"))
        names = sorted(set(paths.level(level)) - {""})
        found += [Reading(part + "[^/]*/", level, "prefix") for part in _prefixes(names, paths)]
    return found


def _shelves(paths: Paths, level: int) -> bool:
    """Whether the folders only sort what lies below by how its name begins: `p10/p10000032`."""
    below = [parts[level : level + 2] for parts in paths.parts if len(parts) > level + 2]
    sorted_in = [
        inner.startswith(outer) and inner[len(outer) :][:1].isalnum() for outer, inner in below
    ]
    return bool(below) and sum(sorted_in) >= MIN_FIT * len(below)


def _file_readings(paths: Paths) -> list[Reading]:
    """The first parts of file names, letters glued to their end, copies, one name in two views."""
    found = [
        Reading(f"{part}(?:{border}|\\.\\w+$)", -1, "prefix")
        for part, border in _prefixes(paths.stems, paths, lazy=True).items()
    ]
    found.append(Reading(r"([^/]*\d)[A-Za-z]+\d*(?:\.\w+)?$", -1, "glued"))
    found += _copies(paths)
    if paths.views:
        found.append(Reading(r"([^/]+?)(?:\.\w+)?$", -1, "views"))
    return found


def _copies(paths: Paths) -> list[Reading]:
    """Images made of one: `x_flip_rot90.png`, `x - Copy.png`, `x_jpg.rf.0f3c.png`, `x (1).png`."""
    words = sorted(COPIES.intersection(*[[run for stem in paths.stems for run in runs(stem)]]))
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
    marks = "".join(sorted(set("".join(names)) & set("_ ()-")))
    if not marks:
        return {}
    inner = f"[^{re.escape(marks)}/]+"
    border = marks if len(marks) == 1 and marks not in "()" else f"[{re.escape(marks)}]"
    between = border if len(marks) == 1 else border + "+"
    split = [[part for part in re.split(f"[{re.escape(marks)}]+", name) if part] for name in names]
    longest = min(8, int(np.quantile([len(parts) for parts in split], 0.95)))
    found: dict[str, str] = {}
    for start in range(longest):
        ends = range(start + 1, min(longest, start + 5) + 1)
        if not _skippable(split, start, paths):
            column = [parts[start] for parts in split if len(parts) > start]
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
    words = OTHERS.union(SPOKEN, paths.constant, *set(paths.class_words))

    def says_nothing(part: str) -> bool:
        letters = [run for run in runs(part) if run.isalpha()]
        return dates([part]) or (bool(letters) and words.issuperset(letters))

    return all(map(says_nothing, {part for parts in split for part in parts[:start]}))


# --------------------------------------------------------------------------- what is right


def _by_habit(habit: Habit, paths: Paths) -> Candidate | None:
    pattern = habit.pattern
    keys = keys_by(pattern, paths.ids, paths.folders)
    if (keys != "").mean() < MIN_FIT:
        return None
    others = [
        level for level in range(max(paths.depth, 0))
        if habit.mere_numbers and not any(re.search(pattern, n) for n in set(paths.level(level)))
    ]  # fmt: skip
    if scopes := _scopes(keys, paths, others):
        flag, inside = ("(?i)", pattern[4:]) if pattern.startswith("(?i)") else ("", pattern)
        pattern = f"{flag}^{_above(scopes[-1] + 1, scopes)}(?:.*/)?[^/]*?({inside})"
        keys = keys_by(pattern, paths.ids, paths.folders)
    found = repeats(keys, paths.class_names)
    if not found.n_repeated or not found.leaves_two:
        return None
    return Candidate(f"regex:{pattern}", keys, f"by file names that look like {habit.name}", "name", True)  # fmt: skip


def _scopes(
    keys: Strings, paths: Paths, levels: Sequence[int], names: bool = False
) -> tuple[int, ...]:
    """The levels in whose folders counting starts anew, so that equal keys mean nothing there.

    That is so where the rest of the path collides too, and the keys count from 1 in two folders
    or more: `benign/case_001.png`, `malignant/case_001.png`. Identifiers collide nowhere. Keys that
    are whole `names` need not count.
    """
    if id_like(np.unique(keys[keys != ""]).tolist()):
        return ()
    scopes: list[int] = []
    own = keys.tolist()
    for level in sorted(levels, reverse=True):
        if level in paths.views:
            continue
        place = paths.level(level)
        if _restarts(own, keys.tolist(), place, _rests(paths, level), names):
            scopes.append(level)
            own = [f"{name}/{key}" if key else "" for name, key in zip(place, own, strict=True)]
    return tuple(sorted(scopes))


def _rests(paths: Paths, level: int) -> list[str]:
    """What follows a level in each path, without the words that tell classes."""
    words = frozenset().union(*set(paths.class_words))
    return [
        "/".join(
            "_".join(run for run in runs(part) if run not in words or run.isdigit())
            for part in parts[level + 1 :]
        )
        for parts in paths.parts
    ]


def _restarts(
    scoped: list[str], keys: list[str], place: list[str], rest: list[str], names: bool
) -> bool:
    places: dict[str, set[str]] = {}
    colliding: dict[str, set[str]] = {}
    counted: dict[str, set[str]] = {}
    for whole, key, name, after in zip(scoped, keys, place, rest, strict=True):
        if key:
            places.setdefault(whole, set()).add(name)
            colliding.setdefault(after, set()).add(name)
            counted.setdefault(name, set()).add(key)
    shared = [
        len(colliding[after]) > 1
        for whole, after in zip(scoped, rest, strict=True)
        if whole and len(places[whole]) > 1
    ]
    if not shared or sum(shared) < COLLIDING * len(shared):
        return False
    return names or sum(numbered(found) for found in counted.values()) > 1


@dataclass(frozen=True, slots=True)
class Rest:
    """What is left of names after the key.

    `recognised`: it is words and numbers that occur within a patient; `spoken`: its first is such
    a word; `counted`: its first number starts at 0 or 1 under each key; `empty`: nothing is left
    but what tells the class.
    """

    recognised: bool
    spoken: bool
    counted: bool
    empty: bool


def _rest(keys: Strings, parts: Sequence[str], paths: Paths) -> Rest:
    """Read what is left of `parts` after `keys` (n,), among keys that name two images or more."""
    size = Counter(keys.tolist())
    strange = spoken = empty = n = 0
    first: dict[str, int] = {}
    for key, part, words in zip(keys.tolist(), parts, paths.class_words, strict=True):
        if not key or size[key] < 2:
            continue
        n += 1
        left = runs(part.partition(key)[2])
        said = [run for run in left if run not in words and run not in paths.constant]
        strange += any(len(run) > 1 and run.isalpha() and run not in SPOKEN for run in said)
        spoken += not said or said[0] in SPOKEN
        empty += not said
        number = next((int(run) for run in said if run.isdigit()), None)
        if number is not None:
            first[key] = min(first.get(key, number), number)
    starts = sum(number <= 1 for number in first.values())
    return Rest(
        recognised=strange <= (1 - MIN_FIT) * n,
        spoken=spoken >= 0.8 * n and empty <= 0.6 * n,
        counted=bool(first) and starts >= 0.8 * len(first),
        empty=empty > 0.8 * n,
    )


def _judged(reading: Reading, paths: Paths) -> Candidate | None:
    """Whether a reading's keys are patients' (sure), may be (not sure), or are not (None)."""
    keys = keys_by(reading.pattern(paths.depth), paths.ids, paths.folders)
    unique = np.unique(keys[keys != ""]).tolist()
    if not _possible(keys, paths) or (
        reading.kind not in WHOLE_NAMES and not _may_name_patients(unique, paths)
    ):
        return None
    last = max(0, paths.depth if reading.level == -1 else reading.level)
    bare = keys
    if scopes := _scopes(keys, paths, range(last), reading.kind in WHOLE_NAMES):
        reading = replace(reading, scopes=scopes)
        keys = keys_by(reading.pattern(paths.depth), paths.ids, paths.folders)
        if not _possible(keys, paths):
            return None
    sure = _sure(reading, bare, keys, paths)
    if sure is None:
        return None
    examples = ", ".join(dict.fromkeys(_shown(reading, paths)[:2]))
    where = "the names of folders" if reading.level >= 0 else "file names"
    return Candidate(
        f"regex:{reading.pattern(paths.depth)}", keys, f"by {where} such as {examples}",
        "folder" if reading.level >= 0 else "name", sure,
    )  # fmt: skip


def _shown(reading: Reading, paths: Paths) -> list[str]:
    return sorted(parts[reading.level] for parts in paths.parts if len(parts) > reading.level + 1 or reading.level < 0)  # fmt: skip


def _possible(keys: Strings, paths: Paths) -> bool:
    found = repeats(keys, paths.class_names)
    return (
        found.covered >= MIN_FIT and found.n_repeated >= 2
        and found.joined >= MIN_JOINED and found.largest <= LARGEST_KNOWN
    )  # fmt: skip


def _may_name_patients(unique: list[str], paths: Paths) -> bool:
    """Whether the keys hold numbers that count neither days nor batches, views, classes …"""
    if not digits_in(unique) or dates(unique):
        return False
    plain = paths.constant.union(*set(paths.class_words))
    others = OTHERS - plain
    return sum(not others.isdisjoint(runs(key)) for key in unique) < 0.5 * len(unique)


def _sure(reading: Reading, bare: Strings, keys: Strings, paths: Paths) -> bool | None:
    """True: use it unasked; False: ask; None: neither. `bare`: the keys before scopes came in."""
    found = repeats(keys, paths.class_names)
    unique = np.unique(bare[bare != ""]).tolist()
    by_scope = any(not paths.free(level) for level in reading.scopes)
    pure = found.pure and not by_scope and found.n_keys >= MANY
    word = sum(not PATIENTS.isdisjoint(runs(key)) for key in unique) >= 0.9 * len(unique)
    ident = id_like(unique)
    if reading.kind in WHOLE_NAMES:
        return found.n_repeated >= FEW and found.leaves_two if found.largest <= LARGEST else None
    level = paths.stems if reading.level == -1 else paths.level(reading.level)
    whole = reading.kind == "whole"
    rest = Rest(True, False, False, False) if whole else _rest(bare, level, paths)
    strong = word or ident or rest.spoken
    if rest.empty or found.largest > (LARGEST_KNOWN if strong else LARGEST):
        return None
    if found.one_each and not (ident or rest.spoken):
        return None
    if reading.kind == "glued" and not rest.recognised:
        return None
    many = found.n_keys >= MANY and (pure or whole)
    safe = found.leaves_two and found.n_repeated >= FEW
    if safe and ((rest.recognised and (strong or many)) or (ident and pure)):
        return True
    asked = strong and rest.recognised or (safe and (pure or (rest.counted and found.n_keys >= MANY)))
    return False if asked else None
