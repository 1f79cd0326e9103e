"""From a finished study to what its report shows."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence

import numpy as np

from medgraft.audit.evidence_view import evidence_view
from medgraft.evaluate.curves import draw_curves
from medgraft.evaluate.intervals import Sampling
from medgraft.evaluate.metrics import METRICS
from medgraft.evaluate.winners_curse import bias_corrected
from medgraft.features.extract import Extractor
from medgraft.results.recommendation import ScenarioResult
from medgraft.results.study import ClassifierFacts, DepthPoint, FamilyResult, HowTo, ReportInput
from medgraft.scenario import Encoded, Pooled, steps_of
from medgraft.studies.examples import cases, layer_examples, samples
from medgraft.studies.run import Study
from medgraft.studies.training import trained_stages, trainings
from medgraft.types import Estimate, FittedScenario, Scenario

CHEAP = Sampling(resamples=500)  # for figures that nothing is decided by


def report_input(
    study: Study, extractor: Extractor, command: str = "", *, test_given: bool = False
) -> ReportInput:
    """Everything one report shows; images are decoded again, a few of them.

    test_given : whether the test split came with the data.
    """
    result = study.result
    key = result.recommended
    test = study.test.get(key)
    judged = test if test is not None and len(test) else study.unchanged
    trained = study.training.get(key)
    return ReportInput(
        result=result,
        curves=draw_curves(judged),
        oof_evaluation=study.validation,
        how=HowTo(
            command=command or "medgraft.study(table)",
            seed=study.options.seed,
            versions=result.versions,
            backbones=tuple(extractor.backbone(name).card for name in study.options.backbones),
            machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
            seconds=study.seconds,
            n_folds=study.folds.n_folds,
            test_given=test_given,
            sessions=study.sessions,
            looks=study.looks,
            fingerprint=study.fingerprint or result.table.fingerprint,
        ),
        test_evaluation=study.tested,
        by_patient=study.by_patient,
        depth=_depth(study, extractor),
        cases=cases(study, judged, extractor),
        samples=samples(study, extractor),
        examples=layer_examples(study, extractor),
        scenarios=tuple(entry.scenario for entry in study.planned),
        recipe=classifier_facts(study.fitted, trained.depth if trained else ""),
        families=_families(study),
        trainings=trainings(study, extractor),
        changed=study.folds.view is not None,
        evidence=evidence_view(study.audits[key]) if study.audits else None,
    )


def _depth(study: Study, extractor: Extractor) -> tuple[DepthPoint, ...]:
    """The score of each tap with the plain codes, whatever is recommended.

    Beside them, where encoders or other input sizes were tried, the best way of each family.
    """
    estimates = {row.key: row.validation[study.result.metric] for row in study.result.scenarios}
    edits = steps_of(study.options.preprocess[0])
    pooled = Pooled(study.options.poolings[0])
    found = []
    for name in study.options.backbones:
        order = {tap.name: i for i, tap in enumerate(extractor.backbone(name).taps)}
        mine = [
            entry.scenario
            for entry in study.planned
            if entry.scenario.backbone == name
            and entry.scenario.tap in order
            and (entry.scenario.pixels.edits, entry.scenario.pixels.views) == (edits, None)
        ]
        plain = [s for s in mine if s.family == "probe" and s.code == pooled]
        found += [DepthPoint(name, s.tap, order[s.tap], s.head, estimates[s.key]) for s in plain]
        for family in ("vlad", "multiscale"):
            own = {s.key: s for s in mine if s.family == family}
            rows = [row for row in study.result.scenarios if row.key in own]
            if not rows:
                continue
            best = own[_best(rows, study.result.metric).key]
            found += [
                DepthPoint(name, s.tap, order[s.tap], s.head, estimates[s.key], beside=s)
                for s in own.values()
                if _reading(s) == _reading(best)
            ]
    return tuple(found)


def _reading(scenario: Scenario) -> tuple[object, ...]:
    """How its tap is read."""
    code, pixels = scenario.code, scenario.pixels
    return code if isinstance(code, Encoded) else None, pixels.sizes, pixels.join


def classifier_facts(fitted: FittedScenario, depth: str = "") -> ClassifierFacts:
    """What makes a classifier, for who builds it again.

    depth : of a trained network the layer that it was trained from.
    """
    scenario = fitted.scenario
    joined: tuple[tuple[ClassifierFacts, float], ...] = ()
    if not fitted.networks:
        joined = tuple(
            (classifier_facts(member), weight)
            for member, weight in zip(fitted.members, fitted.weights, strict=True)
        )
    return ClassifierFacts(
        scenario=scenario,
        size=fitted.spec.size,
        taps=fitted.spec.taps,
        settings=fitted.settings,
        networks=len(fitted.networks),
        depth=depth,
        stages=trained_stages(depth, fitted.networks[0].backbone) if depth else None,
        members=joined,
    )


def _families(study: Study) -> tuple[FamilyResult, ...]:
    """The best scenario of each family; none where there is one family only."""
    metric = study.result.metric
    found: dict[str, list[ScenarioResult]] = {}
    for row in study.result.scenarios:
        found.setdefault(row.family, []).append(row)
    best = {family: _best(rows, metric) for family, rows in found.items()}
    probe = best["probe"].key if "probe" in best else ""
    compared = {(q.comparison.a, q.comparison.b): q.comparison for q in study.result.questions}
    return tuple(
        FamilyResult(
            family=family,
            n=len(found[family]),
            best=row.key,
            validation=row.validation[metric],
            corrected=_corrected(study, row, found[family]),
            test=row.test[metric] if row.test else None,
            against=compared.get((row.key, probe)),
        )
        for family, row in best.items()
        if len(best) > 1
    )


def _corrected(study: Study, best: ScenarioResult, rows: Sequence[ScenarioResult]) -> Estimate:
    """The best one's figure once its having been chosen among these is discounted."""
    metric = study.result.metric
    if len(rows) == 1:
        return best.validation[metric]
    return bias_corrected([study.oof[row.key] for row in rows], metric, sampling=CHEAP)


def _best(rows: Sequence[ScenarioResult], metric: str) -> ScenarioResult:
    """The best out of fold, of equals the simplest; what is undefined is never the best."""
    sign = METRICS[metric].sign
    worth = [sign * row.validation[metric].value for row in rows]
    return rows[int(np.argmax(np.where(np.isnan(worth), -np.inf, worth)))]
