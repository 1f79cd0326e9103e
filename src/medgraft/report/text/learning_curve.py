"""What twice the images would bring, in a sentence."""

from __future__ import annotations

from medgraft.evaluate.metrics import METRICS
from medgraft.report.text import formatting
from medgraft.results.recommendation import LearningCurve

REASONS = {
    "few patients": "too few patients or groups of a class to learn from a quarter or half of them",
    "nothing to refit": "no scenario was compared that is a head on kept codes, which alone is "
    "refitted in seconds",
    "metric": "the calibration error has no errors by image to reckon with",
}


def sentence(found: LearningCurve | None, metric: str, recommended: str, name: str) -> str:
    """What more images would do; '' where no curve was asked for.

    recommended : key of the scenario that is. name : what the refitted one is called.
    """
    if found is None:
        return ""
    if not found.points:
        return f"Whether more images would help was not measured: {REASONS[found.reason]}."
    first, last = found.points[0], found.points[-1]
    figure = formatting.name_metric(metric)
    least = "a quarter" if first.share <= 0.25 else "half"
    learned = (
        f"Learning from {least} of the patients or more ({first.n_images:,} to "
        f"{last.n_images:,} images), {figure} went from "
        f"{formatting.value(metric, first.estimate.value)} to "
        f"{formatting.value(metric, last.estimate.value)}"
    )
    if found.scenario != recommended:
        learned = f"{learned} with {name}, the best that can be refitted at once"
    if found.twice is None or found.gain is None:
        return f"{learned}: hardly an error is left that more images could take away."
    sign = METRICS[metric].sign
    gain, low, high, least = (
        formatting.difference(metric, sign * one)
        for one in (found.gain.value, found.gain.low, found.gain.high, found.margin)
    )
    ends = f"95 % interval {low.removesuffix(' points')} to {high}"
    said = {
        "helps": f"twice the images would help: {gain}",
        "hardly helps": f"twice the images would hardly help: {gain}",
        "cannot be told": f"whether twice the images would bring {least} or more cannot be told",
    }[found.verdict]
    return f"{learned}; {said} ({ends})."
