"""The steps of a budget, run in order: what cannot win is stopped early, what does not fit is not.

A step that reads images slowly reads growing shares of the patients. At some of them its scenarios
are judged on what was read, against the best probe that is known, on the same patients and folds;
what is surely behind is stopped (`evaluate/racing.py`), and with the last of a step its reading.
What the clock decides is written down as it is decided, so that a run that was killed goes on to
the same numbers. Ctrl-C ends the race with what was judged by then.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from medgraft.data.split import Development
from medgraft.errors import FitError
from medgraft.evaluate.compare import of_all, paired_cases
from medgraft.evaluate.intervals import ones
from medgraft.evaluate.racing import behind, levels
from medgraft.evaluate.winners_curse import best
from medgraft.learn.cross_validation import CrossFitted
from medgraft.learn.fit import cross_fitted_all
from medgraft.scenario import Scenario
from medgraft.studies.budget_plan import PlannedStep, facts_of
from medgraft.studies.plan import PlannedScenario, plan
from medgraft.studies.prepare import Prepared
from medgraft.studies.readings import inputs_of, judging_seconds
from medgraft.studies.session import Session
from medgraft.studies.within_budget import slowness
from medgraft.types import BudgetUse, ImageTable, StepOutcome, StoppedScenario, digest

SHARES = (0.125, 0.25, 0.5)  # of the patients, after which is looked
FEW = 20  # patients of each class, with fewer no look is taken
LONG = 10.0  # seconds; a step that takes longer asks the clock after each share
DECIDING = 0.02  # of the budget may be spent on looks, and
WORTH = 0.1  # of what a step still has to do
SURE = 10.0  # seconds; a first step that should take less tells nothing of the others
PACE = (1.0, 4.0)  # how far it corrects what they should take
LATE = 1.1  # times what is left that training may take, which cannot be cut


def race(prepared: Prepared, session: Session) -> tuple[Prepared, dict[str, CrossFitted]]:
    """Run the steps of a plan; what was judged by key, and the study of just that.

    Raises
    ------
    KeyboardInterrupt
        Nothing was judged yet.
    """
    with session.extractor.progress.budget() as show:
        running = _Race(prepared, session, show)
        interrupted = False
        try:
            for place in range(len(running.steps)):
                if running.steps[place].facts.outcome == "planned":
                    running.run(place)
        except KeyboardInterrupt:
            if not running.judged:
                raise
            interrupted = True
            running.give_up()
        return running.finished(interrupted), running.in_order()


class _Race:
    """A race under way. judged : by key. decided : by step, what earlier sessions wrote down."""

    def __init__(
        self, prepared: Prepared, session: Session, show: Callable[[BudgetUse], None]
    ) -> None:
        self.prepared, self.session, self.show = prepared, session, show
        self.steps = list(prepared.steps)
        self.judged: dict[str, CrossFitted] = {}
        self.scenarios: dict[str, PlannedScenario] = {}
        self.pace, self.deciding, self.began = 1.0, 0.0, session.seconds
        self.decided: dict[str, dict[str, object]] = {}
        for row in session.earlier("race"):
            self.decided.setdefault(row["step"], {}).update(row)
            self.pace = float(row.get("pace", self.pace))
            self.deciding = float(row.get("deciding", self.deciding))

    # ----------------------------------------------------------------------- one step

    def run(self, place: int) -> None:
        """Run a step as far as it can win and there is time."""
        step = self.steps[place] = self._with_members(self.steps[place])
        earlier, name = self.decided.get(step.facts.name, {}), step.facts.name
        self.began = self.session.seconds
        if earlier.get("outcome") in ("no time", "cannot win"):
            self._end(place, earlier["outcome"], _stopped_of(earlier))  # type: ignore[arg-type]
            return
        if place and not earlier and not self._fits(step):
            self._end(place, "no time")
            return
        looks = tuple(earlier.get("looks") or ()) if earlier else self._looks(place)  # type: ignore[arg-type]
        if not earlier:
            self.session.event("race", step=name, outcome="begun", looks=looks)
        self.show(self.use())
        stopped = _stopped_of(earlier)
        if earlier.get("outcome") == "done":
            outcome: StepOutcome = "done"
        else:
            outcome, stopped = self._read(place, looks, asked=bool(place and not earlier))
        if outcome == "done":
            gone = {one.key for one in stopped}
            alive = [e for e in step.scenarios if e.scenario.key not in gone]
            self._prepare(self.prepared.table, alive)
            self._judge(place, alive)
            self._learn_pace(place, earlier)
        self._end(place, outcome, stopped)

    def _read(
        self, place: int, looks: Sequence[float], *, asked: bool
    ) -> tuple[StepOutcome, tuple[StoppedScenario, ...]]:
        """Read share by share while anything can win and, where the clock is `asked`, fits."""
        facts, alive = self.steps[place].facts, list(self.steps[place].scenarios)
        stopped: list[StoppedScenario] = []
        frozen = facts.name != "finetune"
        shares = SHARES if frozen and (looks or facts.predicted > LONG) else ()
        for share in shares:
            part = self._part(share)
            self._prepare(part.table, alive)
            taken = self.session.seconds - self.began
            if asked and taken / share - taken > self._left():
                return "no time", tuple(stopped)
            if asked and self.deciding > DECIDING * self.use().seconds:
                looks = self._look_no_more(place, looks, share)
            if share in looks:
                level = dict(zip(SHARES, levels(SHARES), strict=True))[share]
                stopped += self._look(part, alive, share, level)
                gone = {one.key for one in stopped}
                alive = [entry for entry in alive if entry.scenario.key not in gone]
            if not alive:
                return "cannot win", tuple(stopped)
        return "done", tuple(stopped)

    def _judge(self, place: int, alive: Sequence[PlannedScenario]) -> None:
        """Judge on all images to learn from what is still in the race."""
        extractor, said = self.session.extractor, f"Judging {len(alive)} scenarios out of fold"
        entries = {entry.scenario.key: entry for entry in alive}
        lacking = [entry.scenario for entry in alive]
        with extractor.progress.task(said, len(lacking)) as advance:
            for one in cross_fitted_all(lacking, self.prepared.development, extractor):
                key = one.predictions.scenario
                self.judged[key], self.scenarios[key] = one, entries[key]
                self.session.event("scenario judged", key=key, seconds=round(one.seconds, 3))
                step = self.steps[place]
                self.steps[place] = step.with_facts(judged=step.facts.judged + 1)
                advance(1)

    def _end(
        self, place: int, outcome: StepOutcome, stopped: tuple[StoppedScenario, ...] = ()
    ) -> None:
        """Note what became of a step, once."""
        earlier = self.decided.get(self.steps[place].facts.name, {})
        over = earlier.get("outcome", "begun") != "begun"  # in a session that this one goes on with
        seconds = self.session.seconds - self.began
        if over:
            seconds = float(earlier.get("seconds", seconds))  # type: ignore[arg-type]
        step = self.steps[place].with_facts(outcome=outcome, seconds=seconds, stopped=stopped)
        self.steps[place] = step
        if not over:
            rows = [dataclasses.asdict(one) for one in stopped]
            self.session.event(
                "race",
                step=step.facts.name,
                outcome=outcome,
                seconds=round(seconds, 3),
                stopped=rows,
                pace=round(self.pace, 4),
                deciding=round(self.deciding, 3),
            )
        self.show(self.use())

    def give_up(self) -> None:
        """Ctrl-C: what is under way and what was to come is stopped; a resumed run goes on."""
        for place, step in enumerate(self.steps):
            if step.facts.outcome == "planned":
                self.steps[place] = step.with_facts(outcome="stopped")
        self.session.event("interrupted", judged=len(self.judged))
        self.session.extractor.progress.say(
            f"Stopped. A report is made of the {len(self.judged)} scenarios that were judged; "
            "Ctrl-C again ends without one."
        )

    # ----------------------------------------------------------------------- looks

    def _look(
        self, part: Development, alive: Sequence[PlannedScenario], share: float, level: float
    ) -> list[StoppedScenario]:
        """Which scenarios are surely behind the leader on a part of the patients."""
        began = self.session.seconds
        leader, n_leaders = self._leader()
        try:
            wanted = [leader, *(entry.scenario for entry in alive)]
            judged = cross_fitted_all(wanted, part, self.session.extractor)
            found = {one.predictions.scenario: one.predictions for one in judged}
        except FitError:  # of a part that is too small: all go on
            return []
        stopped = []
        for entry in alive:
            key = entry.scenario.key
            known, out = behind(found[leader.key], found[key], part.folds.metric, level, n_leaders)
            if out:
                ends = (-known.difference, -known.high, -known.low)
                stopped.append(StoppedScenario(key, leader.key, share, *ends))
        self.deciding += self.session.seconds - began
        return stopped

    def _look_no_more(self, place: int, looks: Sequence[float], share: float) -> Sequence[float]:
        """Looks took longer than was reckoned: none from this share on."""
        taken = tuple(one for one in looks if one < share)
        if taken != tuple(looks):
            name = self.steps[place].facts.name
            self.session.event("race", step=name, outcome="begun", looks=taken)
        return taken

    def _leader(self) -> tuple[Scenario, int]:
        """The best plain scenario that was judged, and among how many it is the best."""
        oof = [one.predictions for key, one in self.judged.items() if _plain(self.scenarios[key])]
        oof.sort(key=lambda one: one.scenario)
        metric = self.prepared.options.metric
        cases = paired_cases(oof, None)
        values = of_all(cases, metric)(ones(len(cases[0].y)))
        place = int(best(values, metric)[0])
        return self.scenarios[oof[place].scenario].scenario, len(oof)

    def _looks(self, place: int) -> tuple[float, ...]:
        """After which shares it is looked: where enough patients are, and a look is worth it."""
        step = self.steps[place]
        if not place or step.facts.name == "finetune":
            return ()
        table, found, spent = self.prepared.development.table, [], self.deciding
        for share in SHARES:
            part = self._part(share).table
            rarest = min(
                len(np.unique(part.groups[part.labels == k])) for k in range(len(table.classes))
            )
            seconds = self.pace * self._judging(step.scenarios, len(part))
            worth = WORTH * (1 - share) * step.facts.predicted * self.pace
            if rarest >= FEW and seconds <= worth:
                if spent + seconds > DECIDING * self.use().seconds:
                    break
                found.append(share)
                spent += seconds
        return tuple(found)

    def _part(self, share: float) -> Development:
        """That share of the patients of each class and fold, the same and more at the next."""
        table, folds = self.prepared.development.table, self.prepared.development.folds
        names, first = np.unique(table.groups, return_index=True)
        strata: dict[tuple[int, int], list[str]] = {}
        for name, row in zip(names.tolist(), first.tolist(), strict=True):
            strata.setdefault((int(table.labels[row]), int(folds.assignment[row])), []).append(name)
        chosen: list[str] = []
        for some in strata.values():
            some.sort(key=lambda name: digest(folds.seed, "race", name))
            chosen += some[: int(np.ceil(share * len(some)))]
        rows = np.flatnonzero(np.isin(table.groups, chosen))
        part = dataclasses.replace(
            folds,
            ids=folds.ids[rows],
            groups=folds.groups[rows],
            assignment=folds.assignment[rows],
        )
        return Development(table.select(rows), part)

    # ----------------------------------------------------------------------- the clock

    def _left(self) -> float:
        use = self.prepared.budget
        assert use is not None  # for the type checker
        return use.seconds - use.finish - self.session.spent

    def _fits(self, step: PlannedStep) -> bool:
        if step.facts.name == "finetune":
            return step.facts.predicted <= LATE * self._left()
        return step.facts.predicted * self.pace <= self._left()

    def _judging(self, planned: Sequence[PlannedScenario], n_images: int) -> float:
        development, extractor = self.prepared.development, self.session.extractor
        shape = (n_images, len(development.table.classes), development.folds.n_folds)
        times = 2 if development.folds.view else 1
        seconds = sum(judging_seconds(entry.scenario, *shape, extractor) for entry in planned)
        return times * slowness(self.use().a_pair) * seconds / extractor.workers

    def _learn_pace(self, place: int, earlier: object) -> None:
        """By the first step: how much longer things take than was reckoned."""
        predicted = self.steps[place].facts.predicted
        if place or earlier or predicted < SURE:
            return
        taken = self.session.step_seconds.get("read the images", 0.0)
        taken += self.session.seconds - self.began
        self.pace = float(np.clip(taken / predicted, *PACE))

    # ----------------------------------------------------------------------- reading

    def _prepare(self, table: ImageTable, planned: Sequence[PlannedScenario]) -> None:
        """Have the cache hold what these scenarios read of the images of a table."""
        extractor, view = self.session.extractor, self.prepared.development.folds.view
        extractor.prepare(table, *inputs_of(planned, extractor))
        if view is not None and len(table.development):
            extractor.prepare(table.development, *inputs_of(planned, extractor, view))

    def _with_members(self, step: PlannedStep) -> PlannedStep:
        """A stack of what was judged, where some of what it was planned of was not."""
        members = [m.key for e in step.scenarios for m in e.scenario.members]
        if step.facts.name != "stack" or set(members) <= set(self.judged):
            return step
        options = dataclasses.replace(step.options, families=("probe", "ensemble"), sizes=())
        table = self.prepared.development.table
        planned = plan(
            options,
            self.session.extractor,
            len(table),
            len(table.classes),
            self.prepared.shorter,
        )
        stacks = tuple(entry for entry in planned if entry.scenario.head == "stack")
        return dataclasses.replace(step, scenarios=stacks).with_facts(scenarios=len(stacks))

    # ----------------------------------------------------------------------- the result

    def use(self, interrupted: bool = False) -> BudgetUse:
        """What has become of the budget by now."""
        use = self.prepared.budget
        assert use is not None  # for the type checker
        return dataclasses.replace(
            use, steps=facts_of(self.steps), deciding=self.deciding, interrupted=interrupted
        )

    def in_order(self) -> dict[str, CrossFitted]:
        """What was judged, simplest first."""
        return {entry.scenario.key: self.judged[entry.scenario.key] for entry in self._planned()}

    def _planned(self) -> tuple[PlannedScenario, ...]:
        return tuple(sorted(self.scenarios.values(), key=lambda entry: entry.simplicity))

    def finished(self, interrupted: bool) -> Prepared:
        """The study of what was judged; one that was stopped asks for nothing that takes long."""
        planned = self._planned()
        networks = dict.fromkeys(
            [*self.prepared.options.backbones, *(n for e in planned for n in e.scenario.networks)]
        )
        options = dataclasses.replace(self.prepared.options, backbones=tuple(networks))
        for step in self.steps:
            if step.facts.name == "second" and step.facts.judged:
                options = dataclasses.replace(options, second=step.options.second)
        if interrupted:
            options = dataclasses.replace(options, audit=False, learning_curve=False, budget=0.0)
        return dataclasses.replace(
            self.prepared, options=options, planned=planned, budget=self.use(interrupted)
        )


def _plain(entry: PlannedScenario) -> bool:
    """Whether it is judged on a part of the images at once: frozen, pooled, of one network."""
    return entry.scenario.family in ("probe", "multiscale") and not entry.scenario.members


def _stopped_of(earlier: dict[str, object]) -> tuple[StoppedScenario, ...]:
    """What an earlier session stopped in a step."""
    rows = earlier.get("stopped") or ()
    return tuple(StoppedScenario(**row) for row in rows)  # type: ignore[attr-defined]
