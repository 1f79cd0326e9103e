"""What a budget is spent on: the order of steps, what fits, what training gets, what is too small.

Seconds are given, so that what fits is known by adding.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import medgraft.studies.within_budget as within
from medgraft.cli import app
from medgraft.data.ingest import load
from medgraft.data.phantom import write_phantoms
from medgraft.errors import FitError, ScenarioError
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.features.weights import PACKAGED
from medgraft.learn.estimators import HEADS
from medgraft.results.recommendation import SecondNetwork, Similarity
from medgraft.scenario import Finetune
from medgraft.studies.budget_plan import (
    FEW,
    MANY,
    TRAINING,
    DataFacts,
    PlannedStep,
    allotted,
    arranged,
    first_options,
    for_training,
    offered,
    planned_in,
    with_training,
)
from medgraft.studies.options import AUTO, StudyOptions
from medgraft.studies.preview import preview
from medgraft.studies.readings import HEAD_NUMBERS
from medgraft.studies.session import Session, _seconds_before
from medgraft.types import BudgetStep, Estimate

NET = "tf_efficientnet_lite0"
DEFAULT_AUTO = StudyOptions(budget=1800.0, backbones=(NET,))


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> Extractor:
    return Extractor(Cache(tmp_path_factory.mktemp("cache")))


def similarity(distance: float) -> Similarity:
    known = Estimate(distance, distance - 0.005, distance + 0.005, 100, "given")
    return Similarity(known, known, (), 100, 100, ())


def steps_of(**seconds: float) -> dict[Any, PlannedStep]:
    found = {}
    for name, predicted in {"probe": 10.0, **seconds}.items():
        facts = BudgetStep(name, 1, predicted, "first" if name == "probe" else "frozen")  # type: ignore[arg-type]
        found[name] = PlannedStep(facts, (), StudyOptions())
    return found


def names(steps: Any) -> list[str]:
    return [step.facts.name for step in steps]


def many(n: int = MANY, distance: float = 0.06) -> tuple[DataFacts, Similarity]:
    return DataFacts(n, 2, 224), similarity(distance)


EVERYTHING = {"vlad": 60.0, "stack": 0.1, "clahe": 20.0, "second": 900.0, "multiscale": 200.0}


def test_cheap_first_and_training_before_what_is_dear_where_images_are_many_and_unlike() -> None:
    steps = steps_of(**EVERYTHING, finetune=0.0)
    cheap = ["probe", "clahe", "vlad", "stack"]
    found = names(arranged(steps, 1800, *many()))
    assert found == [*cheap, "finetune", "multiscale", "second"]
    for few_or_near in (many(MANY - 1), many(distance=0.02)):
        last = names(arranged(steps, 1800, *few_or_near))
        assert last == [*cheap, "multiscale", "second", "finetune"]
    slow = dict(EVERYTHING, vlad=500.0)  # then the stack waits for it
    assert names(arranged(steps_of(**slow), 1800, *many()))[-3:] == ["vlad", "stack", "second"]
    (training,) = (s for s in arranged(steps, 1800, *many(FEW - 1)) if s.facts.name == "finetune")
    assert (training.facts.outcome, training.facts.reason) == ("few images", "few")


def test_steps_are_taken_in_order_while_they_fit() -> None:
    steps = arranged(steps_of(**EVERYTHING), 1800, *many())[1:]
    held = {s.facts.name for s in allotted(steps, 300) if s.facts.outcome == "planned"}
    assert held == {"clahe", "vlad", "stack", "multiscale"}
    held = {s.facts.name for s in allotted(steps, 100) if s.facts.outcome == "planned"}
    assert held == {"clahe", "vlad", "stack"}
    assert all(s.facts.outcome == "planned" for s in allotted(steps, 1e4))


def test_what_there_is_no_time_to_audit_is_not_tried() -> None:
    steps = arranged(steps_of(**EVERYTHING), 1800, *many())[1:]
    audits = {"multiscale": 100.0, "second": 400.0}

    def held(seconds: float) -> set[str]:
        found = allotted(steps, seconds, lambda step: audits.get(step.facts.name, 0.0))
        return {step.facts.name for step in found if step.facts.outcome == "planned"}

    cheap, all_read = {"clahe", "vlad", "stack"}, 80.1 + 200 + 900
    assert held(all_read) == {*cheap, "multiscale"}
    assert held(all_read + 399) == {*cheap, "multiscale"}
    assert held(all_read + 400) == {*cheap, "multiscale", "second"}  # one audit, the longest
    assert held(80.1 + 299) == cheap
    outcomes = {
        step.facts.name: step.facts.outcome
        for step in allotted(steps, 80.1 + 299, lambda step: audits.get(step.facts.name, 0.0))
    }
    assert (outcomes["multiscale"], outcomes["second"]) == ("no audit", "no time")


def test_the_plan_keeps_the_time_of_the_longest_audit_that_may_be_needed() -> None:
    options = dataclasses.replace(DEFAULT_AUTO, audit_pairs=80)
    steps = steps_of(second=90.0, clahe=1.0)
    steps["second"] = dataclasses.replace(steps["second"], an_image=0.4)
    drawn = within.Drawn(steps, DataFacts(400, 2, 224), 0.6, within.AFTER * 0.6 + 48)
    longest = within.LEAST_PAIRS * within.PASSES * 0.4
    assert drawn.use(options, list(steps.values())).finish == pytest.approx(10.2 + longest)
    given_up = [steps["probe"], steps["clahe"], steps["second"].with_facts(outcome="no time")]
    assert drawn.use(options, given_up).finish == pytest.approx(10.2 + 48)
    without = dataclasses.replace(options, audit=False)
    assert drawn.use(without, list(steps.values())).finish == drawn.finish


def test_training_gets_its_share_and_the_rest_is_for_dear_readings() -> None:
    before = arranged(steps_of(**EVERYTHING, finetune=0.0), 1800, *many())[1:]
    left = 1800 - 80.1  # after what is cheap
    assert for_training(before, 1800) == pytest.approx(TRAINING * left)
    held = {s.facts.name: s.facts.outcome for s in allotted(before, 1800)}
    assert (held["multiscale"], held["second"]) == ("planned", "no time")  # 516 seconds for both
    after = allotted(arranged(steps_of(**EVERYTHING, finetune=0.0), 1800, *many(500))[1:], 1800)
    assert for_training(after, 1800) == pytest.approx(1800 - 80.1 - 200 - 900)


def test_all_steps_have_scenarios_of_their_own_and_no_scenario_has_two(
    extractor: Extractor,
) -> None:
    second = SecondNetwork("vgg16", 1, 1)
    try:
        PACKAGED["vgg16"].locate()
    except Exception:  # noqa: BLE001
        pytest.skip("needs the extra vgg16")
    options = dataclasses.replace(DEFAULT_AUTO, second=second)
    steps = offered(options, DataFacts(2000, 2, 600), extractor)
    assert set(steps) == {"probe", "vlad", "stack", "clahe", "second", "multiscale", "finetune"}
    keys = [e.scenario.full_key for step in steps.values() for e in step.scenarios]
    assert len(set(keys)) == len(keys)
    heads = {e.scenario.head for e in steps["stack"].scenarios}
    assert heads == {"stack"}
    networks = [e.scenario.networks for e in steps["second"].scenarios]
    assert all("vgg16" in one for one in networks)
    assert (NET, "vgg16") in networks  # the join
    assert any(e.scenario.pixels.edits for e in steps["clahe"].scenarios)
    assert set(HEADS) == set(HEAD_NUMBERS)


def test_small_images_have_no_larger_inputs_and_named_options_stay(extractor: Extractor) -> None:
    asked = dataclasses.replace(
        DEFAULT_AUTO, preprocess=("raw", "clahe"), sizes=(), augment="xray", heads=("logistic",)
    )
    steps = offered(asked, DataFacts(2000, 2, 224), extractor)
    assert set(steps) == {"probe", "vlad", "stack", "finetune"}  # CLAHE is with the probes
    assert any(e.scenario.pixels.views for e in steps["probe"].scenarios)
    larger = offered(
        dataclasses.replace(DEFAULT_AUTO, sizes=(224, 320)), DataFacts(2000, 2, 224), extractor
    )
    sizes = {e.scenario.pixels.sizes for e in larger["multiscale"].scenarios}
    assert (320,) in sizes


def test_what_was_bought_is_what_is_trained(extractor: Extractor) -> None:
    steps = offered(DEFAULT_AUTO, DataFacts(2000, 2, 224), extractor)
    bought = dataclasses.replace(
        DEFAULT_AUTO, training=(("epochs", "4"),), training_size=128, depths=("input",)
    )
    found = with_training(tuple(steps.values()), bought, DataFacts(2000, 2, 224), extractor)
    (trained,) = (e.scenario for e in planned_in(found) if e.scenario.trained)
    assert isinstance(trained.classifier, Finetune)
    assert dict(trained.classifier.settings) == {"epochs": "4"}
    assert (trained.tap, trained.pixels.sizes) == ("input", (128,))


# --------------------------------------------------------------------------- options


def test_a_budget_alone_decides_and_families_that_are_named_stay() -> None:
    assert StudyOptions(budget=60).families == AUTO
    assert StudyOptions().families == ("probe",)
    named = StudyOptions(budget=60, families=("probe", "finetune"))
    assert not named.automatic
    assert first_options(named) is named
    assert first_options(DEFAULT_AUTO).families == ("probe",)
    assert first_options(dataclasses.replace(DEFAULT_AUTO, sizes=(224, 320))).sizes == ()


@pytest.mark.parametrize("families", [("auto",), ("auto", "probe")])
def test_auto_needs_a_budget_and_stands_alone(families: tuple[str, ...]) -> None:
    with pytest.raises(ScenarioError, match="--budget"):
        StudyOptions(families=families, budget=60.0 * (len(families) - 1))


def test_time_of_earlier_sessions_counts() -> None:
    rows = [
        {"event": "started", "time": 100.0},
        {"event": "step", "time": 130.0},  # killed here
        {"event": "resumed", "time": 900.0},
        {"event": "race", "time": 905.0},
        {"event": "resumed", "time": 990.0},
    ]
    assert _seconds_before(rows) == 35.0
    assert _seconds_before(rows[:1]) == 0.0


# --------------------------------------------------------------------------- bad input


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms")
    write_phantoms(folder, n_patients=24, seed=3)
    return folder


def test_a_budget_too_small_for_anything_says_the_least_before_any_image_is_read(
    phantoms: Path, graphs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(within, "reckoned", lambda steps, *_, **__: steps)
    monkeypatch.setattr(within, "seconds_an_image", lambda *_: 0.1)
    options = dataclasses.replace(DEFAULT_AUTO, budget=20.0)
    with pytest.raises(ScenarioError, match=r"too small for anything") as error:
        preview(load(phantoms), options, Extractor(Cache(tmp_path)))
    least, minutes = map(
        int, re.findall(r"about (\d+) seconds.*--budget (\d+)m", str(error.value))[0]
    )
    fewest = (within.AFTER + within.LEAST_PAIRS) * within.PASSES * 0.1
    assert 0 <= least - fewest < 60  # and what timing took
    assert minutes * 60 * within.USED >= least


def test_without_a_budget_there_is_no_plan(phantoms: Path) -> None:
    found = CliRunner().invoke(app, ["study", str(phantoms), "--dry-run"])
    assert found.exit_code == 1
    assert "--budget" in found.output


def test_a_class_of_one_image_is_refused_as_ever(phantoms: Path, tmp_path: Path) -> None:
    table = load(phantoms)
    rare = table.select((table.labels == 0) | (table.ids == table.ids[table.labels == 1][0]))
    with pytest.raises(FitError, match=table.classes[1]):
        preview(rare, DEFAULT_AUTO, Extractor(Cache(tmp_path)))


def test_a_plan_is_written_down_and_taken_up_again(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, extractor = load(phantoms), Extractor(Cache(tmp_path))
    written: list[dict[str, Any]] = []
    monkeypatch.setattr(within, "seconds_an_image", lambda *_: 0.001)

    def reckoned(steps: Any, *_: Any, **__: Any) -> Any:
        return {n: s.with_facts(predicted=1.0 + len(n)) for n, s in steps.items()}

    monkeypatch.setattr(within, "reckoned", reckoned)
    session = Session(extractor, None)
    monkeypatch.setattr(session, "event", lambda name, **facts: written.append(facts))
    drawn = within.draw(table, DEFAULT_AUTO, 224, session)
    options, steps = within.plan_within(
        drawn, DEFAULT_AUTO, table, similarity(0.06), False, session
    )
    later = Session(extractor, None)
    monkeypatch.setattr(later, "earlier", lambda name: written if name == "plan" else [])
    again = within.draw(table, DEFAULT_AUTO, 224, later)
    assert again.finish == pytest.approx(drawn.finish, abs=1e-3)
    repeated = within.plan_within(again, DEFAULT_AUTO, table, similarity(0.0), True, later)
    assert repeated[0] == options
    assert [one.facts for one in repeated[1]] == [one.facts for one in steps]
    assert "finetune" not in options.families  # of so few images


def test_seconds_that_train_nothing_are_not_spent_on_timing(
    extractor: Extractor, phantoms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = BudgetStep("finetune", 1, 0.0, "what is left")
    steps = (*steps_of().values(), PlannedStep(facts, (object(),), StudyOptions()))  # type: ignore[arg-type]
    monkeypatch.setattr(within, "_bought", lambda *_: pytest.fail("it was timed"))
    table, session = load(phantoms), Session(extractor, None)
    for seconds, an_image in ((100.0, 0.01), (500.0, 1.0)):  # 48 images in 12 passes take 576
        options, step = within._training_step(
            DEFAULT_AUTO, steps, seconds, an_image, table, session
        )
        assert (options, step.facts.outcome) == (DEFAULT_AUTO, "no time")
        assert step.facts.predicted > seconds
