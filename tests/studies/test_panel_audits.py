"""Which findings a budget has audited, and in what order."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from medgraft.errors import ScenarioError
from medgraft.evaluate.intervals import DEFAULT
from medgraft.evaluate.winners_curse import Resampled
from medgraft.studies.one_scenario import FindingChoice
from medgraft.studies.options import StudyOptions
from medgraft.studies.panel_audits import AuditClock, panel_options, weakest_first


def choice(*values: float, spread: float = 0.01, metric: str = "auroc") -> FindingChoice:
    """Of a finding whose scenarios a, b, … have these figures, and whose own is the last."""
    middle = np.array(values)
    drawn = middle[:, None] + spread * np.array([-1.0, 1.0])
    bags = Resampled((), (), metric, DEFAULT, middle, drawn, drawn)
    keys = tuple("abc"[: len(values)])
    own: Any = SimpleNamespace(recommended=keys[-1])
    return FindingChoice(keys, own, np.zeros(len(values)), bags)


def test_the_weakest_by_the_scenario_that_is_taken_comes_first() -> None:
    choices = {"sure": choice(0.9, 0.95), "weak": choice(0.6, 0.99), "wide": choice(0.8, 0.8)}
    assert weakest_first(choices, "a", "auroc") == ["weak", "wide", "sure"]
    assert weakest_first(choices, "", "auroc") == ["wide", "sure", "weak"]
    unsure = choices | {"sure": choice(0.9, 0.95, spread=0.2)}
    assert weakest_first(unsure, "a", "auroc")[0] == "sure"
    losses = {"good": choice(0.1, metric="brier"), "bad": choice(0.4, metric="brier")}
    assert weakest_first(losses, "a", "brier") == ["bad", "good"]


class FakeSession:
    """A session whose clock is set by hand."""

    def __init__(self, earlier: list[dict[str, Any]] | None = None) -> None:
        self.spent, self.events, self._earlier = 0.0, list[dict[str, Any]](), earlier or []

    def earlier(self, name: str) -> list[dict[str, Any]]:
        return self._earlier

    def event(self, name: str, **facts: object) -> None:
        self.events.append({"event": name, **facts})


def test_audits_are_made_while_there_is_time_and_what_was_decided_stands() -> None:
    session = FakeSession()
    clock = AuditClock(100.0, 80, session)  # type: ignore[arg-type]
    clock.a_pair = {"k": 0.5, "slow": 8.0}
    session.spent = 30.0
    assert clock.pairs("a", "k", 3) == 80
    clock.learn("k", 80, 50.0, 40.0)  # ten seconds to finish each of the two that are left
    session.spent = 60.0
    assert clock.pairs("b", "k", 2) == 40
    session.spent = 85.0
    assert clock.pairs("c", "k", 1) == 0  # ten pairs say nothing
    session.spent = 0.0
    assert clock.pairs("d", "slow", 0) == 0  # of a network that takes sixteen times as long
    assert [(row["key"], row["pairs"]) for row in session.events] == [
        ("a", 80),
        ("b", 40),
        ("c", 0),
        ("d", 0),
    ]
    again = AuditClock(100.0, 80, FakeSession(session.events))  # type: ignore[arg-type]
    assert [again.pairs(name, "k", 1) for name in "abc"] == [80, 40, 0]
    assert AuditClock(0.0, 80, FakeSession()).pairs("a", "k", 1) == 0  # type: ignore[arg-type]


def test_few_images_are_timed_once_for_the_scenario_that_is_audited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timed: list[Any] = []
    monkeypatch.setattr(
        "medgraft.studies.audit_budget.seconds_an_image", lambda *a: timed.append(a) or 0.01
    )
    entries = [SimpleNamespace(scenario=SimpleNamespace(key=key)) for key in ("near", "deep")]
    prepared: Any = SimpleNamespace(planned=entries, development=SimpleNamespace(table="images"))
    session: Any = FakeSession()
    session.extractor = None
    for seconds in (0.0, 100.0):
        clock = AuditClock(seconds, 80, session)
        clock.know(prepared)
        found = [clock.pairs(name, "deep", 2) for name in "ab"]
    assert timed == [([entries[1]], "images", None)]
    assert clock.a_pair == {"deep": pytest.approx(0.6)}
    assert found == [80, 80]


def test_a_budget_leaves_the_findings_studies_as_they_are() -> None:
    plain = panel_options(StudyOptions())
    assert panel_options(StudyOptions(budget=60.0)) == plain
    assert (plain.families, plain.budget, plain.audit) == (("probe",), 0.0, False)
    with pytest.raises(ScenarioError, match=r"finetune among --families.*--training"):
        panel_options(StudyOptions(budget=60.0, families=("probe", "finetune")))
    with pytest.raises(ScenarioError, match="--no-audit"):
        panel_options(StudyOptions(budget=60.0, audit=False))
