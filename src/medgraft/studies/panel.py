"""Several findings an image: a study each, on the same images, codes, test split and folds.

Each finding is judged first, and only what its scenarios did on shared resamples of patients is
kept; so one scenario can be held to each finding's own. When that is decided all is frozen, and
each study is finished in turn, from the cache: memory does not grow with the findings.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from medgraft.data.panel_split import panel_folds
from medgraft.data.split import Development, Together, folds_of
from medgraft.errors import DataError, FitError
from medgraft.evaluate.company import MarksOf, company_gaps
from medgraft.evaluate.compare import estimate_all, holm
from medgraft.evaluate.influence import influence, spread
from medgraft.evaluate.intervals import proportion
from medgraft.evaluate.macro import macro_mean
from medgraft.evaluate.metrics import judge as judge_case
from medgraft.features.extract import Extractor, readable
from medgraft.features.feature_plan import feature_plan_of
from medgraft.learn.fit import cross_predict
from medgraft.panel import ABSENT, PRESENT, UNCERTAIN, UNKNOWN, Marks, Panel, Uncertain
from medgraft.results.panel import FindingAudit, FindingResult, OtherReading, PanelResult
from medgraft.scenario import Scenario
from medgraft.studies.defaults import with_defaults
from medgraft.studies.judge import judge
from medgraft.studies.near_copies import divided_without_torn_copies
from medgraft.studies.one_scenario import FindingChoice, choice_of, one_or_own
from medgraft.studies.options import StudyOptions
from medgraft.studies.panel_audits import AuditClock, panel_options, weakest_first
from medgraft.studies.prepare import prepare
from medgraft.studies.run import Study, run_study, versions
from medgraft.studies.session import Session
from medgraft.studies.store import RunStore
from medgraft.studies.together import learned_together
from medgraft.types import Estimate, Folds, ImageTable, Predictions, Strings

ScenarioChoice = Literal["auto", "one", "own"]
READINGS: tuple[Uncertain, ...] = ("unknown", "negative", "positive")

Finish = Callable[[str, Study], str]
"""What is done with each finding's finished study: from its name to the folder that it left."""


@dataclass(frozen=True, eq=False)
class PanelStudy:
    """A finished panel: the result, and by finding what it said out of fold and of test images."""

    result: PanelResult
    panel: Panel
    folds: Folds
    oof: Mapping[str, Predictions]
    test: Mapping[str, Predictions]


def run_panel(
    panel: Panel,
    options: StudyOptions,
    extractor: Extractor,
    store: RunStore | None = None,
    *,
    scenario: ScenarioChoice = "auto",
    store_of: Callable[[str, ImageTable], RunStore | None] = lambda name, table: None,
    finish: Finish = lambda name, study: "",
) -> PanelStudy:
    """Study every finding that can be judged, and all of them together.

    Parameters
    ----------
    scenario
        One for all, or each its own; `auto` is one where the two cannot be told apart.
    store_of, finish
        By finding: where its events are written, and what is done with it when it is finished.

    Raises
    ------
    FitError
        No finding has enough patients.
    ScenarioError
        An option is for one question only.
    """
    with extractor.sharing():
        return _studied(
            panel, options, Session(extractor, store), scenario, store_of=store_of, finish=finish
        )


def _studied(
    panel: Panel,
    options: StudyOptions,
    session: Session,
    scenario: ScenarioChoice,
    *,
    store_of: Callable[[str, ImageTable], RunStore | None],
    finish: Finish,
) -> PanelStudy:
    """`run_panel`, its arguments as there."""
    began, extractor = time.perf_counter(), session.extractor
    clock = AuditClock(options.budget, options.audit_pairs, session)
    options = panel_options(options)
    panel = divided_without_torn_copies(panel, options, extractor)
    folds, short = panel_folds(panel, options.n_folds, options.seed)
    names = [name for name in panel.names if name not in {one.name for one in short}]
    options = with_defaults(options, panel.question(names[0]), extractor)
    options, together = learned_together(panel, names, options, extractor, folds)
    choices: dict[str, FindingChoice] = {}
    for name in names:
        extractor.progress.say(f"Judging {name} ({len(choices) + 1} of {len(names)} findings).")
        choices[name] = _judged(panel.question(name), options, extractor, folds, together, clock)
        session.event("finding judged", finding=name, own=choices[name].own)
    decided = one_or_own(choices, options.metric, scenario)
    session.event("scenario decided", taken=decided.taken, one=decided.one)
    # From here on every finding's scenario is frozen; each looks at its test images once.
    given = decided.one if decided.taken == "one" else ""
    found: dict[str, FindingResult] = {}
    oof, tested = dict[str, Predictions](), dict[str, Predictions]()
    order = weakest_first(choices, given, options.metric) if clock.seconds else names
    for name in order:
        extractor.progress.say(f"Finishing {name}.")
        key, table = given or choices[name].own, panel.question(name)
        pairs = clock.pairs(name, key, len(order) - len(found))
        asked = options
        if pairs:
            asked = dataclasses.replace(options, audit=True, audit_pairs=pairs)
        kept, start = store_of(name, table), time.perf_counter()
        study = run_study(
            table,
            asked,
            extractor,
            kept,
            folds=folds,
            given=given,
            together=together,
            known=choices[name].alone,
        )
        folder = finish(name, study)
        clock.learn(key, study.pairs, time.perf_counter() - start, study.audit_seconds)
        oof[name] = study.unchanged
        if study.result.recommended in study.test:
            tested[name] = study.test[study.result.recommended]
        others = tuple(_other_readings(panel, name, study, extractor, folds))
        found[name] = _finding(panel, name, folder, study, choices[name].own, others)
    oof, tested = ({name: one[name] for name in names if name in one} for one in (oof, tested))
    result = PanelResult(
        metric=options.metric,
        data=_data(panel),
        uncertain=panel.uncertain,
        findings=_told([found[name] for name in names], oof, tested),
        short=short,
        scenario=decided,
        macro=_macro(oof, tested, options.metric),
        company=company_gaps(oof, _marks_of(panel)),
        pairs=_pairs(panel, PRESENT),
        known_pairs=_pairs(panel, ABSENT),
        notes=panel.images.findings,
        skipped=panel.images.skipped,
        versions=versions(),
        seconds=time.perf_counter() - began,
        budget=clock.seconds,
    )
    return PanelStudy(result, panel, folds, oof, tested)


def _judged(
    table: ImageTable,
    options: StudyOptions,
    extractor: Extractor,
    folds: Folds,
    together: Together | None,
    clock: AuditClock,
) -> FindingChoice:
    """What a finding's scenarios did on the resamples that all findings share."""
    session = Session(extractor, None)
    prepared = prepare(table, options, session, folds, together)
    clock.know(prepared)
    oof = [one.predictions for one in judge(prepared, session).values()]
    return choice_of(oof, options.metric, folds)


# --------------------------------------------------------------------------- what came out


def _finding(
    panel: Panel,
    name: str,
    folder: str,
    study: Study,
    own: str,
    others: tuple[OtherReading, ...],
) -> FindingResult:
    """A finding's figures; whether it is told from chance is found out with all others."""
    question = panel.question(name)
    row = next(r for r in study.result.scenarios if r.key == study.result.recommended)
    there = question.labels == question.classes.index(name)
    marks, audit = panel.marks[:, panel.names.index(name)], study.result.audit
    return FindingResult(
        name=name,
        folder=folder,
        n_images=len(question),
        n_with=int(there.sum()),
        n_groups=len(np.unique(question.groups)),
        n_uncertain=int((marks == UNCERTAIN).sum()),
        share=proportion(there, question.groups),
        scenario=row.key,
        own=own,
        validation=row.validation,
        test=row.test,
        corrected=study.result.corrected,
        operating=row.operating,
        p=1.0,
        tested=False,
        told="not told",
        others=others,
        audit=None if audit is None else FindingAudit(audit.verdict, study.pairs),
    )


def _told(
    found: list[FindingResult], oof: Mapping[str, Predictions], tested: Mapping[str, Predictions]
) -> tuple[FindingResult, ...]:
    """The findings with p against chance, corrected for their number."""
    p, on_test = [], []
    for one in found:
        test = tested.get(one.name)
        on_test.append(test is not None and len(np.unique(test.y_true)) == 2)
        p.append(_against_chance(tested[one.name] if on_test[-1] else oof[one.name]))
    return tuple(
        dataclasses.replace(one, p=p, tested=on, told="told" if p < 0.05 else "not told")
        for one, p, on in zip(found, holm(p), on_test, strict=True)
    )


def _against_chance(predictions: Predictions) -> float:
    """One-sided p that the AUROC is no better than a half, by its DeLong error over groups."""
    case = judge_case(predictions)
    (area,) = estimate_all([predictions], "auroc")
    variance, freedom = spread(influence(case, "auroc"), case, "auroc")
    if not variance > 1e-15:  # perfect, or the images are too few to tell
        return 0.0 if area.low > 0.5 else 1.0
    return float(stats.t.sf((area.value - 0.5) / np.sqrt(variance), freedom))


def _other_readings(
    panel: Panel, name: str, study: Study, extractor: Extractor, folds: Folds
) -> Iterator[OtherReading]:
    """The figure, out of fold in the same folds, with other words for what is uncertain."""
    if not (panel.marks[:, panel.names.index(name)] == UNCERTAIN).any():
        return
    (scenario,) = (e.scenario for e in study.planned if e.scenario.key == study.fitted.scenario.key)
    for uncertain in READINGS:
        if uncertain == panel.uncertain:
            continue
        question = panel.taken_as(uncertain).question(name)
        figure = None
        if not scenario.trained and not scenario.members:
            figure = _figure(scenario, question, study, extractor, folds)
        with_it = int((question.labels == question.classes.index(name)).sum())
        yield OtherReading(uncertain, len(question), with_it, figure)


def _figure(
    scenario: Scenario, question: ImageTable, study: Study, extractor: Extractor, folds: Folds
) -> Estimate | None:
    """The metric of one scenario on the development images of a question; None where it fails."""
    table = question.development
    table = readable(table, extractor.prepare(table, *feature_plan_of(scenario, extractor).specs))
    mine = dataclasses.replace(
        folds_of(folds, table), view=study.folds.view, metric=study.folds.metric
    )
    try:
        predictions = cross_predict(scenario, Development(table, mine), extractor)
        (figure,) = estimate_all([predictions], study.result.metric)
    except (FitError, DataError):
        return None
    return figure


def _macro(
    oof: Mapping[str, Predictions], tested: Mapping[str, Predictions], metric: str
) -> dict[str, dict[str, Estimate]]:
    """The mean over the findings, out of fold and on the test images of those that have both."""
    both = {name: one for name, one in tested.items() if len(np.unique(one.y_true)) == 2}
    metrics = dict.fromkeys((metric, "auroc"))
    found: dict[str, dict[str, Estimate]] = {}
    for part, predictions in (("validation", oof), ("test", both)):
        cases = [judge_case(one) for one in predictions.values()]
        if cases:
            found[part] = {name: macro_mean(cases, name) for name in metrics}
    return found


def _marks_of(panel: Panel) -> MarksOf:
    rows = {name: row for row, name in enumerate(panel.images.ids.tolist())}
    truth = panel.truth

    def marks(name: str, ids: Strings) -> Marks:
        index = np.array([rows[one] for one in ids.tolist()], np.int64)
        found: Marks = truth[index, panel.names.index(name)]
        return found

    return marks


def _pairs(panel: Panel, least: int) -> dict[tuple[str, str], int]:
    """In how many images two findings are both there (`PRESENT`), or both known (`ABSENT`)."""
    here = (panel.truth >= least).astype(np.int64)
    counts = here.T @ here
    return {
        (a, b): int(counts[i, j])
        for i, a in enumerate(panel.names)
        for j, b in enumerate(panel.names)
        if i < j
    }


def _data(panel: Panel) -> dict[str, object]:
    """What `result.json` says of the images."""
    images = panel.images
    names, counts = np.unique(images.splits, return_counts=True)
    return {
        "n_images": len(images),
        "n_groups": len(np.unique(images.groups)),
        "findings": list(panel.names),
        "known": [int(n) for n in (panel.truth != UNKNOWN).sum(axis=0)],
        "splits": dict(zip(names.tolist(), counts.tolist(), strict=True)),
    }
