"""The part 'How far mistakes go': distances of grades, and every threshold between two."""

from __future__ import annotations

from medgraft.report.text import grades
from medgraft.results.figures import GradeFigures


def section(
    found: GradeFigures | None, classes: tuple[str, ...], where: str, *, ordinal: bool = False
) -> dict[str, object]:
    """What the template shows; nothing of it where the classes are no grades.

    where : on which images, as in `of the test images`. ordinal : the classifier knows the order.
    """
    if found is None:
        return {"grades": None}
    return {
        "grades": found,
        "grades_sentence": grades.sentence(found, where),
        "grades_scale": grades.scale(found, classes),
        "grades_maps": grades.ORDINAL_MAPS if ordinal else "",
        "grades_wishes": {cut.grade: grades.wishes(cut) for cut in found.cuts},
    }
