"""Sub-groups in words: which of them surely differ from the others."""

from __future__ import annotations

from collections.abc import Sequence

from medgraft.evaluate.by_site import FEWEST
from medgraft.report.text import formatting
from medgraft.results.figures import Subgroups

SURE = 0.05


def sentence(found: Sequence[Subgroups], metric: str) -> str:
    """Which sub-groups surely differ from the others."""
    tested = [one for column in found for one in column.figures if one.p is not None]
    sure = [
        f"{one.name} ({column.column})"
        for column in found
        for one in column.figures
        if one.p is not None and one.p < SURE
    ]
    few = [one for column in found for one in column.figures if one.few]
    name = formatting.name_metric(metric)
    if sure:
        verb = "differs" if len(sure) == 1 else "differ"
        text = f"In {name}, {formatting.join(sure)} surely {verb} from all others."
    elif tested:
        text = f"No sub-group surely differs from all others in {name}; small gaps go unseen."
    else:
        text = "No sub-group is large enough to be held against the others."
    if few:
        text += (
            f" Where there are fewer than {FEWEST} patients or groups of a class, a figure says "
            "next to nothing and is not tested."
        )
    return text
