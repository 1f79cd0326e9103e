"""What a study compared, chose and found: from one scenario's figures to the whole result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from medgraft.results.figures import (
    Calibration,
    Comparison,
    GradeFigures,
    LowerEnd,
    SetFigures,
    SiteFigures,
    Subgroups,
    UnlikeFigures,
    Wish,
)
from medgraft.scenario import Join
from medgraft.types import (
    AuditFinding,
    BudgetUse,
    Cost,
    Estimate,
    Finding,
    ImageTable,
    Operating,
    Verdict,
)

Answer = Literal["better", "worse", "no difference seen"]


VariationKind = Literal["instead", "beside", "averaged", "views", "sizes", "family", "network"]


@dataclass(frozen=True, slots=True)
class Variation:
    """What is done otherwise, of which a study asks whether it helps.

    kind : `edits` instead of the raw image, beside it, or with the probabilities of both averaged;
    augmented `views` (`xray4`); inputs of other `sizes`, with several joined as `join` says; the
    best of another `family` instead of the best probe; or another `network` instead of that of the
    question, or several joined: the best that has these `networks`.
    """

    kind: VariationKind
    edits: tuple[str, ...] = ()
    views: str = ""
    sizes: tuple[int, ...] = ()
    join: Join = "concat"
    family: str = ""
    networks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """A question that a study answers for its data, `comparison` being what is new against what is.

    Its p is corrected for the number of questions of the study. corrected : there was a choice of
    what is compared, and the comparison discounts it. tap, head, backbone : where it was asked; ''
    of a family, and the backbone '' where all scenarios have one; of networks the backbone is what
    they are held against. `report/text/questions.py` says
    it in words.
    """

    variation: Variation
    comparison: Comparison
    answer: Answer
    corrected: bool = False
    tap: str = ""
    head: str = ""
    backbone: str = ""


@dataclass(frozen=True, slots=True)
class ScenarioResult:
    """One line of the study's table. `test` stays None until every scenario is frozen."""

    key: str
    family: str
    backbone: str
    seconds: float
    cost: Cost
    validation: Mapping[str, Estimate]
    test: Mapping[str, Estimate] | None = None
    operating: Operating | None = None


@dataclass(frozen=True, slots=True)
class AuditResult:
    """The verdict on the evidence, and the smallest effect that would have been seen."""

    verdict: Verdict
    smallest_effect: float
    findings: tuple[AuditFinding, ...]


FOUR_IN_FIVE = 1.43  # (1.96 + 0.84) / 1.96: half a 95 % interval, as a gap seen 4 times in 5


@dataclass(frozen=True, slots=True)
class Rationale:
    """Why a scenario is recommended; `report/text/recommendation.py` says it in words.

    n_scenarios were judged out of fold by `metric`, on n_images of n_groups, of which n_smallest
    are of `smallest_class`. recommended, best : keys; figure, best_figure : their values of the
    metric. margin : the loss that was allowed. loss : what is lost against the best at most, by the
    paired 95 % interval. cost : what choosing so loses on average, judged out of bag. corrected :
    the figure once its having been chosen is discounted. by_tap : (tap, value) of the recommended
    backbone, from shallow to deep. audits : by key, in the order they were made, the recommended
    scenario's among them; none where none was asked for. for_all : whether it was decided for
    several findings together.
    """

    metric: str
    n_scenarios: int
    n_images: int
    n_groups: int
    smallest_class: str
    n_smallest: int
    recommended: str
    figure: Estimate
    best: str
    best_figure: Estimate
    margin: float
    loss: float
    cost: float
    corrected: Estimate
    by_tap: tuple[tuple[str, float], ...] = ()
    audits: Mapping[str, AuditResult] = field(default_factory=dict)
    for_all: bool = False

    @property
    def non_inferior(self) -> bool:
        """Whether no more than the margin is lost, by the interval: a test of non-inferiority."""
        return self.loss <= self.margin

    @property
    def gap(self) -> float:
        """By how much the figure lies behind the best, whichever way the metric counts."""
        return abs(self.best_figure.value - self.figure.value)

    @property
    def needed(self) -> float:
        """So many images like these would tell, four times in five, if the gap is what it seems.

        That no more than the margin is lost, where the gap is below it; else that the best is
        better. The interval narrows with the root of the images. 0 where it is told already.
        """
        half = self.loss - self.gap
        to_show = self.margin - self.gap if self.gap < self.margin else self.gap
        if self.non_inferior or half <= 0 or half < self.gap:
            return 0.0
        return self.n_images * (FOUR_IN_FIVE * half / max(to_show, 1e-12)) ** 2

    @property
    def failed(self) -> tuple[str, ...]:
        """Keys of what the audit fails."""
        return tuple(key for key, audit in self.audits.items() if audit.verdict == "FAIL")

    @property
    def barred(self) -> tuple[str, ...]:
        """What of this made way for the recommended one; nothing where all that were tried fail."""
        return () if self.recommended in self.failed else self.failed


@dataclass(frozen=True, slots=True)
class SecondNetwork:
    """A network that a study tries beside the default one of its own accord, or does not.

    images : forward passes that it would take, one an image where images are read in one way; they
    are tried where they are at most `most`.
    """

    backbone: str
    images: int
    most: int

    @property
    def tried(self) -> bool:
        """Whether the images are few enough."""
        return self.images <= self.most


@dataclass(frozen=True, slots=True)
class KnownSet:
    """A public data set that ours was measured on (`profile/known_sets.py`).

    shows : what its images are, in words. n : images to learn from. distance, low, high : from
    ImageNet, with its 95 % interval. winner : the family that a written-down study recommends; ''
    where there is none.
    """

    name: str
    shows: str
    n: int
    distance: float
    low: float
    high: float
    winner: str = ""


@dataclass(frozen=True, slots=True)
class Similarity:
    """How far images are from those of ImageNet, as the default network sees them.

    distance : of the deeper layers, 0 (the same) to 1; None where it cannot be told, which `reason`
    then says. shallow : the same of the layers before them, which see colour and contrast.
    by_layer : of each, from shallow to deep. n_groups : of the images that were looked at. known :
    the sets that it is held against, the nearest to ImageNet first.
    """

    distance: Estimate | None
    shallow: Estimate | None
    by_layer: tuple[tuple[str, float], ...]
    n_images: int
    n_groups: int
    known: tuple[KnownSet, ...]
    reason: Literal["", "one image", "one group", "other weights"] = ""

    @property
    def place(self) -> tuple[tuple[KnownSet, ...], tuple[KnownSet, ...], tuple[KnownSet, ...]]:
        """Of the larger known sets those nearer to ImageNet, those as far, and those farther.

        As far are those whose interval meets that of these images. Sets of fewer than 150 images
        are parts of larger ones.
        """
        known, own = [one for one in self.known if one.n >= 150], self.distance
        if own is None:
            return (), (), ()
        nearer = tuple(one for one in known if one.high < own.low)
        farther = tuple(one for one in known if one.low > own.high)
        return nearer, tuple(one for one in known if one not in (*nearer, *farther)), farther


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """A figure out of fold of heads that learned from a share of the patients.

    n_images : that each fold's head learned from, on average. draws : of that share.
    """

    share: float
    n_images: int
    draws: int
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """What more images bring a scenario, from refits on fewer.

    scenario : the one that was refitted, the recommended one or the best that can be. points : from
    few images to all, () where there is none, which `reason` then says. twice : the figure with
    twice the images, gain : how much better that is (0 or more, whichever way the metric counts);
    None where nothing is left to gain. margin : the least gain that is worth naming.
    """

    scenario: str
    points: tuple[CurvePoint, ...]
    twice: Estimate | None
    gain: Estimate | None
    margin: float
    reason: Literal["", "few patients", "nothing to refit", "no error left", "metric"] = ""

    @property
    def verdict(self) -> Literal["", "helps", "hardly helps", "cannot be told"]:
        """What twice the images would do, as far as the interval of the gain tells."""
        if self.gain is None:
            return ""
        if self.gain.low >= self.margin:
            return "helps"
        return "hardly helps" if self.gain.high < self.margin else "cannot be told"


@dataclass(frozen=True, eq=False)
class StudyResult:
    """What a study found; `result.json` is this and nothing else.

    second : where nobody named a network and another is installed that may be worth its time.
    calibration : of the recommended scenario, out of fold (`validation`) and on the `test`.
    by_site : of the recommended scenario, where folds were sites. sets : how well its prediction
    sets do, out of fold (`validation`) and on the `test`. unlike : how many test images are unlike
    those learned from; None without a test split. wishes : thresholds for a wanted sensitivity or
    specificity, with what they hold on the test, or out of fold without one. subgroups : of the
    columns asked for, on the same images.
    similarity : to ImageNet, of the images learned from. learning_curve : None where none was asked
    for. budget : what was run, stopped and not run where a budget decided that. grades : of classes
    that are some, how far mistakes go, out of fold (`validation`) and on the `test`.
    """

    metric: str
    table: ImageTable
    findings: tuple[Finding, ...]
    scenarios: tuple[ScenarioResult, ...]
    recommended: str
    why: Rationale
    corrected: Estimate
    comparisons: tuple[Comparison, ...]
    audit: AuditResult | None
    versions: Mapping[str, str]
    seconds: float
    questions: tuple[Question, ...] = ()
    lower_end: LowerEnd | None = None
    by_site: SiteFigures | None = None
    calibration: Mapping[str, Calibration | None] = field(default_factory=dict)
    second: SecondNetwork | None = None
    sets: Mapping[str, SetFigures] = field(default_factory=dict)
    unlike: UnlikeFigures | None = None
    wishes: tuple[Wish, ...] = ()
    subgroups: tuple[Subgroups, ...] = ()
    similarity: Similarity | None = None
    learning_curve: LearningCurve | None = None
    budget: BudgetUse | None = None
    grades: Mapping[str, GradeFigures] = field(default_factory=dict)
