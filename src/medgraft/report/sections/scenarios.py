"""The part 'What we tried': the scenarios as one chart and one table, and the depth profile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from medgraft.errors import DataError
from medgraft.evaluate.metrics import METRICS
from medgraft.report.charts import plots
from medgraft.report.text import formatting, scenario_names, verdicts
from medgraft.results.figures import Comparison
from medgraft.results.recommendation import ScenarioResult
from medgraft.results.study import ReportInput
from medgraft.types import Cost, Estimate

TOP = 12  # scenarios drawn in the chart
LISTED = 5  # lines of the table shown at once; the others are folded
TOLD_APART = 0.05  # corrected p below which two scenarios are called different


@dataclass(frozen=True, slots=True)
class ScenarioRow:
    """One line of the table; `gap` is this scenario's metric minus the reference's."""

    rank: int
    key: str
    name: str
    chosen: bool
    tied: bool
    is_reference: bool
    validation: Estimate
    test: Estimate | None
    comparison: Comparison | None
    gap: float
    cost: Cost
    seconds: float


def section(content: ReportInput) -> dict[str, object]:
    """What the template shows of the scenarios.

    Raises
    ------
    DataError
        The recommended scenario is not among them.
    """
    metric = content.result.metric
    common, names = scenario_names.short_names(content.scenarios)
    rows, reference = _scenario_rows(content, names)
    chosen = next(row for row in rows if row.chosen)
    shown = rows[:TOP] if chosen.rank <= TOP else [*rows[: TOP - 1], chosen]
    lines = [plots.ForestRow(row.name, row.validation, row.chosen, row.tied) for row in shown]
    name = next((row.name for row in rows if row.key == reference), "")
    tied = [row for row in rows if row.tied and not row.is_reference]
    caption = "Each point is one scenario, the line its 95 % interval; the diamond is recommended."
    if len(shown) < len(rows):
        caption += f" The best {len(shown)} of {len(rows)} are drawn."
    if tied:
        caption += f" Shaded: cannot be told apart from {name} with these images."
    return {
        "listed": [row for row in rows if row.rank <= LISTED or row.chosen],
        "folded": [row for row in rows if row.rank > LISTED and not row.chosen],
        "common": common,
        "reference": reference,
        "reference_name": name,
        "tried_sentence": _tried_sentence(content, rows, tied, name),
        "comparison": {
            "wide": plots.comparison("tried-wide", lines, metric),
            "narrow": plots.comparison("tried-narrow", lines, metric, narrow=True),
            "caption": caption,
        },
        "depths": list(_depths(content)),
    }


def _scenario_rows(content: ReportInput, names: Mapping[str, str]) -> tuple[list[ScenarioRow], str]:
    """The scenarios best first, and the key of the one that they were compared with."""
    result = content.result
    if result.recommended not in {one.key for one in result.scenarios}:
        raise DataError(
            f"the recommended scenario {result.recommended} is not among the "
            f"{len(result.scenarios)} of the result; hand over the study's own result"
        )
    sign = METRICS[result.metric].sign

    def worth(one: ScenarioResult) -> float:
        value = sign * one.validation[result.metric].value
        return value if np.isfinite(value) else -np.inf

    ordered = sorted(result.scenarios, key=worth, reverse=True)  # of equals the simplest first
    reference, compared = verdicts.compared(content)
    rows = []
    for rank, one in enumerate(ordered, start=1):
        comparison = compared.get(one.key)
        rows.append(
            ScenarioRow(
                rank=rank,
                key=one.key,
                name=names[one.key],
                chosen=one.key == result.recommended,
                tied=one.key == reference
                or (comparison is not None and comparison.p >= TOLD_APART),
                is_reference=one.key == reference,
                validation=one.validation[result.metric],
                test=(one.test or {}).get(result.metric),
                comparison=comparison,
                gap=verdicts.gap(comparison, one.key),
                cost=one.cost,
                seconds=one.seconds,
            )
        )
    return rows, reference


def _tried_sentence(
    content: ReportInput, rows: list[ScenarioRow], tied: list[ScenarioRow], reference: str
) -> str:
    metric, best = content.result.metric, rows[0]
    text = (
        f"{formatting.plural(len(rows), 'scenario was', 'scenarios were')} judged on the same "
        f"{formatting.count(best.validation.n)} development images, out of fold. The best had "
        f"{formatting.name_metric(metric)} {formatting.value(metric, best.validation.value)}, the "
        f"last {formatting.value(metric, rows[-1].validation.value)}."
    )
    if tied:
        text += (
            f" {formatting.plural(len(tied), 'other')} cannot be told apart from {reference} "
            f"(paired, corrected for the number of comparisons and for the best having been "
            f"chosen, p ≥ {TOLD_APART:g})."
        )
    return text


def _depths(content: ReportInput) -> Iterator[dict[str, object]]:
    metric = content.result.metric
    sign = METRICS[metric].sign
    for i, backbone in enumerate(dict.fromkeys(point.backbone for point in content.depth)):
        points = [
            point
            for point in content.depth
            if point.backbone == backbone and np.isfinite(point.estimate.value)
        ]
        plain = [point for point in points if not point.beside]
        if not plain:
            continue
        best = max(plain, key=lambda point: sign * point.estimate.value)
        first = min(plain, key=lambda point: point.order)
        ways = dict.fromkeys(scenario_names.way_of(point) for point in points if point.beside)
        beside = (
            " Points without a line, on wide screens: the layers read with "
            f"{formatting.join(ways)}."
            if ways
            else ""
        )
        yield {
            "backbone": backbone,
            "wide": plots.depth(f"depth-{i}-wide", points, metric),
            "narrow": plots.depth(f"depth-{i}-narrow", points, metric, narrow=True),
            "caption": (
                f"From {formatting.value(metric, first.estimate.value)} at {first.tap} to "
                f"{formatting.value(metric, best.estimate.value)} at {best.tap}, the best layer, "
                f"with {best.head} (ringed). One line a head, its band the 95 % interval, out of "
                f"fold, with the layer read plainly.{beside}"
            ),
        }
