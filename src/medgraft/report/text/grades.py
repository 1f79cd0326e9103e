"""How far mistakes of grades go, in words."""

from __future__ import annotations

from medgraft.report.text import formatting
from medgraft.results.figures import GradeCut, GradeFigures
from medgraft.types import Estimate

ORDINAL_MAPS = (
    "A map of a classifier that knows the order of the grades shows what raises the grade; of the "
    "lowest grade, what lowers it."
)


def sentence(found: GradeFigures, where: str) -> str:
    """What share of the images gets its grade, one beside it, one further off; and the mean error.

    where : on which images, as in `of the test images`.
    """
    exact = formatting.capitalised(shares(found.exact))
    return (
        f"{exact} {where} get their grade, {shares(found.off_by_one)} one beside it and "
        f"{shares(found.off_by_more)} one further off; the mean error is "
        f"{figure('mean_absolute_error', found.mean_error)} grades, that of the mean grade "
        f"{figure('mean_absolute_error', found.mean_grade_error)}."
    )


def shares(estimate: Estimate) -> str:
    """A share of images with its interval."""
    return figure("accuracy", estimate)


def figure(metric: str, estimate: Estimate) -> str:
    """A figure with its interval in brackets."""
    return f"{formatting.value(metric, estimate.value)} ({formatting.interval(metric, estimate)})"


def scale(found: GradeFigures, classes: tuple[str, ...]) -> str:
    """Which numbers the mean grade is in, where names do not say it."""
    if all(str(number) in name for number, name in zip(found.values, classes, strict=True)):
        return ""
    pairs = [f"{number} is {name}" for number, name in zip(found.values, classes, strict=True)]
    return f"The mean grade counts the grades in their order: {formatting.join(pairs)}."


def wishes(cut: GradeCut) -> str:
    """Thresholds for a wanted sensitivity, with the specificity that is left; '' without any."""
    parts = []
    for one in cut.wishes:
        if one.threshold is None:
            continue
        left = one.found.get("specificity")
        text = f"{formatting.percent(one.wanted)}: {formatting.number(one.threshold)}"
        if left is not None:
            text += f" leaves a specificity of {formatting.percent(left.value)}"
        parts.append(text)
    return "; ".join(parts)
