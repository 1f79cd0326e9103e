"""How many images there are and how like ImageNet they are, among the sets that were measured."""

from __future__ import annotations

from medgraft.report.charts import decision_map as charts
from medgraft.report.text import formatting, similarity
from medgraft.results.study import ReportInput


def section(content: ReportInput) -> dict[str, object]:
    """What the template shows of it."""
    found = content.decision_map
    chart = None
    if found is not None:
        families = [one.winner for one in found.known if one.winner]
        words = [
            f"{name} ({formatting.FAMILY_WORDS[name]})" for name in dict.fromkeys(sorted(families))
        ]
        chart = {
            "wide": charts.decision_map("map-wide", found),
            "narrow": charts.decision_map("map-narrow", found, narrow=True),
            "caption": (
                "Public sets that were measured alike, each with what our own study of it "
                f"recommends: {formatting.join(words)}. Hollow: its distance is measured, and no "
                "study of it is written down. So few sets make no rule; what is recommended here "
                "was compared on your images."
            ),
        }
    return {"similarity": similarity.sentence(content.result.similarity), "decision_map": chart}
