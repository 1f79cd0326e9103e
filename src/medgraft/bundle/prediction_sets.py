"""The set of classes that a saved classifier gives an image beside its label.

Sets are by the probabilities that the classifier learned to give, whatever class shares its answers
were set to since (`--class-shares`, `medgraft adapt`): each class is held to images of its own
class alone, so that how common it is plays no part.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from medgraft.bundle.model import bundle_folder
from medgraft.bundle.predict import Prediction
from medgraft.bundle.seen_before import card_of
from medgraft.errors import BundleError
from medgraft.evaluate.conformal import (
    ALPHA,
    OwnProbability,
    Sets,
    check_alpha,
    describe_sets,
    sets_at,
)
from medgraft.evaluate.metrics import judge
from medgraft.learn.bundle_files import read_bundle
from medgraft.learn.kept_sets import read_own_probability
from medgraft.results.figures import SetFigures
from medgraft.types import FittedScenario, Floats, Ints, Predictions


def with_sets(
    model: Path | str, fitted: FittedScenario, rows: Sequence[Prediction], alpha: float | None
) -> list[Prediction]:
    """What `predict_files` gave, with the set of each image; as it was if there are none to give.

    alpha : the share of each class that sets may miss; None for the usual one.

    Raises
    ------
    DataError
        `alpha` does not lie between 0 and 1.
    BundleError
        `alpha` was given and the bundle keeps nothing to make sets by, or it is damaged.
    """
    sets_of = PredictionSets.of(bundle_folder(Path(model)), alpha)
    return list(rows) if sets_of is None else sets_of.beside(fitted, rows)


@dataclass(frozen=True, eq=False)
class PredictionSets:
    """What a bundle keeps to make sets by, read once.

    thresholds : (n_classes,) from which probability on a class is in a set. moved : (n_classes,)
    what its biases were raised by when it was adapted to other class shares; None where it was not.
    """

    own: OwnProbability
    thresholds: Floats
    moved: Floats | None

    @classmethod
    def of(cls, folder: Path, alpha: float | None) -> Self | None:
        """By the bundle in that folder; None where it keeps nothing; errors as of `with_sets`."""
        own = _own(folder, alpha)
        if own is None:
            return None
        thresholds = own.thresholds(ALPHA if alpha is None else alpha)
        return cls(own, thresholds, _moved(folder))

    def sets(self, prob: Floats, labels: Ints) -> Sets:
        """(n, n_classes) whether each class is in the set of each image."""
        return sets_at(_as_learned(prob, self.moved), labels, self.thresholds)

    def beside(self, fitted: FittedScenario, rows: Sequence[Prediction]) -> list[Prediction]:
        """The rows with the set of each image that was read."""
        said = [row.answer for row in rows if row.answer]
        if not said:
            return list(rows)
        prob = np.array([[one.probabilities[name] for name in fitted.classes] for one in said])
        labels = np.array([fitted.classes.index(one.label) for one in said])
        sets = iter(self.sets(prob, labels).tolist())
        return [
            dataclasses.replace(row, classes=_named(fitted.classes, next(sets)))
            if row.answer
            else row
            for row in rows
        ]


def _named(classes: Sequence[str], held: Sequence[bool]) -> tuple[str, ...]:
    return tuple(name for name, is_in in zip(classes, held, strict=True) if is_in)


def figures_of_sets(
    folder: Path, fitted: FittedScenario, said: Predictions, alpha: float | None
) -> SetFigures | None:
    """How well the sets of labelled images do; None where there are none to give.

    Raises
    ------
    DataError, BundleError
        As `with_sets`.
    """
    sets_of = PredictionSets.of(folder, alpha)
    if sets_of is None:
        return None
    level = ALPHA if alpha is None else alpha
    labels = judge(said, fitted.operating).labels
    always = tuple(fitted.classes[k] for k in sets_of.own.too_few(level))
    return describe_sets(sets_of.sets(said.y_prob, labels), said, level, always)


def _own(folder: Path, alpha: float | None) -> OwnProbability | None:
    """What the bundle keeps to make sets by; an error where they were asked for and it does not."""
    if alpha is not None:
        check_alpha(alpha)
    own = read_own_probability(folder)
    if own is None and alpha is not None:
        raise BundleError(
            f"{folder} keeps nothing to make prediction sets by (it is of an earlier version, or "
            "was saved from Python); run its study again, whose codes are in the cache, or leave "
            "--alpha out"
        )
    return own


def _moved(folder: Path) -> Floats | None:
    card = card_of(folder)
    if card is None or card["class_shares"] is None:
        return None
    now = read_bundle(folder)["calibrator"]["biases"]
    return np.asarray(np.array(now) - np.array(card["calibrator_before"]["biases"]))


def _as_learned(prob: Floats, moved: Floats | None) -> Floats:
    """Probabilities (n, n_classes) before the classifier was adapted to other class shares."""
    if moved is None:
        return prob
    before = prob * np.exp(-moved)
    return np.asarray(before / before.sum(axis=1, keepdims=True))
