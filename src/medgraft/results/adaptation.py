"""What unlabelled images of another place say of a saved classifier there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from medgraft.types import Estimate, Operating, SeenBefore, Skipped

# same place: nothing to adapt. other mix: the images look alike, the classes' shares differ. other
# look: within what is called one class they can be told from those learned from.
Verdict = Literal["same place", "other mix", "other look"]


@dataclass(frozen=True, slots=True)
class ClassShare:
    """The share of a class in what was learned from, and here by EM (Saerens et al. 2002)."""

    name: str
    learned: float
    here: Estimate


@dataclass(frozen=True, slots=True)
class NewThreshold:
    """A threshold set on unlabelled images, and how many labels it changes.

    operating : at the probabilities of the classifier as it would be written.
    """

    operating: Operating
    changed: int


@dataclass(frozen=True, eq=False)
class Adaptation:
    """What n unlabelled images of another place say, and what was written for it.

    learned : images that the classifier learned from, by how many short codes are kept of them.
    labelled : images whose label was given, and was not looked at. shift : AUROC by which new
    images can be told from those learned from, labels held equal; None where that could not be
    tried. p : its chance. unlike : the share of the images that look less like any others than
    19 in 20 of those learned from. out_of_fold, atc, doc : accuracy as it was measured, and as it
    may be here. shares : of the classes; p_shares : the chance of such a difference. operating :
    of the classifier as it is; None for more than two classes. threshold : what it would be here.
    prior : whether the probabilities were set anew. written : whether a classifier was.
    """

    scenario: str
    n: int
    n_groups: int
    learned: int
    labelled: int
    seen: SeenBefore
    skipped: tuple[Skipped, ...]
    verdict: Verdict
    shift: Estimate | None
    p: float | None
    unlike: Estimate
    out_of_fold: Estimate
    atc: Estimate
    doc: Estimate
    shares: tuple[ClassShare, ...]
    p_shares: float
    operating: Operating | None
    threshold: NewThreshold | None
    prior: bool = False
    written: bool = False
