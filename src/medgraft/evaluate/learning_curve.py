"""The points of a learning curve, how sure each is, and what twice the images would bring."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from medgraft.evaluate.compare import of_all
from medgraft.evaluate.influence import influence
from medgraft.evaluate.intervals import number_groups, ones
from medgraft.evaluate.metrics import METRICS, Case
from medgraft.evaluate.power_law import LEVEL, Points, double, spread_of
from medgraft.results.recommendation import CurvePoint, LearningCurve
from medgraft.types import Estimate

LEAST_LOSS = 1e-4  # below which nothing is left to gain


def curve_of(
    scenario: str,
    cases: Sequence[Case],
    shares: Sequence[float],
    metric: str,
    learned: float,
    margin: float,
) -> LearningCurve:
    """The learning curve of draws that were judged on the same images.

    cases : one a draw. shares : (n_cases,) of the patients that each learned from. learned : images
    that all of them are.
    """
    points = points_of(cases, shares, metric)
    sign, n = METRICS[metric].sign, len(cases[0].y)
    best = 1.0 if sign > 0 else 0.0

    def figure(loss: Sequence[float], method: str) -> Estimate:
        """A loss with its ends as a figure of the metric."""
        value, *ends = (best - sign * one for one in loss)
        return Estimate(value, min(ends), max(ends), n, method)

    none_left = not np.isfinite(points.losses).all() or points.losses.min() < LEAST_LOSS
    spread = np.zeros(len(points.losses)) if none_left else np.sqrt(np.diag(spread_of(points)))
    wide = np.exp(float(stats.norm.isf((1 - LEVEL) / 2)) * spread)
    method = "normal in the logarithm of the loss, by influences and draws"
    shown = tuple(
        CurvePoint(
            share=float(points.shares[i]),
            n_images=round(float(points.shares[i]) * learned),
            draws=int(points.repeats[i]),
            estimate=figure((loss, loss / wide[i], loss * wide[i]), method),
        )
        for i, loss in enumerate(points.losses.tolist())
    )
    if none_left:
        return LearningCurve(scenario, shown, None, None, margin, "no error left")
    found = double(points)
    law = f"power law through {len(shown)} points, {len(cases)} draws"
    return LearningCurve(
        scenario=scenario,
        points=shown,
        twice=figure(found.loss, law),
        gain=Estimate(*found.gain, n, law),
        margin=margin,
    )


def points_of(cases: Sequence[Case], shares: Sequence[float], metric: str) -> Points:
    """The losses at each share, with what is known of their errors.

    cases : of the same images, one a draw. shares : (n_cases,) that each learned from.
    """
    values = of_all(cases, metric)(ones(len(cases[0].y)))[:, 0]
    losses = 1 - values if METRICS[metric].sign > 0 else values
    index, n_groups = number_groups(cases[0].groups)
    moved = np.stack([np.bincount(index, influence(one, metric), n_groups) for one in cases])
    moved -= moved.mean(axis=1, keepdims=True)
    distinct, which = np.unique(np.asarray(shares), return_inverse=True)
    repeats = np.bincount(which).astype(float)
    mean = (np.arange(len(distinct))[:, None] == which) / repeats[:, None]  # (points, cases)
    points, by_point = mean @ losses, mean @ moved
    squares = mean @ (losses - points[which]) ** 2 * repeats
    draws = np.where(repeats > 1, squares / np.maximum(repeats - 1, 1), np.nan)
    judged = by_point @ by_point.T * n_groups / max(n_groups - 1, 1)
    return Points(distinct, points, judged, draws, repeats)
