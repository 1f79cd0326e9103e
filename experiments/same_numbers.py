"""Are the numbers of two commits the same, to the bit? For changes that must change none.

`python experiments/same_numbers.py BASE` runs the studies below with the package of BASE and with
this one, each with a cache of its own, and compares every number of `result.json`, the bytes of
every column of `predictions.parquet`, and the drawings of `report.html`. Texts, `seconds`,
`versions` and where text stands in a drawing may differ. Exit code 1: something differs.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
STUDIES = {
    "demo": ("demo", "--out"),
    "mini_scenes, all families": (
        "study", str(SHARED / "mini_scenes.csv"), "--modality", "natural",
        "--families", "probe,multiscale,vlad,finetune,hybrid,ensemble",
        "--heads", "svm,logistic,lda,rbf,knn", "--preprocess", "raw,clahe,raw+clahe",
        "--sizes", "224,288", "--encoders", "k4,fisher4.pca16,bilinear64,pyramid1-2",
        "--augment", "natural", "--views", "2", "--depths", "best,blocks.5",
        "--training", "epochs=2,steps=0,rungs=40x1", "--training-size", "96", "--out",
    ),
    "cancer_cells, VGG-16": (
        "study", str(SHARED / "cancer_cells.csv"), "--backbone", "vgg16", "--heads", "svm", "--out",
    ),
    "chest_xray, probes": ("study", str(SHARED / "chest_xray"), "--out"),
}  # fmt: skip
WORDS = {"seconds", "versions", "text", "why", "remedy", "reason", "method"}


def main() -> None:
    """Run every study twice and say what differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", help="a commit")
    parser.add_argument("--only", default="", help="part of a study's name")
    asked = parser.parse_args()
    wanted = {name: words for name, words in STUDIES.items() if asked.only in name}
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "base"
        subprocess.run(
            ["git", "worktree", "add", "--quiet", "--detach", tree, asked.base],
            cwd=ROOT,
            check=True,
        )
        try:
            found = {
                name: compared(words, tree, Path(folder) / re.sub(r"\W+", "_", name))
                for name, words in wanted.items()
            }
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=ROOT, check=True)
    sys.exit(1 if any(found.values()) else 0)


def compared(words: tuple[str, ...], base: Path, folder: Path) -> int:
    """Run one study with both packages and print what differs; the number of differences."""
    runs = []
    for side, package in (("before", base), ("after", ROOT)):
        out = folder / side
        env = {
            **os.environ,
            "PYTHONPATH": str(package / "src"),
            "MEDGRAFT_CACHE": str(folder / f"cache_{side}"),
        }
        command = [sys.executable, "-m", "medgraft.cli", *words, str(out), "--quiet"]
        subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)
        runs.append(next(out.rglob("result.json")).parent)  # the demo's lies below its folder
    numbers = [dict(_numbers(json.loads((run / "result.json").read_text()))) for run in runs]
    off = [
        f"result.json {at}: {numbers[0].get(at)} before, {numbers[1].get(at)} after"
        for at in sorted(numbers[0].keys() | numbers[1].keys())
        if numbers[0].get(at) != numbers[1].get(at)
    ]
    tables = [pd.read_parquet(run / "predictions.parquet") for run in runs]
    if not tables[0].equals(tables[1]):
        off.append("predictions.parquet")
    drawings = [_drawings((run / "report.html").read_text()) for run in runs]
    pairs = enumerate(zip(*drawings, strict=False))
    off += [f"drawing {i}" for i, (one, other) in pairs if one != other]
    off += ["the number of drawings"] if len(drawings[0]) != len(drawings[1]) else []
    print(
        f"{folder.name}: {len(numbers[0])} numbers of result.json, "
        f"{tables[0].size} cells of predictions.parquet, {len(drawings[0])} drawings: "
        f"{len(off) or 'none'} differ",
        *off[:20],
        sep="\n  ",
        flush=True,
    )
    return len(off)


def _numbers(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that is no text for people, by its path."""
    if isinstance(value, dict):
        for key, one in value.items():
            if key not in WORDS:
                yield from _numbers(one, f"{at}/{key}")
    elif isinstance(value, list):
        for i, one in enumerate(value):
            yield from _numbers(one, f"{at}/{i}")
    else:
        yield at, value


def _drawings(page: str) -> list[str]:
    """The paths of every chart, without its words."""
    charts = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    return [" ".join(re.findall(r' d="([^"]*)"', chart)) for chart in charts]


if __name__ == "__main__":
    main()
