"""The part 'Where the score comes from': cases with their heatmaps, right beside wrong ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from markupsafe import Markup

from medgraft.report.charts import images
from medgraft.report.text import formatting, scenario_names, verdicts
from medgraft.results.study import CaseView, ClassifierFacts, ReportInput
from medgraft.types import Floats

MOST_CASES = 40
UNFOLDED = 2  # classes whose cases are shown at once


def section(content: ReportInput) -> dict[str, object]:
    """Cases by class, right ones beside wrong ones; so many of each that the file stays small."""
    classes = content.result.table.classes
    most = max(1, MOST_CASES // (2 * len(classes)))
    judged = content.judged
    groups: list[dict[str, object]] = []
    shown = 0
    for k, truth in enumerate(classes):
        own = [case for case in content.cases if case.truth == truth]
        right = [_case(case, content.recipe) for case in own if case.correct][:most]
        wrong = [_case(case, content.recipe) for case in own if not case.correct][:most]
        shown += len(right) + len(wrong)
        if own:
            n_right = int(judged.confusion[k, k])
            n_wrong = int(judged.confusion[k].sum()) - n_right
            kinds = [
                (
                    f"Called {kind}: {formatting.count(len(cases))} of {formatting.count(n)} shown",
                    cases,
                )
                for kind, cases, n in (("right", right, n_right), ("wrong", wrong, n_wrong))
                if cases
            ]
            none = "" if right and wrong else _none(truth, n_right, n_wrong)
            folded = len(classes) > UNFOLDED + 1 and len(groups) >= UNFOLDED
            groups.append({"truth": truth, "kinds": kinds, "none": none, "folded": folded})
    strips = any(len(case.maps) > 1 for case in content.cases)
    return {
        "case_groups": groups,
        "mapped": any(case.maps for case in content.cases),
        "no_map": next((_why_no_map(case, content.recipe) for case in content.cases), ""),
        "legend": Markup(images.legend()),
        "strips": strips,
        "cases_left": len(content.cases) - shown,
    }


def _none(truth: str, n_right: int, n_wrong: int) -> str:
    """What is said where a class has no right or no wrong case to show."""
    total = formatting.plural(n_right + n_wrong, "image")
    if not n_wrong:
        return f"None of {total} of {truth} was called wrong."
    if not n_right:
        return f"None of {total} of {truth} was called right."
    return f"Of {total} of {truth}, {formatting.count(n_wrong)} called wrong."


def _case(case: CaseView, recipe: ClassifierFacts) -> dict[str, object]:
    maps = [
        {
            "name": name,
            "uri": images.data_uri(images.overlay(case.pixels, heat), side),
            "where": _where(heat),
            "empty": not np.nan_to_num(heat).max() > 0,
        }
        for (name, heat), side in zip(case.maps, _sides(len(case.maps)), strict=True)
    ]
    return {
        "id": case.id,
        "truth": case.truth,
        "predicted": case.predicted,
        "correct": case.correct,
        "probability": case.probability,
        "sureness": verdicts.sureness(case.probability),
        "image": images.data_uri(case.pixels, 256),
        "main": maps[-1] if maps else None,
        "strip": maps if len(maps) > 1 else [],
        "reason": _why_no_map(case, recipe),
    }


def _why_no_map(case: CaseView, recipe: ClassifierFacts) -> str:
    return formatting.sentence(scenario_names.why_no_map(recipe, case.no_map) or formatting.MISSING)


def _sides(n: int) -> Iterator[int]:
    """The last map is shown large, the others small."""
    yield from [128] * (n - 1) + [256] * min(n, 1)


def _where(heat: Floats) -> str:
    """Where a map is strongest, in words for those who cannot see it."""
    level = np.nan_to_num(heat)
    if level.max() <= 0:
        return "nothing raised the score"
    row, column = np.unravel_index(int(np.argmax(level)), level.shape)
    down = ("top", "middle", "bottom")[min(2, 3 * int(row) // level.shape[0])]
    across = ("left", "centre", "right")[min(2, 3 * int(column) // level.shape[1])]
    return f"strongest at the {down} {across} of the picture"
