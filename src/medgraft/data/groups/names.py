"""Which readings of folders and file names are surely patients', which only may be.

Every reading is a pattern (`group_readings.py`). It is sure where its keys repeat as patients' do
and what is left of the name says which image of one patient this is (a side, a view, a slice, a
visit, a place, a copy, a count). Where the same numbers are counted anew in every folder of a
level, that folder's name becomes part of the key.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from medgraft.data.groups.keys import (
    FEW,
    LARGEST,
    LARGEST_KNOWN,
    MANY,
    MIN_FIT,
    Candidate,
    dates,
    id_like,
    in_one_case,
    nests,
    numbered,
    repeats,
)
from medgraft.data.groups.paths import HABITS, SAMPLE, Habit, Parts, Paths, keys_by
from medgraft.data.groups.readings import (
    Reading,
    above,
    file_readings,
    folder_readings,
)
from medgraft.data.groups.words import (
    COPIES,
    NUMBERED_OTHERWISE,
    OTHERS,
    PATIENTS,
    SPOKEN,
    runs,
)
from medgraft.types import Strings

COLLIDING = 0.3  # so many of the images that share a key elsewhere share the rest of the name too
MANY_NAMES, MOST_OF_A_NAME = 12, 12  # surnames at least, images of one at most
MIN_JOINED = 0.05  # the share of images that a reading joins, to be worth a question


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
    candidates: list[Candidate] = []
    for reading in [*folder_readings(paths), *file_readings(paths)]:
        found = _judged(reading, paths)
        if found is not None and not any(
            _same(found, other) or _counted_within(found, other, paths) for other in candidates
        ):
            candidates.append(found)
    return candidates


def _same(one: Candidate, other: Candidate) -> bool:
    return one.sure == other.sure and bool((one.keys == other.keys).all())


def _counted_within(one: Candidate, folders: Candidate, paths: Paths) -> bool:
    """Whether parts of file names recur in folders that are surely patients', as slices do."""
    if one.source != "name" or folders.source != "folder" or not folders.sure:
        return False
    keys = one.keys.tolist()
    names = partial(list[str], paths.stems)
    return not nests(folders, one) and _restarts(keys, keys, folders.keys.tolist(), names, True)


def _by_habit(habit: Habit, paths: Paths) -> Candidate | None:
    pattern = habit.pattern
    if not _in_sample(pattern, paths):
        return None
    if habit.needs and not any(re.search(habit.needs, name) for name in paths.ids.tolist()):
        return None
    keys = in_one_case(keys_by(pattern, paths.ids, paths.folders))
    if (keys != "").mean() < MIN_FIT:
        return None
    by = f"by file names that look like {habit.name}"
    if habit.mere_numbers:
        others = [
            level
            for level in range(paths.depth)
            if not any(re.search(pattern, name) for name in set(paths.level(level)))
        ]
        scopes = _scopes(keys, paths, others)
        if scopes is None:
            return None
        if scopes:
            flag, inside = ("(?i)", pattern[4:]) if pattern.startswith("(?i)") else ("", pattern)
            pattern = f"{flag}^{above(scopes[-1] + 1, scopes)}(?:.*/)?[^/]*?({inside})"
            keys = keys_by(pattern, paths.ids, paths.folders)
            by += _anew(scopes, paths)
    found = repeats(keys, paths.class_names)
    if not found.n_repeated or not found.leaves_two:
        return None
    return Candidate(f"regex:{pattern}", keys, by, "name", True)


def _in_sample(pattern: str, paths: Paths) -> bool:
    """Whether most names of the sample match, before all are searched."""
    rows = paths.sample
    keys = keys_by(pattern, paths.ids[rows], [paths.folders[row] for row in rows])
    return bool((keys != "").mean() > 0.5)


def _anew(scopes: Sequence[int], paths: Paths) -> str:
    names = sorted(set(paths.level(scopes[-1])) - {""})
    return f", numbered anew in {', '.join(names[:3])}{' …' if len(names) > 3 else ''}"


def _scopes(
    keys: Strings, paths: Paths, levels: Sequence[int], whole_names: bool = False
) -> tuple[int, ...] | None:
    """The levels in whose folders counting starts anew, so that equal keys mean nothing there.

    That is so where the rest of the path collides too, and the keys count from 1 in two folders
    or more: `benign/case_001.png`, `malignant/case_001.png`. Identifiers collide nowhere. Keys
    that are `whole_names` need not count. None where folders lie at several depths, so that no
    pattern could say it.
    """
    if id_like(np.unique(keys[keys != ""]).tolist()):
        return ()
    own = keys.tolist()
    if paths.depth < 0:
        place = ["/".join(parts[:-1]) for parts in paths.parts]
        anew = _restarts(own, keys.tolist(), place, partial(_rests, paths, -2), whole_names)
        return None if anew else ()
    scopes: list[int] = []
    for level in sorted(set(levels) - paths.views, reverse=True):
        place = paths.level(level)
        if _restarts(own, keys.tolist(), place, partial(_rests, paths, level), whole_names):
            scopes.append(level)
            own = [f"{name}/{key}" if key else "" for name, key in zip(place, own, strict=True)]
    return tuple(sorted(scopes))


def _rests(paths: Paths, level: int) -> list[str]:
    """What follows a level in each path, without the words that tell classes."""
    return ["/".join(parts[level + 1 :]) for parts in paths.classless]


def _restarts(
    scoped: list[str],
    keys: list[str],
    place: list[str],
    rest: Callable[[], list[str]],
    whole_names: bool,
) -> bool:
    """Whether the keys (n,) count from 1 in several places, and so collide with all that follows.

    scoped : the keys with the deeper folders that are known to be part of them.
    """
    places: dict[str, set[str]] = {}
    for whole, name in zip(scoped, place, strict=True):
        if whole:
            places.setdefault(whole, set()).add(name)
    if all(len(names) < 2 for names in places.values()):
        return False
    colliding: dict[str, set[str]] = {}
    counted: dict[str, set[str]] = {}
    for key, name, after in zip(keys, place, rest(), strict=True):
        if key:
            colliding.setdefault(after, set()).add(name)
            counted.setdefault(name, set()).add(key)
    shared = [
        len(colliding[after]) > 1
        for whole, after in zip(scoped, rest(), strict=True)
        if whole and len(places[whole]) > 1
    ]
    if not shared or sum(shared) < COLLIDING * len(shared):
        return False
    return whole_names or sum(numbered(found) for found in counted.values()) > 1


@dataclass(frozen=True, slots=True)
class Rest:
    """What is left of names beside the key, after it and then before.

    `recognised`: it is words and numbers that occur within a patient; `spoken`: its first is such
    a word; `counted`: its first number starts at 0 or 1 under each key; `empty`: nothing is left
    but what tells the class.
    """

    recognised: bool
    spoken: bool
    counted: bool
    empty: bool


def _rest(keys: Strings, reading: Reading, paths: Paths) -> Rest:
    """Read what is left of names beside `keys` (n,), among keys that name two images or more."""
    if reading.kind == "whole":
        return Rest(recognised=True, spoken=False, counted=False, empty=False)
    size = {key: n for key, n in sorted(Counter(keys.tolist()).items()) if key and n > 1}
    looked_at = set(list(size)[:: max(1, len(size) // SAMPLE)])
    parts = paths.stems if reading.level == -1 else [n + "/" for n in paths.level(reading.level)]
    key_at = re.compile(reading.part.replace("|\\.\\w+$", "|$"))
    strange = spoken = empty = n = 0
    first: dict[str, int] = {}
    for key, part, words in zip(keys.tolist(), parts, paths.class_words, strict=True):
        if key not in looked_at:
            continue
        n += 1
        match = key_at.match(part)
        before, after = (part[: match.start(1)], part[match.end(1) :]) if match else ("", "")
        beside = [*runs(after), *reversed(runs(before))]
        said = [run for run in beside if run not in words and run not in paths.constant]
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
    if not _in_sample(reading.pattern(paths.depth), paths):
        return None
    bare = keys = keys_by(reading.pattern(paths.depth), paths.ids, paths.folders)
    if not _possible(keys, paths):
        return None
    spelled = _may_be_surnames(reading, keys, paths)
    if not spelled and not _may_name_patients(reading, keys):
        return None
    levels = range(paths.depth if reading.level == -1 else reading.level)
    scopes = _scopes(keys, paths, levels, reading.kind in ("copies", "views"))
    if scopes is None:
        return None
    if scopes:
        if repeats(bare, paths.class_names).labels:
            return None  # the class's number, in folders that hold all classes each
        reading = replace(reading, scopes=scopes)
        keys = keys_by(reading.pattern(paths.depth), paths.ids, paths.folders)
        if not _possible(keys, paths):
            return None
    sure = _sure(reading, bare, keys, paths)
    if sure is None or (spelled and not sure):
        return None
    sure = sure and not spelled  # kinds of a disease are numbered so too
    named = paths.level(reading.level) if reading.level >= 0 else [p[-1] for p in paths.parts]
    by = (
        f"by the names of {'folders' if reading.level >= 0 else 'files'} such as "
        + " and ".join(sorted(set(named) - {""})[:2])
        + (_anew(scopes, paths) if scopes else "")
    )
    rule = f"regex:{reading.pattern(paths.depth)}"
    return Candidate(rule, keys, by, "folder" if reading.level >= 0 else "name", sure)


def _possible(keys: Strings, paths: Paths) -> bool:
    found = repeats(keys, paths.class_names)
    return (
        found.covered >= MIN_FIT and found.n_repeated >= 2
        and found.joined >= MIN_JOINED and found.largest <= LARGEST_KNOWN
    )  # fmt: skip


def _may_name_patients(reading: Reading, keys: Strings) -> bool:
    """Whether the keys hold numbers that count neither days nor batches, views, classes …"""
    if reading.kind in ("copies", "views"):
        return True
    unique, size = np.unique(keys[keys != ""], return_counts=True)
    with_digits = [any(letter.isdigit() for letter in key) for key in unique.tolist()]
    if size[with_digits].sum() < MIN_FIT * size.sum() or dates(unique.tolist()):
        return False
    last = [re.findall(r"([a-z]+)[^a-z\d]*\d+[^\d]*$", key.lower()) for key in unique.tolist()]
    others = NUMBERED_OTHERWISE if reading.level == -1 else OTHERS  # `images_001` holds many images
    counting = [
        not others.isdisjoint(words) or re.fullmatch(r"(?i)\d+x", key) is not None  # 40X
        for key, words in zip(unique.tolist(), last, strict=True)
    ]
    return sum(counting) < 0.5 * len(counting)


def _may_be_surnames(reading: Reading, keys: Strings, paths: Paths) -> bool:
    """Whether the keys are many words of few images each, none of which says anything here."""
    if reading.kind != "prefix" or reading.level != -1:
        return False
    unique, size = np.unique(keys[keys != ""], return_counts=True)
    if len(unique) < MANY_NAMES or size.max() > MOST_OF_A_NAME:
        return False
    known = (SPOKEN | OTHERS | PATIENTS | COPIES).union(paths.constant, *set(paths.class_words))
    names = [key.casefold() for key in unique.tolist()]
    strange = [name.isalpha() and len(name) > 2 and name not in known for name in names]
    return bool(sum(strange) >= MIN_FIT * len(names))


def _sure(reading: Reading, bare: Strings, keys: Strings, paths: Paths) -> bool | None:
    """True: use it unasked; False: ask; None: neither. `bare`: the keys before scopes came in."""
    found = repeats(keys, paths.class_names)
    safe = found.leaves_two and found.n_repeated >= FEW
    if reading.kind in ("copies", "views"):
        return safe if found.largest <= LARGEST else None
    if reading.kind == "same":
        counts = numbered(
            {number for key in bare.tolist() for number in re.findall(r"\d+", key)[-1:]}
        )
        return None if reading.scopes or counts else False
    unique = np.unique(bare[bare != ""]).tolist()
    ident = id_like(unique)
    word = _named_patients(unique)
    rest = _rest(bare, reading, paths)
    known = ident or word or rest.spoken
    if (
        rest.empty
        or (found.largest > LARGEST and not known and reading.kind != "whole")
        or (found.labels and found.n_keys <= found.n_classes)  # the label under another name
        or (found.one_each and not (ident or rest.spoken))
        or (reading.kind == "glued" and not rest.recognised)
    ):
        return None
    # In folders of one class each, keys are of one class whatever they mean.
    pure = found.pure and not any(_of_one_class(paths, level) for level in reading.scopes)
    many = found.n_keys >= MANY
    if reading.kind == "whole":
        plain = many and found.largest <= LARGEST
        return safe and (known or plain) if found.leaves_two or known else None
    if safe and ((rest.recognised and (known or (many and pure))) or (ident and many and pure)):
        return True
    asked = (known and rest.recognised) or (safe and many and (pure or rest.counted))
    return False if asked else None


def _of_one_class(paths: Paths, level: int) -> bool:
    """Whether the folders of a level hold one class each."""
    pairs = set(zip(paths.level(level), paths.class_names.tolist(), strict=True))
    return len(pairs) == len({name for name, _ in pairs})


def _named_patients(unique: list[str]) -> bool:
    """Whether a word such as `patient`, `p` or `video` stands before a number in the keys."""
    before = [re.findall(r"([a-z]+)[^a-z\d]*\d", key.lower()) for key in unique]
    return sum(not PATIENTS.isdisjoint(words) for words in before) >= 0.9 * len(unique)
