"""What a report is made from: handed over by the study, drawn and worded by the other files.

Only shapes stand here. The numbers come from `evaluate`, the maps from `explain`; nothing is
computed from images in this room except their thumbnails.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from medgraft.types import (
    AuditResult,
    Comparison,
    Estimate,
    Evaluation,
    Floats,
    Pixels,
    Predictions,
    Scenario,
    SeenBefore,
    Skipped,
    StudyResult,
)

if TYPE_CHECKING:
    from medgraft.results.evidence import Mask, RegionEffect, SkillLeft
    from medgraft.results.layers import Atlas
    from medgraft.results.training import TrainingLog
    from medgraft.types import Card


@dataclass(frozen=True, slots=True)
class DepthPoint:
    """How one head did on the plain codes of one tap; `order` counts the taps from the input on.

    beside : the scenario is of another family, named in `head`, and tried at some taps only.
    """

    backbone: str
    tap: str
    order: int
    head: str
    estimate: Estimate
    beside: bool = False


@dataclass(frozen=True, slots=True)
class FamilyResult:
    """The best of a family's scenarios, by its figure out of fold.

    corrected : that figure once its having been chosen among the `n` is discounted. against : the
    paired comparison with the best probe, None for the probes themselves.
    """

    family: str
    n: int
    best: str
    validation: Estimate
    corrected: Estimate
    test: Estimate | None
    against: Comparison | None


@dataclass(frozen=True, eq=False, slots=True)
class TrainedScenario:
    """A scenario whose network was trained, and how that went.

    depths : each layer it was or could have been trained from, in words.
    """

    key: str
    log: TrainingLog
    depths: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ScenarioFacts:
    """What the recommended classifier does: in a sentence or three, and in full.

    facts : by what they are about. members : of an ensemble, their names and weights.
    """

    sentence: str
    facts: Mapping[str, str]
    members: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class CaseView:
    """One image, what was said of it, and where the score came from.

    probability : of the predicted class, 0..1.
    pixels : (height, width[, 3]) uint8, the canvas the network saw.
    maps : names of layers, shallow to deep, each with its map (height, width) 0..1 on the same
    canvas; the last is the layer the decision was read from. Empty where no map exists; `reason`
    then says why.
    """

    id: str
    truth: str
    predicted: str
    probability: float
    correct: bool
    pixels: Pixels
    maps: tuple[tuple[str, Floats], ...] = ()
    reason: str = ""


@dataclass(frozen=True, eq=False, slots=True)
class LayerExample:
    """An image of one class through the layers; `probability` of that class, out of fold."""

    truth: str
    probability: float
    atlas: Atlas


@dataclass(frozen=True, eq=False, slots=True)
class Picture:
    """An image, a region of it (`place`, (side, side) bool), and what the model says of it.

    label, probability : the class given, and its probability.
    """

    title: str
    id: str
    pixels: Pixels
    place: Mask
    label: str
    probability: float


@dataclass(frozen=True, eq=False, slots=True)
class Exchange:
    """An image, another of class `truths[1]`, and the first with a region of the second."""

    region: str
    pictures: tuple[Picture, Picture, Picture]
    truths: tuple[str, str]


@dataclass(frozen=True, eq=False, slots=True)
class Minority:
    """Images called `label` whose heatmaps are of another kind than the rest's, and some of these.

    The heatmaps are laid over the pictures; their `place` is where the first have more energy.
    """

    label: str
    region: str
    pictures: tuple[Picture, ...]
    others: tuple[Picture, ...]


@dataclass(frozen=True, eq=False, slots=True)
class EvidenceView:
    """What an audit of the evidence found, with the images that show it.

    ranked : AUROC of the images as they are. effects : of every region; none where nothing could be
    exchanged. left : what is left of it without the evidence. pairs : of donors. models
    : that were asked, each about images of its own. example, places : an image, and where each
    region lies in it. minorities : of images that may be decided in another way.
    """

    result: AuditResult
    ranked: Estimate
    left_out: int = 0
    effects: tuple[RegionEffect, ...] = ()
    left: SkillLeft | None = None
    pairs: int = 0
    models: int = 1
    example: Pixels | None = None
    places: Mapping[str, Mask] = field(default_factory=dict)
    exchanges: tuple[Exchange, ...] = ()
    minorities: tuple[Minority, ...] = ()


@dataclass(frozen=True, slots=True)
class HowTo:
    """What it takes to get the same numbers again.

    seconds : of each step of the work, in the order in which they were done.
    """

    command: str
    seed: int
    versions: Mapping[str, str]
    backbones: tuple[Card, ...]
    machine: str
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Judged:
    """What the part 'How good, exactly' is about, on the page of a study and of an evaluation.

    sentence : which model on which images. columns : the evaluations shown side by side by their
    titles; `evaluation` is the first of them, and counts and curves are of `predictions`.
    """

    predictions: Predictions
    evaluation: Evaluation
    sentence: str
    columns: Mapping[str, Evaluation]


@dataclass(frozen=True, eq=False)
class ReportInput:
    """Everything the report of a study shows.

    oof, test : predictions of the recommended scenario, out of fold and on the test split.
    by_patient : the evaluation of the test (else of the out-of-fold) predictions, one prediction
    a group. scenarios : all that were compared. recipe : the recommended one in words. samples :
    for each class the id and the pixels of a few of its images. examples : one development image
    a class, called right, through the layers. families : the best of each, simplest first.
    trainings : of the scenarios whose network was trained, simplest first. changed : whether
    images were judged in changed views (`Folds.view`). evidence : the audit of the recommended
    scenario, with its images.
    """

    result: StudyResult
    oof: Predictions
    oof_evaluation: Evaluation
    how: HowTo
    scenarios: tuple[Scenario, ...]
    recipe: ScenarioFacts
    test: Predictions | None = None
    test_evaluation: Evaluation | None = None
    by_patient: Evaluation | None = None
    depth: tuple[DepthPoint, ...] = ()
    cases: tuple[CaseView, ...] = ()
    samples: Mapping[str, tuple[tuple[str, Pixels], ...]] = field(default_factory=dict)
    examples: tuple[LayerExample, ...] = ()
    families: tuple[FamilyResult, ...] = ()
    trainings: tuple[TrainedScenario, ...] = ()
    changed: bool = False
    evidence: EvidenceView | None = None

    @property
    def judged(self) -> Evaluation:
        """The evaluation the report leads with: of the test, or out of fold where there is none."""
        return self.test_evaluation or self.oof_evaluation

    @property
    def judged_predictions(self) -> Predictions:
        """The predictions that `judged` is about."""
        return self.oof if self.test is None or self.test_evaluation is None else self.test


@dataclass(frozen=True, eq=False)
class EvaluationInput:
    """Everything the page of a saved classifier, judged on other data, shows.

    model, data : the classifier's folder and the data, as they were named. metric : what the page
    leads with. learned : images of each class the classifier learned from; empty where that is
    not known. seen : how many of the images offered it learned from; those are left out, and
    `with_seen` is what it would be with them (None where there are none).
    """

    model: str
    data: str
    metric: str
    predictions: Predictions
    evaluation: Evaluation
    by_patient: Evaluation | None = None
    skipped: tuple[Skipped, ...] = ()
    learned: Mapping[str, int] = field(default_factory=dict)
    seen: SeenBefore = field(default_factory=SeenBefore)
    with_seen: Evaluation | None = None
    command: str = ""
    version: str = ""


@dataclass(frozen=True, eq=False)
class AuditInput:
    """Everything the page of a saved classifier's audit shows.

    model, data : the classifier's folder and the data, as they were named. images : that could have
    been audited. seen : how many of them the classifier learned from.
    """

    model: str
    data: str
    scenario: str
    evidence: EvidenceView
    images: int
    seen: SeenBefore = field(default_factory=SeenBefore)
    skipped: tuple[Skipped, ...] = ()
    command: str = ""
    version: str = ""
