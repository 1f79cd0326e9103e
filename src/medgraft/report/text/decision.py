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
    places = np.flatnonzero(better)
    runs = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
    first, last = max(runs, key=len)[[0, -1]]
    low, high = (formatting.number(float(curve.threshold[i])) for i in (first, last))
    most = ", and here and there beyond," if len(runs) > 1 else ""
    return (
        f"{text} Between {low} and {high}{most} it is surely worth more than acting on all or on "
        "nobody."
    )


def wish(one: Wish) -> str:
    """What is wanted."""
    return f"{one.of} of {formatting.nominal(one.wanted)}"


def unmet(one: Wish) -> str:
    """Why no threshold promises it."""
    return f"none: takes {one.needed} patients"
