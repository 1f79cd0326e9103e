"""The lower end of what to expect, in a sentence: beside the headline, and in the terminal."""

from __future__ import annotations

from typing import Literal

from medgraft.evaluate.metrics import METRICS
from medgraft.evaluate.overlap import FEWEST
from medgraft.report.text import formatting
from medgraft.results.figures import MADE, TELLING, TELLS, LowerEnd, tells, whether
from medgraft.results.recommendation import StudyResult

Word = Literal["PASS", "WARN", "INCONCLUSIVE"]


def sentence(result: StudyResult) -> str:
    """What the figure would be if how the images were made meant nothing; '' where not asked."""
    found, metric = result.lower_end, result.metric
    if found is None:
        return ""
    name = formatting.name_metric(metric)
    tells = f"AUROC {formatting.value('auroc', found.surface_auroc)}"
    if found.reason == "still telling":
        return (
            f"How low this may fall elsewhere cannot be said: {MADE} tells the classes apart with "
            f"{tells}, and no weighing of the images takes that away."
        )
    if found.estimate is None:
        return (
            f"How low this may fall elsewhere cannot be said: {MADE} tells the classes apart with "
            f"{tells}, and of one class only {found.n_effective:.0f} patients or groups would "
            f"count where that is taken away ({FEWEST} are needed)."
        )
    row = next(row for row in result.scenarios if row.key == result.recommended)
    plain, loss = row.validation[metric], METRICS[metric].lower_is_better
    left = (
        f"{name} {formatting.value(metric, found.estimate.value)} "
        f"(95 % interval {formatting.interval(metric, found.estimate)})"
    )
    worse = found.estimate.value > plain.high if loss else found.estimate.value < plain.low
    if not worse:
        return (
            f"This hardly rests on {MADE}: without what that tells, out of fold {left} would be "
            f"left of {formatting.value(metric, plain.value)}."
        )
    return (
        f"{'Upper' if loss else 'Lower'} end of what to expect elsewhere: {left}, if {MADE} meant "
        f"nothing there. Here that alone tells the classes apart with {tells}; the figure out of "
        f"fold is {formatting.value(metric, plain.value)}."
    )


RULE = (
    f"A warning is given where its AUROC is surely over {TELLING}, or surely over {TELLS} and the "
    "model is not shown to rank better."
)


def judgement(found: LowerEnd) -> tuple[Word, str] | None:
    """Whether the model may have learned how the images were made; None where it was not asked."""
    if found.surface is None or found.beyond is None:
        return None
    surface, beyond = found.surface, found.beyond
    text = f"{whether(MADE, surface)}."
    told = tells(surface)
    shown = beyond.low > 0
    if told == "surely":
        better = "better" if beyond.difference > 0 else "worse"
        text += (
            f" The model ranks the same images {better} by {abs(beyond.difference):.3f} "
            f"(95 % interval of the difference {beyond.low:.3f} to {beyond.high:.3f})"
        )
        text += "." if shown else ": it is not shown to know more than that."
    word: Word = "PASS"
    if told == "surely" and (surface.low > TELLING or not shown):
        word = "WARN"
    elif told == "few images":
        word = "INCONCLUSIVE"
    return word, f"{text} {RULE}"
