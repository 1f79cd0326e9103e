"""A saved classifier at the threshold for a sensitivity or a specificity that is asked for."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from medgraft.bundle.model import bundle_folder
from medgraft.bundle.seen_before import card_of
from medgraft.errors import BundleError, DataError
from medgraft.evaluate.wished import Of, check_wish, operating_at
from medgraft.learn.kept_sets import read_own_probability
from medgraft.types import FittedScenario


def at_wish(
    model: Path | str,
    fitted: FittedScenario,
    sensitivity: float | None = None,
    specificity: float | None = None,
) -> FittedScenario:
    """The classifier of a bundle, labelling at the threshold that promises one of the two.

    As it was where neither is given. Patients' means of several images are held to the threshold
    of images, for the wish is about these.

    Raises
    ------
    DataError
        Both are given, one is no share, there are not two classes, no threshold promises so much,
        or the probabilities were adapted to other class shares.
    BundleError
        The bundle keeps nothing to choose a threshold by.
    """
    asked: list[tuple[Of, float]] = []
    if sensitivity is not None:
        asked.append(("sensitivity", check_wish("sensitivity", sensitivity)))
    if specificity is not None:
        asked.append(("specificity", check_wish("specificity", specificity)))
    if not asked:
        return fitted
    if len(asked) > 1:
        raise DataError("one threshold promises one of --sensitivity and --specificity; give one")
    ((of, wanted),) = asked
    if fitted.positive is None:
        raise DataError(
            f"a model of {len(fitted.classes)} classes has no threshold; leave --{of} out"
        )
    folder = bundle_folder(Path(model))
    card = card_of(folder)
    if card is not None and card["class_shares"] is not None:
        raise DataError(
            f"{folder} was adapted to other class shares, for which no threshold was measured; "
            f"give --{of} with the model it was made from"
        )
    own = read_own_probability(folder)
    if own is None:
        raise BundleError(
            f"{folder} keeps nothing to choose a threshold by (it is of an earlier version, or was "
            "saved from Python); run its study again, whose codes are in the cache"
        )
    operating = operating_at(own, fitted.classes.index(fitted.positive), of, wanted)
    return dataclasses.replace(fitted, operating=operating)  # type: ignore[type-var]
