"""What minutes buy: never more than there are, larger inputs first, the least where none fits."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import medgraft.studies.budget as budget
import medgraft.studies.spend_budget as spend_budget
from medgraft.cli import app
from medgraft.cli.option_parsing import seconds_of
from medgraft.results.training import DEPLOYED
from medgraft.training_recipe import Recipe, recipe_of

N, FOLDS = 5000, 5
PIXELS = [1.0, 0.5, 1.0, 0.5, 1.0]  # that a fold's networks see, over those of the first
SPEEDS = {224: 15.0, 160: 30.0, 128: 45.0}  # training images a second, of the whole network


class Table:
    """5,000 images, a fifth of them of the rarer class."""

    labels = np.arange(N) % 5 // 4

    def __len__(self) -> int:
        return N


class Bench:
    """What `buy` asks of a workbench, with speeds that are known."""

    def __init__(
        self,
        size: int = 224,
        tap: str = "best",
        any_size: bool = True,
        recipe: Recipe | None = None,
    ) -> None:
        self.size, self.tap = size, tap
        self.feature_plan = SimpleNamespace(canvas=SimpleNamespace(size=size))
        self.backbone = SimpleNamespace(any_size=any_size)
        self.scenario = SimpleNamespace(tap=tap)
        self.recipe = recipe or recipe_of(())
        self.development = Table()

    def at_size(self, size: int) -> Bench:
        return Bench(size, self.tap, recipe=self.recipe)

    def speed(self, depth: str) -> float:
        return SPEEDS[self.size] * (1 if depth == "input" else 5)


@pytest.fixture(autouse=True)
def _two_depths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "searched", lambda setup: ("input", "blocks.4"))


def affordable(minutes: float, **kind: Any) -> budget.Bought:
    return budget.buy(Bench(**kind), FOLDS, 60 * minutes)  # type: ignore[arg-type]


def test_plenty_of_time_buys_the_network_s_own_size_and_all_epochs() -> None:
    found = affordable(600)
    assert (found.size, found.epochs, found.n_folds) == (0, recipe_of(()).epochs, FOLDS)


@pytest.mark.parametrize(
    ("asked", "times"),
    [
        ((("networks", "3"),), 3.0),
        ((("networks", "2"), ("differ", "scale")), 1 + (160 / 224) ** 2),
        ((("deploy", "distilled"),), 1 + 1 / (4 * 0.85)),
        ((("deploy", "once"),), 1 + 1 / (4 * 0.85)),
    ],
)
def test_all_networks_that_are_asked_for_are_reckoned_with(
    asked: tuple[tuple[str, str], ...], times: float
) -> None:
    one, several = affordable(6000), affordable(6000, recipe=recipe_of(asked))
    assert several.seconds == pytest.approx(times * one.seconds)


def test_large_classes_train_everything_where_that_fits_and_small_ones_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert [affordable(minutes).depth for minutes in (600, 60, 10)] == ["input", "input", ""]
    assert affordable(60).rungs == ""
    assert [dict(affordable(some).params).get("keep") for some in (60, 10)] == ["last", None]
    assert affordable(10).rungs in budget.RUNGS  # from a kept trunk more epochs fit
    monkeypatch.setattr(Table, "labels", np.arange(N) // (N - 100))
    found = affordable(600)
    assert (found.depth, found.rungs) == ("", budget.RUNGS[0])


def test_less_time_buys_fewer_folds_then_smaller_inputs_then_fewer_epochs() -> None:
    order = [affordable(minutes) for minutes in (600, 90, 70, 33, 20)]
    assert [found.size for found in order] == [0, 0, 0, 160, 128]
    assert [found.n_folds for found in order] == [FOLDS, 3, 3, 3, 3]
    assert order[0].epochs == order[1].epochs == recipe_of(()).epochs
    assert order[3].epochs >= 0.7 * recipe_of(()).epochs
    assert order[4].epochs >= 1


def test_small_classes_keep_their_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Table, "labels", np.arange(N) // (N - 100))
    assert affordable(60).n_folds == FOLDS


@pytest.mark.parametrize("minutes", [20, 45, 60, 90, 120, 240, 480])
def test_what_fits_takes_no_longer_than_there_is(minutes: float) -> None:
    found = affordable(minutes)
    assert found.fits
    learned = 0.85 * (found.n_folds - 1) * N  # a sixth of each fold's part is held out
    assert learned * found.epochs / SPEEDS[found.size or 224] < found.seconds <= 60 * minutes


def test_the_least_is_bought_where_nothing_fits_and_it_says_so() -> None:
    found = affordable(1)
    assert (found.size, found.epochs, found.rungs) == (128, 1, budget.RUNGS[-1])
    assert not found.fits
    assert found.seconds > 60


def test_a_depth_that_was_named_needs_no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Table, "labels", np.arange(N) // (N - 100))
    named, searched = affordable(130, tap="input"), affordable(130)
    assert (named.rungs, named.depth) == ("", "")
    assert "rungs" in dict(searched.params)
    assert "rungs" not in dict(named.params)
    assert named.size == 0 < searched.size  # the search's time buys a larger input


def test_a_network_of_one_size_keeps_it() -> None:
    assert affordable(60, any_size=False).size == 0


@pytest.mark.parametrize(("text", "seconds"), [("", 0), ("90s", 90), ("60m", 3600), ("1.5h", 5400)])
def test_times_are_read(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["60", "m", "an hour", "-5m", "infm", "nanm"])
def test_what_is_no_time_is_refused(text: str) -> None:
    found = CliRunner().invoke(app, ["study", "x", "--families", "finetune", "--budget", text])
    assert found.exit_code == 2
    assert "no time" in found.output.replace("\n", " ")


class Spent:
    """A session whose clock is set, and what it wrote."""

    def __init__(
        self, seconds: float, earlier: list[dict[str, Any]] | None = None, before: float = 0.0
    ) -> None:
        self.seconds, self.before, self.resumed = seconds, before, earlier is not None
        self.known, self.events = earlier or [], list[dict[str, Any]]()
        self.extractor = SimpleNamespace(progress=SimpleNamespace(say=lambda text: None))

    @property
    def spent(self) -> float:
        return self.before + self.seconds

    def earlier(self, name: str) -> list[dict[str, Any]]:
        return self.known

    def event(self, name: str, **facts: Any) -> None:
        self.events.append({"event": name, **facts})

    def end_step(self, name: str) -> None:
        pass


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many networks a fold were planned, in order; judging takes 600 seconds a network."""
    planned: list[int] = []

    def with_networks(prepared: Any, n: int, session: Spent) -> Any:
        return SimpleNamespace(**{**vars(prepared), "number": n, "planned": [_entry(n)]})

    def judged(prepared: Any, session: Spent, before: Any) -> Any:
        planned.append(prepared.number)
        seen = 600.0 * np.cumsum(prepared.pixels)
        session.seconds += prepared.further + seen[prepared.number - 1] - seen[prepared.number - 2]
        return {
            "trained": SimpleNamespace(
                seconds=seen[prepared.number - 1] + prepared.further,
                training=_log(prepared.further),
            )
        }

    monkeypatch.setattr(spend_budget, "_with_networks", with_networks)
    monkeypatch.setattr(spend_budget, "judge", judged)
    monkeypatch.setattr(spend_budget, "pixels_seen", lambda one, extractor: PIXELS[: one.networks])
    return planned


def _entry(networks: int) -> Any:
    """A planned scenario of so many networks a fold."""
    return SimpleNamespace(scenario=SimpleNamespace(key="trained", trained=True, networks=networks))


def _log(seconds: float) -> Any:
    """Of a network that was trained after those of the folds, in one epoch."""
    return SimpleNamespace(histories={DEPLOYED: (SimpleNamespace(seconds=seconds),)})


def spent(
    session: Spent,
    budget: float = 3600.0,
    training: tuple[Any, ...] = (),
    further: float = 0.0,
    finish: float = 0.0,
) -> None:
    options = SimpleNamespace(budget=budget, training=training)
    prepared = SimpleNamespace(
        options=options,
        planned=[_entry(1)],
        number=1,
        further=further,
        pixels=PIXELS,
        budget=SimpleNamespace(finish=finish) if finish else None,
    )
    judged = {"trained": SimpleNamespace(seconds=600.0 + further, training=_log(further))}
    spend_budget.spend(prepared, judged, session)  # type: ignore[arg-type]


def test_time_that_is_left_buys_networks_and_never_more_than_there_is(
    networks: list[int],
) -> None:
    # Of an hour 57 minutes less one are to be spent. After 1,600 seconds a network of half the
    # pixels fits, one of ten minutes and another of five, and not ten more.
    session = Spent(1600)
    spent(session)
    assert networks == [2, 3, 4]
    assert session.seconds <= 3600 * 0.95
    assert [event["networks"] for event in session.events] == [2, 3, 4]
    assert [event["seconds"] for event in session.events] == [300, 600, 300]


def test_time_of_a_session_that_was_killed_is_spent(networks: list[int]) -> None:
    spent(Spent(100, before=1500.0))
    assert networks == [2, 3, 4]


def test_what_comes_after_keeps_its_time(networks: list[int]) -> None:
    spent(Spent(1600), finish=700.0)  # an audit of a slow network: 2,720 in all, and not 2,800
    assert networks == [2, 3]


def test_a_network_that_is_distilled_is_distilled_again_of_more(networks: list[int]) -> None:
    """Rounds take 300 and 600 seconds, and 180 each: of 3,360 two end at 3,160, three at 3,640."""
    session = Spent(1900)
    spent(session, further=180.0)
    assert networks == [2, 3]
    assert [event["seconds"] for event in session.events] == [480, 780]


def test_no_time_left_or_no_budget_or_a_number_asked_for_buys_none(networks: list[int]) -> None:
    spent(Spent(3200))
    spent(Spent(0), budget=0)
    spent(Spent(0), training=(("networks", "1"),))
    spent(Spent(0), training=(("deploy", "once"),))  # of which only one network is used
    assert networks == []


def test_a_resumed_run_trains_as_many_as_it_had_decided_however_late_it_is(
    networks: list[int],
) -> None:
    spent(Spent(3000, earlier=[{"networks": 2}]))
    assert networks == [2]
    spent(Spent(0, earlier=[]))
    assert networks == [2]
