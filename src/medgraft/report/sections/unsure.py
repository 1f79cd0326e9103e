"""The part 'When it is not sure': sets of classes that hold the true one."""

from __future__ import annotations

from collections.abc import Mapping

from medgraft.report.text import prediction_sets
from medgraft.types import SetFigures


def section(found: Mapping[str, SetFigures], where: str) -> dict[str, object]:
    """What the template shows.

    found : figures by the title of their column, the first being those that are spoken of; none
    where a classifier keeps nothing to make sets by. where : which images these are of.
    """
    if not found:
        return {"sets": None}
    first = next(iter(found.values()))
    return {
        "sets": found,
        "sets_classes": tuple(first.by_class),
        "sets_sentences": prediction_sets.sentences(first, where),
        "sets_wanted": 1 - first.alpha,
    }
