"""What the card of a model says: facts alone; `report/text/model_card.py` words them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from medgraft.results.runs import Run
from medgraft.types import Card, Estimate, Operating, PixelRule


@dataclass(frozen=True, slots=True)
class RegionEffect:
    """A finding of the audit about a region, without the images that it names.

    effect, low, high : share of labels that follow the region; None where it is no such finding.
    """

    check: str
    severity: str
    region: str
    effect: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, eq=False, kw_only=True)
class ModelFacts:
    """A saved classifier and its study, without a name of a patient, an image or a path.

    networks : how many answer together. size : of the canvas in pixels. edits : keys. learned :
    images of each class learned from; empty where it is not known. run : its study; None where the
    model lies alone. slope : of the calibration, by part. coverage : of prediction sets of level
    `alpha`, by part. adapted : images that it was adapted by, 0 if it was not.
    """

    key: str
    classes: tuple[str, ...]
    positive: str | None
    operating: Operating | None
    networks: int
    cards: tuple[Card, ...]
    size: int
    resize: str
    edits: tuple[str, ...]
    rule: PixelRule
    learned: Mapping[str, int]
    run: Run | None = None
    slope: Mapping[str, Estimate] = field(default_factory=dict)
    coverage: Mapping[str, Estimate] = field(default_factory=dict)
    alpha: float = 0.0
    regions: tuple[RegionEffect, ...] = ()
    adapted: int = 0
