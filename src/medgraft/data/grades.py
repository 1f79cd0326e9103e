"""Classes that are grades: their order by name, or as it was given.

Names count up by the one number that each holds (`3`, `grade 2`, `KL-4`, `BI-RADS 4a`, `0_normal`),
by Roman numerals (`stage II`), or by the usual words for how grave something is (`no DR`, `mild`,
`moderate`, `severe`, `proliferative`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from medgraft.data.names import is_negative, words
from medgraft.errors import DataError
from medgraft.types import Finding

MOST_PROPOSED = 7  # plain numbers up to so many are proposed as grades; more are rather codes
NUMERALS = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x")
GRAVITY = (  # from nothing to the worst; a name says the last of them that it holds
    ("minimal", "doubtful", "questionable", "trace", "verymild", "possible"),
    ("mild", "slight", "low"),
    ("moderate", "medium", "intermediate"),
    ("severe", "marked", "high", "advanced"),
    ("proliferative", "proliferate", "pdr", "critical", "extreme", "verysevere", "endstage"),
)

Rank = tuple[float, str]


def in_order(
    classes: tuple[str, ...], ordered: bool, order: Sequence[str]
) -> tuple[tuple[str, ...], bool, list[Finding]]:
    """The classes in the order of grades, whether they are some, and what is to be said of it.

    Parameters
    ----------
    ordered : the names say the order. order : the names in their order, the lowest grade first;
        then `ordered` is meant. With neither, grades are only proposed where names count up.

    Raises
    ------
    DataError
        An order names what is no class, leaves one out or names one twice; or names that do not
        count up are to say it.

    Examples
    --------
    >>> in_order(("mild", "none", "severe"), True, ())[:2]
    (('none', 'mild', 'severe'), True)
    """
    ranks = ranks_of(classes)
    if not (ordered or order):
        return classes, False, _proposal(classes, ranks)
    if order:
        found = _as_given(classes, order)
    elif ranks is None and len(classes) > 2:
        raise DataError(
            f"--ordered: the names of the classes ({', '.join(classes)}) do not count up, so they "
            "do not say which grade is higher; give the order, the lowest first: "
            f"--order '{','.join(classes)}'"
        )
    else:
        found = classes if ranks is None else by_rank(classes, ranks)
    if len(classes) < 3:
        text = "Two classes in order are the plain question of two classes, and are studied as such"
        return classes, False, [Finding("grades", "info", f"{text}.")]
    text = f"The classes are grades, the lowest first: {', '.join(found)}."
    return found, True, [Finding("grades", "info", text), *_gaps(found)]


def ranks_of(classes: Sequence[str]) -> list[Rank] | None:
    """What each name says of its place, if all do, each another one; else None.

    >>> ranks_of(["KL-0", "KL-1", "KL-3"]), ranks_of(["nevus", "melanoma"])
    ([(0.0, ''), (1.0, ''), (3.0, '')], None)
    """
    for read in (_number, _roman, _gravity):
        ranks = [read(name) for name in _without_common(classes)]
        found = [rank for rank in ranks if rank is not None]
        if len(set(found)) == len(classes) > 1:
            return found
    return None


def by_rank(classes: Sequence[str], ranks: Sequence[Rank]) -> tuple[str, ...]:
    """The classes sorted by their places."""
    return tuple(name for _, name in sorted(zip(ranks, classes, strict=True)))


def _as_given(classes: tuple[str, ...], order: Sequence[str]) -> tuple[str, ...]:
    known = {name.casefold(): name for name in classes}
    unknown = [name for name in order if name.casefold() not in known]
    if unknown:
        raise DataError(
            f"--order: '{unknown[0]}' is no class; there are {', '.join(classes)}; names are those "
            "after --class-names and --rename"
        )
    found = tuple(known[name.casefold()] for name in order)
    if len(set(found)) < len(found):
        twice = next(name for name in found if found.count(name) > 1)
        raise DataError(f"--order names '{twice}' twice; a grade has one place")
    missing = [name for name in classes if name not in found]
    if missing:
        raise DataError(
            f"--order does not say where '{missing[0]}' belongs; name all of "
            f"{', '.join(classes)}, or leave it out of the study: --leave-out '{missing[0]}'"
        )
    return found


def _without_common(classes: Sequence[str]) -> list[list[str]]:
    """The words of each name that not all names share."""
    said = [words(name) for name in classes]
    common = set.intersection(*map(set, said)) if len(said) > 1 else set()
    kept = [[word for word in one if word not in common or word.isdecimal()] for one in said]
    return [own or list(one) for own, one in zip(kept, said, strict=True)]


def _number(said: list[str]) -> Rank | None:
    """The number that a name holds, the only one or the first word, and a letter after it."""
    text = " ".join(said)
    if found := re.fullmatch(r"-?(\d+)[. ]?(\d*)", text):  # a whole name, 1.5 has become two words
        return float(f"{found[1]}.{found[2] or 0}"), ""
    numbers = [word for word in said if re.fullmatch(r"\d+", word)]
    if said and (len(numbers) == 1 or said[0] in numbers[:1]):
        rest = said[said.index(numbers[0]) + 1 :]
        letter = rest[0] if rest and re.fullmatch(r"[a-e]", rest[0]) else ""
        return float(numbers[0]), letter
    return None


def _roman(said: list[str]) -> Rank | None:
    found = [NUMERALS.index(word) + 1 for word in said if word in NUMERALS]
    return (float(found[0]), "") if len(found) == 1 and len(said) <= 2 else None


def _gravity(said: list[str]) -> Rank | None:
    joined = {*said, *(a + b for a, b in pairwise(said))}
    places = [i for i, names in enumerate(GRAVITY, start=1) if joined.intersection(names)]
    if "verymild" in joined:
        return 1.0, ""
    if places:
        return float(places[-1]), ""
    return (0.0, "") if is_negative(" ".join(said)) or said == ["none"] else None


def _proposal(classes: tuple[str, ...], ranks: Sequence[Rank] | None) -> list[Finding]:
    if ranks is None or not 3 <= len(classes) <= MOST_PROPOSED:
        return []
    text = (
        f"The names of the classes count up ({', '.join(by_rank(classes, ranks))}). They are "
        "taken as classes without an order."
    )
    remedy = (
        "If they are grades, pass --ordered: mistakes are then weighed by their distance, and a "
        "classifier that knows the order is compared with those that do not."
    )
    return [Finding("grades", "info", text, {"classes": len(classes)}, remedy=remedy)]


def _gaps(classes: Sequence[str]) -> list[Finding]:
    """Which whole grades between the first and the last no image has."""
    ranks = [_number(said) for said in _without_common(classes)]
    values = [rank[0] for rank in ranks if rank and not rank[1]]
    if len(values) < len(classes) or any(value != int(value) for value in values):
        return []
    low, high = int(min(values)), int(max(values))
    absent = sorted(set(range(low, high + 1)) - set(map(int, values)))
    if not absent or len(absent) > high - low:
        return []
    some = ", ".join(map(str, absent[:5])) + (", …" if len(absent) > 5 else "")
    text = (
        f"No image has the grade {some}: the distance of two grades is counted in places among "
        f"those that there are, so that its neighbours are one apart."
    )
    return [Finding("grades", "warn", text, {"absent": len(absent)})]


def grade_values(classes: Sequence[str]) -> tuple[int, ...]:
    """The number of each grade: that in its name where these rise by one, else its place from 0.

    >>> grade_values(["BI-RADS 1", "BI-RADS 2", "BI-RADS 3"]), grade_values(["mild", "severe"])
    ((1, 2, 3), (0, 1))
    """
    ranks = [_number(said) for said in _without_common(classes)]
    values = [rank[0] for rank in ranks if rank and not rank[1]]
    first = values[0] if values else 0.0
    if len(values) == len(classes) and values == [first + i for i in range(len(classes))]:
        return tuple(int(value) for value in values)
    return tuple(range(len(classes)))
