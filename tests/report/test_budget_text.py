"""What a budget bought and what was given up for it, in words."""

from __future__ import annotations

import dataclasses
from typing import get_args

import pytest

from medgraft.report.text import budget
from medgraft.terminal.output import new_console
from medgraft.terminal.progress import budget_table
from medgraft.types import BudgetStep, BudgetUse, StepName, StoppedScenario

BEHIND = StoppedScenario("probe/vgg16/a/svm", "probe/net/a/svm", 0.125, -0.02, -0.03, -0.01)
FURTHER = dataclasses.replace(BEHIND, key="probe/vgg16/b/svm", gain=-0.2)
USE = BudgetUse(
    600.0,
    60.0,
    1.0,
    (
        BudgetStep("probe", 30, 40.0, "first", "done", 42.0, 30),
        BudgetStep("clahe", 3, 50.0, "frozen", "done", 70.0, 1, (BEHIND, FURTHER)),
        BudgetStep("second", 2, 400.0, "frozen", "cannot win", 50.0, 0, (BEHIND, FURTHER)),
        BudgetStep("multiscale", 8, 900.0, "frozen", "no time"),
        BudgetStep("finetune", 1, 0.0, "few", "few images"),
    ),
)


def test_every_step_has_its_words() -> None:
    assert set(budget.STEPS) == set(get_args(StepName))
    assert set(budget.WHY) == set(get_args(StepName)) - {"finetune"}
    assert [words for words, *_ in budget.rows(USE)] == [budget.STEPS[s.name] for s in USE.steps]


def test_what_was_given_up_is_said_with_what_it_would_have_taken_or_lacked() -> None:
    said = budget.sentence(USE, "auroc")
    assert "Not run for want of time: larger inputs (about 15 min 0 s)." in said
    assert "Stopped after 12 % of the patients" in said
    assert "\N{MINUS SIGN}0.020 at best" in said
    assert "2 of 3 of contrast equalised (CLAHE)" in said
    assert "Ctrl-C" not in said
    assert budget.outcome(USE.steps[1]) == "1 judged, 2 could not win"


def test_what_could_not_have_been_audited_is_said_with_the_remedy() -> None:
    step = BudgetStep("second", 2, 90.0, "frozen", "no audit")
    said = budget.sentence(dataclasses.replace(USE, steps=(USE.steps[0], step)), "auroc")
    assert (
        "no time to audit what would win: VGG-16 beside, and both joined (about 1 min 30 s)."
        in said
    )
    assert "--no-audit" in said
    assert budget.outcome(step) == "no time to audit it if it wins"


def test_where_nothing_was_given_up_nothing_is_said() -> None:
    whole = dataclasses.replace(USE, steps=USE.steps[:1])
    assert budget.sentence(whole, "auroc") == budget.sentence(None, "auroc") == ""


def test_a_study_that_was_stopped_and_an_audit_that_was_cut_are_said() -> None:
    stopped = BudgetStep("vlad", 8, 50.0, "frozen", "stopped", 5.0, 3)
    use = dataclasses.replace(USE, steps=(USE.steps[0], stopped), interrupted=True)
    said = budget.sentence(use, "auroc")
    assert "not finished: encoded descriptors (VLAD)" in said
    assert "--resume" in said
    cut = dataclasses.replace(USE, steps=USE.steps[:1], audit_pairs=30)
    assert "cut to 30 pairs" in budget.sentence(cut, "auroc")
    assert "left out" in budget.sentence(dataclasses.replace(cut, audit_pairs=0), "auroc")


def test_seconds_add_up_to_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    planned = tuple(dataclasses.replace(s, outcome="planned", seconds=0.0) for s in USE.steps[:3])
    plan = dataclasses.replace(USE, steps=(*planned, USE.steps[3]))
    assert budget.cumulated(plan) == [40.0, 90.0, 490.0, None, 550.0]
    new_console().print(budget_table(plan))
    shown = capsys.readouterr().out
    for word in ("together", "9 min 10 s", "no time", "why it is there"):
        assert word in " ".join(shown.split())
    new_console().print(budget_table(USE))
    assert "together" not in capsys.readouterr().out
