"""The part 'What the budget bought': steps, the time that they took, what was given up."""

from __future__ import annotations

from medgraft.report.text import budget
from medgraft.results.recommendation import StudyResult


def section(result: StudyResult) -> dict[str, object]:
    """What the template shows; nothing where no budget decided what is run."""
    return {
        "budget_rows": budget.rows(result.budget) if result.budget else (),
        "budget_sentence": budget.sentence(result.budget, result.metric),
    }
