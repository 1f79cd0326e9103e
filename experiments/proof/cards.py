"""How often a card or a finding warns where there is nothing to warn of, and how often it sees.

Every check has a world in which its warning is false, and one in which it is due.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from medgraft.evaluate.estimates import evaluate
from medgraft.evaluate.intervals import Sampling
from medgraft.evaluate.recalibration import recalibrate
from medgraft.profile.group_similarity import numbering_or_leakage
from medgraft.profile.labels import search, wrong_labels
from medgraft.profile.metadata import metadata_probe
from medgraft.profile.profile import class_shares
from medgraft.profile.shift import train_test_shift
from medgraft.profile.shortcut_probe import predict_from_surface, surface_finding
from medgraft.report.text import verdicts
from medgraft.types import (
    FeatureTable,
    Finding,
    Floats,
    ImageTable,
    Ints,
    Operating,
    Predictions,
    Strings,
)
from proof.cell import Bound, Cell
from proof.codes import table_of
from proof.scores import (
    POSITIVE,
    THRESHOLD,
    distance,
    eight_classes,
    five_folds,
    patients,
    two_classes,
)

RESAMPLES = Sampling(resamples=400)
CODES = 64
Warns = Callable[[np.random.Generator, bool], bool]
"""Whether it warns, in the world where that is due (True) or false."""


def cells() -> Iterator[Cell]:
    """Each check at its stated rate, with what it should see in words."""
    for size, ns in {1: (60, 150, 300, 600, 2000), 10: (300, 600)}.items():
        for n in ns:
            run = partial(calibration, n=n, size=size, auroc=0.92)
            yield _cell("calibration", "AUROC .92", n, size, "slope 0.6", run, 0.05, 2000)
    for auroc in (0.76, 0.98):
        run = partial(calibration, n=300, size=1, auroc=auroc)
        yield _cell("calibration", f"AUROC {auroc:.2f}", 300, 1, "slope 0.6", run, 0.05, 2000)
    for size, n in ((1, 150), (1, 600), (10, 600)):
        run = partial(new_images, n=n, size=size)
        yield _cell("new images", "a third for test", n, size, "AUROC .85", run, 0.05, 1000)
    for auroc, n in ((0.92, 150), (0.92, 600), (0.98, 600)):
        run = partial(labels, n=n, auroc=auroc)
        yield _cell("wrong labels", f"AUROC {auroc}", n, 1, "5 % wrong", run, 0.05, 2000)
    yield _cell("wrong labels", "8 classes", 600, 1, "5 % wrong", labels_of_eight, 0.05, 2000)
    for size, n in ((1, 300), (3, 600)):
        run = partial(shift, n=n, size=size)
        yield _cell("train-test shift", "a fourth for test", n, size, "0.5 sd", run, 0.01, 300)
        run = partial(metadata, n=n, size=size)
        yield _cell("file tells class", "", n, size, "shape follows it", run, 0.025, 200)
        run = partial(shares, n=n, size=size)
        yield _cell("class shares", "a fourth for test", n, size, "20 points", run, 0.01, 2000)
    yield _cell("surface tells class", "", 300, 1, "AUROC .98", partial(surface, n=300), 0.05, 200)
    yield _cell("same patient", "30 shared keys", 300, 1, "is one", same_patient, 0.025, 500)


def _cell(
    card: str, data: str, n: int, size: int, due: str, warns: Warns, level: float, runs: int
) -> Cell:
    setting = {
        "check": card, "data": data, "images": f"{n}", "a patient": f"{size}", "due at": due,
    }  # fmt: skip
    short = {("calibration", 150, 1): 200, ("calibration", 300, 10): 100,
             ("new images", 150, 1): 200, ("wrong labels", 150, 1): 100,
             ("class shares", 300, 1): 300}  # fmt: skip
    # A warning may be rarer than its rate; it may not be more frequent by a fifth and a point.
    bounds = {"false alarms": Bound(level, 0.0, 1.2 * level + 0.01)}
    sample = short.get((card, n, size), 0) if data != "AUROC 0.98" else 0
    return Cell("cards", setting, partial(_run, warns=warns), runs, bounds, sample)


def _run(rng: np.random.Generator, warns: Warns) -> dict[str, float]:
    return {"false alarms": float(warns(rng, False)), "seen": float(warns(rng, True))}


# --------------------------------------------------------------------------- cards of the report


def calibration(rng: np.random.Generator, due: bool, n: int, size: int, auroc: float) -> bool:
    """Perfectly calibrated, or too sure (a calibration slope of .6)."""
    (said,) = two_classes(rng, n, size, [distance(auroc)], stretch=1 / 0.6 if due else 1.0)
    return calibration_word(said) in ("WARN", "FAIL")


def new_images(rng: np.random.Generator, due: bool, n: int, size: int) -> bool:
    """Test images as those learned from, or harder ones."""
    (inside,) = two_classes(rng, n, size, [distance(0.92)], folds=True)
    (outside,) = two_classes(rng, n // 2, size, [distance(0.85 if due else 0.92)])
    return new_images_word(inside, outside) == "WARN"


def calibration_word(said: Predictions) -> str:
    """The word on the card; the one place that knows what the card is given."""
    plain = evaluate(said, Operating(THRESHOLD, "fixed"), ("accuracy",), RESAMPLES)
    judged = dataclasses.replace(plain, calibration=recalibrate(said))
    return verdicts._calibration(cast(Any, SimpleNamespace(judged=judged))).word


def new_images_word(inside: Predictions, outside: Predictions) -> str:
    """The same of the card that holds the test against the promise."""
    promised = evaluate(inside, None, ("auroc",), RESAMPLES).estimates["auroc"]
    tested = evaluate(outside, Operating(THRESHOLD, "fixed"), ("auroc",), RESAMPLES)
    result = SimpleNamespace(metric="auroc", corrected=promised, why=SimpleNamespace(for_all=False))
    content = SimpleNamespace(result=result, test_evaluation=tested, changed=False)
    return verdicts._agreement(cast(Any, content)).word


# --------------------------------------------------------------------------- findings on the data


def labels(rng: np.random.Generator, due: bool, n: int, auroc: float) -> bool:
    """All labels right and all probabilities true, or one label in twenty turned."""
    (said,) = two_classes(rng, n, 1, [distance(auroc)], folds=True)
    return _labels(rng, due, said)


def labels_of_eight(rng: np.random.Generator, due: bool) -> bool:
    """The same of eight classes."""
    said = eight_classes(rng, 600, 1, 2.434)
    fold = five_folds(said.y_true, np.arange(len(said)))
    return _labels(rng, due, dataclasses.replace(said, fold=fold))


def _labels(rng: np.random.Generator, due: bool, said: Predictions) -> bool:
    turned = due & (rng.random(len(said)) < 0.05)
    moved = rng.integers(1, len(said.classes), len(said))
    y = np.where(turned, (said.y_true + moved) % len(said.classes), said.y_true)
    said = dataclasses.replace(said, y_true=y)
    return _warned(wrong_labels(said, search(said)))


def shift(rng: np.random.Generator, due: bool, n: int, size: int) -> bool:
    """Test images as the others, or half a standard deviation away in a tenth of the codes."""
    table, patient, sick = _with_test(rng, n, size)
    codes = rng.normal(size=(n, CODES)) + rng.normal(size=(patient[-1] + 1, CODES))[patient]
    codes[:, 0] += sick
    codes[:, : CODES // 10] += due * 0.5 * np.sqrt(2) * (table.splits == "test")[:, None]
    return _warned(train_test_shift(table, _features(table.ids, codes)))


def metadata(rng: np.random.Generator, due: bool, n: int, size: int) -> bool:
    """Sizes of files that follow the patient only, or the class in three of four patients."""
    table, patient, sick = _with_test(rng, n, size)
    agrees = rng.random(patient[-1] + 1)[patient] < 0.75
    kind = rng.integers(0, 2, patient[-1] + 1)[patient]
    wide = np.where(due & agrees, sick, kind).astype(np.float64)
    noise = rng.normal(size=patient[-1] + 1)[patient]
    found = metadata_probe(table, {"width": wide[:, None], "aspect": noise[:, None]})
    return _warned(found)


def surface(rng: np.random.Generator, due: bool, n: int) -> bool:
    """Exposure and sharpness that tell nothing, or all but everything."""
    y, patient = patients(rng, n, 1, (1 - POSITIVE, POSITIVE))
    measured = rng.normal(size=(n, 20))
    measured[:, 0] += due * distance(0.98) * y
    return _warned((surface_finding(predict_from_surface(measured, table_of(y, patient, 2))),))


def shares(rng: np.random.Generator, due: bool, n: int, size: int) -> bool:
    """As many sick among the test's patients as among the others, or 20 points more."""
    table, _, _ = _with_test(rng, n, size, more=0.2 if due else 0.0)
    return _warned(class_shares(table))


def same_patient(rng: np.random.Generator, due: bool) -> bool:
    """Numbers that start anew in the test split, or the same patients on both sides."""
    person = np.tile(np.arange(30), 10)
    test = np.arange(300) >= 200
    y = (person % 2).astype(np.int64)
    who = person if due else np.where(test, person + 30, person)
    codes = rng.normal(size=(300, CODES)) + rng.normal(size=(60, CODES))[who]
    kind = np.where(y == 1, "virus", "bacteria")
    names = [f"person{p}_{k}_{i}.jpeg" for i, (p, k) in enumerate(zip(person, kind, strict=True))]
    table = dataclasses.replace(
        table_of(y, np.arange(300), 2), ids=np.array(names), splits=np.where(test, "test", "train")
    )
    return _warned(numbering_or_leakage(table, _features(table.ids, codes)))


def _with_test(
    rng: np.random.Generator, n: int, size: int, more: float = 0.0
) -> tuple[ImageTable, Ints, Ints]:
    """A table with a fourth of the patients for test; their numbers, and who is sick."""
    _, patient = patients(rng, n, size, (1 - POSITIVE, POSITIVE))
    test = rng.random(patient[-1] + 1) < 0.25
    sick = rng.random(patient[-1] + 1) < POSITIVE + more * test
    y = sick[patient].astype(np.int64)
    table = table_of(y, patient, 2)
    return dataclasses.replace(table, splits=np.where(test[patient], "test", "train")), patient, y


def _features(ids: Strings, codes: Floats) -> FeatureTable:
    return FeatureTable(ids, {"codes": codes.astype(np.float32)})


def _warned(findings: tuple[Finding, ...]) -> bool:
    return any(one.severity != "info" for one in findings)
