"""The part 'In sub-groups': the classifier by the values of the columns that were asked for."""

from __future__ import annotations

from collections.abc import Sequence

from medgraft.report.text import subgroups
from medgraft.results.figures import Subgroups


def section(found: Sequence[Subgroups], metric: str) -> dict[str, object]:
    """What the template shows; nothing of it where no column was asked for."""
    return {
        "subgroups": found,
        "subgroups_metric": metric,
        "subgroups_sentence": subgroups.sentence(found, metric) if found else "",
    }
