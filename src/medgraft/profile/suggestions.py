"""What could be done about a finding, image by image, as `--overrides` takes it back.

A suggestion is never carried out unasked: a person looks at the images first.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from medgraft.files import write_text

Action = Literal["exclude", "relabel", "group"]
ACTIONS: tuple[Action, ...] = ("exclude", "relabel", "group")  # of two for one image, the first
COLUMNS = ("path", "action", "value", "why")


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One action on one image, `value` its new class or group; `check` is the finding behind it."""

    path: str
    action: Action
    value: str
    why: str
    check: str


def one_each(suggestions: Iterable[Suggestion]) -> tuple[Suggestion, ...]:
    """One suggestion an image, by path: exclude before relabel before group, the first of equals.

    An image under two actions would be refused by `--overrides`, or mean nothing.
    """
    chosen: dict[str, Suggestion] = {}
    for one in suggestions:
        held = chosen.get(one.path)
        if held is None or ACTIONS.index(one.action) < ACTIONS.index(held.action):
            chosen[one.path] = one
    return tuple(chosen[path] for path in sorted(chosen))


def write_suggestions(path: Path, suggestions: Sequence[Suggestion]) -> None:
    """Write the CSV `path,action,value,why`.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((one.path, one.action, one.value, one.why) for one in suggestions)
    write_text(path, text.getvalue())
