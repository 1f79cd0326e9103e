"""The part 'What helped here': the study's questions with their answers, and family by family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from medgraft.evaluate.metrics import METRICS
from medgraft.report.charts import plots
from medgraft.report.text import formatting, scenario_names, second_network
from medgraft.report.text.questions import sentence
from medgraft.results.recommendation import Question
from medgraft.results.study import FamilyResult, ReportInput
from medgraft.studies.questions import LEVEL

WHERE = "out of fold"


@dataclass(frozen=True, slots=True)
class FamilyRow:
    """One line of the table of families; `name` is its best scenario's."""

    result: FamilyResult
    what: str
    name: str


def section(content: ReportInput) -> dict[str, object]:
    """What the template shows; nothing of it where there is one family and no question."""
    metric, questions = content.result.metric, content.result.questions
    rows = chart_rows(questions)
    _, names = scenario_names.short_names(content.scenarios)
    return {
        "questions": [
            (sentence(one), one, _unseen(one, len(questions), metric)) for one in questions
        ],
        "second_network": second_network.sentence(content.result.second),
        "questions_sentence": _sentence(questions, metric),
        "questions_chart": questions
        and {
            "wide": plots.forest("helped-wide", rows, metric, where=WHERE),
            "narrow": plots.forest("helped-narrow", rows, metric, where=WHERE, narrow=True),
            "caption": _caption(metric),
        },
        "families": [
            FamilyRow(one, formatting.FAMILY_WORDS.get(one.family, ""), names[one.best])
            for one in content.families
        ],
    }


def chart_rows(questions: Sequence[Question]) -> list[plots.DifferenceRow]:
    """The questions as lines of the chart of differences."""
    return [
        plots.DifferenceRow(
            sentence(one), one.comparison, one.answer, one.answer != "no difference seen"
        )
        for one in questions
    ]


def _sentence(questions: tuple[Question, ...], metric: str) -> str:
    """How many questions were asked, and how many ways were seen to make a difference."""
    if not questions:
        return ""
    text = f"{formatting.plural(len(questions), 'question')} of this kind could be asked here. "
    n = {kind: sum(one.answer == kind for one in questions) for kind in ("better", "worse")}
    if any(n.values()):
        rest = len(questions) - sum(n.values())
        return text + (
            f"Seen to help: {formatting.count(n['better'])}. Seen to harm: "
            f"{formatting.count(n['worse'])}. No difference seen: {formatting.count(rest)}."
        )
    widest = max(_visible(one, len(questions)) for one in questions)
    return text + (
        "None of these ways was seen to make a difference. That is no proof that there is none: "
        f"with these images, less than about {formatting.margin(metric, widest)} would not show "
        "for some of them."
    )


def _unseen(question: Question, n: int, metric: str) -> str:
    """Where no difference was seen among `n` questions, what would not have been."""
    if question.answer != "no difference seen":
        return ""
    return f"less than {formatting.margin(metric, _visible(question, n))} would not show"


def _visible(question: Question, n: int) -> float:
    """The difference that reaches the level among `n` questions, from the width of the interval.

    Half of a 95 % interval is 1.96 standard errors; of n questions the first that counts as seen
    needs as many as leave a share of .05 / n outside (Holm's first step).
    """
    outside = NormalDist().inv_cdf(1 - LEVEL / (2 * n)) / NormalDist().inv_cdf(0.975)
    return outside * (question.comparison.high - question.comparison.low) / 2


def _caption(metric: str) -> str:
    side = "left" if METRICS[metric].lower_is_better else "right"
    return (
        "Each point is the difference that the new way makes on the same images, out of fold, the "
        f"line its paired 95 % interval; better lies to the {side}. Filled: a difference was seen "
        "(corrected p < 0.05)."
    )
