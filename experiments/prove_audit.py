"""The proof of the evidence audit: docs/results/audit.md, from hundreds of planted shortcuts.

`make prove-audit` runs it in full (forty minutes on 2 cores), `--size ci` a sample of it. Trials
that are in experiments/results/audit.json already are not run again. All thresholds stand in
`audit/evidence.py`, `audit/effects.py` and `planted.py`; nothing here can move them but
`--weaken`, which makes the test worse on purpose to show that the proof can fail. Exit code 1: the
proof does not hold.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import medgraft
from audit_page import summary, write_page
from medgraft.audit import effects, evidence
from medgraft.audit.marks import KINDS
from medgraft.data.phantom import write_phantoms
from medgraft.files import write_json
from medgraft.results import evidence as results
from medgraft.results.evidence import CORNERS
from medgraft.terminal import progress
from medgraft.types import Ints, Scenario
from planted import Images, Shortcut, Trial, base_images, run_trial

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
RESULTS = Path(__file__).parent / "results" / "audit.json"
LITE0 = "tf_efficientnet_lite0"
SCENARIOS = (
    Scenario.from_key(f"multiscale/{LITE0}/blocks.2/s128/svm"),
    Scenario.from_key(f"multiscale/{LITE0}/blocks.4/s128/logistic"),
    Scenario.from_key(f"vlad/{LITE0}/blocks.3/s128/k8/svm"),
)
NATURAL = ("coast", "forest", "mountain", "Opencountry")
BUILT = ("highway", "inside_city", "street", "tallbuilding")
CLASSES = {
    "chest_xray": (("NORMAL",), ("PNEUMONIA",)),
    "scenes_ot8": (NATURAL, BUILT),
    "phantoms": (("normal",), ("lesion",)),
    "pneumonia": (("bacteria",), ("virus",)),
    "lung_cancers": (("lung_aca",), ("lung_scc",)),
}
FOLDERS = {"pneumonia": "chest_xray", "lung_cancers": "lc25000_lung_unique"}
REAL = ("chest_xray", "scenes_ot8")
HARD = ("pneumonia", "lung_cancers")  # classes that are told apart badly, so that marks are used
NULL = (*REAL, "phantoms")
NULLS = 300
WIDTHS = (0.03, 0.06, 0.10, 0.15)
CI = 12  # every so many trials of the full size are run


def main() -> None:
    """Run what is not in the results yet, count, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=("full", "ci"), default="full")
    parser.add_argument("--weaken", action="store_true", help="no correction, no floor, p < .2")
    parser.add_argument("--page", action="store_true", help="only write the page anew")
    asked = parser.parse_args()
    if not SHARED.is_dir() and not asked.page:
        sys.exit(f"needs real data in {SHARED}, which is not here")
    if asked.weaken:
        for module in (effects, evidence, results):
            vars(module).update(LEVEL=0.2, POINTS=-1.0, RANKING=-1.0)
    kept = asked.size == "full" and not asked.weaken
    known: dict[str, Any] = json.loads(RESULTS.read_text()) if kept and RESULTS.exists() else {}
    trials = [*planted(), *nulls()]
    if asked.size == "ci":
        trials = trials[::CI]
    if not asked.page:
        run(trials, known, kept)
    rows = [known[name(trial)] for trial in trials if name(trial) in known]
    if kept:
        write_page(rows, ROOT)
    print(summary(rows).text)
    sys.exit(0 if summary(rows).holds else 1)


def run(trials: list[Trial], known: dict[str, Any], kept: bool) -> None:
    """Run the trials that are not known, and know them."""
    images: dict[str, tuple[Images, Ints]] = {}
    bar = progress(False)
    with tempfile.TemporaryDirectory() as folder:
        extractor = medgraft.Extractor(medgraft.Cache(Path(folder) / "cache"))
        with bar.task("Planting, training, auditing", len(trials)) as advance:
            for number, trial in enumerate(trials):
                if name(trial) not in known:
                    if trial.data not in images:
                        images[trial.data] = read(trial.data, extractor, Path(folder))
                    outcome = run_trial(trial, *images[trial.data], extractor, Path(folder))
                    known[name(trial)] = {
                        **asdict(outcome),
                        "key": trial.scenario.key,
                        "uses": outcome.uses,
                        "right": outcome.right,
                    }
                    if kept and (number % 10 == 9 or number + 1 == len(trials)):
                        write_json(RESULTS, known)
                advance(1)
        if kept:
            write_json(RESULTS, known)


def planted() -> Iterator[Trial]:
    """Shortcuts of every kind, agreement and size in real images, for every kind of model."""
    seed = 1000
    for data, scenario, kind, rho in product(REAL, SCENARIOS, KINDS, (0.0, 0.6, 0.8, 0.9, 1.0)):
        seed += 1
        size, corner = (
            WIDTHS[seed % len(WIDTHS)],
            CORNERS[seed // len(WIDTHS) % len(CORNERS)],
        )
        yield Trial(data, scenario, Shortcut(kind, size, corner, rho), False, seed)
    for data, scenario, size, rho in product(REAL, SCENARIOS, (0.06, 0.10, 0.15), (0.9, 1.0)):
        seed += 1  # the sizes that models use most, so that enough of them do
        kind, corner = (
            KINDS[seed % len(KINDS)],
            CORNERS[seed // len(KINDS) % len(CORNERS)],
        )
        yield Trial(data, scenario, Shortcut(kind, size, corner, rho), True, seed)
    others = (
        Shortcut("border", 0.03, rho=1.0),
        Shortcut("border", 0.05, rho=0.9),
        Shortcut("box", 0.10, "anywhere", 1.0),
        Shortcut("text", 0.15, "anywhere", 0.9),
        Shortcut("compression", rho=1.0),
        Shortcut("brightness", rho=1.0),
    )
    for data, scenario, shortcut in product(REAL, SCENARIOS, others):
        seed += 1
        yield Trial(data, scenario, shortcut, False, seed)
    for data, scenario, kind, rho in product(HARD, SCENARIOS, KINDS, (0.0, 0.6, 0.8, 0.9, 1.0)):
        seed += 1
        size, corner = (
            WIDTHS[seed % len(WIDTHS)],
            CORNERS[seed // len(WIDTHS) % len(CORNERS)],
        )
        yield Trial(data, scenario, Shortcut(kind, size, corner, rho), False, seed)


def nulls() -> Iterator[Trial]:
    """Border and corners that tell nothing by construction, half with a mark that agrees with no
    class."""
    for number in range(NULLS):
        data = NULL[number % len(NULL)]
        scenario = SCENARIOS[number // len(NULL) % len(SCENARIOS)]
        kind = KINDS[number // 2 % len(KINDS)] if number % 2 else ""
        shortcut = Shortcut(kind, WIDTHS[number // 8 % 4], CORNERS[number // 32 % 4], 0.0)
        yield Trial(data, scenario, shortcut, data != "phantoms", 5000 + number)


def read(data: str, extractor: medgraft.Extractor, folder: Path) -> tuple[Images, Ints]:
    """One image a patient and its class of two."""
    if data == "phantoms":
        write_phantoms(folder / data, n_patients=520)
    where = folder / data if data == "phantoms" else SHARED / FOLDERS.get(data, data)
    table = medgraft.load(where)
    if data == "pneumonia":  # whose kind stands in the files' names
        table = table.select(table.labels == table.classes.index("PNEUMONIA"))
        virus = np.char.find(table.ids, "virus") >= 0
        labels = virus.astype(np.int64)
        table = dataclasses.replace(table, labels=labels, classes=("bacteria", "virus"))
    return base_images(table, *CLASSES[data], extractor)


def name(trial: Trial) -> str:
    """A trial's own name among the results."""
    s = trial.shortcut
    what = f"{s.kind or 'nothing'} {s.size:g} {s.place} rho {s.rho:g}" if s.kind else "nothing"
    mixed = " mixed" if trial.mixed else ""
    return f"{trial.data}{mixed} | {trial.scenario.key} | {what} | {trial.seed}"


if __name__ == "__main__":
    main()
