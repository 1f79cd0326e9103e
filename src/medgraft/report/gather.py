"""From a finished study to what its report shows: cases with maps, samples, the depth profile."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence

import numpy as np

from medgraft.audit.evidence_view import evidence_view
from medgraft.data.listing import content_hash
from medgraft.evaluate.calibration import positive_column
from medgraft.evaluate.curves import draw_curves
from medgraft.evaluate.intervals import Sampling
from medgraft.evaluate.metrics import METRICS, give_labels
from medgraft.evaluate.selection import bias_corrected
from medgraft.explain.cam import block_taps, grad_cam, has_cam, networks_of
from medgraft.explain.layers import layer_atlases
from medgraft.features.extract import Extractor
from medgraft.learn.frozen import FittedFrozen
from medgraft.report.text import scenario_names
from medgraft.results.layers import LayerExample
from medgraft.results.study import CaseView, DepthPoint, FamilyResult, HowTo, ReportInput
from medgraft.results.training import TrainedScenario, TrainingLog
from medgraft.scenario import Pooled, steps_of
from medgraft.studies.run import Study
from medgraft.types import (
    Canvas,
    Estimate,
    FittedScenario,
    Floats,
    ImageTable,
    Ints,
    Pixels,
    Predictions,
    Scenario,
    ScenarioResult,
    digest,
)

CASES_A_CELL = 3  # right, and wrong, of each class
SAMPLES_A_CLASS = 6
MOST_CLASSES_SHOWN = 10
MOST_EXAMPLES = 4  # classes with an atlas
MAPS = "1"  # raise it when a change of code changes a heatmap
CHEAP = Sampling(resamples=500)  # for figures that nothing is decided by


def gather(study: Study, extractor: Extractor, command: str = "") -> ReportInput:
    """Everything one report shows; images are decoded again, a few of them."""
    result = study.result
    key = result.recommended
    test = study.test.get(key)
    trained = study.training.get(key)
    return ReportInput(
        result=result,
        curves=draw_curves(study.unchanged if study.tested is None or test is None else test),
        oof_evaluation=study.validation,
        how=HowTo(
            command=command or "medgraft.study(table)",
            seed=study.options.seed,
            versions=result.versions,
            backbones=tuple(extractor.backbone(name).card for name in study.options.backbones),
            machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
            seconds=study.seconds,
        ),
        test_evaluation=study.tested,
        by_patient=study.by_patient,
        depth=_depth(study, extractor),
        cases=_cases(study, test if test is not None and len(test) else study.unchanged, extractor),
        samples=_samples(study, extractor),
        examples=_examples(study, extractor),
        scenarios=tuple(entry.scenario for entry in study.planned),
        recipe=scenario_names.scenario_facts(
            study.fitted, extractor, trained.depth if trained else ""
        ),
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
            way = scenario_names.how_read(own[_best(rows, study.result.metric).key]) if rows else ""
            found += [
                DepthPoint(name, s.tap, order[s.tap], way, estimates[s.key], beside=True)
                for s in own.values()
                if scenario_names.how_read(s) == way
            ]
    return tuple(found)


def trainings(study: Study, extractor: Extractor) -> tuple[TrainedScenario, ...]:
    """The scenarios whose network was trained, in the order of the plan."""
    return tuple(
        trained_scenario(entry.scenario, study.training[entry.scenario.key], extractor)
        for entry in study.planned
        if entry.scenario.key in study.training
    )


def trained_scenario(scenario: Scenario, log: TrainingLog, extractor: Extractor) -> TrainedScenario:
    """How a scenario's network was trained, with its depths in words."""
    backbone = extractor.backbone(scenario.backbone)
    tried = [trial.depth for trial in log.search.trials] if log.search else []
    depths = {
        depth: scenario_names.depth_in_words(depth, backbone) for depth in [log.depth, *tried]
    }
    return TrainedScenario(scenario.key, log, depths)


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


def _cases(study: Study, predictions: Predictions, extractor: Extractor) -> tuple[CaseView, ...]:
    """Right and wrong cases of each class with Grad-CAM, blocks 1 to the head's tap.

    Per class: the typical right ones (nearest the median certainty of the right ones, so that
    nothing is picked for its beauty) and the most certain wrong ones (what goes worst).
    """
    fitted = study.fitted
    labels = _labels(predictions, study)
    rows = _chosen_rows(predictions, labels)
    canvases = _decode(study.result.table, predictions.ids[rows].tolist(), extractor, study)
    shown = [row for row in rows if predictions.ids[row] in canvases]
    pictures = [canvases[str(predictions.ids[row])] for row in shown]
    names = [predictions.classes[labels[row]] for row in shown]
    reason, maps = _maps(fitted, pictures, names)
    return tuple(
        CaseView(
            id=str(predictions.ids[row]),
            truth=predictions.classes[predictions.y_true[row]],
            predicted=name,
            probability=float(predictions.y_prob[row, labels[row]]),
            correct=bool(labels[row] == predictions.y_true[row]),
            pixels=picture.pixels,
            maps=strip,
            reason=reason,
        )
        for row, name, picture, strip in zip(shown, names, pictures, maps, strict=True)
    )


def _maps(
    fitted: FittedScenario, pictures: Sequence[Canvas], targets: Sequence[str]
) -> tuple[str, list[tuple[tuple[str, Floats], ...]]]:
    """Why there are no maps ('' where there are), and each picture's from block 1 on, by tap."""
    nothing: list[tuple[tuple[str, Floats], ...]] = [()] * len(pictures)
    if not has_cam(fitted):
        return scenario_names.why_no_map(fitted.scenario), nothing
    taps = [tap for _, tap in sorted(block_taps(fitted).items())]
    if not taps:
        return f"{fitted.spec.taps[-1]} has no extent, so there are no places to mark", nothing
    networks = networks_of(fitted)
    cache, key = networks[0].extractor.cache, _maps_key(networks, pictures, targets, taps)
    kept = cache.get("maps", key)
    if kept is None:
        found = grad_cam(fitted, pictures, taps, targets)
        kept = {
            tap: np.stack([_unit(one[tap].map) for one in found]).astype(np.float16) for tap in taps
        }
        cache.put("maps", key, kept)
    maps = {tap: kept[tap].astype(np.float32) for tap in taps}
    return "", [tuple((tap, maps[tap][i]) for tap in taps) for i in range(len(pictures))]


def _maps_key(
    networks: Sequence[FittedFrozen],
    pictures: Sequence[Canvas],
    targets: Sequence[str],
    taps: Sequence[str],
) -> str:
    """What decides the maps: the networks, the heads' numbers, the pixels, classes and taps."""
    heads = [one.head.to_arrays()[0] for one in networks]
    return digest(
        MAPS,
        networks[0].scenario.key,
        networks[0].classes,
        [one.spec.recipe for one in networks],
        [{name: content_hash(a.tobytes()) for name, a in arrays.items()} for arrays in heads],
        [content_hash(picture.pixels.tobytes()) for picture in pictures],
        list(targets),
        list(taps),
        length=32,
    )


def _unit(map: Floats) -> Floats:
    """Scaled to 0..1 for the eye; a map that is zero everywhere stays so."""
    top = float(map.max())
    return map / top if top > 0 else map


def _labels(predictions: Predictions, study: Study) -> Ints:
    """The label given to each image (n,), at the operating threshold where there is one."""
    operating = study.fitted.operating
    if operating is None:
        return give_labels(predictions.y_prob, None, 0.0)
    return give_labels(predictions.y_prob, positive_column(predictions), operating.threshold)


def _chosen_rows(predictions: Predictions, labels: Ints) -> list[int]:
    rows: list[int] = []
    certainty = predictions.y_prob[np.arange(len(labels)), labels]
    for k in range(min(len(predictions.classes), MOST_CLASSES_SHOWN)):
        mine = predictions.y_true == k
        right = np.flatnonzero(mine & (labels == k))
        wrong = np.flatnonzero(mine & (labels != k))
        if len(right):
            typical = np.argsort(
                np.abs(certainty[right] - np.median(certainty[right])), kind="stable"
            )
            rows += right[typical[:CASES_A_CELL]].tolist()
        rows += wrong[np.argsort(-certainty[wrong], kind="stable")[:CASES_A_CELL]].tolist()
    return rows


def _samples(study: Study, extractor: Extractor) -> dict[str, tuple[tuple[str, Pixels], ...]]:
    """A few development images of each class, drawn with the study's seed."""
    table = study.result.table.development
    rng = np.random.default_rng(study.options.seed)
    chosen: dict[str, list[str]] = {}
    for k, name in enumerate(table.classes[:MOST_CLASSES_SHOWN]):
        ids = table.ids[table.labels == k]
        chosen[name] = rng.choice(ids, min(SAMPLES_A_CLASS, len(ids)), replace=False).tolist()
    wanted = [id for ids in chosen.values() for id in ids]
    canvases = _decode(table, wanted, extractor, study)
    return {
        name: tuple((id, canvases[id].pixels) for id in ids if id in canvases)
        for name, ids in chosen.items()
    }


def _examples(study: Study, extractor: Extractor) -> tuple[LayerExample, ...]:
    """Of each class the surest of the development images called right, through the layers."""
    predictions = study.unchanged
    labels = _labels(predictions, study)
    rows = []
    for k in range(min(len(predictions.classes), MOST_EXAMPLES)):
        right = np.flatnonzero((predictions.y_true == k) & (labels == k))
        rows += right[np.argsort(-predictions.y_prob[right, k], kind="stable")[:1]].tolist()
    canvases = _decode(study.result.table, predictions.ids[rows].tolist(), extractor, study)
    shown = [row for row in rows if predictions.ids[row] in canvases]
    pictures = [canvases[str(predictions.ids[row])] for row in shown]
    return tuple(
        LayerExample(
            predictions.classes[k := labels[row]], float(predictions.y_prob[row, k]), atlas
        )
        for row, atlas in zip(
            shown, layer_atlases(extractor, study.fitted.spec, pictures), strict=True
        )
    )


def _decode(
    table: ImageTable, ids: Sequence[str], extractor: Extractor, study: Study
) -> dict[str, Canvas]:
    """The canvases of some images as the recommended scenario sees them, by id."""
    rows = np.flatnonzero(np.isin(table.ids, list(ids)))
    stream = extractor.canvases(table.select(rows), study.fitted.spec)
    return {row.id: row for row in stream if isinstance(row, Canvas)}
