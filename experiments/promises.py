"""Do the promises of two versions come true on real data? Writes docs/results/promises.md.

`make results-promises` runs it. The same measuring runs with the package of an earlier commit and
with this one's, each in a process of its own, and what they said of the same images is compared in
pairs.

Whole sets: the default study; its test split is looked at once by each version
(docs/results/ledger.md). Small sets: some patients of the development images are studied, the other
development images are the truth; no test split is touched.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit
from sklearn.linear_model import LogisticRegression

import medgraft
from medgraft.data import split
from medgraft.data.split import keep_copies_together, labelled, make_folds
from medgraft.evaluate.compare import estimate_all
from medgraft.evaluate.estimates import evaluate
from medgraft.evaluate.metrics import give_labels
from medgraft.features.backbones import DEFAULT
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.learn.fit import cross_fitted
from medgraft.studies.run import run_study
from medgraft.types import Floats, Folds, ImageTable, Ints, Predictions, Scenario
from promises_page import write_page

if TYPE_CHECKING:  # whose file has another name in the earlier version
    from medgraft.learn.cross_validation import CrossFitted


def _earlier_or_now(name: str, *modules: str) -> Any:
    """What is called so in the first of these modules that this version has."""
    for module in modules:
        with suppress(ImportError, AttributeError):
            return getattr(importlib.import_module(module), name)
    raise ImportError(name)


positive_column = _earlier_or_now(
    "positive_column", "medgraft.evaluate.threshold", "medgraft.evaluate.calibration"
)
StudyOptions = _earlier_or_now("StudyOptions", "medgraft.studies.options", "medgraft.studies.plan")

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
RESULTS = Path(__file__).parent / "results" / "promises.json"
BEFORE = "550274c"  # the last commit whose folds were calibrated by each other's scores
WHOLE = (
    "chest_xray",
    "scenes_ot8",
    "hyperkvasir5",
    "lc25000_lung_unique",
    "cancer_cells.csv",
    "mini_scenes.csv",
)
SMALL = (("chest_xray", 60), ("chest_xray", 300), ("scenes_ot8", 100), ("hyperkvasir5", 100))
DRAWS = 20  # small sets of each kind
LITE0 = "tf_efficientnet_lite0"
HEADS = (("blocks.4", "logistic"), ("stages", "svm"))  # taps and heads
LEAST = 1e-7  # of a probability whose logarithm is taken
RESAMPLES = 2000

Row = dict[str, Any]


# --------------------------------------------------------------------------- measured by a version


def measure(out: Path, data: Path) -> None:
    """What the package that is imported says of every set, as JSON and probabilities."""
    extractor = Extractor(Cache(), workers=os.cpu_count() or 1)
    rows: list[Row] = []
    arrays: dict[str, NDArray[Any]] = {}
    for name in WHOLE:
        study = run_study(medgraft.load(data / name), StudyOptions(backbones=(DEFAULT,)), extractor)
        result, key = study.result, study.result.recommended
        test = study.test[key]
        rows.append(
            {
                "data": name,
                "recommended": key,
                "oof": study.validation.estimates[result.metric].value,
                "corrected": [result.corrected.value, result.corrected.low, result.corrected.high],
                **_judged("oof", study.validation),
                **_judged("test", study.tested),
                "slope": _slope(test.y_true, test.y_prob),
            }
        )
        arrays |= _arrays(name, test, study.fitted.operating)
        print(rows[-1], flush=True)
    for name, n in SMALL:
        table = labelled(medgraft.load(data / name).development)
        for scenario in (_head(*words) for words in HEADS):
            for draw in range(DRAWS):
                rows.append(_small(name, table, n, scenario, draw, extractor))
            print(name, n, scenario.key, flush=True)
    np.savez(out.with_suffix(".npz"), allow_pickle=False, **arrays)
    out.write_text(json.dumps(rows), encoding="utf-8")


def _head(tap: str, head: str) -> Scenario:
    """A probe, as the version that is measured makes one."""
    if hasattr(Scenario, "from_key"):
        return Scenario.from_key(f"probe/{LITE0}/{tap}/{head}")
    earlier: Any = Scenario
    return earlier("probe", LITE0, tap, head)  # type: ignore[no-any-return]


def _judged_out_of_fold(
    scenario: Scenario, table: ImageTable, folds: Folds, extractor: Extractor
) -> CrossFitted:
    """`cross_fitted`, as the version that is measured takes what is learned from."""
    judge: Any = cross_fitted
    if hasattr(split, "Development"):
        return judge(scenario, split.Development(table, folds), extractor)  # type: ignore[no-any-return]
    return judge(scenario, table, folds, extractor)  # type: ignore[no-any-return]


def _small(
    name: str, table: ImageTable, n: int, scenario: Scenario, draw: int, extractor: Extractor
) -> Row:
    """A study of about n images in whole groups, six a class; the other images are the truth."""
    groups, index, sizes = np.unique(table.groups, return_inverse=True, return_counts=True)
    for attempt in range(100):
        order = np.random.default_rng([draw, n, attempt]).permutation(len(groups))
        cut = int(np.searchsorted(np.cumsum(sizes[order]), n)) + 1
        inside = np.isin(index.ravel(), order[:cut])
        if np.bincount(table.labels[inside], minlength=len(table.classes)).min() >= 6:
            break
    learned = keep_copies_together(table.select(inside))
    rest = table.select(~inside)
    found = _judged_out_of_fold(scenario, learned, make_folds(learned, 5, draw), extractor)
    (oof,) = estimate_all([found.predictions], "auroc")
    said = found.fitted.predict(rest)[0]
    (truth,) = estimate_all([said], "auroc")
    judged = evaluate(said, found.fitted.operating, ("accuracy", "balanced_accuracy", "log_loss"))
    return {
        "data": name,
        "n": n,
        "scenario": scenario.key,
        "draw": draw,
        "oof": oof.value,
        "covered": bool(oof.low <= truth.value <= oof.high),
        "truth": truth.value,
        "slope": _slope(said.y_true, said.y_prob),
        **{name: one.value for name, one in judged.estimates.items()},
    }


def _judged(what: str, evaluation: Any) -> Row:
    names = ("auroc", "accuracy", "balanced_accuracy", "brier", "log_loss")
    return {f"{what}_{name}": evaluation.estimates[name].value for name in names}


def _slope(y: Ints, prob: Floats) -> float:
    """The calibration slope of two classes, or of being the class against not, over all classes."""
    columns = [1] if prob.shape[1] == 2 else range(prob.shape[1])
    x = np.concatenate([logit(np.clip(prob[:, k], LEAST, 1 - LEAST)) for k in columns])
    came = np.concatenate([y == k for k in columns])
    return float(LogisticRegression(C=1e6).fit(x[:, None], came).coef_[0, 0])


def _arrays(name: str, test: Predictions, operating: Any) -> dict[str, NDArray[Any]]:
    own = np.clip(test.y_prob[np.arange(len(test)), test.y_true], LEAST, 1)
    truth = np.eye(len(test.classes))[test.y_true]
    threshold = 0.0 if operating is None else operating.threshold
    label = give_labels(test.y_prob, positive_column(test), threshold)
    squared = ((test.y_prob - truth) ** 2).sum(axis=1)
    return {
        f"{name}|groups": test.groups,
        f"{name}|y": test.y_true,
        f"{name}|log_loss": -np.log(own),
        f"{name}|brier": squared / 2 if len(test.classes) == 2 else squared,
        f"{name}|accuracy": (label == test.y_true).astype(float),
    }


# --------------------------------------------------------------------------- compared


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", default=BEFORE)
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--measure", type=Path, help="measure the version imported into this file")
    parser.add_argument("--page-only", action="store_true")
    given = parser.parse_args()
    if given.measure:
        measure(given.measure, given.data)
        return
    if not given.page_only:
        found = dict(_both(given.before, given.data))
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    write_page(json.loads(RESULTS.read_text(encoding="utf-8")))


def _both(before: str, data: Path) -> Iterator[tuple[str, Any]]:
    """Measure by both versions, and compare what they said of test images."""
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "before"
        subprocess.run(["git", "worktree", "add", "--detach", tree, before], cwd=ROOT, check=True)
        try:
            arrays = {}
            for which, source in (("before", tree), ("after", ROOT)):
                out = Path(scratch) / f"{which}.json"
                subprocess.run(
                    [sys.executable, __file__, "--measure", out, "--data", data],
                    env={**os.environ, "PYTHONPATH": str(source / "src")},
                    check=True,
                )
                arrays[which] = dict(np.load(out.with_suffix(".npz"), allow_pickle=False))
                yield which, json.loads(out.read_text(encoding="utf-8"))
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=ROOT, check=True)
    yield "commit", before
    yield "differences", list(_differences(arrays["before"], arrays["after"]))


def _differences(before: dict[str, NDArray[Any]], after: dict[str, NDArray[Any]]) -> Iterator[Row]:
    """After minus before on the same test images, with percentiles over resampled groups."""
    for name in WHOLE:
        index = np.unique(after[f"{name}|groups"], return_inverse=True)[1].ravel()
        count = int(index.max()) + 1
        draws = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), RESAMPLES)
        images = draws @ np.bincount(index)
        for metric in ("log_loss", "brier", "accuracy"):
            gain = after[f"{name}|{metric}"] - before[f"{name}|{metric}"]
            samples = (draws @ np.bincount(index, gain)) / images
            low, high = np.percentile(samples, [2.5, 97.5])
            yield {
                "data": name,
                "metric": metric,
                "difference": float(gain.mean()),
                "low": float(low),
                "high": float(high),
            }


if __name__ == "__main__":
    main()
