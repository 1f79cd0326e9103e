"""Medgraft's own way from codes to what is promised and what is deployed, as a study takes it.

The one place of the proof that knows how; what is said of it is measured elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medgraft.data.split import make_folds
from medgraft.evaluate.calibration import Calibrator, fit_calibrator
from medgraft.evaluate.threshold import choose_threshold
from medgraft.learn.ensemble_cv import cross_combine
from medgraft.learn.estimators import HEADS, Head, KNNHead, LDAHead
from medgraft.learn.heads import NestedScores, nested_scores
from medgraft.learn.out_of_fold import OutOfFold, Probabilities, calibrated
from medgraft.learn.stacking import Stack, fit_stack, log, stacked
from medgraft.types import Floats, Folds, ImageTable, Ints, Predictions


@dataclass(frozen=True, eq=False)
class Promise:
    """What cross-validation says: out-of-fold predictions, and how the deployed model is used."""

    predictions: Predictions
    probabilities: Probabilities
    threshold: float

    @property
    def calibrator(self) -> Calibrator:
        """That of the deployed model."""
        return self.probabilities.calibrator


@dataclass(frozen=True, eq=False)
class Crossed:
    """A head that was cross-validated and fitted on all images."""

    head: str
    nested: NestedScores
    folds: Folds
    promise: Promise

    def scores(self, X: Floats) -> Floats:
        """Scores (n, n_classes) of new images by the deployed head, before calibration."""
        return np.asarray(self.nested.head.decision_function(X))


def promised(found: OutOfFold, table: ImageTable, folds: Folds) -> Promise:
    """Calibrate, and choose the threshold; images are judged as they are."""
    made = calibrated(found, table.labels, folds.assignment)
    said = Predictions.of("s", table, found.scores, made.unchanged, folds.assignment)
    threshold = choose_threshold(said).threshold if table.positive else np.nan
    return Promise(said, made, threshold)


def cross(
    head: str,
    X: Floats,
    table: ImageTable,
    changed: Floats | None = None,
    folds: Folds | None = None,
) -> Crossed:
    """Cross-validate a head on codes X (n, d), in five folds where none are given.

    changed : (n, d) codes of the images in the view in which scenarios are compared.
    """
    folds, n = folds or make_folds(table), len(X)
    source, times = (X, 1) if changed is None else (np.concatenate([X, changed]), 2)
    nested = nested_scores(
        head,
        source,
        np.tile(table.labels, times),
        np.tile(folds.assignment, times),
        folds.n_folds,
        sample_weight=np.repeat([1.0, 0.0][:times], n),  # what is changed is judged only
        groups=np.tile(table.groups, times),
    )
    found = OutOfFold(
        scores=nested.scores[:n],
        inner=None if nested.inner is None else nested.inner[:, :n],
        final=nested.final_scores[:n],
        changed=None if changed is None else nested.scores[n:],
    )
    return Crossed(head, nested, folds, promised(found, table, folds))


def fold_models(one: Crossed, X: Floats, y: Ints) -> list[Head]:
    """The models that judged, fitted again at the strengths that were chosen.

    Their scores are the ones that `nested_scores` gave, to three digits; it keeps no models. A
    strength C is that of all images, and as much larger of a fold's.
    """
    models: list[Head] = []
    for k, strength in enumerate(one.nested.chosen):
        inside = one.folds.assignment != k
        kind = HEADS[one.head]
        if kind is KNNHead:
            model: Head = KNNHead(int(strength))
        elif kind is LDAHead:
            model = LDAHead(strength)
        else:
            model = kind(strength / inside.mean())
        models.append(model.fit(X[inside], y[inside]))
    return models


@dataclass(frozen=True, eq=False)
class Joined:
    """Members stacked."""

    members: Sequence[Crossed]
    stack: Stack
    promise: Promise

    def scores(self, codes: Sequence[Floats]) -> Floats:
        """Scores (n, n_classes) of new images, from each member's codes."""
        pairs = zip(self.members, codes, strict=True)
        return np.asarray(
            stacked([m.promise.calibrator(m.scores(X)) for m, X in pairs], self.stack)
        )


def join(members: Sequence[Crossed], table: ImageTable) -> Joined:
    """Stack heads that were cross-validated in the same folds."""
    folds = members[0].folds
    probabilities = [member.promise.probabilities for member in members]
    found, stack = cross_combine("stack", probabilities, table.labels, folds.assignment)
    assert stack is not None  # for the type checker
    return Joined(members, stack, promised(found, table, folds))


def fold_stacks(
    one: Joined, codes: Sequence[Floats], new: Sequence[Floats], table: ImageTable
) -> list[Floats]:
    """Scores (n_new, n_classes) of new images by the stack of each fold, fitted again.

    codes, new : each member's codes, of the images learned from and of new ones.
    """
    y, fold = table.labels, one.members[0].folds.assignment
    models = [fold_models(member, X, y) for member, X in zip(one.members, codes, strict=True)]
    found = []
    for k in range(one.members[0].folds.n_folds):
        others, prob = fold != k, []
        for member, own, X in zip(one.members, models, new, strict=True):
            inner = member.nested.inner
            assert inner is not None  # for the type checker
            calibrator = fit_calibrator(inner[k][others], y[others])
            prob.append(calibrator(np.asarray(own[k].decision_function(X))))
        inside = [member.promise.probabilities.without(k)[others] for member in one.members]
        stack = fit_stack([log(p) for p in inside], y[others])
        found.append(np.asarray(stacked(prob, stack)))
    return found
