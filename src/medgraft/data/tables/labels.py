"""What cells could be as labels: classes, several findings, a measured value, text."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

from medgraft.data.missing import is_missing
from medgraft.data.names import as_seen
from medgraft.errors import DataError
from medgraft.types import Finding

Kind = Literal["classes", "constant", "joined", "measured", "text", "empty"]
MARKS = ("|", ";", ",", "+", "&", "/")  # between the findings of one cell
SURE_MARKS = "|;"  # that no name of one class holds
MANY = 20  # values beyond which numbers are measured and words are text, if they rarely repeat
SHOWN = 6  # classes that a question lists
RULE = re.compile(r"(>=|<=|>|<|==?)\s*(-?\d+(?:\.\d+)?)")
OPPOSITE = {">=": "<", "<=": ">", ">": "<=", "<": ">=", "=": "not ", "==": "not "}


def class_names(cells: Sequence[str], keep: Mapping[str, str] | None = None) -> list[str]:
    """The class (n,) that each cell names, '' where it names none.

    Whole numbers lose their `.0`; spellings that look the same (accents composed or not, kinds of
    blanks, signs without width) become one. `keep` are words that count although they usually
    stand for nothing.

    >>> class_names(["1.0", "0", "nan", "1"]), class_names(["a  b", "a b "])
    (['1', '0', '', '1'], ['a b', 'a b'])
    """
    said = {cell: cell.strip() for cell in {*cells}}
    kept = {*(keep or ()), *(["-"] if any(text[:1] == "+" for text in said.values()) else [])}
    said = {c: "" if is_missing(text) and text not in kept else text for c, text in said.items()}
    texts = {text for text in said.values() if text}
    whole = all(number is None or number.is_integer() for number in map(_number, texts))
    looks = defaultdict(list)
    for text in texts:
        looks[_looks(text, whole)].append(text)
    chosen = {
        text: look if len(alike) > 1 or (whole and _number(text) is not None) else text
        for look, alike in looks.items()
        for text in alike
    }
    names = {cell: chosen.get(text, "") for cell, text in said.items()}
    return [names[cell] for cell in cells]


def _looks(text: str, whole: bool) -> str:
    """A text as the eye sees it, capitals aside from nothing."""
    seen = as_seen(text)
    if whole and re.fullmatch(r"-?\d+\.0*", seen):
        return re.sub(r"\.0*$", "", seen)
    return seen


def spelling_finding(cells: Sequence[str], labels: Sequence[str], column: str) -> list[Finding]:
    """That several spellings became one class, where they did."""
    spellings = defaultdict(set)
    for cell, label in zip(cells, labels, strict=True):
        if label:
            spellings[label].add(cell.strip())
    joined = {label: found for label, found in spellings.items() if len(found) > 1}
    if not joined:
        return []
    shown = "; ".join(
        f"{', '.join(ascii(spelling) for spelling in sorted(found))} → '{label}'"
        for label, found in sorted(joined.items())[:SHOWN]
    )
    text = f"Spellings in column '{column}' that look the same were taken as one class: {shown}."
    return [Finding("class_spelling", "info", text, {"n": len(joined)})]


def kind_of(labels: Sequence[str]) -> Kind:
    """What labels (n,), as `class_names` gives them, could be."""
    counts = Counter(label for label in labels if label)
    n, distinct = sum(counts.values()), len(counts)
    if distinct < 2:
        return "constant" if distinct else "empty"
    if findings_mark(counts):
        return "joined"
    numbers = [_number(value) for value in counts]
    if None not in numbers:
        return "measured" if _is_measured([x for x in numbers if x is not None], n) else "classes"
    once = sum(times == 1 for times in counts.values())
    if distinct > MANY and (distinct > n / 2 or once > distinct / 2):
        return "text"
    return "classes"


def _is_measured(values: Sequence[float], n: int) -> bool:
    """Numbers that are no names of classes: with decimals, or many that do not count 0, 1, 2, …"""
    if not all(value.is_integer() for value in values):
        return len(values) > 5
    counting = min(values) in (0, 1) and max(values) - min(values) == len(values) - 1
    return len(values) > MANY and (not counting or len(values) > n / 2)


def findings_mark(counts: Mapping[str, int]) -> str:
    """What joins several findings in one label (`Mass|Nodule`), '' where labels are single."""
    lists = [label for label in counts if re.fullmatch(r"\[.*\]", label)]
    if any(len(parts_of(label, "[")) > 1 for label in lists):
        return "["
    for mark in MARKS:
        split = {label: parts_of(label, mark) for label in counts if mark in label}
        whole = [all(part in counts for part in parts) for parts in split.values()]
        shared = Counter(part for label in counts for part in set(parts_of(label, mark)))
        again = [any(shared[part] > 1 for part in parts) for parts in split.values()]
        if any(whole) or (mark in SURE_MARKS and any(again)):
            return mark
    return ""


def parts_of(label: str, mark: str) -> list[str]:
    """The findings of one label.

    >>> parts_of("Mass|Nodule", "|"), parts_of("['Mass', 'Nodule']", "[")
    (['Mass', 'Nodule'], ['Mass', 'Nodule'])
    """
    if mark == "[" and label.startswith("["):
        quoted = re.findall(r"'([^']*)'|\"([^\"]*)\"", label)
        return [a or b for a, b in quoted] or [p.strip() for p in label.strip("[]").split(",")]
    return [part.strip() for part in label.split(mark)] if mark else [label]


def binarized(labels: Sequence[str], rule: str, column: str) -> list[str]:
    """Two classes (n,): those with a finding (`Mass`) or a value (`>=50`), and the others.

    Raises
    ------
    DataError
        The rule compares what is no number, or names a finding that no label has.
    """
    compared = RULE.fullmatch(rule.strip())
    if compared:
        sign, bound = compared[1], float(compared[2])
        try:
            values = [float(label) if label else None for label in labels]
        except ValueError as error:
            raise DataError(
                f"--binarize '{rule}' compares numbers, and column '{column}' holds others "
                f"({error}); name a finding instead"
            ) from error
        other = f"{OPPOSITE[sign]}{compared[2]}"
        names = [f"{sign}{compared[2]}", other]
        return ["" if v is None else names[not _holds(v, sign, bound)] for v in values]
    counts = Counter(label for label in labels if label)
    mark = findings_mark(counts)
    known = Counter(part for label in counts for part in parts_of(label, mark))
    named = [part for part in known if part.casefold() == rule.strip().casefold()]
    if not named:
        raise DataError(
            f"no label of column '{column}' is or holds '{rule}'; pass --binarize with one of: "
            f"{', '.join(sorted(known)[:MANY])}"
        )
    return [
        "" if not label else named[0] if {*named} & {*parts_of(label, mark)} else f"no {named[0]}"
        for label in labels
    ]


def _holds(value: float, sign: str, bound: float) -> bool:
    return {
        ">=": value >= bound, "<=": value <= bound, ">": value > bound, "<": value < bound,
        "=": value == bound, "==": value == bound,
    }[sign]  # fmt: skip


def counted(labels: Sequence[str]) -> str:
    """The classes with their counts, for a sentence.

    >>> counted(["a", "b", "a", ""])
    'a 2, b 1'
    """
    counts = Counter(label for label in labels if label)
    shown = ", ".join(f"{name[:40]} {times:,}" for name, times in counts.most_common(SHOWN))
    more = len(counts) - SHOWN
    return shown + (f" and {more:,} more" if more > 0 else "")


def _number(text: str) -> float | None:
    try:
        return float(text) if re.fullmatch(r"[-+]?\d+(\.\d*)?(e[-+]?\d+)?", text, re.I) else None
    except OverflowError:
        return None
