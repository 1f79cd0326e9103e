"""Whether more images would help: the learning curve with its sentence."""

from __future__ import annotations

from medgraft.report.charts import learning_curve as charts
from medgraft.report.text import learning_curve as text
from medgraft.report.text import scenario_names
from medgraft.results.study import ReportInput

CAPTION = (
    "Heads fitted again on shares of the patients of the same folds, three draws of each share, "
    "judged on the images left out; bars are 95 % intervals. The last point is what a power law "
    "through the others expects of twice the images."
)


def section(content: ReportInput) -> dict[str, object]:
    """What the template shows of it."""
    result, found = content.result, content.result.learning_curve
    if found is None:
        return {"learning_curve": None}
    _, names = scenario_names.short_names(content.scenarios)
    chart = None
    if found.points:
        chart = {
            "wide": charts.learning_curve("learning-wide", found, result.metric),
            "narrow": charts.learning_curve("learning-narrow", found, result.metric, narrow=True),
            "caption": CAPTION,
        }
    name = names.get(found.scenario, found.scenario)
    said = text.sentence(found, result.metric, result.recommended, name)
    return {"learning_curve": {"sentence": said, "chart": chart}}
