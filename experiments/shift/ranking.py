"""Which way to judge scenarios ranks them as a second source does? Writes ranking.jsonl.

`python experiments/shift/ranking.py` measures what `results/ranking.jsonl` lacks, one line a cell,
so that it can be killed and called anew; `shift_page.py` writes docs/results/shift.md from it. A
cell is a set's images learned from, and all second sources that go with them. Only development
images are read; no official test split is looked at.

Before anything was ranked: the scenarios, ways to judge, shifts and their strengths stood here.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

import medgraft
from medgraft.data.augment import judging_view
from medgraft.data.split import Development, make_folds
from medgraft.evaluate.compare import of_all
from medgraft.evaluate.metrics import judge
from medgraft.features.extract import Extractor
from medgraft.features.feature_plan import encoder_of, feature_plan_of
from medgraft.learn.fit import cross_fitted
from medgraft.learn.frozen import FittedFrozen
from medgraft.types import (
    Edit,
    FeatureSpec,
    Floats,
    ImageTable,
    Ints,
    Operating,
    Predictions,
    Scenario,
    digest,
)

sys.path.insert(0, str(Path(__file__).parents[1]))

from page import read_cells
from shift.judging import JUDGING
from shift.kinds import kinds_of
from shift.planted import PLANTED, Planted
from shift.resamples import resampled
from shift.sources import SECOND, SETS, SHARED, Pair, all_chest_pairs, pairs
from shift_page import CHEST, PLAIN

RESULTS = Path(__file__).parents[1] / "results" / "ranking.jsonl"
MOST = 800  # images of a set, about
FOLDS = 3  # of which each trains everything: five take twice as long
RESAMPLES = 300
LITE0 = "tf_efficientnet_lite0"
TAPS = ("stem", *(f"blocks.{i}" for i in range(7)), "conv_head", "stages")
KEYS = (
    *(f"probe/{LITE0}/{tap}/{head}" for tap in TAPS for head in ("svm", "logistic")),
    *(f"multiscale/{LITE0}/{tap}/s128/clahe2-8/svm" for tap in ("blocks.4", "conv_head", "stages")),
    *(
        f"multiscale/{LITE0}/{tap}/s128/svm"
        for tap in ("blocks.3", "blocks.4", "conv_head", "stages")
    ),
    f"probe/{LITE0}/conv_head/knn",
    *(f"vlad/{LITE0}/{tap}/k16/svm" for tap in ("blocks.4", "blocks.5")),
)
VIEW = "one changed view"
DRAWN = "one of several views, drawn"
COMBINED = (
    PLAIN, VIEW, DRAWN, "several views, mean", "several views, worst", "kinds, mean",
    "kinds, worst", "everything, mean",
)  # fmt: skip
CELLS = SETS

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Judged:
    """AUROC of every scenario by one way to judge.

    values : (scenarios, 1 + RESAMPLES), of all images and then of resampled groups. unfit : types
    of planted shifts that it is not compared on, since it changes the like of images itself.
    """

    name: str
    values: Floats
    unfit: frozenset[str] = frozenset()


# --------------------------------------------------------------------------- measured


def measure(cell: str, extractor: Extractor) -> Row:
    """All ways to judge on the first source against every second source."""
    learn = round((1 - SECOND) * MOST)
    found = list(all_chest_pairs(learn) if cell == CHEST else pairs(cell, MOST))
    first = found[0].first
    _read(found, extractor)
    ways = list(_ways(first, extractor))
    rows = []
    for pair in found:
        truth = _at_second(pair, extractor)
        rows.append(
            {"second": pair.name, "images": len(pair.second), **_agreement(ways, truth, pair)}
        )
    return {
        "cell": cell,
        "images": len(first),
        "groups": len(np.unique(first.groups)),
        "kinds": [way.name for way in ways if way.name.startswith("kind ")],
        "pairs": [{k: v for k, v in row.items() if k != "samples"} for row in rows],
        "mean": _mean([row["samples"] for row in rows]),
    }


def _read(found: Sequence[Pair], extractor: Extractor) -> None:
    """Everything that the network is asked for, in one pass an image."""
    views: list[Edit | None] = [None, judging_view("natural"), *JUDGING]
    extractor.prepare(found[0].first, *_specs(views, extractor))
    edits: dict[int, list[Edit | None]] = {}
    tables = {}
    for pair in found:
        key = hash(pair.second.fingerprint)
        tables[key] = pair.second
        edits.setdefault(key, []).append(pair.edit)
    for key, table in tables.items():
        extractor.prepare(table, *_specs(edits[key], extractor))


def _specs(views: Sequence[Edit | None], extractor: Extractor) -> list[FeatureSpec]:
    specs: dict[FeatureSpec, None] = {}
    for key in KEYS:
        scenario = Scenario.from_key(key)
        plan = feature_plan_of(scenario, extractor)
        plan = plan if encoder_of(scenario) is None else plan.grids
        for view in views:
            specs |= dict.fromkeys((plan if view is None else plan.seen(view)).specs)
    return list(specs)


def _ways(first: ImageTable, extractor: Extractor) -> Iterator[Judged]:
    """Out of fold on images as they are and in each view; and on each kind held out."""
    weights = resampled(first.groups, 1, RESAMPLES)
    plain = dataclasses.replace(make_folds(first, FOLDS, 0), metric="auroc")
    views: list[tuple[str, Edit | None, frozenset[str]]] = [
        (PLAIN, None, frozenset()),
        (VIEW, judging_view("natural"), frozenset({"geometry", "exposure", "colour"})),
        *((f"view {view.operation}", view, frozenset({view.type})) for view in JUDGING),
    ]
    seen = {}
    for name, view, types in views:
        development = Development(first, dataclasses.replace(plain, view=view))
        said = [
            cross_fitted(Scenario.from_key(key), development, extractor).predictions for key in KEYS
        ]
        seen[name] = said
        yield Judged(name, _aurocs(said, weights), types)
    every = {planted.type for planted in PLANTED}
    for type_ in every:
        mine = [seen[name] for name, view, types in views if view and type_ not in types]
        if len(mine) == len(views) - 1:  # nothing left out: the same for all such types
            continue
        yield Judged(DRAWN, _aurocs(_drawn(mine), weights), frozenset(every - {type_} | {""}))
    unfit = frozenset(every & {type_ for _, _, types in views for type_ in types})
    mine = [seen[name] for name, view, _ in views if view]
    yield Judged(DRAWN, _aurocs(_drawn(mine), weights), unfit)
    for kind in kinds_of(first, extractor):
        learned, judged = first.select(kind.learned), first.select(kind.judged)
        said = [_predicted(key, learned, judged, None, extractor) for key in KEYS]
        yield Judged(f"kind {kind.name}", _aurocs(said, weights[kind.judged]))


def _drawn(views: Sequence[Sequence[Predictions]]) -> list[Predictions]:
    """Of every scenario what it says of each image in one of the views, which its id draws."""
    ids = views[0][0].ids.tolist()
    view = np.array([int(digest("judged in", id), 16) % len(views) for id in ids])
    found = []
    for said in zip(*views, strict=True):
        prob = np.stack([one.y_prob for one in said])[view, np.arange(len(ids))]
        scores = np.stack([one.scores for one in said])[view, np.arange(len(ids))]
        found.append(dataclasses.replace(said[0], y_prob=prob, scores=scores))
    return found


def _at_second(pair: Pair, extractor: Extractor) -> Floats:
    """(scenarios, 1 + RESAMPLES) AUROC at the second source of what all of the first taught."""
    said = [_predicted(key, pair.first, pair.second, pair.edit, extractor) for key in KEYS]
    return _aurocs(said, resampled(pair.second.groups, 2, RESAMPLES))


def _predicted(
    key: str, learned: ImageTable, judged: ImageTable, edit: Edit | None, extractor: Extractor
) -> Predictions:
    """What a scenario fitted on one table says of another, whose images are edited first."""
    folds = dataclasses.replace(make_folds(learned, FOLDS, 0), metric="auroc")
    scenario = Scenario.from_key(key)
    fitted = cross_fitted(scenario, Development(learned, folds), extractor).fitted
    assert isinstance(fitted, FittedFrozen)
    if edit is not None:
        fitted = dataclasses.replace(fitted, feature_plan=fitted.feature_plan.seen(edit))
    return fitted.predict(judged)[0]


def _aurocs(said: Sequence[Predictions], weights: Floats) -> Floats:
    cases = [judge(one, Operating(0.5, "none chosen")) for one in said]
    return of_all(cases, "auroc")(weights)


# --------------------------------------------------------------------------- compared


def _agreement(ways: Sequence[Judged], truth: Floats, pair: Pair) -> Row:
    """How well each way ranks, and what its pick loses, with the same per resample."""
    type_ = pair.edit.type if isinstance(pair.edit, Planted) else ""
    usable = {way.name: way.values for way in ways if type_ not in way.unfit}
    several = [values for name, values in usable.items() if name.startswith("view ")]
    kinds = [values for name, values in usable.items() if name.startswith("kind ")]
    combined = {PLAIN: usable[PLAIN]}
    combined |= {name: usable[name] for name in (VIEW, DRAWN) if name in usable}
    for name, parts in (("several views", several), ("kinds", kinds)):
        if parts:
            combined[f"{name}, mean"] = np.mean(parts, axis=0)
            combined[f"{name}, worst"] = np.min(parts, axis=0)
    combined["everything, mean"] = np.mean(
        [v for name, v in usable.items() if name not in (PLAIN, DRAWN)], axis=0
    )
    shown = {**combined, **{name: v for name, v in usable.items() if name not in combined}}
    rho = {name: _spearman(values, truth) for name, values in shown.items()}
    lost = {name: _regret(values, truth) for name, values in shown.items()}
    return {
        "spread": float(truth[:, 0].max() - truth[:, 0].min()),
        "best": float(truth[:, 0].max()),
        "ways": {
            name: {
                "rho": _interval(rho[name]),
                "gain": _interval(rho[name] - rho[PLAIN]),
                "regret": _interval(lost[name]),
                "saved": _interval(lost[PLAIN] - lost[name]),
            }
            for name in shown
        },
        "samples": {name: (rho[name], lost[name]) for name in combined},
    }


def _mean(samples: Sequence[Mapping[str, tuple[Floats, Floats]]]) -> Row:
    """The same over all second sources of a cell that a way can be compared on, against plain."""
    found = {}
    for name in COMBINED:
        mine = [one for one in samples if name in one]
        if not mine:
            continue
        rho, lost, plain, plain_lost = (
            np.mean([one[way][which] for one in mine], axis=0)
            for way, which in ((name, 0), (name, 1), (PLAIN, 0), (PLAIN, 1))
        )
        found[name] = {
            "seconds": len(mine),
            "rho": _interval(rho),
            "gain": _interval(rho - plain),
            "regret": _interval(lost),
            "saved": _interval(plain_lost - lost),
        }
    return found


def _spearman(values: Floats, truth: Floats) -> Floats:
    """(1 + RESAMPLES,) rank correlation of each column of the two."""
    a, b = (rankdata(one, axis=0) for one in (values, truth))
    a, b = (one - one.mean(axis=0) for one in (a, b))
    size = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return np.asarray((a * b).sum(axis=0) / np.maximum(size, 1e-12), np.float64)


def _regret(values: Floats, truth: Floats) -> Floats:
    """(1 + RESAMPLES,) what the scenario picked by each column loses at the second source.

    By the figures of all of its images: the best of a resample would be lucky.
    """
    picked: Ints = values.argmax(axis=0)
    return np.asarray(truth[:, 0].max() - truth[picked, 0], np.float64)


def _interval(samples: Floats) -> Row:
    """The value on all images, with percentiles over resamples, none of which is undefined."""
    low, high = np.percentile(samples[1:], [2.5, 97.5])
    return {
        key: round(float(x), 4) for key, x in (("value", samples[0]), ("low", low), ("high", high))
    }


def main() -> None:
    """Measure the cells that are not in the results yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help=f"cells, with commas: {', '.join(CELLS)}")
    parser.add_argument("--workers", type=int, default=1)
    asked = parser.parse_args()
    if not SHARED.is_dir():
        sys.exit(f"needs real data in {SHARED}, which is not here")
    known = {row["cell"] for row in read_cells(RESULTS)}
    extractor = medgraft.Extractor(workers=asked.workers)
    for cell in asked.only.split(",") if asked.only else CELLS:
        if cell in known:
            continue
        began = time.perf_counter()
        row = measure(cell, extractor)
        row["seconds"] = round(time.perf_counter() - began)
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(cell, row["seconds"], row["mean"], flush=True)


if __name__ == "__main__":
    main()
