"""The part 'At each site': the recommended scenario where each site was left out."""

from __future__ import annotations

from medgraft.report.text import sites
from medgraft.results.study import ReportInput


def section(content: ReportInput) -> dict[str, object]:
    """What the template shows; nothing of it where folds are not sites."""
    found = content.result.by_site
    shared = set[int]()
    if found is not None:
        folds = [one.fold for one in found.figures]
        shared = {fold for fold in folds if folds.count(fold) > 1}
    return {
        "by_site": found,
        "sites_shared": shared,
        "worst_site": sites.sentence(content.result),
    }
