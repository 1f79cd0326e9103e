"""What is drawn of one set of predictions."""

from __future__ import annotations

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
