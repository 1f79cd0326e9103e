"""Rows of numbers from the JSON that a command or a server answers with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medgraft.errors import ForeignModelError
from medgraft.results.foreign_model import OutputKind
from medgraft.types import Floats

KINDS: dict[str, OutputKind | str] = {
    "probabilities": "probabilities",
    "logits": "logits",
    "scores": "",
}
FORM = (
    'give each image a list of numbers such as [0.1, 0.9], or {"probabilities": {"normal": 0.1, '
    '"ill": 0.9}}'
)


@dataclass(frozen=True, slots=True)
class Rows:
    """Numbers (n, k), whether they came with the names of classes, and what they were called."""

    numbers: Floats
    named: bool
    outputs: OutputKind | str


def read_rows(answers: Sequence[Any], classes: Sequence[str], name: str) -> Rows:
    """The numbers of each image: a number, a list, or an object of classes.

    An object holds them itself, or under `probabilities`, `logits` or `scores`; one whose `error`
    says something is no answer.

    Raises
    ------
    ForeignModelError
        An answer is none of these, or has other classes.
    """
    found = [_row(answer, classes, name) for answer in answers]
    lengths = {len(numbers) for numbers, _, _ in found}
    if len(lengths) > 1:
        raise ForeignModelError(
            f"{name} answered {min(lengths)} numbers for one image and {max(lengths)} for another; "
            "it should give one a class, always"
        )
    numbers = np.array([numbers for numbers, _, _ in found], np.float64)
    return Rows(
        numbers.reshape(len(found), -1),
        all(named for _, named, _ in found) and bool(found),
        found[0][2] if found and len({kind for _, _, kind in found}) == 1 else "",
    )


def _row(
    answer: Any, classes: Sequence[str], name: str
) -> tuple[list[float], bool, OutputKind | str]:
    kind: OutputKind | str = ""
    if isinstance(answer, dict):
        if answer.get("error"):
            raise ForeignModelError(f"{name} could not answer for an image: {answer['error']}")
        key = next((word for word in KINDS if answer.get(word) is not None), "")
        answer, kind = (answer[key], KINDS[key]) if key else (answer, "")
    if isinstance(answer, dict):
        if set(answer) != set(classes):
            raise ForeignModelError(
                f"{name} answers for {', '.join(map(str, answer)) or 'nothing'}, and the classes "
                f"are {', '.join(classes)}; name them alike (--rename, --classes), or {FORM}"
            )
        return _numbers([answer[one] for one in classes], name), True, kind
    return _numbers(answer if isinstance(answer, list) else [answer], name), False, kind


def _numbers(values: Sequence[Any], name: str) -> list[float]:
    wrong = [v for v in values if isinstance(v, bool) or not isinstance(v, int | float)]
    if wrong or not values:
        what = str(wrong[0])[:80] if wrong else "nothing"
        raise ForeignModelError(f"{name} answered {what} where numbers were expected; {FORM}")
    return [float(value) for value in values]
