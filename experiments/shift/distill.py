"""Which targets make one network of the mean of many? Writes results/distill.jsonl.

`python experiments/shift/distill.py` measures what the file lacks, a line a data set, and can be
killed and called anew; `shift_page.py` writes docs/results/shift.md from it. On about `MOST`
development images of a set every outer fold is held out once: the others are studied as a trained
scenario is, in `FOLDS` folds, and students are trained on all of them, which differ in what they
are to learn. All judge the outer fold, as it is and in the changed view of decision 0012.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

import medgraft
from medgraft.data.augment import judging_view
from medgraft.data.split import Development, make_folds
from medgraft.evaluate.calibration import (
    Calibrator,
    calibrate_folds,
    calibrator_towards,
    fit_calibrator,
    fold_calibrators,
)
from medgraft.evaluate.compare import compare, estimate_all
from medgraft.evaluate.recalibration import recalibrate
from medgraft.features.subnetwork import last_map, tail_of
from medgraft.learn.finetune import Training, tail_with_head
from medgraft.learn.finetune_setup import FinetuneSetup, Trained, TrainingTask
from medgraft.learn.fit import cross_fitted
from medgraft.learn.inputs import Inputs
from medgraft.learn.network_mean import as_mean_of, variance_between
from medgraft.results.figures import Comparison
from medgraft.scenario import Scenario
from medgraft.terminal import progress
from medgraft.types import Edit, Estimate, Floats, Folds, ImageTable, Predictions

sys.path.insert(0, str(Path(__file__).parents[1]))

from page import read_cells
from shift.sources import SHARED, development

RESULTS = Path(__file__).parents[1] / "results" / "distill.jsonl"
MOST = 1000  # images of a set, about
OUTER, FOLDS = 3, 5
DEPTH = "blocks.4"
VIEWS = {"chest_xray": "xray-strong", "skin7": "strong", "hyperkvasir5": "strong"}
MEAN, ONCE, LABELS = "mean of the networks", "labels, epochs of the folds", "labels"
DISTILLED = "distilled"
KEY = f"finetune/tf_efficientnet_lite0/{DEPTH}/s128"
METRICS = ("auroc", "log_loss")


@dataclass(frozen=True, eq=False)
class Teachers:
    """The networks of the folds; answers : (views, networks, n, n_classes) scores."""

    runs: tuple[Trained, ...]
    answers: Floats
    unseen: Floats  # (networks, n), 1 where a network has not learned from an image
    y: Floats  # (n, n_classes), one hot
    answered: Floats  # (n, n_classes) calibrated probabilities out of fold

    @property
    def everyone(self) -> Floats:
        """(views, n, n_classes) probabilities by the mean of all networks."""
        return np.asarray(softmax(self.answers.mean(axis=1), axis=-1))

    @property
    def out_of_fold(self) -> Floats:
        """The same by the networks that have not learned from an image."""
        share = (self.unseen / self.unseen.sum(axis=0))[None, :, :, None]
        return np.asarray(softmax((share * self.answers).sum(axis=1), axis=-1))


STUDENTS: Mapping[str, Callable[[Teachers], Floats]] = {
    "all, as it is": lambda teachers: teachers.everyone[:1],
    "all, the view": lambda teachers: teachers.everyone,
    "out of fold, as it is": lambda teachers: teachers.out_of_fold[:1],
    "out of fold, the view": lambda teachers: teachers.out_of_fold,
    "out of fold, as it is, and label": lambda teachers: (
        (teachers.out_of_fold[:1] + teachers.y) / 2
    ),
    "out of fold, the view, and label": lambda teachers: (teachers.out_of_fold + teachers.y) / 2,
}


def measure(name: str, extractor: medgraft.Extractor) -> dict[str, Any]:
    """What the mean, one network of labels and every student say of images held out."""
    table = development(name, MOST)
    outer = make_folds(table, OUTER)
    scenario = Scenario.from_key(f"{KEY}/{VIEWS[name]}/logistic")
    seen: dict[str, list[Floats]] = {}
    rows: list[np.ndarray] = []
    seconds: dict[str, float] = {}
    for k in range(OUTER):
        held = np.flatnonzero(outer.assignment == k)
        learned = table.select(np.flatnonzero(outer.assignment != k))
        said = _held_out_fold(scenario, learned, table.select(held), extractor, seconds)
        for way, prob in said.items():
            seen.setdefault(way, []).append(prob)
        rows.append(held)
    order = np.concatenate(rows)
    judged = {way: np.concatenate(parts, axis=1) for way, parts in seen.items()}
    return {
        "cell": name,
        "images": len(table),
        "groups": len(np.unique(table.groups)),
        "seconds": {way: round(value, 1) for way, value in seconds.items()},
        "ways": _figures(table.select(order), outer.assignment[order], judged),
    }


def in_use(name: str, extractor: medgraft.Extractor) -> dict[str, Any]:
    """What the mean and the distilled network say of images held out, as a study deploys them."""
    table = development(name, MOST)
    outer = make_folds(table, OUTER)
    seen: dict[str, list[Floats]] = {MEAN: [], DISTILLED: []}
    rows = [np.flatnonzero(outer.assignment == k) for k in range(OUTER)]
    for k, held in enumerate(rows):
        learned = table.select(np.flatnonzero(outer.assignment != k))
        study = Development(learned, make_folds(learned, FOLDS))
        for way, deploy in ((MEAN, ""), (DISTILLED, "deploydistilled/")):
            key = f"{KEY}/{VIEWS[name]}/{deploy}logistic"
            fitted = cross_fitted(Scenario.from_key(key), study, extractor).fitted
            seen[way].append(fitted.predict(table.select(held))[0].y_prob)
    order = np.concatenate(rows)
    fold, shown = outer.assignment[order], table.select(order)
    said = {}
    for way, parts in seen.items():
        prob = np.concatenate(parts)
        said[way] = Predictions.of(way, shown, np.log(prob), prob, fold)
    found: dict[str, Any] = {}
    for way, one in said.items():
        slope = recalibrate(one).slope
        found[way] = {"slope": None if slope is None else _short(slope)}
        for metric in METRICS:
            (value,), (gain,) = estimate_all([one], metric), compare(one, [said[MEAN]], metric)
            found[way][metric] = {"metric": round(value.value, 5), "mean": _short(gain)}
    return {"cell": f"{name}, in use", "images": len(table), "ways": found}


def _held_out_fold(
    scenario: Scenario,
    learned: ImageTable,
    held: ImageTable,
    extractor: medgraft.Extractor,
    seconds: dict[str, float],
) -> dict[str, Floats]:
    """(2, m, n_classes) probabilities of the images held out, as they are and in the view, by way.

    The same scores under several calibrators: of one network of the folds, `own` (fitted on the
    network's scores of the images that it learned from), `mean` (of the networks' mean), `answers`
    (fitted on its scores to say what was said out of fold).
    """
    setup = FinetuneSetup.of(scenario, learned, extractor)
    inputs, everything = setup.inputs(DEPTH), np.arange(len(learned))
    folds = make_folds(learned, FOLDS)
    teachers, calibrators = _taught(setup, inputs, folds)
    looks = [_inputs(scenario, held, extractor, edit) for edit in (None, judging_view())]

    def judge(run: Trained) -> Floats:
        return np.stack([_answer(setup, run, look, len(held), 0) for look in looks])

    found: dict[str, Floats] = {
        MEAN: _stated(calibrators[0], np.mean([judge(run) for run in teachers.runs], axis=0)),
    }
    share = float(np.mean([run.best_epoch / run.epochs for run in teachers.runs]))
    whole = setup.recipe.for_images(len(learned)).epochs
    tasks: dict[str, tuple[Floats | None, int]] = {ONCE: (None, round(share * whole))}
    tasks |= {way: (targets(teachers), whole) for way, targets in STUDENTS.items()}
    tasks[LABELS] = (None, whole)
    for way, (targets, epochs) in tasks.items():
        task = TrainingTask(DEPTH, inputs, everything, everything, way, epochs, targets)
        run = setup.trained(task)
        seconds[way] = seconds.get(way, 0.0) + run.seconds
        scores = judge(run)
        fitted = {
            "": calibrators[1],
            "; own": fit_calibrator(run.scores, learned.labels),
            "; mean": calibrators[0],
            "; answers": calibrator_towards(run.scores, teachers.answered),
        }
        for name, calibrator in fitted.items():  # the first: of a network of the folds
            found[way + name] = _stated(calibrator, scores)
    return found


def _stated(calibrator: Calibrator, scores: Floats) -> Floats:
    """Probabilities of several looks at images, (looks, n, n_classes)."""
    return np.stack([calibrator(one) for one in scores])


def _taught(
    setup: FinetuneSetup, inputs: Inputs, folds: Folds
) -> tuple[Teachers, tuple[Calibrator, Calibrator]]:
    """The networks of the folds, and the calibrators of their mean and of one of them."""
    table, n = setup.development, len(setup.development)
    runs, unseen = [], np.zeros((folds.n_folds, n))
    scores = np.zeros((n, len(table.classes)))
    apart = []
    for k in range(folds.n_folds):
        rows, judge = (np.flatnonzero((folds.assignment == k) == one) for one in (False, True))
        run = setup.trained(TrainingTask(DEPTH, inputs, rows, judge, f"fold {k + 1}"))
        away = np.concatenate([judge, run.held])
        apart.append((away, np.concatenate([run.scores, run.held_scores])))
        scores[judge] = run.scores
        unseen[k, away] = 1
        runs.append(run)
    variance = variance_between(apart, n)
    calibrators = [
        fit_calibrator(as_mean_of(scores, table.labels, variance, 1, m), table.labels)
        for m in (len(runs), 1)
    ]
    views = len(setup.specs(DEPTH))
    answers = [[_answer(setup, run, inputs, n, view) for run in runs] for view in range(views)]
    y = np.eye(len(table.classes))[table.labels]
    own = fold_calibrators(scores, table.labels, folds.assignment)
    answered = calibrate_folds(own, scores, folds.assignment)
    teachers = Teachers(tuple(runs), np.array(answers), unseen, y, answered)
    return teachers, (calibrators[0], calibrators[1])


def _inputs(
    scenario: Scenario, table: ImageTable, extractor: medgraft.Extractor, edit: Edit | None
) -> Inputs:
    """What enters the trained layers of images that judge."""
    plain = scenario.with_pixels(views=None)  # no views of training are needed
    setup = FinetuneSetup.of(plain, table, extractor, view=edit)
    return setup.judging_inputs(DEPTH, setup.inputs(DEPTH), changed=edit is not None)


def _answer(setup: FinetuneSetup, run: Trained, inputs: Inputs, n: int, view: int) -> Floats:
    """(n, n_classes) scores by a network that was trained."""
    import torch

    channels, n_classes = last_map(setup.backbone).channels, len(setup.development.classes)
    network = tail_with_head(tail_of(setup.backbone, DEPTH), channels, n_classes, 0.0)
    network.load_state_dict({k: torch.from_numpy(v) for k, v in run.state.items()})
    return Training(network, setup.recipe, seed=0).logits(setup.data(inputs, np.arange(n)), view)


def _figures(table: ImageTable, fold: np.ndarray, judged: Mapping[str, Floats]) -> dict[str, Any]:
    """Of every way its figures, and paired with one network of labels and with the mean."""
    found: dict[str, Any] = {way: {} for way in judged}
    for look, where in enumerate(("as they are", "changed")):
        said = {
            way: Predictions.of(way, table, np.log(prob[look]), prob[look], fold)
            for way, prob in judged.items()
        }
        for metric in METRICS:
            values = estimate_all(list(said.values()), metric)
            for (way, one), value in zip(said.items(), values, strict=True):
                gains = compare(one, [said[LABELS], said[MEAN]], metric)
                found[way][f"{metric} {where}"] = {
                    "metric": round(value.value, 5),
                    **{
                        name: _short(gain)
                        for name, gain in zip(("one", "mean"), gains, strict=True)
                    },
                }
        for way, one in said.items():
            slope = recalibrate(one).slope
            if slope is not None:
                found[way][f"slope {where}"] = _short(slope)
    return found


def _short(one: Estimate | Comparison) -> dict[str, float]:
    """A number and its interval."""
    value = one.value if isinstance(one, Estimate) else one.difference
    return {"value": round(value, 5), "low": round(one.low, 5), "high": round(one.high, 5)}


# --------------------------------------------------------------------------- the command


def main() -> None:
    """Measure what the results lack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", default=None, help="a cache of its own")
    asked = parser.parse_args()
    if not SHARED.is_dir():
        sys.exit(f"needs real data in {SHARED}, which is not here")
    cache = medgraft.Cache(Path(asked.cache) if asked.cache else None)
    extractor = medgraft.Extractor(cache, progress=progress(False))
    known = {row["cell"] for row in read_cells(RESULTS)}
    for name in VIEWS:
        for cell, kind in ((name, measure), (f"{name}, in use", in_use)):
            if cell in known:
                continue
            extractor.progress.say(cell)
            row = kind(name, extractor)
            with RESULTS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
