"""What an audit of a classifier's evidence found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from medgraft.results.recommendation import AuditResult
from medgraft.types import Estimate, Floats, Pixels

Mask = NDArray[np.bool_]
Role = Literal["declared", "suspect", "map", "evidence"]

RING = "border ring"
CORNERS = ("top left corner", "top right corner", "bottom left corner", "bottom right corner")
OUTSIDE, INSIDE = "outside the masks", "inside the masks"
EVIDENCE = "everything not declared"
MOVED = ", moved"  # at the end of a region's name: put in the opposite corner

# Fixed before `experiments/planted.py` was first run; see docs/audit.md.
POINTS = 0.05  # of labels that follow a region: less does not matter
RANKING = 0.02  # of AUROC
DECIDES: Final = "region_decides"  # the one check that can fail a model
UNDECIDED: Final = "region_undecided"
FEW_PAIRS = 30  # of donors
FEW_OF_CLASS = 50  # images of a class below which nothing is decided
FEW_PAIRS_OF_CLASS = 12  # of several classes, of donors of whom one is of the class
LEVEL = 0.01  # chance of any false alarm in a family


@dataclass(frozen=True, slots=True)
class RegionEffect:
    """What the class content of one region does.

    of_class : the class whose pairs show it most, '' where there are two classes. points : by how
    many images in a hundred (as a share) the label follows the donor's class. ranking : AUROC with
    every region from the own class, minus with every region from the other. shift : mean of D.
    p : corrected for the family. visible : the smallest share of labels that the content cannot
    turn unseen: it would have been found with 80 % power, or lies above what the intervals of D or
    of `points` leave possible. pairs : of donors. enough : whether there are images enough of each
    class to decide anything. against : p is of the other way round, for labels of the class
    that the region is not taken from.
    """

    region: str
    role: Role
    of_class: str
    points: Estimate
    ranking: float
    shift: float
    p: float
    visible: float
    pairs: int
    enough: bool = True
    against: bool = False

    @property
    def decides(self) -> bool:
        """Whether it is certain and large enough to matter, with images enough to say so."""
        return self.sure and not self.against

    @property
    def turns_against(self) -> bool:
        """The same, but labels follow the class that the region is not taken from."""
        return self.sure and self.against

    @property
    def undecided(self) -> bool:
        """Whether it would decide, either way, were there images enough to say so."""
        return self.large and not self.enough

    @property
    def sure(self) -> bool:
        """Whether it decides, either way."""
        return self.large and self.enough

    @property
    def large(self) -> bool:
        """Whether it is certain and large enough to matter, either way."""
        way = -1 if self.against else 1
        return self.p < LEVEL and (
            way * self.points.value >= POINTS or way * self.ranking >= RANKING
        )


@dataclass(frozen=True, slots=True)
class SkillLeft:
    """AUROC with the evidence and without it, and the share of the skill above chance that is left.

    share : (without - 1/2) / (before - 1/2), from 0 to 1, with its interval.
    """

    before: float
    without: float
    share: Estimate


@dataclass(frozen=True, eq=False, slots=True)
class Picture:
    """An image, a region of it (`place`, (side, side) bool), and what the model says of it.

    label, probability : the class given, and its probability. map : its heatmap (height, width),
    0..1, where that is what the image is shown for.
    """

    title: str
    id: str
    pixels: Pixels
    place: Mask
    label: str
    probability: float
    map: Floats | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Exchange:
    """An image, another of class `truths[1]`, and the first with a region of the second."""

    region: str
    pictures: tuple[Picture, Picture, Picture]
    truths: tuple[str, str]


@dataclass(frozen=True, eq=False, slots=True)
class Minority:
    """Images called `label` whose heatmaps are of another kind than the rest's, and some of these.

    The pictures have heatmaps; their `place` is where the first have more energy.
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
