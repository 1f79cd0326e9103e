"""How large an audit a study has time for: what it asks may be forty times as slow as usual."""

from __future__ import annotations

from collections.abc import Sequence

from medgraft.results.evidence import FEW_PAIRS
from medgraft.studies.options import AUDIT_PAIRS
from medgraft.studies.plan import PlannedScenario
from medgraft.studies.prepare import Prepared
from medgraft.studies.readings import seconds_an_image
from medgraft.studies.session import Session
from medgraft.studies.within_budget import AFTER, LEAST_PAIRS, PASSES
from medgraft.types import Finding

OVER = 1.05  # of a budget, before an audit is cut for it
QUICK = 1e13  # multiply-adds of an audit that is never cut: minutes on two cores


def pairs_within(prepared: Prepared, key: str, session: Session) -> int:
    """Pairs of images that the audit of a scenario has time for, at most as many as asked; or 0.

    Where no budget decides, as many as suit the networks (`pairs_suited`). What the clock said is
    written down, and stands when the run is resumed.
    """
    asked, use = prepared.options.audit_pairs, prepared.budget
    if use is None:
        return pairs_suited(prepared.planned, key, len(prepared.development.table), asked)
    for row in session.earlier("audit"):
        if row["key"] == key:
            return int(row["pairs"])
    left = OVER * use.seconds - AFTER * use.a_pair - session.spent
    pairs = min(asked, int(left / _a_pair(prepared, key, use.a_pair, session)))
    pairs = pairs if pairs >= min(LEAST_PAIRS, asked) else 0
    session.event("audit", key=key, pairs=pairs)
    return pairs


def _a_pair(prepared: Prepared, key: str, usual: float, session: Session) -> float:
    """Seconds that each pair of an audit takes of a scenario, at least the `usual`.

    What is frozen is timed. Of networks that are trained, one for each fold, one reads an image.
    """
    (entry,) = (entry for entry in prepared.planned if entry.scenario.key == key)
    if entry.scenario.trained:
        most = max(one.cost.multiply_adds for one in prepared.steps[0].scenarios)
        return usual * max(1.0, entry.cost.multiply_adds / prepared.options.n_folds / most)
    return max(usual, seconds_a_pair(prepared, key, session))


def seconds_a_pair(prepared: Prepared, key: str, session: Session) -> float:
    """What each pair of an audit of a frozen scenario takes, by reading a few images for it."""
    mine = [entry for entry in prepared.planned if entry.scenario.key == key]
    table = prepared.development.table
    return PASSES * seconds_an_image(mine, table, session.extractor)


def pairs_suited(planned: Sequence[PlannedScenario], key: str, n_images: int, asked: int) -> int:
    """Pairs by which the audit costs no more than reading the images, or `QUICK`.

    Counted in multiply-adds and not by a clock, so that the same study has the same audit. Never
    fewer than `LEAST_PAIRS`, and as many as asked where that is another number than the usual one,
    or a network was trained, beside which an audit is quick.
    """
    if asked != AUDIT_PAIRS or any(entry.scenario.trained for entry in planned):
        return asked
    largest: dict[str, int] = {}
    for entry in planned:
        name = entry.scenario.backbone
        largest[name] = max(largest.get(name, 0), entry.cost.multiply_adds)
    (mine,) = (entry.cost.multiply_adds for entry in planned if entry.scenario.key == key)
    most = max(QUICK, n_images * sum(largest.values()))
    return min(asked, max(LEAST_PAIRS, int(most / (PASSES * max(1, mine)))))


def said_of_pairs(asked: int, pairs: int) -> tuple[Finding, ...]:
    """What a study says of an audit that it made smaller; nothing where it did not."""
    if pairs >= asked:
        return ()
    text = (
        f"The evidence audit draws {pairs} pairs of images instead of {asked}: its network is "
        "slow, and more would take longer than reading all images. Fewer pairs see larger effects "
        "only."
    )
    remedy = (
        f"More, such as --audit-pairs {2 * asked}, see smaller effects; --audit-pairs {FEW_PAIRS} "
        "is the least from which a verdict follows, and --no-audit leaves it out."
    )
    return (Finding("audit_pairs", "info", text, {"pairs": pairs, "asked": asked}, remedy=remedy),)
