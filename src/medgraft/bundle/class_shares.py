"""Answers for classes that are as common as said, or as the images seem to have them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medgraft.bundle.model import bundle_folder
from medgraft.bundle.predict import Classification, Prediction
from medgraft.bundle.seen_before import learned_from, shares_behind
from medgraft.errors import DataError
from medgraft.evaluate.prior import LEAST, PriorShift, adjust, check_shares, estimate_shares
from medgraft.types import FittedScenario, Floats, Operating, Strings

TRAINING, ESTIMATE = "training", "estimate"  # words that --class-shares takes besides numbers
# A threshold chosen for its balanced accuracy does not depend on shares, and so says nothing of
# which label is the likelier one at others; nor does one chosen so for patients.
MOST_PROBABLE = Operating(0.5, "the most probable class at these class shares")
ASSUMPTION = (
    "only the mix of classes changed, and the images of one class look as they did in training; "
    "another machine, exposure or severity is mistaken for another mix"
)


@dataclass(frozen=True, eq=False)
class ClassShares:
    """Shares of the classes that probabilities were adjusted to, and what they were before.

    training, used : (n_classes,). estimated : how they were found in the images; None where they
    were given.
    """

    classes: tuple[str, ...]
    training: tuple[float, ...]
    used: tuple[float, ...]
    estimated: PriorShift | None

    @property
    def by_class(self) -> dict[str, float]:
        """The shares that were used, by class."""
        return dict(zip(self.classes, self.used, strict=True))

    def json(self) -> dict[str, Any]:
        """The same as plain JSON."""
        found = self.estimated
        return {
            "training": dict(zip(self.classes, self.training, strict=True)),
            "used": self.by_class,
            "estimated": found
            and {
                "shares": {
                    name: dataclasses.asdict(share)
                    for name, share in zip(self.classes, found.shares, strict=True)
                },
                "statistic": found.statistic,
                "p": found.p,
                "method": found.method,
            },
            "rule": MOST_PROBABLE.rule,
            "assumption": ASSUMPTION,
        }


def class_shares_of(
    asked: str, classes: Sequence[str], learned: Mapping[str, float], prob: Floats, groups: Strings
) -> ClassShares:
    """The shares asked for: `estimate`, from the images' probabilities, or such as `0.3,0.7`.

    Parameters
    ----------
    learned : how common each class is where the probabilities are right: images of each that the
    classifier learned from, or shares.
    prob : (n_images, n_classes) of the images, calibrated. groups : (n_images,).

    Raises
    ------
    DataError
        The text is no shares; it is not known what the classifier learned from; or there are fewer
        than 20 images.
    """
    counts = np.array([learned.get(name, 0) for name in classes], float)
    if not counts.all():
        missing = ", ".join(name for name in classes if not learned.get(name))
        raise DataError(
            f"how many images of {missing} the model learned from is not known, for it lies apart "
            "from its run (predictions.parquet, result.json); give the run's folder, or leave "
            f"--class-shares at {TRAINING}"
        )
    if len(prob) < LEAST:
        raise DataError(
            f"--class-shares {asked} with {len(prob)} images: class shares are a matter of many "
            f"images; give at least {LEAST}, or leave it at {TRAINING}"
        )
    training = counts / counts.sum()
    found = estimate_shares(prob, training, groups) if asked == ESTIMATE else None
    used = found.values if found else _shares_in(asked, classes)
    return ClassShares(tuple(classes), tuple(training.tolist()), tuple(used.tolist()), found)


def _shares_in(text: str, classes: Sequence[str]) -> Floats:
    """The shares that a text such as `0.3,0.7` gives, one a class."""
    try:
        return check_shares([float(word) for word in text.split(",")], len(classes))
    except (ValueError, DataError) as error:
        reason = f" ({error})" if isinstance(error, DataError) else ""
        raise DataError(
            f"--class-shares {text!r} gives no shares of {', '.join(classes)}{reason}; say "
            f"{TRAINING}, {ESTIMATE}, or a number for each, in this order, such as "
            + ",".join(f"{1 / len(classes):.2g}" for _ in classes)
        ) from error


def adjust_rows(
    model: Path | str, fitted: FittedScenario, rows: Sequence[Prediction], class_shares: str
) -> tuple[list[Prediction], ClassShares]:
    """What `predict_files` gave, with the answers at other class shares beside them; the shares.

    Raises
    ------
    DataError
        As `class_shares_of`.
    """
    folder = bundle_folder(Path(model))
    read = [(row.source, row.answer.probabilities) for row in rows if row.answer]
    ids = np.array([source for source, _ in read], str)
    learned = shares_behind(folder, learned_from(folder, fitted))
    before = [[p[name] for name in fitted.classes] for _, p in read]
    prob = np.array(before, float).reshape(len(read), len(fitted.classes))
    shares = class_shares_of(class_shares, fitted.classes, learned, prob, ids)
    after = iter(adjust(prob, shares.training, shares.used).tolist())

    def adjusted(p: list[float]) -> Classification:
        label = fitted.classes[int(np.argmax(p))]
        return Classification(label, dict(zip(fitted.classes, p, strict=True)))

    found = [
        dataclasses.replace(row, adjusted=adjusted(next(after))) if row.answer else row
        for row in rows
    ]
    return found, shares
