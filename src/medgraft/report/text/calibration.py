"""Whether stated probabilities come true: the verdict, and what it means to whoever reads them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from medgraft.evaluate.recalibration import LEVEL, MOST_OFF, TOLERATED, comes_true
from medgraft.report.text import formatting
from medgraft.results.figures import Calibration, Evaluation
from medgraft.types import Estimate, Verdict

CLOSE = (4 / 5, 5 / 4)  # slopes that do not matter, however surely they are not 1
CLOSE_AVERAGE = 0.05
SAID = 0.9  # the probability whose meaning is told

RULE = (
    "Of studies whose probabilities mean what they say, one in "
    f"{1 / (1 - LEVEL):.0f} is warned of. A slope surely beyond {TOLERATED[0]:.2f} to "
    f"{TOLERATED[1]:.1f}, or an average surely off by more than {100 * MOST_OFF:.0f} points, fails."
)


def verdict(found: Calibration) -> Verdict:
    """PASS, WARN or FAIL; INCONCLUSIVE where it could be right as well as matter.

    WARN or worse only where the test rejects, so at its rate where the probabilities are right.
    What surely matters fails; what surely does not passes, in spite of the test.
    """
    averages = list(found.averages.values())
    slopes = [found.slope] if found.slope else []
    if is_refuted(found):
        if any(_beyond(one, *TOLERATED) for one in slopes):
            return "FAIL"
        if any(_beyond(one, -MOST_OFF, MOST_OFF) for one in averages):
            return "FAIL"
        close = bool(slopes) and all(_within(one, *CLOSE) for one in slopes)
        even = all(_within(one, -CLOSE_AVERAGE, CLOSE_AVERAGE) for one in averages)
        return "PASS" if close and even else "WARN"
    known = bool(slopes) and all(_within(one, *TOLERATED) for one in slopes)
    bounded = all(_within(one, -MOST_OFF, MOST_OFF) for one in averages)
    return "PASS" if known and bounded else "INCONCLUSIVE"


def is_refuted(found: Calibration) -> bool:
    """Whether the test rejects that the probabilities are right."""
    return found.p <= 1 - LEVEL + 1e-9


def sentence(judged: Evaluation) -> str:
    """What was found, in words; '' where nothing was asked."""
    found = judged.calibration
    if found is None:
        return ""
    word = verdict(found)
    if word == "INCONCLUSIVE":
        return f"{_figures(found)}. {_too_few(found, judged.n_images)}"
    if not is_refuted(found):
        return f"{_figures(found)}: the probabilities mean what they say, as far as can be seen."
    if word == "PASS":
        return f"{_figures(found)}: surely not exactly right, but too close to it to matter."
    wrong = [text for text in (_extreme(found, judged), _off(found)) if text]
    return f"{_figures(found)}. {' '.join(wrong) or _unlike(found)}"


def figures(judged: Evaluation) -> Mapping[str, Estimate]:
    """Every estimate of an evaluation by its name, slope and intercept among them."""
    found = judged.calibration
    more = {} if found is None else {
        "calibration_slope": found.slope, "calibration_intercept": found.intercept,
    }  # fmt: skip
    return {**judged.estimates, **{name: one for name, one in more.items() if one is not None}}


def _within(one: Estimate, low: float, high: float) -> bool:
    return low <= one.low and one.high <= high


def _beyond(one: Estimate, low: float, high: float) -> bool:
    return one.high < low or one.low > high


def _figures(found: Calibration) -> str:
    if found.slope is None:
        return f"No calibration slope can be told: {found.reason}"
    ends = formatting.interval("calibration_slope", found.slope)
    return f"Calibration slope {formatting.number(found.slope.value)} (95 % interval {ends})"


def _too_few(found: Calibration, n_images: int) -> str:
    if found.slope is None:
        return "So it is not known whether the probabilities mean what they say."
    text = (
        f"{formatting.plural(n_images, 'image')} cannot tell probabilities that mean what they say "
        "from some that do not"
    )
    if found.needed <= n_images:  # the interval lies to one side of 1
        return f"{text}."
    digits = 10 ** max(0, len(str(found.needed)) - 2)
    enough = formatting.count(-(-found.needed // digits) * digits)
    return f"{text}; about {enough} like these would do."


def _extreme(found: Calibration, judged: Evaluation) -> str:
    """Whether a slope that is surely not 1 makes them too extreme or too moderate."""
    if found.slope is None or found.slope.low <= 1 <= found.slope.high:
        return ""
    how = "too extreme" if found.slope.value < 1 else "too moderate"
    if found.curve is None or judged.positive is None:
        return f"The probabilities are {how}."
    true = float(comes_true(found, np.array(SAID)))
    return (
        f"The probabilities are {how}: of images given {100 * SAID:.0f} % for {judged.positive}, "
        f"about {100 * true:.0f} % are so."
    )


def _off(found: Calibration) -> str:
    """The class whose average is furthest off, of those that surely are."""
    wrong = {k: one for k, one in found.averages.items() if not one.low <= 0 <= one.high}
    if not wrong:
        return ""
    name, one = max(wrong.items(), key=lambda item: abs(item[1].value))
    side = "high" if one.value > 0 else "low"
    low, high = sorted(abs(100 * end) for end in (one.low, one.high))
    return (
        f"The average probability of {name} is {100 * abs(one.value):.1f} points too {side} "
        f"({low:.1f} to {high:.1f})."
    )


def _unlike(found: Calibration) -> str:
    return (
        f"Together with the averages of the classes ({formatting.p_value(found.p)}) the "
        "probabilities do not mean what they say; which way they err is not sure."
    )
