"""What is known of the folders that commands left, and of two of them beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from medgraft.results.figures import Comparison
from medgraft.types import Estimate, Operating

RunKind = Literal["study", "panel", "scenario", "evaluation", "audit", "adapted"]
"""panel: a study of several findings. scenario: of `medgraft train`. adapted: a classifier that
`medgraft adapt` wrote."""

RunState = Literal["finished", "running", "killed", "broken", "newer"]
"""killed: it ended before it was finished, by whatever. broken: it cannot be read. newer: only a
later version of medgraft can read it."""

Part = Literal["validation", "test"]


@dataclass(frozen=True, slots=True)
class RunScenario:
    """One scenario of a run: its metric out of fold and on the test, None where not looked at."""

    key: str
    validation: Estimate | None
    test: Estimate | None
    operating: Operating | None = None
    seconds: float = 0.0


@dataclass(frozen=True, eq=False, kw_only=True)
class Run:
    """One run as its folder tells it; what the folder does not say is empty.

    reason : why it is killed or broken. when : seconds since 1970 of its end, or of the last that
    is known of it. size : bytes. data : what was studied, as it was called; fingerprint : of its
    table. validation, corrected, test : `metric` of the recommended `scenario`; of an evaluation
    or audit `test`. figures : all of its metrics, by part. changed_views : whether images were
    judged out of fold in changed views. options : what it was asked, by the field's name. seconds :
    in all; steps : by step. slowest : scenarios that took longest. barred : keys of scenarios that
    the audit failed and that made way for the recommended one.
    """

    path: str
    kind: RunKind
    state: RunState
    reason: str = ""
    when: float = 0.0
    size: int = 0
    data: str = ""
    fingerprint: str = ""
    images: int = 0
    patients: int = 0
    splits: Mapping[str, int] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    positive: str | None = None
    metric: str = ""
    scenario: str = ""
    validation: Estimate | None = None
    corrected: Estimate | None = None
    test: Estimate | None = None
    figures: Mapping[Part, Mapping[str, Estimate]] = field(default_factory=dict)
    changed_views: bool = False
    verdict: str = ""
    scenarios: tuple[RunScenario, ...] = ()
    barred: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    seconds: float = 0.0
    steps: Mapping[str, float] = field(default_factory=dict)
    slowest: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """Something that is not the same in two runs: `what` sort of thing, its name, both values.

    None where a run does not have it.
    """

    what: Literal["data", "options", "weights", "versions"]
    name: str
    a: Any
    b: Any


NotPaired = Literal[
    "", "kind", "unfinished", "classes", "positive class", "no images", "one run", "few patients"
]
"""Why no paired test was made; '' where one was."""


@dataclass(frozen=True, slots=True)
class SharedImages:
    """How the images of two runs overlap, by their ids.

    images, validation, test : in both; judged out of fold, and on the test, in both. only_a,
    only_b : in one. other_side : out of fold in one and on the test in the other. other_label : of
    another class in the other, and left out of all tests. other_patients : images whose patient's
    images are not the same ones in both.
    """

    images: int = 0
    validation: int = 0
    test: int = 0
    only_a: int = 0
    only_b: int = 0
    other_side: int = 0
    other_label: int = 0
    other_patients: int = 0


@dataclass(frozen=True, slots=True)
class PairedFigure:
    """One metric of a scenario of each run on the images that both judged.

    comparison : b minus a, with the interval over patients and p corrected for all tests of its
    kind. discounted : whether it discounts that both were chosen by these images; then the
    difference is not that of `a` and `b`. same : whether every answer is the same.
    """

    part: Part
    metric: str
    a: Estimate
    b: Estimate
    patients: int
    comparison: Comparison
    discounted: bool = False
    same: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class RunComparison:
    """Two runs beside each other.

    recommended : of what each recommends. common : of scenarios of the same key in both, by the
    metric of the first.
    """

    a: Run
    b: Run
    not_paired: NotPaired
    shared: SharedImages = SharedImages()
    recommended: tuple[PairedFigure, ...] = ()
    common: Mapping[str, PairedFigure] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()
