"""What is drawn of one set of predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from medgraft.types import Estimate, Floats


@dataclass(frozen=True, eq=False)
class Curve:
    """The corners of a curve, x and y (n_corners,), and its band, low and high (101,), on `grid`.

    ROC: x is 1 - specificity, y sensitivity. Precision-recall: x is recall, y precision. Where
    resamples show no spread, the band is Wilson's.
    """

    x: Floats
    y: Floats
    grid: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Images of like probability: their mean, and how often what it was given for came true."""

    predicted: float
    observed: Estimate


@dataclass(frozen=True, eq=False)
class DecisionCurve:
    """Net benefit an image at each threshold, all (n_thresholds,), with its band.

    threshold : from which probability on one acts. everyone : the net benefit of acting on all.
    """

    threshold: Floats
    benefit: Floats
    low: Floats
    high: Floats
    everyone: Floats


@dataclass(frozen=True, eq=False)
class Curves:
    """What is drawn of one set of predictions.

    roc : of two classes the positive one's, of more one for each of the first, against the rest;
    None where there is no image of the class, or no other. precision_recall, decision : of the
    positive one of two classes.
    """

    roc: Mapping[str, Curve | None]
    precision_recall: Curve | None
    reliability: tuple[ReliabilityBin, ...]
    decision: DecisionCurve | None = None
