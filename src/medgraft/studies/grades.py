"""How far the mistakes of what is recommended go, where the classes are grades."""

from __future__ import annotations

from collections.abc import Mapping

from medgraft.evaluate.grades import grade_figures
from medgraft.learn.cross_validation import CrossFitted
from medgraft.results.figures import GradeFigures
from medgraft.types import Predictions


def figures_of_grades(crossed: CrossFitted, test: Predictions | None) -> Mapping[str, GradeFigures]:
    """`validation` out of fold and `test`, where there is one; nothing of classes without order."""
    grading, own = crossed.fitted.grading, crossed.unchanged
    if grading is None:
        return {}
    found = {"validation": grade_figures(own, grading)}
    if test is not None and len(test):
        found["test"] = grade_figures(test, grading, own)
    return found
