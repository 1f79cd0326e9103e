"""When a scenario may be stopped because it cannot win any more, though it was looked at often.

Scenarios are looked at on growing shares of the patients, always paired with the best one that is
known. Looking often makes mistakes likelier, so each look may spend a part of one error rate only:
the spending function of Lan and DeMets (1983) of the kind of Pocock, which spends early, for a race
is there to stop early. What looks spend is added up (Bonferroni), which holds however they depend
on each other: models learn anew at each look. The best one was chosen among several on the same
images, which makes it look better than it is, so that what a look may spend is divided by their
number. A scenario that is truly better than all of them is therefore stopped in at most `ALPHA` of
races, whatever was best by chance.

What is compared at a look has learned from as many images as the look holds. What would overtake
only with more is not protected.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from medgraft.evaluate.compare import compare
from medgraft.evaluate.metrics import METRICS
from medgraft.results.figures import Comparison
from medgraft.types import Predictions

ALPHA = 0.05  # of scenarios that are truly the best, so many are stopped at most


def spent(share: float) -> float:
    """The error that looks at up to this share of the patients may spend together.

    >>> spent(0.0), round(spent(0.5), 4), round(spent(1.0), 4)
    (0.0, 0.031, 0.05)
    """
    return ALPHA * math.log(1 + (math.e - 1) * share)


def levels(shares: Sequence[float]) -> tuple[float, ...]:
    """What each of these growing shares may spend, if looks are taken at all of them.

    >>> [round(level, 4) for level in levels((0.125, 0.25, 0.5))]
    [0.0097, 0.0081, 0.0131]
    """
    totals = [spent(share) for share in shares]
    return tuple(now - before for now, before in zip(totals, [0.0, *totals[:-1]], strict=True))


def behind(
    leader: Predictions, other: Predictions, metric: str, level: float, n_leaders: int
) -> tuple[Comparison, bool]:
    """The leader minus another scenario on the same images, and whether that one cannot win.

    level : what this look may spend, one-sided. n_leaders : among how many the leader was chosen.
    Where the two show no spread, nothing is stopped.

    Raises
    ------
    LeakError, DataError
        As `compare`: test images, or not the same ones.
    """
    (found,) = compare(leader, [other], metric)
    ahead = METRICS[metric].sign * found.difference > 0
    return found, bool(ahead and found.p / 2 < level / n_leaders)
