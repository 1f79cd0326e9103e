"""One study from a table to a result, read from top to bottom.

Codes → folds → every scenario out of fold → recommendation, and the audit of its evidence →
everything frozen → the test split, once → findings → the run's folder. Everything slow is in the
cache, so that a killed study goes on where it stopped and a second one ends with the same numbers.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medgraft.audit.evidence import Audit
from medgraft.data.split import Together
from medgraft.evaluate.by_site import figures_by_site
from medgraft.evaluate.compare import estimate_all
from medgraft.evaluate.conformal import ALPHA
from medgraft.evaluate.estimates import evaluate, evaluate_by_group
from medgraft.evaluate.overlap import lower_end
from medgraft.evaluate.winners_curse import Resampled, resample_in_and_out
from medgraft.evaluate.wished import describe_wishes
from medgraft.features.extract import Extractor
from medgraft.features.feature_plan import feature_plan_of
from medgraft.features.subnetwork import last_map
from medgraft.features.taps import STAGES
from medgraft.learn.cross_validation import CrossFitted
from medgraft.profile.profile import ProfileInputs, examine
from medgraft.results.figures import Evaluation, LowerEnd, SiteFigures
from medgraft.results.recommendation import LearningCurve, ScenarioResult, StudyResult
from medgraft.results.training import TrainingLog
from medgraft.scenario import Head, Pooled, Preprocessing, Scenario
from medgraft.studies.audit_budget import pairs_within, said_of_pairs
from medgraft.studies.audit_candidates import (
    AuditedChoice,
    audit_candidates,
    audit_settled,
    audit_unseen,
    scenario_of,
)
from medgraft.studies.defaults import with_defaults
from medgraft.studies.grades import figures_of_grades
from medgraft.studies.judge import judge
from medgraft.studies.learning_curve import learning_curve
from medgraft.studies.options import StudyOptions
from medgraft.studies.plan import PRETRAINED, PlannedScenario
from medgraft.studies.prepare import Prepared, divided, prepare
from medgraft.studies.questions import answer
from medgraft.studies.race import race
from medgraft.studies.recommend import Recommendation, decided_for_all, explain_choice, recommend
from medgraft.studies.session import Session
from medgraft.studies.spend_budget import spend
from medgraft.studies.store import BesideModel, RunStore
from medgraft.studies.unsure import by_subgroup, set_figures, unlike_figures
from medgraft.studies.within_budget import LEAST_PAIRS
from medgraft.types import (
    BudgetUse,
    Estimate,
    Finding,
    FittedScenario,
    Folds,
    ImageTable,
    Predictions,
)

LATER: Mapping[str, object] = {
    "site": "", "second": None, "alpha": ALPHA, "subgroups": (), "learning_curve": True,
}  # fmt: skip
"""Options that runs begun before there were these know nothing of, where they change nothing."""


@dataclass(frozen=True, eq=False, repr=False)
class Study:
    """A finished study: the result, and what the report draws it from.

    oof, test : predictions by scenario key, oof of images as they were judged (`Folds.view`).
    unchanged : out of fold, of the recommended scenario and of images as they are, as in use.
    validation, tested : Evaluations of `unchanged` and of its test; by_patient : the latter (the
    former without a test split) with one row a group, where groups repeat.
    seconds : by step. training : of each scenario whose network was trained, by key. audits : by
    key, of the recommended scenario and of those that failed before it. beside : what is saved
    beside the classifier. sessions : in which it was done, more than one where it was resumed.
    fingerprint : of the table as it was read, before a test split was set aside. looks : at the
    test split. pairs : that the audit of the recommended scenario drew at most; audit_seconds : of
    this session that audits took.
    """

    result: StudyResult
    options: StudyOptions
    folds: Folds
    planned: tuple[PlannedScenario, ...]
    oof: Mapping[str, Predictions]
    test: Mapping[str, Predictions]
    unchanged: Predictions
    fitted: FittedScenario
    validation: Evaluation
    tested: Evaluation | None
    by_patient: Evaluation | None
    seconds: Mapping[str, float]
    training: Mapping[str, TrainingLog]
    audits: Mapping[str, Audit]
    beside: BesideModel
    sessions: int = 1
    fingerprint: str = ""
    looks: int = 1
    pairs: int = 0
    audit_seconds: float = 0.0

    def __repr__(self) -> str:
        metric = self.result.metric
        tested = self.tested.estimates.get(metric) if self.tested is not None else None
        return (
            f"Study: {self.result.recommended} is recommended of {len(self.result.scenarios)}\n"
            f"{metric} out of fold, corrected for the choice: {self.result.corrected}\n"
            f"{metric} on the test split: {'there is none' if tested is None else tested}"
        )


def run_study(
    table: ImageTable,
    options: StudyOptions,
    extractor: Extractor,
    store: RunStore | None = None,
    *,
    folds: Folds | None = None,
    given: str = "",
    together: Together | None = None,
    known: Recommendation | None = None,
) -> Study:
    """Compare the planned scenarios on a table and recommend one.

    Parameters
    ----------
    table
        From `data.ingest.load`; where it has no test split, one is made.
    store
        Where the run's events are written; nothing is where it is None.
    folds
        By which these images are judged, and perhaps others; they are dealt to new ones by default.
        The table then has its test split.
    given
        The key of the scenario to recommend, where that was decided for several findings together.
    together
        The findings that networks learn at once, of which this is one; its folds are those given.
    known
        What was recommended of these scenarios before; it stands, whatever the audit says of it.

    Raises
    ------
    DataError, FitError
        There is not enough to learn from.
    """
    session = Session(extractor, store)
    options = with_defaults(options, table, extractor)
    prepared = prepare(table, options, session, folds, together)
    judged: Mapping[str, CrossFitted]
    if prepared.steps:  # the budget decides what is run
        prepared, judged = race(prepared, session)
    else:
        judged = judge(prepared, session)
    session.end_step("judge the scenarios out of fold")
    prepared, judged = spend(prepared, judged, session)
    chosen = choose(prepared, judged, session, given, known)
    # From here on every scenario is frozen, and the test split is looked at, once.
    tested = test(prepared.table.test, judged, chosen, session)
    study = assemble(prepared, judged, chosen, tested, session)
    return dataclasses.replace(study, fingerprint=table.fingerprint)


def config(table: ImageTable, options: StudyOptions, extractor: Extractor) -> dict[str, object]:
    """What decides a run's numbers, for `config.json`."""
    options = with_defaults(options, table, extractor)
    rule = divided(table, options).rule if table.stored else table.rule
    return {
        "data": table.fingerprint,
        "reading": {"by": table.reading.by, "layout": table.reading.layout},
        **({} if rule.plain else {"pixels": dataclasses.asdict(rule)}),
        "masks": int((table.masks != "").sum()),
        "engine": extractor.engine,
        "weights": {name: extractor.backbone(name).card.sha256 for name in options.networks},
        **({"ordered": True} if table.ordered else {}),
        **{
            name: value
            for name, value in dataclasses.asdict(options).items()
            if name not in LATER or value != LATER[name]
        },
    }


# --------------------------------------------------------------------------- the steps

AUDITED = "audit the evidence"


@dataclass(frozen=True, eq=False)
class Chosen:
    """What is recommended, and by what.

    estimates : the metric of every scenario by key, out of fold. drawn : the same under resamples.
    crossed : of the recommended scenario; validation its Evaluation on images as they are, least
    the lower end of what the surface leaves of it, by_site its figures where folds are sites; curve
    what more images would bring, where that was asked for. pairs : of images, that the audit of
    what is recommended had time for.
    """

    choice: Recommendation
    estimates: dict[str, Estimate]
    drawn: Resampled
    audited: AuditedChoice | None
    crossed: CrossFitted
    validation: Evaluation
    least: LowerEnd | None
    by_site: SiteFigures | None
    curve: LearningCurve | None
    pairs: int


@dataclass(frozen=True, eq=False)
class Tested:
    """What the one look at the test split showed; empty where there is none.

    predictions, estimates : of every scenario, by key. evaluation : of the recommended one.
    by_patient : the same with one row a group, out of fold where there is no test split.
    """

    predictions: Mapping[str, Predictions]
    estimates: Mapping[str, Estimate]
    evaluation: Evaluation | None
    by_patient: Evaluation | None


def choose(
    prepared: Prepared,
    judged: Mapping[str, CrossFitted],
    session: Session,
    given: str = "",
    known: Recommendation | None = None,
) -> Chosen:
    """Recommend by out-of-fold predictions and, if asked for, by the audit of the evidence.

    given, known : as in `run_study`.
    """
    options, development = prepared.options, prepared.development
    oof = [one.predictions for one in judged.values()]
    estimates = _estimates(oof, options.metric, development.folds)
    drawn = resample_in_and_out(oof, options.metric)
    choice = known or recommend(drawn)
    if given:
        choice = decided_for_all(choice, given, estimates[given])
    session.end_step("compare and recommend")
    audited = None
    first = choice.recommended
    pairs = pairs_within(prepared, first, session) if options.audit else 0
    drawn_for = {first: pairs}
    if pairs:
        if prepared.budget is None:
            for fewer in said_of_pairs(options.audit_pairs, pairs):
                session.extractor.progress.say(f"{fewer.text} {fewer.remedy}")

        def audit(key: str) -> Audit:
            scenario = scenario_of(prepared.planned, key)
            size = pairs if key == first else pairs_within(prepared, key, session)
            # A model that fails is not left without another's audit, however late it is.
            size = drawn_for[key] = min(max(LEAST_PAIRS, size), options.audit_pairs)
            cut = dataclasses.replace(options, audit_pairs=size)
            return audit_unseen(scenario, development, cut, session.extractor)

        if known is not None:
            audited = audit_settled(choice, audit, session.store)
        else:
            audited = audit_candidates(
                choice, lambda failed: recommend(drawn, failed), audit, session.store
            )
        choice = audited.choice
        session.end_step(AUDITED)
    session.event("recommended", key=choice.recommended, margin=choice.margin)
    crossed = judged[choice.recommended]
    curve = None
    if options.learning_curve:
        curve = learning_curve(
            choice.recommended, judged, estimates, development, session.extractor
        )
        session.end_step("refit on fewer images")
    return Chosen(
        choice=choice,
        estimates=estimates,
        drawn=drawn,
        audited=audited,
        crossed=crossed,
        validation=evaluate(crossed.unchanged, by=options.metric),
        least=lower_end(crossed.predictions, prepared.surface, options.metric),
        by_site=None
        if prepared.sites is None
        else figures_by_site(crossed.unchanged, prepared.sites, options.site, options.metric),
        curve=curve,
        pairs=drawn_for.get(choice.recommended, pairs),
    )


def test(
    table: ImageTable, judged: Mapping[str, CrossFitted], chosen: Chosen, session: Session
) -> Tested:
    """The one pass over the test split: the metric of every scenario, all metrics of the chosen."""
    session.extractor.progress.say("Every scenario is frozen; looking at the test split once.")
    if len(table):
        predictions = {key: one.fitted.predict(table)[0] for key, one in judged.items()}
        thresholds = {key: one.fitted.operating for key, one in judged.items()}
        estimates = estimate_all(list(predictions.values()), chosen.drawn.metric, thresholds)
        mine, operating = predictions[chosen.choice.recommended], chosen.crossed.fitted.operating
        found = Tested(
            predictions=predictions,
            estimates=dict(zip(predictions, estimates, strict=True)),
            evaluation=evaluate(mine, operating, by=chosen.drawn.metric),
            by_patient=evaluate_by_group(mine, operating, by=chosen.drawn.metric),
        )
    else:
        found = Tested(
            {}, {}, None, evaluate_by_group(chosen.crossed.unchanged, by=chosen.drawn.metric)
        )
    session.event("test split looked at", images=len(table), scenarios=len(found.predictions))
    session.end_step("look at the test split once")
    return found


def assemble(
    prepared: Prepared,
    judged: Mapping[str, CrossFitted],
    chosen: Chosen,
    tested: Tested,
    session: Session,
) -> Study:
    """Check the data with what was found, and put the result together."""
    crossed, development = chosen.crossed, prepared.development.table
    findings = _findings(prepared, crossed.unchanged, session.extractor)
    if prepared.budget is None and chosen.pairs:
        findings = (*findings, *said_of_pairs(prepared.options.audit_pairs, chosen.pairs))
    session.end_step("check the data")
    beside = BesideModel.of(
        development, prepared.image_stats, prepared.canvas, crossed, session.extractor
    )
    result = _result(prepared, judged, chosen, tested, findings, session.spent)
    test = tested.predictions.get(chosen.choice.recommended)
    return Study(
        result=dataclasses.replace(
            result,
            sets=set_figures(beside.own, crossed, test, prepared.options.alpha),
            unlike=unlike_figures(beside.reference, prepared.table.test, session.extractor),
            wishes=describe_wishes(beside.own, crossed.unchanged, test),
            subgroups=by_subgroup(prepared, crossed, test),
            grades=figures_of_grades(crossed, test),
        ),
        options=prepared.options,
        folds=prepared.development.folds,
        planned=prepared.planned,
        oof={key: one.predictions for key, one in judged.items()},
        test=tested.predictions,
        unchanged=crossed.unchanged,
        fitted=crossed.fitted,
        validation=chosen.validation,
        tested=tested.evaluation,
        by_patient=tested.by_patient,
        seconds=session.all_step_seconds,
        sessions=session.sessions,
        looks=session.looks(len(tested.predictions)),
        pairs=chosen.pairs,
        audit_seconds=session.step_seconds.get(AUDITED, 0.0),
        training={key: c.training for key, c in judged.items() if c.training is not None},
        audits=chosen.audited.audits if chosen.audited else {},
        beside=beside,
    )


# --------------------------------------------------------------------------- their parts


def _result(
    prepared: Prepared,
    judged: Mapping[str, CrossFitted],
    chosen: Chosen,
    tested: Tested,
    findings: tuple[Finding, ...],
    seconds: float,
) -> StudyResult:
    """What `result.json` holds."""
    metric, planned, audited = prepared.options.metric, prepared.planned, chosen.audited
    choice, evaluation = chosen.choice, tested.evaluation
    audits = {key: one.result for key, one in audited.audits.items()} if audited else {}
    return StudyResult(
        metric=metric,
        table=prepared.table,
        findings=findings,
        scenarios=_results(
            planned,
            judged,
            _with_all(chosen.estimates, metric, choice, chosen.validation),
            _with_all(tested.estimates, metric, choice, evaluation),
        ),
        recommended=choice.recommended,
        why=explain_choice(
            choice,
            chosen.estimates,
            prepared.table,
            metric,
            _by_tap(planned, chosen.estimates, choice),
            audits,
        ),
        corrected=choice.corrected,
        comparisons=choice.comparisons,
        audit=audited.mine.result if audited else None,
        versions=versions(),
        seconds=seconds,
        questions=answer([entry.scenario for entry in planned], chosen.drawn),
        lower_end=chosen.least,
        by_site=chosen.by_site,
        second=prepared.options.second,
        similarity=prepared.similarity,
        learning_curve=chosen.curve,
        budget=prepared.budget and _with_audit(prepared, prepared.budget, chosen.pairs),
        calibration={
            "validation": chosen.validation.calibration,
            "test": None if evaluation is None else evaluation.calibration,
        },
    )


def _with_audit(prepared: Prepared, use: BudgetUse, pairs: int) -> BudgetUse:
    """The same, with how large the audit was where it was cut."""
    cut = prepared.options.audit and pairs < prepared.options.audit_pairs
    return dataclasses.replace(use, audit_pairs=pairs) if cut else use


def _estimates(oof: Sequence[Predictions], metric: str, folds: Folds) -> dict[str, Estimate]:
    """The metric of every scenario by key; it says where images were judged changed."""
    found = dict(zip([p.scenario for p in oof], estimate_all(oof, metric), strict=True))
    if folds.view is None:
        return found
    return {
        key: dataclasses.replace(one, method=f"{one.method}; images in changed views")
        for key, one in found.items()
    }


def _findings(prepared: Prepared, oof: Predictions, extractor: Extractor) -> tuple[Finding, ...]:
    """The data checks, with codes and out-of-fold predictions of the recommended scenario."""
    table = prepared.table
    scenario = scenario_of(prepared.planned, oof.scenario)
    (first, *_) = scenario.members or (scenario,)
    tap = {"finetune": last_map(extractor.backbone(first.backbone)).name, "hybrid": PRETRAINED}
    where = tap.get(first.family, first.tap)  # of a trained network, as it was before
    pixels = Preprocessing(resize=first.pixels.resize)
    plain = Scenario(first.backbone, where, Head("svm"), pixels)
    codes, _ = extractor.codes(table, feature_plan_of(plain, extractor).canvas)
    inputs = ProfileInputs(codes, prepared.image_stats, oof, surface=prepared.surface)
    checked = examine(table, inputs, seed=prepared.options.seed).findings
    return (*table.findings, *prepared.findings, *checked)


def _results(
    planned: Sequence[PlannedScenario],
    found: Mapping[str, CrossFitted],
    validation: Mapping[str, Mapping[str, Estimate]],
    test: Mapping[str, Mapping[str, Estimate]],
) -> tuple[ScenarioResult, ...]:
    """One line a scenario, simplest first."""
    return tuple(
        ScenarioResult(
            key=entry.scenario.key,
            family=entry.scenario.family,
            backbone=entry.scenario.backbone,
            seconds=found[entry.scenario.key].seconds,
            cost=entry.cost,
            validation=validation[entry.scenario.key],
            test=test.get(entry.scenario.key),
            operating=found[entry.scenario.key].fitted.operating,
        )
        for entry in planned
    )


def _with_all(
    estimates: Mapping[str, Estimate],
    metric: str,
    choice: Recommendation,
    evaluation: Evaluation | None,
) -> dict[str, Mapping[str, Estimate]]:
    """The metric of every scenario, and every other metric of the recommended one."""
    found: dict[str, Mapping[str, Estimate]] = {
        key: {metric: estimate} for key, estimate in estimates.items()
    }
    if evaluation is not None:
        own = found[choice.recommended]
        found[choice.recommended] = {**evaluation.estimates, **own}
    return found


def _by_tap(
    planned: Sequence[PlannedScenario], estimates: Mapping[str, Estimate], choice: Recommendation
) -> list[tuple[str, float]]:
    """(tap, value) from shallow to deep, of the plain probes of the recommended backbone and head.

    Of the first head, where the recommended scenario's is not one of the probes'.
    """
    mine = scenario_of(planned, choice.recommended)
    plain = [
        p.scenario
        for p in planned
        if (p.scenario.family, p.scenario.backbone) == ("probe", mine.backbone)
        and not (p.scenario.pixels.edits or p.scenario.pixels.views or p.scenario.tap == STAGES)
        and p.scenario.code == Pooled()
    ]
    heads = {scenario.head for scenario in plain}
    head = mine.head if mine.head in heads else next(iter(sorted(heads)), "")
    return [(s.tap, estimates[s.key].value) for s in plain if s.head == head]


def versions() -> dict[str, str]:
    """The versions that numbers depend on."""
    names = ("medgraft", "torch", "timm", "openvino", "numpy", "scikit-learn", "simplejpeg")
    found = {name: importlib.metadata.version(name) for name in names}
    return {"python": platform.python_version(), **found}
