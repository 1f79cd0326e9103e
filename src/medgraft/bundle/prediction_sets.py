"""The set of classes that a saved classifier gives an image beside its label.

Sets are by the probabilities that the classifier learned to give, whatever class shares its answers
were set to since (`--class-shares`, `medgraft adapt`): each class is held to images of its own
class alone, so that how common it is plays no part.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

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
from medgraft.types import FittedScenario, Floats, Ints, Predictions, SetFigures


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
    folder = bundle_folder(Path(model))
    own = _own(folder, alpha)
    said = [row.answer for row in rows if row.answer]
    if own is None or not said:
        return list(rows)
    prob = np.array([[one.probabilities[name] for name in fitted.classes] for one in said])
    labels = np.array([fitted.classes.index(one.label) for one in said])
    sets = iter(_sets(folder, own, prob, labels, alpha))

    def named(held: Sequence[bool]) -> tuple[str, ...]:
        return tuple(name for name, is_in in zip(fitted.classes, held, strict=True) if is_in)

    return [
        dataclasses.replace(row, classes=named(next(sets).tolist())) if row.answer else row
        for row in rows
    ]


def figures_of_sets(
    folder: Path, fitted: FittedScenario, said: Predictions, alpha: float | None
) -> SetFigures | None:
    """How well the sets of labelled images do; None where there are none to give.

    Raises
    ------
    DataError, BundleError
        As `with_sets`.
    """
    own = _own(folder, alpha)
    if own is None:
        return None
    level = ALPHA if alpha is None else alpha
    labels = judge(said, fitted.operating).labels
    sets = _sets(folder, own, said.y_prob, labels, alpha)
    always = tuple(fitted.classes[k] for k in own.too_few(level))
    return describe_sets(sets, said, level, always)


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


def _sets(
    folder: Path, own: OwnProbability, prob: Floats, labels: Ints, alpha: float | None
) -> Sets:
    level = ALPHA if alpha is None else alpha
    return sets_at(_as_learned(folder, prob), labels, own.thresholds(level))


def _as_learned(folder: Path, prob: Floats) -> Floats:
    """Probabilities (n, n_classes) before the classifier was adapted to other class shares."""
    card = card_of(folder)
    if card is None or card["class_shares"] is None:
        return prob
    now = read_bundle(folder)["calibrator"]["biases"]
    before = card["calibrator_before"]["biases"]
    moved = prob * np.exp(np.array(before) - np.array(now))
    return np.asarray(moved / moved.sum(axis=1, keepdims=True))
