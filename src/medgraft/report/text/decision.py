"""Decision curves and thresholds for a wish, in words."""

from __future__ import annotations

import numpy as np

from medgraft.report.text import formatting
from medgraft.results.curves import DecisionCurve
from medgraft.results.figures import Wish


def caption(curve: DecisionCurve) -> str:
    """What net benefit is, and where acting by the classifier surely pays."""
    text = (
        "Positives found, less false alarms weighed by the odds of the threshold: who acts from "
        "0.2 on holds a missed one for as bad as four needless acts."
    )
    better = curve.low > np.maximum(curve.everyone, 0)
    if not better.any():
        return f"{text} Nowhere is it surely worth more than acting on all or on nobody."
    ends = (curve.threshold[np.flatnonzero(better)[i]] for i in (0, -1))
    low, high = map(formatting.number, map(float, ends))
    return (
        f"{text} Between {low} and {high} it is surely worth more than acting on all or on nobody."
    )


def wish(one: Wish) -> str:
    """What is wanted."""
    return f"{one.of} of {formatting.nominal(one.wanted)}"


def unmet(one: Wish) -> str:
    """Why no threshold promises it."""
    return f"none: takes {one.needed} patients"
