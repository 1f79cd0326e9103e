"""How the recommended scenario does at the worst site, in sentences."""

from __future__ import annotations

from medgraft.evaluate.by_site import FEWEST
from medgraft.report.text import formatting
from medgraft.results.recommendation import StudyResult


def sentence(result: StudyResult) -> str:
    """The worst site, beside the headline and in the terminal; '' where folds are not sites."""
    found, metric = result.by_site, result.metric
    if found is None:
        return ""
    judged = [one for one in found.figures if one.estimate is not None and not one.few]
    if found.worst is None:
        return (
            f"None of the {len(found.figures)} sites holds {FEWEST} patients or groups each of "
            "several classes, so how well these are told apart at one of them cannot be said."
        )
    last, first = (judged[i].estimate for i in (0, -1))
    assert last is not None  # for the type checker
    assert first is not None
    name, n = formatting.name_metric(metric), formatting.plural(len(judged), "site")
    text = (
        f"Judged at {n} by models of the others, {name} goes from "
        f"{formatting.value(metric, last.value)} ({judged[0].site}) to "
        f"{formatting.value(metric, first.value)} ({judged[-1].site}). Whichever site is the "
        f"worst in truth, the 95 % interval of its figure is "
        f"{formatting.interval(metric, found.worst)}."
    )
    few = sum(one.few for one in found.figures)
    if few:
        text += (
            f" {formatting.plural(few, 'site has', 'sites have')} fewer than {FEWEST} patients or "
            "groups of a class and cannot be judged."
        )
    without = sum(one.estimate is None for one in found.figures)
    if without:
        text += f" {formatting.plural(without, 'site has', 'sites have')} images of one class only."
    return text
