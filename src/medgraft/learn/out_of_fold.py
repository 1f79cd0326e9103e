"""From scores of models that have not seen an image to probabilities that keep their promise.

Each fold's scores have a unit of their own, for a strength is chosen in each. So each is calibrated
without it, and the deployed model by scores under its own strength. What is fitted on members of an
ensemble is fitted on what had seen neither the fold it judges nor the image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medgraft.data.listing import content_hash
from medgraft.evaluate.calibration import (
    Calibrator,
    calibrate_folds,
    calibrator_towards,
    fit_calibrator,
    fold_calibrators,
    halfway,
)
from medgraft.types import Floats, Ints, digest


def _digest(*arrays: Floats | None) -> str:
    return digest(*(None if a is None else content_hash(a.tobytes()) for a in arrays))


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Scores of n images by models that have not seen them, before anything is calibrated.

    scores : (n, n_classes) by each fold's model, of the images as they are. inner, final :
    (n_folds, n, n_classes) and (n, n_classes), see `learn.heads.NestedScores`; where nothing was
    chosen in the folds, there is no `inner` and `final` is `scores`. changed : (n, n_classes) of
    the images in the view in which they are judged (`Folds.view`), where there is one. learned :
    (n, n_classes) by the deployed model itself, which was told half of their labels' weight; only
    to calibrate it (`halfway`), where `final` is no stand-in for its scores.
    """

    scores: Floats
    inner: Floats | None
    final: Floats
    changed: Floats | None = None
    learned: Floats | None = None

    @property
    def fingerprint(self) -> str:
        """A hash of all of them."""
        more = [] if self.learned is None else [self.learned]
        return _digest(self.scores, self.inner, self.final, self.changed, *more)


@dataclass(frozen=True, eq=False)
class Probabilities:
    """The same, calibrated; and the calibrator of the model that is deployed.

    unchanged : (n, n_classes) of images as they are, each fold's by a calibrator without it.
    inner : (n_folds, n, n_classes) given without fold k and without the image, nan in fold k; None
    where there are none. final : (n, n_classes), of `OutOfFold.final`. changed : as
    `OutOfFold.changed`, by the calibrators of `unchanged`.
    """

    unchanged: Floats
    inner: Floats | None
    final: Floats
    changed: Floats | None
    calibrator: Calibrator

    @property
    def fingerprint(self) -> str:
        """A hash of all of them."""
        return _digest(self.unchanged, self.inner, self.final, self.changed)

    def without(self, k: int) -> Floats:
        """Probabilities (n, n_classes) by which something may be fitted that judges fold k.

        Those of images outside of it, by models that saw neither. Of a network that was trained
        there are none: then its out-of-fold ones, whose models learned from fold k.
        """
        return self.unchanged if self.inner is None else self.inner[k]


def calibrated(found: OutOfFold, y: Ints, fold: Ints) -> Probabilities:
    """Calibrate out-of-fold scores of n images, and the model that is deployed.

    A view in which images are judged changes what they score, and no calibrator: in use images come
    as they are.

    Parameters
    ----------
    y : (n,) true class. fold : (n,) the fold that judged each image, 0 .. n_folds - 1.

    Raises
    ------
    FitError, DataError
        As `fit_calibrator` and `fold_calibrators`.
    """
    calibrator = fit_calibrator(found.final, y)
    own = fold_calibrators(found.scores, y, fold, found.inner)
    changed, inner = None, None
    if found.changed is not None:
        changed = calibrate_folds(own, found.changed, fold)
    if found.inner is not None:
        inner = np.stack([own[k](scores) for k, scores in enumerate(found.inner)])
    unchanged, final = calibrate_folds(own, found.scores, fold), calibrator(found.final)
    if found.learned is not None:
        calibrator = halfway(
            fit_calibrator(found.learned, y), calibrator_towards(found.learned, unchanged)
        )
    return Probabilities(
        unchanged=unchanged,
        inner=inner,
        final=final,
        changed=changed,
        calibrator=calibrator,
    )
