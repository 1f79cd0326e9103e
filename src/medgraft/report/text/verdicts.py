"""What the report says in sentences: whether its headline may be believed, what would help.

Every verdict states the rule it was given by, so that a reader can disagree with it. Nothing here
chooses anything; these are words about numbers that are already there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from medgraft.evaluate.compare import difference_apart
from medgraft.report.text import audit_findings, calibration, formatting, lower_end
from medgraft.report.text.headline import headline_estimate, how_chosen
from medgraft.results.figures import Comparison
from medgraft.results.study import ReportInput
from medgraft.types import Finding, Ints, gravest_first

Word = Literal["PASS", "WARN", "FAIL", "INCONCLUSIVE", "not run"]

SHARP = 0.025  # the largest half-width of the headline's interval that passes
BLUNT = 0.075
EARLY = 0.3  # share of the network's depth up to which a layer sees no shapes
FEW = ("small_class", "untested_class", "small_test")  # checks that lead among equals
SAID_ELSEWHERE = ("positive_class", "few_for_audit")  # that come last
FEW_IMAGES = 30  # of the smallest class among the images judged


@dataclass(frozen=True, slots=True)
class VerdictCard:
    """One card: a word, a sentence, and the part of the report that shows why (its `link`)."""

    title: str
    word: Word
    text: str
    link: str
    see: str


def all_findings(content: ReportInput) -> list[Finding]:
    """Every finding once, the gravest first; of equals what makes all figures say little."""
    both = [*content.result.findings, *content.result.table.findings]
    unique = list({(one.check, one.text): one for one in both}.values())
    return gravest_first(sorted(unique, key=_rank))


def _rank(finding: Finding) -> int:
    if finding.check in FEW:
        return FEW.index(finding.check)
    return len(FEW) + (finding.check in SAID_ELSEWHERE)


def verdicts(content: ReportInput) -> list[VerdictCard]:
    """The cards under 'May it be believed?', always the same ones in the same order."""
    cards = [
        _data(content), *_made(content), _evidence(content), _calibration(content),
        _enough(content),
    ]  # fmt: skip
    return [*cards, _agreement(content)] if content.test_evaluation is not None else cards


def doubt(content: ReportInput, cards: Sequence[VerdictCard]) -> str:
    """A sentence for the top where most cards are undecided, '' where they are not."""
    asked = [card for card in cards if card.word != "not run"]
    undecided = sum(card.word == "INCONCLUSIVE" for card in asked)
    if 2 * undecided <= len(asked):
        return ""
    judged, sizes = content.judged, _sizes(content)
    per_class = judged.confusion.sum(axis=1)
    least, thin = int(np.argmin(per_class)), int(np.argmin(sizes))
    where = "test images" if content.test_evaluation is not None else "images not learned from"
    return (
        f"Too few images to believe this: it rests on {formatting.count(judged.n_images)} {where} "
        f"({formatting.count(int(per_class[least]))} of {judged.classes[least]}) and "
        f"{formatting.count(int(sizes.sum()))} to learn from "
        f"({formatting.count(int(sizes[thin]))} of {judged.classes[thin]}), and {undecided} of "
        f"{len(asked)} questions below stay undecided."
    )


def _data(content: ReportInput) -> VerdictCard:
    findings = all_findings(content)
    grave = [one for one in findings if one.severity != "info"]
    if not grave:
        text = "The checks for leaks, duplicates and telling metadata raised no warning."
        if content.result.table.grouping.rule == "none":
            text += (
                " Which images are of one patient is not known, so a patient on both sides of the "
                "split would not be seen; --group names patients."
            )
            return VerdictCard("Data", "INCONCLUSIVE", text, "findings", "What was checked")
        return VerdictCard("Data", "PASS", text, "findings", "What was checked")
    more = len(grave) - 1
    text = formatting.sentence(grave[0].text)
    if more:
        text += f" {formatting.plural(more, 'further warning')} below."
    word: Word = "FAIL" if grave[0].severity == "severe" else "WARN"
    return VerdictCard("Data", word, text, "findings", "The findings")


def _made(content: ReportInput) -> list[VerdictCard]:
    """Whether what is no subject tells the classes as well as the model does."""
    found = content.result.lower_end
    judged = None if found is None else lower_end.judgement(found)
    return (
        [VerdictCard("Exposure and frame", *judged, "findings", "The findings")] if judged else []
    )


def _evidence(content: ReportInput) -> VerdictCard:
    audit = content.result.audit
    if audit is None:
        text = (
            "No part of the images was hidden or swapped to see whether the answer depends on it."
        )
        if any(case.maps for case in content.cases):
            text += " The heatmaps show where the score comes from; they prove nothing alone."
        else:
            text += " Nor can a heatmap of this classifier be drawn."
        return VerdictCard("Evidence", "not run", text, "looks", "What it looks at")
    return VerdictCard(
        "Evidence",
        audit.verdict,
        audit_findings.verdict_sentence(audit),
        "looks",
        "What it looks at",
    )


def _calibration(content: ReportInput) -> VerdictCard:
    found = content.judged.calibration
    if found is None:
        text = "Not measured."
        return VerdictCard("Calibration", "not run", text, "reliability", "How good, exactly")
    text = f"{calibration.sentence(content.judged)} {calibration.RULE}"
    word = calibration.verdict(found)
    return VerdictCard("Calibration", word, text, "reliability", "What the probabilities say")


def _enough(content: ReportInput) -> VerdictCard:
    metric, judged = content.result.metric, content.judged
    estimate = headline_estimate(content)
    per_class = judged.confusion.sum(axis=1)
    least = int(np.argmin(per_class))
    half = (estimate.high - estimate.low) / 2
    if formatting.is_missing(half) or half > BLUNT:
        word: Word = "INCONCLUSIVE"
    elif half > SHARP or per_class[least] < FEW_IMAGES:
        word = "WARN"
    else:
        word = "PASS"
    text = (
        f"The figure above is known to within {formatting.margin(metric, half)}, and the smallest "
        f"class judged has {formatting.plural(int(per_class[least]), 'image')} "
        f"({judged.classes[least]}). Up to {formatting.margin(metric, SHARP)} with {FEW_IMAGES} "
        f"images passes; beyond {formatting.margin(metric, BLUNT)} nothing can be concluded."
    )
    return VerdictCard("Enough images", word, text, "exactly", "All figures")


def _agreement(content: ReportInput) -> VerdictCard:
    """Whether test and corrected figure differ, at a rate of one in twenty where they do not."""
    metric = content.result.metric
    inside, outside = content.result.corrected, headline_estimate(content)
    apart = difference_apart(outside, inside)
    figures = (
        f"{formatting.name_metric(metric)} {formatting.value(metric, inside.value)} "
        f"{how_chosen(content.result.why)} and "
        f"{formatting.value(metric, outside.value)} on the test"
    )
    if formatting.is_missing(apart.low) or formatting.is_missing(apart.high):
        text = f"Not measured: {figures}."
        return VerdictCard("New images", "not run", text, "exactly", "All figures")
    figures += (
        f", a difference of {formatting.difference(metric, apart.value)} (95 % interval "
        f"{formatting.between(metric, apart)})"
    )
    if apart.low > 0 or apart.high < 0:
        why = "the test images differ from the development images"
        if content.changed:
            why += ", or it is that these were judged in changed views"
        text = f"{figures}: {why}. Expect the same of images from elsewhere."
        word: Word = "WARN"
    elif (apart.high - apart.low) / 2 > BLUNT:
        text, word = f"{figures}: too few images to say whether the two agree.", "INCONCLUSIVE"
    else:
        text, word = f"{figures}: none is seen.", "PASS"
    text += " Where there is none, one study of twenty warns."
    return VerdictCard("New images", word, text, "exactly", "All figures")


def advice(content: ReportInput) -> list[str]:
    """What would help most, the most telling first; each a sentence that names its number."""
    found = [
        _thin_class(content),
        _early_layer(content),
        _worst_confusion(content),
        *_remedies(content),
    ]
    half = (headline_estimate(content).high - headline_estimate(content).low) / 2
    said = any(one.check == "small_test" for one in all_findings(content))
    if half > SHARP and not said:
        n = headline_estimate(content).n
        found.append(
            f"More images to judge by: with {formatting.plural(n, 'image')} the interval is "
            f"{formatting.margin(content.result.metric, half)}; about four times as many would "
            "halve it."
        )
    return [text for text in found if text]


def _early_layer(content: ReportInput) -> str:
    """A word of caution where a layer that sees no shapes yet is enough to tell the classes."""
    orders = {point.tap: point.order for point in content.depth}
    named = {one.key: one for one in content.scenarios}
    chosen = named.get(content.result.recommended)
    tap = chosen.tap if chosen else ""
    if (
        not chosen
        or chosen.trained
        or tap not in orders
        or orders[tap] > EARLY * max(orders.values())
    ):
        return ""
    return (
        f"A look at what else differs between the classes: {tap} is an early layer, which sees "
        "colour, brightness and texture. Stain, device or exposure may tell the classes as well "
        "as the disease."
    )


def _worst_confusion(content: ReportInput) -> str:
    """The most frequent mistake; more images of its class are asked for where it is not the larger
    side of a class that is thin.
    """
    judged = content.judged
    wrong = judged.confusion - np.diag(np.diag(judged.confusion))
    totals = np.maximum(judged.confusion.sum(axis=1), 1)
    shares = wrong / totals[:, None]
    truth, given = np.unravel_index(int(np.argmax(shares)), shares.shape)
    n = int(wrong[truth, given])
    if n == 0:
        return "No image was called wrong; look for harder images before trusting that."
    mistake = (
        f"{formatting.count(n)} of {formatting.count(int(totals[truth]))} were called "
        f"{judged.classes[given]} ({formatting.percent(float(shares[truth, given]))}), the most "
        "frequent mistake."
    )
    sizes, name = _sizes(content), judged.classes[truth]
    if _is_thin(sizes) and sizes[truth] > sizes.min():
        return f"A look at the images of {name}: {mistake}"
    return f"More development images of {name}, as varied as those to come: {mistake}"


def _sizes(content: ReportInput) -> Ints:
    """(n_classes,) images to learn from."""
    development = content.result.table.development
    known = development.labels[development.labels >= 0]
    return np.bincount(known, minlength=len(development.classes))


def _is_thin(sizes: Ints) -> bool:
    """Whether the smallest class has a third of the images of the largest, or less."""
    return bool(sizes.max() >= 3 * sizes.min())


def _thin_class(content: ReportInput) -> str:
    classes, sizes = content.result.table.classes, _sizes(content)
    least, most = int(np.argmin(sizes)), int(np.argmax(sizes))
    if not _is_thin(sizes):
        return ""
    return (
        f"More images of {classes[least]} to learn from: there are "
        f"{formatting.count(int(sizes[least]))}, against {formatting.count(int(sizes[most]))} of "
        f"{classes[most]}."
    )


def _remedies(content: ReportInput) -> Iterable[str]:
    grave = [one for one in all_findings(content) if one.severity != "info" and one.remedy]
    return dict.fromkeys(
        f"{formatting.name_check(one.check)}: {formatting.sentence(one.remedy)}" for one in grave
    )


def compared(content: ReportInput) -> tuple[str, dict[str, Comparison]]:
    """The scenario the others were compared with ('' if none were), and each comparison by key."""
    comparisons = content.result.comparisons
    if not comparisons:
        return "", {}
    keys = {one.a for one in comparisons}
    # `evaluate.compare` puts its reference first; where several were used, the recommended counts.
    reference = keys.pop() if len(keys) == 1 else content.result.recommended
    return reference, {
        one.b if one.a == reference else one.a: one
        for one in comparisons
        if reference in (one.a, one.b)
    }


def gap(comparison: Comparison | None, key: str) -> float:
    """The metric of `key` minus that of the scenario it was compared with; NaN if it was not."""
    if comparison is None:
        return math.nan
    return -comparison.difference if key == comparison.b else comparison.difference


def sureness(probability: float) -> str:
    """A probability of the class given, in a word.

    >>> sureness(0.55), sureness(0.7), sureness(0.9), sureness(0.99)
    ('a close call', 'moderate', 'high', 'very high')
    """
    levels = ((0.6, "a close call"), (0.8, "moderate"), (0.95, "high"))
    return next((word for limit, word in levels if probability < limit), "very high")
