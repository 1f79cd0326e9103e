"""Every scenario of a study out of fold, and its refit on all development images."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from medgraft.learn.cross_validation import CrossFitted
from medgraft.learn.fit import cross_fitted_all
from medgraft.studies.prepare import Prepared
from medgraft.studies.session import Session

NOTHING: Mapping[str, CrossFitted] = MappingProxyType({})


def judge(
    prepared: Prepared, session: Session, known: Mapping[str, CrossFitted] = NOTHING
) -> dict[str, CrossFitted]:
    """Every scenario of the plan by key, in its order.

    known : what was judged before, by key, and is not judged again.
    """
    keys = [entry.scenario.key for entry in prepared.planned]
    lacking = [entry.scenario for entry in prepared.planned if entry.scenario.key not in known]
    found = dict(known)
    with session.extractor.progress.task("Judging scenarios out of fold", len(lacking)) as advance:
        for one in cross_fitted_all(lacking, prepared.development, session.extractor):
            key = one.predictions.scenario
            found[key] = one
            session.event("scenario judged", key=key, seconds=round(one.seconds, 3))
            advance(1)
    return {key: found[key] for key in keys}
