"""Several findings an image on real images, held to the same questions studied alone.

`make results-panels` measures what `results/panels.jsonl` lacks, one line a cell, so that it can be
killed and called anew, and writes docs/results/panels.md. Findings are derived from the classes of
real sets; only development images are read, no official test split is looked at.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from medgraft.features.extract import Extractor
from medgraft.panel import ABSENT, PRESENT, UNKNOWN, Marks, Panel
from medgraft.studies.options import StudyOptions
from medgraft.studies.panel import PanelStudy, run_panel
from medgraft.studies.run import Study, run_study
from medgraft.types import Estimate, ImageTable, Predictions

sys.path.insert(0, str(Path(__file__).parent))

from page import read_cells
from panels_page import write_page
from shift.sources import development

RESULTS = Path(__file__).parent / "results" / "panels.jsonl"
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


def main() -> None:
    """Measure what is missing, and write the page."""
    done = {row["cell"] for row in read_cells(RESULTS)}
    for name, (most, panel) in SETS.items():
        cell = f"{name} alone"
        if cell not in done:
            row = {"cell": cell, "set": name, **held_to_alone(panel(development(name, most)))}
            with RESULTS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
    write_page(read_cells(RESULTS))


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


def shown(one: Estimate) -> dict[str, float]:
    """An estimate as it is kept."""
    return {"value": one.value, "low": one.low, "high": one.high}


if __name__ == "__main__":
    main()
