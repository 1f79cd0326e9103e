"""The audits of a panel within a budget: what time is left for them, the weakest finding first.

Every finding is judged and its scenario frozen before an audit begins, so that no audit changes
what is recommended, nor what any figure is. The least sure finding comes first: that whose figure,
out of fold, has the lowest lower end. What the clock said is written down, and stands when the run
is resumed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from scipy import stats

from medgraft.errors import ScenarioError
from medgraft.evaluate.intervals import DEFAULT
from medgraft.evaluate.metrics import METRICS
from medgraft.scenario import TRAINED
from medgraft.studies.audit_budget import seconds_a_pair
from medgraft.studies.one_scenario import FindingChoice
from medgraft.studies.options import AUTO, StudyOptions
from medgraft.studies.prepare import Prepared
from medgraft.studies.session import Session
from medgraft.studies.within_budget import LEAST_PAIRS


def panel_options(options: StudyOptions) -> StudyOptions:
    """The options of each finding's study: what a budget buys of audits is decided for all.

    Raises
    ------
    ScenarioError
        An option is for one question only, or a budget has nothing to decide.
    """
    if options.site:
        raise ScenarioError(
            "--site is for one question, not several findings; study one finding with --binarize"
        )
    trained = sorted(set(TRAINED) & set(options.families))
    if options.budget and (trained or not options.audit):
        why = f"{trained[0]} among --families" if trained else "--no-audit"
        remedy = "say with --training how long networks are trained" if trained else "leave one out"
        raise ScenarioError(
            "--budget is for the audits of several findings, weakest first, and decides nothing "
            f"else of their study; it was given with {why}: {remedy}"
        )
    families = ("probe",) if options.families == AUTO else options.families
    return dataclasses.replace(
        options, families=families, budget=0.0, audit=False, learning_curve=False
    )


def weakest_first(choices: Mapping[str, FindingChoice], key: str, metric: str) -> list[str]:
    """The findings by the lower end of their figures in shared bags, the lowest first.

    key : the scenario that serves all; '' where each has its own.
    """
    sign, tail = METRICS[metric].sign, float(stats.norm.isf(DEFAULT.tail))

    def lower_end(name: str) -> float:
        choice = choices[name]
        row, drawn = choice.keys.index(key or choice.own), choice.drawn
        return sign * float(drawn.values[row]) - tail * float(np.nanstd(drawn.in_bag[row]))

    return sorted(choices, key=lower_end)


class AuditClock:
    """Which audits a budget has time for.

    seconds : that the whole panel may take; 0 has none audited. wanted : pairs of images of each
    audit, at most.
    """

    def __init__(self, seconds: float, wanted: int, session: Session) -> None:
        self.seconds, self.wanted, self.session = seconds, wanted, session
        self.a_pair: dict[str, float] = {}  # by the scenario that is audited
        self.finishing = 0.0
        self._prepared: Prepared | None = None
        self._earlier = {row["key"]: int(row["pairs"]) for row in session.earlier("audit")}

    def pairs(self, name: str, key: str, left: int) -> int:
        """Pairs that the audit of a finding has time for, or 0; `left` findings are to be finished.

        An audit of fewer than `LEAST_PAIRS` says nothing, and is not made. Before any of the
        scenario of that key was, what a pair takes is reckoned by reading a few images for it.
        """
        if not self.seconds:
            return 0
        if name not in self._earlier:
            if key not in self.a_pair:
                assert self._prepared is not None  # for the type checker
                self.a_pair[key] = seconds_a_pair(self._prepared, key, self.session)
            room = self.seconds - self.session.spent - left * self.finishing
            pairs = min(self.wanted, int(room / max(self.a_pair[key], 1e-9)))
            self._earlier[name] = pairs if pairs >= min(LEAST_PAIRS, self.wanted) else 0
            self.session.event("audit", key=name, pairs=self._earlier[name])
        return self._earlier[name]

    def know(self, prepared: Prepared) -> None:
        """Remember by which images, and for which scenarios, it can be reckoned."""
        if self.seconds and self._prepared is None:
            self._prepared = prepared

    def learn(self, key: str, pairs: int, seconds: float, audit_seconds: float) -> None:
        """What finishing a finding took, `audit_seconds` of it for an audit of so many pairs."""
        self.finishing = max(self.finishing, seconds - audit_seconds)
        if pairs:
            self.a_pair[key] = audit_seconds / pairs
