"""What a budget has left once every scenario was judged: further networks in every fold.

Networks that differ answer better together than each alone (decision 0013), so more of them, of two
scales in turn (decision 0048), are the use of time that is always there. How many were trained is
decided by the clock after each round and written down; a run that is resumed trains as many again,
and no more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from medgraft.features.extract import Extractor
from medgraft.learn.cross_validation import CrossFitted
from medgraft.results.training import DEPLOYED
from medgraft.studies.judge import judge
from medgraft.studies.plan import pixels_seen, trained_otherwise
from medgraft.studies.prepare import Prepared
from medgraft.studies.session import Session
from medgraft.studies.within_budget import RESERVE
from medgraft.training_recipe import Recipe, recipe_of
from medgraft.types import Scenario

REST = 0.05  # of a budget, for the audit of more networks and for what takes longer than before
MOST = 5  # networks a fold


def spend(
    prepared: Prepared, judged: Mapping[str, CrossFitted], session: Session
) -> tuple[Prepared, Mapping[str, CrossFitted]]:
    """Train further networks while the budget holds them; the plan and what was judged, then."""
    options = prepared.options
    asked = "networks" in dict(options.training)
    if not options.budget or not _trained(prepared) or asked or _recipe(prepared).deploy == "once":
        return prepared, judged
    earlier = session.earlier("networks")
    for networks in range(2, MOST + 1):
        further = _with_networks(prepared, networks, session)
        if session.resumed:
            if networks - 2 >= len(earlier):
                break
        else:
            pairs = zip(_trained(prepared), _trained(further), strict=True)
            seconds = sum(_seconds(judged[one.key], new, session.extractor) for one, new in pairs)
            finish = max(RESERVE, prepared.budget.finish if prepared.budget else 0.0)
            left = options.budget * (1 - REST) - finish - session.spent
            if seconds > left:
                break
            session.event("networks", networks=networks, seconds=round(seconds), left=round(left))
        session.extractor.progress.say(f"Time is left for {networks} networks in every fold.")
        prepared = further
        judged = judge(prepared, session, judged)
    session.end_step("train further networks")
    return prepared, judged


def _trained(prepared: Prepared) -> list[Scenario]:
    return [entry.scenario for entry in prepared.planned if entry.scenario.trained]


def _recipe(prepared: Prepared) -> Recipe:
    return recipe_of(prepared.options.training)


def _seconds(one: CrossFitted, further: Scenario, extractor: Extractor) -> float:
    """What one network more in every fold takes, and what is trained on all images after it.

    further : the scenario that has it.
    """
    last = one.training.histories.get(DEPLOYED, ()) if one.training else ()
    again = sum(epoch.seconds for epoch in last)
    *before, new = pixels_seen(further, extractor)
    return (one.seconds - again) * new / sum(before) + again


def _with_networks(prepared: Prepared, networks: int, session: Session) -> Prepared:
    """The same study with so many networks a fold."""
    settings = {"networks": str(networks)}
    if _recipe(prepared).deploy == "folds" and "differ" not in dict(prepared.options.training):
        settings["differ"] = "scale"
    training = [one for one in prepared.options.training if one[0] not in settings]
    options = dataclasses.replace(prepared.options, training=(*training, *settings.items()))
    table = prepared.development.table
    shape = (len(table), len(table.classes))
    planned = trained_otherwise(prepared.planned, options, session.extractor, shape)
    return dataclasses.replace(prepared, options=options, planned=planned)
