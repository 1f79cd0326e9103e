"""What training part of a network again can do, measured on real data: docs/results/finetune.md.

`make results-finetune` runs it. Pieces that are in experiments/results/finetune.json already are
not run again, so that it can be stopped and called anew; `--only` names some. Every piece that
looks at an official test split stands in docs/results/ledger.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np

import medgraft
from finetune_page import write_page
from medgraft.data.augment import judging_view
from medgraft.data.split import keep_copies_together, labelled, make_folds, with_test_split
from medgraft.evaluate.compare import compare, estimate_all
from medgraft.files import write_json
from medgraft.learn.depth import search_depth, searched
from medgraft.learn.finetune import Training, score
from medgraft.learn.finetune_setup import FinetuneSetup
from medgraft.results.training import DepthSearch
from medgraft.studies.single_scenario import SingleOptions, classic_scenario, run_single
from medgraft.terminal import progress
from medgraft.training_recipe import Balance
from medgraft.types import Floats, Folds, ImageTable, Ints, Predictions, Scenario
from peer import Report, usual_finetune

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
RESULTS = Path(__file__).parent / "results" / "finetune.json"
LITE0 = "tf_efficientnet_lite0"
CHEST = "chest_xray"
PRESETS = {CHEST: "strong", "scenes_ot8": "natural-strong", "hyperkvasir5": "endoscopy-strong"}
BUDGET = 60  # minutes of the study of chest_xray
CAP = 10  # minutes of training of what is set beside it
FEW = 120  # images of a small data set
RUNGS = "600x3+1200x3"  # of the depth curves
SIZE = 160  # pixels, of the depth curves

BALANCED = ("sensitivity", "specificity", "balanced_accuracy")

Train = Callable[[ImageTable, Ints, int, medgraft.Extractor, Report], None]
Piece = Callable[[medgraft.Extractor], dict[str, Any]]


def main() -> None:
    """Run what is not in the results yet, then write the page."""
    pieces = plan(Path("none"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help=f"pieces, with commas: {', '.join(pieces)}")
    parser.add_argument("--cache", default=None, help="a cache of its own")
    parser.add_argument("--runs", default="runs", help="where studies are written")
    parser.add_argument("--page", action="store_true", help="only write the page anew")
    asked = parser.parse_args()
    if not SHARED.is_dir() and not asked.page:
        sys.exit(f"needs real data in {SHARED}, which is not here")
    pieces = plan(Path(asked.runs))
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    chosen = asked.only.split(",") if asked.only else [name for name in pieces if name not in known]
    for name in [] if asked.page else chosen:
        cache = medgraft.Cache(Path(asked.cache) if asked.cache else None)
        began = time.perf_counter()
        known[name] = pieces[name](medgraft.Extractor(cache, progress=progress(False)))
        known[name]["minutes"] = (time.perf_counter() - began) / 60
        RESULTS.parent.mkdir(exist_ok=True)
        write_json(RESULTS, known)
    write_page({name: known[name] for name in pieces if name in known}, ROOT)


def plan(runs: Path) -> dict[str, Piece]:
    """Every piece by its name, in the order in which they are run."""
    classic = classic_scenario(start="block4_pool")
    hybrid = Scenario.from_key("hybrid/hybrid_vgg16/block3_pool/strong/logistic")
    pieces: dict[str, Piece] = {"study": partial(chest_study, runs / CHEST)}
    pieces |= {f"curve {name}": partial(depth_curve, name, 0) for name in PRESETS}
    pieces |= {f"curve {name} {FEW}": partial(depth_curve, name, FEW) for name in PRESETS}
    for name, ours, theirs in ((CHEST, 4, 2), ("scenes_ot8", 10, 5)):
        pieces[f"ours {name}"] = partial(by_epoch, our_epochs, name, ours)
        pieces[f"peer {name}"] = partial(by_epoch, usual_finetune, name, theirs)
    pieces |= {
        "classic": partial(beside, CHEST, classic),
        "hybrid": partial(beside, CHEST, hybrid),
    }
    for way in get_args(Balance):
        pieces[f"balance {way}"] = partial(balanced, way)
    for seed in (1, 2):
        pieces[f"seed {seed}"] = partial(beside, CHEST, tuned(seed))
    for name in ("cancer_cells", "mini_scenes"):
        pieces[f"classic {name}"] = partial(beside, f"{name}.csv", classic_scenario())
    return pieces


def tuned(seed: int, epochs: int = 4) -> Scenario:
    """Everything trained at 160 px, as the study's scenarios are written."""
    key = f"finetune/{LITE0}/input/s{SIZE}/strong/epochs{epochs}/patience0/logistic"
    return Scenario.from_key(key, seed)


# --------------------------------------------------------------------------- the pieces


def chest_study(out: Path, extractor: medgraft.Extractor) -> dict[str, Any]:
    """The study of *Shows*: frozen probes and the tuned network within 60 minutes."""
    options = medgraft.StudyOptions(families=("probe", "finetune"), budget=60.0 * BUDGET)
    table = medgraft.load(SHARED / CHEST)
    study = medgraft.study(table, options, out=out, extractor=extractor)
    rows = {row.key: row for row in study.result.scenarios}
    (trained,) = study.training
    frozen = max(
        (key for key in rows if key != trained), key=lambda k: rows[k].validation["auroc"].value
    )
    assert study.tested is not None
    against = compare(study.test[trained], [study.test[frozen]], "auroc", purpose="report")[0]
    log = study.training[trained]
    return {
        "recommended": study.result.recommended,
        "trained": trained,
        "frozen": frozen,
        "bought": [study.options.training_size, study.options.n_folds, *study.options.training],
        "validation": {key: figures(study.oof[key]) for key in (trained, frozen)},
        "test": {key: figures(study.test[key]) for key in (trained, frozen)},
        "tested": {name: dataclasses.asdict(one) for name, one in study.tested.estimates.items()},
        "trained against frozen, test": dataclasses.asdict(against),
        "depth": log.depth,
        "search": log.search and search_json(log.search),
        "seconds": dict(study.seconds),
        "probabilities": study.test[trained].y_prob[:, 1].round(6).tolist(),
    }


def depth_curve(name: str, n: int, extractor: medgraft.Extractor) -> dict[str, Any]:
    """Every depth on the images outside the last fold; n images, in whole groups, 0 for all."""
    table = development_of(name)
    if n:
        rows = np.random.default_rng(0).permutation(len(table))
        table = table.select(np.sort(spread(table, rows, n)))
    scenario = Scenario.from_key(
        f"finetune/{LITE0}/best/s{SIZE}/{PRESETS[name]}/rungs{RUNGS}/logistic"
    )
    folds = folds_of(name, table, extractor)
    setup = FinetuneSetup.of(scenario, table, extractor, view=folds.view)
    began = time.perf_counter()
    found = search_depth(setup, folds, searched(setup), "auroc")
    return {
        "images": len(table),
        "minutes_of_search": (time.perf_counter() - began) / 60,
        **search_json(found),
    }


def by_epoch(train: Train, name: str, epochs: int, extractor: medgraft.Extractor) -> dict[str, Any]:
    """Score on the last fold after every epoch, and the seconds of training it took."""
    table = development_of(name)
    folds = folds_of(name, table, extractor)
    inside = folds.assignment == folds.n_folds - 1
    judged = np.flatnonzero(inside)
    rows: list[dict[str, float]] = []

    def report(epoch: int, seconds: float, logits: Callable[[Ints], Floats]) -> None:
        loss, area, accuracy = score(logits(judged), table.labels[judged])
        rows.append(
            {"epoch": epoch, "seconds": seconds, "loss": loss, "auroc": area, "accuracy": accuracy}
        )
        extractor.progress.say(f"epoch {epoch}: {seconds:.0f} s, AUROC {area:.4f}")

    train(table, np.flatnonzero(~inside), epochs, extractor, report)
    return {"judged": len(judged), "epochs": rows}


def our_epochs(
    table: ImageTable, rows: Ints, epochs: int, extractor: medgraft.Extractor, report: Report
) -> None:
    """Our loop on the same images, everything trained at 160 px, with nothing to stop it."""
    setup = FinetuneSetup.of(tuned(0, epochs), table, extractor)
    inputs = setup.inputs("input")
    training = Training(setup.network("input", inputs, rows), setup.recipe, seed=0)
    spent = 0.0
    for epoch in training.epochs(setup.data(inputs, rows), setup.data(inputs, rows[:0])):
        spent += epoch.seconds
        report(epoch.number, spent, lambda some: training.logits(setup.data(inputs, some)))


def beside(name: str, scenario: Scenario, extractor: medgraft.Extractor) -> dict[str, Any]:
    """One training with a fold held out, at most `CAP` minutes, and one look at the test split."""
    table = medgraft.load(SHARED / name)
    table = with_test_split(keep_copies_together(labelled(table)), 0.2)
    options = SingleOptions(holdout_only=True, cap=CAP, test=True)
    found = run_single(table, scenario, options, extractor)
    assert found.crossed.training is not None
    assert found.tested is not None
    (history,) = found.crossed.training.histories.values()
    return {
        "key": scenario.key,
        "epochs": len(history) - 1,
        "stopped": history[-1].stopped,
        "train_minutes": sum(epoch.seconds for epoch in history) / 60,
        "validation": figures(found.crossed.predictions),
        "test": {name: dataclasses.asdict(one) for name, one in found.tested.estimates.items()},
        "history": [epoch.to_json() for epoch in history],
    }


def balanced(way: str, extractor: medgraft.Extractor) -> dict[str, Any]:
    """chest_xray's classes made equal by the loss, the sampler or not at all; one fold judges.

    The head starts at zero: a linear probe, which is balanced itself, is seldom improved upon here,
    and then all three would be the same network.
    """
    scenario = Scenario.from_key(
        f"finetune/{LITE0}/blocks.5/{PRESETS[CHEST]}/balance{way}/probeFalse/logistic"
    )
    table = development_of(CHEST)
    found = run_single(table, scenario, SingleOptions(holdout_only=True), extractor)
    oof, chosen = found.crossed.predictions, found.validation.estimates
    raw = [(oof.scores.argmax(axis=1) == k)[oof.y_true == k].mean() for k in (0, 1)]
    return {
        "classes": np.bincount(table.labels).tolist(),
        "raw": {"sensitivity": raw[1], "specificity": raw[0], "balanced_accuracy": np.mean(raw)},
        "threshold": {name: chosen[name].value for name in BALANCED},
        "auroc": dataclasses.asdict(chosen["auroc"]),
    }


# --------------------------------------------------------------------------- small parts


def development_of(name: str) -> ImageTable:
    table = keep_copies_together(labelled(medgraft.load(SHARED / name)))
    return with_test_split(table, 0.2).development


def folds_of(name: str, table: ImageTable, extractor: medgraft.Extractor) -> Folds:
    """Five folds; of chest_xray judged in changed views, since plain ones are saturated."""
    if name != CHEST or len(table) <= 2 * FEW:
        return make_folds(table, 5, 0)
    return dataclasses.replace(make_folds(table, 5, 0), view=judging_view())


def spread(table: ImageTable, rows: Ints, n: int) -> Ints:
    """About n of the rows, as many of each class, whole groups in the order given."""
    each = n // len(table.classes)
    taken = []
    for label in range(len(table.classes)):
        order = list(dict.fromkeys(table.groups[rows[table.labels[rows] == label]].tolist()))
        counted = 0
        for group in order:
            members = np.flatnonzero((table.groups == group) & (table.labels == label))
            if counted + len(members) <= each:
                taken.append(members)
                counted += len(members)
    return np.concatenate(taken)


def figures(predictions: Predictions) -> dict[str, Any]:
    """The AUROC with its interval."""
    return dataclasses.asdict(estimate_all([predictions], "auroc")[0])


def search_json(search: DepthSearch) -> dict[str, Any]:
    """What a depth search found, for JSON."""
    return {
        "chosen": search.chosen,
        "holdout": search.holdout,
        "trials": [dataclasses.asdict(trial) for trial in search.trials],
        "comparisons": [dataclasses.asdict(one) for one in search.comparisons],
        "gain": dataclasses.asdict(search.gain) if search.gain else None,
    }


if __name__ == "__main__":
    main()
