"""The verdict of an audit in a sentence or two."""

from __future__ import annotations

import math

from medgraft.report.text import formatting
from medgraft.results.evidence import DECIDES, the
from medgraft.types import AuditResult, Finding


def said(audit: AuditResult) -> str:
    """The verdict in a sentence or two, for the card and the terminal."""
    grave = sorted(audit.findings, key=lambda f: ("severe", "warn", "info").index(f.severity))
    seen = f"An effect on {in_100(audit.smallest_effect)} in 100 labels would have been seen."
    if audit.verdict == "PASS":
        return f"No region that should not decide does. {seen}"
    if not grave or (audit.verdict == "INCONCLUSIVE" and grave[0].severity == "info"):
        power = next((f.numbers for f in audit.findings if f.check == "power"), None)
        wanted = (
            f" About {power['images_a_class']} patients of each class would do." if power else ""
        )
        return f"No region was found to decide, but too little was visible. {seen}{wanted}"
    first = grave[0]
    if first.check != DECIDES:
        return formatting.sentence(first.text)
    more = sum(one.check == DECIDES for one in grave) - 1
    many = formatting.plural(more, "further region decides", "further regions decide")
    return _decides(first) + (f" {many}." if more else "")


def _decides(finding: Finding) -> str:
    """What a deciding region does, shortly."""
    value, low, high = (100 * float(finding.numbers[name]) for name in ("effect", "low", "high"))
    text = formatting.sentence(
        f"{the(str(finding.numbers['region']))} decides: it turns {value:.0f} in 100 labels "
        f"({low:.0f} to {high:.0f}). "
    )
    if finding.severity == "severe":
        return f"{text} It was declared to be no evidence."
    return f"{text} Nobody declared it to be no evidence: is this acceptable?"


def in_100(share: float) -> str:
    """A share of labels as a whole number of 100, rounded up, at least 1."""
    return f"{max(1, math.ceil(100 * share - 1e-9))}"
