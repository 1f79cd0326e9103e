"""Why the recommended scenario is recommended, in a few plain sentences.

The same on every surface: the terminal and the page call scenarios by their short names, the `why`
of result.json by their keys.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from medgraft.evaluate.metrics import METRICS
from medgraft.report.text import audit_findings, formatting
from medgraft.results.recommendation import AuditResult, Rationale
from medgraft.types import Estimate, gravest_first

MOST_SAID = 1e6  # images
ROUGHLY = 5e4  # images from which a wish is said by its first digit


def why(facts: Rationale, names: Mapping[str, str]) -> str:
    """What was compared, what speaks for the one that is recommended, and what its audit says.

    names : what each scenario is called, by key.
    """
    said = [
        f"Among {_compared(facts)}, {_choice(facts, names)}",
        _depth(facts),
        ""
        if facts.for_all
        else f"Corrected for the choice, the figure is {facts.corrected.value:.3f} (95 % "
        f"interval {facts.corrected.low:.3f} to {facts.corrected.high:.3f}).",
        _audits(facts, names) if facts.audits else "",
    ]
    return " ".join(filter(None, said))


def _compared(facts: Rationale) -> str:
    groups = f" from {facts.n_groups:,} groups" if facts.n_groups < facts.n_images else ""
    return (
        f"{formatting.plural(facts.n_scenarios, 'scenario')} judged out of fold on "
        f"{formatting.plural(facts.n_images, 'image')}{groups} (fewest: {facts.n_smallest:,} of "
        f"class {facts.smallest_class})"
    )


def _choice(facts: Rationale, names: Mapping[str, str]) -> str:
    """How far the recommended one is from the best."""
    name, fit_for = formatting.name_metric(facts.metric), ""
    if facts.for_all:
        return (
            f"{names[facts.recommended]} was decided for all findings together, by their mean. "
            f"Here its {name} is {_figure(facts.figure)}, and the best has "
            f"{_figure(facts.best_figure)} ({names[facts.best]})."
        )
    if facts.barred:
        fit_for = " and does not fail the audit of its evidence"
    if facts.recommended == facts.best:
        return (
            f"{names[facts.recommended]} has the best {name}, {_figure(facts.figure)}, and no "
            f"simpler one can be expected to lose {_allowed(facts, 'less than')}{fit_for}."
        )
    promise = (
        "is surely close to the best"
        if facts.non_inferior
        else f"can be expected to lose {_allowed(facts, 'no more than')}"
    )
    return (
        f"{names[facts.recommended]} is the simplest that {promise}{fit_for}: its {name} is "
        f"{_figure(facts.figure)} against {_figure(facts.best_figure)} of {names[facts.best]}, "
        f"{_lost(facts)}."
    )


def _allowed(facts: Rationale, bound: str) -> str:
    """The loss that simplicity may cost; nothing where the best has nothing left to perfection."""
    margin = f"{facts.margin:.4f}"
    return f"{bound} the {margin} that is allowed" if float(margin) else "nothing"


def _lost(facts: Rationale) -> str:
    """What is lost for simplicity, and how sure that is."""
    if facts.non_inferior:
        return (
            f"a loss of at most {max(facts.loss, 0):.4f} (upper end of the paired 95 % interval) "
            f"where {facts.margin:.4f} was allowed"
        )
    cost = f"lost {facts.cost:.4f} on average" if facts.cost > 0 else "lost nothing on average"
    return (
        "which is partly luck: rehearsed on images that had no part in the choice, choosing so "
        f"instead of the best {cost}. To be sure these images are too few: the loss may be up to "
        f"{facts.loss:.4f} (upper end of the paired 95 % interval){_needed(facts)}"
    )


def _needed(facts: Rationale) -> str:
    """How many images would tell the two apart, or that they are as good; '' where they do."""
    if not facts.needed:
        return ""
    if facts.needed > MOST_SAID:
        return ", and no number of images like these that one could have would tell"
    what = "that no more is lost" if facts.gap < facts.margin else "which of the two is better"
    digits = 2 if facts.needed < ROUGHLY else 1
    so_many = formatting.large(int(float(f"{facts.needed:.{digits}g}")))
    return f"; about {so_many} images like these would tell {what}"


def _depth(facts: Rationale) -> str:
    """How the figure goes with the depth of the tap; nothing where there is one tap."""
    if len(facts.by_tap) < 2:
        return ""
    first, last = facts.by_tap[0], facts.by_tap[-1]
    peak = int(np.argmax([METRICS[facts.metric].sign * value for _, value in facts.by_tap]))
    tap, value = facts.by_tap[peak]
    where = "the deepest tap" if peak == len(facts.by_tap) - 1 else f"the tap {tap}"
    return (
        f"By depth, {formatting.name_metric(facts.metric)} goes from {first[1]:.3f} at {first[0]} "
        f"to {last[1]:.3f} at {last[0]}, with its peak of {value:.3f} at {where}."
    )


def _audits(facts: Rationale, names: Mapping[str, str]) -> str:
    """What the audit says of the recommended scenario, and what it did to the choice."""
    mine = facts.audits[facts.recommended]
    if mine.verdict == "FAIL":
        also = len(facts.failed) - 1
        return f"It FAILs the audit of its evidence: {_gravest(mine)} " + (
            f"What is close enough to the best was audited too ({also} of them) and FAILs as well, "
            "so the choice stands."
            if also
            else "Nothing else is close enough to the best, so the choice stands."
        )
    words = f"The audit of its evidence says {mine.verdict}"
    seen = f"an effect on {formatting.in_100(mine.smallest_effect)} in 100 labels"
    if mine.verdict != "INCONCLUSIVE":
        words += f"; it would have seen {seen}"
    elif all(finding.severity == "info" for finding in mine.findings):
        words += f": nothing smaller than {seen} would have been seen"
    if not facts.barred:
        return f"{words}."
    first = facts.barred[0]
    return (
        f"By its figures alone {names[first]} would have been recommended, but it FAILs the audit: "
        f"{_gravest(facts.audits[first])} {words}."
    )


def _gravest(audit: AuditResult) -> str:
    return audit_findings.sentence(gravest_first(audit.findings)[0])


def _figure(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"
