"""A race stops what cannot win, keeps to its clock, and goes on after it was killed as it was.

Networks are stand-ins: a scenario's scores are its skill and noise, reading an image takes a
second of a made-up clock. What is true of them is known.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import medgraft.studies.audit_budget as audit_budget
import medgraft.studies.race as racing
from medgraft.data.split import Development, make_folds
from medgraft.scenario import Head, Preprocessing, Scenario
from medgraft.studies.audit_budget import pairs_suited, pairs_within, said_of_pairs
from medgraft.studies.budget_plan import PlannedStep, planned_in
from medgraft.studies.options import StudyOptions
from medgraft.studies.plan import PlannedScenario
from medgraft.studies.prepare import Prepared
from medgraft.types import BudgetStep, BudgetUse, Cost, ImageTable, Predictions, Source

N = 640
SKILL = {"probe": 2.0, "clahe": 2.2, "second": 0.5, "multiscale": 2.0}


def images(n: int = N) -> ImageTable:
    ids = np.array([f"i{k:04d}" for k in range(n)])
    return ImageTable(
        ids=ids,
        sources=tuple(Source(one) for one in ids),
        content_hashes=ids,
        labels=np.arange(n) % 2,
        groups=np.array([f"g{k // 2 % (n // 4)}" for k in range(n)]),
        splits=np.full(n, "train"),
        masks=np.full(n, ""),
        classes=("normal", "ill"),
        positive="ill",
    )


class World:
    """A clock, a cache and an extractor: what was read, judged and written down."""

    def __init__(self, events: Sequence[dict[str, Any]] = (), interrupt: str = "") -> None:
        self.now, self.interrupt = 0.0, interrupt
        self.read: dict[str, set[str]] = {}
        self.judged: list[tuple[str, int]] = []
        self.events, self.known = list[dict[str, Any]](), list(events)
        self.extractor: Any = SimpleNamespace(
            progress=SimpleNamespace(task=_task, budget=_board, say=lambda text: None),
            prepare=self._prepare,
            workers=1,
        )
        self.step_seconds: dict[str, float] = {}
        self.shown: list[BudgetUse] = []

    def _prepare(self, table: ImageTable, *names: str) -> None:
        for name in names:
            held = self.read.setdefault(name, set())
            new = set(table.ids.tolist()) - held
            self.now += len(new)
            held |= new
            if name == self.interrupt:
                raise KeyboardInterrupt

    def event(self, name: str, **facts: Any) -> None:
        self.events.append({"event": name, **facts})

    def earlier(self, name: str) -> list[dict[str, Any]]:
        return [row for row in self.known if row["event"] == name]

    @property
    def seconds(self) -> float:
        return self.now

    spent = seconds


@contextmanager
def _task(said: str, total: int) -> Iterator[Any]:
    yield lambda steps: None


@contextmanager
def _board() -> Iterator[Any]:
    yield lambda use: None


def scenario(step: str, head: str = "svm") -> Scenario:
    return Scenario(step, "tap", Head(head), Preprocessing())


def cross_fitted(scenarios: Sequence[Scenario], development: Development, _: Any) -> Iterator[Any]:
    world.judged += [(one.backbone, len(development.table)) for one in scenarios]
    table, rows = development.table, np.array([int(i[1:]) for i in development.table.ids])
    for one in scenarios:
        rng = np.random.default_rng([len(one.backbone), ord(one.backbone[0]), len(one.head)])
        common = np.random.default_rng(0).normal(size=N)
        score = SKILL[one.backbone] * (np.arange(N) % 2) + common + rng.normal(size=N)
        p = (1 / (1 + np.exp(-score)))[rows]
        prob = np.stack([1 - p, p], axis=1)
        said = Predictions.of(one.key, table, prob, prob, development.folds.assignment)
        yield SimpleNamespace(predictions=said, seconds=1.0)


@pytest.fixture(autouse=True)
def _stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(racing, "cross_fitted_all", cross_fitted)
    monkeypatch.setattr(racing, "judging_seconds", lambda *_: 0.1)
    monkeypatch.setattr(
        racing, "inputs_of", lambda planned, *_: {e.scenario.backbone: 0 for e in planned}
    )


def _inputs_of(planned: Sequence[PlannedScenario], *_: Any) -> list[str]:
    return list(dict.fromkeys(entry.scenario.backbone for entry in planned))


world: World


def run(
    budget: float, order: Sequence[str] = ("probe", "second", "clahe"), **kind: Any
) -> tuple[Prepared, dict[str, Any], World]:
    """A race of these steps, each of two scenarios that take `N` seconds to read."""
    global world
    world = World(**kind)
    table = images()
    steps = []
    for name in order:
        facts = BudgetStep(name, 2, float(N), "first" if name == "probe" else "frozen")  # type: ignore[arg-type]
        entries = tuple(
            PlannedScenario(scenario(name, head), Cost(len(name), 1), rank)
            for rank, head in enumerate(("svm", "logistic"))
        )
        steps.append(PlannedStep(facts, entries, StudyOptions()))
    prepared = Prepared(
        options=StudyOptions(families=("probe",), backbones=("probe",), metric="auroc"),
        table=table,
        development=Development(table, make_folds(table, 5, 0)),
        planned=planned_in(steps),
        steps=tuple(steps),
        budget=BudgetUse(budget, 0.0, 0.0, tuple(step.facts for step in steps)),
        **dict.fromkeys(  # type: ignore[arg-type]
            ("shorter", "canvas", "image_stats", "surface", "findings", "similarity")
        ),
    )
    found, judged = racing.race(prepared, world)  # type: ignore[arg-type]
    return found, judged, world


def outcomes(found: Prepared) -> dict[str, str]:
    assert found.budget is not None
    return {step.name: step.outcome for step in found.budget.steps}


def test_what_cannot_win_is_stopped_before_its_images_are_read() -> None:
    found, judged, world = run(1e4)
    assert outcomes(found) == {"probe": "done", "second": "cannot win", "clahe": "done"}
    assert len(world.read["second"]) < N / 2
    assert len(world.read["clahe"]) == N
    assert {one.split("/")[1] for one in judged} == {"probe", "clahe"}
    assert [entry.scenario.key for entry in found.planned] == list(judged)
    (second,) = (step for step in found.budget.steps if step.name == "second")  # type: ignore[union-attr]
    assert {one.key for one in second.stopped} == {
        scenario("second", h).key for h in ("svm", "logistic")
    }
    assert all(one.high < 0 for one in second.stopped)


def test_what_does_not_fit_is_not_begun_and_what_is_cheaper_still_is() -> None:
    found, _, world = run(N * 1.5)
    assert outcomes(found) == {"probe": "done", "second": "no time", "clahe": "no time"}
    assert set(world.read) == {"probe"}
    found, _, world = run(N * 2.5)  # what was stopped leaves its time to the next
    assert outcomes(found)["clahe"] == "done"
    assert world.now <= N * 2.5


def test_a_reading_that_turns_out_slow_is_ended_by_the_clock(monkeypatch: Any) -> None:
    plain = World._prepare

    def slow(self: World, table: ImageTable, *names: str) -> None:
        before = self.now
        plain(self, table, *names)
        self.now += 4 * (self.now - before) * ("clahe" in names)

    monkeypatch.setattr(World, "_prepare", slow)
    found, _, world = run(N * 2.5, ("probe", "clahe"))
    assert outcomes(found) == {"probe": "done", "clahe": "no time"}
    assert world.now < N * 2.5


def figures(judged: dict[str, Any]) -> dict[str, Any]:
    return {key: one.predictions.y_prob.tolist() for key, one in judged.items()}


@pytest.mark.parametrize("lines", [2, 3, 5, 8, 99])
def test_a_killed_race_goes_on_to_the_same_numbers_whatever_its_clock_says(lines: int) -> None:
    """Killed after so many lines; what was decided stands, though there is no time any more."""
    whole, judged, first = run(1e4, ("probe", "multiscale", "second", "clahe"))
    kept = first.events[:lines]
    decided = {row["step"] for row in kept if row["event"] == "race"}
    again, rejudged, _ = run(0.0, ("probe", "multiscale", "second", "clahe"), events=kept)
    for step, before in outcomes(whole).items():
        after = outcomes(again)[step]
        assert after == (before if step in decided else "no time")
    everything = figures(judged)
    assert all(everything[key] == rows for key, rows in figures(rejudged).items())
    assert lines < 99 or figures(rejudged) == everything
    if lines == 99:
        steps = [{one.name: one.seconds for one in use.budget.steps} for use in (whole, again)]
        assert steps[0] == pytest.approx(steps[1], abs=1e-3)
        assert max(steps[0].values()) > 1


def test_ctrl_c_ends_with_what_was_judged_and_says_what_was_not() -> None:
    found, judged, world = run(1e4, ("probe", "clahe", "multiscale"), interrupt="clahe")
    assert outcomes(found) == {"probe": "done", "clahe": "stopped", "multiscale": "stopped"}
    assert found.budget is not None
    assert found.budget.interrupted
    assert {key.split("/")[1] for key in judged} == {"probe"}
    assert not found.options.audit  # it ends soon
    again, more, _ = run(1e4, ("probe", "clahe", "multiscale"), events=world.events)
    assert set(outcomes(again).values()) == {"done"}  # --resume goes on
    assert len(more) == 6


def test_ctrl_c_before_anything_is_known_ends_without_a_report() -> None:
    with pytest.raises(KeyboardInterrupt):
        run(1e4, interrupt="probe")


def test_looks_are_few_and_never_of_few_patients(monkeypatch: Any) -> None:
    monkeypatch.setattr(racing, "judging_seconds", lambda *_: 1.0)
    _, _, world = run(50 * N)
    begun = {row["step"]: row["looks"] for row in world.events if row.get("outcome") == "begun"}
    assert begun["probe"] == ()
    assert begun["clahe"]
    monkeypatch.setattr(racing, "FEW", 60)  # patients a class, of 160 in all: half hold them
    _, _, world = run(50 * N)
    looked = {row["step"]: row["looks"] for row in world.events if row.get("outcome") == "begun"}
    assert looked["clahe"] == (0.5,)
    monkeypatch.setattr(racing, "judging_seconds", lambda *_: 1e3)  # dearer than what is left
    _, _, world = run(50 * N)
    assert not any(row["looks"] for row in world.events if row.get("outcome") == "begun")


def test_parts_grow_and_hold_whole_patients_of_each_class_and_fold() -> None:
    found, _, world = run(1e4, ("probe",))
    running = racing._Race(found, world, lambda use: None)  # type: ignore[arg-type]
    parts = [running._part(share) for share in racing.SHARES]
    ids = [set(part.table.ids.tolist()) for part in parts]
    assert all(a < b for a, b in itertools.pairwise(ids))
    whole = found.development.table
    for share, part in zip(racing.SHARES, parts, strict=True):
        kept = np.isin(whole.groups, part.table.groups)
        assert kept.sum() == len(part.table)  # all images of a patient or none
        assert set(part.folds.assignment.tolist()) == set(range(5))
        assert share <= len(set(part.table.groups)) / 160 < share + 0.1


def test_an_audit_is_cut_to_the_time_there_is_and_stays_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, _, world = run(1e4, ("probe",))
    key = found.planned[0].scenario.key
    use = BudgetUse(1000.0, 97.0, 1.0, found.budget.steps)  # type: ignore[union-attr]
    found = dataclasses.replace(found, budget=use)

    def pairs(now: float, events: Sequence[dict[str, Any]] = ()) -> int:
        world.now, world.known = now, list(events)
        return pairs_within(found, key, world)  # type: ignore[arg-type]

    monkeypatch.setattr(audit_budget, "seconds_an_image", lambda *_: an_image[0])
    an_image = [0.001]
    assert pairs(500.0) == 80  # a second a pair, as was timed before
    an_image = [10 / audit_budget.PASSES]
    assert pairs(500.0) == 53  # (1050 - 17 - 500) / 10
    assert pairs(700.0) == 0  # of 33 pairs some may not be found, and 30 are the least
    assert pairs(2000.0, events=world.events[-3:-2]) == 80  # as it was decided
    assert pairs_within(dataclasses.replace(found, budget=None), key, world) == 80  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("network", "n_images", "pairs"),
    [
        (0.4e9, 300, 80),  # quick: 80 pairs of 60 images are 1.9e12 multiply-adds
        (15e9, 300, 40),  # 1e13 hold 11 pairs, and 40 are the least
        (15e9, 3000, 50),  # reading all images costs as much as 50 pairs
        (15e9, 100_000, 80),
    ],
)
def test_an_audit_of_a_slow_network_costs_no_more_than_reading_the_images(
    network: float, n_images: int, pairs: int
) -> None:
    scenario = Scenario.from_key("probe/a/blocks.1/svm")
    entry: Any = SimpleNamespace(scenario=scenario, cost=Cost(int(network), 1))
    assert pairs_suited([entry], scenario.key, n_images, 80) == pairs
    assert pairs_suited([entry], scenario.key, n_images, 79) == 79  # somebody's own number
    said = said_of_pairs(80, pairs)
    assert bool(said) == (pairs < 80)
    assert all(f"draws {pairs} pairs of images instead of 80" in one.text for one in said)


def test_looks_that_take_longer_than_was_reckoned_are_given_up_and_stay_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def slow(scenarios: Sequence[Scenario], development: Development, _: Any) -> Iterator[Any]:
        yield from cross_fitted(scenarios, development, _)
        world.now += 300.0 * (len(development.table) < N)

    monkeypatch.setattr(racing, "cross_fitted_all", slow)
    whole, judged, first = run(1e4, ("probe", "clahe", "multiscale"))
    assert whole.budget is not None
    assert whole.budget.deciding == 300.0  # 2 % of the budget are 200
    killed = [row for row in first.events if row.get("outcome") in ("begun", None)]
    _, again, second = run(1e4, ("probe", "clahe", "multiscale"), events=killed)
    assert figures(again) == figures(judged)
    looked = [sum(n < N for _, n in one.judged) for one in (first, second)]
    assert looked[0] == looked[1] == 3  # the leader and two scenarios, once
