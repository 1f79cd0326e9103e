"""How large an audit a budget has time for: what it asks may be forty times as slow as usual."""

from __future__ import annotations

from medgraft.studies.prepare import Prepared
from medgraft.studies.session import Session
from medgraft.studies.within_budget import AFTER, LEAST_PAIRS

OVER = 1.05  # of a budget, before an audit is cut for it


def pairs_within(prepared: Prepared, key: str, session: Session) -> int:
    """Pairs of images that the audit of a scenario has time for, at most as many as asked; or 0.

    As many as asked where no budget decides. What the clock said is written down, and stands when
    the run is resumed.
    """
    asked, use = prepared.options.audit_pairs, prepared.budget
    if use is None:
        return asked
    for row in session.earlier("audit"):
        if row["key"] == key:
            return int(row["pairs"])
    known = {entry.scenario.key: entry for entry in prepared.planned}
    usual = max(entry.cost.multiply_adds for entry in prepared.steps[0].scenarios)
    networks = prepared.options.n_folds if known[key].scenario.trained else 1
    dearer = max(1.0, known[key].cost.multiply_adds / networks / usual)
    left = OVER * use.seconds - AFTER * use.a_pair - session.spent
    pairs = min(asked, int(left / (dearer * use.a_pair)))
    pairs = pairs if pairs >= min(LEAST_PAIRS, asked) else 0
    session.event("audit", key=key, pairs=pairs)
    return pairs
