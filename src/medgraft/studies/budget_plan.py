"""What a budget is spent on, where it decides: an ordered list of steps with predicted seconds.

A step is a set of scenarios that read images alike. Probes of the default network come first, for
everything is compared with them; then what is cheap; then, dearer ones last, what reads images
otherwise. Training stands before the dear ones where images are many and unlike ImageNet, and takes
what is left where not (docs/decisions/0036). A study that ends after any step has the best answer
so far.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from medgraft.errors import ScenarioError
from medgraft.features.extract import Extractor
from medgraft.results.recommendation import Similarity
from medgraft.studies.options import StudyOptions
from medgraft.studies.plan import PlannedScenario, plan
from medgraft.studies.readings import judging_seconds, seconds_an_image, still_to_read
from medgraft.types import BudgetStep, ImageTable, StepName, StepReason

MANY = 1000  # images to learn from, and
UNLIKE = 0.03  # a distance from ImageNet, from which on training comes before dear readings
FEW = 300  # images to learn from, with fewer no network is trained
CHEAP = 0.05  # of the budget: what takes less comes before training
TRAINING = 0.7  # of what is left, for training where it comes before dear readings


@dataclass(frozen=True, eq=False)
class PlannedStep:
    """A step with its scenarios, and the options that plan them.

    an_image : seconds that reading one takes, where it was timed.
    """

    facts: BudgetStep
    scenarios: tuple[PlannedScenario, ...]
    options: StudyOptions
    an_image: float = 0.0

    def with_facts(self, **changes: object) -> PlannedStep:
        return dataclasses.replace(self, facts=dataclasses.replace(self.facts, **changes))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class DataFacts:
    """By what steps are ordered and reckoned: of the images to learn from.

    shorter : pixels of their shorter side.
    """

    n_images: int
    n_classes: int
    shorter: int


Steps = dict[StepName, PlannedStep]


def planned_of(
    options: StudyOptions, data: DataFacts, extractor: Extractor
) -> tuple[PlannedScenario, ...]:
    """The scenarios of these options for such images."""
    return plan(options, extractor, data.n_images, data.n_classes, data.shorter)


def first_options(options: StudyOptions) -> StudyOptions:
    """The options of the step that comes first: probes of the default network, or those named."""
    return _with_families(options, "probe") if options.automatic else options


def offered(options: StudyOptions, data: DataFacts, extractor: Extractor) -> Steps:
    """The steps that there are for these images, but for what has no scenario of its own."""
    found: Steps = {}
    known: set[str] = set()
    for name, asked in _asked(options):
        try:
            planned = planned_of(asked, data, extractor)
        except ScenarioError:  # no larger sizes, nothing to stack
            if not found:
                raise
            continue
        own = tuple(
            entry
            for entry in planned
            if entry.scenario.key not in known
            and (name != "stack" or entry.scenario.head == "stack")
        )
        if own:
            known |= {entry.scenario.key for entry in own}
            reason: StepReason = "frozen" if found else "first"
            facts = BudgetStep(name, len(own), 0.0, reason)
            found[name] = PlannedStep(facts, own, asked)
    return found


def _asked(options: StudyOptions) -> Iterator[tuple[StepName, StudyOptions]]:
    """Each step's options."""
    yield "probe", _with_families(options, "probe")
    yield "vlad", _with_families(options, "vlad")
    yield "stack", _with_families(options, "probe", "vlad", "ensemble")
    if options.preprocess == ("raw",):
        plain = _with_families(options, "probe")
        yield "clahe", dataclasses.replace(plain, preprocess=("raw", "clahe"))
    if options.second is not None:
        plain = _with_families(options, "probe")
        networks = (*options.backbones, options.second.backbone)
        yield "second", dataclasses.replace(plain, backbones=networks, second=options.second)
    yield "multiscale", _with_families(options, "multiscale")
    yield "finetune", _with_families(options, "finetune")


def _with_families(options: StudyOptions, *families: str) -> StudyOptions:
    """The options of these families, without what only others read."""
    changes: dict[str, object] = {"families": families, "second": None}
    if not {"multiscale", "vlad"} & set(families):
        changes["sizes"] = ()
    if not {"probe", "finetune"} & set(families):
        changes["augment"] = ""
    return dataclasses.replace(options, **changes)  # type: ignore[arg-type]


def reckoned(
    steps: Steps,
    table: ImageTable,
    data: DataFacts,
    extractor: Extractor,
    *,
    n_folds: int,
    slow: float = 1.0,
) -> Steps:
    """The frozen steps with predicted seconds, by a few images of the table that are read.

    slow : how much slower than usual this machine computes.
    """
    found: Steps = {}
    for name, step in steps.items():
        if name != "finetune":
            seconds = sum(
                judging_seconds(entry.scenario, data.n_images, data.n_classes, n_folds, extractor)
                for entry in step.scenarios
            )
            one, left = 0.0, 0  # of a stack, that joins what was judged
            if name != "stack":
                one = seconds_an_image(step.scenarios, table, extractor)
                left = still_to_read(step.scenarios, table, extractor)
            step = dataclasses.replace(step, an_image=one)
            step = step.with_facts(predicted=slow * seconds / extractor.workers + left * one)
        found[name] = step
    return found


def arranged(
    steps: Steps, seconds: float, data: DataFacts, similarity: Similarity
) -> tuple[PlannedStep, ...]:
    """The steps in their order, with the reason of each; what training takes is not known yet.

    seconds : of the budget.
    """
    first = steps["probe"]
    frozen = [one for name, one in steps.items() if name not in ("probe", "stack", "finetune")]
    frozen.sort(key=lambda step: step.facts.predicted)
    cheap = [step for step in frozen if step.facts.predicted <= CHEAP * seconds]
    dear = [step for step in frozen if step not in cheap]
    if "stack" in steps:  # joins probes and what is encoded
        part = dear if steps.get("vlad") in dear else cheap
        place = part.index(steps["vlad"]) + 1 if steps.get("vlad") in part else len(part)
        part.insert(place, steps["stack"])
    training = steps.get("finetune")
    if training is None:
        return (first, *cheap, *dear)
    if data.n_images < FEW:
        few = training.with_facts(reason="few", outcome="few images")
        return (first, *cheap, *dear, few)
    if data.n_images >= MANY and unlike(similarity):
        before = training.with_facts(reason="many and unlike")
        return (first, *cheap, before, *dear)
    return (first, *cheap, *dear, training.with_facts(reason="what is left"))


def twice_read(steps: Sequence[PlannedStep]) -> tuple[PlannedStep, ...]:
    """The steps where frozen networks read images in a changed view, too."""
    return tuple(step.with_facts(predicted=2 * step.facts.predicted) for step in steps)


def unlike(similarity: Similarity) -> bool:
    """Whether images are surely farther from ImageNet than `UNLIKE`."""
    return similarity.distance is not None and similarity.distance.low > UNLIKE


def allotted(
    steps: Sequence[PlannedStep],
    seconds: float,
    after: Callable[[PlannedStep], float] = lambda step: 0.0,
) -> tuple[PlannedStep, ...]:
    """The frozen steps that `seconds` hold, taken in order; the others get `no time` or `no audit`.

    Of what training may take, see `for_training`. after : seconds beyond those kept for it that the
    audit takes, if a scenario of the step wins; of several steps the longest counts, for one wins.
    """
    found, left, kept = [], seconds, 0.0
    for step in steps:
        longest = max(kept, after(step))
        takes = step.facts.predicted + longest - kept
        if step.facts.outcome != "planned" or step.facts.name == "finetune":
            if step.facts.outcome == "planned" and step.facts.reason == "many and unlike":
                left *= 1 - TRAINING
        elif takes <= left:
            left, kept = left - takes, longest
        else:
            reads = step.facts.predicted <= left
            step = step.with_facts(outcome="no audit" if reads else "no time")
        found.append(step)
    return tuple(found)


def for_training(steps: Sequence[PlannedStep], seconds: float) -> float:
    """The seconds that training may take: a share of what is left at its place, or all of it."""
    names = [step.facts.name for step in steps]
    place = names.index("finetune")
    if steps[place].facts.reason != "many and unlike":
        place = len(steps)
    planned = [step.facts.predicted for step in steps[:place] if step.facts.outcome == "planned"]
    left = seconds - sum(planned)
    return float(np.maximum(left * (TRAINING if place < len(steps) else 1.0), 0.0))


def with_training(
    steps: Sequence[PlannedStep], options: StudyOptions, data: DataFacts, extractor: Extractor
) -> tuple[PlannedStep, ...]:
    """The steps with networks trained as these options say, by what was bought."""
    names = ("training", "training_size", "n_folds", "depths")
    bought = {name: getattr(options, name) for name in names}
    found = []
    for step in steps:
        if step.facts.name == "finetune":
            asked = dataclasses.replace(step.options, **bought)
            scenarios = planned_of(asked, data, extractor)
            step = dataclasses.replace(step, scenarios=scenarios, options=asked)
        found.append(step)
    return tuple(found)


def facts_of(steps: Sequence[PlannedStep]) -> tuple[BudgetStep, ...]:
    """What is told of the steps."""
    return tuple(step.facts for step in steps)


def planned_in(steps: Sequence[PlannedStep]) -> tuple[PlannedScenario, ...]:
    """All scenarios of the steps that are planned, simplest first."""
    planned = [e for step in steps if step.facts.outcome == "planned" for e in step.scenarios]
    return tuple(sorted(planned, key=lambda entry: entry.simplicity))
