"""Prediction sets in words: what they promise, what they hold, and where the promise is broken."""

from __future__ import annotations

from medgraft.evaluate.conformal import patients_needed
from medgraft.report.text import formatting
from medgraft.results.figures import SetFigures
from medgraft.types import Estimate

SHARE = "sensitivity"  # coverage is written as this is


def promise(alpha: float) -> str:
    """What a set is, and what it promises."""
    return (
        "Beside its label an image gets a set: the label, and every class that cannot be left out. "
        f"Of each class, however rare, at least {formatting.nominal(1 - alpha)} of a new patient's "
        "images shall have theirs in their set, if the patient is like those learned from."
    )


def held(found: SetFigures, where: str) -> str:
    """How large sets are on these images, and whether they keep what they promise."""
    single = formatting.percent(found.single.value)
    text = (
        f"On {where} a set holds {formatting.number(found.size.value)} classes in the mean; "
        f"{single} of sets are one class alone."
    )
    wanted = 1 - found.alpha
    broken = [(name, one) for name, one in found.by_class.items() if one and one.high < wanted]
    if broken:
        said = formatting.join(f"{name} {_share(one)}" for name, one in broken)
        text += (
            f" The promise of {formatting.nominal(wanted)} is broken there: of {said} are covered. "
            "These images are not like those learned from; do not rely on sets of such images."
        )
    else:
        judged = [(one.value, name, one) for name, one in found.by_class.items() if one]
        _, name, least = min(judged, key=lambda row: row[0])
        text += f" The promise is not refuted; least covered is {name}, {_share(least)}."
    return text


def always(found: SetFigures) -> str:
    """The classes of which nothing can be promised; '' where there are none."""
    if not found.always:
        return ""
    needed = patients_needed(found.alpha)
    is_are = "is" if len(found.always) == 1 else "are"
    return (
        f"{formatting.join(found.always)} {is_are} in every set: to leave a class out takes "
        f"{needed} patients of it to learn from, and there are fewer."
    )


def sentences(found: SetFigures, where: str) -> tuple[str, ...]:
    """All that is said of some figures; `where` says of which images they are."""
    return tuple(text for text in (promise(found.alpha), held(found, where), always(found)) if text)


def _share(one: Estimate) -> str:
    return f"{formatting.percent(one.value)} ({formatting.interval(SHARE, one)})"
