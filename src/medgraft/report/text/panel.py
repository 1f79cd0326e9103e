"""Several findings in words: each one's verdict, one scenario or several, and their company."""

from __future__ import annotations

from collections.abc import Sequence

from medgraft.report.text import formatting
from medgraft.results.panel import Company, FindingResult, PanelResult, ShortFinding
from medgraft.scenario import Scenario
from medgraft.types import Estimate

READINGS = {"unknown": "left out", "negative": "taken as absent", "positive": "taken as present"}
MOST = 5  # warnings of company that are said one by one


def headline(result: PanelResult) -> str:
    """How many findings are told, and how well on average."""
    told = sum(one.told == "told" for one in result.findings)
    n = len(result.findings)
    part, mean = mean_of(result)
    where = "on test images" if part == "test" else "out of fold"
    return (
        f"{told} of {formatting.plural(n, 'finding')} told from chance; "
        f"{_whose(result, part)} mean {formatting.name_metric(result.metric)} {where} is "
        f"{formatting.value(result.metric, mean.value)} "
        f"({formatting.interval(result.metric, mean)})"
    )


def _whose(result: PanelResult, part: str) -> str:
    """Of which findings the mean is: on the test, of those that it has with and without."""
    tested = sum(one.tested for one in result.findings)
    if part != "test" or tested == len(result.findings):
        return "their"
    return f"of the {tested} that can be tested the"


def mean_of(result: PanelResult) -> tuple[str, Estimate]:
    """The mean that the page leads with, and of which images: of the test, or out of fold."""
    part = "test" if "test" in result.macro else "validation"
    return part, result.macro[part][result.metric]


def verdict(one: FindingResult, result: PanelResult) -> str:
    """WARN where it is told less well, or only, in company; else whether it is told at all."""
    mine = [pair for pair in result.warnings() if pair.name == one.name]
    if one.told == "told" and mine:
        only = [pair.without for pair in mine if pair.only]
        others = only or [pair.without for pair in mine]
        return f"WARN: told {'only' if only else 'less well without'} " + (
            f"in company of {formatting.join(others)}" if only else formatting.join(others)
        )
    return "told" if one.told == "told" else "not told from chance"


def short_sentence(one: ShortFinding) -> str:
    """Why a finding is not judged, and what it takes."""
    if one.torn:
        return (
            f"{one.name} has {one.with_it} patients with it to learn from, which would do, but "
            "they have other rare findings too, so that no fold holds two of them; add patients "
            "who have it"
        )
    least = min(one.with_it, one.without)
    which = "with" if one.with_it <= one.without else "known to be without"
    more = max(one.needed - least, 1)
    return (
        f"{one.name} has {formatting.plural(least, 'patient')} {which} it to learn from, and "
        f"{one.needed} are needed, so that each fold holds two: {more} more, and a quarter as many "
        "again where a test split is set aside"
    )


def scenario_sentence(result: PanelResult) -> str:
    """One scenario for all or each its own, and what tells them apart."""
    found, metric, together = result.scenario, result.metric, _learned_together(result)
    if not found.one:
        return f"No scenario was tried for all findings, so each has its own.{together}"
    gap = (
        f"each its own instead moves the mean {formatting.name_metric(metric)} by "
        f"{_signed(found.difference)} ({_signed(found.low)} to {_signed(found.high)}; more is "
        "better), both chosen in bags of patients and judged out of them"
    )
    if found.taken == "own":
        asked = ", as was asked for" if found.asked else ""
        return f"Each finding has its own scenario{asked}: {gap}.{together}"
    why = "as was asked for" if found.asked else "which is not told from the choice one by one"
    return f"One scenario serves all findings, {why}: {gap}.{together}"


def _learned_together(result: PanelResult) -> str:
    """That networks which were trained have learned all findings, where any finding uses one."""
    scenarios = [Scenario.from_key(one.scenario) for one in result.findings]
    if not any(one.trained for scenario in scenarios for one in (scenario, *scenario.members)):
        return ""
    return (
        " The networks that were trained learned all findings at once, each by an output of its "
        "own, so that a finding's figures depend on the others too."
    )


def _signed(gain: float) -> str:
    return f"{gain:+.4f}".replace("-", "−")


def company_sentences(result: PanelResult) -> list[str]:
    """What is lost without company, gravest first."""
    warned = result.warnings()
    said = [company_sentence(one) for one in warned[:MOST]]
    if len(warned) > MOST:
        said.append(f"{len(warned) - MOST} further pairs stand in the table.")
    return said


def seldom_alone(result: PanelResult) -> str:
    """The findings that are hardly ever seen without another: nothing tells what is learned of
    them then; '' where there are none.
    """
    judged = {(one.name, one.without) for one in result.company}
    found = []
    for one in result.findings:
        for other in result.findings:
            pair = (one.name, other.name)
            both = result.pairs.get(pair, result.pairs.get(pair[::-1], 0))
            if one is not other and pair not in judged and both > one.n_with - both:
                found.append(f"{one.name} without {other.name} ({one.n_with - both:,} images)")
    if not found:
        return ""
    more = f" and {len(found) - MOST} more" if len(found) > MOST else ""
    return (
        f"Seen too seldom without the other to judge what is told of it then: "
        f"{'; '.join(found[:MOST])}{more}."
    )


def company_sentence(one: Company) -> str:
    """One pair in which a finding is told less well without the other."""
    value, ends = formatting.value, formatting.interval
    end = (
        f", which is not told from chance: {one.name} is found only in company"
        if one.only
        else f". Look at what the model takes for {one.name}"
    )
    return (
        f"Without {one.without}, {one.name} is told with an AUROC of "
        f"{value('auroc', one.alone.value)} ({ends('auroc', one.alone)}) instead of "
        f"{value('auroc', one.usual.value)}{end}."
    )


def uncertain_sentence(result: PanelResult) -> str:
    """What uncertain images were taken as; '' where there are none."""
    n = sum(one.n_uncertain for one in result.findings)
    if not n:
        return ""
    return (
        f"Uncertain marks ({n:,}) were {READINGS[result.uncertain]} (--uncertain). The table shows "
        "each figure as it would have been otherwise, out of fold, by the same scenario."
    )


def audit_sentence(result: PanelResult) -> str:
    """Which findings a budget had audited, with their verdicts; '' where none was asked for."""
    if not result.budget:
        return ""
    by_verdict: dict[str, list[str]] = {}
    for one in result.findings:
        if one.audit is not None:
            by_verdict.setdefault(one.audit.verdict, []).append(one.name)
    parts = [f"{verdict} {formatting.join(names)}" for verdict, names in by_verdict.items()]
    left = [one.name for one in result.findings if one.audit is None]
    if left:
        parts.append(f"no time was left for {formatting.join(left)}")
    within = formatting.duration(result.budget)
    return f"Audited within a budget of {within}, the weakest finding first: {'; '.join(parts)}."


def skipped_sentence(names: Sequence[str]) -> str:
    """What is not judged, by name."""
    return f"Not judged, for want of patients: {formatting.join(names)}." if names else ""
