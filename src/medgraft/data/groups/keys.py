"""Do the values of a key repeat as patients do? What both columns and names are judged by.

A key says of each image to whom or what it belongs. A patient's key names a few images of many, is
seldom shared by images of two classes, and looks like an identifier; an age, a batch, a class or a
numbering that starts anew in every folder looks otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medgraft.data.missing import NOBODY
from medgraft.types import Ints, Strings

MIN_FIT = 0.95  # the share of images that must have a key
FEW = 5  # so many keys name two images or more
MANY = 10  # so many keys are not batches or folds
LARGEST = 0.2  # no key has more than this share of the images
LARGEST_KNOWN = 0.5  # nor more than this where names or words make it a patient's
DENSE = 0.5  # numbers from 1 of which so many are used are a numbering
DATE = re.compile(
    r"(19|20)\d\d([-_./]?(0[1-9]|1[0-2])([-_./]?(0[1-9]|[12]\d|3[01])([-_ T]?\d{4,6})?)?)?"
    r"|(0?[1-9]|[12]\d|3[01])[-_./](0?[1-9]|[12]\d|3[01])[-_./]((19|20)?\d\d)"
)


@dataclass(frozen=True)
class Candidate:
    """One way to say which images belong together.

    rule : what `--group` takes. keys : (n,), '' where an image has none.
    by, why : how it is named in a sentence, and why it was taken. `source` is 'column', 'folder' or
    'name'; `sure` whether it may be used unasked; of two ranks the lower one knows better (0 a
    column that names persons).
    """

    rule: str
    keys: Strings
    by: str
    source: str
    sure: bool
    rank: int = 1
    why: str = ""


@dataclass(frozen=True, slots=True)
class Repeats:
    """How the keys of n images repeat.

    `covered`, `largest`, `joined`: shares of the images that have a key, that the commonest key
    has, that share their key. `n_keys`; `n_repeated` name two images or more; `median` is how many
    images those name. `leaves_two`: every class of two images keeps two groups. `pure`: images
    that share a key are of one class clearly more often than chance would have it. `one_each`:
    keys hold no class twice and several classes each, as a numbering by class does. `labels`: the
    key tells the class and is hardly finer.
    """

    covered: float
    n_keys: int
    n_repeated: int
    median: float
    largest: float
    joined: float
    n_classes: int
    leaves_two: bool
    pure: bool
    one_each: bool
    labels: bool


NO_REPEATS = Repeats(0.0, 0, 0, 0.0, 0.0, 0.0, 0, *(False,) * 4)


def repeats(keys: Strings, class_names: Strings) -> Repeats:
    """Count how `keys` (n,) repeat over the images and their classes (n,); '' is no key, no class.

    Examples
    --------
    >>> found = repeats(np.array(["p", "p", "q", ""]), np.array(["a", "a", "b", "b"]))
    >>> found.n_keys, found.n_repeated, found.covered, found.leaves_two
    (2, 1, 0.75, False)
    """
    n, has = len(keys), keys != ""
    names, code, size = np.unique(keys[has], return_inverse=True, return_counts=True)
    if not len(names):
        return NO_REPEATS
    many = size[size > 1]
    groups = np.arange(n) + len(names)  # an image without a key is its own group
    groups[has] = code
    said = class_names != ""
    cells, count = _cells(groups[said], class_names[said])
    labelled = np.bincount(cells[0], count, minlength=1)
    classes = np.bincount(cells[0], minlength=1)
    per_class = np.bincount(cells[1], count, minlength=1)
    kept = np.bincount(cells[1], minlength=1)
    several = classes > 1
    highest = np.zeros(len(labelled), np.int64)
    np.maximum.at(highest, cells[0], count)
    shared = labelled > 1
    return Repeats(
        covered=float(has.mean()),
        n_keys=len(names),
        n_repeated=len(many),
        median=float(np.median(many)) if len(many) else 0.0,
        largest=float(size.max() / n),
        joined=float(many.sum() / n),
        n_classes=int((per_class > 0).sum()),
        leaves_two=bool(((per_class < 2) | (kept > 1)).all()),
        pure=_pure(cells, count, labelled),
        one_each=bool(shared.any() and (several & (highest == 1))[shared].mean() >= 0.8),
        labels=bool(not several.any() and len(names) <= 2 * max(1, len(per_class))),
    )


def _cells(groups: Ints, class_names: Strings) -> tuple[Ints, Ints]:
    """(group, class) pairs that occur, (2, n_pairs), and how often (n_pairs,)."""
    _, label = np.unique(class_names, return_inverse=True)
    n_classes = int(label.max(initial=0)) + 1
    pairs, count = np.unique(groups * n_classes + label, return_counts=True)
    return np.stack([pairs // n_classes, pairs % n_classes]).astype(np.int64), count


def _pure(cells: Ints, count: Ints, labelled: NDArray[np.number]) -> bool:
    """Whether two images of one key are of one class more often than two images of any.

    With p the mean over keys of m > 1 images of sum_c n_c (n_c - 1) / (m (m - 1)), and q the same
    for all images: p - q must exceed three standard errors and half of what is possible, 1 - q.
    """
    keys = np.flatnonzero(labelled > 1)
    total = count.sum()
    if len(keys) < FEW or total < 2:
        return False
    per_class = np.bincount(cells[1], count)
    by_chance = float((per_class * (per_class - 1)).sum() / (total * (total - 1)))
    pairs = np.bincount(cells[0], count * (count - 1.0), minlength=len(labelled))
    alike = float((pairs[keys] / (labelled[keys] * (labelled[keys] - 1))).mean())
    error = np.sqrt(by_chance * (1 - by_chance) / len(keys))
    return bool(by_chance < 1 and alike - by_chance > max(3 * error, 0.5 * (1 - by_chance)))


def known(values: Strings) -> Strings:
    """The values (n,) without the blanks around them, '' for words that mean 'not known'.

    Numbers of which some were written as 7 and some as 7.0 are the same, and so are words that
    differ in capitals alone.

    >>> known(np.array(["7", " 7.0", "nan"])).tolist(), known(np.array(["p01", "P01"])).tolist()
    (['7', '7', ''], ['P01', 'P01'])
    """
    bare = np.strings.strip(values.astype(np.str_))
    found = in_one_case(np.where(np.isin(np.strings.lower(bare), list(NOBODY)), "", bare))
    unique = [key for key in np.unique(found).tolist() if key]
    whole = {key: match[1] for key in unique if (match := re.fullmatch(r"(\d+)(?:\.0+)?", key))}
    if len(whole) < len(unique) or len({*whole.values()}) == len(whole):
        return found
    return np.array([whole.get(key, key) for key in found.tolist()], np.str_)


def in_one_case(keys: Strings) -> Strings:
    """Keys (n,), those that differ in capitals alone in one spelling, the first by code."""
    unique = np.unique(keys).tolist()
    first: dict[str, str] = {}
    for key in unique:
        first.setdefault(key.casefold(), key)
    if len(first) == len(unique):
        return keys
    return np.array([first[key.casefold()] for key in keys.tolist()], np.str_)


def varying(keys: Iterable[str]) -> list[str]:
    """What is left of the keys without what all begin with, up to the last border of a part.

    >>> varying(["IMG_20150918", "IMG_20160107"]), varying(["OAS1_0028", "OAS1_0102"])
    (['20150918', '20160107'], ['0028', '0102'])
    """
    unique = list(keys)
    first, last = min(unique, default=""), max(unique, default="")
    same = 0
    while same < min(len(first), len(last)) and first[same] == last[same]:
        same += 1
    border = max((match.end() for match in re.finditer(r"[^A-Za-z0-9]+", first[:same])), default=0)
    return [key[border:] for key in unique]


def dates(unique: list[str]) -> bool:
    """Whether these are days, months or years.

    >>> dates(["20150918", "20160107"]), dates(["8801", "8802"]), dates(["2015", "2016"])
    (True, False, True)
    """
    return any(
        _most(DATE.fullmatch(key) is not None for key in keys) for keys in (unique, varying(unique))
    )


def numbered(unique: Iterable[str]) -> bool:
    """Whether these keys count from 0 or 1 with few gaps, as every folder can for itself.

    >>> numbered(["case_007", "case_001", "case_002", "case_004"]), numbered(["8801", "8802"])
    (True, False)
    >>> numbered(["1-1", "1-2", "2-1"]), numbered(["a", "b"]), numbered(["7"])
    (True, False, False)
    """
    rows = [[int(run) for run in re.findall(r"\d+", key)] for key in unique]
    if not rows or len({len(row) for row in rows}) > 1:
        return False
    columns = [set(column) for column in zip(*rows, strict=True)]
    counted = [column for column in columns if len(column) > 1] or columns[-1:]
    return bool(counted) and all(
        min(column) <= 1 and len(column) / (max(column) + 1) >= DENSE for column in counted
    )


def id_like(unique: list[str]) -> bool:
    """Whether these are identifiers: four digits or more, or code, neither dates nor a count.

    >>> id_like(["8801", "8802"]), id_like(["0001", "0002"]), id_like(["d626fc9f", "3f7c1e20"])
    (True, False, True)
    """
    return not dates(unique) and not numbered(unique) and _most(map(_coded, varying(unique)))


def _coded(key: str) -> bool:
    digits = sum(c.isdigit() for c in key)
    hexadecimal = re.search(r"[0-9a-f]{8,}", key.lower()) is not None and digits > 0
    return digits >= 4 or hexadecimal


def coded(unique: list[str]) -> bool:
    """Whether no measured quantity is written so: letters and digits, or leading zeros."""
    return _most(
        bool(re.search(r"\d", key)) and (bool(re.search(r"[A-Za-z]|^0\d", key)) or _coded(key))
        for key in unique
    )


def digits_in(unique: list[str]) -> bool:
    """Whether nearly all keys hold a digit; keys of words alone are kinds rather than patients."""
    return _most(any(c.isdigit() for c in key) for key in unique)


def _most(flags: Iterable[bool]) -> bool:
    listed = list(flags)
    return bool(listed) and sum(listed) >= 0.9 * len(listed)


def nests(coarse: Candidate, fine: Candidate) -> bool:
    """Whether images that share a key of `fine` share one of `coarse`, but for 1 key in 50."""
    both = fine.keys != ""
    _, code, size = np.unique(fine.keys[both], return_inverse=True, return_counts=True)
    _, outer = np.unique(coarse.keys[both], return_inverse=True)
    outer = np.where(coarse.keys[both] == "", len(outer) + np.arange(len(outer)), outer)
    pairs = np.unique(np.stack([code, outer]), axis=1)
    torn = int((np.bincount(pairs[0]) > 1).sum()) if len(code) else 0
    return torn <= 0.02 * int((size > 1).sum())
