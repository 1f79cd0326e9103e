"""What frozen features can do, measured on real data: writes docs/results/frozen.md.

`make results-frozen` runs it. Everything but the column "test" is out of fold on development
images. A data set's study looks at its official test split once (docs/results/ledger.md); the
learning curves and the gaps between train and out of fold never do.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

import medgraft
from frozen_page import write_page
from medgraft.data.split import (
    Development,
    keep_copies_together,
    labelled,
    make_folds,
    with_test_split,
)
from medgraft.evaluate.compare import compare, estimate_all
from medgraft.features.codebooks import VLAD
from medgraft.features.feature_plan import FeaturePlan, feature_plan_of
from medgraft.learn.estimators import HEADS
from medgraft.learn.fit import cross_fitted
from medgraft.learn.heads import nested_scores
from medgraft.report.text.questions import sentence
from medgraft.studies.plan import plan
from medgraft.studies.run import Study
from medgraft.terminal import progress
from medgraft.types import Estimate, FeatureSpec, ImageTable, Scenario

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
RESULTS = Path(__file__).parent / "results" / "frozen.json"
DRAWS = 4  # training sets of each size in a learning curve
CURVE = (50, 100, 250, 500)
FOLDS = 5
LITE0, LITE1, LITE2 = (f"tf_efficientnet_lite{i}" for i in range(3))


@dataclasses.dataclass(frozen=True)
class Data:
    """A data set as it is studied: its preset of views, and the input sizes asked for."""

    path: str
    modality: str
    sizes: tuple[int, ...]
    backbones: tuple[str, ...] = (LITE0,)


DATA = {
    "chest_xray": Data("data/chest_xray", "xray", (224, 544)),
    "hyperkvasir5": Data("data/hyperkvasir5", "endoscopy", (224, 544)),
    "lc25000_lung_unique": Data("data/lc25000_lung_unique", "microscopy", (224, 544)),
    "scenes_ot8": Data("data/scenes_ot8", "natural", (224, 544, 864)),
    "cancer_cells": Data("data/cancer_cells.csv", "microscopy", (224, 544)),
    "mini_scenes": Data("data/mini_scenes.csv", "natural", (224, 544)),
}
BACKBONES = {"scenes_ot8": (LITE0, LITE1, LITE2), "mini_scenes": (LITE0, LITE1, LITE2)}


def main() -> None:
    """Run what is not in the results yet, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="data sets, with commas")
    parser.add_argument("--cache", default=None, help="a cache of its own")
    parser.add_argument("--page", action="store_true", help="only write the page anew")
    asked = parser.parse_args()
    if not SHARED.is_dir() and not asked.page:
        sys.exit(f"needs real data in {SHARED}, which is not here")
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    chosen = [name for name in DATA if not asked.only or name in asked.only.split(",")]
    for name in [] if asked.page else chosen:
        began = time.perf_counter()
        extractor = medgraft.Extractor(
            medgraft.Cache(Path(asked.cache) if asked.cache else None), progress=progress(False)
        )
        known[name] = measure(name, DATA[name], extractor)
        known[name]["seconds"] = time.perf_counter() - began
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(known, indent=1) + "\n")
    for name in [] if asked.page else known:
        extractor = medgraft.Extractor(medgraft.Cache(Path(asked.cache) if asked.cache else None))
        known[name].setdefault("single", against_single(DATA[name], known[name], extractor))
    RESULTS.write_text(json.dumps(known, indent=1) + "\n")
    write_page({name: known[name] for name in DATA if name in known}, ROOT)


def measure(name: str, data: Data, extractor: medgraft.Extractor) -> dict[str, Any]:
    """Everything the page says of one data set."""
    table = medgraft.load(SHARED / data.path)
    study = medgraft.study(table, options_of(data), extractor=extractor)
    found = {
        "metric": study.result.metric,
        "images": len(study.result.table.development),
        "test_images": len(study.result.table.test),
        "groups": len(np.unique(study.result.table.development.groups)),
        "classes": len(table.classes),
        "recommended": study.result.recommended,
        "scenarios": [
            {
                "key": row.key,
                "family": row.family,
                "oof": dataclasses.asdict(row.validation["auroc"]),
                "test": row.test and dataclasses.asdict(row.test["auroc"]),
            }
            for row in study.result.scenarios
        ],
        "corrected": dataclasses.asdict(study.result.corrected),
        "tested": study.tested and _all(study.tested.estimates),
        "questions": [
            {"text": sentence(q), "answer": q.answer, **dataclasses.asdict(q.comparison)}
            for q in study.result.questions
        ],
        "depth": depth(study),
        "heads": heads(study),
        "gaps": list(gaps(study)),
        "curve": list(curve(study, extractor)),
    }
    if name in BACKBONES:
        found["backbones"] = backbones(table, BACKBONES[name], extractor)
    return found


def options_of(data: Data) -> medgraft.StudyOptions:
    """Everything that a study can compare of one network, with one head."""
    return medgraft.StudyOptions(
        families=("probe", "multiscale", "vlad", "ensemble"),
        heads=("svm",),
        preprocess=("raw", "clahe", "raw+clahe"),
        sizes=data.sizes,
        encoders=("k16", "k64", "fisher16"),
        augment=data.modality,
        views=4,
    )


def against_single(
    data: Data, found: dict[str, Any], extractor: medgraft.Extractor
) -> dict[str, Any]:
    """The recommended scenario against the best single tap, paired, out of fold and on test.

    Both were frozen by the study, whose predictions are in the cache.
    """
    table = with_test_split(keep_copies_together(labelled(medgraft.load(SHARED / data.path))), 0.2)
    development = table.development
    folds = make_folds(development, FOLDS, 0)
    planned = plan(options_of(data), extractor, len(development), len(table.classes))
    scenarios = {entry.scenario.key: entry.scenario for entry in planned}
    values = {row["key"]: row["oof"]["value"] for row in found["scenarios"]}
    taps = [tap.name for tap in extractor.backbone(LITE0).taps]
    single = max((_plain(tap).key for tap in taps), key=lambda key: values[key])
    ours, theirs = (
        cross_fitted(scenarios[key], Development(development, folds), extractor)
        for key in (found["recommended"], single)
    )
    oof = compare(ours.predictions, [theirs.predictions], "auroc")[0]
    test = [one.fitted.predict(table.test)[0] for one in (ours, theirs)]
    tested = compare(test[0], [test[1]], "auroc", purpose="report")[0]
    return {"oof": dataclasses.asdict(oof), "test": dataclasses.asdict(tested)}


def _all(estimates: Any) -> dict[str, Any]:
    return {metric: dataclasses.asdict(one) for metric, one in estimates.items()}


def depth(study: Study) -> dict[str, Any]:
    """Score by tap of plain probes with the first head, and its rank correlation with depth."""
    rows = {row.key: row for row in study.result.scenarios}
    taps = [tap.name for tap in _extractor(study).backbone(LITE0).taps]
    values = [_oof(rows[_plain(tap).key].validation["auroc"]) for tap in taps]
    rank = spearmanr(range(len(taps)), [one["value"] for one in values]).statistic
    return {"taps": taps, "values": values, "rank_correlation": float(rank)}


def _oof(estimate: Estimate) -> dict[str, Any]:
    return dataclasses.asdict(estimate)


def _extractor(study: Study) -> medgraft.Extractor:
    found: medgraft.Extractor = study.fitted.extractor  # type: ignore[attr-defined]
    return found


def _plain(tap: str, head: str = "svm") -> Scenario:
    return Scenario.from_key(f"probe/{LITE0}/{tap}/{head}")


def heads(study: Study) -> list[dict[str, Any]]:
    """Every head on the stages joined, out of fold, paired with the first; seconds of one core."""
    development, extractor = study.result.table.development, _extractor(study)
    found = [
        cross_fitted(_plain("stages", head), Development(development, study.folds), extractor)
        for head in HEADS
    ]
    oof = [one.predictions for one in found]
    against = [None, *compare(oof[0], oof[1:], "auroc")]
    return [
        {
            "head": head,
            "seconds": one.seconds,
            "oof": _oof(estimate),
            "against": comparison and dataclasses.asdict(comparison),
        }
        for head, one, estimate, comparison in zip(
            HEADS, found, estimate_all(oof, "auroc"), against, strict=True
        )
    ]


def gaps(study: Study) -> Iterator[dict[str, Any]]:
    """AUROC on the images learned from, out of fold and on test, of what stands for each family."""
    development = study.result.table.development
    rows = {row.key: row for row in study.result.scenarios}
    planned = {entry.scenario.key: entry.scenario for entry in study.planned}
    wanted = [_plain("stages").key, _plain("conv_head").key, study.result.recommended]
    for key in dict.fromkeys(wanted):
        fitted = cross_fitted(
            planned[key], Development(development, study.folds), _extractor(study)
        ).fitted
        seen, _ = fitted.predict(development)
        test = rows[key].test
        yield {
            "key": key,
            "train": auroc(seen.y_true, seen.y_prob),
            "oof": _oof(rows[key].validation["auroc"]),
            "test": test and _oof(test["auroc"]),
        }


def auroc(y: NDArray[Any], prob: NDArray[Any]) -> float:
    """AUROC of two classes, else macro one against the rest."""
    if prob.shape[1] == 2:
        return float(roc_auc_score(y, prob[:, 1]))
    return float(np.mean([roc_auc_score(y == k, prob[:, k]) for k in np.unique(y)]))


# --------------------------------------------------------------------------- learning curves


def curve(study: Study, extractor: medgraft.Extractor) -> Iterator[dict[str, Any]]:
    """AUROC by number of training images, for a few ways; judged on one fold nobody learns from.

    Training images are drawn from the other folds, whole groups, `DRAWS` times a size, the same
    draws for every way, so that differences are paired.
    """
    table, folds = study.result.table.development, study.folds
    judged = np.flatnonzero(folds.assignment == 0)
    pool = np.flatnonzero(folds.assignment != 0)
    sizes = [n for n in CURVE if n < len(pool)] + [len(pool)]
    taps = ["blocks.4", "conv_head", "stages"]
    codes = {tap: _codes(_plain(tap), table, extractor) for tap in taps}
    bags = {tap: _bags(tap, table, extractor) for tap in ("conv_head",)}
    for n in sizes:
        for draw in range(DRAWS if n < len(pool) else 1):
            rows = draw_rows(table, pool, n, seed=1000 * draw + n)
            if len(np.unique(table.labels[rows])) < len(table.classes):
                continue
            row: dict[str, Any] = {"n": n, "draw": draw}
            for tap in taps:
                row[tap] = learn(codes[tap], table, rows, judged)
            for tap, descriptors in bags.items():
                words = VLAD(k=64 if n > 100 else 16)
                sample = np.sort(np.random.default_rng(draw).permutation(rows)[:800])
                encoder = words.fit(descriptors[sample])
                encoded = np.zeros((len(table), 0), np.float32)
                wanted = np.concatenate([rows, judged])
                values = encoder.transform(descriptors[wanted])
                encoded = np.zeros((len(table), values.shape[1]), np.float32)
                encoded[wanted] = values
                row[f"vlad {tap}"] = learn(encoded, table, rows, judged)
            yield row


def draw_rows(table: ImageTable, pool: NDArray[Any], n: int, seed: int) -> NDArray[Any]:
    """About n of the rows in `pool`, whole groups, in a seeded order; every class is among them."""
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.unique(table.groups[pool]))
    place = {group: i for i, group in enumerate(groups.tolist())}
    order = pool[np.argsort([place[g] for g in table.groups[pool].tolist()], kind="stable")]
    return np.sort(order[:n])


def learn(
    codes: NDArray[Any], table: ImageTable, rows: NDArray[Any], judged: NDArray[Any]
) -> float:
    """AUROC on `judged` of a linear SVM learned on `rows`, its strength chosen within them."""
    part = table.select(rows)
    folds = make_folds(part, FOLDS, 0)
    nested = nested_scores("svm", codes[rows], part.labels, folds.assignment, groups=part.groups)
    scores = nested.head.decision_function(codes[judged])
    return auroc(table.labels[judged], scores)


def _codes(scenario: Scenario, table: ImageTable, extractor: medgraft.Extractor) -> NDArray[Any]:
    codes, _, _ = feature_plan_of(scenario, extractor).codes(table, extractor)
    first: NDArray[Any] = codes[0]
    return first


def _bags(tap: str, table: ImageTable, extractor: medgraft.Extractor) -> NDArray[np.float16]:
    spec: FeatureSpec = extractor.spec(LITE0, [tap])
    stream = FeaturePlan.one(spec).descriptors(table, extractor)
    return np.concatenate([values for _, values in stream()])


# --------------------------------------------------------------------------- backbones


def backbones(
    table: ImageTable, names: tuple[str, ...], extractor: medgraft.Extractor
) -> list[dict[str, Any]]:
    """The stages of each backbone with a linear SVM, out of fold, paired with the first."""
    table = with_test_split(keep_copies_together(labelled(table)), 0.2, 0)
    development = table.development
    folds = make_folds(development, FOLDS, 0)
    oof = [
        cross_fitted(
            Scenario.from_key(f"probe/{name}/stages/svm"),
            Development(development, folds),
            extractor,
        )
        for name in names
    ]
    found = [one.predictions for one in oof]
    estimates = estimate_all(found, "auroc")
    against = compare(found[0], found[1:], "auroc")
    rows = [{"name": names[0], "oof": _oof(estimates[0])}]
    for name, estimate, comparison in zip(names[1:], estimates[1:], against, strict=True):
        rows.append(
            {"name": name, "oof": _oof(estimate), "against": dataclasses.asdict(comparison)}
        )
    return rows


if __name__ == "__main__":
    main()
