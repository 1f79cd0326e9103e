"""From a finished study to what its report shows: cases with maps, samples, the depth profile."""

from __future__ import annotations

import dataclasses
import os
import platform
from collections.abc import Sequence

import numpy as np

from medgraft.data.listing import content_hash
from medgraft.errors import ScenarioError
from medgraft.evaluate.calibration import positive_column
from medgraft.evaluate.metrics import give_labels
from medgraft.explain.cam import block_taps, grad_cam
from medgraft.features.extract import Extractor
from medgraft.learn.probe import FittedProbe
from medgraft.report.content import Case, DepthPoint, HowTo, ReportInput
from medgraft.studies.run import Study
from medgraft.types import (
    Canvas,
    FittedScenario,
    Floats,
    ImageTable,
    Ints,
    Pixels,
    Predictions,
    digest,
)

CASES_A_CELL = 3  # right, and wrong, of each class
SAMPLES_A_CLASS = 6
MOST_CLASSES_SHOWN = 10


def gather(study: Study, extractor: Extractor, command: str = "") -> ReportInput:
    """Everything one report shows; images are decoded again, a few of them."""
    result = study.result
    key = result.recommended
    test = study.test.get(key)
    return ReportInput(
        result=result,
        oof=study.oof[key],
        oof_evaluation=study.validation,
        how=HowTo(
            command=command or "medgraft.study(table)",
            seed=study.options.seed,
            versions=result.versions,
            backbones=tuple(extractor.backbone(name).card for name in study.options.backbones),
            machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
            seconds=study.seconds,
        ),
        test=test,
        test_evaluation=study.tested,
        by_patient=study.by_patient,
        depth=_depth(study, extractor),
        cases=_cases(study, test if test is not None and len(test) else study.oof[key], extractor),
        samples=_samples(study, extractor),
    )


def _depth(study: Study, extractor: Extractor) -> tuple[DepthPoint, ...]:
    """The score of each tap, for scenarios like the recommended one but for tap and head."""
    estimates = {row.key: row.validation[study.result.metric] for row in study.result.scenarios}
    scenarios = {entry.scenario.key: entry.scenario for entry in study.planned}
    mine = scenarios[study.result.recommended]
    order = {tap.name: i for i, tap in enumerate(extractor.backbone(mine.backbone).taps)}
    return tuple(
        DepthPoint(s.backbone, s.tap, order[s.tap], s.head, estimates[key])
        for key, s in scenarios.items()
        if s.tap in order and dataclasses.replace(s, tap=mine.tap, head=mine.head) == mine
    )


def _cases(study: Study, predictions: Predictions, extractor: Extractor) -> tuple[Case, ...]:
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
        Case(
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
    if not isinstance(fitted, FittedProbe):
        return f"no map exists for the family {fitted.scenario.family}", nothing
    taps = [tap for _, tap in sorted(block_taps(fitted).items())]
    cache, key = fitted.extractor.cache, _maps_key(fitted, pictures, targets, taps)
    kept = cache.get("maps", key)
    if kept is None:
        try:
            found = grad_cam(fitted, pictures, taps, targets)
        except ScenarioError as error:  # kNN has no gradient
            return str(error), nothing
        kept = {
            tap: np.stack([_unit(one[tap].map) for one in found]).astype(np.float16) for tap in taps
        }
        cache.put("maps", key, kept)
    maps = {tap: kept[tap].astype(np.float32) for tap in taps}
    return "", [tuple((tap, maps[tap][i]) for tap in taps) for i in range(len(pictures))]


def _maps_key(
    fitted: FittedProbe, pictures: Sequence[Canvas], targets: Sequence[str], taps: Sequence[str]
) -> str:
    """What decides the maps: the network, the head's numbers, the pixels, classes and taps."""
    arrays, _ = fitted.head.to_arrays()
    return digest(
        fitted.scenario.key,
        fitted.spec.recipe,
        {name: content_hash(array.tobytes()) for name, array in arrays.items()},
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


def _decode(
    table: ImageTable, ids: Sequence[str], extractor: Extractor, study: Study
) -> dict[str, Canvas]:
    """The canvases of some images as the recommended scenario sees them, by id."""
    rows = np.flatnonzero(np.isin(table.ids, list(ids)))
    stream = extractor.canvases(table.select(rows), study.fitted.spec)
    return {row.id: row for row in stream if isinstance(row, Canvas)}
