"""The images that a study's report shows: cases with heatmaps, layers, and samples of the data.

A few images are decoded again for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medgraft.data.listing import content_hash
from medgraft.evaluate.metrics import give_labels
from medgraft.evaluate.threshold import positive_column
from medgraft.explain.cam import block_taps, grad_cam, has_cam
from medgraft.explain.layers import has_layers, layer_atlases
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.results.layers import LayerExample
from medgraft.results.study import CaseView, NoMap
from medgraft.studies.run import Study
from medgraft.types import (
    Canvas,
    FittedNetwork,
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
MOST_EXAMPLES = 4  # classes with an atlas
HEATMAP_CACHE_VERSION = "1"  # raise it when a change of code changes a heatmap


def cases(study: Study, predictions: Predictions, extractor: Extractor) -> tuple[CaseView, ...]:
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
    reason, maps = _maps(fitted, pictures, names, extractor.cache)
    return tuple(
        CaseView(
            id=str(predictions.ids[row]),
            truth=predictions.classes[predictions.y_true[row]],
            predicted=name,
            probability=float(predictions.y_prob[row, labels[row]]),
            correct=bool(labels[row] == predictions.y_true[row]),
            pixels=picture.pixels,
            maps=strip,
            no_map=reason,
        )
        for row, name, picture, strip in zip(shown, names, pictures, maps, strict=True)
    )


def _maps(
    fitted: FittedScenario, pictures: Sequence[Canvas], targets: Sequence[str], cache: Cache
) -> tuple[NoMap, list[tuple[tuple[str, Floats], ...]]]:
    """Why there are no maps ('' where there are), and each picture's from block 1 on, by tap."""
    nothing: list[tuple[tuple[str, Floats], ...]] = [()] * len(pictures)
    if not has_cam(fitted):
        return "no gradient", nothing
    taps = [tap for _, tap in sorted(block_taps(fitted).items())]
    if not taps:
        return "no extent", nothing
    key = _maps_key(fitted.networks, pictures, targets, taps)
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
    networks: Sequence[FittedNetwork],
    pictures: Sequence[Canvas],
    targets: Sequence[str],
    taps: Sequence[str],
) -> str:
    """What decides the maps: the networks, the heads' numbers, the pixels, classes and taps."""
    return digest(
        HEATMAP_CACHE_VERSION,
        networks[0].scenario.key,
        networks[0].classes,
        [one.spec.recipe for one in networks],
        [dict(one.learned) for one in networks],
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


def samples(study: Study, extractor: Extractor) -> dict[str, tuple[tuple[str, Pixels], ...]]:
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


def layer_examples(study: Study, extractor: Extractor) -> tuple[LayerExample, ...]:
    """Of each class the surest of the development images called right, through the layers."""
    predictions = study.unchanged
    labels = _labels(predictions, study)
    rows = []
    for k in range(min(len(predictions.classes), MOST_EXAMPLES)):
        right = np.flatnonzero((predictions.y_true == k) & (labels == k))
        rows += right[np.argsort(-predictions.y_prob[right, k], kind="stable")[:1]].tolist()
    if not has_layers(study.fitted):
        return ()
    canvases = _decode(study.result.table, predictions.ids[rows].tolist(), extractor, study)
    shown = [row for row in rows if predictions.ids[row] in canvases]
    pictures = [canvases[str(predictions.ids[row])] for row in shown]
    return tuple(
        LayerExample(
            predictions.classes[k := labels[row]], float(predictions.y_prob[row, k]), atlas
        )
        for row, atlas in zip(shown, layer_atlases(study.fitted, pictures), strict=True)
    )


def _decode(
    table: ImageTable, ids: Sequence[str], extractor: Extractor, study: Study
) -> dict[str, Canvas]:
    """The canvases of some images as the recommended scenario sees them, by id."""
    rows = np.flatnonzero(np.isin(table.ids, list(ids)))
    stream = extractor.canvases(table.select(rows), study.fitted.spec)
    return {row.id: row for row in stream if isinstance(row, Canvas)}
