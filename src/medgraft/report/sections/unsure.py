"""The part 'When it is not sure': sets of classes, and images unlike those learned from."""

from __future__ import annotations

from collections.abc import Mapping

from medgraft.report.text import prediction_sets, unlike
from medgraft.results.figures import SetFigures, UnlikeFigures


def section(
    found: Mapping[str, SetFigures], unlikeness: UnlikeFigures | None, where: str
) -> dict[str, object]:
    """What the template shows.

    found : figures by the title of their column, the first being those that are spoken of; none
    where a classifier keeps nothing to make sets by. unlikeness : how many images are unlike those
    learned from, where that is known. where : which images all of this is about.
    """
    said = {"unlike_sentence": unlikeness and unlike.sentence(unlikeness, where)}
    if not found:
        return {"sets": None, **said}
    first = next(iter(found.values()))
    return {
        **said,
        "sets": found,
        "sets_classes": tuple(first.by_class),
        "sets_sentences": prediction_sets.sentences(first, where),
        "sets_wanted": 1 - first.alpha,
    }
