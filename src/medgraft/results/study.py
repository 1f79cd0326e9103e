"""What the report of a study shows: handed over by the study, drawn and worded by the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from medgraft.results.curves import Curves
from medgraft.results.evidence import EvidenceView
from medgraft.results.figures import Comparison, Evaluation
from medgraft.results.layers import LayerExample
from medgraft.results.recommendation import KnownSet, StudyResult
from medgraft.results.training import TrainedScenario, TrainedStages
from medgraft.types import Card, Estimate, Floats, Pixels, Scenario

NoMap = Literal["", "no gradient", "no extent"]  # of the scores, or of the layer that is read


@dataclass(frozen=True, slots=True)
class DepthPoint:
    """How one head did on the plain codes of one tap; `order` counts the taps from the input on.

    beside : the scenario, where it is of another family and was tried at some taps only.
    """

    backbone: str
    tap: str
    order: int
    head: str
    estimate: Estimate
    beside: Scenario | None = None


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
class ClassifierFacts:
    """What makes a classifier besides its scenario, for who builds it again.

    size : of its input in pixels. taps : that are read. settings : of `head` and `encoder`, where
    it has them. networks : how many give the mean score. depth : of a trained network the layer
    that it was trained from, with its stages. members : of an ensemble of different scenarios, each
    with its weight.
    """

    scenario: Scenario
    size: int
    taps: tuple[str, ...] = ()
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    networks: int = 1
    depth: str = ""
    stages: TrainedStages | None = None
    members: tuple[tuple[ClassifierFacts, float], ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class CaseView:
    """One image, what was said of it, and where the score came from.

    probability : of the predicted class, 0..1.
    pixels : (height, width[, 3]) uint8, the canvas the network saw.
    maps : names of layers, shallow to deep, each with its map (height, width) 0..1 on the same
    canvas; the last is the layer the decision was read from. Empty where no map exists; `no_map`
    then says why.
    """

    id: str
    truth: str
    predicted: str
    probability: float
    correct: bool
    pixels: Pixels
    maps: tuple[tuple[str, Floats], ...] = ()
    no_map: NoMap = ""


@dataclass(frozen=True, slots=True)
class HowTo:
    """What it takes to get the same numbers again.

    seconds : of each step of the work, in the order in which they were done. test_given : whether
    the test split came with the data; else it was set aside, or there is none. sessions : in which
    the work was done. looks : at the test split. fingerprint : of the data as it was read, which is
    that of `config.json`.
    """

    command: str
    seed: int
    versions: Mapping[str, str]
    backbones: tuple[Card, ...]
    machine: str
    seconds: Mapping[str, float] = field(default_factory=dict)
    n_folds: int = 5
    test_given: bool = False
    sessions: int = 1
    looks: int = 1
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class DecisionMap:
    """Where the images stand among the known sets: how many learn, how far from ImageNet."""

    n_images: int
    distance: Estimate
    known: tuple[KnownSet, ...]


@dataclass(frozen=True, eq=False)
class ReportInput:
    """Everything the report of a study shows.

    curves : of the recommended scenario's predictions, those that `judged` is of. by_patient : the
    evaluation of the test (else of the out-of-fold) predictions, one prediction a group.
    scenarios : all that were compared. recipe : what makes the recommended one. samples : for each
    class the id and the pixels of a few of its images. examples : one development image a class,
    called right, through the layers. families : the best of each, simplest first. trainings : of
    the scenarios whose network was trained, simplest first. changed : whether images were judged
    in changed views (`Folds.view`). evidence : the audit of the recommended scenario, with its
    images.
    """

    result: StudyResult
    curves: Curves
    oof_evaluation: Evaluation
    how: HowTo
    scenarios: tuple[Scenario, ...]
    recipe: ClassifierFacts
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
    def decision_map(self) -> DecisionMap | None:
        """The study among the known sets; None where its distance is not known."""
        found = self.result.similarity
        if found is None or found.distance is None or not found.known:
            return None
        return DecisionMap(self.result.why.n_images, found.distance, found.known)

    @property
    def judged(self) -> Evaluation:
        """The evaluation the report leads with: of the test, or out of fold where there is none."""
        return self.test_evaluation or self.oof_evaluation
