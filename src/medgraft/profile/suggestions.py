"""What could be done about a finding, image by image, as `--overrides` takes it back.

A suggestion is never carried out unasked: a person looks at the images first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from medgraft.files import write_csv
from medgraft.results.data import Action, Suggestion

ACTIONS: tuple[Action, ...] = ("exclude", "relabel", "group")  # of two for one image, the first
COLUMNS = ("path", "action", "value", "why")


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
    rows = ((one.path, one.action, one.value, one.why) for one in suggestions)
    write_csv(path, [COLUMNS, *rows], ending="\n")
