"""How much memory a study's steps take as images grow: anonymous (RssAnon) and all (peak RSS).

`make results-memory` measures what experiments/results/memory.jsonl lacks, a line a cell, and
writes docs/results/memory.md; a killed run goes on with the next cell. A cell is one step on n
images in a process of its own, watched from outside. Heads and evaluation read codes of real chest
X-rays, each perturbed, from a cache that is written once. `--extract` measures extraction itself,
of real images changed in a few pixels, so that no kept row serves two. `--sizes 1000,5000` measures
fewer.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from medgraft.api import load
from medgraft.data.split import Development, make_folds
from medgraft.evaluate.estimates import evaluate
from medgraft.evaluate.winners_curse import bias_corrected, compare_with_best, resample_in_and_out
from medgraft.features.cache import Cache
from medgraft.features.extract import SEGMENT_ROWS, Extractor
from medgraft.features.feature_plan import feature_plan_of
from medgraft.files import cache_folder
from medgraft.learn.fit import cross_fitted, cross_fitted_all
from medgraft.scenario import HEADS, Scenario
from medgraft.types import ImageTable, Predictions, Source
from page import lines, read_cells
from watched import watched

ROOT = Path(__file__).parents[1]
IMAGES = ROOT.parent / "shared" / "data" / "chest_xray"
CELLS = ROOT / "experiments" / "results" / "memory.jsonl"
PAGE = ROOT / "docs" / "results" / "memory.md"
WORK = cache_folder() / "memory"
SIZES = (1000, 5000, 20_000, 100_000)
REAL = 1000  # images whose codes or pixels are perturbed
SPREAD = 0.5  # of a feature's own spread, that a perturbed code is moved by
CHANGED = 5  # pixels of a perturbed image
BACKBONE, TAP = "tf_efficientnet_lite0", "conv_head"
TOGETHER, EVALUATE, EXTRACT = "svm, logistic, knn at once", "evaluate", "extract"
STEPS = (*HEADS, TOGETHER, EVALUATE)


def real() -> ImageTable:
    """The images that all others are made from; none of a test split."""
    table = load(IMAGES).development
    drawn = np.random.default_rng(0).choice(len(table), min(REAL, len(table)), replace=False)
    return table.select(np.sort(drawn))


def scenario(head: str) -> Scenario:
    return Scenario.from_key(f"probe/{BACKBONE}/{TAP}/{head}")


def origins(n: int, m: int) -> Any:
    """Which of m real images each of n rows comes from; two rows are a patient."""
    return np.arange(n) // 2 % m


def table_of(n: int, labels: Any, classes: tuple[str, ...]) -> ImageTable:
    """n rows that stand for perturbed images of such labels, whose codes are in the cache."""
    ids = np.array([f"{i:07d}" for i in range(n)])
    return ImageTable(
        ids=ids,
        sources=tuple(Source(name) for name in ids.tolist()),
        content_hashes=ids,
        labels=labels[origins(n, len(labels))],
        groups=np.array([f"{i // 2:07d}" for i in range(n)]),
        splits=np.full(n, "train"),
        masks=np.full(n, ""),
        classes=classes,
        positive=classes[-1],
    )


def write_codes(n: int) -> None:
    """Write the perturbed codes of n rows that the cache lacks, segment by segment."""
    extractor = Extractor(Cache(WORK))  # which also notes what the network's taps are
    plan = feature_plan_of(scenario("svm"), extractor)
    codes, base, _ = plan.codes(real(), extractor)
    values, table = codes[0], table_of(n, base.labels, base.classes)
    store = extractor.cache.features(plan.canvas)
    (block,) = plan.canvas.blocks
    for start in range(0, n, SEGMENT_ROWS):
        hashes = table.content_hashes[start : start + SEGMENT_ROWS]
        if store.missing(hashes, (block,)).any():
            moved = np.random.default_rng(start).standard_normal((len(hashes), values.shape[1]))
            origin = origins(n, len(base))[start : start + SEGMENT_ROWS]
            made = values[origin] + SPREAD * values.std(axis=0) * moved
            store.write(hashes, {block: made.astype(np.float32)})
    np.savez(WORK / "base.npz", labels=base.labels, classes=np.array(base.classes))


def write_images(n: int) -> Path:
    """n files of different content in class folders: real images, a few pixels changed."""
    import cv2

    base, folder = real(), WORK / f"images_{n}"
    pictures: dict[int, Any] = {}
    for i, origin in enumerate(origins(n, len(base)).tolist()):
        path = folder / base.classes[base.labels[origin]] / f"p{i // 2:06d}_{i % 2}.png"
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if origin not in pictures:
            whole: Any = cv2.imread(base.sources[origin].path, cv2.IMREAD_GRAYSCALE)
            pictures[origin] = cv2.resize(whole, (256, 256), interpolation=cv2.INTER_AREA)
        image = pictures[origin].copy()
        rng = np.random.default_rng([n, i])  # no other size has these images
        image[tuple(rng.integers(0, 256, (2, CHANGED)))] = rng.integers(0, 256, CHANGED)
        half = path.with_suffix(".writing")
        half.write_bytes(cv2.imencode(".png", image)[1].tobytes())
        half.rename(path)
    return folder


# --------------------------------------------------------------------------- one cell


def work(step: str, n: int) -> None:
    """What is measured, in a process of its own."""
    cache = Cache(WORK / "extracted" if step == EXTRACT else WORK, limit=1 << 40)
    extractor = Extractor(cache, workers=2)
    if step == EXTRACT:
        table = load(WORK / f"images_{n}")
        assert len(feature_plan_of(scenario("svm"), extractor).codes(table, extractor)[1]) == n
        return
    with np.load(WORK / "base.npz") as base:
        table = table_of(n, base["labels"], tuple(base["classes"].tolist()))
    folds = make_folds(table, 5, seed=0)
    development = Development(table, folds)
    if step == EVALUATE:
        judge(table, folds.assignment)
    elif step == TOGETHER:
        some = [scenario(head) for head in ("svm", "logistic", "knn")]
        assert len(list(cross_fitted_all(some, development, extractor))) == len(some)
    else:
        assert len(cross_fitted(scenario(step), development, extractor).predictions) == n


def judge(table: ImageTable, fold: Any) -> None:
    """All figures of three scenarios, and the choice between them."""
    rng, found = np.random.default_rng(0), []
    for key in ("a", "b", "c"):
        p = 1 / (1 + np.exp(-(table.labels * 2 - 1) - rng.standard_normal(len(table))))
        prob = np.stack([1 - p, p], axis=1)
        found.append(Predictions.of(key, table, np.log(prob), prob, fold))
    drawn = resample_in_and_out(found, "auroc")
    bias_corrected(drawn, "auroc")
    compare_with_best(drawn)
    evaluate(found[0])


def measure(step: str, n: int) -> dict[str, Any]:
    """Run one cell and watch its process."""
    for path in (WORK / "predictions").glob("*.npz"):
        path.unlink()  # of an earlier run, or what is measured is the reading of it
    shutil.rmtree(WORK / "extracted", ignore_errors=True)
    began = time.perf_counter()
    megabytes = watched([sys.executable, __file__, "--cell", step, str(n)])
    seconds = round(time.perf_counter() - began, 1)
    return {"step": step, "n": n, **megabytes, "seconds": seconds}


# --------------------------------------------------------------------------- all of them


def page(cells: list[dict[str, Any]]) -> str:
    """The page of results, from the cells that are done."""
    found = {(one["step"], one["n"]): one for one in cells}
    sizes = sorted({n for _, n in found})
    rows = [
        [step, *(shown(found.get((step, n))) for n in sizes)]
        for step in (EXTRACT, *STEPS)
        if any((step, n) in found for n in sizes)
    ]
    wanted = [(step, n) for step in (EXTRACT, *STEPS) for n in SIZES]
    done = sum(cell in found for cell in wanted)
    return "\n".join(
        [
            "# Memory by number of images",
            "",
            "Made by `make results-memory` ([memory.py](../../experiments/memory.py)), with",
            "`--extract` for the first row; "
            f"{done} of {len(wanted)} cells are measured, each in a process of its own.",
            "",
            "Megabytes of anonymous memory at most (RssAnon: what no file stands behind, so that",
            "the system cannot take it back), in brackets peak RSS, which counts what is read of",
            "the cache and stays only while there is room. Everything is counted, the interpreter",
            "and its libraries too. Codes have 1,280 numbers.",
            "",
            *lines(["step", *(f"{n:,} images" for n in sizes)], rows),
        ]
    )


def shown(cell: dict[str, Any] | None) -> str:
    return f"{cell['RssAnon']} ({cell['VmHWM']})" if cell else "—"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cell", nargs=2, metavar=("STEP", "N"), help="one, measured from outside")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--steps", default="", help="some of the steps, with ;")
    parser.add_argument("--extract", action="store_true", help="extraction of real images, too")
    asked = parser.parse_args()
    if asked.cell:
        work(asked.cell[0], int(asked.cell[1]))
        return
    sizes = [int(n) for n in asked.sizes.split(",")]
    steps = asked.steps.split(";") if asked.steps else STEPS
    cells = read_cells(CELLS)
    done = {(one["step"], one["n"]) for one in cells}
    wanted = [(step, n) for n in sizes for step in ((EXTRACT,) if asked.extract else steps)]
    for step, n in wanted:
        if (step, n) in done:
            continue
        write_images(n) if step == EXTRACT else write_codes(n)
        cells.append(measure(step, n))
        print(cells[-1], flush=True)
        with CELLS.open("a") as file:
            file.write(json.dumps(cells[-1]) + "\n")
        PAGE.write_text(page(cells))
    PAGE.write_text(page(cells))


if __name__ == "__main__":
    main()
