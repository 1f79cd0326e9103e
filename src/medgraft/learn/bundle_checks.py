"""Whether what a bundle says can be meant: types, ranges, and that its parts fit each other.

Hashes tell that a file is the one that was written, and not that who wrote it meant well. All raise
ValueError or TypeError, which the readers make `BundleError`s of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np

from medgraft.errors import MedgraftError
from medgraft.features.encoders import BaseEncoder, check_pooling
from medgraft.learn.estimators import Head
from medgraft.types import Card, FeatureSpec, Join, ResizeRule

LARGEST_SIDE = 8192  # pixels a side of a canvas
MOST_VIEWS = 1000


def check_said(content: dict[str, Any]) -> None:
    """Refuse classes, a positive class, a threshold or a calibrator that make no sense."""
    classes, positive = content["classes"], content["positive"]
    _want(
        isinstance(classes, list)
        and len(classes) > 1
        and all(isinstance(name, str) and name for name in classes)
        and len({*classes}) == len(classes),
        f"classes {str(classes)[:80]} are not two or more names that differ",
    )
    _want(positive is None or positive in classes, f"positive {positive!r} is no class")
    operating, calibrator = content["operating"], content["calibrator"]
    if operating is not None:
        _check_operating(operating)
    if (grading := content.get("grading")) is not None:
        numbers, cuts = grading["values"], grading["cuts"]
        _want(
            all(type(one) is int for one in numbers)
            and len(numbers) == len(classes)
            and numbers == sorted({*numbers}),
            f"grades {str(numbers)[:80]} are not a rising number for each class",
        )
        _want({*cuts} <= {*classes[1:]}, f"a threshold is of no grade: {str([*cuts])[:80]}")
        for cut in cuts.values():
            _check_operating(cut)
    _want(_finite(calibrator["slope"], "slope") > 0, "the calibrator's slope is not positive")
    biases = [_finite(one, "a bias") for one in calibrator["biases"]]
    _want(len(biases) == len(classes), f"{len(biases)} biases for {len(classes)} classes")


def _check_operating(operating: dict[str, Any]) -> None:
    _finite(operating["threshold"], "threshold")
    _want(isinstance(operating["rule"], str), "the rule of the threshold is no text")
    if operating.get("by_group") is not None:
        _finite(operating["by_group"], "by_group")


def check_card(card: Card) -> None:
    """Refuse an input size or a normalisation that no network has."""
    _side(card.size)
    for name, least in (("mean", -math.inf), ("std", 0.0)):
        values = getattr(card, name)
        _want(
            len(values) == 3 and all(_finite(one, name) > least for one in values),
            f"{name} {values} is not one number for each of red, green and blue",
        )


def check_spec(spec: FeatureSpec) -> None:
    """Refuse a recipe of codes whose pixels, taps or poolings make no sense."""
    _side(spec.size)
    _want(type(spec.base) is int and 0 <= spec.base <= LARGEST_SIDE, f"base {spec.base!r}")
    _want(spec.resize in get_args(ResizeRule), f"no resize rule {spec.resize!r}")
    _want(
        bool(spec.taps) and all(isinstance(tap, str) for tap in spec.taps), "a recipe names no tap"
    )
    for pooling in spec.poolings:
        check_pooling(pooling)


def check_plan(views: Sequence[Sequence[FeatureSpec]], join: str) -> None:
    """Refuse a plan without parts, or that joins them in no known way."""
    _want(0 < len(views) <= MOST_VIEWS and all(map(len, views)), "it reads no part of an image")
    _want(join in get_args(Join), f"no join {join!r}")


def check_stack(stack: dict[str, Any], n_members: int) -> None:
    """Refuse weights and scales that are not one for each member."""
    weights = [_finite(one, "a weight") for one in stack["weights"]]
    scales = [_finite(one, "a scale") for one in stack["scales"]]
    _want(len(weights) == len(scales) == n_members, f"a stack of {len(weights)} members")
    _want(min(weights) >= 0 and min(scales) > 0, "a stack with negative weights or no scale")


def check_fit(head: Head, encoder: BaseEncoder | None, width: int, n_classes: int) -> None:
    """Score a code of zeros, by which all arrays must fit each other, the codes and the classes.

    width : numbers of a code, or channels of a descriptor where an encoder makes one of them.
    """
    try:
        code = np.zeros((1, width), np.float32)
        if encoder is not None:
            code = encoder.transform(np.zeros((1, 4, width), np.float32))
        scores = head.decision_function(code)
    except (MedgraftError, IndexError, MemoryError, OverflowError) as error:
        raise ValueError(f"head and encoder do not fit the codes: {error}") from error
    _want(
        scores.shape == (1, n_classes) and bool(np.isfinite(scores).all()),
        f"the head gives {scores.shape[-1]} scores for {n_classes} classes, or none that is finite",
    )


def _side(value: object) -> None:
    _want(type(value) is int and 0 < value <= LARGEST_SIDE, f"{value!r} pixels are no input size")


def _finite(value: object, what: str) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):  # type: ignore[arg-type]
        raise ValueError(f"{what} {str(value)[:40]!r} is no finite number")
    return float(value)  # type: ignore[arg-type]


def _want(held: bool, otherwise: str) -> None:
    if not held:
        raise ValueError(otherwise)
