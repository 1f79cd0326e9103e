"""The sentence a page leads with: what is told from what, how well, how sure that is, on how many.

It claims no more than its images show: not where they are too few to judge by, nor where guessing
would do as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from medgraft.report.text import formatting
from medgraft.results.figures import Evaluation
from medgraft.results.recommendation import Rationale
from medgraft.results.study import ReportInput
from medgraft.types import Estimate

FEW_GROUPS = 20  # judged; of fewer no figure says much, however good it looks


def headline_estimate(content: ReportInput) -> Estimate:
    """The number the report leads with: of the test, else corrected for having been chosen."""
    result = content.result
    if content.test_evaluation is None:
        return result.corrected
    return content.test_evaluation.estimates[result.metric]


def headline(content: ReportInput) -> str:
    """What was found, how sure it is, on how many images: one sentence."""
    estimate, result = headline_estimate(content), content.result
    if content.test_evaluation is None:
        images = (
            f"{formatting.plural(estimate.n, 'image')} not learned from, "
            f"{how_chosen(result.why)}, there being no test"
        )
    else:
        images = f"{formatting.plural(estimate.n, 'test image')} never used for any choice"
    return formatting.sentence(claim(content.judged, result.metric, estimate, images))


def how_chosen(why: Rationale) -> str:
    """What a figure of images not learned from owes to its scenario's having been chosen."""
    if why.for_all:
        return "of a scenario chosen by the mean over all findings"
    return formatting.CORRECTED


def claim(judged: Evaluation, metric: str, estimate: Estimate, images: str) -> str:
    """What an estimate on some images, which are named in words, shows of the classes."""
    here = present(judged)
    what = subject(here, judged.positive)
    figure = f"{formatting.name_metric(metric)} {formatting.value(metric, estimate.value)}"
    interval = f"95 % interval {formatting.interval(metric, estimate)}"
    if len(here) == 1:
        return (
            f"{images} are all of {here[0]}, so that nothing can be told apart: {figure} "
            f"({interval})"
        )
    lacks = shortfall(judged, metric, estimate)
    if lacks == "few":
        if judged.n_groups != judged.n_images:
            images = f"{images}, of {formatting.plural(judged.n_groups, 'group')},"
        return f"{images} are too few to judge whether {what}: {figure} ({interval})"
    if lacks == "guessing":
        chance = formatting.value(metric, guessing(judged, metric))
        return (
            f"it is not shown that {what}: {figure} ({interval}, and guessing gives {chance}) on "
            f"{images}"
        )
    return f"{what} with {figure} ({interval}) on {images}"


def shortfall(
    judged: Evaluation, metric: str, estimate: Estimate
) -> Literal["", "few", "guessing"]:
    """Why an estimate shows nothing: too few groups, or guessing may do as well; '' if it does."""
    if judged.n_groups < FEW_GROUPS:
        return "few"
    return "guessing" if estimate.low <= guessing(judged, metric) else ""


def caution(judged: Evaluation) -> str:
    """A sentence for where the AUROC shows nothing, '' where it does."""
    estimate = judged.estimates.get("auroc")
    lacks = shortfall(judged, "auroc", estimate) if estimate else ""
    if lacks == "few":
        images = formatting.images_of_groups(judged.n_images, judged.n_groups)
        return f"{images} are too few to judge by, however good the figures look."
    what = subject(present(judged), judged.positive)
    return f"It is not shown that {what}: guessing may do as well." if lacks else ""


def guessing(judged: Evaluation, metric: str) -> float:
    """What a metric is worth where labels are guessed; NaN where that depends on how."""
    shares = judged.confusion.sum(axis=1) / max(1, judged.n_images)
    by_metric = {
        "auroc": 0.5,
        "accuracy": float(shares.max()),  # of who always says the most frequent class
        "balanced_accuracy": 1 / len(present(judged)),
        "mcc": 0.0,
        "quadratic_kappa": 0.0,
    }
    return by_metric.get(metric, math.nan)


def present(judged: Evaluation) -> tuple[str, ...]:
    """The classes that some judged image is of."""
    counts = judged.confusion.sum(axis=1)
    return tuple(name for name, n in zip(judged.classes, counts, strict=True) if n)


def subject(classes: Sequence[str], positive: str | None) -> str:
    """What is told from what.

    >>> subject(("benign", "cancer"), "cancer"), subject(("a", "b", "c"), None)
    ('cancer is told from benign', '3 classes are told apart')
    """
    if positive is not None and len(classes) == 2:
        other = next(name for name in classes if name != positive)
        return f"{positive} is told from {other}"
    return f"{len(classes)} classes are told apart"


def gloss(metric: str, judged: Evaluation) -> str:
    """What the headline's number means, for whoever does not use it every day."""
    if metric != "auroc":
        return formatting.GLOSSARY.get(metric, "")
    if judged.positive is not None and len(judged.classes) == 2:
        other = next(name for name in judged.classes if name != judged.positive)
        return (
            f"AUROC is the chance that an image of {judged.positive} gets a higher score than one "
            f"of {other}, both drawn at random: 0.5 is guessing, 1 is no mistake in the order."
        )
    return (
        "AUROC is the chance that an image of a class gets a higher score for it than an image of "
        "another class, both drawn at random, as a mean over the classes: 0.5 is guessing, 1 is "
        "no mistake in the order."
    )


def operating_sentence(judged: Evaluation) -> str:
    """What the classifier does at its threshold, for two classes; else its accuracy."""
    found, cleared = (judged.estimates.get(name) for name in ("sensitivity", "specificity"))
    if judged.positive is None or found is None or cleared is None:
        accuracy = judged.estimates.get("accuracy")
        if accuracy is None:
            return ""
        return (
            f"The most probable class is the right one for {formatting.percent(accuracy.value)} of "
            f"the images (95 % interval {formatting.interval('accuracy', accuracy)})."
        )
    other = formatting.join((name for name in judged.classes if name != judged.positive), "or")
    return (
        f"{formatting.percent(found.value)} of the {judged.positive} images are found "
        f"(sensitivity, 95 % interval {formatting.interval('sensitivity', found)}), and "
        f"{formatting.percent(cleared.value)} of the {other} images are left alone (specificity, "
        f"{formatting.interval('specificity', cleared)})."
    )
