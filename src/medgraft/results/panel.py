"""What a study of several findings holds: each of them, all together, and in whose company."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from medgraft.panel import Uncertain
from medgraft.results.figures import Comparison
from medgraft.types import Estimate, Finding, Operating, Skipped, Verdict

Told = Literal["told", "not told"]
"""Whether a finding is told from chance, corrected for the number of findings."""


@dataclass(frozen=True, slots=True)
class OtherReading:
    """A finding's figure had its uncertain images been taken as something else.

    n_images, n_with : of its question then. figure : of the same scenario, out of fold in the same
    folds; None where it would have had to train a network, or could not be judged.
    """

    uncertain: Uncertain
    n_images: int
    n_with: int
    figure: Estimate | None


@dataclass(frozen=True, slots=True)
class FindingAudit:
    """The audit of what serves a finding: its verdict, and by how many pairs of images."""

    verdict: Verdict
    pairs: int


@dataclass(frozen=True, eq=False, slots=True)
class FindingResult:
    """One finding that was judged.

    folder : of its own study, below the panel's. n_images, n_with, n_groups : of the images of
    which it is known, test included; n_uncertain : of those that were looked at and not decided.
    share : how common it is. validation, test : by metric, of its scenario. own : the scenario that
    its own study would have recommended. p : of the AUROC against chance, on test images where
    there are some with and without it (`tested`), corrected by Holm over the findings. audit :
    where a budget had time for it.
    """

    name: str
    folder: str
    n_images: int
    n_with: int
    n_groups: int
    n_uncertain: int
    share: Estimate
    scenario: str
    own: str
    validation: Mapping[str, Estimate]
    test: Mapping[str, Estimate] | None
    corrected: Estimate
    operating: Operating | None
    p: float
    tested: bool
    told: Told
    others: tuple[OtherReading, ...] = ()
    audit: FindingAudit | None = None


@dataclass(frozen=True, slots=True)
class ShortFinding:
    """A finding that is not judged: patients with it and without it, and how many of each would do.

    torn : there are enough, but they have other findings too, so that no fold could be made.
    """

    name: str
    images: int
    with_it: int
    without: int
    needed: int
    torn: bool = False


@dataclass(frozen=True, slots=True)
class OneScenario:
    """One scenario for all findings against each its own, by the mean over the findings.

    one : the key that would serve all. difference : own minus one, both choices discounted, judged
    on images that had no part in them, with its interval. taken : which was; asked : as was asked.
    """

    one: str
    difference: float
    low: float
    high: float
    taken: Literal["one", "own"]
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Company:
    """How well a finding is told among images without another one.

    usual : its AUROC out of fold on all its images; alone : on those known to be without `without`.
    together, apart : images that have both, and that have the finding alone. difference : alone
    minus usual, paired, with p corrected by Holm over the pairs.
    """

    name: str
    without: str
    together: int
    apart: int
    usual: Estimate
    alone: Estimate
    difference: Comparison

    @property
    def only(self) -> bool:
        """Whether, without the other, it is not told from chance."""
        return self.alone.low <= 0.5


@dataclass(frozen=True, eq=False)
class PanelResult:
    """A finished panel.

    findings : that were judged, as the data name them; short : that were not. macro : by `test` or
    `validation`, then by metric, the mean over the findings. company : of each pair with enough
    images; pairs : in how many images two findings are there together, by their names, and
    `known_pairs` in how many both are known. notes : what is to be said of the data. budget :
    seconds that all might take, by which findings were audited; 0 where none was asked for.
    """

    metric: str
    data: Mapping[str, Any]
    uncertain: Uncertain
    findings: tuple[FindingResult, ...]
    short: tuple[ShortFinding, ...]
    scenario: OneScenario
    macro: Mapping[str, Mapping[str, Estimate]]
    company: tuple[Company, ...]
    pairs: Mapping[tuple[str, str], int]
    known_pairs: Mapping[tuple[str, str], int]
    notes: tuple[Finding, ...]
    skipped: tuple[Skipped, ...]
    versions: Mapping[str, str]
    seconds: float
    how: Mapping[str, str] = field(default_factory=dict)
    budget: float = 0.0

    def warnings(self) -> tuple[Company, ...]:
        """The pairs in which a finding is told less well without the other, gravest first."""
        lost = [one for one in self.company if one.difference.high < 0 and one.difference.p < 0.05]
        return tuple(sorted(lost, key=lambda one: one.difference.difference))
