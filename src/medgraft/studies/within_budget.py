"""From a budget of minutes to what is planned: the training it buys, the steps that it holds.

Everything here is decided by a clock, so that all of it is written down; a run that is resumed
takes it from there.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from medgraft.errors import FitError, ScenarioError
from medgraft.learn.finetune_setup import FinetuneSetup
from medgraft.results.evidence import FEW_PAIRS
from medgraft.results.recommendation import Similarity
from medgraft.scenario import BEST, Scenario
from medgraft.studies.budget import Bought, buy, in_faster_precision
from medgraft.studies.budget_plan import (
    DataFacts,
    PlannedStep,
    Steps,
    allotted,
    arranged,
    facts_of,
    for_training,
    offered,
    reckoned,
    twice_read,
)
from medgraft.studies.options import StudyOptions
from medgraft.studies.readings import seconds_an_image
from medgraft.studies.session import Session
from medgraft.types import BudgetStep, BudgetUse, ImageTable

RESERVE = 60  # seconds of a budget for frozen scenarios, comparisons and the report
USED = 0.95  # of a budget is planned with, where it decides what is run
LEAST_EPOCHS = 3  # with fewer, training is not worth its time there
LEAST_TRAINING = 120.0  # seconds; with fewer it is not even timed what they buy, which takes long
PASSES = 60  # images that a network reads for each pair of an audit
AN_IMAGE = 0.01  # seconds that reading one of a few takes on two idle cores
AFTER = 17  # pairs that take as long as the comparison, the curve, the checks and the report
LEAST_PAIRS = FEW_PAIRS + 10  # with fewer an audit decides nothing; some may not be found
AUDIT = 0.25  # of a budget is kept for an audit at most, if it holds that many


def train_within(
    options: StudyOptions,
    trained: Sequence[Scenario],
    development: ImageTable,
    session: Session,
) -> StudyOptions:
    """The options with the training that the budget buys; a resumed run keeps its own."""
    if not options.budget or not trained:
        return options
    if session.resumed:
        return _with_training(options, session.earlier("budget")[-1])
    left = (options.budget - session.spent) / len(trained) - RESERVE
    return _take(_bought(options, trained[0], development, left, session), options, session)


# --------------------------------------------------------------------------- the budget decides


@dataclass(frozen=True, eq=False)
class Drawn:
    """All steps that there are, with predicted seconds.

    a_pair : seconds of each pair of an audit of the default network. finish : of what comes after
    the steps, the audit of one of the first step's scenarios among it.
    """

    steps: Steps
    data: DataFacts
    a_pair: float
    finish: float

    def use(self, options: StudyOptions, steps: Sequence[PlannedStep]) -> BudgetUse:
        """What is told of a budget that is spent on these steps."""
        planned = [step for step in steps if step.facts.outcome == "planned"]
        longer = max((self.longer_audit(options, step) for step in planned), default=0.0)
        return BudgetUse(options.budget, self.finish + longer, self.a_pair, facts_of(steps))

    def longer_audit(self, options: StudyOptions, step: PlannedStep) -> float:
        """Seconds by which the least audit of a step's scenario takes longer than those kept."""
        least = _least_pairs(options) * PASSES * step.an_image
        return max(0.0, least - (self.finish - AFTER * self.a_pair))


def _least_pairs(options: StudyOptions) -> int:
    """Pairs of an audit that is worth its time; none where there is to be no audit."""
    return min(LEAST_PAIRS, options.audit_pairs * options.audit)


def draw(table: ImageTable, options: StudyOptions, shorter: int, session: Session) -> Drawn:
    """All steps with predicted seconds, by timing a few images; or an error where none fits.

    table : with its test split.

    Raises
    ------
    ScenarioError
        The first step and what comes after it take longer than there is.
    FitError
        A class has one group only to learn from.
    """
    _refuse_lone_classes(table.development)
    extractor, n_images = session.extractor, len(table.development)
    data = DataFacts(n_images, len(table.classes), shorter)
    steps = offered(options, data, extractor)
    if earlier := session.earlier("plan"):
        known = {row["name"]: float(row["predicted"]) for row in earlier[-1]["steps"]}
        steps = {
            name: step.with_facts(predicted=known.get(name, 0.0)) for name, step in steps.items()
        }
        return Drawn(steps, data, float(earlier[-1]["a_pair"]), float(earlier[-1]["finish"]))
    extractor.progress.say("Timing a few images, to know what the budget holds.")
    a_pair = PASSES * seconds_an_image(steps["probe"].scenarios, table, extractor)
    slow = slowness(a_pair)
    steps = reckoned(steps, table, data, extractor, n_folds=options.n_folds, slow=slow)
    first = steps["probe"]
    pairs = options.audit_pairs * options.audit
    fewer = _least_pairs(options)
    least = session.spent + first.facts.predicted + (AFTER + fewer) * a_pair
    if least > options.budget:
        raise ScenarioError(
            f"a budget of {options.budget:.0f} seconds is too small for anything: the least, "
            f"probes of {n_images:,} images, takes about {least:.0f} seconds on this machine; pass "
            f"--budget {math.ceil(least / USED / 60 + 0.25)}m or more"
        )
    audit = min(pairs * a_pair, max(fewer * a_pair, AUDIT * options.budget))
    return Drawn(steps, data, a_pair, AFTER * a_pair + audit)


def slowness(a_pair: float) -> float:
    """How much slower than an idle machine of two cores this one is, at least 1."""
    return max(1.0, a_pair / PASSES / AN_IMAGE)


def _refuse_lone_classes(development: ImageTable) -> None:
    """Before minutes are spent on what heads would refuse."""
    for label, name in enumerate(development.classes):
        if len(np.unique(development.groups[development.labels == label])) < 2:
            raise FitError(
                f"class {name!r} has images of one group only to learn from, so that it cannot be "
                f"both learned and judged; add images, or leave it out with --leave-out '{name}'"
            )


def plan_within(
    drawn: Drawn,
    options: StudyOptions,
    development: ImageTable,
    similarity: Similarity,
    changed: bool,
    session: Session,
) -> tuple[StudyOptions, tuple[PlannedStep, ...]]:
    """The steps in order, with what the budget holds of them, and the options that come of it.

    changed : images are judged in changed views if a network is trained, so that frozen networks
    read them once more.
    """
    if earlier := session.earlier("plan"):
        return _as_planned_before(drawn.steps, options, earlier[-1]["steps"], session)
    budget = options.budget
    steps = arranged(drawn.steps, budget, drawn.data, similarity)
    if options.validate == "changed" or (changed and _trains(steps)):
        steps = twice_read(steps)
    read = session.step_seconds.get("read the images", 0.0)  # of the first step, which is done
    left = budget * USED - drawn.finish - session.spent
    left -= max(0.0, steps[0].facts.predicted - read)
    after = partial(drawn.longer_audit, options)
    held = (steps[0], *allotted(steps[1:], left, after))
    if _trains(held):
        an_image, longer = drawn.a_pair / PASSES, drawn.use(options, held).finish - drawn.finish
        options, training = _training_step(
            options, held, left - longer, an_image, development, session
        )
        swapped = [training if one.facts.name == "finetune" else one for one in steps]
        held = (held[0], *allotted(swapped[1:], left, after))  # others get the time, if it is none
    rows = [dataclasses.asdict(step.facts) for step in held]
    finish = drawn.use(options, held).finish
    session.event("plan", steps=rows, finish=finish, a_pair=drawn.a_pair)
    return _resolved(options, held), held


def _training_step(
    options: StudyOptions,
    steps: tuple[PlannedStep, ...],
    left: float,
    an_image: float,
    development: ImageTable,
    session: Session,
) -> tuple[StudyOptions, PlannedStep]:
    """The training that the seconds left buy, or that there is no time for any.

    an_image : seconds that it takes to read one.
    """
    (step,) = (one for one in steps if one.facts.name == "finetune")
    seconds = for_training(steps[1:], left) / len(step.scenarios)
    learned = len(development) * (options.n_folds - 1) * LEAST_EPOCHS
    least = max(LEAST_TRAINING, learned * an_image)  # which is no faster than reading
    if seconds < least:
        return options, step.with_facts(outcome="no time", predicted=least * len(step.scenarios))
    found = _bought(options, step.scenarios[0].scenario, development, seconds, session)
    step = step.with_facts(predicted=found.seconds * len(step.scenarios))
    if found.fits and found.epochs >= LEAST_EPOCHS:
        options = _take(found, options, session)
    else:
        step = step.with_facts(outcome="no time")
    return options, step


def _as_planned_before(
    steps: Steps, options: StudyOptions, rows: Sequence[Mapping[str, object]], session: Session
) -> tuple[StudyOptions, tuple[PlannedStep, ...]]:
    """The plan that an earlier session wrote down."""
    found = []
    for row in rows:
        facts = BudgetStep(**{**row, "stopped": ()})  # type: ignore[arg-type]
        found.append(dataclasses.replace(steps[facts.name], facts=facts))
    if session.resumed:
        options = _with_training(options, session.earlier("budget")[-1])
    return _resolved(options, found), tuple(found)


def _resolved(options: StudyOptions, steps: Sequence[PlannedStep]) -> StudyOptions:
    """The options of a study that runs these steps, families named."""
    planned = [step for step in steps if step.facts.outcome == "planned"]
    families = dict.fromkeys(e.scenario.family for step in planned for e in step.scenarios)
    sizes = options.sizes if {"multiscale", "vlad"} & set(families) else ()
    return dataclasses.replace(options, families=tuple(families), sizes=sizes, second=None)


def _trains(steps: Sequence[PlannedStep]) -> bool:
    return any(step.facts.name == "finetune" and step.facts.outcome == "planned" for step in steps)


# --------------------------------------------------------------------------- training


def _bought(
    options: StudyOptions,
    trained: Scenario,
    development: ImageTable,
    seconds: float,
    session: Session,
) -> Bought:
    """What so many seconds buy, by a few timed steps."""
    setup = in_faster_precision(FinetuneSetup.of(trained, development, session.extractor))
    return buy(setup, options.n_folds, seconds, fewer=not options.site)


def _take(found: Bought, options: StudyOptions, session: Session) -> StudyOptions:
    """Say and write down what was bought; the options with it."""
    search = f"and a search of the depth on {found.rungs} images x epochs"
    session.extractor.progress.say(
        f"{options.budget / 60:.0f} minutes buy {found.epochs} epochs in {found.n_folds} folds"
        f"{f' at {found.size} pixels' if found.size else ''}"
        f"{' of the whole network' if found.depth else ''}{f' {search}' if found.rungs else ''}; "
        f"about {found.seconds / 60:.0f} minutes for training"
        f"{'' if found.fits else ', more than there are: this is the least'}."
    )
    facts = {
        "params": found.params,
        "size": found.size,
        "folds": found.n_folds,
        "depth": found.depth,
        "seconds": round(found.seconds),
        "fits": found.fits,
    }
    session.event("budget", **facts)
    return _with_training(options, facts)


def _with_training(options: StudyOptions, bought: Mapping[str, object]) -> StudyOptions:
    """The options with what was bought, as the event `budget` has it."""
    params = tuple((str(name), str(value)) for name, value in bought["params"])  # type: ignore[attr-defined]
    kept = tuple(one for one in options.training if one[0] not in dict(params))
    depth = str(bought.get("depth", ""))  # runs begun before one was bought go on
    return dataclasses.replace(
        options,
        training=(*kept, *params),
        training_size=int(bought["size"]),  # type: ignore[call-overload]
        n_folds=int(bought["folds"]),  # type: ignore[call-overload]
        depths=tuple(depth or one if one == BEST else one for one in options.depths),
    )
