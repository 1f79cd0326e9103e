"""Which frozen probe starts best where images are unlike those learned from? Writes start.jsonl.

`python experiments/shift/start.py` measures what `results/start.jsonl` lacks, one line a cell, so
that it can be killed and called anew; `shift_page.py` writes docs/results/shift.md from it. A cell
is a set of images on which ways to read and to decide are compared with `BASE`: tap, network,
regularisation, what joins two networks, and how an image is brought to a square. Only development
images are read; no official test split is looked at. It needs the extra `vgg16`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

import medgraft
from medgraft.data.split import holdout, make_folds
from medgraft.evaluate.calibration import fit_calibrator
from medgraft.evaluate.compare import of_all
from medgraft.evaluate.metrics import judge
from medgraft.features.extract import Extractor
from medgraft.features.feature_plan import FeaturePlan, feature_plan_of
from medgraft.learn.estimators import LinearSVMHead
from medgraft.learn.heads import nested_scores
from medgraft.learn.stacking import fit_stack, log, log_mean, stacked
from medgraft.scenario import Head, Preprocessing, ResizeRule, Scenario
from medgraft.types import Edit, Floats, ImageTable, Ints, Operating, Predictions

sys.path.insert(0, str(Path(__file__).parents[1]))

from page import read_cells
from shift.kinds import kinds_of
from shift.planted import Planted
from shift.resamples import interval, resampled
from shift.sources import PROCESSED, SHARED, development, processed, thinned
from shift.start_section import BASE, OUT_OF_FOLD

RESULTS = Path(__file__).parents[1] / "results" / "start.jsonl"
LITE0, VGG = "tf_efficientnet_lite0", "vgg16"
SQUARES, ASPECT = "chest_xray, squares", "chest_xray, aspect kept"
CROP = "chest_xray, aspect kept, two networks"
SETS = ("hyperkvasir5", "scenes_ot8", "skin7", "lc25000_lung_unique")
FOLDS = 5
PLANTED = (Planted("curve"), Planted("compression"))
UNSEEN = 0.4  # of the groups, that planted shifts are judged on

Joined = Literal["concat", "mean", "stack"]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Way:
    """A probe, or several that are joined.

    parts : network and tap of each. joined : `concat` is one head on their codes side by side,
    `mean` and `stack` join their probabilities. strength : place of a fixed penalty in the head's
    grid, 0 the strongest; None : chosen within the images learned from.
    """

    parts: tuple[tuple[str, str], ...]
    head: str = "svm"
    joined: Joined = "concat"
    strength: int | None = None
    resize: ResizeRule = "squash"


BOTH = ((LITE0, "stages"), (VGG, "stages"))
LAST = "lite0 conv_head, svm"
DEEP, MEAN = "vgg16 stages, svm", "both, mean of probabilities"
JOINS: Mapping[str, Way] = {
    BASE: Way(BOTH[:1]),
    DEEP: Way(BOTH[1:]),
    "both, one head on their codes": Way(BOTH),
    MEAN: Way(BOTH, joined="mean"),
    "both, stacked": Way(BOTH, joined="stack"),
}
WAYS: Mapping[str, Way] = {
    **JOINS,
    **{f"lite0 {tap}, svm": Way(((LITE0, tap),)) for tap in ("blocks.4", "blocks.5", "conv_head")},
    **{
        f"vgg16 {tap}, svm": Way(((VGG, tap),))
        for tap in ("block3_conv3", "block4_conv3", "block5_conv3", "block5_pool")
    },
    "lite0 stages, logistic": Way(BOTH[:1], "logistic"),
    "lite0 stages, lda": Way(BOTH[:1], "lda"),
    "vgg16 stages, logistic": Way(BOTH[1:], "logistic"),
    **{
        f"lite0 stages, svm, penalty {word}": Way(BOTH[:1], strength=place)
        for place, word in ((0, "strongest"), (2, "strong"), (4, "weak"), (6, "weakest"))
    },
}
RULES: Mapping[str, Way] = {
    BASE: JOINS[BASE],
    **{
        f"{name}, {rule}": dataclasses.replace(way, resize=rule)
        for rule in ("crop", "pad")
        for name, way in ((BASE, JOINS[BASE]), (LAST, WAYS[LAST]))
    },
    f"{LAST}, squash": WAYS[LAST],
}
CROPPED: Mapping[str, Way] = {
    name if rule == "squash" else f"{name}, {rule}": dataclasses.replace(JOINS[name], resize=rule)
    for rule in ("squash", "crop")
    for name in (BASE, DEEP, MEAN)
}
CELLS: Mapping[str, Mapping[str, Way]] = {
    ASPECT: RULES,
    SQUARES: WAYS,
    CROP: CROPPED,
    **dict.fromkeys(SETS, JOINS),
}
MOST = {ASPECT: 0, SQUARES: 400, CROP: 200, **dict.fromkeys(SETS, 200)}  # images, about; 0: all
SECOND = 200  # that the second source judges, about


@dataclass(frozen=True, eq=False)
class Judge:
    """What is learned from, and what judges: `judged` once `edit` is done to its canvases.

    rows : of the images judged, in the table whose resampled groups they are weighed by.
    """

    name: str
    learned: ImageTable
    judged: ImageTable
    rows: Ints
    edit: Edit | None = None


# --------------------------------------------------------------------------- what judges


def judges_of(cell: str, extractor: Extractor) -> tuple[ImageTable, ImageTable | None, list[Judge]]:
    """A cell's images, its second source if it has one, and what judges besides folds."""
    if cell in SETS:
        return development(cell, MOST[cell]), None, []
    if cell == SQUARES:
        table, second = squares()
        other = Judge("processed otherwise", table, second, np.arange(len(second)))
        return table, second, [*_kinds(table, extractor), other]
    table = thinned(aspect_kept(), MOST[cell])
    found = list(_kinds(table, extractor))
    if cell == ASPECT:
        away = holdout(table.groups, table.labels, UNSEEN)
        learned, judged, rows = table.select(~away), table.select(away), np.flatnonzero(away)
        found += [Judge(f"planted {one.operation}", learned, judged, rows, one) for one in PLANTED]
    return table, None, found


def squares() -> tuple[ImageTable, ImageTable]:
    """Images of chest_xray, and those of other patients as `chest_xray_aspect256` has them."""
    found = [processed(name) for name in PROCESSED]
    taken = np.concatenate([pair.second.groups for pair in found])
    first = found[0].first.select(~np.isin(found[0].first.groups, taken))
    return thinned(first, MOST[SQUARES]), thinned(found[0].second, SECOND)


def aspect_kept() -> ImageTable:
    """`chest_xray_aspect256` without what is in chest_xray's official test split."""
    return processed(PROCESSED[0]).second


def _kinds(table: ImageTable, extractor: Extractor) -> Iterator[Judge]:
    for kind in kinds_of(table, extractor):
        yield Judge(kind.name, table.select(kind.learned), table.select(kind.judged), kind.judged)


# --------------------------------------------------------------------------- what is judged


def measure(cell: str, extractor: Extractor) -> Row:
    """All ways of a cell before everything that judges there."""
    ways = CELLS[cell]
    table, second, judges = judges_of(cell, extractor)
    weights = {False: resampled(table.groups, 1)}
    if second is not None:
        weights[True] = resampled(second.groups, 2)
    fold = make_folds(table, FOLDS, 0).assignment
    values: dict[str, dict[str, Floats]] = {OUT_OF_FOLD: {}}
    for name, way in ways.items():
        said_ = _out_of_fold(way, table, fold, extractor)
        values[OUT_OF_FOLD][name] = _auroc(said_, weights[False])
    for one in judges:
        mine = weights[second is not None and one.judged is second][one.rows]
        values[one.name] = {
            name: _auroc(_predictions(said(way, one, extractor), one.judged), mine)
            for name, way in ways.items()
        }
    unlike = [of for judge_, of in values.items() if judge_ != OUT_OF_FOLD]
    return {
        "cell": cell,
        "images": len(table),
        "judged": {OUT_OF_FOLD: len(table), **{one.name: len(one.judged) for one in judges}},
        "ways": {
            name: {
                "auroc": {judge_: interval(of[name]) for judge_, of in values.items()},
                "gain": {judge_: interval(of[name] - of[BASE]) for judge_, of in values.items()},
                "unlike": interval(np.mean([of[name] - of[BASE] for of in unlike], axis=0))
                if unlike
                else None,
            }
            for name in ways
        },
    }


def _out_of_fold(way: Way, table: ImageTable, fold: Ints, extractor: Extractor) -> Predictions:
    """Every fold judged by what learned from the others, its strength chosen among these."""
    prob = np.empty((len(table), len(table.classes)))
    for k in range(FOLDS):
        here = np.flatnonzero(fold == k)
        one = Judge("", table.select(fold != k), table.select(here), here)
        prob[here] = said(way, one, extractor)
    return _predictions(prob, table, fold)


def said(way: Way, of: Judge, extractor: Extractor) -> Floats:
    """Probabilities (n, n_classes) of the images judged."""
    plans = [plan_of((part,), way, extractor) for part in way.parts]
    if way.joined == "concat":
        return _one(plan_of(way.parts, way, extractor), way, of, extractor)[0]
    each = [_one(plan, way, of, extractor) for plan in plans]
    prob = [judged for judged, _ in each]
    if way.joined == "mean":
        return _softmax(log_mean(prob))
    stack = fit_stack([log(final) for _, final in each], of.learned.labels)
    return _softmax(stacked(prob, stack))


def plan_of(parts: tuple[tuple[str, str], ...], way: Way, extractor: Extractor) -> FeaturePlan:
    """What parts read of an image, their codes side by side."""
    specs = [
        feature_plan_of(
            Scenario(backbone, tap, Head(way.head), Preprocessing(resize=way.resize)), extractor
        ).canvas
        for backbone, tap in parts
    ]
    return FeaturePlan(specs[0], (tuple(specs),))


def _one(plan: FeaturePlan, way: Way, of: Judge, extractor: Extractor) -> tuple[Floats, Floats]:
    """Probabilities of the images judged, and out of fold of those learned from, by one head."""
    labels, groups = of.learned.labels, of.learned.groups
    X = _codes(plan, of.learned, extractor)
    seen = _codes(plan if of.edit is None else plan.seen(of.edit), of.judged, extractor)
    if way.strength is not None:
        fixed = LinearSVMHead(LinearSVMHead.strengths(X.shape[1])[way.strength]).fit(X, labels)
        scores = fixed.decision_function(seen)
        return _softmax(scores), np.empty(0)
    fold = make_folds(of.learned, FOLDS, 0).assignment
    nested = nested_scores(way.head, X, labels, fold, groups=groups)
    calibrator = fit_calibrator(nested.final_scores, labels)
    return calibrator(nested.head.decision_function(seen)), calibrator(nested.final_scores)


def _codes(plan: FeaturePlan, table: ImageTable, extractor: Extractor) -> NDArray[np.float32]:
    codes, rows, _ = plan.codes(table, extractor)
    assert len(rows) == len(table)
    return np.asarray(codes[0], np.float32)


def _softmax(scores: Floats) -> Floats:
    return np.asarray(softmax(scores, axis=1), np.float64)


# --------------------------------------------------------------------------- figures


def _predictions(prob: Floats, table: ImageTable, fold: Ints | int = -1) -> Predictions:
    return Predictions.of("way", table, log(prob), prob, fold)


def _auroc(one: Predictions, weights: Floats) -> Floats:
    """(1 + RESAMPLES,)"""
    (values,) = of_all([judge(one, Operating(0.5, "none chosen"))], "auroc")(weights)
    return np.asarray(values, np.float64)


def main() -> None:
    """Measure the cells that are not in the results yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help=f"cells, with semicolons: {'; '.join(CELLS)}")
    asked = parser.parse_args()
    if not SHARED.is_dir():
        sys.exit(f"needs real data in {SHARED}, which is not here")
    known = {row["cell"] for row in read_cells(RESULTS)}
    extractor = medgraft.Extractor()
    for cell in asked.only.split("; ") if asked.only else CELLS:
        if cell in known:
            continue
        began = time.perf_counter()
        row = measure(cell, extractor)
        row["seconds"] = round(time.perf_counter() - began)
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, separators=(",", ":")) + "\n")
        print(cell, row["seconds"], flush=True)


if __name__ == "__main__":
    main()
