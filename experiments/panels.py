"""Several findings an image on real images, held to the same questions studied alone.

`make results-panels` measures what `results/panels.jsonl` lacks, one line a cell, so that it can be
killed and called anew, and writes docs/results/panels.md. Findings are derived from the classes of
real sets; only development images are read, no official test split is looked at.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from medgraft.data.ingest import load_any
from medgraft.data.panel_split import panel_folds
from medgraft.data.split import Development, Together, folds_of
from medgraft.evaluate.compare import estimate_all
from medgraft.evaluate.intervals import DEFAULT
from medgraft.evaluate.macro import macro_mean
from medgraft.evaluate.metrics import judge
from medgraft.evaluate.shared_bags import compare_means, in_shared_bags, mean_over_findings
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.learn.fit import cross_fitted
from medgraft.panel import ABSENT, PRESENT, UNKNOWN, Marks, Panel
from medgraft.studies.options import StudyOptions
from medgraft.studies.panel import PanelStudy, run_panel
from medgraft.studies.run import Study, run_study
from medgraft.types import Estimate, ImageTable, Predictions, Scenario

sys.path.insert(0, str(Path(__file__).parent))

from page import read_cells
from panels_page import write_page
from shift.sources import development
from two_lesions import write_lesions

RESULTS = Path(__file__).parent / "results" / "panels.jsonl"
COMPANY = RESULTS.with_name("company.jsonl")
OPTIONS = StudyOptions(backbones=("tf_efficientnet_lite0",), audit=False, learning_curve=False)
Row = dict[str, Any]

SCENES = {
    "natural": ("coast", "forest", "mountain", "Opencountry"),
    "open": ("coast", "highway", "Opencountry"),
    "tall": ("tallbuilding", "inside_city"),
    "water": ("coast",),
}
SKIN = {"malignant": ("akiec", "bcc", "mel"), "melanocytic": ("mel", "nv")}


def by_class(table: ImageTable, findings: Mapping[str, tuple[str, ...]]) -> Panel:
    """Findings that are there in all images of some classes, and in no others."""
    classes = np.array(table.classes)[table.labels]
    marks = np.stack([np.isin(classes, those) for those in findings.values()], axis=1)
    return panel_of(table, tuple(findings), marks.astype(np.int8))


def pneumonia(table: ImageTable) -> Panel:
    """Pneumonia; and where there is one whether it is bacterial, and whether viral."""
    ill = table.labels == table.classes.index("PNEUMONIA")
    names = [PurePosixPath(source.path).name for source in table.sources]
    bacterial = np.array(["bacteria" in name for name in names])
    marks = np.full((len(table), 3), UNKNOWN, np.int8)
    marks[:, 0] = np.where(ill, PRESENT, ABSENT)
    marks[ill, 1] = np.where(bacterial[ill], PRESENT, ABSENT)
    marks[ill, 2] = np.where(bacterial[ill], ABSENT, PRESENT)
    return panel_of(table, ("pneumonia", "bacterial", "viral"), marks)


def panel_of(table: ImageTable, names: tuple[str, ...], marks: Marks) -> Panel:
    """The panel of images whose own labels and splits are no longer known."""
    n = len(table)
    images = dataclasses.replace(
        table, labels=np.full(n, -1), classes=(), positive=None, splits=np.full(n, "", np.str_)
    )
    return Panel(images, names, marks)


SETS: Mapping[str, tuple[int, Callable[[ImageTable], Panel]]] = {
    "scenes_ot8": (800, lambda table: by_class(table, SCENES)),
    "skin7": (800, lambda table: by_class(table, SKIN)),
    "chest_xray": (600, pneumonia),
}


TRAINED = "skin7", 400  # images, of which networks are trained in a few minutes
FOLDS = 3
COST = (1000, 5000)  # images of which a study of one finding, and of ten, is timed
FINDINGS = 10
MEMORY = 400, (1, 10, 40)  # images, and the findings that are studied, each in a process of its own
FROZEN = Scenario.from_key("probe/tf_efficientnet_lite0/stages/svm")
NETWORK = Scenario.from_key("finetune/tf_efficientnet_lite0/blocks.5/s160/epochs4/logistic")


def main() -> None:
    """Measure what is missing, and write the page."""
    done = {row["cell"] for row in read_cells(RESULTS)}
    asked = {f"{name} alone": (held_to_alone, name, SETS[name][0]) for name in SETS}
    asked[f"{TRAINED[0]} trained"] = (trained, *TRAINED)
    for cell, (measure, name, most) in asked.items():
        if cell not in done:
            keep(cell, {"set": name, **measure(SETS[name][1](development(name, most)))})
    if "memory" not in done:
        images, counts = MEMORY
        keep("memory", {"images": images, "peak": [[k, peak_alone(images, k)] for k in counts]})
    for images in COST:
        if f"{images} cost" not in done:
            keep(f"{images} cost", cost(images))
    write_page(read_cells(RESULTS), read_cells(COMPANY))


def keep(cell: str, row: Row) -> None:
    """Write a cell down."""
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"cell": cell, **row}) + "\n")


# --------------------------------------------------------------------------- the same alone


def held_to_alone(panel: Panel) -> Row:
    """The figures of a panel, and whether each question has the same ones when it is alone.

    Alone it is asked on the panel's folds, and nothing but codes is in the cache.
    """
    extractor = Extractor()
    forget_scores(extractor)
    began = time.process_time()
    panels = run_panel(panel, OPTIONS, extractor)
    row: Row = {
        "images": len(panels.panel),
        "one": panels.result.scenario.one,
        "taken": panels.result.scenario.taken,
        "seconds": time.process_time() - began,
        "macro": shown(panels.result.macro["validation"]["auroc"]),
        "findings": [],
    }
    for one in panels.result.findings:
        forget_scores(extractor)
        question = panels.panel.question(one.name)
        alone = run_study(question, OPTIONS, extractor, folds=panels.folds)
        row["findings"].append(compared(panels, one.name, alone))
    return row


def forget_scores(extractor: Extractor) -> None:
    """Leave only codes in the cache, so that every question is answered anew."""
    shutil.rmtree(extractor.cache.folder / "predictions", ignore_errors=True)


def compared(panels: PanelStudy, name: str, alone: Study) -> Row:
    """A finding in its panel, beside its study alone by the same scenario."""
    one = next(one for one in panels.result.findings if one.name == name)
    rows = {row.key: row for row in alone.result.scenarios}
    mine, metric = rows[one.scenario], panels.result.metric
    assert one.test is not None
    assert mine.test is not None
    return {
        "name": name,
        "images": one.n_images,
        "with": one.n_with,
        "scenario": one.scenario,
        "own": one.own,
        "auroc": shown(one.validation[metric]),
        "test": shown(one.test[metric]),
        "p": one.p,
        "same": (mine.validation[metric], mine.test[metric])
        == (one.validation[metric], one.test[metric])
        and same_bits(panels.oof[name], alone.oof[one.scenario])
        and same_bits(panels.test[name], alone.test[one.scenario]),
        "same_own": alone.result.recommended == one.own,
        "seconds": alone.result.seconds,
    }


def same_bits(a: Predictions, b: Predictions) -> bool:
    """Whether two predictions say the same of the same images, to the bit."""
    return all(
        np.array_equal(getattr(a, part), getattr(b, part)) for part in ("ids", "scores", "y_prob")
    )


# --------------------------------------------------------------------------- one network for all


def trained(panel: Panel) -> Row:
    """A frozen probe, a network a finding and one for all, out of fold on the same folds."""
    folds, _ = panel_folds(panel, FOLDS, 0)
    together = Together(panel, folds)
    ways = {
        "frozen": (FROZEN, None),
        "a network a finding": (NETWORK, None),
        "one network": (NETWORK, together),
    }
    extractor, seconds = Extractor(), dict.fromkeys(ways, 0.0)
    said: dict[str, list[Predictions]] = {way: [] for way in ways}
    for way, (scenario, learned) in ways.items():
        for name in panel.names:
            question = panel.question(name)
            asked = Development(question, folds_of(folds, question), together=learned)
            crossed = cross_fitted(scenario, asked, extractor)
            said[way].append(crossed.predictions)
            seconds[way] += crossed.seconds
    seconds["one network"] /= len(panel.names)  # trained once
    bags = [
        in_shared_bags(of_finding, "auroc", folds.groups, DEFAULT)
        for of_finding in zip(*said.values(), strict=True)
    ]
    mean, names = mean_over_findings(bags), list(ways)
    pairs = [compare_means(mean, names, 2, 0), compare_means(mean, names, 2, 1)]
    return {
        "images": len(panel),
        "folds": FOLDS,
        "network": NETWORK.key,
        "findings": list(panel.names),
        "ways": {
            way: {
                "seconds": seconds[way],
                "mean": shown(macro_mean([judge(one) for one in said[way]], "auroc")),
                "auroc": [shown(estimate_all([one], "auroc")[0]) for one in said[way]],
            }
            for way in ways
        },
        "pairs": [dataclasses.asdict(one) for one in pairs],
    }


# --------------------------------------------------------------------------- what it costs


def cost(images: int) -> Row:
    """Seconds of all cores together, with codes that are read first and with codes that are kept.

    Images of `two_lesions.py`, of 64 pixels, cost next to nothing to decode: the most that findings
    can cost beside it. Of its three findings the others are copies in which some marks are wrong.
    """
    with tempfile.TemporaryDirectory() as scratch:
        panel = load_any(write_lesions(Path(scratch) / "images", images, faint=30))
        assert isinstance(panel, Panel)
        panel = with_findings(panel, FINDINGS)
        extractor = Extractor(Cache(Path(scratch) / "cache"))
        seconds = {}
        for kept in (False, True):
            forget_scores(extractor)
            began = time.process_time()
            alone = run_study(panel.question(panel.names[0]), OPTIONS, extractor)
            seconds["kept" if kept else "first"] = time.process_time() - began
        peak = {"one": peak_megabytes()}
        forget_scores(extractor)
        began = time.process_time()
        run_panel(panel, OPTIONS, extractor)
        ten = time.process_time() - began
        peak["all"] = peak_megabytes()
    reading = seconds["first"] - seconds["kept"]
    return {
        "images": images,
        "findings": FINDINGS,
        "one": seconds,
        "all": {"first": ten + reading, "kept": ten},
        "peak": peak,
        "heads": seconds_by_head(alone),
    }


def seconds_by_head(study: Study) -> dict[str, float]:
    """What judging out of fold took, by head, on the clock."""
    heads = {entry.scenario.key: entry.scenario.head for entry in study.planned}
    found = dict.fromkeys(heads.values(), 0.0)
    for row in study.result.scenarios:
        found[heads[row.key]] += row.seconds
    return found


def peak_alone(images: int, findings: int) -> int:
    """The most memory of a process that studies so many findings by one head; MB."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(_peak, images, findings).result()


def _peak(images: int, findings: int) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        panel = load_any(write_lesions(Path(scratch) / "images", images, faint=30))
        assert isinstance(panel, Panel)
        options = dataclasses.replace(OPTIONS, heads=("logistic",))
        run_panel(
            with_findings(panel, findings), options, Extractor(Cache(Path(scratch) / "cache"))
        )
    return peak_megabytes()


def peak_megabytes() -> int:
    """The most memory that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def with_findings(panel: Panel, k: int) -> Panel:
    """k findings of the images: those there are, and copies of them with a tenth or more wrong."""
    rng, names, marks = np.random.default_rng(0), list(panel.names), list(panel.marks.T)
    for i in range(len(names), k):
        wrong = rng.random(len(panel)) < min(0.1 + 0.02 * i, 0.4)
        base = marks[i % len(panel.names)]
        marks.append(np.where(wrong, 1 - base, base).astype(np.int8))
        names.append(f"{names[i % len(panel.names)]} {i}")
    return dataclasses.replace(panel, names=tuple(names[:k]), marks=np.stack(marks[:k], axis=1))


def shown(one: Estimate) -> dict[str, float]:
    """An estimate as it is kept."""
    return {"value": one.value, "low": one.low, "high": one.high}


if __name__ == "__main__":
    main()
